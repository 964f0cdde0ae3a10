"""What a site says of its images beyond where they lie, and how that agrees with the federation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client_agent.errors import UsageError
from client_agent.preparation.dicom_rules import Rendering
from ff_protocol.errors import MalformedError
from ff_protocol.preparation import FrameRule, Window, parse_frame, parse_window


@dataclass(frozen=True)
class SourceOptions:
    """Options of `train`, `evaluate` and `scan` on reading images.

    Attributes:
        label_map: YAML file with the site's names of classes.
        label_tag: DICOM attribute that holds the label.
        window: `lung` and the like, or `CENTRE,WIDTH`.
        frame: `middle`, `first`, `all` or a number.
        allow_burned_in: take images whose pixels are said to hold text.
    """

    label_map: Path | None = None
    label_tag: str | None = None
    window: str | None = None
    frame: str | None = None
    allow_burned_in: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return JSON values that `from_json` takes; the path is absolute."""
        label_map = None if self.label_map is None else str(self.label_map.absolute())
        return {**vars(self), "label_map": label_map}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> "SourceOptions":
        """Undo `to_json`; None, of a record older than this, means the defaults."""
        value = dict(value or {})
        path = value.pop("label_map", None)
        return cls(label_map=None if path is None else Path(path), **value)


NOTHING_SAID = SourceOptions()


def agree(
    options: SourceOptions, window: Window | None, frame: FrameRule
) -> tuple[Rendering, tuple[str, ...]]:
    """Settle how DICOM files are shown.

    What the federation fixes, a site may repeat and not change: a window or frame of its own would
    tell the classifier which site an image is of, and so which class. What the federation leaves to
    the files, a site may set, and is warned.

    Args:
        options: the site's.
        window: the federation's (or the classifier's), None for "as each file says".
        frame: likewise.

    Returns:
        The settled rules, and warnings.

    Raises:
        UsageError: the site contradicts the federation, or an option cannot be read.
    """
    try:
        own_window = None if options.window is None else parse_window(options.window)
        own_frame = None if options.frame is None else parse_frame(options.frame)
    except MalformedError as error:
        raise UsageError(error.message, hint=error.hint) from error
    warnings = []
    if own_window is not None and own_window != window:
        if window is not None:
            raise UsageError(
                f"--window {own_window} contradicts the federation's window {window}",
                hint="leave --window out; the operator sets it for all (preparation.window)",
            )
        warnings.append(
            f"window {own_window} is this site's alone: a classifier may learn the window instead "
            "of the disease; ask the operator to set preparation.window for all"
        )
    if own_frame is not None and own_frame != frame:
        if frame.kind != "middle":
            raise UsageError(
                f"--frame {own_frame} contradicts the federation's rule {frame}",
                hint="leave --frame out; the operator sets it for all (preparation.frame)",
            )
        warnings.append(f"frame rule {own_frame} is this site's alone")
    rendering = Rendering(own_window or window, own_frame or frame, options.allow_burned_in)
    return rendering, tuple(warnings)
