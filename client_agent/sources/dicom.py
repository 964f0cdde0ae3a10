"""DICOM files: pixels as a viewer shows them and the patient as an opaque group key.

Errors and identifiers never carry a header value that names a person.
"""

import os
import warnings
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from client_agent.errors import DataError
from client_agent.preparation.dicom_rules import Rendering, choose_frames
from client_agent.sources.dicom_objects import (
    BURNED_IN,
    BURNED_IN_HINT,
    NotAllowedError,
    NotAnImageError,
    other_kind,
    pixel_fault,
)
from client_agent.sources.groups import group_key
from client_agent.sources.labelled import RawImage

MAX_FILE_BYTES = 4 << 30
MAX_INFLATED_BYTES = 1 << 30
"""What a deflated file may expand to: a few kilobytes can claim gigabytes."""

_DEFLATED = "1.2.840.10008.1.2.1.99"
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_CHUNK = 1 << 20
_META_BYTES = 4096


def read_dicom(source: Path | BinaryIO, rendering: Rendering | None = None) -> tuple[RawImage, ...]:
    """Read those frames of a DICOM file that `rendering` asks for.

    Args:
        source: a file, or one in memory.
        rendering: window and frames; None for what the file says, and its middle frame.

    Raises:
        NotAnImageError: a sound DICOM object that holds no image.
        NotAllowedError: text is burned into the pixels, and that is not allowed.
        DataError: not DICOM, damaged, or pixels that cannot be decoded.
        OSError: the file cannot be read.
    """
    from client_agent.preparation.dicom_pixels import number_of_frames, render

    rendering = rendering or Rendering()
    dataset = _open(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns of oddities and quotes header values
            _require_image(dataset)
            burned_in = str(dataset.get("BurnedInAnnotation", "")) == "YES"
            if burned_in and not rendering.allow_burned_in:
                raise NotAllowedError(BURNED_IN, hint=BURNED_IN_HINT)
            group, uid = patient_group(dataset), str(dataset.get("SOPInstanceUID", "") or "")
            count = number_of_frames(dataset)
            several = rendering.frame.kind == "all" and count > 1
            images = []
            for frame in choose_frames(rendering.frame, count):
                shown = render(dataset, frame, rendering.window)
                number = frame + 1 if several else 0
                images.append(RawImage(shown.pixels, group, shown.aspect, uid, number))
            return tuple(images)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a broken header fails anywhere; its text may quote the header
        raise DataError(f"damaged DICOM file ({type(error).__name__})") from error


def read_uid(path: Path) -> str | None:
    """Return a file's SOP Instance UID, or None if it is not DICOM or has none."""
    try:
        dataset = _open(path, only=["SOPInstanceUID"])
    except (DataError, OSError):
        return None
    value = dataset.get("SOPInstanceUID")
    return str(value) if value else None


def patient_group(dataset: Any) -> str:
    """Return a key that tells patients apart and does not name them, or "" if unknown."""
    return group_key(
        str(dataset.get("PatientID", "") or ""), str(dataset.get("IssuerOfPatientID", "") or "")
    )


def refuse_deflate_bomb(stream: BinaryIO) -> None:
    """Refuse a deflated file that expands beyond measure; leaves the stream at its beginning.

    Raises:
        DataError: it would.
        InvalidDicomError: it is not DICOM.
    """
    from pydicom.filereader import read_dataset, read_preamble

    if _plainly_not_deflated(stream):
        return
    read_preamble(stream, False)
    start, syntax = stream.tell(), ""
    for implicit in (False, True):  # some writers forget that this group is always explicit
        stream.seek(start)
        meta = read_dataset(stream, implicit, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        try:
            syntax = str(meta.get("TransferSyntaxUID", ""))
            break
        except NotImplementedError:
            continue
    if syntax == _DEFLATED:
        inflate, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while data := stream.read(_CHUNK):
            while data:
                total += len(inflate.decompress(data, _CHUNK))
                data = inflate.unconsumed_tail
                if total > MAX_INFLATED_BYTES:
                    raise DataError("deflated, and larger than any image when inflated")
    stream.seek(0)


def _plainly_not_deflated(stream: BinaryIO) -> bool:
    """Say whether the file meta information, wholly within the first bytes, names another syntax.

    It ends where its group length says, and what follows is of another group, or a parser would
    read on there.
    """
    start = stream.read(_META_BYTES)
    stream.seek(0)
    if start[128:140] != b"DICM\x02\0\0\0UL\x04\0":
        return False
    end = 144 + int.from_bytes(start[140:144], "little")
    after = start[end : end + 2]
    return len(after) == 2 and after != b"\x02\0" and _DEFLATED.encode() not in start[:end]


def _open(source: Path | BinaryIO, only: list[str] | None = None) -> Any:
    if isinstance(source, Path):
        with source.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size > MAX_FILE_BYTES:
                raise DataError(f"larger than the {MAX_FILE_BYTES} bytes accepted")
            return _open(stream, only)
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            refuse_deflate_bomb(source)
            if only is not None:
                return pydicom.dcmread(source, specific_tags=only, stop_before_pixels=True)
            return pydicom.dcmread(source)
    except InvalidDicomError as error:
        raise DataError("not a DICOM file") from error
    except (DataError, MemoryError, OSError):
        raise
    except Exception as error:  # a truncated file fails anywhere in the parser
        raise DataError(f"damaged DICOM file ({type(error).__name__})") from error


def _require_image(dataset: Any) -> None:
    sop_class = str(dataset.get("SOPClassUID", "") or "")
    other = other_kind(sop_class, str(dataset.file_meta.get("TransferSyntaxUID", "")))
    if other is not None:
        raise NotAnImageError(other)
    pixels = next((name for name in _PIXELS if name in dataset), "")
    sides = [dataset.get(name) if name in dataset else None for name in ("Rows", "Columns")]
    fault = pixel_fault(sop_class, pixels, *sides)
    if fault is not None:
        raise fault
