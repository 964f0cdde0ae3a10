"""DICOM pixels as a viewer shows them: the grey-scale pipeline of PS3.3 C.7.6.3.1.2 and C.11.2.

Stored values -> modality LUT or rescale -> VOI LUT or window -> MONOCHROME1 inversion, in this
order; colour by its photometric interpretation. `dicom_rules` states what the standard leaves open.
Presentation LUT Shape is not consulted: it repeats what the photometric interpretation says.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from client_agent.errors import DataError
from client_agent.preparation.decoding import decode_frame
from client_agent.preparation.dicom_rules import (
    CT_CENTRE,
    CT_WIDTH,
    PHOTOMETRIC_INTERPRETATIONS,
)
from client_agent.preparation.pixel_aspect import pixel_aspect
from client_agent.preparation.voi import apply_window
from ff_protocol.preparation import Window


@dataclass(frozen=True)
class DicomPixels:
    """One frame ready for `prepare`.

    Attributes:
        pixels: uint8 [H, W] or [H, W, 3].
        frame: index of the frame taken, from 0.
        voi: which rule mapped the values, for example `window 40/400` or `as stored`.
        aspect: height / width of a pixel.
    """

    pixels: np.ndarray
    frame: int
    voi: str
    aspect: float = 1.0


def number_of_frames(dataset: Any) -> int:
    """Return how many frames a pydicom dataset has."""
    return int(dataset.get("NumberOfFrames", 1) or 1)


def render(dataset: Any, frame: int | None = None, window: Window | None = None) -> DicomPixels:
    """Decode a frame of a pydicom dataset as a viewer shows it.

    Args:
        dataset: with its pixels.
        frame: counted from 0; None takes the middle one.
        window: instead of what the file says: a named one for CT in Hounsfield units, numbers for
            every grey image.

    Raises:
        DataError: the pixels cannot be decoded or understood. The message holds no header value
            that could name a patient.
    """
    if frame is None:
        frame = number_of_frames(dataset) // 2
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    stored, photometric = decode_frame(dataset, frame, photometric)
    header = _frame_header(dataset, frame)
    aspect = pixel_aspect((header.measures, dataset))
    if photometric in ("MONOCHROME1", "MONOCHROME2"):
        if stored.ndim != 2:
            raise DataError(f"grey pixels of shape {stored.shape}")
        shown, rule = _grey(stored, header, dataset, window)
        return DicomPixels(shown, frame, rule, aspect)
    if photometric == "PALETTE COLOR":
        return DicomPixels(_palette(stored, dataset), frame, "palette", aspect)
    if photometric == "RGB" and stored.ndim == 3 and stored.shape[2] == 3:
        return DicomPixels(_colour_depth(stored, dataset), frame, "as stored", aspect)
    # A value that the standard does not know is not shown: anything may stand in a header.
    named = repr(photometric) if photometric in PHOTOMETRIC_INTERPRETATIONS else "(of another name)"
    raise DataError(f"photometric interpretation {named} is not supported")


def _grey(
    stored: np.ndarray, header: "_Header", dataset: Any, window: Window | None
) -> tuple[np.ndarray, str]:
    padding = _padding(stored, dataset)
    values = _modality(stored, header)
    if window is not None and (not window.name or _in_hounsfield(header, dataset)):
        unit, rule = apply_window(values, window.centre, window.width), f"window {window}"
    else:
        unit, rule = _voi(values, padding, header, dataset, stored.dtype)
    if str(dataset.PhotometricInterpretation) == "MONOCHROME1":
        unit = 1.0 - unit
    unit[padding] = 0.0
    if not np.isfinite(unit).all():
        raise DataError("the pixel values are not finite")
    return np.rint(unit * 255.0).astype(np.uint8), rule


@dataclass(frozen=True)
class _Header:
    """Where a frame's rescale, VOI and spacing attributes are: root or functional groups."""

    modality: Any
    voi: Any
    measures: Any


def _frame_header(dataset: Any, frame: int) -> _Header:
    """Find a frame's macros (PS3.3 C.7.6.16.2.1, .9 and .10): per-frame, shared, else root."""
    groups = []
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if per_frame and frame < len(per_frame):
        groups.append(per_frame[frame])
    if dataset.get("SharedFunctionalGroupsSequence"):
        groups.append(dataset.SharedFunctionalGroupsSequence[0])

    def macro(name: str) -> Any:
        for group in groups:
            if group.get(name):
                return group[name].value[0]
        return dataset

    return _Header(
        macro("PixelValueTransformationSequence"),
        macro("FrameVOILUTSequence"),
        macro("PixelMeasuresSequence"),
    )


