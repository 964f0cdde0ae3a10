"""The signed statements in the store: reading them verified, adding them, listing them.

What is kept in memory can be thrown away at any time: objects never change, so a table of their
hashes, of revocations that were verified, or of the order in which they came (coordinator.feed) can
be incomplete but not wrong.
"""

from collections.abc import Iterator
from functools import partial

from coordinator import rules
from coordinator.errors import RefusedStatementError
from coordinator.feed import Feed
from coordinator.publishing import publish_complete
from coordinator.quotas import ModuleQuota, Quotas
from coordinator.spec_book import SpecBook
from coordinator.store import (
    PUBLICATIONS,
    REVOCATIONS,
    Store,
    publication_key,
    revocation_key,
    revocations_prefix,
)
from ff_protocol import dsse
from ff_protocol.canonical import sha256_hex
from ff_protocol.clock import utc_now
from ff_protocol.limits import MAX_LISTED_STATEMENTS
from ff_protocol.names import Role
from ff_protocol.spec import FederationSpec
from ff_protocol.statements import (
    Publication,
    Revocation,
    read_publication,
    read_revocation,
)
from ff_protocol.trust import TrustRoot


class StatementBook:
    """Publications and revocations of one federation."""

    def __init__(self, store: Store, trust: TrustRoot, quota: ModuleQuota | None = None) -> None:
        """Prepare.

        Args:
            store: of the federation.
            trust: to verify statements with.
            quota: what sites may publish; None for those who only read.
        """
        self.store = store
        self._quota = quota or ModuleQuota(store, Quotas())
        self._trust = trust
        self.feed = Feed(store)
        self._hashes: dict[str, str] = {}
        self._verified: dict[str, Revocation] = {}
        self._verified_by = trust.roots
        self.specs = SpecBook(store, trust)

    def spec(self) -> tuple[bytes, FederationSpec]:
        """Return the newest revision of the signed spec, as envelope and as value.

        Raises:
            NotReadyError: the store has none.
        """
        held = self.specs.newest()
        return held.envelope, held.revision.spec

    def add_publication(self, payload: dsse.VerifiedPayload, envelope: bytes) -> bool:
        """Make a publication visible; True if it was already.

        Raises:
            RefusedStatementError: chunks are missing, the class is unknown, or it is revoked.
                QuotaError: the site has as many modules as one may.
            MalformedError, UntrustedError: it breaks the form.
        """
        spec = self.spec()[1]
        publication = read_publication(payload, max_module_bytes=spec.policy.max_module_bytes)
        if publication.class_name not in spec.classes:
            raise RefusedStatementError(
                f"class {publication.class_name!r} is not in the federation"
            )
        self.check_not_revoked(publication)
        key = publication_key(publication.module)
        publisher = self._publisher(key)
        if publisher is None:
            needed = rules.needed_chunks(publication)
            admit = partial(self._enter, publication)
            if publish_complete(self.store, publication.module, envelope, needed, admit):
                self.feed.append(key)
                return False
            publisher = self._publisher(key)
        if publisher != publication.site_id:
            raise RefusedStatementError(
                f"module {publication.module[:12]} was published by {publisher}"
            )
        self.feed.append(key)  # a call that was cut off may not have come so far
        return True

    def add_revocation(self, payload: dsse.VerifiedPayload, envelope: bytes) -> bool:
        """Make a revocation visible; True if it was already.

        Raises:
            ForbiddenStatementError: it names what is not the issuer's.
            RefusedStatementError: it does not continue the issuer's chain.
            QuotaError: the chain is as long as one may be.
        """
        revocation = read_revocation(payload)
        known = self.revocations(revocation.issuer)
        key = revocation_key(revocation)
        if rules.already_revoked(revocation, known):
            self.feed.append(key)
            return True
        self._quota.check_revocations(revocation.issuer, len(known))
        publishers = {
            module: self._publisher(publication_key(module)) for module in revocation.modules
        }
        rules.check_right(revocation, publishers)
        if self.enter(key, envelope):
            return False
        # Another replica was faster: either with this very statement, or with a fork.
        return rules.already_revoked(revocation, self.revocations(revocation.issuer))

    def enter(self, key: str, envelope: bytes) -> bool:
        """Put a checked revocation into the store and the feed; False if its number is taken."""
        created = self.store.put_if_absent(key, envelope)
        self.feed.append(key)
        return created

    def unknown_to(self, known: set[str]) -> Iterator[bytes]:
        """Yield the envelopes whose hash is not in `known`: revocations first, each in order."""
        for prefix in (REVOCATIONS, PUBLICATIONS):
            for key in self.store.list(prefix):
                if self._hashes.get(key) in known:
                    continue
                envelope = self.store.get(key)
                if envelope is None:
                    continue
                label = sha256_hex(envelope)
                if len(self._hashes) < MAX_LISTED_STATEMENTS:
                    self._hashes[key] = label
                if label not in known:
                    yield envelope

    def since(self, position: bytes) -> Iterator[bytes] | None:
        """Return the envelopes that came after a position, revocations first.

        None if the store's feed never had that position.
        """
        keys = self.feed.since(position)
        if keys is None:
            return None
        return (envelope for key in keys if (envelope := self.store.get(key)) is not None)

    def publication(self, key: str) -> Publication | None:
        """Return the publication under `key`, verified, None if there is none.

        Raises:
            MalformedError, UntrustedError: it does not hold.
        """
        envelope = self.store.get(key)
        if envelope is None:
            return None
        payload = dsse.verify(envelope, self._trust, (Role.SITE,), at=utc_now(), held=True)
        return read_publication(payload, max_module_bytes=self.spec()[1].policy.max_module_bytes)

    def check_not_revoked(self, publication: Publication) -> None:
        """A revoked module stays away.

        Raises:
            RefusedStatementError: its publisher or the authority has revoked it.
        """
        for issuer in (publication.site_id, str(Role.AUTHORITY)):
            rules.check_not_revoked(publication, self.revocations(issuer))

    def is_revoked(self, module: str, site_id: str) -> bool:
        """Say whether a site's module is revoked by the site or the authority."""
        return any(item.covers(module, site_id) for item in self._revocations_of(site_id))

    def _enter(self, publication: Publication) -> None:
        """Count it against its site's quota."""
        site = publication.site_id
        revoked = self._revocations_of(site)
        self._quota.enter(
            site,
            publication.module,
            lambda module: any(item.covers(module, site) for item in revoked),
        )

    def _revocations_of(self, site_id: str) -> list[Revocation]:
        """Whatever may revoke a module of this site."""
        issuers = (site_id, str(Role.AUTHORITY))
        return [item for issuer in issuers for item in self.revocations(issuer)]

    def revocations(self, issuer: str) -> list[Revocation]:
        """Return an issuer's revocations, verified, in the order of their numbers."""
        found = []
        for key in self.store.list(revocations_prefix(issuer)):
            revocation = self._revocation(key)
            if revocation is not None:
                found.append(revocation)
        return found

    def _revocation(self, key: str) -> Revocation | None:
        """Return one revocation; each is verified once, and again when roots change."""
        if self._verified_by is not self._trust.roots:
            self._verified, self._verified_by = {}, self._trust.roots
        verified = self._verified
        if key not in verified:
            envelope = self.store.get(key)
            if envelope is None:
                return None
            roles = (Role.SITE, Role.AUTHORITY)
            payload = dsse.verify(envelope, self._trust, roles, at=utc_now(), held=True)
            if len(verified) >= MAX_LISTED_STATEMENTS:
                return read_revocation(payload)
            verified[key] = read_revocation(payload)
        return verified[key]

    def _publisher(self, key: str) -> str | None:
        """Return who published under `key`, None if nobody has."""
        envelope = self.store.get(key)
        if envelope is None:
            return None
        return dsse.verify(
            envelope, self._trust, (Role.SITE,), at=utc_now(), held=True
        ).signer.site_id
