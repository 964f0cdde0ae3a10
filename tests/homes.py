"""Homes of sites that have joined, made without a coordinator: for tests of everything offline."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client_agent.home import Home
from client_agent.site import Site, SiteFile, open_site
from ff_protocol import dsse
from ff_protocol.certificates import (
    SIGNING_LIFETIME,
    Credential,
    Purpose,
    chain_to_pem,
    issue_leaf,
    key_to_pem,
    make_issuing,
    make_key,
    make_root,
)
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.files import write_atomically
from ff_protocol.names import Identity, Role
from ff_protocol.spec import FederationSpec, parse_spec
from ff_protocol.statements import build_spec

FEDERATION = "test-0123456789ab"
UNAUDITED = "release: {require_audit: false}"
"""A policy for tests about something else; tests of the gate have policies of their own."""

LENIENT = """
release:
  thresholds:
    replayed_images: {max: 1}
    distinct_excess: {min: 0}
    membership_auc: {max: 1}
    membership_tpr_at_1_fpr: {max: 1}
"""
"""Audited like any other; a few steps on a few images say nothing about where sound bounds lie."""


@dataclass(frozen=True)
class Authority:
    """The keys of a federation, in memory."""

    root: Credential
    issuing: Credential
    spec: FederationSpec

    def credential(self, role: Role, site_id: str | None, purpose: Purpose) -> Credential:
        key = make_key()
        chain = issue_leaf(
            self.issuing,
            key.public_key(),
            Identity(FEDERATION, role, site_id),
            purpose,
            now=utc_now(),
            lifetime=SIGNING_LIFETIME,
        )
        return Credential(key, chain)

    def join(self, folder: Path, site_id: str) -> Site:
        """Make a joined home."""
        home = Home(folder)
        for name, purpose in (("tls", Purpose.TLS_CLIENT), ("signing", Purpose.SIGNING)):
            credential = self.credential(Role.SITE, site_id, purpose)
            write_atomically(home.key(name), key_to_pem(credential.key), mode=0o600)
            write_atomically(home.certificate(name), chain_to_pem(credential.chain))
        write_atomically(home.root_certificate, chain_to_pem(self.root.chain))
        statement = build_spec(self.spec, FEDERATION, "test", timestamp(utc_now()))
        signer = self.credential(Role.AUTHORITY, None, Purpose.SIGNING)
        write_atomically(home.spec_envelope, dsse.sign(statement, signer))
        SiteFile(
            site_id=site_id,
            federation_id=FEDERATION,
            federation_name="test",
            endpoint="127.0.0.1:1",
        ).write(home.site_file)
        return open_site(home)


def make_authority(**spec: Any) -> Authority:
    """Make a federation of two classes of 8 x 8 grey images unless told otherwise."""
    value = {
        "classes": ["zero", "one"],
        "image": {"size": 8, "channels": 1},
        "synthesis": {"samples_per_class": 40, "batch_size": 16, "threads": 1},
        "classifier": {"epochs": 2, "threads": 1},
    }
    root = make_root("test", utc_now())
    return Authority(root, make_issuing(root, "test", utc_now()), parse_spec(value | spec))
