"""The operator's folder: where each key, certificate and setting lies, and what is secret.

authority/root.key      certifies the issuing key only: offline from the start, or moved there
authority/signing.key   signs the federation spec
issuing/issuing.key     signs sites' certificates: every replica that enrols sites needs it
server/tls.key          the server's own
federation-ca.pem       public: the root certificate (two while it changes)
authority/roots.dsse    the newest change of root that this home has followed, if any
coordinator.yaml        settings
store/                  the object store, unless coordinator.yaml names another
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml
from cryptography import x509
from pydantic import Field

from coordinator.errors import NewerStoreError, NotReadyError
from ff_protocol import __version__
from ff_protocol.certificates import Credential, chain_from_pem, chain_to_pem
from ff_protocol.files import read_bounded, storage_error, write_atomically
from ff_protocol.limits import KIB, MAX_CERTIFICATE_BYTES
from ff_protocol.passphrase import Passphrase
from ff_protocol.schema import Strict, load_yaml, parse
from ff_protocol.trust import TrustRoot, parse_trust

FORMAT = 1
"""Of this folder. What the store needs is in coordinator/store_format.py."""

_CREDENTIALS = {
    "root": "authority/root",
    "signing": "authority/signing",
    "issuing": "issuing/issuing",
    "server": "server/tls",
}
CredentialName = Literal["root", "signing", "issuing", "server"]


class Settings(Strict):
    """Contents of `coordinator.yaml`.

    Attributes:
        version: of this format.
        federation_id: name and first 12 hex digits of the first root's SHA-256.
        name: the federation's, in words.
        hosts: DNS names and addresses in the server's certificate.
        endpoint: `HOST:PORT` that invitations name by default.
        store: URL of the object store; None is the folder `store` in the home.
    """

    version: Literal[1] = 1
    federation_id: str = Field(max_length=80)
    name: str = Field(max_length=200)
    hosts: tuple[str, ...] = Field(min_length=1)
    endpoint: str | None = None
    store: str | None = None


@dataclass(frozen=True)
class CoordinatorHome:
    """Paths below one root folder.

    Attributes:
        passphrase: where that of the private keys comes from, if they are encrypted.
    """

    root: Path
    passphrase: Passphrase = field(default_factory=Passphrase, compare=False, repr=False)

    @classmethod
    def locate(cls, home: Path | None, passphrase_file: Path | None = None) -> "CoordinatorHome":
        """Take `home`, else FF_COORDINATOR_HOME, else `~/.federated-factory-coordinator`."""
        named = home or os.environ.get("FF_COORDINATOR_HOME")
        folder = Path(named) if named else Path.home() / ".federated-factory-coordinator"
        return cls(folder, Passphrase(passphrase_file))

    @property
    def settings_file(self) -> Path:
        """Settings; its presence says that the home is complete."""
        return self.root / "coordinator.yaml"

    @property
    def root_certificate(self) -> Path:
        """The federation's root certificate, public."""
        return self.root / "federation-ca.pem"

    @property
    def spec_envelope(self) -> Path:
        """The signed federation spec, as first put into the store."""
        return self.root / "authority" / "spec.dsse"

    @property
    def roots_envelope(self) -> Path:
        """The newest change of root that this home has followed."""
        return self.root / "authority" / "roots.dsse"

    @property
    def store_folder(self) -> Path:
        """The default object store."""
        return self.root / "store"

    def key(self, name: CredentialName) -> Path:
        """Private key file."""
        return self.root / f"{_CREDENTIALS[name]}.key"

    def certificate(self, name: CredentialName) -> Path:
        """Certificate chain file, leaf first."""
        return self.root / f"{_CREDENTIALS[name]}.pem"

    def make_folders(self) -> None:
        """Make the folders, closed to others.

        Raises:
            StorageError: the disk refuses.
        """
        folders = {self.root, *(self.key(name).parent for name in _names()), self.store_folder}
        for folder in sorted(folders):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
            except OSError as error:
                raise storage_error(error, folder) from error

    def write_credential(self, name: CredentialName, credential: Credential) -> None:
        """Write key (0600, encrypted if this home's keys are) and chain."""
        # The key of the authority is the first that is made: it shows whether they are.
        path, first = self.key(name), self.key("signing")
        self.passphrase.write_key(path, credential.key, like=path if path.exists() else first)
        write_atomically(self.certificate(name), chain_to_pem(credential.chain))

    def credential(self, name: CredentialName) -> Credential:
        """Load a key and its chain.

        Raises:
            NotReadyError: a file is missing.
            MalformedError: a file is damaged.
            PassphraseError: the key is encrypted and the passphrase is missing or wrong.
        """
        try:
            key = self.passphrase.read_key(self.key(name))
        except OSError as error:
            raise self._unreadable(self.key(name), error) from error
        return Credential(key, self.chain(name))

    def chain(self, name: CredentialName) -> tuple[x509.Certificate, ...]:
        """Load a certificate chain, leaf first, without its key.

        Raises:
            NotReadyError: the file is missing. MalformedError: it is damaged.
        """
        return chain_from_pem(self._read(self.certificate(name), 4 * MAX_CERTIFICATE_BYTES))

    def settings(self) -> Settings:
        """Load `coordinator.yaml`.

        Raises:
            NotReadyError: `init` has not been run.
            SpecError: it breaks its schema.
            NewerStoreError: a later version of the program wrote it.
        """
        text = self._read(self.settings_file, 64 * KIB).decode("utf-8", errors="replace")
        value = load_yaml(text, "coordinator.yaml")
        version = value.get("version") if isinstance(value, dict) else None
        if type(version) is int and version > FORMAT:
            raise NewerStoreError(
                f"{self.root} is of format {version}; this is {__version__} and reads formats up "
                f"to {FORMAT}",
                hint="install the version of ff-coordinator that wrote it, or a later one",
            )
        return parse(Settings, value, "coordinator.yaml")

    def write_settings(self, settings: Settings) -> None:
        """Write `coordinator.yaml`."""
        text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
        write_atomically(self.settings_file, text.encode())

    def trust(self) -> TrustRoot:
        """The federation's roots and id.

        Raises:
            NotReadyError: `init` has not been run.
        """
        pem = self._read(self.root_certificate, 4 * MAX_CERTIFICATE_BYTES)
        return parse_trust(pem, self.settings().federation_id)

    def _read(self, path: Path, limit: int) -> bytes:
        try:
            return read_bounded(path, limit, path.name)
        except OSError as error:
            raise self._unreadable(path, error) from error

    def _unreadable(self, path: Path, error: OSError) -> NotReadyError:
        if isinstance(error, FileNotFoundError):
            return NotReadyError(
                f"{path} is missing: {self.root} is not a coordinator's home",
                hint="run: ff-coordinator init --federation NAME --spec FILE, or name another "
                "--home",
            )
        return NotReadyError(f"cannot read {path}: {error.strerror}")


def _names() -> tuple[CredentialName, ...]:
    return ("root", "signing", "issuing", "server")
