"""Predictions as DICOM Structured Reports, one an image: TID 1500 Measurement Report (PS3.16).

Each report lies in the patient's own study and refers to the image. It holds, in one group of
TID 1501, the label as a finding, its probability as "Certainty of Finding" in percent, the
probability of every class, and whether the image is of a kind that the classifier was trained on.
Class names are codes of the federation's own scheme; the reports are partial and unverified, and
say that they come from no medical device. UIDs follow from the image, the classifier and what else
was asked: the same prediction written again is the same object, another one is another.

highdicom (extra `dicom-sr`) is imported on first use.
"""

import io
import warnings
from pathlib import Path
from typing import Any

from client_agent.classifier.views import ONE
from client_agent.errors import DataError, UsageError
from client_agent.sources.location import Location
from client_agent.steps.predict import Predicted, Prediction
from client_agent.steps.prevalence import say_shares
from ff_protocol import __version__
from ff_protocol.files import write_atomically

SCHEME = "99FEDFACT"
"""Coding scheme designator; 99 marks private ones (PS3.16 section 8.2)."""

DISCLAIMER = "Not a medical device. For research only."

_MANUFACTURER = "Federated Factory"
_SERIES_NUMBER = 9901
_MISSING_HINT = "pip install 'federated-factory[dicom-sr]'"


def write_reports(
    predicted: Predicted, data: Location, folder: Path
) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Write one report for each predicted DICOM image under `data`.

    Args:
        predicted: what `predict` returned for `data`.
        data: the folder or file that was predicted on.
        folder: gets `<SOP Instance UID>.dcm`; made if it is missing.

    Returns:
        the number of reports, and the images without one with the reason.

    Raises:
        UsageError: highdicom is not installed, or `data` holds no files.
        StorageError: the disk refused.
    """
    if not isinstance(data, Path) or (not data.is_dir() and data.suffix.lower() == ".npz"):
        raise UsageError(
            "--dicom-sr goes with DICOM files on disk: it takes patient and study from them"
        )
    _require_highdicom()
    root = data if data.is_dir() else data.parent
    written, without = 0, []
    for item in predicted.predictions:
        try:
            name, data_set = _serialised(item, root / item.identifier, predicted)
        except DataError as error:
            without.append((item.identifier, error.message))
            continue
        write_atomically(folder / name, data_set)
        written += 1
    return written, tuple(without)


def _serialised(item: Prediction, path: Path, predicted: Predicted) -> tuple[str, bytes]:
    """Return a report's file name and bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Both libraries warn of odd header values, patients' names among them, and quote them.
        warnings.simplefilter("ignore")
        report = build_report(item, _read_header(path), predicted)
        try:
            report.save_as(buffer, enforce_file_format=True)
        except (AttributeError, KeyError, ValueError, TypeError, OverflowError) as error:
            raise DataError(f"its header cannot be repeated ({type(error).__name__})") from error
    return f"{report.SOPInstanceUID}.dcm", buffer.getvalue()


def build_report(item: Prediction, image: Any, predicted: Predicted) -> Any:
    """Return the Comprehensive SR dataset that reports one prediction.

    Args:
        item: the prediction.
        image: pydicom dataset of the image; its pixels are not looked at.
        predicted: names the classifier.

    Raises:
        DataError: the image lacks an attribute that its report must repeat.
    """
    import highdicom as hd
    from pydicom.uid import generate_uid

    classifier = predicted.classifier
    # Another way to judge the same image makes another object.
    judge = "+".join([classifier, *_asked(predicted)])
    device = hd.sr.ObserverContext(
        observer_type=hd.sr.CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=generate_uid(entropy_srcs=["classifier", classifier]),
            name="ff-agent",
            manufacturer_name=_MANUFACTURER,
            model_name=f"classifier {classifier[:16]}",
        ),
    )
    try:
        content = hd.sr.MeasurementReport(
            observation_context=hd.sr.ObservationContext(observer_device_context=device),
            procedure_reported=hd.sr.CodedConcept("363679005", "SCT", "Imaging procedure"),
            imaging_measurements=[_group(item, image, predicted, judge)],
            title=hd.sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
        )
        report = hd.sr.ComprehensiveSR(
            evidence=[image],
            content=content,
            series_instance_uid=generate_uid(
                entropy_srcs=["series", judge, str(image.StudyInstanceUID)]
            ),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=generate_uid(
                entropy_srcs=["report", judge, str(image.SOPInstanceUID)]
            ),
            instance_number=1,
            manufacturer=_MANUFACTURER,
            is_complete=False,
            is_verified=False,
            series_description="Classification (research, not a medical device)",
        )
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        # highdicom repeats the patient's and the study's attributes; its words may quote them.
        raise DataError(f"its header cannot be repeated ({type(error).__name__})") from error
    return report


