"""What an operator asks first: who has joined, how much is there, what expires when."""

import datetime as dt
from dataclasses import asdict
from typing import Any

from coordinator.capabilities import told
from coordinator.home import CoordinatorHome
from coordinator.member_list import newest_list
from coordinator.membership import expulsions
from coordinator.root_changes import roots_version
from coordinator.spec_book import SpecBook
from coordinator.store import (
    CHUNKS,
    COLLECTION_KEY,
    ENROLMENTS,
    PUBLICATIONS,
    REVOCATIONS,
    open_store,
)
from coordinator.store_format import check_store
from ff_protocol import canonical
from ff_protocol.clock import timestamp
from ff_protocol.limits import KIB


def overview(home: CoordinatorHome, now: dt.datetime) -> dict[str, Any]:
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
    until = home.chain("server")[0].not_valid_after_utc
    members = newest_list(store, home.trust(), now)
    revision = SpecBook(store, home.trust()).newest().revision
    said = told(store, home.trust(), now)
    sizes = [held.size for _, held in store.scan(CHUNKS)]
    return {
        "federation": settings.federation_id,
        "name": settings.name,
        "fingerprint": home.trust().fingerprint,
        "roots_version": roots_version(home),
        "root_changing": len(home.trust().roots) > 1,
        "store_format": check_store(store),
        "spec_revision": revision.number,
        "site_revisions": {
            site: said[site].revision if site in said else None for site in sorted(sites)
        },
        "site_programs": {site: item.program for site, item in said.items()},
        "sites_lacking": {
            site: list(item.lacks(revision.spec))
            for site, item in said.items()
            if item.lacks(revision.spec)
        },
        "days": _days(home, now),
        "members_until": None if members is None else members.expires_at,
        "hosts": list(settings.hosts),
        "store": settings.store or str(home.store_folder),
        "server_certificate_until": timestamp(until),
        "server_certificate_days": (until - now).days,
        "sites": sorted(sites),
        "expelled": [asdict(expulsion) for expulsion in expulsions(store)],
        "publications": sum(1 for _ in store.list(PUBLICATIONS)),
        "revocations": sum(1 for _ in store.list(REVOCATIONS)),
        "chunks": len(sizes),
        "chunk_bytes": sum(sizes),
        "collection_running": store.held(COLLECTION_KEY) is not None,
    }


def _days(home: CoordinatorHome, now: dt.datetime) -> dict[str, int]:
    """Return how long each certificate of this home still holds."""
    ends = {"issuing": max(cert.not_valid_after_utc for cert in home.chain("issuing"))}
    ends["root"] = home.trust().certificate.not_valid_after_utc
    ends["server"] = home.chain("server")[0].not_valid_after_utc
    if home.certificate("signing").exists():
        ends["signing"] = home.chain("signing")[0].not_valid_after_utc
    return {name: (end - now).days for name, end in sorted(ends.items())}
