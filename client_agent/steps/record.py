"""Verifying this site's record: the chain itself, and its end against what the site has signed."""

from dataclasses import dataclass

from client_agent.registry.heads import load_heads
from client_agent.registry.statements import published_modules
from client_agent.site import Site
from ff_protocol.heads import RecordHead


@dataclass(frozen=True)
class RecordVerified:
    """A record that is whole.

    Attributes:
        entries: number of lines.
        anchors: signed statements of this site that name a line of it.
        anchored: the last line that such a statement names; lines after it could be cut off
            unnoticed until the next one is signed. 0 if there is none.
    """

    entries: int
    anchors: int
    anchored: int


def verify_record(site: Site) -> RecordVerified:
    """Check every line's hash, and every line that this site has signed for.

    The statements are read from this home. `receive` brings those back that were deleted here.

    Raises:
        LogBrokenError: a line was edited, removed or moved, or the end was cut off.
    """
    anchors = record_anchors(site)
    entries = site.log.verify(anchors)
    return RecordVerified(
        entries, len(anchors), max((item.sequence for item in anchors), default=0)
    )


def record_anchors(site: Site) -> tuple[RecordHead, ...]:
    """Return the ends of this site's record that its publications and its heads name."""
    found = [item.record for item in published_modules(site, of_site=site.site_id)]
    own = load_heads(site).get(site.site_id)
    found += [own.record] if own is not None else []
    return tuple(item for item in found if item is not None)
