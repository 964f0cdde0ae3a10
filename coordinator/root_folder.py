"""Where a root's key lies: `root.key` and `root.pem` in a folder of their own, or in the home."""

from dataclasses import dataclass
from pathlib import Path

from coordinator.errors import NotReadyError, UsageError
from ff_protocol.certificates import Credential, chain_from_pem, chain_to_pem
from ff_protocol.errors import UntrustedError
from ff_protocol.files import read_bounded, storage_error, write_atomically
from ff_protocol.limits import MAX_CERTIFICATE_BYTES
from ff_protocol.passphrase import Passphrase


@dataclass(frozen=True)
class RootFolder:
    """A folder for one root, for example on a medium that is kept in a safe."""

    folder: Path
    passphrase: Passphrase

    @property
    def key(self) -> Path:
        """The root's private key."""
        return self.folder / "root.key"

    @property
    def certificate(self) -> Path:
        """The root's certificate."""
        return self.folder / "root.pem"


def write_root(place: RootFolder, root: Credential) -> None:
    """Write a new root's key (0600) and certificate.

    Raises:
        UsageError: there is a root already.
        StorageError: the disk refuses.
    """
    if place.key.exists() or place.certificate.exists():
        raise UsageError(
            f"there is a root in {place.folder} already", hint="name a new folder for the new root"
        )
    try:
        place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, place.folder) from error
    place.passphrase.write_key(place.key, root.key, like=place.key)
    write_atomically(place.certificate, chain_to_pem(root.chain))


def read_root(place: RootFolder) -> Credential:
    """Load a root.

    Raises:
        NotReadyError: it is not there.
        UntrustedError: key and certificate do not belong together.
        PassphraseError: the key is encrypted and the passphrase is missing or wrong.
    """
    try:
        key = place.passphrase.read_key(place.key)
        pem = read_bounded(place.certificate, MAX_CERTIFICATE_BYTES, "root certificate")
    except OSError as error:
        raise NotReadyError(
            f"cannot read the root in {place.folder}: {error.strerror}",
            hint="name the folder that holds root.key and root.pem with --root-key",
        ) from error
    root = Credential(key, chain_from_pem(pem))
    if root.leaf.public_key() != key.public_key():
        raise UntrustedError(f"the root certificate in {place.folder} is for another key")
    return root
