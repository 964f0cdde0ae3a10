"""Inviting a site: a short-lived TLS client credential in a file (ff_protocol.invitation)."""

import datetime as dt
from pathlib import Path

from coordinator.addresses import check_endpoint, split_endpoint
from coordinator.home import CoordinatorHome, Settings
from coordinator.root_changes import follow_store, roots_version
from coordinator.store import open_store
from ff_protocol.certificates import Purpose, chain_to_pem, issue_leaf, key_to_pem, make_key
from ff_protocol.clock import timestamp
from ff_protocol.files import write_atomically
from ff_protocol.invitation import Invitation
from ff_protocol.names import Identity, Role


def invite(
    home: CoordinatorHome,
    site_id: str,
    endpoint: str,
    output: Path,
    *,
    lifetime: dt.timedelta,
    now: dt.datetime,
) -> Invitation:
    """Write an invitation for `site_id` to `output`, readable by its owner alone.

    Args:
        home: the operator's home, with the issuing key.
        site_id: the name that the site will have.
        endpoint: `HOST:PORT` at which the site reaches the coordinator.
        output: file to write; an older invitation there is replaced.
        lifetime: how long the invitation is good for.
        now: present time.

    Raises:
        MalformedError: not a site name.
        UsageError: not an endpoint.
        StorageError: the file cannot be written.
    """
    follow_store(home, open_store(home), now)
    settings, trust = home.settings(), home.trust()
    identity = Identity.from_urn(str(Identity(settings.federation_id, Role.INVITATION, site_id)))
    key = make_key()
    chain = issue_leaf(
        home.credential("issuing"),
        key.public_key(),
        identity,
        Purpose.TLS_CLIENT,
        now=now,
        lifetime=lifetime,
    )
    invitation = Invitation(
        federation_id=settings.federation_id,
        federation_name=settings.name,
        site_id=site_id,
        endpoint=check_endpoint(endpoint),
        server_name=server_name_for(endpoint, settings),
        root=chain_to_pem((trust.certificate,)).decode(),
        fingerprint=trust.fingerprint,
        expires_at=timestamp(chain[0].not_valid_after_utc),
        certificates=chain_to_pem(chain).decode(),
        key=key_to_pem(key).decode(),
        # Of two roots the file names the one in force: its holder then follows the change.
        roots_version=roots_version(home) - len(trust.roots) + 1,
    )
    write_atomically(output, invitation.to_bytes(), mode=0o600)
    return invitation


def server_name_for(endpoint: str, settings: Settings) -> str | None:
    """Name to check instead of the endpoint's host, where the certificate does not have the latter.

    Nothing is lost by that: only the authority issues server certificates under this root.
    """
    host, _ = split_endpoint(endpoint)
    return None if host in settings.hosts else settings.hosts[0]
