"""An opened home: the site's identity, the federation's root and spec, and its credentials.

Every step takes a `Site`. Opening it reads and verifies small files only.
"""

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field

from client_agent.credentials import load_credential
from client_agent.errors import IdentityError, NotReadyError, UsageError
from client_agent.home import Home
from client_agent.registry.log import Log
from client_agent.upgrade.formats import FORMAT, check_format, read_format
from ff_protocol import __version__, dsse
from ff_protocol.certificates import Credential
from ff_protocol.clock import utc_now
from ff_protocol.errors import FederatedFactoryError, MalformedError
from ff_protocol.files import read_bounded, storage_error, write_atomically
from ff_protocol.limits import MAX_CERTIFICATE_BYTES, MAX_SPEC_BYTES
from ff_protocol.names import Role
from ff_protocol.revisions import SpecRevision, read_revision
from ff_protocol.schema import Strict, load_yaml, parse
from ff_protocol.spec import FederationSpec
from ff_protocol.trust import TrustRoot, parse_trust


class SiteFile(Strict):
    """Contents of `site.yaml`: who this site is and how it reaches its coordinator.

    Attributes:
        version: format of the home (client_agent/upgrade).
        program: version of the program that brought it there.
        site_id: this site's name in the federation, as its certificates say it.
        federation_id: name and first 12 hex digits of the first root's SHA-256.
        federation_name: in words.
        endpoint: `HOST:PORT` to dial.
        server_name: the name that the coordinator's certificate must carry; None: the host dialled.
        proxy: `http://[USER:PASSWORD@]HOST:PORT` to pass; None connects straight.
        patience_seconds: a transfer fails after so many seconds without progress.
        roots_version: version of the federation's roots with which this site joined.
    """

    version: Literal[2] = FORMAT
    program: str = Field(default=__version__, max_length=40)
    site_id: str = Field(max_length=63)
    federation_id: str = Field(max_length=80)
    federation_name: str = Field(max_length=200)
    endpoint: str = Field(max_length=300)
    server_name: str | None = None
    proxy: str | None = Field(default=None, max_length=500)
    patience_seconds: float = Field(default=120, ge=1, le=86_400)
    roots_version: int = Field(default=1, ge=1)

    def write(self, path: Path) -> None:
        """Write as YAML."""
        stated = {"version": self.version, "program": self.program}
        values = {**stated, **self.model_dump(exclude_defaults=True)}
        text = yaml.safe_dump(values, sort_keys=False)
        # A proxy's password is nobody else's business.
        write_atomically(path, text.encode(), mode=0o600 if self.proxy else 0o644)


@dataclass(frozen=True)
class Site:
    """A site that has joined a federation.

    Attributes:
        revision: of the federation spec, as adopted here.
    """

    home: Home
    identity: SiteFile
    trust: TrustRoot
    revision: SpecRevision

    @property
    def spec(self) -> FederationSpec:
        """The federation spec that is in force here."""
        return self.revision.spec

    def adopt(self, revision: SpecRevision) -> None:
        """Go by another revision of the spec from now on; only `registry.specs` calls this."""
        object.__setattr__(self, "revision", revision)

    @property
    def site_id(self) -> str:
        """This site's name in the federation."""
        return self.identity.site_id

    @cached_property
    def log(self) -> Log:
        """The site's record."""
        return Log(self.home.log)

    def credential(self, name: Literal["tls", "signing"]) -> Credential:
        """Load a private key and its certificate chain.

        Raises:
            NotReadyError: the files are missing.
            PassphraseError: the key is encrypted and the passphrase is missing or wrong.
        """
        return load_credential(self.home, name)

    @contextlib.contextmanager
    def exclusive(self, *, wait: bool = False) -> Iterator[None]:
        """Hold the home's lock: see `hold_home`.

        Raises:
            OutdatedHomeError: the home went back to an earlier format since it was opened.
        """
        with hold_home(self.home, wait=wait):
            check_format(read_format(self.home), self.home.root)
            yield


@contextlib.contextmanager
def hold_home(home: Home, *, wait: bool = False) -> Iterator[None]:
    """Hold a home's lock, so that two commands never change one home at a time.

    Args:
        home: whose.
        wait: wait for a command that holds it instead of giving up.

    Raises:
        UsageError: another command holds it.
    """
    try:
        stream = home.lock.open("a")
    except OSError as error:
        raise storage_error(error, home.lock) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise UsageError(
                f"another ff-agent command is at work in {home.root}",
                hint="wait for its end, or stop it (Ctrl-C loses nothing), and run this again",
            ) from error
        yield


def open_site(home: Home) -> Site:
    """Open a joined home and verify the signed federation spec in it.

    Raises:
        NotReadyError: the home has not joined a federation.
        OutdatedHomeError, NewerHomeError: it has another format than this program's.
        SpecError, IdentityError: a file in the home has been damaged or tampered with.
    """
    if not home.site_file.is_file():
        raise NotReadyError(
            f"{home.root} has not joined a federation",
            hint="run: ff-agent join INVITATION --home DIR, or name another --home",
        )
    check_format(read_format(home), home.root)
    try:
        text = read_bounded(home.site_file, MAX_SPEC_BYTES, "site.yaml").decode("utf-8")
        identity = parse(SiteFile, load_yaml(text, "site.yaml"), "site.yaml")
        root = read_bounded(home.root_certificate, MAX_CERTIFICATE_BYTES, "root certificate")
        trust = parse_trust(root, identity.federation_id)
        envelope = read_bounded(home.spec_envelope, MAX_SPEC_BYTES, "spec")
    except (OSError, ValueError, MalformedError) as error:
        raise IdentityError(
            f"{home.root} is damaged: {error}",
            hint="restore the home from a backup, or join again in a new one",
        ) from error
    return Site(home, identity, trust, read_spec_envelope(envelope, trust, held=True))


def read_spec_envelope(envelope: bytes, trust: TrustRoot, *, held: bool = False) -> SpecRevision:
    """Verify a signed federation spec, of whichever revision.

    Args:
        envelope: as received, or as it lies in the home.
        trust: the federation's root.
        held: it was accepted when the site joined.

    Raises:
        IdentityError: the authority of this federation did not sign it.
    """
    try:
        payload = dsse.verify(envelope, trust, (Role.AUTHORITY,), at=utc_now(), held=held)
        return read_revision(payload)
    except FederatedFactoryError as error:
        raise IdentityError(f"the federation spec is not trusted: {error.message}") from error
