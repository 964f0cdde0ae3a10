"""Prediction in practice: files of every form, the flag, the site's own calibration, DICOM SR."""

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from client_agent.classifier.local_calibration import (
    fit_local,
    read_local,
    retemper,
)
from client_agent.errors import DataError, UsageError
from client_agent.home import Home
from client_agent.report.dicom_sr import DISCLAIMER, SCHEME, write_reports
from client_agent.site import open_site
from client_agent.sources.write_dicom import write_dicom
from client_agent.steps.calibrate import calibrate_here
from client_agent.steps.evaluate import evaluate
from client_agent.steps.predict import predict, predictions_csv, write_predictions
from tests.agents import agent, agent_json


@pytest.fixture
def site(fitted_copy):
    return open_site(Home(fitted_copy))


@pytest.fixture
def dicom(digits, tmp_path) -> Path:
    """Six digits as DICOM files and a stray picture."""
    folder = tmp_path / "dicom"
    images = np.load(digits)["test_images"][:6]
    for number, image in enumerate(images):
        write_dicom(image, folder / f"patient-{number}" / "IM1", patient_id=f"P{number}", seed=1)
    from PIL import Image

    Image.fromarray(images[0][..., 0]).save(folder / "stray.png")
    return folder


def test_csv_and_json_hold_the_same_predictions(site, digits, tmp_path):
    predicted = predict(site, digits)
    assert len(predicted.predictions) == 60
    assert predicted.unknown_classes == ("two",)  # said, and never guessed
    assert predicted.images_per_second > 0
    write_predictions(predicted, tmp_path / "out.csv")
    write_predictions(predicted, tmp_path / "out.json")
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["classifier"] == predicted.classifier
    for row, item in zip(rows, document["predictions"], strict=True):
        assert row["identifier"] == item["identifier"]
        assert row["label"] == item["label"] in ("zero", "one")
        assert float(row["zero"]) + float(row["one"]) == pytest.approx(1, abs=1e-4)
        assert float(row["probability"]) == item["probability"] >= 0.5
        assert row["out_of_distribution"] == ("yes" if item["out_of_distribution"] else "no")
        assert item["out_of_distribution"] == (item["in_distribution"] < 1) or (
            item["in_distribution"] == 1
        )


def test_the_command_prints_csv_alone_and_throughput_beside_it(site, digits):
    done = agent(site.home.root, "predict", "--data", digits)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].startswith("identifier,label,probability,out_of_distribution")
    assert len(done.out.splitlines()) == 61
    assert "images/s" in done.err
    assert "does not know: two" in done.err


def test_calibrating_here_flags_few_of_the_sites_own_images(site, digits):
    before = site.home.classifier.read_bytes()
    done = calibrate_here(site, digits, split="train")
    assert done.classes == ("zero", "one")  # "two" is not known and left out
    assert done.flagged_after <= 0.05
    assert done.flagged_after <= done.flagged_before
    assert done.temperature > 0
    assert site.home.classifier.read_bytes() == before
    predicted = predict(site, digits)
    assert predicted.locally_calibrated
    assert predicted.flag_below == done.flag_below
    assert evaluate(site, digits).figures["accuracy"] <= 1
    *_, last = site.log.entries()
    assert last["event"] == "calibrated"
    # Another classifier is not judged by it.
    assert read_local(site.home, "0" * 64) is None


def test_too_few_images_do_not_calibrate():
    with pytest.raises(DataError, match="too few"):
        fit_local(np.full((5, 2), 0.5, np.float32), np.ones(5, np.float32), np.zeros(5, int))


def test_a_temperature_is_fitted_where_every_class_is_there():
    """Sure of everything and right in three of four: the right confidence is three quarters."""
    probabilities = np.tile(np.array([[0.99, 0.01]], np.float32), (400, 1))
    labels = (np.arange(400) % 4 == 0).astype(int)
    nearness = np.linspace(0.5, 1.5, 400).astype(np.float32)
    temperature, limit = fit_local(probabilities, nearness, labels)
    tempered = retemper(probabilities, temperature)
    assert tempered.max(1).mean() == pytest.approx(0.75, abs=0.01)
    assert np.mean(nearness < limit) == pytest.approx(0.05, abs=0.005)
    # Images of one class cannot tell, and the limit is never stricter than the classifier's.
    assert fit_local(probabilities, nearness + 5, np.zeros(400, int)) == (1.0, 1.0)


