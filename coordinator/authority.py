"""Founding a federation: root, issuing CA, the authority's and the server's certificates, the spec.

The home appears whole or not at all: everything is made in a temporary folder beside it, which is
then renamed.
"""

import datetime as dt
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from coordinator.errors import UsageError
from coordinator.home import CoordinatorHome, Settings
from coordinator.root_folder import RootFolder, write_root
from coordinator.store import SPEC_KEY, Store, open_store
from ff_protocol import dsse, statements
from ff_protocol.certificates import (
    SIGNING_LIFETIME,
    TLS_LIFETIME,
    Credential,
    Purpose,
    chain_to_pem,
    issue_leaf,
    make_issuing,
    make_key,
    make_root,
    renewal_due,
    root_fingerprint,
)
from ff_protocol.clock import timestamp
from ff_protocol.files import read_bounded, storage_error, sync_folder, write_atomically
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.names import Identity, Role, slug
from ff_protocol.spec import FederationSpec
from ff_protocol.trust import TrustRoot

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Founded:
    """What `init` led to. `already` is true if the same federation was there before."""

    federation_id: str
    name: str
    fingerprint: str
    already: bool


def found(
    home: CoordinatorHome,
    name: str,
    spec: FederationSpec,
    *,
    hosts: tuple[str, ...] = (),
    endpoint: str | None = None,
    store: str | None = None,
    offline_root: Path | None = None,
    now: dt.datetime,
) -> Founded:
    """Make a federation; safe to repeat.

    Args:
        home: a folder that does not exist, is empty, or holds the same federation.
        name: for people; its letters and digits begin the federation id.
        spec: what all sites agree on.
        hosts: names and addresses at which sites reach the server, besides the local ones.
        endpoint: default address for invitations.
        store: URL of the object store, None for a folder in the home.
        offline_root: folder for the root's key, which is then never in the home.
        now: start of validity.

    Raises:
        UsageError: the home holds something else.
        StorageError, StoreError: the disk or the store refuses.
    """
    hosts = tuple(dict.fromkeys((*hosts, *LOCAL_HOSTS, socket.gethostname())))
    if home.settings_file.exists():
        return _already(home, name, spec, endpoint, store, now)
    if home.root.exists() and not _may_become_a_home(home.root):
        raise UsageError(f"{home.root} is not empty", hint="name a new folder with --home")
    root = make_root(name, now)
    federation_id = f"{slug(name)}-{root_fingerprint(root.leaf)[:12]}"
    settings = Settings(
        federation_id=federation_id, name=name, hosts=hosts, endpoint=endpoint, store=store
    )
    if offline_root is not None:
        write_root(RootFolder(offline_root, home.passphrase), root)
    _build(home, root, settings, spec, now, keep_root=offline_root is None)
    ensure_spec(home, open_store(home))
    return Founded(federation_id, name, root_fingerprint(root.leaf), already=False)


def ensure_spec(home: CoordinatorHome, store: Store) -> None:
    """Put the signed spec into the store if it is not there (a new or an interrupted store)."""
    envelope = read_bounded(home.spec_envelope, MAX_ENVELOPE_BYTES, "spec")
    if not store.put_if_absent(SPEC_KEY, envelope) and store.get(SPEC_KEY) != envelope:
        raise UsageError(
            "the store belongs to another federation",
            hint="give each federation a store of its own",
        )


def renew_server_certificate(home: CoordinatorHome, now: dt.datetime) -> Credential:
    """Return the server's credential, renewed under the same key if its end is near.

    If key and certificate are both gone, new ones are made: for a key that was stolen.
    """
    if not home.key("server").exists() and not home.certificate("server").exists():
        made = _server(home.credential("issuing"), home.settings(), now)
        home.write_credential("server", made)
        return made
    credential = home.credential("server")
    if not renewal_due(credential.leaf, now):
        return credential
    settings = home.settings()
    renewed = _server(home.credential("issuing"), settings, now, credential)
    home.write_credential("server", renewed)
    return renewed


def renew_authority_certificate(home: CoordinatorHome, now: dt.datetime) -> None:
    """Renew the certificate that the authority signs statements with, under the same key.

    A home without that key is left as it is: it relays only.
    """
    if not home.key("signing").exists() or not renewal_due(home.chain("signing")[0], now):
        return
    key = home.credential("signing").key
    renewed = _authority(home.credential("issuing"), home.settings(), now, key)
    home.write_credential("signing", renewed)


