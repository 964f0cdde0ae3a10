"""What a home keeps of each own module beside it, for its owner's eyes; goes when the module goes.

Three files by the module's digest, each of mode 0600: the list of its images, its learning curve,
and the network behind it.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from client_agent.home import Home
from client_agent.registry.training_images import (
    TrainingImages,
    store_training_images,
    training_images_of,
)
from ff_protocol import canonical
from ff_protocol.files import read_bounded, storage_error, write_atomically
from ff_protocol.limits import MIB

if TYPE_CHECKING:
    from client_agent.generator.training import TrainedGenerator

_MAX_BYTES = 1024 * MIB


def keep_private(home: Home, record: TrainingImages, trained: "TrainedGenerator") -> None:
    """Write the files of the module `record.module`.

    Raises:
        StorageError: the disk refused.
    """
    from client_agent.generator.held_out import curve_values
    from client_agent.generator.keeping import save_generator

    store_training_images(home, record)
    curve = canonical.dumps(curve_values(trained.curve))
    write_atomically(home.learning_curve(record.module), curve, mode=0o600)
    save_generator(home.generator(record.module), trained)


def carry_over(home: Home, old: str, new: str) -> None:
    """Write the files of module `old` again for `new`, which is the same one with another card."""
    record = training_images_of(home, old)
    if record is not None:
        store_training_images(home, replace(record, module=new))
    for path in (home.learning_curve, home.generator):
        if path(old).is_file():
            data = read_bounded(path(old), _MAX_BYTES, "file")
            write_atomically(path(new), data, mode=0o600)


def forget_private(home: Home, digest: str) -> None:
    """Delete the files of a module.

    Raises:
        StorageError: the disk refused; run again.
    """
    path: Path
    for path in (home.learning_curve(digest), home.generator(digest), home.training_images(digest)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, path) from error
