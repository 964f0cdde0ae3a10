"""`ff-agent evaluate`."""

from typing import Any

from client_agent.commands.common import Call, data_options, needed, plain, site_command


@site_command("evaluate")
@data_options
def command(call: Call, **values: Any) -> None:
    """Measure the classifier on labelled images that no one trained on.

    Reports accuracy, macro AUROC (one against the rest), macro F1 and recall per class. Classes
    that the classifier does not know count as errors. Of an .npz file the test split is taken
    unless --split says otherwise.
    """
    from client_agent.commands.options import make_source_options
    from client_agent.console import show_table
    from client_agent.steps.evaluate import evaluate

    evaluated = evaluate(
        call.site(),
        needed(values["data"], "--data"),
        labels=values["labels"],
        source=make_source_options(values),
        split=values["split"] or "test",
        progress=call.console.progress,
    )

    def lines() -> None:
        figures = evaluated.figures
        print(
            f"{evaluated.images} images: accuracy {figures['accuracy']:.4f}, "
            f"macro AUROC {_figure(figures['macro_auroc'])}, macro F1 {figures['macro_f1']:.4f}"
        )
        rows = [[name, _figure(value)] for name, value in figures["recall"].items()]
        show_table("", ["class", "recall"], rows)
        if evaluated.skipped:
            print(f"{len(evaluated.skipped)} unreadable images skipped")

    call.console.result(plain(evaluated), lines)


def _figure(value: float | None) -> str:
    return "not tested" if value is None else f"{value:.4f}"
