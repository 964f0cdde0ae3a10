"""`ff-agent evaluate`."""

from typing import Any

from client_agent.commands.common import (
    Call,
    data_options,
    needed,
    plain,
    site_command,
)
from client_agent.commands.judging import judging_options, say_judging


@site_command("evaluate")
@data_options
@judging_options
def command(call: Call, **values: Any) -> None:
    """Measure the classifier on labelled images that no one trained on.

    Reports accuracy, macro AUROC (one against the rest), macro F1 and recall per class. Classes
    that the classifier does not know count as errors. Of an .npz file the test split is taken
    unless --split says otherwise.
    """
    from client_agent.classifier.curves import wilson
    from client_agent.commands.options import make_source_options
    from client_agent.console import show_table
    from client_agent.steps.evaluate import evaluate
    from client_agent.text import bar

    evaluated = evaluate(
        call.site(),
        needed(values["data"], "--data"),
        labels=values["labels"],
        source=make_source_options(values),
        split=values["split"] or "test",
        evidence=values["evidence"],
        prevalence=values["prevalence"],
        views=values["views"],
        progress=call.console.progress,
    )

    def lines() -> None:
        figures = evaluated.figures
        asked = ", the modules asked, too" if evaluated.evidence else ""
        print(
            f"{evaluated.images} images{asked}: accuracy {figures['accuracy']:.4f}, "
            f"macro AUROC {_figure(figures['macro_auroc'])}, macro F1 {figures['macro_f1']:.4f}"
        )
        for line in say_judging(evaluated.prevalence, evaluated.views):
            print(line)
        rows: list[list[object]] = []
        for (name, value), counts in zip(
            figures["recall"].items(), figures["confusion"], strict=True
        ):
            found = counts[len(rows)]
            row = [name, sum(counts), _figure(value), "", ""]
            if value is not None:
                low, high = wilson(found, sum(counts))
                row[3:] = [f"{low:.3f} to {high:.3f}", bar(value)]
            rows.append(row)
        show_table("", ["class", "images", "recall", "95 % interval", ""], rows)
        print(f"{evaluated.flagged:.1%} flagged as unlike what the classifier was trained on")
        if evaluated.skipped:
            print(f"{len(evaluated.skipped)} unreadable images skipped")

    call.console.result(plain(evaluated), lines)


def _figure(value: float | None) -> str:
    return "not tested" if value is None else f"{value:.4f}"