def _asked(predicted: Predicted) -> dict[str, str]:
    """What was asked besides the classifier's plain answer: a short name, and in words."""
    asked = {}
    if predicted.evidence:
        asked["evidence"] = "times the evidence of the modules"
    for said in say_shares(predicted.prevalence, digits=6):
        asked[f"prevalence {said}"] = said
    if predicted.views != ONE:
        asked[f"views {predicted.views}"] = f"views: {predicted.views}"
    return asked


def _group(item: Prediction, image: Any, predicted: Predicted, judge: str) -> Any:
    """The measurement group (TID 1501) of one prediction."""
    import highdicom as hd

    classifier = predicted.classifier
    percent = hd.sr.CodedConcept("%", "UCUM", "Percent")
    familiar = (
        _code("unfamiliar", "Unlike the training set")
        if item.out_of_distribution
        else _code("familiar", "Like the training set")
    )
    certainty = hd.sr.CodedConcept("111012", "DCM", "Certainty of Finding")
    probabilities = [
        hd.sr.Measurement(
            name=_code(_short(name), f"Probability of {name}"),
            value=round(100 * value, 4),
            unit=percent,
        )
        for name, value in item.probabilities.items()
    ]
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=hd.UID(_tracking_uid(judge, str(image.SOPInstanceUID))),
            identifier="image classification",
        ),
        finding_type=_code(_short(item.label), item.label),
        algorithm_id=hd.sr.AlgorithmIdentification(
            name=f"{_MANUFACTURER} classifier {classifier[:16]}",
            version=__version__,
            parameters=[DISCLAIMER, f"classifier sha256 {classifier}", *_asked(predicted).values()],
        ),
        measurements=[
            hd.sr.Measurement(name=certainty, value=round(100 * item.probability, 4), unit=percent),
            *probabilities,
        ],
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(
                name=_code("distribution", "Resemblance to the training set"), value=familiar
            ),
        ],
        source_images=[
            hd.sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID)
        ],
    )


def _code(value: str, meaning: str) -> Any:
    import highdicom as hd

    return hd.sr.CodedConcept(value, SCHEME, meaning[:64])


def _short(name: str) -> str:
    """A code value of at most 16 characters (VR SH): a long name is cut and gets a hash."""
    if len(name) <= 16:
        return name
    from ff_protocol import canonical

    return f"{name[:9]}-{canonical.sha256_hex(name.encode())[:6]}"


def _tracking_uid(judge: str, image: str) -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["tracking", judge, image]))


def _read_header(path: Path) -> Any:
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.uid import UID

    try:
        image = pydicom.dcmread(path, stop_before_pixels=True)
    except InvalidDicomError as error:
        raise DataError("not a DICOM file") from error
    except Exception as error:  # a damaged file fails anywhere in the parser
        raise DataError(f"damaged DICOM file ({type(error).__name__})") from error
    for name in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "PatientID"):
        if name not in image:
            raise DataError(f"its header has no {name}")
        if name.endswith("UID") and not UID(str(image[name].value)).is_valid:
            raise DataError(f"its {name} is not valid")
    return image


def _require_highdicom() -> None:
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "DICOM structured reports need the package highdicom", hint=_MISSING_HINT
        ) from error
