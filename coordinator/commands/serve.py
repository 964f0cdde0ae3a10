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
def command(
    home: "CoordinatorHome",
    console: Console,
    listen: str,
    log_format: Literal["plain", "json"],
    metrics: str | None,
    grace: float,
    stall: float,
    site_calls: int,
) -> None:
    """Serve sites over TLS 1.3 until SIGTERM or Ctrl-C, which let running calls end.

    Any number of these may run over one store. SIGHUP, or a new file, reloads the server's
    certificate without dropping a connection. The log goes to standard error.
    """
    import logging

    import ff_protocol.tls  # noqa: F401  (before grpc: it sets what gRPC reads once)
    from coordinator.calls import Limits
    from coordinator.logs import set_up_logs
    from coordinator.server import Server

    set_up_logs(log_format, quiet=console.quiet)
    server = Server(home, listen, limits=Limits(site_calls=site_calls, stall_seconds=stall))
    metrics_at = server.metrics.serve(metrics) if metrics else None

    def started(endpoint: str) -> None:
        if log_format == "json":
            logging.getLogger("coordinator").info("listening on %s", endpoint)
        else:
            console.note(f"listening on {endpoint}")
        if console.as_json:
            at = {"metrics": metrics_at} if metrics_at else {}
            console.result({"listening": endpoint, **at}, ())

    server.serve(started, grace)
