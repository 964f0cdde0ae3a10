"""What one step from a format to the next changes in a home, as values. No I/O here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Write:
    """A file with new contents.

    Attributes:
        path: below the home, with slashes.
        data: all of it.
        mode: permission bits.
    """

    path: str
    data: bytes
    mode: int = 0o644


@dataclass(frozen=True)
class SetAside:
    """A file or folder that the next format has no use for: moved into the backup, never copied.

    Attributes:
        path: below the home, with slashes.
        reason: in words, for the admin.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Drop:
    """A file or folder that is deleted, since it can be made again from what stays or is set aside.

    Attributes:
        path: below the home, with slashes.
        reason: in words, for the admin.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """One step, up or back.

    Attributes:
        site_file: the new contents of `site.yaml`, which names the format.
        writes: files with new contents.
        set_aside: what is moved away.
        dropped: what is deleted.
        kept: folders of modules that stay in their places.
        to_do: what the admin has to do afterwards, one line each.
    """

    site_file: Write
    writes: tuple[Write, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    dropped: tuple[Drop, ...] = ()
    kept: tuple[str, ...] = ()
    to_do: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """How to get from format `source` to `target`, the next one, and back.

    Attributes:
        up: looks at a home of `source` and says what becomes of it; changes nothing.
        back: the same for a home of `target`.
    """

    source: int
    target: int
    up: Callable[[Path], Plan]
    back: Callable[[Path], Plan]
