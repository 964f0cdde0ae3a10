"""What sites say of their programs, for the operator (ff_protocol.capabilities).

    capabilities/<site>/<time>-<hash>.dsse     signed, the time as fourteen digits in UTC

Only the newest of a site is kept: of two from one second, the one that came later. It is not handed
to other sites.
"""

import datetime as dt

from coordinator.errors import RefusedStatementError
from coordinator.store import Store
from ff_protocol import dsse
from ff_protocol.canonical import sha256_hex
from ff_protocol.capabilities import Capabilities, read_capabilities
from ff_protocol.clock import utc_now
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.names import Role, check_site_id
from ff_protocol.trust import TrustRoot

PREFIX = "capabilities/"


def add(store: Store, payload: dsse.VerifiedPayload, envelope: bytes) -> bool:
    """Keep what a site says, in the place of what it said before; True if it is there already.

    Raises:
        RefusedStatementError: the site has said something later.
        MalformedError, UntrustedError: it breaks the form.
    """
    value = read_capabilities(payload, at=utc_now())
    prefix = f"{PREFIX}{check_site_id(value.site_id)}/"
    moment = f"{prefix}{''.join(filter(str.isdigit, value.issued_at))}"
    key = f"{moment}-{sha256_hex(envelope)[:16]}.dsse"
    earlier = list(store.list(prefix))
    if any(other[: len(moment)] > moment for other in earlier):
        raise RefusedStatementError(
            f"{value.site_id} has said something later of its program",
            hint="its clock may have been set back: it says so again when something changes",
        )
    created = store.put_if_absent(key, envelope)
    for old in earlier:
        if old != key:
            store.delete(old)
    return not created


def told(store: Store, trust: TrustRoot, now: dt.datetime) -> dict[str, Capabilities]:
    """Return the newest that each site has said; what does not verify counts as unsaid."""
    newest: dict[str, str] = {}
    for key in store.list(PREFIX):
        newest[key.split("/")[1]] = key
    found = {}
    for site, key in newest.items():
        envelope = store.get(key)
        try:
            if envelope is not None:
                payload = dsse.verify(envelope, trust, (Role.SITE,), at=now, held=True)
                found[site] = read_capabilities(payload, at=None)
        except FederatedFactoryError:
            continue
    return found
