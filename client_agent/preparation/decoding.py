"""One frame of a DICOM file, decompressed, by pydicom's decoders and one of GDCM's own.

pydicom 3 refuses 12-bit JPEG Extended without a GPL plugin; GDCM decodes it, so that syntax goes
to GDCM's file reader.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from client_agent.errors import DataError

MAX_PIXELS = 1 << 28
"""Rows x columns x samples of one frame; more is refused before anything is allocated."""

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"


def decode_frame(dataset: Any, frame: int, photometric: str) -> tuple[np.ndarray, str]:
    """Decode one frame.

    Args:
        dataset: a pydicom dataset with its pixels.
        frame: index, from 0.
        photometric: the dataset's photometric interpretation.

    Returns:
        Stored values [H, W] or [H, W, 3], and the photometric interpretation they have now: YBR
        has become RGB.

    Raises:
        DataError: too large, a syntax without a decoder, or damaged.
        ResourceError: there is no room in the temporary folder (12-bit JPEG Extended).
    """
    samples = int(dataset.get("SamplesPerPixel", 1))
    if int(dataset.Rows) * int(dataset.Columns) * samples > MAX_PIXELS:
        raise DataError(f"{dataset.Rows} x {dataset.Columns} pixels are too many")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == _JPEG_EXTENDED and int(dataset.BitsStored) > 8 and samples == 1:
        return _with_gdcm(dataset, frame), photometric
    from pydicom.pixels import pixel_array

    try:
        stored = pixel_array(dataset, index=frame)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever their C libraries made of it
        raise DataError(f"cannot decode {syntax.name}: {_line(error)}") from error
    if photometric.startswith("YBR_") and not photometric.startswith("YBR_PARTIAL"):
        photometric = "RGB"
    return stored, photometric


def _with_gdcm(dataset: Any, frame: int) -> np.ndarray:
    """Decode a grey frame with GDCM's image reader, from a clean copy that holds only pixels."""
    import gdcm  # type: ignore[import-untyped]

    from client_agent.temporary import temporary_folder

    with temporary_folder() as folder:
        path = folder / "image.dcm"
        # pydicom hides which error the disk gave.
        copy = io.BytesIO()
        _pixels_only(dataset).save_as(copy)
        path.write_bytes(copy.getvalue())
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        with _quiet_standard_error():
            if not reader.Read():
                raise DataError("cannot decode JPEG Extended: damaged")
            image = reader.GetImage()
            buffer = image.GetBuffer().encode("utf-8", errors="surrogateescape")
    kind = "i" if int(dataset.PixelRepresentation) else "u"
    values = np.frombuffer(buffer, dtype=f"<{kind}{int(dataset.BitsAllocated) // 8}")
    shape = (-1, int(dataset.Rows), int(dataset.Columns))
    try:
        return values.reshape(shape)[frame]
    except (ValueError, IndexError) as error:
        raise DataError("cannot decode JPEG Extended: fewer pixels than declared") from error


@contextlib.contextmanager
def _quiet_standard_error() -> Iterator[None]:
    """Silence what GDCM's library prints of each 12-bit file on trying its 8-bit decoder first."""
    try:
        kept = os.dup(2)
    except OSError:  # closed already: nothing to silence
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _pixels_only(dataset: Any) -> Any:
    """Copy the image pixel module alone: no identity reaches the temporary folder."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

    copy = Dataset()
    copy.update({element.tag: element for element in dataset if element.tag.group == 0x0028})
    copy["PixelData"] = dataset["PixelData"]
    copy.SOPClassUID, copy.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    copy.file_meta = FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    copy.file_meta.MediaStorageSOPClassUID = copy.SOPClassUID
    copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
    return copy


def _line(error: Exception) -> str:
    """What a decoder says, without what it quotes: that may be a value of the header."""
    return _QUOTED.sub("...", " ".join(str(error).split()))[:160]
