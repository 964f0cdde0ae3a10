"""`ff-agent`: the command group. Each command is one file in client_agent/commands."""

import sys

import click

from ff_protocol import __version__
from ff_protocol.command_line import CommandGroup
from ff_protocol.stopping import listen_for_stop


class _Commands(CommandGroup):
    package = "client_agent.commands"
    order = (
        "join",
        "scan",
        "run",
        "serve",
        "train",
        "audit",
        "waive",
        "send",
        "receive",
        "admit",
        "refuse",
        "trust",
        "synthesise",
        "fit",
        "evaluate",
        "calibrate",
        "predict",
        "report",
        "revoke",
        "withdraw",
        "verify-unlearning",
        "bundle",
        "status",
        "spec",
        "renew",
        "passphrase",
        "upgrade",
        "doctor",
        "inspect",
        "log",
        "demo",
        "completion",
    )


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ff-agent")
def main() -> None:
    """What a hospital runs: train generators on its own images, share them, use the others'.

    \b
    First time:   ff-agent join invitation.json --home DIR, ff-agent scan --data PATH
    Everything:   ff-agent run --home DIR --data PATH
    For good:     ff-agent serve --home DIR
    By hand:      train, audit, send, receive, synthesise, fit, evaluate, predict
    Withdraw:     ff-agent revoke MODULE, ff-agent withdraw --images LIST
    Check it:     ff-agent verify-unlearning CERTIFICATE

    Images never leave this machine. The home comes from --home, else FF_HOME, else
    ~/.federated-factory. Every command takes --json (one document on standard output), --quiet
    and --no-color; exit codes are listed in docs/exit-codes.md.
    """
    listen_for_stop()


if __name__ == "__main__":
    sys.exit(main())
