"""What a file is, from its beginning alone: no pixel is read, so that 100,000 files take minutes.

Identified by content, not by suffix. Truncation is told by the lengths that the file declares.
"""

import functools
import hashlib
import re
import struct
import warnings
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, BinaryIO

from client_agent.errors import DataError
from client_agent.preparation.dicom_rules import PHOTOMETRIC_INTERPRETATIONS
from client_agent.sources.dicom_objects import other_kind, pixel_fault
from client_agent.sources.groups import GROUP_DIGITS, group_key
from client_agent.sources.label_tag import label_values

_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "AccessionNumber",
    "Modality", "PresentationIntentType", "PatientID", "IssuerOfPatientID",
    "PatientIdentityRemoved", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsStored", "BurnedInAnnotation", "RecognizableVisualFeatures",
    "AvailableTransferSyntaxUID",
)  # fmt: skip
_PIXELS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}
_UNDEFINED = 0xFFFFFFFF
_MAX_ITEMS = 4096
_UID = re.compile(r"[0-9.]{1,64}")
_MODALITY = re.compile(r"[A-Z]{2,10}")
_MAX_TEXT = 128


@dataclass(frozen=True)
class Header:
    """A file's summary; "" and 0 stand for what it does not say. Names no patient.

    Attributes:
        kind: `dicom`, or a picture's format: `PNG`, `JPEG`, `TIFF`, `BMP`.
        reason: why it cannot be used, as far as the header tells; "" if it seems usable.
        damaged: whether `reason` is damage; else it is a sound object of another kind.
        modality: Modality (0008,0060).
        syntax: Transfer Syntax UID.
        rows: height in pixels.
        columns: width in pixels.
        frames: number of frames.
        photometric: Photometric Interpretation, or a picture's mode.
        bits: Bits Stored.
        uid: SOP Instance UID; `series` and `study` likewise.
        accession: hash of the Accession Number.
        group: key of the patient, see `groups.group_key`.
        burned_in: Burned In Annotation is YES.
        recognisable: Recognizable Visual Features is YES (a face).
        deidentified: Patient Identity Removed is YES.
        raw: Presentation Intent Type is FOR PROCESSING.
        labels: values of the attribute asked for as label.
    """

    kind: str
    reason: str = ""
    damaged: bool = False
    modality: str = ""
    syntax: str = ""
    rows: int = 0
    columns: int = 0
    frames: int = 0
    photometric: str = ""
    bits: int = 0
    uid: str = ""
    series: str = ""
    study: str = ""
    accession: str = ""
    group: str = ""
    burned_in: bool = False
    recognisable: bool = False
    deidentified: bool = False
    raw: bool = False
    labels: tuple[str, ...] = ()

    def to_row(self) -> list[Any]:
        """Return JSON values that `from_row` takes."""
        return [list(value) if isinstance(value, tuple) else value for value in astuple(self)]

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> "Header":
        """Undo `to_row`.

        Raises:
            TypeError, ValueError: not such a row.
        """
        values = dict(zip(cls.__dataclass_fields__, row, strict=True))
        return cls(**{**values, "labels": tuple(values["labels"])})


def header_tags() -> list[int]:
    """Return the tags that `summarise` looks at."""
    return list(_tag_of().values())


@functools.cache
def _tag_of() -> dict[str, Any]:
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    return {name: Tag(tag_for_keyword(name) or 0) for name in _TAGS}


def _raw(dataset: Any, tag: Any) -> Any:
    """Return an element that is still as it was read, with its bytes; None for any other."""
    from pydicom.dataelem import RawDataElement

    try:
        element = dataset.get_item(tag)
    except KeyError:
        return None
    unread = isinstance(element, RawDataElement) and isinstance(element.value, bytes)
    return element if unread else None


def accession_key(number: str) -> str:
    """Return the hash under which an accession number is kept: it identifies a patient's visit."""
    text = f"ff-accession/1\n{number.strip()}".encode("utf-8", "backslashreplace")
    return hashlib.sha256(text).hexdigest()[:GROUP_DIGITS] if number.strip() else ""


def identify(start: bytes) -> str | None:
    """Tell a file's kind by its first 132 bytes; None for none that is read.

    `part-10-missing` is a data set without preamble, as DICOM's predecessors wrote it.
    """
    if start[128:132] == b"DICM":
        return "dicom"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if start.startswith(b"BM") and start[6:10] == b"\0\0\0\0":
        return "BMP"
    # Group 0008 first, little endian, a low element: (0008,0000) to (0008,00FF).
    if start[:2] == b"\x08\x00" and start[3:4] == b"\0" and len(start) >= 8:
        return "part-10-missing"
    return None


