"""`python -m benchmarks.recover`: how much of centralised accuracy each way of learning recovers.

The command line, a thin skin over benchmarks/recovery (data, splits, budget, results, figures) and
benchmarks/arms (the ways of learning).
"""

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

if not __package__:  # run as a file: an installed package may have the name of this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.arms import BY_DEFAULT, TITLES
from benchmarks.recovery.splits import SPLITS
from client_agent.console import Console, execute, show_table
from client_agent.errors import UsageError
from ff_protocol.durations import parse_duration
from ff_protocol.errors import ExitCode, FederatedFactoryError
from ff_protocol.stopping import listen_for_stop


@click.command("recover", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--dataset", required=True, help="MedMNIST-style FILE.npz, or `digits`.")
@click.option("--split", type=click.Choice(SPLITS), default="silos", show_default=True)
@click.option("--arms", help="Comma-separated; `all` is every one. [default: all but ddpm]")
@click.option("--seeds", default="0", show_default=True, help="Comma-separated.")
@click.option("--budget", default="15m", show_default=True,
              help="Wall time of the whole federation, sites in turn: generators, synthesis and "
              "classifier together. 15m, 1h, or seconds.")  # fmt: skip
@click.option("--curve", help="Several budgets, comma-separated, instead of --budget.")
@click.option("--validation", is_flag=True,
              help="Report on the validation images; the test images stay untouched.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=Path("recover-output"),
              show_default=True)  # fmt: skip
@click.option("--sites", type=click.IntRange(2), help="Number of sites (dirichlet, scanners).")
@click.option("--image-size", type=int, help="Resize to this many pixels. [default: as they are]")
@click.option("--preset", help="Of the generators. [default: tiny up to 32 px, else small]")
@click.option("--samples", type=click.IntRange(10), help="Most synthetic images a class.")
@click.option("--classifier-share", type=click.FloatRange(0.01, 0.9),
              help="Most of the budget that the classifier takes.")  # fmt: skip
@click.option("--synthesis-share", type=click.FloatRange(0.01, 0.9),
              help="Most of the budget that synthesis takes.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1),
              help="Of FedAvg, FedProx and SCAFFOLD. [default: what the time allows]")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="[default: all cores]")
@click.option("--device", type=click.Choice(["cpu", "cuda", "auto"]), default="cpu",
              show_default=True, help="Where generators are trained.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress.")
def main(**values: Any) -> None:
    """Compare ways of learning from hospitals that may not share images.

    Every arm has the same images, preparation, classifier and recipe; choices are made on the
    validation split. DIR/results.json is written after each run, and a table and figures (SVG) at
    the end; the same command again goes on with what is missing.

    Arms: own, fedavg, fedprox and scaffold (each also with _gn for GroupNorm), poe_local, gaussian,
    vae, ddpm, ff, ff_evidence, ff_mixed, ff_poe, centralised, centralised_ensemble.
    """
    console = Console(as_json=False, quiet=values["quiet"])
    listen_for_stop()
    sys.exit(execute(lambda: _run(console, **values), console))


def _run(console: Console, **values: Any) -> int:
    from benchmarks.recovery.budget import DEFAULT_RULE
    from benchmarks.recovery.contest import Contest
    from benchmarks.recovery.data import load_data
    from benchmarks.recovery.figures import write_figures
    from benchmarks.recovery.results import summarise
    from benchmarks.recovery.table import markdown
    from client_agent.classifier.settings import settings_for
    from ff_protocol.files import write_atomically
    from ff_protocol.spec import ClassifierSpec

    arms, seeds, budgets = _choices(values)
    data = load_data(values["dataset"], values["image_size"])
    threads = values["threads"] or len(os.sched_getaffinity(0))
    shares = {
        "samples_per_class": values["samples"],
        "classifier_share": values["classifier_share"],
        "synthesis_share": values["synthesis_share"],
    }
    rule = replace(DEFAULT_RULE, **{k: v for k, v in shares.items() if v is not None})
    if rule.classifier_share + rule.synthesis_share > 0.9:
        raise UsageError("classifier and synthesis leave less than a tenth for the generators")
    out: Path = values["out"]
    contest = Contest(
        data=data,
        split=values["split"],
        out=out,
        settings=settings_for(ClassifierSpec(threads=threads)),
        part="validation" if values["validation"] else "test",
        rule=rule,
        preset=values["preset"] or ("tiny" if data.image_size <= 32 else "small"),
        device=values["device"],
        sites=values["sites"],
        rounds=values["rounds"],
        command="python -m benchmarks.recover " + shlex.join(_arguments()),
        progress=console.progress,
    )
    results = contest.run(arms, seeds, budgets)
    _show(results.runs, data.name, results.to_dict()["comparisons"])
    summaries = summarise(results.runs)
    write_atomically(out / "results.md", markdown(summaries).encode())
    for path in [
        out / "results.json",
        out / "results.md",
        *write_figures(summaries, out, data.name),
    ]:
        print(path)
    for failure in results.failed:
        reason = f"{failure['arm']}, seed {failure['seed']}: {failure['reason']}"
        print(f"could not be run: {reason}", file=sys.stderr)
    return ExitCode.DATA if results.failed else ExitCode.OK


def _choices(values: dict[str, Any]) -> tuple[list[str], list[int], list[float]]:
    """Parse the comma-separated options."""
    given = values["arms"]
    arms = list(BY_DEFAULT) if not given else list(TITLES) if given == "all" else _parts(given)
    unknown = [name for name in arms if name not in TITLES]
    if unknown:
        raise UsageError(f"arm {unknown[0]!r} is unknown", hint=f"choose from {', '.join(TITLES)}")
    try:
        seeds = [int(text) for text in _parts(values["seeds"])]
        texts = _parts(values["curve"] or values["budget"])
        budgets = [parse_duration(text).total_seconds() for text in texts]
    except (ValueError, FederatedFactoryError) as error:
        raise UsageError(f"cannot read seeds or budget: {error}") from error
    if not arms or not seeds or not budgets or min(seeds) < 0:
        raise UsageError("give at least one arm, one seed from 0 and one budget")
    return list(dict.fromkeys(arms)), list(dict.fromkeys(seeds)), list(dict.fromkeys(budgets))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _arguments() -> list[str]:
    return [argument for argument in sys.argv[1:] if argument != "recover"]


def _show(runs: Any, name: str, comparisons: list[dict[str, Any]]) -> None:
    from benchmarks.recovery.results import summarise
    from benchmarks.recovery.table import COLUMNS, rows

    for split, part in dict.fromkeys((run.split, run.part) for run in runs):
        group = [run for run in runs if (run.split, run.part) == (split, part)]
        print()
        title = f"{name}, split {split}, {part} images, {group[0].sites} sites"
        show_table(title, list(COLUMNS), rows(summarise(group)))
    for comparison in comparisons:
        figures = ", ".join(
            f"{key.replace('_', ' ')} {value:.3f}"
            for key, value in comparison.items()
            if key not in ("arm", "split", "budget", "part")
        )
        print(f"{comparison['arm']}, {comparison['split']}, {comparison['budget']:g} s: {figures}")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.recover")
