"""This site's keys with their certificates: loading a pair, and changing it for a new one.

A pair is two files, and two files cannot be replaced in one step. So the new ones are written
beside the old ones (`tls-next.key`, `tls-next.pem`) and then renamed, key first; whoever loads
takes a key and a certificate that belong together. At every moment there are such.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from client_agent.errors import IdentityError, NotReadyError, UsageError
from client_agent.home import Home
from ff_protocol.certificates import Credential, Purpose, chain_from_pem, make_key
from ff_protocol.clock import utc_now
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.files import read_bounded, storage_error, sync_folder, write_atomically
from ff_protocol.limits import KIB, MAX_CERTIFICATE_BYTES
from ff_protocol.names import Role
from ff_protocol.trust import TrustRoot

PURPOSES = {"tls": Purpose.TLS_CLIENT, "signing": Purpose.SIGNING}
_NEXT = "-next"


def load_credential(home: Home, name: str) -> Credential:
    """Load a private key and its certificate chain.

    Args:
        home: the site's home.
        name: `tls` or `signing`.

    Raises:
        NotReadyError: there is none.
        IdentityError: no key fits any certificate.
        PassphraseError: the key is encrypted and the passphrase is missing or wrong.
    """
    for _ in range(2):  # another command may exchange the pair while it is being read
        with contextlib.suppress(FileNotFoundError):
            credential = _load(home, name)
            if credential is not None:
                return credential
    for path in (home.key(name), home.certificate(name)):
        if not path.exists() and not (path == home.key(name) and home.key_uri(name).exists()):
            raise NotReadyError(f"{path} is missing", hint="run: ff-agent join INVITATION")
    raise IdentityError(
        f"the {name} certificate is not for this site's key",
        hint="restore keys/ and certificates/ from one backup, or ask for a new invitation: "
        "ff-agent renew --invitation FILE",
    )


def load_leaf(home: Home, name: str) -> x509.Certificate:
    """Return the certificate in use without touching a key: for those who only look at dates.

    Raises:
        NotReadyError: there is none.
    """
    try:
        return chain_from_pem(_read(home.certificate(name)))[0]
    except FileNotFoundError as error:
        raise NotReadyError(
            f"{home.certificate(name)} is missing", hint="run: ff-agent join INVITATION"
        ) from error


def use_token(home: Home, uri: str) -> None:
    """Have the signing key be one in a token, in a home that has not joined.

    Raises:
        UsageError: not such a URI, or there is a signing key already.
    """
    from client_agent.token_key import parse_uri

    parse_uri(uri)
    if home.site_file.exists() or home.key("signing").exists():
        raise UsageError(
            f"{home.root} has a signing key already",
            hint="name a key in a token when the home is made, with --signing-key",
        )
    write_atomically(home.key_uri("signing"), uri.encode() + b"\n", mode=0o600)


def site_key(home: Home, name: str) -> ec.EllipticCurvePrivateKey:
    """Make a first key, or take that of an interrupted attempt: an invitation is bound to it.

    A key in a token is made there by its owner.
    """
    return _token_key(home, name) or _key(home, home.key(name), like=home.key("tls"))


def next_key(home: Home, name: str) -> ec.EllipticCurvePrivateKey:
    """Make the key that is to follow, or take that of an interrupted renewal.

    A key in a token stays, and gets a new certificate.
    """
    finish_exchange(home, name)
    return _token_key(home, name) or _key(home, home.key(name + _NEXT), like=home.key(name))


def install_next(home: Home, name: str, chain: bytes) -> None:
    """Put the next key and its checked certificate in the place of those in use.

    Args:
        home: the site's home.
        name: `tls` or `signing`.
        chain: PEM, leaf first, for the key that `next_key` returned.

    Raises:
        StorageError: the disk refuses; the old pair, or already the new one, is in use.
    """
    write_atomically(home.certificate(name + _NEXT), chain)
    finish_exchange(home, name)


def finish_exchange(home: Home, name: str) -> None:
    """Rename what an interrupted exchange left beside the pair in use; no matter if nothing is."""
    chain_file, key_file = home.certificate(name + _NEXT), home.key(name + _NEXT)
    if not chain_file.exists():
        return
    try:
        if key_file.exists():
            key_file.replace(home.key(name))
            sync_folder(home.key(name).parent)
        chain_file.replace(home.certificate(name))
        sync_folder(home.certificate(name).parent)
    except OSError as error:
        raise storage_error(error, home.certificate(name)) from error


def check_certificate(
    pem: bytes, name: str, site_id: str, trust: TrustRoot, key: ec.EllipticCurvePrivateKey
) -> None:
    """Check a certificate that someone made for this site.

    Raises:
        IdentityError: it is not of this federation, for this site, this purpose and this key.
    """
    try:
        chain = chain_from_pem(pem)
        identity = trust.verify(chain, PURPOSES[name], Role.SITE, at=utc_now())
    except FederatedFactoryError as error:
        raise IdentityError(f"the new {name} certificate: {error.message}") from error
    if identity.site_id != site_id or chain[0].public_key() != key.public_key():
        raise IdentityError(f"the new {name} certificate is not for this site's key")


def key_files(home: Home) -> list[Path]:
    """Return every place where a private key of this site may lie."""
    return [home.key(name + suffix) for name in PURPOSES for suffix in ("", _NEXT)]


def _load(home: Home, name: str) -> Credential | None:
    names = (name, name + _NEXT)
    chains = [chain_from_pem(_read(path)) for path in map(home.certificate, names) if path.exists()]
    for key in _keys(home, name):
        for chain in chains:
            if chain[0].public_key() == key.public_key():
                return Credential(key, chain)
    return None


def _keys(home: Home, name: str) -> Iterator[ec.EllipticCurvePrivateKey]:
    token = _token_key(home, name)
    if token is not None:
        yield token
        return
    for path in (home.key(name), home.key(name + _NEXT)):
        if path.exists():
            yield home.passphrase.read_key(path)


def _token_key(home: Home, name: str) -> ec.EllipticCurvePrivateKey | None:
    path = home.key_uri(name)
    if not path.exists():
        return None
    from client_agent.token_key import open_token_key

    return open_token_key(read_bounded(path, KIB, "key URI").decode().strip(), home.passphrase)


def _key(home: Home, path: Path, *, like: Path) -> ec.EllipticCurvePrivateKey:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise storage_error(error, path.parent) from error
    if path.exists():
        return home.passphrase.read_key(path)
    key = make_key()
    home.passphrase.write_key(path, key, like=like)
    return key


def _read(path: Path) -> bytes:
    return read_bounded(path, 4 * MAX_CERTIFICATE_BYTES, "certificate")
