"""Between commands and a terminal: results, one-line errors, one JSON document, exit codes."""

import errno
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from ff_protocol.command_line import print_failure, print_success, shared_options
from ff_protocol.errors import ExitCode, FederatedFactoryError
from ff_protocol.files import StorageError

HOME_HELP = (
    "The operator's folder [default: FF_COORDINATOR_HOME, else ~/.federated-factory-coordinator]."
)


class Console:
    """Where one command writes; with `as_json` one document on standard output, nothing else."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def result(self, value: dict[str, Any], lines: Sequence[str]) -> None:
        """Show a command's result: `value` for scripts, or `lines` for people."""
        if self.as_json:
            print_success(value)  # scripts read it while `serve` goes on
        elif not self.quiet:
            print("\n".join(lines), flush=True)

    def note(self, text: str) -> None:
        """Say something on standard error."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def failure(self, error: FederatedFactoryError) -> None:
        """Show a foreseeable fault."""
        print_failure(error, as_json=self.as_json)


def execute(work: Callable[[], ExitCode | None], console: Console) -> int:
    """Do a command's work and turn every foreseeable end into an exit code."""
    try:
        return work() or ExitCode.OK
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


def home_command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a click command of `function(home, console, **options)`; its docstring is the help.

    The function may return an exit code; None is success.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        @click.pass_context
        def invoke(ctx: click.Context, **options: Any) -> None:
            console = Console(as_json=options.pop("as_json"), quiet=options.pop("quiet"))
            folder, passphrase_file = options.pop("home"), options.pop("passphrase_file")

            def work() -> ExitCode | None:
                from coordinator.home import CoordinatorHome

                home = CoordinatorHome.locate(folder, passphrase_file)
                code: ExitCode | None = function(home, console, **options)
                return code

            ctx.exit(execute(work, console))

        invoke.__doc__ = function.__doc__
        invoke.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        command = click.command(name)(invoke)
        command.params += shared_options(HOME_HELP)
        return command

    return decorate
