"""Signing this site's own heads, and acting on what the others' heads reveal."""

import datetime as dt
from typing import TYPE_CHECKING

from client_agent.errors import IdentityError, RefusedError
from client_agent.progress import SILENT, Progress
from client_agent.registry.freshness import heads_of
from client_agent.registry.heads import load_heads, store_heads, suspicions
from client_agent.registry.log import GAP
from client_agent.registry.revocations import load_revocations
from client_agent.site import Site
from ff_protocol import dsse
from ff_protocol.clock import parse_timestamp, timestamp, utc_now
from ff_protocol.heads import Heads, build_heads

if TYPE_CHECKING:
    from client_agent.relay.client import RelayClient


class WithheldError(RefusedError):
    """A revocation exists, signed for by its own issuer, and is not here."""

    error_code = "withheld"


class StaleHeadsError(RefusedError):
    """Policy demands fresher heads of the sites whose modules are in use."""

    error_code = "stale_heads"


def check_view(site: Site, progress: Progress = SILENT) -> None:
    """Look at the heads before building anything: refuse or warn. Needs no network.

    Raises:
        WithheldError: an issuer signed for a revocation that is not here.
        StaleHeadsError: the same by hearsay, or no fresh heads, where policy says `refuse`.
    """
    for suspicion in suspicions(site):
        if suspicion.proven:
            raise WithheldError(
                suspicion.text,
                hint="run ff-agent receive again; if it stays, tell the consortium's operator, or "
                f"do without: ff-agent revoke --site {suspicion.about}",
            )
        if site.spec.policy.stale_heads == "refuse":
            raise StaleHeadsError(
                suspicion.text,
                hint="run ff-agent receive; if it stays, ask that site to run it too, or tell the "
                "consortium's operator",
            )
        progress.note(f"warning: {suspicion.text}")


def share_heads(site: Site, relay: "RelayClient", progress: Progress = SILENT) -> None:
    """Sign this site's heads anew if they changed or age, and hand them to the coordinator.

    A coordinator that does not take them is no reason to stop: the others will notice the silence.

    Raises:
        NetworkError: the coordinator cannot be reached; the next call hands them in.
    """
    earlier = load_heads(site).get(site.site_id)
    heads = sign_heads(site) if earlier is None or _due(site, earlier) else earlier
    path = site.home.heads / f"{site.site_id}.dsse"
    try:
        relay.publish(path.read_bytes())
    except (IdentityError, RefusedError) as error:
        progress.note(f"heads {heads.sequence} were not taken: {error.message}")


def sign_heads(site: Site, after: int = 0) -> Heads:
    """Sign and store this site's heads as they are now.

    Args:
        site: who signs.
        after: a number that this site is known to have used, for a home that was restored.
    """
    earlier = load_heads(site).get(site.site_id)
    anchor = earlier.record if earlier is not None else None
    if anchor is not None and not site.log.contains(anchor):
        # The loss becomes a part of the record: signing over it would hide it.
        site.log.append(GAP, **anchor.to_dict())
    now = utc_now()
    heads = Heads(
        federation_id=site.trust.federation_id,
        site_id=site.site_id,
        sequence=max(after, earlier.sequence if earlier else 0) + 1,
        issued_at=timestamp(now),
        expires_at=timestamp(now + dt.timedelta(hours=site.spec.policy.heads_valid_hours)),
        heads=heads_of(load_revocations(site.home, site.trust), site.site_id),
        record=site.log.head(),
    )
    store_heads(site, heads, dsse.sign(build_heads(heads), site.credential("signing")))
    return heads


def _due(site: Site, earlier: Heads) -> bool:
    """Whether the chains or the record have grown since, or a quarter of the validity is over."""
    quarter = dt.timedelta(hours=site.spec.policy.heads_valid_hours) / 4
    return (
        earlier.heads != heads_of(load_revocations(site.home, site.trust), site.site_id)
        or earlier.record != site.log.head()
        or not dt.timedelta(0) <= utc_now() - parse_timestamp(earlier.issued_at) < quarter
    )
