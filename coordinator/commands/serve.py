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
def command(
    home: "CoordinatorHome",
    console: Console,
    listen: str,
    log_format: Literal["plain", "json"],
) -> None:
    """Serve sites over TLS 1.3 until SIGTERM or Ctrl-C, which let running calls end.

    Any number of these may run over one store. The log goes to standard error.
    """
    import logging

    from coordinator.logs import set_up_logs
    from coordinator.server import Server

    set_up_logs(log_format, quiet=console.quiet)
    server = Server(home, listen)

    def started(endpoint: str) -> None:
        if log_format == "json":
            logging.getLogger("coordinator").info("listening on %s", endpoint)
        else:
            console.note(f"listening on {endpoint}")
        if console.as_json:
            console.result({"listening": endpoint}, ())

    server.serve(started)
