"""New certificates for new keys before the old ones expire, by the network or with an invitation.

The keys are made here; the coordinator gets requests that prove their possession, on a connection
that the present TLS certificate vouches for; the present signing key vouches for the next one.
Until the new pair is wholly here and checked, the old one stays in use. What the old signing key
signed stays valid as long as its certificate: for a third of ten years at least, since it is
renewed that early.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from client_agent.credentials import (
    PURPOSES,
    check_certificate,
    finish_exchange,
    install_next,
    load_leaf,
    next_key,
)
from client_agent.errors import IdentityError, UsageError
from client_agent.progress import SILENT, Progress
from client_agent.relay.connection import open_relay
from client_agent.site import Site
from ff_protocol.certificate_requests import make_request
from ff_protocol.certificates import renewal_due
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.files import read_bounded
from ff_protocol.invitation import Invitation, parse_invitation
from ff_protocol.limits import MAX_INVITATION_BYTES
from ff_protocol.names import Identity, Role
from ff_protocol.renewals import vouch

if TYPE_CHECKING:
    from client_agent.relay.client import RelayClient

WARN_DAYS = 30


@dataclass(frozen=True)
class Validity:
    """How long one certificate of this site holds.

    Attributes:
        until: RFC 3339 in UTC.
        days: whole days left, negative once it has expired.
        due: it is renewed by the next command that speaks with the coordinator.
    """

    until: str
    days: int
    due: bool


@dataclass(frozen=True)
class Renewed:
    """What `renew` did: the names of the certificates that are new, and how long each holds."""

    renewed: tuple[str, ...]
    certificates: dict[str, Validity]


def validity(site: Site, now: dt.datetime) -> dict[str, Validity]:
    """Return how long the TLS and the signing certificate hold. Needs no key and no network.

    Raises:
        NotReadyError: one is missing.
    """
    found = {}
    for name in PURPOSES:
        leaf = load_leaf(site.home, name)
        end = leaf.not_valid_after_utc
        found[name] = Validity(timestamp(end), (end - now).days, renewal_due(leaf, now))
    return found


def renew(site: Site, *, everything: bool = False) -> Renewed:
    """Renew what is due, or both certificates. The caller holds the home's lock.

    Raises:
        NetworkError: the coordinator cannot be reached; the old certificates stay in use.
        IdentityError: it refuses, or its answer does not hold.
    """
    names = tuple(PURPOSES) if everything else _due(site)
    if names:
        with open_relay(site) as relay:
            _exchange(site, relay, names)
    return Renewed(names, validity(site, utc_now()))


def renew_if_due(site: Site, relay: "RelayClient", progress: Progress = SILENT) -> tuple[str, ...]:
    """Renew what is due on a connection that is open anyway; a fault is a warning.

    The caller holds the home's lock.
    """
    names = _due(site)
    if not names:
        return ()
    try:
        _exchange(site, relay, names)
    except FederatedFactoryError as error:
        left = min(item.days for item in validity(site, utc_now()).values())
        progress.note(
            f"warning: this site's certificates ({' and '.join(names)}) cannot be renewed: "
            f"{error.message}; {left} days are left"
        )
        return ()
    progress.note(f"renewed: {' and '.join(names)} certificate")
    return names


def renew_with_invitation(site: Site, invitation_file: Path) -> Renewed:
    """Get new certificates with a new invitation: for a site whose own have expired or are lost.

    The caller holds the home's lock.

    Raises:
        UsageError: no such file, or an invitation for another site or federation.
        IdentityError, UntrustedError, NetworkError: as for `join`.
    """
    try:
        data = read_bounded(invitation_file, MAX_INVITATION_BYTES, "invitation")
    except OSError as error:
        raise UsageError(f"cannot read invitation {invitation_file}: {error.strerror}") from error
    invitation = parse_invitation(data, at=utc_now())
    if (invitation.federation_id, invitation.site_id) != (site.trust.federation_id, site.site_id):
        raise UsageError(
            f"the invitation is for {invitation.site_id} of {invitation.federation_id}, this home "
            f"belongs to {site.site_id} of {site.trust.federation_id}"
        )
    if invitation.trust_root().certificate not in site.trust.roots:
        raise IdentityError(
            "the invitation's root certificate is not one that this site trusts",
            hint="compare fingerprints with the operator; if the root has changed meanwhile, join "
            "in a new home",
        )
    _exchange_invitation(site, invitation)
    return Renewed(tuple(PURPOSES), validity(site, utc_now()))


def _due(site: Site) -> tuple[str, ...]:
    for name in PURPOSES:
        finish_exchange(site.home, name)
    return tuple(name for name, item in validity(site, utc_now()).items() if item.due)


def _exchange(site: Site, relay: "RelayClient", names: tuple[str, ...]) -> None:
    requests = _requests(site, names)
    tls, signing = requests.get("tls", b""), requests.get("signing", b"")
    identity = Identity(site.trust.federation_id, Role.SITE, site.site_id)
    voucher = vouch(signing, identity, site.credential("signing")) if signing else b""
    answer = relay.renew(tls, signing, voucher)
    _install(site, names, {"tls": answer.tls_chain, "signing": answer.signing_chain})


def _exchange_invitation(site: Site, invitation: Invitation) -> None:
    from client_agent.relay.channel import connect
    from client_agent.relay.proxy import parse_proxy

    requests = _requests(site, tuple(PURPOSES))
    identity = site.identity
    with connect(
        identity.endpoint,
        identity.server_name,
        site.trust,
        invitation.credential(),
        proxy=parse_proxy(identity.proxy) if identity.proxy else None,
    ) as client:
        answer = client.enrol(requests["tls"], requests["signing"])
    chains = {"tls": answer.tls_chain, "signing": answer.signing_chain}
    _install(site, tuple(PURPOSES), chains)


def _requests(site: Site, names: tuple[str, ...]) -> dict[str, bytes]:
    return {name: make_request(next_key(site.home, name), site.site_id) for name in names}


def _install(site: Site, names: tuple[str, ...], chains: dict[str, bytes]) -> None:
    for name in names:
        key = next_key(site.home, name)
        check_certificate(chains[name], name, site.site_id, site.trust, key)
    for name in names:
        install_next(site.home, name, chains[name])
        until = load_leaf(site.home, name).not_valid_after_utc
        site.log.append("certificate_renewed", purpose=name, until=timestamp(until))
