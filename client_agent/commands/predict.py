"""`ff-agent predict`."""

from pathlib import Path

import click

from client_agent.commands.common import Call, needed, plain, site_command


@site_command("predict")
@click.option("--data", type=click.Path(path_type=Path), help="Images: folder, DICOM tree, .npz.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Of an .npz file.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write here: CSV, or JSON if the name ends in .json [default: CSV to the terminal].",
)
def command(call: Call, data: Path | None, split: str | None, output: Path | None) -> None:
    """Label new images with the classifier in use.

    Not a medical device: for research, on images prepared as the federation agreed.
    """
    from client_agent.steps.evaluate import predict, predictions_csv, write_predictions

    predicted = predict(
        call.site(),
        needed(data, "--data"),
        split=split or "test",
        progress=call.console.progress,
    )
    if output is not None:
        write_predictions(predicted, output)

    def lines() -> None:
        if output is None:
            print(predictions_csv(predicted), end="")
        else:
            print(f"{len(predicted.predictions)} predictions written to {output}")

    call.console.result(plain(predicted), lines)