def _in_hounsfield(header: _Header, dataset: Any) -> bool:
    """Say whether modality values are Hounsfield units, as named windows need."""
    rescaled = "RescaleIntercept" in header.modality or "ModalityLUTSequence" in header.modality
    return str(dataset.get("Modality", "")) == "CT" and rescaled


def _modality(stored: np.ndarray, header: _Header) -> np.ndarray:
    """Stored values to modality values, float64 (C.11.1)."""
    if header.modality.get("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        return np.asarray(apply_modality_lut(stored, header.modality), dtype=np.float64)
    slope = _number(header.modality.get("RescaleSlope"), 1.0)
    intercept = _number(header.modality.get("RescaleIntercept"), 0.0)
    # Some writers leave 0, which would erase the image and which no modality means.
    return stored.astype(np.float64) * (slope or 1.0) + intercept


def _voi(
    values: np.ndarray, padding: np.ndarray, header: _Header, dataset: Any, dtype: np.dtype
) -> tuple[np.ndarray, str]:
    """Modality values to [0, 1] and the rule that was used."""
    if header.voi.get("VOILUTSequence"):
        from pydicom.pixels import apply_voi

        # The LUT is indexed by integers; its third descriptor is the output's bits (C.11.2.1.1).
        bits = int(header.voi.VOILUTSequence[0].LUTDescriptor[2])
        mapped = apply_voi(np.rint(values).astype(np.int64), header.voi, index=0)
        return np.clip(mapped / float((1 << bits) - 1), 0.0, 1.0), "VOI LUT"
    centre, width = _first(header.voi.get("WindowCenter")), _first(header.voi.get("WindowWidth"))
    if centre is not None and width is not None and width > 0:
        function = str(header.voi.get("VOILUTFunction") or "LINEAR")
        try:
            return apply_window(values, centre, width, function), f"window {centre:g}/{width:g}"
        except ValueError as error:
            raise DataError(str(error)) from error
    if _in_hounsfield(header, dataset):
        return apply_window(values, CT_CENTRE, CT_WIDTH), f"window {CT_CENTRE:g}/{CT_WIDTH:g} (CT)"
    rescaled = "RescaleIntercept" in header.modality or "ModalityLUTSequence" in header.modality
    if dtype == np.uint8 and int(dataset.get("BitsStored", 8)) == 8 and not rescaled:
        return values / 255.0, "as stored"
    return _full_range(values, padding), "minimum..maximum"


def _full_range(values: np.ndarray, padding: np.ndarray) -> np.ndarray:
    shown = values[~padding]
    if not shown.size or shown.max() <= shown.min():
        return np.zeros(values.shape)
    return np.clip((values - shown.min()) / (shown.max() - shown.min()), 0.0, 1.0)


def _padding(stored: np.ndarray, dataset: Any) -> np.ndarray:
    """Mask of padding pixels, in stored values (C.7.5.1.1.2)."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return np.zeros(stored.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    bounds = [_as_stored(item, dataset) for item in (value, limit) if isinstance(item, int)]
    wide = stored.astype(np.int64)
    return (wide >= min(bounds)) & (wide <= max(bounds))


def _as_stored(value: int, dataset: Any) -> int:
    """Undo an unsigned reading of a signed padding value (its VR is US or SS)."""
    bits = int(dataset.get("BitsAllocated", 16))
    signed = int(dataset.get("PixelRepresentation", 0)) == 1
    return value - (1 << bits) if signed and value >= 1 << (bits - 1) else value


def _palette(stored: np.ndarray, dataset: Any) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    looked_up = np.asarray(apply_color_lut(stored, dataset))[..., :3]
    # Descriptors may say 16 bits over 8-bit entries (C.7.9.2 note).
    if looked_up.dtype != np.uint8:
        looked_up = looked_up >> 8 if looked_up.max() > 255 else looked_up
    return looked_up.astype(np.uint8)


def _colour_depth(stored: np.ndarray, dataset: Any) -> np.ndarray:
    bits = int(dataset.get("BitsStored", 8))
    if stored.dtype == np.uint8 and bits == 8:
        return stored
    return np.rint(np.clip(stored / float((1 << bits) - 1), 0, 1) * 255.0).astype(np.uint8)


def _number(value: Any, default: float) -> float:
    return default if value is None or value == "" else float(value)


def _first(value: Any) -> float | None:
    """First of a multi-valued attribute: the windows are alternatives (C.11.2.1.2)."""
    if value is None or value == "":
        return None
    if not isinstance(value, (str, int, float)) and hasattr(value, "__len__"):
        return float(value[0]) if len(value) else None
    return float(value)
