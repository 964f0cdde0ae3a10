"""The operator's folder: where each key, certificate and setting lies, and what is secret.

authority/root.key      makes issuing CAs only: may be moved offline after `init`
authority/signing.key   signs the federation spec
issuing/issuing.key     signs sites' certificates: every replica that enrols sites needs it
server/tls.key          the server's own
federation-ca.pem       public: the root certificate
coordinator.yaml        settings
store/                  the object store, unless coordinator.yaml names another
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field

from coordinator.errors import NotReadyError
from ff_protocol.certificates import (
    Credential,
    chain_from_pem,
    chain_to_pem,
    key_from_pem,
    key_to_pem,
)
from ff_protocol.files import read_bounded, storage_error, write_atomically
from ff_protocol.limits import KIB, MAX_CERTIFICATE_BYTES
from ff_protocol.schema import Strict, load_yaml, parse
from ff_protocol.trust import TrustRoot

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
    """Paths below one root folder."""

    root: Path

    @classmethod
    def locate(cls, home: Path | None) -> "CoordinatorHome":
        """Take `home`, else FF_COORDINATOR_HOME, else `~/.federated-factory-coordinator`."""
        named = home or os.environ.get("FF_COORDINATOR_HOME")
        return cls(Path(named) if named else Path.home() / ".federated-factory-coordinator")

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
        """Write key (0600) and chain."""
        write_atomically(self.key(name), key_to_pem(credential.key), mode=0o600)
        write_atomically(self.certificate(name), chain_to_pem(credential.chain))

    def credential(self, name: CredentialName) -> Credential:
        """Load a key and its chain.

        Raises:
            NotReadyError: a file is missing.
            MalformedError: a file is damaged.
        """
        key = self._read(self.key(name), MAX_CERTIFICATE_BYTES)
        chain = self._read(self.certificate(name), 4 * MAX_CERTIFICATE_BYTES)
        return Credential(key_from_pem(key), chain_from_pem(chain))

    def settings(self) -> Settings:
        """Load `coordinator.yaml`.

        Raises:
            NotReadyError: `init` has not been run.
            SpecError: it breaks its schema.
        """
        text = self._read(self.settings_file, 64 * KIB).decode("utf-8", errors="replace")
        return parse(Settings, load_yaml(text, "coordinator.yaml"), "coordinator.yaml")

    def write_settings(self, settings: Settings) -> None:
        """Write `coordinator.yaml`."""
        text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
        write_atomically(self.settings_file, text.encode())

    def trust(self) -> TrustRoot:
        """The federation's root and id.

        Raises:
            NotReadyError: `init` has not been run.
        """
        (root, *_) = chain_from_pem(self._read(self.root_certificate, MAX_CERTIFICATE_BYTES))
        return TrustRoot(root, self.settings().federation_id)

    def _read(self, path: Path, limit: int) -> bytes:
        try:
            return read_bounded(path, limit, path.name)
        except FileNotFoundError as error:
            raise NotReadyError(
                f"{path} is missing: {self.root} is not a coordinator's home",
                hint="run: ff-coordinator init --federation NAME --spec FILE, or name another "
                "--home",
            ) from error
        except OSError as error:
            raise NotReadyError(f"cannot read {path}: {error.strerror}") from error


def _names() -> tuple[CredentialName, ...]:
    return ("root", "signing", "issuing", "server")
