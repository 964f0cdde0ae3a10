"""A real federation for tests: `ff-coordinator` processes on loopback, and credentials of sites."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from coordinator.home import CoordinatorHome
from ff_protocol import dsse
from ff_protocol.certificates import (
    SIGNING_LIFETIME,
    TLS_LIFETIME,
    Credential,
    Purpose,
    issue_leaf,
    make_key,
)
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.invitation import Invitation, parse_invitation
from ff_protocol.manifest import FileEntry, describe_module
from ff_protocol.names import Identity, Role
from ff_protocol.statements import Publication, Revocation, build_publication, build_revocation
from ff_protocol.trust import TrustRoot
from tests.agents import ENVIRONMENT
from tests.warm import Warm

WARM = Warm("coordinator", ENVIRONMENT)
SPEC: dict[str, Any] = {"classes": ["a", "b", "c"], "image": {"size": 8, "channels": 1}}


def ff_coordinator(*arguments: str) -> dict[str, Any]:
    """Run a command to its end; return its JSON document with `exit_code` 0 added on success."""
    process = WARM.start("coordinator.cli", [*arguments, "--json"], environment=os.environ)
    out, _ = process.communicate(timeout=240)
    return {"exit_code": process.returncode, **json.loads(out)}


@dataclass
class RunningServer:
    """A `serve` process."""

    process: "subprocess.Popen[str]"
    endpoint: str

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """As a service manager would; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


@dataclass
class TestFederation:
    """A founded federation; `start` serves it, `site` makes members without the wire."""

    __test__ = False

    folder: Path
    home: CoordinatorHome
    servers: list[RunningServer] = field(default_factory=list)

    @property
    def trust(self) -> TrustRoot:
        return self.home.trust()

    @property
    def endpoint(self) -> str:
        return self.servers[-1].endpoint

    def start(
        self, listen: str = "127.0.0.1:0", *, arguments: tuple[str, ...] = ()
    ) -> RunningServer:
        """Start a server of this home and wait until it listens."""
        with (self.folder / "serve.log").open("a") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "coordinator.cli", "serve"),
                    *("--home", str(self.home.root), "--listen", listen, "--json"),
                    *arguments,
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert process.stdout is not None
        server = RunningServer(process, json.loads(process.stdout.readline())["listening"])
        self.servers.append(server)
        return server

    def invite(self, site: str, valid: str = "1h") -> Path:
        """Make an invitation file for the server started last."""
        path = self.folder / f"invitation-{site}-{len(list(self.folder.glob('inv*')))}.json"
        done = ff_coordinator(
            *("invite", site, "--home", str(self.home.root), "--endpoint", self.endpoint),
            *("--valid", valid, "--output", str(path)),
        )
        assert done["status"] == "ok", done
        return path

    def invitation(self, site: str) -> Invitation:
        """Make an invitation and read it back."""
        return parse_invitation(self.invite(site).read_bytes(), at=utc_now())

    def credential(self, identity: Identity, purpose: Purpose) -> Credential:
        """Issue any certificate, as only the authority could."""
        key = make_key()
        lifetime = SIGNING_LIFETIME if purpose is Purpose.SIGNING else TLS_LIFETIME
        chain = issue_leaf(
            self.home.credential("issuing"),
            key.public_key(),
            identity,
            purpose,
            now=utc_now(),
            lifetime=lifetime,
        )
        return Credential(key, chain)

    def site(self, name: str) -> "Member":
        """A member with its two credentials."""
        identity = Identity(self.trust.federation_id, Role.SITE, name)
        return Member(
            name,
            self.trust,
            self.credential(identity, Purpose.TLS_CLIENT),
            self.credential(identity, Purpose.SIGNING),
        )


@dataclass(frozen=True)
class Member:
    """A site with its credentials, which can sign statements."""

    name: str
    trust: TrustRoot
    tls: Credential
    signing: Credential

    def publication(
        self, entries: dict[str, FileEntry], digest: str, class_name: str = "a", **changes: Any
    ) -> tuple[Publication, bytes]:
        """Sign a publication; `changes` replace fields, for forgeries."""
        values = {
            "federation_id": self.trust.federation_id,
            "site_id": self.name,
            "class_name": class_name,
            "module": digest,
            "files": entries,
            "published_at": timestamp(utc_now()),
        }
        publication = Publication(**{**values, **changes})
        return publication, dsse.sign(build_publication(publication), self.signing)

    def publication_of(self, folder: Path) -> tuple[Publication, bytes]:
        """Sign the publication of a module folder."""
        digest, entries = describe_module(folder)
        return self.publication(entries, digest)

    def revocation(
        self,
        modules: tuple[str, ...] = (),
        *,
        site: str | None = None,
        sequence: int = 1,
        previous: str | None = None,
    ) -> tuple[str, bytes]:
        """Sign a revocation; return the digest of its payload and the envelope."""
        value = build_revocation(
            Revocation(
                federation_id=self.trust.federation_id,
                issuer=self.name,
                modules=modules,
                site_id=site,
                reason="a test",
                sequence=sequence,
                previous=previous,
                issued_at=timestamp(utc_now()),
                digest="",
            )
        )
        envelope = dsse.sign(value, self.signing)
        verified = dsse.verify(envelope, self.trust, (Role.SITE,), at=utc_now())
        return verified.digest, envelope


def make_module(folder: Path, size: int = 3_000_000, seed: int = 0) -> Path:
    """Write a folder with a module's three files; the relay does not look inside them."""
    import random

    folder.mkdir(parents=True)
    (folder / "module.onnx").write_bytes(random.Random(seed).randbytes(size))
    (folder / "card.json").write_bytes(b'{"seed":%d}' % seed)
    (folder / "module.sig").write_bytes(b"signature %d" % seed)
    return folder


@contextlib.contextmanager
def make_federation(
    folder: Path,
    spec: dict[str, Any] | None = None,
    *,
    serve: bool = True,
    store: str | None = None,
    offline_root: Path | None = None,
) -> Iterator[TestFederation]:
    """Found a federation in `folder` and serve it; every server is killed at the end."""
    spec_file = folder / "spec.yaml"
    spec_file.write_text(yaml.safe_dump(spec or SPEC))
    home = folder / "coordinator"
    extra = ("--store", store) if store else ()
    if offline_root is not None:
        extra = (*extra, "--offline-root", str(offline_root))
    done = ff_coordinator(
        *("init", "--home", str(home), "--federation", "test", "--spec", str(spec_file)), *extra
    )
    assert done["status"] == "ok", done
    federation = TestFederation(folder, CoordinatorHome(home))
    try:
        if serve:
            federation.start()
        yield federation
    finally:
        for server in federation.servers:
            if server.process.poll() is None:
                server.kill()
