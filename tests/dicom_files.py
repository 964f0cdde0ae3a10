"""DICOM files as they come, sound and bad: written small, read by the product's own readers."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "dicom"
FILES = sorted(SHARED.glob("*.dcm"))


def make_dataset(stored: np.ndarray, **attributes: Any) -> Dataset:
    """A secondary capture of `stored`, [H, W] or frames [n, H, W], uint8 to int16."""
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = "1.2.3"
    dataset.Modality = "OT"
    dataset.PatientID, dataset.PatientName = "SECRET-4711", "SECRET^NAME"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    if stored.ndim == 3:
        dataset.NumberOfFrames = len(stored)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = stored.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    data = stored.tobytes()
    dataset.add_new("PixelData", "OW", data + b"\0" * (len(data) % 2))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    for name, value in attributes.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def write(dataset: Dataset, path: Path, syntax: str | None = None) -> Path:
    """Write; `syntax` claims another transfer syntax, with the pixels as one fragment of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if syntax is not None:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([dataset.PixelData])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True)
    return path


PIXELS = np.arange(256, dtype=np.uint8).reshape(16, 16)


def write_bad(folder: Path) -> dict[str, str]:
    """One file of each bad kind; what their reasons must hold, by name."""
    sound = write(make_dataset(PIXELS), folder / "sound.dcm").read_bytes()
    (folder / "empty.dcm").touch()
    (folder / "noise.dcm").write_bytes(bytes(range(256)) * 3)
    (folder / "header-cut.dcm").write_bytes(sound[:400])
    (folder / "pixels-cut.dcm").write_bytes(sound[:-100])
    jpeg = write(make_dataset(PIXELS), folder / "fragment-cut.dcm", "1.2.840.10008.1.2.4.50")
    jpeg.write_bytes(jpeg.read_bytes()[:-60])
    write(make_dataset(PIXELS, PixelData=None), folder / "no-pixels.dcm")
    (folder / "no-preamble").write_bytes(sound[sound.index(b"\x08\x00\x16\x00") :])
    pdf = make_dataset(PIXELS, SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", PixelData=None)
    pdf.EncapsulatedDocument, pdf.MIMETypeOfEncapsulatedDocument = b"%PDF-1.7 ", "application/pdf"
    write(pdf, folder / "pdf.dcm")
    write(make_dataset(PIXELS), folder / "video.dcm", "1.2.840.10008.1.2.4.102")
    write(make_dataset(PIXELS, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4"), folder / "seg.dcm")
    # Rows (0028,0010) as a text, two bytes that are no number.
    wrong = sound.replace(b"\x28\x00\x10\x00US\x02\x00\x10\x00", b"\x28\x00\x10\x00IS\x02\x00xy")
    (folder / "wrong-vr.dcm").write_bytes(wrong)
    return {
        "empty.dcm": "empty",
        "noise.dcm": "neither DICOM nor a picture",
        "header-cut.dcm": "pixels are missing",
        "pixels-cut.dcm": "truncated",
        "fragment-cut.dcm": "truncated",
        "no-pixels.dcm": "pixels are missing",
        "no-preamble": "without the header of a file",
        "pdf.dcm": "PDF document",
        "video.dcm": "video",
        "seg.dcm": "segmentation",
        "wrong-vr.dcm": "damaged DICOM file",
    }


SOUND_BUT_NO_IMAGE = {"pdf.dcm", "video.dcm", "seg.dcm"}
