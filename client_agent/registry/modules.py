"""The modules that this site uses, or might: listing them, placing one, removing one wholly."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from client_agent.home import Home
from ff_protocol.card import Card, parse_card
from ff_protocol.files import read_bounded, storage_error, sync_folder
from ff_protocol.limits import MAX_CARD_BYTES
from ff_protocol.manifest import ALL_FILES, CARD_FILE, MODULE_FILE
from ff_protocol.spec import FederationSpec


@dataclass(frozen=True)
class AdmittedModule:
    """A module in `admitted/` (or `waiting/`): its digest, its card and where it lies."""

    digest: str
    card: Card
    folder: Path

    @property
    def model(self) -> Path:
        """Path of `module.onnx`."""
        return self.folder / MODULE_FILE


def read_card(folder: Path) -> Card:
    """Read and check the card of a module folder."""
    return parse_card(read_bounded(folder / CARD_FILE, MAX_CARD_BYTES, "card"))


def admitted_modules(home: Home) -> tuple[AdmittedModule, ...]:
    """Return the admitted modules ordered by digest: the order in which they enter a data set."""
    return _modules_in(home.root / "admitted")


def usable_modules(home: Home, spec: FederationSpec) -> tuple[AdmittedModule, ...]:
    """Return the admitted modules that fit the spec: it may have changed since they came."""
    return tuple(module for module in admitted_modules(home) if fits(module.card, spec))


def fits(card: Card, spec: FederationSpec) -> bool:
    """Say whether a module of this card makes images of the spec, of one of its classes."""
    return card.class_name in spec.classes and card.image == spec.image


def waiting_modules(home: Home) -> tuple[AdmittedModule, ...]:
    """Return the modules that wait for the admin's decision, ordered by digest."""
    return _modules_in(home.root / "waiting")


def _modules_in(folder: Path) -> tuple[AdmittedModule, ...]:
    if not folder.is_dir():
        return ()
    return tuple(
        AdmittedModule(entry.name, read_card(entry), entry)
        for entry in sorted(folder.iterdir())
        if not entry.name.startswith(".")
    )


def own_modules(home: Home) -> dict[str, Path]:
    """Return the finished modules in the outbox, by class name, in sorted order."""
    if not home.outbox.is_dir():
        return {}
    return {
        entry.name: entry
        for entry in sorted(home.outbox.iterdir())
        if not entry.name.startswith(".") and all((entry / name).is_file() for name in ALL_FILES)
    }


def place(source: Path, destination: Path, *, copy: bool) -> None:
    """Put a whole module folder at `destination` in one step.

    Args:
        source: a folder with exactly the three files.
        destination: where it shall lie; nothing happens if it is there already.
        copy: leave `source` where it is.

    Raises:
        StorageError: the disk refused; `destination` does not exist then.
    """
    if destination.is_dir():
        return
    staging = destination.with_name(f".{destination.name}.part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
        if copy:
            shutil.copytree(source, staging)
        else:
            source.rename(staging)
        for name in ALL_FILES:
            with (staging / name).open("rb") as stream:
                os.fsync(stream.fileno())
        staging.rename(destination)
        sync_folder(destination.parent)
    except OSError as error:
        raise storage_error(error, destination) from error


def remove_folder(folder: Path) -> bool:
    """Delete a folder in one visible step (rename, then delete); say whether it was there."""
    doomed = folder.with_name(f".{folder.name}.deleted")
    try:
        shutil.rmtree(doomed, ignore_errors=True)
        if not folder.is_dir():
            return False
        folder.rename(doomed)
        sync_folder(folder.parent)
        shutil.rmtree(doomed)
    except OSError as error:
        raise storage_error(error, folder) from error
    return True
