"""Attacks by the folder: other files than published, and what is no file."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.hostile.attack import Attack


def _instead(make: Callable[[Path], object], name: str = "module.onnx") -> Callable[[Path], None]:
    """Put something in a file's place."""

    def tamper(folder: Path) -> None:
        (folder / name).rename(folder.parent / f"{folder.name}-{name}")
        make(folder / name)

    return tamper


def _beside(name: str) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")

    return tamper


def _append(folder: Path) -> None:
    with (folder / "module.onnx").open("ab") as stream:
        stream.write(b"\0")


def _truncate(folder: Path) -> None:
    os.truncate(folder / "module.onnx", 10)


def _flip(folder: Path) -> None:
    path = folder / "module.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


_NO_FILE = "not a regular file"

FILES = (
    Attack(
        "a link in a file's place",
        _NO_FILE,
        tamper=_instead(lambda at: at.symlink_to("/etc/passwd")),
    ),
    Attack(
        "a link to the right file",
        _NO_FILE,
        tamper=lambda folder: _instead(
            lambda at: at.symlink_to(folder.parent / f"{folder.name}-module.onnx")
        )(folder),
    ),
    Attack("a link to a device", _NO_FILE, tamper=_instead(lambda at: at.symlink_to("/dev/zero"))),
    Attack("a pipe in a file's place", _NO_FILE, tamper=_instead(lambda at: os.mkfifo(at))),
    Attack("a folder in a file's place", _NO_FILE, tamper=_instead(lambda at: at.mkdir())),
    Attack(
        "a link in the card's place",
        _NO_FILE,
        tamper=_instead(lambda at: at.symlink_to("/dev/zero"), "card.json"),
    ),
    Attack("a fourth file", "exactly", tamper=_beside("weights.bin")),
    Attack("a hidden folder", "exactly", tamper=_beside(".git/config")),
    Attack(
        "a name that looks the same",
        "exactly",
        tamper=_instead(lambda at: shutil.copy("/dev/null", at.with_name("m\u043edule.onnx"))),
    ),
    Attack("no signature", "exactly", tamper=lambda folder: (folder / "module.sig").unlink()),
    Attack("a byte more than published", "not the ones published", tamper=_append),
    Attack("fewer bytes than published", "not the ones published", tamper=_truncate),
    Attack("a bit other than published", "not the ones published", tamper=_flip),
)
