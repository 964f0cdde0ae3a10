"""`ff-coordinator serve`: relay modules until told to stop."""

from typing import TYPE_CHECKING, Literal

import click

from coordinator.console import Console, home_command

if TYPE_CHECKING:
    from coordinator.home import CoordinatorHome


@home_command("serve")
@click.option(
    "--listen",
    default="0.0.0.0:7443",
    show_default=True,
    metavar="HOST:PORT",
    help="Port 0 takes a free one, which is printed.",
)
@click.option(
    "--log-format",
    type=click.Choice(["plain", "json"]),
    default="plain",
    show_default=True,
    help="Lines for people, or one JSON object a line.",
)
@click.option(
    "--metrics",
    metavar="HOST:PORT",
    help="Answer Prometheus there, without TLS or password: 127.0.0.1:9443 [default: off].",
)
@click.option(
    "--health",
    metavar="HOST:PORT",
    help="Answer gRPC health there, without TLS, for probes: 127.0.0.1:8443 [default: off].",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="What running transfers have to end after SIGTERM.",
)
@click.option(
    "--stall",
    type=click.FloatRange(min=0.1),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="A transfer without progress for so long is ended; it can go on later.",
)
@click.option(
    "--site-calls",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Calls that one site may have open at once.",
)
@click.option(
    "--site-calls-per-minute",
    type=click.IntRange(min=1),
    default=1200,
    show_default=True,
    help="Calls that one site may make in a minute, at this replica.",
)
@click.option(
    "--site-mebibytes",
    type=click.IntRange(min=16),
    default=16384,
    show_default=True,
    help="MiB that one site may send in a day (UTC), at all replicas together.",
)
@click.option(
    "--site-modules",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Modules that one site may have published and not revoked.",
)
def command(
    home: "CoordinatorHome",
    console: Console,
    listen: str,
    log_format: Literal["plain", "json"],
    metrics: str | None,
    health: str | None,
    grace: float,
    stall: float,
    site_calls: int,
    site_calls_per_minute: int,
    site_mebibytes: int,
    site_modules: int,
) -> None:
    """Serve sites over TLS 1.3 until SIGTERM or Ctrl-C, which let running calls end.

    Any number of these may run over one store. SIGHUP, or a new file, reloads the server's
    certificate without dropping a connection. The log goes to standard error.
    """
    import logging

    import ff_protocol.tls  # noqa: F401  (before grpc: it sets what gRPC reads once)
    from coordinator.calls import Limits
    from coordinator.logs import set_up_logs
    from coordinator.quotas import Quotas
    from coordinator.server import Server
    from ff_protocol.limits import MIB

    set_up_logs(log_format, quiet=console.quiet)
    quotas = Quotas(
        day_bytes=site_mebibytes * MIB,
        modules=site_modules,
        minute_calls=site_calls_per_minute,
    )
    limits = Limits(site_calls=site_calls, stall_seconds=stall, quotas=quotas)
    server = Server(home, listen, limits=limits)
    metrics_at = server.metrics.serve(metrics) if metrics else None
    health_at = server.serve_health(health) if health else None

    def started(endpoint: str) -> None:
        if log_format == "json":
            logging.getLogger("coordinator").info("listening on %s", endpoint)
        else:
            console.note(f"listening on {endpoint}")
        if console.as_json:
            more = {"metrics": metrics_at, "health": health_at}
            at = {name: address for name, address in more.items() if address}
            console.result({"listening": endpoint, **at}, ())

    server.serve(started, grace)
