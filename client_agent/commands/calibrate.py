"""`ff-agent calibrate`."""

from typing import Any

from client_agent.commands.common import Call, data_options, given, needed, plain, site_command


@site_command("calibrate")
@data_options
def command(call: Call, **values: Any) -> None:
    """Fit probabilities and the out-of-distribution flag to this site's own images.

    The classifier has seen synthetic images only. Give it labelled real ones that no module was
    trained on, of this site's own class if there are no others: they tell how unusual a real image
    looks to it, and, where images of every class are there, how sure it may be. The result stays
    beside the classifier on this machine; classifier.onnx does not change, and another classifier
    needs this again. Of an .npz file the validation split is taken unless --split says otherwise.
    """
    from client_agent.commands.options import make_source_options
    from client_agent.steps.calibrate import calibrate_here

    site = call.site()
    with site.exclusive():
        done = calibrate_here(
            site,
            # Training images in config.yaml would make it look better than it is.
            needed(values["data"] if given("data") else None, "--data"),
            labels=values["labels"],
            source=make_source_options(values),
            split=values["split"] if values["split"] is not None and given("split") else "val",
            progress=call.console.progress,
        )

    def lines() -> None:
        print(f"{done.images} images of {', '.join(done.classes)}, accuracy {done.accuracy:.4f}")
        print(
            f"temperature {done.temperature:g}: mean confidence {done.confidence_before:.4f} "
            f"-> {done.confidence_after:.4f}"
        )
        print(
            f"flag below {done.flag_below:g}: {done.flagged_before:.1%} of these images were "
            f"flagged, {done.flagged_after:.1%} are now"
        )

    call.console.result(plain(done), lines)
