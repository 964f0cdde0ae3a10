"""Join a federation: make the keys here, exchange the invitation for two certificates."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from client_agent.errors import IdentityError, UsageError
from client_agent.home import Home
from client_agent.registry.log import Log
from client_agent.relay.proxy import parse_proxy
from client_agent.site import SiteFile, open_site, read_spec_envelope
from ff_protocol.certificates import (
    Purpose,
    chain_from_pem,
    chain_to_pem,
    key_from_pem,
    key_to_pem,
    make_key,
    make_request,
)
from ff_protocol.clock import utc_now
from ff_protocol.endpoints import split_endpoint
from ff_protocol.errors import FederatedFactoryError, MalformedError
from ff_protocol.files import read_bounded, storage_error, write_atomically
from ff_protocol.invitation import Invitation, parse_invitation
from ff_protocol.limits import MAX_CERTIFICATE_BYTES, MAX_INVITATION_BYTES
from ff_protocol.names import Role
from ff_protocol.trust import TrustRoot

_PURPOSES = {"tls": Purpose.TLS_CLIENT, "signing": Purpose.SIGNING}


@dataclass(frozen=True)
class Joined:
    """What joining led to. `already` is true if the home had joined before."""

    site_id: str
    federation_id: str
    federation_name: str
    fingerprint: str
    classes: tuple[str, ...]
    already: bool


def join(
    invitation_file: Path, home: Home, *, connect_to: str | None = None, proxy: str | None = None
) -> Joined:
    """Join with an invitation file; safe to repeat after any interruption.

    Args:
        invitation_file: from `ff-coordinator invite`.
        home: the site's home, new or half joined.
        connect_to: `HOST:PORT` to dial instead of the invitation's; the certificate must still
            carry the invitation's name.
        proxy: HTTP proxy to pass, `http://HOST:PORT`.

    Raises:
        UsageError: no such file, or the home belongs to another site or federation.
        IdentityError, UntrustedError: expired, used or forged invitation.
        NetworkError: the coordinator cannot be reached.
        MalformedError, SpecError: `connect_to` or `proxy` is not an address.
    """
    try:
        data = read_bounded(invitation_file, MAX_INVITATION_BYTES, "invitation")
    except OSError as error:
        raise UsageError(
            f"cannot read invitation {invitation_file}: {error.strerror}",
            hint="give the file that the consortium's operator made: ff-coordinator invite SITE",
        ) from error
    if home.site_file.exists():
        return _already_joined(data, home)
    invitation = parse_invitation(data, at=utc_now())
    trust = invitation.trust_root()
    reach = _reach(invitation, connect_to, proxy)
    keys = {name: _site_key(home, name) for name in _PURPOSES}
    chains, spec_envelope = _enrol(invitation, reach, trust, keys)
    _, federation_name = read_spec_envelope(spec_envelope, trust)
    for name, pem in chains.items():
        write_atomically(home.certificate(name), pem)
    write_atomically(home.root_certificate, chain_to_pem((trust.certificate,)))
    write_atomically(home.spec_envelope, spec_envelope)
    # Written last: a home without site.yaml has not joined.
    SiteFile(
        site_id=invitation.site_id,
        federation_id=invitation.federation_id,
        federation_name=federation_name,
        endpoint=reach.endpoint,
        server_name=reach.server_name,
        proxy=reach.proxy,
    ).write(home.site_file)
    Log(home.log).append("joined", federation=invitation.federation_id, root=trust.fingerprint)
    return _joined(home, already=False)


def _already_joined(data: bytes, home: Home) -> Joined:
    site = open_site(home)
    try:
        invitation = parse_invitation(data, at=utc_now())
    except FederatedFactoryError:
        invitation = None  # used up long ago, or expired: the home has what it needs
    same = invitation is None or (
        invitation.federation_id == site.trust.federation_id and invitation.site_id == site.site_id
    )
    if not same:
        raise UsageError(
            f"{home.root} belongs to {site.site_id} of {site.trust.federation_id}",
            hint="give this site a home of its own with --home",
        )
    return _joined(home, already=True)


def _joined(home: Home, *, already: bool) -> Joined:
    site = open_site(home)
    return Joined(
        site_id=site.site_id,
        federation_id=site.trust.federation_id,
        federation_name=site.identity.federation_name,
        fingerprint=site.trust.fingerprint,
        classes=site.spec.classes,
        already=already,
    )


def _site_key(home: Home, name: str) -> ec.EllipticCurvePrivateKey:
    """Make the key, or take the one of an interrupted attempt: the invitation is bound to it."""
    path = home.key(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise storage_error(error, path.parent) from error
    if path.exists():
        return key_from_pem(read_bounded(path, MAX_CERTIFICATE_BYTES, "key"))
    key = make_key()
    write_atomically(path, key_to_pem(key), mode=0o600)
    return key


@dataclass(frozen=True)
class _Reach:
    """The way to the coordinator, as site.yaml keeps it."""

    endpoint: str
    server_name: str | None
    proxy: str | None


def _reach(invitation: Invitation, connect_to: str | None, proxy: str | None) -> _Reach:
    if proxy is not None:
        parse_proxy(proxy)
    if connect_to is None:
        return _Reach(invitation.endpoint, invitation.server_name, proxy)
    split_endpoint(connect_to)
    name = invitation.server_name or split_endpoint(invitation.endpoint)[0]
    return _Reach(connect_to, name, proxy)


def _enrol(
    invitation: Invitation,
    reach: _Reach,
    trust: TrustRoot,
    keys: dict[str, ec.EllipticCurvePrivateKey],
) -> tuple[dict[str, bytes], bytes]:
    from client_agent.relay.channel import connect

    requests = {name: make_request(key, invitation.site_id) for name, key in keys.items()}
    with connect(
        reach.endpoint,
        reach.server_name,
        trust,
        invitation.credential(),
        proxy=parse_proxy(reach.proxy) if reach.proxy else None,
    ) as client:
        answer = client.enrol(requests["tls"], requests["signing"])
    chains = {"tls": answer.tls_chain, "signing": answer.signing_chain}
    for name, pem in chains.items():
        _check_certificate(pem, name, invitation.site_id, trust, keys[name])
    return chains, answer.spec_envelope


def _check_certificate(
    pem: bytes, name: str, site_id: str, trust: TrustRoot, key: ec.EllipticCurvePrivateKey
) -> None:
    try:
        chain = chain_from_pem(pem)
        identity = trust.verify(chain, _PURPOSES[name], Role.SITE, at=utc_now())
    except (FederatedFactoryError, MalformedError) as error:
        raise IdentityError(f"the coordinator's {name} certificate: {error.message}") from error
    if identity.site_id != site_id or chain[0].public_key() != key.public_key():
        raise IdentityError(f"the coordinator's {name} certificate is not for this site's key")
