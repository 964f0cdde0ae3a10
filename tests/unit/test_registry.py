"""The site's record and its revocations: nothing edited, withheld or usurped goes unnoticed."""

import json

import pytest

from client_agent.errors import RefusedError
from client_agent.registry.log import Log, LogBrokenError
from client_agent.registry.modules import place, remove_folder
from client_agent.registry.revocations import RevocationList, check_chain, check_right
from ff_protocol.files import StorageError
from ff_protocol.heads import RecordHead
from ff_protocol.manifest import ALL_FILES
from ff_protocol.statements import Publication, Revocation

A, B = "a" * 64, "b" * 64


def revocation(issuer="hospital-1", modules=(A,), sequence=1, previous=None, site_id=None):
    return Revocation(
        federation_id="f",
        issuer=issuer,
        modules=modules,
        site_id=site_id,
        reason="",
        sequence=sequence,
        previous=previous,
        issued_at="2026-11-23T12:00:00Z",
        digest=f"{issuer}-{sequence}-{modules}",
    )


def publication(module=A, site="hospital-1"):
    return Publication("f", site, "glioma", module, {}, "2026-11-23T12:00:00Z")


def test_a_site_revokes_its_own_module():
    revoked = RevocationList(relayed=(revocation(),))
    assert revoked.covering(A, "hospital-1") is not None
    assert revoked.covering(B, "hospital-1") is None


def test_a_site_cannot_revoke_anothers_module_whatever_arrives_first():
    usurped = revocation(issuer="hospital-2")
    assert RevocationList(relayed=(usurped,)).covering(A, "hospital-1") is None
    with pytest.raises(RefusedError, match="cannot revoke"):
        check_right(usurped, [publication()])


def test_a_site_cannot_revoke_another_site():
    with pytest.raises(RefusedError, match="cannot revoke the site"):
        check_right(revocation(modules=(), site_id="hospital-2"), [])


def test_the_authority_may_revoke_anything():
    order = revocation(issuer="authority")
    check_right(order, [publication()])
    assert RevocationList(relayed=(order,)).covering(A, "hospital-1") is order


def test_an_admin_may_revoke_anything_for_their_own_site():
    local = revocation(issuer="hospital-3", modules=(), site_id="hospital-1")
    revoked = RevocationList(local=(local,))
    assert revoked.covering(A, "hospital-1") is local
    assert revoked.covering(B, "hospital-1") is local
    assert revoked.covering(A, "hospital-2") is None


def test_a_withheld_predecessor_is_noticed():
    second = revocation(sequence=2, previous="x" * 64)
    with pytest.raises(RefusedError, match="without its predecessor"):
        check_chain(second, RevocationList())


def test_a_replaced_predecessor_is_noticed():
    first = revocation()
    check_chain(first, RevocationList())
    second = revocation(sequence=2, previous="of another first")
    with pytest.raises(RefusedError, match="without its predecessor"):
        check_chain(second, RevocationList(relayed=(first,)))
    check_chain(revocation(sequence=2, previous=first.digest), RevocationList(relayed=(first,)))


def test_two_statements_under_one_number_are_noticed():
    with pytest.raises(RefusedError, match="two different"):
        check_chain(revocation(modules=(B,)), RevocationList(relayed=(revocation(),)))


def filled_log(path) -> Log:
    log = Log(path)
    for number in range(5):
        log.append("event", number=number, text="naïve")
    return log


def test_a_whole_record_verifies(tmp_path):
    assert filled_log(tmp_path / "log.jsonl").verify() == 5
    assert Log(tmp_path / "none.jsonl").verify() == 0


@pytest.mark.parametrize("damage", ["edit", "remove", "swap", "rehash"])
def test_an_edited_removed_or_moved_line_is_found(tmp_path, damage):
    path = tmp_path / "log.jsonl"
    log = filled_log(path)
    lines = path.read_bytes().splitlines(keepends=True)
    if damage == "edit":
        lines[2] = lines[2].replace(b'"number":2', b'"number":7')
    elif damage == "remove":
        del lines[1]
    elif damage == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    else:  # an attacker who recomputes the edited line's own hash still breaks the next one
        from client_agent.registry import log as module
        from ff_protocol import canonical

        entry = json.loads(lines[2])
        entry["details"]["number"] = 7
        entry["hash"] = module._hash(entry)
        lines[2] = canonical.dumps(entry) + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(LogBrokenError, match=r"line [234]"):
        log.verify()


def test_a_cut_end_shows_against_what_was_signed(tmp_path):
    path = tmp_path / "log.jsonl"
    log = filled_log(path)
    anchors = [RecordHead(2, entry_hash(log, 2)), log.head()]
    assert log.verify(anchors) == 5
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:4]))
    assert log.verify() == 4  # the chain alone cannot tell
    with pytest.raises(LogBrokenError, match=r"ends at line 4, this site has signed for line 5"):
        log.verify(anchors)
    path.unlink()
    forged = filled_log(path)  # a whole chain, but another one
    with pytest.raises(LogBrokenError, match="line 2"):
        forged.verify([RecordHead(2, "0" * 64)])


def entry_hash(log, sequence):
    return next(entry["hash"] for entry in log.entries() if entry["sequence"] == sequence)


def test_a_line_cut_by_a_crash_is_dropped_by_the_next_append(tmp_path):
    path = tmp_path / "log.jsonl"
    log = filled_log(path)
    with path.open("ab") as stream:
        stream.write(b'{"sequence": 6, "ev')
    assert log.verify() == 5
    log.append("event", number=6)
    assert log.verify() == 6
    assert [entry["sequence"] for entry in log.entries()] == [1, 2, 3, 4, 5, 6]


def make_module(folder):
    folder.mkdir()
    for name in ALL_FILES:
        (folder / name).write_bytes(b"x")
    return folder


def test_a_module_is_placed_whole_and_removed_whole(tmp_path):
    source = make_module(tmp_path / "source")
    place(source, tmp_path / "admitted" / A, copy=True)
    assert sorted(path.name for path in (tmp_path / "admitted" / A).iterdir()) == sorted(ALL_FILES)
    assert source.exists()
    assert remove_folder(tmp_path / "admitted" / A)
    assert list((tmp_path / "admitted").iterdir()) == []
    assert not remove_folder(tmp_path / "admitted" / A)


def test_placing_leaves_nothing_behind_when_a_file_is_missing(tmp_path):
    source = make_module(tmp_path / "source")
    (source / "module.sig").unlink()
    with pytest.raises(StorageError):
        place(source, tmp_path / "admitted" / A, copy=True)
    assert not (tmp_path / "admitted" / A).exists()


@pytest.mark.parametrize("torn", [b"", b'{"torn', b"x" * 200])
def test_a_long_record_is_continued_from_its_last_lines(tmp_path, monkeypatch, torn):
    from client_agent.registry import log as module

    monkeypatch.setattr(module, "_TAIL_BYTES", 600)
    log = Log(tmp_path / "log.jsonl")
    for length in (10, 10, 2000, 10, 10, 10, 2000):  # some lines are longer than what is read
        log.append("trained", note="x" * length)
        with log.path.open("ab") as stream:
            stream.write(torn)  # as a crash would leave it
    log.append("trained")
    assert log.verify() == 8
