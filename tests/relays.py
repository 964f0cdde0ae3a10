"""A coordinator in memory that can misbehave: for tests of what sites notice by themselves.

It answers the agent's relay client's calls (client_agent/relay/client.py) by the real coordinator's
contract: revocations first, then publications, then each site's newest heads. `rewrite`, if set,
turns what it would hand out into what it does.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from client_agent.errors import NetworkError
from client_agent.home import Home
from client_agent.site import Site, open_site
from client_agent.steps.receive import receive
from client_agent.steps.send import send
from ff_protocol import canonical, dsse, intoto
from ff_protocol.capabilities import CAPABILITIES
from ff_protocol.clock import utc_now
from ff_protocol.heads import HEADS, read_heads
from ff_protocol.manifest import describe_module
from ff_protocol.names import Role
from ff_protocol.statements import PUBLICATION, REVOCATION

Rewrite = Callable[[list[bytes]], list[bytes]]


@dataclass
class MemoryRelay:
    """A coordinator. `down` makes it unreachable; `on_fetch` is called before each download.

    `authority` holds what only the authority signs: it is handed out first.
    """

    folder: Path
    trust: Any
    statements: list[bytes] = field(default_factory=list)
    authority: list[bytes] = field(default_factory=list)
    rewrite: Rewrite | None = None
    down: bool = False
    on_fetch: Callable[[str], None] = lambda digest: None
    listings: int = 0

    def connect(self, monkeypatch: pytest.MonkeyPatch) -> "MemoryRelay":
        """Have every step of this process talk to it."""
        for step in ("receive", "send", "revoke"):
            monkeypatch.setattr(f"client_agent.steps.{step}.open_relay", self.open)
        return self

    @contextlib.contextmanager
    def open(self, site: Site) -> Iterator[SimpleNamespace]:
        if self.down:
            raise NetworkError("coordinator memory is not reachable")
        yield SimpleNamespace(
            bytes_sent=0,
            bytes_received=0,
            publish=self.publish,
            list_statements=self.list_statements,
            fetch_files=self.fetch_files,
            fetch_cards=self.fetch_cards,
            send_module=self.send_module,
        )

    def publish(self, envelope: bytes) -> bool:
        already = envelope in self.statements
        if not already:
            self.statements.append(envelope)
        return already

    def list_statements(self, known: set[str]) -> Iterator[bytes]:
        self.listings += 1
        newest: dict[str, tuple[int, bytes]] = {}
        parts: dict[str, list[bytes]] = {REVOCATION: [], PUBLICATION: []}
        for envelope in self.statements:
            kind, payload = self.kind(envelope)
            if kind == HEADS:
                heads = read_heads(payload, at=None)
                if heads.sequence >= newest.get(heads.site_id, (0, b""))[0]:
                    newest[heads.site_id] = heads.sequence, envelope
            elif kind != CAPABILITIES:  # for the operator only
                parts[kind].append(envelope)
        listing = [
            *self.authority,
            *parts[REVOCATION],
            *parts[PUBLICATION],
            *(item[1] for item in newest.values()),
        ]
        for envelope in self.rewrite(listing) if self.rewrite else listing:
            if canonical.sha256_hex(envelope) not in known:
                yield envelope

    def kind(self, envelope: bytes) -> tuple[str, dsse.VerifiedPayload]:
        roles = (Role.SITE, Role.AUTHORITY)
        payload = dsse.verify(envelope, self.trust, roles, at=utc_now())
        return intoto.predicate_type(payload), payload

    def fetch_files(self, publication: Any, folder: Path, show: Any = None) -> None:
        self.on_fetch(publication.module)
        shutil.copytree(self.folder / publication.module, folder, dirs_exist_ok=True)

    def fetch_cards(self, publications: list[Any]) -> Iterator[tuple[Any, bytes | None]]:
        for publication in publications:
            yield publication, (self.folder / publication.module / "card.json").read_bytes()

    def send_module(self, folder: Path, envelope: bytes, entries: Any, show: Any = None) -> Any:
        digest, _ = describe_module(folder)
        shutil.copytree(folder, self.folder / digest, dirs_exist_ok=True)
        return SimpleNamespace(bytes_sent=1, already_there=self.publish(envelope))

    def without(self, *kinds: str, of: str) -> Rewrite:
        """A listing without statements of these kinds that `of` signed."""

        def rewrite(listing: list[bytes]) -> list[bytes]:
            kept = []
            for envelope in listing:
                kind, payload = self.kind(envelope)
                if kind not in kinds or payload.signer.site_id != of:
                    kept.append(envelope)
            return kept

        return rewrite


@dataclass(frozen=True)
class Exchange:
    """Homes after modules went through a coordinator: made once, and taken up by each test.

    An admission takes a second, most of it for the process in which a module runs first.
    """

    folder: Path
    statements: tuple[bytes, ...]

    @classmethod
    def make(
        cls, homes: dict[str, Path], folder: Path, *, senders: tuple[str, ...], receiver: str
    ) -> "Exchange":
        """Copy the homes to `folder`; there `senders` send and `receiver` receives."""
        sites = {}
        for site_id, home in homes.items():
            shutil.copytree(home, folder / site_id)
            sites[site_id] = open_site(Home(folder / site_id))
        with pytest.MonkeyPatch.context() as patched:
            relay = MemoryRelay(folder / "relay", sites[receiver].trust).connect(patched)
            for sender in senders:
                send(sites[sender])
            receive(sites[receiver])
        return cls(folder, tuple(relay.statements))

    def take_up(
        self, sites: dict[str, Site], folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> MemoryRelay:
        """Bring `sites` to that state, opened anew, and have them talk to a copy of the relay."""
        for site_id, site in sites.items():
            shutil.rmtree(site.home.root)
            shutil.copytree(self.folder / site_id, site.home.root)
            sites[site_id] = open_site(site.home)
        shutil.copytree(self.folder / "relay", folder / "relay")
        trust = next(iter(sites.values())).trust
        return MemoryRelay(folder / "relay", trust, list(self.statements)).connect(monkeypatch)