def _build(
    home: CoordinatorHome,
    root: Credential,
    settings: Settings,
    spec: FederationSpec,
    now: dt.datetime,
    *,
    keep_root: bool,
) -> None:
    destination = home.root.absolute()
    # A folder that is there stays: it may be a mount point, or in a folder that is not ours.
    there = destination.exists()
    sibling = destination.with_name(f".{destination.name}.{secrets.token_hex(6)}.part")
    temporary = destination / _UNFINISHED if there else sibling
    try:
        building = CoordinatorHome(temporary, home.passphrase)
        building.make_folders()
        _fill(building, root, settings, spec, now, keep_root=keep_root)
        try:
            if there:
                _move_up(building, home)
            else:
                temporary.rename(destination)
                sync_folder(destination.parent)
        except OSError as error:
            raise storage_error(error, destination) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


_UNFINISHED = ".init.part"


def _may_become_a_home(folder: Path) -> bool:
    """True if a folder is empty, or becomes so without what an `init` left that was cut off.

    Nothing is lost by that: no object has been signed for anyone before `init` ends.
    """
    if not folder.is_dir():
        return False
    made = CoordinatorHome(folder)
    in_use = made.store_folder.is_dir() and any(made.store_folder.iterdir())
    if (folder / _UNFINISHED).is_dir() and not in_use:
        for name in ("authority", "issuing", "server", "store", _UNFINISHED):
            shutil.rmtree(folder / name, ignore_errors=True)
        made.root_certificate.unlink(missing_ok=True)
    return not any(folder.iterdir())


def _move_up(building: CoordinatorHome, home: CoordinatorHome) -> None:
    """Move a finished home into the folder around it, what says that it is complete last."""
    home.root.chmod(0o700)
    for path in building.root.iterdir():
        if path != building.settings_file:
            path.rename(home.root / path.name)
    sync_folder(home.root)
    building.settings_file.rename(home.settings_file)
    sync_folder(home.root)


def _fill(
    home: CoordinatorHome,
    root: Credential,
    settings: Settings,
    spec: FederationSpec,
    now: dt.datetime,
    *,
    keep_root: bool,
) -> None:
    issuing = make_issuing(root, settings.name, now)
    authority = _authority(issuing, settings, now, make_key())
    if keep_root:
        home.write_credential("root", root)
    home.write_credential("issuing", issuing)
    home.write_credential("signing", authority)
    home.write_credential("server", _server(issuing, settings, now))
    write_atomically(home.root_certificate, chain_to_pem(root.chain))
    statement = statements.build_spec(spec, settings.federation_id, settings.name, timestamp(now))
    write_atomically(home.spec_envelope, dsse.sign(statement, authority))
    home.write_settings(settings)


def _authority(
    issuing: Credential, settings: Settings, now: dt.datetime, key: ec.EllipticCurvePrivateKey
) -> Credential:
    chain = issue_leaf(
        issuing,
        key.public_key(),
        Identity(settings.federation_id, Role.AUTHORITY),
        Purpose.SIGNING,
        now=now,
        lifetime=SIGNING_LIFETIME,
    )
    return Credential(key, chain)


def _server(
    issuing: Credential, settings: Settings, now: dt.datetime, old: Credential | None = None
) -> Credential:
    key = old.key if old else make_key()
    chain = issue_leaf(
        issuing,
        key.public_key(),
        Identity(settings.federation_id, Role.COORDINATOR),
        Purpose.TLS_SERVER,
        now=now,
        lifetime=TLS_LIFETIME,
        hosts=settings.hosts,
    )
    return Credential(key, chain)


def _already(
    home: CoordinatorHome,
    name: str,
    spec: FederationSpec,
    endpoint: str | None,
    store: str | None,
    now: dt.datetime,
) -> Founded:
    settings, trust = home.settings(), home.trust()
    held = _held_spec(home.spec_envelope, trust, now)
    if (settings.name, held, settings.endpoint, settings.store) != (name, spec, endpoint, store):
        raise UsageError(
            f"{home.root} holds the federation {settings.federation_id}, with other settings",
            hint="to change its spec: ff-coordinator spec FILE; for another federation name a new "
            "folder with --home",
        )
    ensure_spec(home, open_store(home))
    return Founded(settings.federation_id, name, trust.fingerprint, already=True)


def _held_spec(path: Path, trust: TrustRoot, now: dt.datetime) -> FederationSpec:
    envelope = read_bounded(path, MAX_ENVELOPE_BYTES, "spec")
    payload = dsse.verify(envelope, trust, (Role.AUTHORITY,), at=now, held=True)
    return statements.read_spec(payload)[0]
