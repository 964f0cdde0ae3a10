"""A coordinator's store as it is after N sites have published, and homes of sites that read it.

Every site has an ECDSA P-256 key and a signing certificate of its own under the federation's real
issuing key, signs its publication and its heads, and both pass the coordinator's own checks into
its own store. The weights are 2 KiB of random bytes, the same for all; cards are real.
"""

import datetime as dt
import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

from client_agent.home import Home
from client_agent.site import Site, SiteFile, open_site
from coordinator.authority import ensure_spec
from coordinator.chunk_store import ChunkStore
from coordinator.heads_book import HeadsBook
from coordinator.statement_book import StatementBook
from coordinator.store import SPEC_KEY, open_store
from ff_protocol import dsse
from ff_protocol.card import Card
from ff_protocol.certificates import chain_to_pem, key_to_pem
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.files import write_atomically
from ff_protocol.heads import Head, Heads, build_heads
from ff_protocol.manifest import FileEntry, module_digest
from ff_protocol.names import Role
from ff_protocol.statements import Publication
from tests.federation import Member, TestFederation

CLASSES = tuple("abcdefgh")
SPEC = {"classes": list(CLASSES), "image": {"size": 28, "channels": 1}}
STUB_BYTES = 2048
SIGNATURE_BYTES = 3000
REVOKING = 50
"""One site in so many revokes its module."""
_WEEK = dt.timedelta(days=7)


@dataclass(frozen=True)
class Stub:
    """A module's three files, and what its publication lists."""

    files: dict[str, bytes]
    entries: dict[str, FileEntry]
    digest: str


@dataclass
class Crowd:
    """The sites of one federation, which write into the coordinator's store.

    Attributes:
        stubs: digest of the module that a site published, for whoever wants to note it.
    """

    federation: TestFederation
    seed: int
    members: list[Member] = field(default_factory=list)
    stubs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        home = self.federation.home
        store = open_store(home)
        ensure_spec(home, store)
        self._chunks = ChunkStore(store)
        self.book = StatementBook(store, home.trust())
        self.heads = HeadsBook(store)
        self.spec_envelope = store.get(SPEC_KEY)
        self._random = random.Random(self.seed)
        self._weights = self._random.randbytes(STUB_BYTES)

    def join(self, count: int) -> list[Member]:
        """Make sites."""
        first = len(self.members)
        made = [self.federation.site(f"site-{first + number:05d}") for number in range(count)]
        self.members += made
        return made

    def stub(self, member: Member) -> Stub:
        """Make a module of a site: stub weights, a card with drawn figures."""
        name = class_of(member)
        files = {
            "module.onnx": self._weights,
            "card.json": self._card(member, name).to_bytes(),
            "module.sig": self._random.randbytes(SIGNATURE_BYTES),
        }
        entries = {}
        for file, data in files.items():
            digest = hashlib.sha256(data).hexdigest()
            entries[file] = FileEntry(file, len(data), digest, (digest,))
        return Stub(files, entries, module_digest(entries))

    def upload(self, stub: Stub) -> None:
        """Put a module's chunks into the store."""
        for data in stub.files.values():
            self._chunks.put(hashlib.sha256(data).digest(), data)

    def sign(self, member: Member, stub: Stub) -> tuple[Publication, bytes]:
        """Sign the publication of a stub."""
        return member.publication(stub.entries, stub.digest, class_of(member))

    def sign_heads(self, member: Member, sequence: int = 1, heads: tuple[Head, ...] = ()) -> bytes:
        """Sign the heads of a site that knows of these revocations."""
        now = utc_now()
        value = Heads(
            federation_id=member.trust.federation_id,
            site_id=member.name,
            sequence=sequence,
            issued_at=timestamp(now),
            expires_at=timestamp(now.replace(microsecond=0) + _WEEK),
            heads=heads,
            record=None,
        )
        return dsse.sign(build_heads(value), member.signing)

    def publish(self, envelope: bytes) -> None:
        """Take a publication as the service does."""
        self.book.add_publication(self._verified(envelope), envelope)

    def publish_heads(self, envelope: bytes) -> None:
        """Take heads as the service does."""
        self.heads.add(self._verified(envelope), envelope)

    def revoke(self, envelope: bytes) -> None:
        """Take a revocation as the service does."""
        self.book.add_revocation(self._verified(envelope), envelope)

    def _verified(self, envelope: bytes) -> dsse.VerifiedPayload:
        return dsse.verify(envelope, self.federation.trust, (Role.SITE,), at=utc_now())

    def _card(self, member: Member, class_name: str) -> Card:
        draw = self._random

        def figure(low: float, high: float) -> dict[str, object]:
            value = draw.uniform(low, high)
            return {
                "value": value, "low": value - 0.05, "high": value + 0.05, "samples": "512-1023"
            }  # fmt: skip

        return Card.model_validate(
            {
                "federation_id": member.trust.federation_id,
                "site_id": member.name,
                "class_name": class_name,
                "class_index": CLASSES.index(class_name),
                "image": SPEC["image"],
                "generator": {
                    **{"family": "edm", "preset": "tiny", "parameters": 500},
                    **{"sampler": "dpm", "sampler_steps": 4},
                },
                "training": {
                    **{"images": "512-1023", "steps": 600, "seconds": 100, "device": "cpu"},
                },
                "fidelity": {"coverage": figure(0.2, 0.95), "kid": figure(0.0, 0.3)},
                "memorisation": {
                    "membership_auc": figure(0.5, 0.7),
                    "replayed_images": figure(0.0, 0.02),
                },
                "created_at": timestamp(utc_now()),
            }
        )


def class_of(member: Member) -> str:
    """Return the class that a site holds: they take turns."""
    return CLASSES[int(member.name[-5:]) % len(CLASSES)]


def open_home(crowd: Crowd, folder: Path, name: str) -> Site:
    """Make the home of a site that has joined and knows nothing yet."""
    federation = crowd.federation
    member = federation.site(name)
    home = Home(folder)
    for kind, credential in (("tls", member.tls), ("signing", member.signing)):
        write_atomically(home.key(kind), key_to_pem(credential.key), mode=0o600)
        write_atomically(home.certificate(kind), chain_to_pem(credential.chain))
    write_atomically(home.root_certificate, federation.trust.pem)
    write_atomically(home.spec_envelope, crowd.spec_envelope or b"")
    SiteFile(
        site_id=name,
        federation_id=federation.trust.federation_id,
        federation_name="large",
        endpoint=federation.endpoint,
    ).write(home.site_file)
    return open_site(home)