def test_reports_are_read_back_by_pydicom_and_dcmtk(site, dicom, tmp_path):
    hd = pytest.importorskip("highdicom")
    import pydicom

    predicted = predict(site, dicom)
    written, without = write_reports(predicted, dicom, tmp_path / "sr")
    assert written == 6
    assert without == (("stray.png", "not a DICOM file"),)
    by_image = {}
    for path in (tmp_path / "sr").iterdir():
        report = hd.sr.srread(path)
        assert path.stem == report.SOPInstanceUID
        assert report.VerificationFlag == "UNVERIFIED"
        assert report.CompletionFlag == "PARTIAL"
        (group,) = report.content.get_image_measurement_groups()
        (source,) = group.source_images
        by_image[source.ReferencedSOPSequence[0].ReferencedSOPInstanceUID] = (report, group)
    for item in predicted.predictions:
        if item.identifier == "stray.png":
            continue
        image = pydicom.dcmread(dicom / item.identifier)
        report, group = by_image[image.SOPInstanceUID]
        assert report.StudyInstanceUID == image.StudyInstanceUID
        assert report.PatientID == image.PatientID
        assert group.finding_type.meaning == item.label
        assert group.finding_type.scheme_designator == SCHEME
        (familiar,) = group.get_qualitative_evaluations()
        assert familiar.value.value == ("unfamiliar" if item.out_of_distribution else "familiar")
        certainty, *others = group.get_measurements()
        assert certainty.value == pytest.approx(100 * item.probability, abs=1e-3)
        assert [other.value for other in others] == pytest.approx(
            [100 * value for value in item.probabilities.values()], abs=1e-3
        )
    # Written again it is the same set of objects.
    names = {path.name for path in (tmp_path / "sr").iterdir()}
    again = ("--output", tmp_path / "x.json", "--dicom-sr", tmp_path / "sr")
    assert agent_json(site.home.root, "predict", "--data", dicom, *again)["dicom_sr"] == 6
    assert {path.name for path in (tmp_path / "sr").iterdir()} == names
    # Judged in any other way they are others, which say so.
    for asked, said in (
        ({"evidence": True}, b"evidence of the modules"),
        ({"prevalence": "zero=3,one=1"}, b"as common as: zero 0.75, one 0.25"),
        ({"prevalence": "zero=1,one=3"}, b"as common as: zero 0.25, one 0.75"),
        ({"views": "mirrored"}, b"views: mirrored"),
    ):
        folder = tmp_path / said[-9:].decode()
        write_reports(predict(site, dicom, **asked), dicom, folder)
        others = {path.name for path in folder.iterdir()}
        assert len(others) == 6
        assert names.isdisjoint(others)
        assert all(said in path.read_bytes() for path in folder.iterdir())
        names |= others

    dump = shutil.which("dsrdump")
    if dump is None:
        pytest.skip("dsrdump is not installed (Debian package dcmtk)")
    path = next((tmp_path / "sr").iterdir())
    shown = subprocess.run([dump, "+Pc", str(path)], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "Certainty of Finding" in shown.stdout
    assert DISCLAIMER.split(".")[0] in shown.stdout


def test_no_name_of_a_patient_is_said_aloud(site, digits, tmp_path):
    """highdicom and pydicom warn of odd header values and quote them."""
    pytest.importorskip("highdicom")
    import pydicom

    write_dicom(np.load(digits)["test_images"][0], tmp_path / "in" / "IM1", patient_id="P", seed=1)
    image = pydicom.dcmread(tmp_path / "in" / "IM1")
    image.PatientName = "Hawking"  # one component: highdicom warns
    image.save_as(tmp_path / "in" / "IM1")
    reports = ("--output", tmp_path / "x.csv", "--dicom-sr", tmp_path / "sr")
    done = agent(site.home.root, "predict", "--data", tmp_path / "in", *reports)
    assert done.code == 0, done.err
    assert "1 DICOM structured reports written" in done.out
    assert "Hawking" not in done.out + done.err
    (report,) = (tmp_path / "sr").iterdir()
    assert pydicom.dcmread(report).PatientName == "Hawking"


def test_reports_need_files_with_a_patient(site, digits, tmp_path):
    with pytest.raises(UsageError, match="DICOM files on disk"):
        write_reports(predict(site, digits), digits, tmp_path / "sr")
    assert not (tmp_path / "sr").exists()


def test_csv_of_nothing_is_a_header(site, digits):
    from dataclasses import replace

    empty = replace(predict(site, digits), predictions=())
    assert predictions_csv(empty).count("\n") == 1


def test_five_lines_of_python(site, digits):
    from client_agent import load_classifier

    classifier = load_classifier(site.home.classifier)
    image = classifier.prepare(np.load(digits)["test_images"][0])
    probabilities, in_distribution = classifier.run(image)
    assert classifier.classes[probabilities[0].argmax()] in ("zero", "one")
    assert probabilities.shape == (1, 2)
    assert in_distribution.shape == (1,)


def test_plain_onnxruntime_is_enough(site, digits):
    import onnxruntime

    session = onnxruntime.InferenceSession(site.home.classifier)
    images = np.load(digits)["test_images"][:5]
    probabilities, in_distribution = session.run(None, {"image": images})
    metadata = session.get_modelmeta().custom_metadata_map
    assert probabilities.shape == (5, len(json.loads(metadata["classes"])))
    assert in_distribution.shape == (5,)
    recipe = json.loads(metadata["preprocessing"])
    assert (recipe["image_size"], recipe["channels"]) == (8, 1)
    assert json.loads(metadata["calibration"])["temperature"] > 0
