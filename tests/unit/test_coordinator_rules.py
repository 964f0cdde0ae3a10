"""What the relay accepts, as pure decisions."""

from dataclasses import replace

import pytest

from coordinator import rules
from coordinator.errors import ForbiddenStatementError, RefusedStatementError
from ff_protocol.limits import CHUNK_BYTES
from ff_protocol.manifest import FileEntry
from ff_protocol.names import Identity, Role
from ff_protocol.statements import Publication, Revocation

A, B = "a" * 64, "b" * 64
PUBLICATION = Publication(
    "f-0",
    "site-1",
    "glioma",
    A,
    {
        "module.onnx": FileEntry("module.onnx", CHUNK_BYTES + 5, "0" * 64, ("1" * 64, "2" * 64)),
        "card.json": FileEntry("card.json", 7, "0" * 64, ("3" * 64,)),
    },
    "2026-11-23T12:00:00Z",
)
FIRST = Revocation("f-0", "site-1", (A,), None, "why", 1, None, "2026-11-23T12:00:00Z", "1" * 64)
SECOND = replace(FIRST, modules=(B,), sequence=2, previous=FIRST.digest, digest="2" * 64)


def test_only_own_statements_are_handed_in():
    site = Identity("f-0", Role.SITE, "site-1")
    rules.check_speaker(site, site)
    for signer in (Identity("f-0", Role.SITE, "site-2"), Identity("f-0", Role.AUTHORITY)):
        with pytest.raises(ForbiddenStatementError):
            rules.check_speaker(site, signer)


def test_revoked_modules_stay_away():
    rules.check_not_revoked(PUBLICATION, [SECOND, replace(FIRST, issuer="site-2")])
    for revocation in (
        FIRST,
        replace(FIRST, issuer="authority"),
        replace(FIRST, modules=(), site_id="site-1"),
    ):
        with pytest.raises(RefusedStatementError, match="revoked"):
            rules.check_not_revoked(PUBLICATION, [revocation])


def test_every_chunk_has_the_size_that_follows_from_its_file():
    needed = rules.needed_chunks(PUBLICATION)
    assert needed == {"1" * 64: CHUNK_BYTES, "2" * 64: 5, "3" * 64: 7}
    rules.check_complete(needed, dict(needed))
    with pytest.raises(RefusedStatementError, match="1 of 3 chunks are missing"):
        rules.check_complete(needed, {**needed, "2" * 64: None})
    with pytest.raises(RefusedStatementError, match="implies 7"):
        rules.check_complete(needed, {**needed, "3" * 64: 8})


def test_a_chunk_has_one_size():
    files = {**PUBLICATION.files, "module.sig": FileEntry("module.sig", 9, "0" * 64, ("3" * 64,))}
    with pytest.raises(RefusedStatementError, match="two sizes"):
        rules.needed_chunks(replace(PUBLICATION, files=files))


def test_a_site_revokes_itself_and_its_own_modules():
    rules.check_right(FIRST, {A: "site-1"})
    rules.check_right(FIRST, {A: None})
    rules.check_right(replace(FIRST, site_id="site-1"), {A: None})
    with pytest.raises(ForbiddenStatementError):
        rules.check_right(FIRST, {A: "site-2"})
    with pytest.raises(ForbiddenStatementError):
        rules.check_right(replace(FIRST, site_id="site-2"), {A: None})


def test_a_chain_is_continued_and_repeated_but_neither_skipped_nor_forked():
    assert not rules.already_revoked(FIRST, [])
    assert not rules.already_revoked(SECOND, [FIRST])
    assert rules.already_revoked(FIRST, [SECOND, FIRST])
    for revocation, known in (
        (SECOND, []),
        (replace(SECOND, previous="3" * 64), [FIRST]),
        (replace(SECOND, sequence=3), [FIRST]),
        (replace(FIRST, digest="4" * 64), [FIRST]),
    ):
        with pytest.raises(RefusedStatementError):
            rules.already_revoked(revocation, known)
