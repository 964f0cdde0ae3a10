"""What an operator asks first: who has joined, how much is there, what expires when."""

from typing import Any

from coordinator.home import CoordinatorHome
from coordinator.store import ENROLMENTS, PUBLICATIONS, REVOCATIONS, open_store
from ff_protocol import canonical
from ff_protocol.clock import timestamp
from ff_protocol.limits import KIB


def overview(home: CoordinatorHome) -> dict[str, Any]:
    """Read home and store.

    Raises:
        NotReadyError: `init` has not been run.
        StoreError: the store cannot be read.
    """
    settings, store = home.settings(), open_store(home)
    records = (store.get(key) for key in store.list(ENROLMENTS))
    sites = {
        str(canonical.loads(record, max_bytes=KIB, what="enrolment record")["site"])
        for record in records
        if record is not None
    }
    return {
        "federation": settings.federation_id,
        "name": settings.name,
        "fingerprint": home.trust().fingerprint,
        "hosts": list(settings.hosts),
        "server_certificate_until": timestamp(home.credential("server").leaf.not_valid_after_utc),
        "sites": sorted(sites),
        "publications": sum(1 for _ in store.list(PUBLICATIONS)),
        "revocations": sum(1 for _ in store.list(REVOCATIONS)),
    }
