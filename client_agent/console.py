"""Between functions and a terminal: progress bars, tables, one JSON document, exit codes.

People's text goes to standard error while work is under way and to standard output as the result;
with `--json` standard output holds exactly one JSON document. rich is imported on first use.
"""

import errno
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from client_agent.progress import SILENT, Progress, Task
from ff_protocol.command_line import print_failure, print_success
from ff_protocol.errors import ExitCode, FederatedFactoryError
from ff_protocol.stopping import stop_requested

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_PLAIN_INTERVAL_SECONDS = 10.0
_PLAIN_WIDTH = 120
_DISK_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
)


class Console:
    """Where one command writes.

    Attributes:
        as_json: one JSON document on standard output, nothing else there.
        quiet: no progress and no remarks.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet

    @property
    def progress(self) -> Progress:
        """Bars on a terminal, a line now and then elsewhere, nothing when quiet."""
        if self.quiet:
            return SILENT
        return TerminalProgress() if sys.stderr.isatty() else PlainProgress()

    def result(self, value: dict[str, Any], lines: Callable[[], None]) -> None:
        """Show a command's result: `value` for scripts, or `lines()` for people."""
        if self.as_json:
            print_success(value)
        elif not self.quiet:
            lines()

    def failure(self, error: FederatedFactoryError) -> None:
        """Show a foreseeable fault."""
        print_failure(error, as_json=self.as_json)


def execute(work: Callable[[], int | None], console: Console) -> int:
    """Do a command's work and turn every foreseeable end into an exit code.

    Bugs are not caught: their traceback is what a maintainer needs.
    """
    try:
        return work() or ExitCode.OK
    except FederatedFactoryError as error:
        console.failure(error)
        return error.exit_code
    except KeyboardInterrupt:
        return _stopped(console)
    except OSError as error:
        if stop_requested():
            return _stopped(console)
        if error.errno not in _DISK_ERRORS:
            from client_agent.temporary import is_missing, unusable

            if not is_missing(error):
                raise
            console.failure(unusable(error))
            return ExitCode.RESOURCES
        from ff_protocol.files import StorageError

        console.failure(
            StorageError(
                f"cannot use {error.filename or 'a file'}: {error.strerror}",
                hint="free space or mend the permissions, then run the same command again",
            )
        )
        return ExitCode.RESOURCES
    except MemoryError:
        hint = "use fewer images at a time or a machine with more memory"
        console.failure(_OutOfMemoryError("memory ran out", hint=hint))
        return ExitCode.RESOURCES
    except Exception:
        # A library that is interrupted while it loads may raise an error of its own instead.
        if stop_requested():
            return _stopped(console)
        raise


def _stopped(console: Console) -> int:
    console.failure(_StoppedError("interrupted", hint="run the same command again to go on"))
    return ExitCode.INTERRUPTED


class _StoppedError(FederatedFactoryError):
    exit_code = ExitCode.INTERRUPTED
    error_code = "interrupted"


class _OutOfMemoryError(FederatedFactoryError):
    exit_code = ExitCode.RESOURCES
    error_code = "out_of_memory"


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on standard output: numbers to the right; without lines into a pipe."""
    from rich.box import HEAVY_HEAD
    from rich.console import Console as RichConsole
    from rich.table import Table

    terminal = sys.stdout.isatty()
    box = HEAVY_HEAD if terminal else None
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False, box=box)
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) or row[index] == "" for row in rows)
        table.add_column(column, justify="right" if numeric and rows else "left")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    RichConsole(width=None if terminal else _PLAIN_WIDTH, highlight=False).print(table)


class TerminalProgress:
    """Bars on standard error by rich: one line per task, with rate of progress and remark."""

    def __init__(self) -> None:
        self._bars: RichProgress | None = None
        self._depth = 0
        self._lock = threading.Lock()  # classes that are trained at once begin and end their own

    @contextmanager
    def task(self, name: str, total: float) -> Iterator[Task]:
        """Show a bar until the context is left."""
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        with self._lock:
            if self._bars is None:
                self._bars = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(bar_width=30),
                    TextColumn("{task.percentage:>3.0f}%"),
                    TimeElapsedColumn(),
                    TextColumn("{task.fields[remark]}", style="dim"),
                    console=RichConsole(stderr=True),
                )
                self._bars.start()
            bars = self._bars
            identifier = bars.add_task(name, total=total, remark="")
            self._depth += 1
        try:
            yield _Bar(bars, identifier)
        finally:
            with self._lock:
                self._depth -= 1
                if self._depth == 0:
                    bars.stop()
                    self._bars = None

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        bars = self._bars
        if bars is not None:
            bars.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr)


class _Bar:
    def __init__(self, bars: "RichProgress", identifier: Any) -> None:
        self._bars = bars
        self._identifier = identifier

    def update(self, done: float, text: str = "") -> None:
        """Move the bar."""
        self._bars.update(self._identifier, completed=done, remark=text)


class PlainProgress:
    """A line at a task's end, and every ten seconds in between: for logs and pipes."""

    @contextmanager
    def task(self, name: str, total: float) -> Iterator[Task]:
        """Follow one task."""
        task = _PlainTask(name, total)
        yield task
        print(f"{name}: done in {time.monotonic() - task.started:.1f} s", file=sys.stderr)

    def note(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr)


class _PlainTask:
    def __init__(self, name: str, total: float) -> None:
        self._name = name
        self._total = total
        self.started = self._shown = time.monotonic()

    def update(self, done: float, text: str = "") -> None:
        """Print a line if the last one is old."""
        now = time.monotonic()
        if now - self._shown >= _PLAIN_INTERVAL_SECONDS:
            self._shown = now
            share = 100 * done / self._total if self._total else 100
            print(f"{self._name}: {share:.0f} % {text}", file=sys.stderr)
