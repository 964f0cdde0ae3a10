"""Signed statements: what is altered, mis-signed or malformed is refused with its reason."""

import base64
import datetime as dt
import json

import pytest

from ff_protocol import canonical, dsse, statements
from ff_protocol.certificates import (
    SIGNING_LIFETIME,
    Credential,
    Purpose,
    issue_leaf,
    make_issuing,
    make_key,
    make_root,
)
from ff_protocol.errors import FederatedFactoryError, MalformedError, UntrustedError
from ff_protocol.limits import CHUNK_BYTES, MIB
from ff_protocol.manifest import FileEntry, describe_module, module_digest
from ff_protocol.names import Identity, Role
from ff_protocol.trust import TrustRoot

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
FEDERATION = "blood-0123456789ab"
ROOT = make_root("blood", NOW)
ISSUING = make_issuing(ROOT, "blood", NOW)
TRUST = TrustRoot(ROOT.leaf, FEDERATION)


def credential(site: str = "hospital-1", role: Role = Role.SITE) -> Credential:
    key = make_key()
    identity = Identity(FEDERATION, role, site if role is Role.SITE else None)
    chain = issue_leaf(
        ISSUING,
        key.public_key(),
        identity,
        Purpose.SIGNING,
        now=NOW,
        lifetime=SIGNING_LIFETIME,
    )
    return Credential(key, chain)


def entry(name: str, size: int = 10) -> FileEntry:
    chunks = tuple(canonical.sha256_hex(f"{name}{i}".encode()) for i in range(-(-size // MIB)))
    return FileEntry(name, size, canonical.sha256_hex(name.encode()), chunks)


FILES = {name: entry(name) for name in ("module.onnx", "card.json", "module.sig")}


def publication(site: str = "hospital-1", **changes) -> statements.Publication:
    values = {
        "federation_id": FEDERATION,
        "site_id": site,
        "class_name": "glioma",
        "module": module_digest(FILES),
        "files": FILES,
        "published_at": "2026-11-23T12:00:00Z",
    } | changes
    return statements.Publication(**values)


def verified(value, signer: Credential | None = None) -> dsse.VerifiedPayload:
    envelope = dsse.sign(value, signer or credential())
    return dsse.verify(envelope, TRUST, (Role.SITE, Role.AUTHORITY), at=NOW)


def read(value, signer: Credential | None = None) -> statements.Publication:
    return statements.read_publication(verified(value, signer), max_module_bytes=64 * MIB)


def test_a_publication_survives_signing_and_reading():
    assert read(statements.build_publication(publication())) == publication()


def test_any_changed_payload_byte_breaks_the_signature():
    document = json.loads(dsse.sign(statements.build_publication(publication()), credential()))
    payload = bytearray(base64.b64decode(document["payload"]))
    for position in range(0, len(payload), 97):
        changed = payload.copy()
        changed[position] ^= 1
        document["payload"] = base64.b64encode(bytes(changed)).decode()
        with pytest.raises(FederatedFactoryError):
            dsse.verify(canonical.dumps(document), TRUST, (Role.SITE,), at=NOW)


def test_the_payload_type_is_under_the_signature():
    signer = credential()
    payload = canonical.dumps({"a": 1})
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    signature = signer.key.sign(
        dsse.pre_authentication_encoding("text/plain", payload), ec.ECDSA(hashes.SHA256())
    )
    document = json.loads(dsse.sign({"a": 1}, signer))
    document["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    with pytest.raises(UntrustedError, match="does not hold"):
        dsse.verify(canonical.dumps(document), TRUST, (Role.SITE,), at=NOW)


def test_a_site_cannot_publish_for_another():
    with pytest.raises(UntrustedError, match="cannot publish for"):
        read(statements.build_publication(publication("hospital-2")), credential("hospital-1"))


def test_a_digest_that_is_not_the_files_is_refused():
    with pytest.raises(MalformedError, match="not that of its files"):
        read(statements.build_publication(publication(module="0" * 64)))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("module.onnx", {"size": 65 * MIB}),
        ("module.onnx", {"size": 0}),
        ("module.onnx", {"size": True}),
        ("module.onnx", {"size": -5}),
        ("module.onnx", {"name": "../module.onnx"}),
        ("module.onnx", {"name": "card.json"}),
        ("module.onnx", {"chunks": []}),
        ("module.onnx", {"sha256": "0" * 63}),
        ("card.json", {"size": CHUNK_BYTES}),
        ("module.sig", {"extra": 1}),
    ],
)
def test_a_file_entry_that_lies_is_refused(name, change):
    value = statements.build_publication(publication())
    for item in value["predicate"]["files"]:
        if item["name"] == name:
            item.update(change)
            break
    with pytest.raises(MalformedError):
        read(value)


def revocation(**changes) -> statements.Revocation:
    values = {
        "federation_id": FEDERATION,
        "issuer": "hospital-1",
        "modules": ("a" * 64,),
        "site_id": None,
        "reason": "patient withdrew",
        "sequence": 1,
        "previous": None,
        "issued_at": "2026-11-23T12:00:00Z",
        "digest": "",
    } | changes
    return statements.Revocation(**values)


def test_a_revocation_survives_signing_and_reading():
    payload = verified(statements.build_revocation(revocation()))
    assert statements.read_revocation(payload) == revocation(digest=payload.digest)


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 0},
        {"sequence": 2},
        {"previous": "b" * 64},
        {"modules": ()},
        {"reason": "x" * 501},
        {"site_id": "../etc"},
        {"modules": ("A" * 64,)},
    ],
)
def test_a_malformed_revocation_is_refused(change):
    with pytest.raises(MalformedError):
        statements.read_revocation(verified(statements.build_revocation(revocation(**change))))


def test_a_site_cannot_revoke_in_the_name_of_another():
    value = statements.build_revocation(revocation(issuer="hospital-2"))
    with pytest.raises(UntrustedError, match="in the name of"):
        statements.read_revocation(verified(value))


def test_a_statement_of_one_kind_is_not_read_as_another():
    payload = verified(statements.build_revocation(revocation()))
    with pytest.raises(MalformedError, match="not"):
        statements.read_publication(payload, max_module_bytes=MIB)


def test_a_module_folder_holds_exactly_three_regular_files(tmp_path):
    for name in ("module.onnx", "card.json", "module.sig"):
        (tmp_path / name).write_bytes(b"x")
    digest, entries = describe_module(tmp_path)
    assert digest == module_digest(entries)
    (tmp_path / "extra").write_bytes(b"")
    with pytest.raises(MalformedError, match="exactly"):
        describe_module(tmp_path)
    (tmp_path / "extra").unlink()
    (tmp_path / "module.sig").unlink()
    (tmp_path / "module.sig").symlink_to("/etc/passwd")
    with pytest.raises(MalformedError, match="regular"):
        describe_module(tmp_path)


def test_signing_again_does_not_make_another_module(tmp_path):
    for name in ("module.onnx", "card.json", "module.sig"):
        (tmp_path / name).write_bytes(b"x")
    before, _ = describe_module(tmp_path)
    (tmp_path / "module.sig").write_bytes(b"another signature")
    assert describe_module(tmp_path)[0] == before
    (tmp_path / "card.json").write_bytes(b"another card")
    assert describe_module(tmp_path)[0] != before
