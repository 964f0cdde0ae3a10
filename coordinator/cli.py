"""`ff-coordinator`: the command group. Each command is one file in coordinator/commands."""

import importlib
import sys

import click

from ff_protocol import __version__

COMMANDS = ("init", "invite", "serve", "status")


class _Commands(click.Group):
    """Loads a command's file when the command is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which an operator meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's file."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"coordinator.commands.{cmd_name}").command
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ff-coordinator")
def main() -> None:
    """What a consortium's operator runs: found a federation, invite sites, relay their modules.

    \b
    Once:        ff-coordinator init --federation NAME --spec spec.yaml
    Every site:  ff-coordinator invite SITE --endpoint HOST:PORT
    Always:      ff-coordinator serve --listen 0.0.0.0:7443

    Exit codes are listed in docs/exit-codes.md.
    """


if __name__ == "__main__":
    sys.exit(main())
