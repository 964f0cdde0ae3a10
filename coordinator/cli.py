"""`ff-coordinator`: the command group. Each command is one file in coordinator/commands."""

import sys

import click

from ff_protocol import __version__
from ff_protocol.command_line import CommandGroup


class _Commands(CommandGroup):
    package = "coordinator.commands"
    order = (
        "init",
        "invite",
        "approve",
        "serve",
        "status",
        "spec",
        "expel",
        "rotate-root",
        "passphrase",
        "gc",
        "doctor",
    )


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ff-coordinator")
def main() -> None:
    """What a consortium's operator runs: found a federation, invite sites, relay their modules.

    \b
    Once:        ff-coordinator init --federation NAME --spec spec.yaml
    Every site:  ff-coordinator invite SITE --endpoint HOST:PORT
    Always:      ff-coordinator serve --listen 0.0.0.0:7443
    In doubt:    ff-coordinator doctor
    Every day:   ff-coordinator gc

    Exit codes are listed in docs/exit-codes.md.
    """


if __name__ == "__main__":
    sys.exit(main())
