"""How long work reports itself, without knowing who watches: a terminal, a log or nobody."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of work under way."""

    def update(self, done: float, text: str = "") -> None:
        """Say how much is done, in the unit of the task's total, with a short remark."""


class Progress(Protocol):
    """Something that shows tasks and notes."""

    def task(self, name: str, total: float) -> AbstractContextManager[Task]:
        """Begin a piece of work of `total` units; it ends when the context is left."""

    def note(self, text: str) -> None:
        """Say one line."""


class _SilentTask:
    def update(self, done: float, text: str = "") -> None:
        """Say nothing."""


class SilentProgress:
    """Shows nothing."""

    @contextmanager
    def task(self, name: str, total: float) -> Iterator[Task]:
        """Begin a piece of work that nobody watches."""
        yield _SilentTask()

    def note(self, text: str) -> None:
        """Say nothing."""


SILENT = SilentProgress()
