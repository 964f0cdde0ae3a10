"""`ff-agent predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from client_agent.commands.common import (
    LOCATION,
    Call,
    needed,
    plain,
    site_command,
)
from client_agent.commands.judging import judging_options, say_judging

if TYPE_CHECKING:
    from client_agent.steps.predict import Predicted


@site_command("predict")
@click.option(
    "--data", type=LOCATION, help="Images: folder, DICOM tree, .npz, dicomweb:https://..."
)
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Of an .npz file.")
@judging_options
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write here: CSV, or JSON if the name ends in .json [default: CSV to the terminal].",
)
@click.option(
    "--dicom-sr",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write a DICOM Structured Report (TID 1500) for each image into this folder.",
)
def command(
    call: Call,
    data: Any,
    split: str | None,
    evidence: bool,
    prevalence: str,
    views: str,
    output: Path | None,
    dicom_sr: Path | None,
) -> None:
    """Label new images with the classifier in use.

    Each image gets a calibrated probability a class, and `out_of_distribution`: yes means that the
    classifier was not trained on images of this kind and its label says nothing. Classes without a
    module, revoked ones among them, are not guessed. `ff-agent calibrate` adapts both to this
    site's images.

    Not a medical device: for research, on images prepared as the federation agreed.
    """
    from client_agent import text
    from client_agent.steps.predict import predict, predictions_csv, write_predictions

    source = needed(data, "--data")
    progress = call.console.progress
    predicted = predict(
        call.site(),
        source,
        split=split or "test",
        evidence=evidence,
        prevalence=prevalence,
        views=views,
        progress=progress,
    )
    if output is not None:
        write_predictions(predicted, output)
    reports: tuple[int, tuple[tuple[str, str], ...]] = (0, ())
    if dicom_sr is not None:
        from client_agent.report.dicom_sr import write_reports

        reports = write_reports(predicted, source, dicom_sr)

    def lines() -> None:
        if output is None:
            print(predictions_csv(predicted), end="")
        else:
            print(f"{len(predicted.predictions)} predictions written to {output}")
        # With CSV on standard output, what is said about it goes beside it.
        say = progress.note if output is None else text.say
        for line in _summary(predicted):
            say(line)
        if dicom_sr is not None:
            say(f"{reports[0]} DICOM structured reports written to {dicom_sr}")
            for identifier, reason in reports[1][:10]:
                say(f"no report for {identifier}: {reason}")

    document = plain(predicted) | {"dicom_sr": reports[0], "without_dicom_sr": list(reports[1])}
    call.console.result(document, lines)


def _summary(predicted: "Predicted") -> list[str]:
    count = len(predicted.predictions)
    lines = [
        f"{count} images in {predicted.seconds:.1f} s: "
        f"{predicted.images_per_second:,.0f} images/s, the classifier alone "
        f"{predicted.classifier_images_per_second:,.0f} images/s"
    ]
    lines += say_judging(predicted.prevalence, predicted.views)
    if predicted.flagged:
        lines.append(
            f"{predicted.flagged} of {count} are unlike what the classifier was trained on "
            "(out_of_distribution): do not rely on their labels"
        )
    if not predicted.locally_calibrated:
        lines.append(
            "not calibrated on this site's images: ff-agent calibrate --data PATH makes "
            "probabilities and the flag fit them"
        )
    if predicted.unknown_classes:
        names = ", ".join(predicted.unknown_classes)
        lines.append(f"classes that the classifier does not know: {names}")
    if predicted.skipped:
        lines.append(f"{len(predicted.skipped)} unreadable images skipped")
    return lines
