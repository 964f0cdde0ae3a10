"""What both programs have in common: lazy subcommands, --json and --quiet, one-line faults."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ff_protocol.errors import FederatedFactoryError


class CommandGroup(click.Group):
    """A group whose commands are files of one package, imported when they are named.

    Set `package` and `order` (the commands as a newcomer meets them) in a subclass.
    """

    package: str
    order: tuple[str, ...]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in order of use."""
        return list(self.order)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's file."""
        if cmd_name not in self.order:
            return None
        command: click.Command = importlib.import_module(
            f"{self.package}.{cmd_name.replace('-', '_')}"
        ).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write every command's whole first sentence, over two lines if need be."""
        commands = [(name, self.get_command(ctx, name)) for name in self.order]
        rows = [(name, item.get_short_help_str(limit=300)) for name, item in commands if item]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def shared_options(home_help: str) -> list[click.Parameter]:
    """The options that every command of both programs takes."""
    return [
        click.Option(["--home"], type=click.Path(path_type=Path), help=home_help),
        click.Option(
            ["--json", "as_json"], is_flag=True, help="One JSON document on standard output."
        ),
        click.Option(["--quiet", "-q"], is_flag=True, help="No progress, no remarks."),
        click.Option(
            ["--passphrase-file"],
            type=click.Path(path_type=Path),
            help="First line: passphrase of the private keys [default: FF_PASSPHRASE, or asked].",
        ),
    ]


def new_passphrase_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the `passphrase` commands: `action` and `new_passphrase_file`."""
    for option in (
        click.option(
            "--new-passphrase-file",
            type=click.Path(path_type=Path),
            help="First line: the new passphrase [default: FF_NEW_PASSPHRASE, or asked twice].",
        ),
        click.option("--remove", "action", flag_value="remove", help="Leave the keys unencrypted."),
        click.option("--change", "action", flag_value="change", help="Encrypt them anew."),
        click.option("--set", "action", flag_value="set", help="Encrypt the private keys."),
    ):
        function = option(function)
    return function


def print_success(value: dict[str, Any]) -> None:
    """Print a command's result for scripts: one line, at once."""
    document = {"status": "ok", **value}
    print(json.dumps(document, ensure_ascii=False, sort_keys=True), flush=True)


def print_failure(error: FederatedFactoryError, *, as_json: bool) -> None:
    """Print a foreseeable fault: a document on standard output, or two lines on standard error."""
    if as_json:
        document = {
            "status": "error",
            "error_code": error.error_code,
            "exit_code": int(error.exit_code),
            "message": error.message,
            "hint": error.hint,
        }
        print(json.dumps(document, ensure_ascii=False, sort_keys=True), flush=True)
        return
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
