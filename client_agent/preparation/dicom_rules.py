"""The choices that DICOM leaves to the reader, in words; `dicom_pixels` carries them out."""

from dataclasses import dataclass

from client_agent.errors import DataError
from ff_protocol.preparation import MIDDLE_FRAME, FrameRule, Window

PHOTOMETRIC_INTERPRETATIONS = frozenset(
    {
        *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "HSV", "ARGB", "CMYK", "XYB"),
        *("YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"),
    }
)
"""Those that the standard names (PS3.3 C.7.6.3.1.2); anything else in a header may be a name."""

CT_CENTRE = 40.0
CT_WIDTH = 400.0


@dataclass(frozen=True)
class Rendering:
    """How DICOM files are shown, as the federation and the site settled it.

    Attributes:
        window: for all images; None takes what each file says.
        frame: which frames of a file are images.
        allow_burned_in: take images whose pixels are said to hold text.
    """

    window: Window | None = None
    frame: FrameRule = MIDDLE_FRAME
    allow_burned_in: bool = False


def choose_frames(rule: FrameRule, count: int) -> range:
    """Return the frames to take of a file of `count`, counted from 0.

    Raises:
        DataError: the rule asks for a frame that the file has not.
    """
    if rule.kind == "all":
        return range(count)
    if rule.kind == "number":
        if rule.number > count:
            raise DataError(f"has {count} frames, frame {rule.number} is asked for")
        return range(rule.number - 1, rule.number)
    first = 0 if rule.kind == "first" else count // 2
    return range(first, first + 1)


def describe(window: Window | None, frame: FrameRule) -> dict[str, str]:
    """Put the rules into words, for the classifier's metadata."""
    return {
        "order": "modality LUT or rescale, VOI LUT or window, MONOCHROME1 inversion "
        "(PS3.3 C.7.6.3)",
        "frame": _FRAMES.get(frame.kind, f"frame {frame}, counted from 1"),
        "voi": "first VOI LUT, else first window (LINEAR, LINEAR_EXACT or SIGMOID)"
        if window is None
        else _window(window),
        "no_window_ct": "centre 40, width 400 Hounsfield units",
        "no_window_8_bit": "unsigned 8-bit without rescale: as stored",
        "no_window": "minimum..maximum of the frame without padding",
        "padding": "Pixel Padding Value (and range) left out of statistics, shown black",
        "colour": "RGB; YBR converted (PS3.3 C.7.6.3.1.2); PALETTE COLOR looked up",
        "overlays": "not drawn, and cut off where they lie in the pixels' unused bits",
        "aspect": "Pixel Spacing, Imager Pixel Spacing, Nominal Scanned Pixel Spacing or Pixel "
        "Aspect Ratio, the first that is there; within 1 % of square is square",
    }


_FRAMES = {
    "middle": "middle: number of frames // 2, counted from 0",
    "first": "first",
    "all": "all",
}


def _window(window: Window) -> str:
    numbers = f"centre {window.centre:g}, width {window.width:g} (LINEAR)"
    if window.name:
        return f"CT: {numbers}, {window.name}; others: first VOI LUT, else first window"
    return f"grey images: {numbers}"
