"""`ff-agent demo`."""

from pathlib import Path

import click

from client_agent.commands.common import Call, site_command


@site_command("demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="New folder for everything [default: a temporary one].",
)
@click.option(
    "--dataset",
    default="digits",
    show_default=True,
    help="digits (offline), a MedMNIST-style FILE.npz, or a MedMNIST name to download.",
)
@click.option(
    "--sites", type=click.IntRange(2, 100), help="Hospitals [default: one per class, at most 10]."
)
@click.option(
    "--budget",
    help="Training time per site, divided over its classes [default: 6s for digits, else 4m].",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the split, of training and of every arm.",
)
@click.option(
    "--samples",
    type=click.IntRange(10),
    help="Synthetic images per class [default: 200 for digits, else 1000].",
)
def command(
    call: Call,
    out: Path | None,
    dataset: str,
    sites: int | None,
    budget: str | None,
    seed: int,
    samples: int | None,
) -> None:
    """Watch a whole federation on this machine: several hospitals that share no label.

    Starts a coordinator and the hospitals' agents as separate processes on the loopback address,
    lays out each hospital's images as DICOM files, trains, sends once, receives, synthesises,
    fits, revokes one hospital's modules, and compares with FedAvg, with each hospital alone, and
    with all images pooled. Needs no network for the default data set. A folder that an earlier
    demonstration filled is emptied first.
    """
    import tempfile

    from client_agent.demo.options import DemoOptions
    from client_agent.demo.results import show
    from client_agent.demo.run import demonstrate
    from ff_protocol.durations import parse_duration

    options = DemoOptions.make(
        out or Path(tempfile.mkdtemp(prefix="federated-factory-")),
        dataset=dataset,
        sites=sites,
        seconds_per_site=parse_duration(budget).total_seconds() if budget else None,
        seed=seed,
        samples_per_class=samples,
    )
    demonstration = demonstrate(options, call.console.progress)
    call.console.result(demonstration.to_dict(), lambda: show(demonstration))
