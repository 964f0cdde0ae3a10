"""Telling the operator which program and which revision of the spec this site works with."""

from typing import TYPE_CHECKING

from client_agent.errors import IdentityError, RefusedError
from client_agent.progress import SILENT, Progress
from client_agent.registry.specs import waiting_revisions
from client_agent.site import Site
from ff_protocol import __version__, dsse
from ff_protocol.capabilities import (
    Capabilities,
    build_capabilities,
    read_capabilities,
)
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.names import Role

if TYPE_CHECKING:
    from client_agent.relay.client import RelayClient

SCHEMAS = (1,)
"""Versions of the spec's schema that this program reads."""


def capabilities(site: Site) -> Capabilities:
    """Return what this site can say of itself now."""
    from client_agent.generator.presets import LARGEST_IMAGE, PRESET_NAMES

    waiting = waiting_revisions(site)
    return Capabilities(
        federation_id=site.trust.federation_id,
        site_id=site.site_id,
        issued_at=timestamp(utc_now()),
        program=__version__,
        revision=site.revision.number,
        waiting=waiting[-1].number if waiting else None,
        schemas=SCHEMAS,
        presets=PRESET_NAMES,
        largest_image=LARGEST_IMAGE,
    )


def share_capabilities(site: Site, relay: "RelayClient", progress: Progress = SILENT) -> bool:
    """Tell the coordinator if anything changed since the last time; say whether it was told.

    One that does not take it, since it is older, is no reason to stop: it is told next time.

    Raises:
        NetworkError: the coordinator cannot be reached.
    """
    now = capabilities(site)
    told = _told(site)
    if told is not None and now.same_but_for_time(told):
        return False
    envelope = dsse.sign(build_capabilities(now), site.credential("signing"))
    try:
        relay.publish(envelope)
    except (IdentityError, RefusedError) as error:
        progress.note(f"what this site supports was not taken: {error.message}")
        return False
    write_atomically(site.home.capabilities, envelope)
    return True


def _told(site: Site) -> Capabilities | None:
    if not site.home.capabilities.is_file():
        return None
    envelope = read_bounded(site.home.capabilities, MAX_ENVELOPE_BYTES, "capabilities")
    payload = dsse.verify(envelope, site.trust, (Role.SITE,), at=utc_now(), held=True)
    return read_capabilities(payload, at=None)
