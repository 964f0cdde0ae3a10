"""`ff-agent serve`."""

from pathlib import Path
from typing import Any

import click

from client_agent.commands.common import Call, site_command


@site_command("serve")
@click.option(
    "--every",
    default="6h",
    show_default=True,
    help="Compare everything with the coordinator at least so often: 1h, 6h, 1d.",
)
@click.option(
    "--settle",
    default="1m",
    show_default=True,
    help="Make a classifier once no module has come for so long.",
)
@click.option(
    "--train/--no-train",
    default=False,
    show_default=True,
    help="Also train the classes of the data in config.yaml that have no module, and send them.",
)
@click.option(
    "--hours",
    multiple=True,
    metavar="WINDOW",
    help="Compute only then, may be repeated: 22:00-06:00, 'mon-fri 20:00-06:00', sat,sun.",
)
@click.option(
    "--time-zone", help="Whose clock --hours means: Europe/Berlin [default: this machine's]."
)
@click.option(
    "--nice",
    type=click.IntRange(0, 19),
    default=10,
    show_default=True,
    help="Priority of what computes: 19 gives way to everything else.",
)
@click.option(
    "--max-load",
    type=click.FloatRange(0, 1000, min_open=True),
    help="Begin to compute only below this load a core, mean of a minute: 0.5.",
)
@click.option(
    "--gpu-memory",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the GPU's memory that training may take: 0.5 [default: all].",
)
@click.option(
    "--metrics-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write metrics there for node_exporter's textfile collector: NAME.prom.",
)
@click.option(
    "--log-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the log there [default: standard error].",
)
@click.option(
    "--log-size",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    metavar="MIB",
    help="Begin another log file at this size; 0 leaves that to logrotate.",
)
@click.option(
    "--log-keep",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Older log files to keep.",
)
def command(call: Call, **values: Any) -> None:
    """Keep this site in step with its federation, until Ctrl-C or SIGTERM.

    Receives what others publish, applies revocations at once, renews certificates, and makes the
    classifier anew when the set of modules has changed. What computes runs in a process of its own
    at low priority, and only when --hours and --max-load allow it; a classifier that knew a
    revoked module is deleted at once all the same. The coordinator may come and go. Run one for a
    home, as a service: docs/service.md.
    """
    from client_agent.service.logs import set_up_logs
    from client_agent.steps.serve import serve

    settings = _settings(values)
    set_up_logs(
        values["log_file"], values["log_size"], values["log_keep"], quiet=call.console.quiet
    )
    serve(call.home, settings)
    call.console.result({}, lambda: None)


def _settings(values: dict[str, Any]) -> Any:
    from client_agent.service.agenda import Plan
    from client_agent.service.schedule import Schedule, parse_window, parse_zone
    from client_agent.service.settings import Settings
    from ff_protocol.durations import parse_duration

    config = click.get_current_context().params.get("config")
    return Settings(
        plan=Plan(
            every_seconds=parse_duration(values["every"]).total_seconds(),
            settle_seconds=parse_duration(values["settle"]).total_seconds(),
            train=values["train"],
        ),
        schedule=Schedule(
            windows=tuple(parse_window(text) for text in values["hours"]),
            zone=parse_zone(values["time_zone"]) if values["time_zone"] else None,
            max_load=values["max_load"],
        ),
        nice=values["nice"],
        gpu_memory=values["gpu_memory"],
        metrics_file=values["metrics_file"],
        config=config.absolute() if config else None,
    )
