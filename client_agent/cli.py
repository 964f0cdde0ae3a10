"""`ff-agent`: the command group. Each command is one file in client_agent/commands."""

import importlib
import sys

import click

from client_agent.console import listen_for_stop
from ff_protocol import __version__

COMMANDS = (
    "join",
    "run",
    "train",
    "send",
    "receive",
    "synthesise",
    "fit",
    "evaluate",
    "predict",
    "revoke",
    "status",
    "inspect",
    "log",
    "demo",
)


class _Commands(click.Group):
    """Loads a command's file when the command is named; help lists them in order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which a site meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's file."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"client_agent.commands.{cmd_name}")
        command: click.Command = module.command
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ff-agent")
def main() -> None:
    """What a hospital runs: train generators on its own images, share them, use the others'.

    \b
    First time:   ff-agent join invitation.json --home DIR
    Everything:   ff-agent run --home DIR --data PATH
    By hand:      train, send, receive, synthesise, fit, evaluate, predict
    Withdraw:     ff-agent revoke MODULE

    Images never leave this machine. The home comes from --home, else FF_HOME, else
    ~/.federated-factory. Every command takes --json (one document on standard output) and --quiet;
    exit codes are listed in docs/exit-codes.md.
    """
    listen_for_stop()


if __name__ == "__main__":
    sys.exit(main())
