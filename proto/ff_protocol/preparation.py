"""How a federation's images are windowed and which frames are taken: words of the spec, parsed.

The authority checks them when it signs a spec and the sites obey them, so both read this file.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

from ff_protocol.errors import MalformedError

NAMED_WINDOWS = {
    "abdomen": (50.0, 400.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
    "liver": (30.0, 150.0),
    "lung": (-600.0, 1500.0),
    "mediastinum": (50.0, 350.0),
    "soft-tissue": (40.0, 400.0),
    "stroke": (40.0, 40.0),
    "subdural": (75.0, 215.0),
}
"""Centre and width in Hounsfield units, by name. A signed spec may hold a name: values never change
and names are only added."""

_NUMBER = r"[+-]?\d{1,7}(?:\.\d{1,6})?"
_PAIR = re.compile(rf"({_NUMBER})\s*,\s*({_NUMBER})", re.ASCII)
_MAX_FRAME = 1_000_000


@dataclass(frozen=True)
class Window:
    """One window for all images (PS3.3 C.11.2.1.2, function LINEAR).

    Attributes:
        centre: Window Center (0028,1050), in modality values: Hounsfield units for CT.
        width: Window Width (0028,1051), at least 1.
        name: a key of `NAMED_WINDOWS`, or "" for numbers. Named windows are of CT alone; numbers
            stand for every grey DICOM image.
    """

    centre: float
    width: float
    name: str = ""

    def __str__(self) -> str:
        return self.name or f"{_text(self.centre)},{_text(self.width)}"


@dataclass(frozen=True)
class FrameRule:
    """Which frames of a file are images: `kind`, and for `number` which one, counted from 1."""

    kind: Literal["middle", "first", "all", "number"] = "middle"
    number: int = 0

    def __str__(self) -> str:
        return str(self.number) if self.kind == "number" else self.kind


MIDDLE_FRAME = FrameRule()


def parse_window(text: str) -> Window:
    """Read `lung`, or `CENTRE,WIDTH`; `str(parse_window(x))` reads the same.

    Raises:
        MalformedError: neither a known name nor two numbers, or a width below 1.
    """
    folded = "-".join(text.strip().casefold().replace("_", "-").split())
    if folded in NAMED_WINDOWS:
        return Window(*NAMED_WINDOWS[folded], name=folded)
    pair = _PAIR.fullmatch(text.strip())
    if pair is None:
        raise MalformedError(
            f"window {text[:40]!r} is unknown",
            hint=f"CENTRE,WIDTH, or one of {', '.join(sorted(NAMED_WINDOWS))}",
        )
    centre, width = float(pair[1]), float(pair[2])
    if not math.isfinite(centre) or width < 1:
        raise MalformedError(f"window {text[:40]!r}: the width must be at least 1")
    return Window(centre, width)


def _text(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


def parse_frame(text: str) -> FrameRule:
    """Read `middle`, `first`, `all`, or the number of a frame, counted from 1 as DICOM does.

    Raises:
        MalformedError: none of these.
    """
    folded = text.strip().casefold()
    if folded in ("middle", "first", "all"):
        return FrameRule(folded)  # type: ignore[arg-type]
    if folded.isascii() and folded.isdecimal() and 1 <= int(folded) <= _MAX_FRAME:
        return FrameRule("number", int(folded))
    raise MalformedError(
        f"frame rule {text[:40]!r} is unknown", hint="middle, first, all, or a number from 1"
    )