def read_header(stream: BinaryIO, size: int, tags: tuple[int, ...] = ()) -> Header:
    """Read the header of an open file that `identify` calls DICOM.

    Args:
        stream: at the file's beginning.
        size: of the file in bytes.
        tags: the attribute wanted as label, see `label_tag`.
    """
    from pydicom.filereader import read_partial

    from client_agent.sources.dicom import refuse_deflate_bomb

    wanted: list[Any] = header_tags()
    at: list[tuple[str, int, int]] = []

    def stop(tag: Any, vr: str | None, length: int) -> bool:
        if tag not in _PIXELS:
            return False
        at.append((_PIXELS[tag], length, stream.tell()))
        return True

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns of oddities and quotes header values
            refuse_deflate_bomb(stream)
            dataset = read_partial(stream, stop_when=stop, specific_tags=[*wanted, *tags[:1]])
            pixels, length, offset = at[0] if at else ("", 0, 0)
            syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
            header = summarise(dataset, syntax, pixels, tags)
            if header.reason or "Deflated" in dataset.file_meta.TransferSyntaxUID.name:
                return header
            if _truncated(stream, offset, length, size):
                return Header("dicom", "truncated: fewer bytes than it declares", damaged=True)
            return header
    except DataError as error:
        return Header("dicom", error.message, damaged=True)
    except OSError:
        raise
    except Exception as error:  # a broken header fails anywhere; its text may quote the header
        return Header("dicom", f"damaged DICOM file ({type(error).__name__})", damaged=True)


def summarise(dataset: Any, syntax: str, pixels: str, tags: tuple[int, ...] = ()) -> Header:
    """Summarise a pydicom dataset.

    Args:
        dataset: with the attributes that a header has.
        syntax: its transfer syntax.
        pixels: the element that holds its pixels, see `dicom_objects.pixel_fault`.
        tags: as for `read_header`.
    """

    known = _tag_of()

    def text(name: str) -> str:
        raw = _raw(dataset, known[name])
        # What needs no decoding is not given to pydicom, which checks and converts each value.
        if raw is not None and raw.value.isascii() and b"\\" not in raw.value:
            return str(raw.value.decode("ascii")).strip("\0 \t\r\n")[:_MAX_TEXT]
        value = dataset.get(name)
        return "" if value is None else str(value).strip()[:_MAX_TEXT]

    def number(name: str) -> int:
        raw = _raw(dataset, known[name])
        if raw is not None and raw.VR == "US" and len(raw.value) == 2:
            return int.from_bytes(raw.value, "little" if raw.is_little_endian else "big")
        value = dataset.get(name)
        return int(value) if value not in (None, "") else 0

    reason, damaged = other_kind(text("SOPClassUID"), syntax), False
    if reason is None:
        rows = number("Rows") if "Rows" in dataset else None
        columns = number("Columns") if "Columns" in dataset else None
        fault = pixel_fault(text("SOPClassUID"), pixels, rows, columns)
        if fault is not None:
            reason, damaged = fault.message, type(fault) is DataError
    shown = text("PhotometricInterpretation")
    return Header(
        kind="dicom",
        reason=reason or "",
        damaged=damaged,
        modality=_matching(_MODALITY, text("Modality")),
        syntax=syntax or text("AvailableTransferSyntaxUID"),
        rows=number("Rows"),
        columns=number("Columns"),
        frames=number("NumberOfFrames") or 1,
        photometric=shown if shown in PHOTOMETRIC_INTERPRETATIONS else "",
        bits=number("BitsStored"),
        uid=_matching(_UID, text("SOPInstanceUID")),
        series=_matching(_UID, text("SeriesInstanceUID")),
        study=_matching(_UID, text("StudyInstanceUID")),
        accession=accession_key(text("AccessionNumber")),
        group=group_key(text("PatientID"), text("IssuerOfPatientID")),
        burned_in=text("BurnedInAnnotation") == "YES",
        recognisable=text("RecognizableVisualFeatures") == "YES",
        deidentified=text("PatientIdentityRemoved") == "YES",
        raw=text("PresentationIntentType") == "FOR PROCESSING",
        labels=label_values(dataset, tags) if tags else (),
    )


def _matching(form: re.Pattern[str], value: str) -> str:
    """Keep a value of the form that the standard gives it; another may be somebody's name."""
    return value if form.fullmatch(value) else ""


def _truncated(stream: BinaryIO, offset: int, length: int, size: int) -> bool:
    """Say whether the pixel element goes beyond the file's end; fragments are stepped over."""
    if length != _UNDEFINED:
        return offset + length > size
    for _ in range(_MAX_ITEMS):
        stream.seek(offset)
        head = stream.read(8)
        if len(head) < 8:
            return True
        group, element, count = struct.unpack("<HHL", head)
        if (group, element) == (0xFFFE, 0xE0DD):
            return False
        if (group, element) != (0xFFFE, 0xE000):
            return False  # a writer's oddity: the decoder will say
        offset += 8 + count
        if offset > size:
            return True
    return False
