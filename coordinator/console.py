"""Between commands and a terminal: results, one-line errors, one JSON document, exit codes."""

import errno
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from ff_protocol.errors import ExitCode, FederatedFactoryError
from ff_protocol.files import StorageError


class Console:
    """Where one command writes; with `as_json` one document on standard output, nothing else."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def result(self, value: dict[str, Any], lines: Sequence[str]) -> None:
        """Show a command's result: `value` for scripts, or `lines` for people."""
        if self.as_json:
            # One line, at once: scripts read it while `serve` goes on.
            print(json.dumps({"status": "ok", **value}, sort_keys=True), flush=True)
        elif not self.quiet:
            print("\n".join(lines), flush=True)

    def note(self, text: str) -> None:
        """Say something on standard error."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def failure(self, error: FederatedFactoryError) -> None:
        """Show a foreseeable fault."""
        if self.as_json:
            document = {
                "status": "error",
                "error_code": error.error_code,
                "exit_code": int(error.exit_code),
                "message": error.message,
                "hint": error.hint,
            }
            print(json.dumps(document, sort_keys=True))
            return
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)


def execute(work: Callable[[], None], console: Console) -> int:
    """Do a command's work and turn every foreseeable end into an exit code."""
    try:
        work()
    except FederatedFactoryError as error:
        console.failure(error)
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        console.failure(StorageError(f"cannot use {error.filename or 'a file'}: {error.strerror}"))
        return ExitCode.RESOURCES
    return ExitCode.OK


def home_command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a click command of `function(home, console, **options)`; its docstring is the help."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        @click.pass_context
        def invoke(ctx: click.Context, **options: Any) -> None:
            console = Console(as_json=options.pop("as_json"), quiet=options.pop("quiet"))
            folder = options.pop("home")

            def work() -> None:
                from coordinator.home import CoordinatorHome

                function(CoordinatorHome.locate(folder), console, **options)

            ctx.exit(execute(work, console))

        invoke.__doc__ = function.__doc__
        invoke.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        command = click.command(name)(invoke)
        command.params += _shared_options()
        return command

    return decorate


def _shared_options() -> list[click.Parameter]:
    from pathlib import Path

    return [
        click.Option(
            ["--home"],
            type=click.Path(path_type=Path),
            help="The operator's folder [default: FF_COORDINATOR_HOME, else "
            "~/.federated-factory-coordinator].",
        ),
        click.Option(
            ["--json", "as_json"], is_flag=True, help="One JSON document on standard output."
        ),
        click.Option(["--quiet", "-q"], is_flag=True, help="No remarks."),
    ]
