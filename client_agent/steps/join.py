"""Join a federation: make the keys here, exchange the invitation for two certificates."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from client_agent.credentials import PURPOSES, check_certificate, site_key
from client_agent.errors import UsageError
from client_agent.home import Home
from client_agent.registry.log import Log
from client_agent.relay.proxy import parse_proxy
from client_agent.site import SiteFile, open_site, read_spec_envelope
from ff_protocol.certificate_requests import make_request
from ff_protocol.clock import utc_now
from ff_protocol.endpoints import split_endpoint
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.invitation import Invitation, parse_invitation
from ff_protocol.limits import MAX_INVITATION_BYTES
from ff_protocol.trust import TrustRoot


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
    reach = reach_of(invitation.endpoint, invitation.server_name, connect_to, proxy)
    keys = {name: site_key(home, name) for name in PURPOSES}
    chains, spec_envelope = _enrol(invitation, reach, trust, keys)
    return settle(
        home, invitation.site_id, trust, invitation.roots_version, reach, chains, spec_envelope
    )


def settle(
    home: Home,
    site_id: str,
    trust: TrustRoot,
    roots_version: int,
    reach: "Reach",
    chains: dict[str, bytes],
    spec_envelope: bytes,
) -> Joined:
    """Write what makes a home one that has joined; the chains have been checked.

    Raises:
        IdentityError: the authority did not sign the spec.
    """
    federation_name = read_spec_envelope(spec_envelope, trust).name
    for name, pem in chains.items():
        write_atomically(home.certificate(name), pem)
    write_atomically(home.root_certificate, trust.pem)
    write_atomically(home.spec_envelope, spec_envelope)
    # Written last: a home without site.yaml has not joined.
    SiteFile(
        site_id=site_id,
        federation_id=trust.federation_id,
        federation_name=federation_name,
        endpoint=reach.endpoint,
        server_name=reach.server_name,
        proxy=reach.proxy,
        roots_version=roots_version,
    ).write(home.site_file)
    Log(home.log).append("joined", federation=trust.federation_id, root=trust.fingerprint)
    return joined_home(home, already=False)


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
    return joined_home(home, already=True)


def joined_home(home: Home, *, already: bool) -> Joined:
    """Return what a home has joined."""
    site = open_site(home)
    return Joined(
        site_id=site.site_id,
        federation_id=site.trust.federation_id,
        federation_name=site.identity.federation_name,
        fingerprint=site.trust.fingerprint,
        classes=site.spec.classes,
        already=already,
    )


@dataclass(frozen=True)
class Reach:
    """The way to the coordinator, as site.yaml keeps it."""

    endpoint: str
    server_name: str | None
    proxy: str | None


def reach_of(
    endpoint: str, server_name: str | None, connect_to: str | None, proxy: str | None
) -> Reach:
    """Return the way that was offered, unless the admin named another."""
    if proxy is not None:
        parse_proxy(proxy)
    if connect_to is None:
        return Reach(endpoint, server_name, proxy)
    split_endpoint(connect_to)
    name = server_name or split_endpoint(endpoint)[0]
    return Reach(connect_to, name, proxy)


def _enrol(
    invitation: Invitation,
    reach: Reach,
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
        check_certificate(pem, name, invitation.site_id, trust, keys[name])
    return chains, answer.spec_envelope
