"""Changing the root: TUF's attacks on a root role, each by name, and what stays valid."""

import datetime as dt
from dataclasses import replace

import pytest

from ff_protocol import dsse
from ff_protocol.certificates import (
    SIGNING_LIFETIME,
    Credential,
    Purpose,
    certify_issuing,
    issue_leaf,
    make_issuing,
    make_key,
    make_root,
)
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.names import Identity, Role
from ff_protocol.roots import TrustStatement, follow, is_trust_statement, sign_trust
from ff_protocol.trust import TrustRoot, parse_trust

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(days=9 * 365)
FEDERATION = "blood-0123456789ab"
SITE = Identity(FEDERATION, Role.SITE, "hospital-1")
ROOT = make_root("blood", NOW)
ISSUING = make_issuing(ROOT, "blood", NOW)


def successor(issuing=ISSUING):
    """A new root, and the issuing key's certificate under it."""
    begins = ROOT.leaf.not_valid_before_utc
    root = make_root("blood", LATER, begins=begins)
    subject, key = issuing.leaf.subject, issuing.key.public_key()
    return root, certify_issuing(root, key, subject, LATER, begins=begins)


NEW, CERTIFIED = successor()
EVIL, EVIL_CERTIFIED = successor()
FIRST = TrustRoot(ROOT.leaf, FEDERATION)
BOTH = TrustStatement(
    FEDERATION, 2, (ROOT.leaf, NEW.leaf), (ISSUING.leaf, CERTIFIED), "2035-06-01T00:00:00Z"
)
ALONE = TrustStatement(FEDERATION, 3, (NEW.leaf,), (CERTIFIED,), "2035-06-01T00:00:00Z")


def signing(issuing, now):
    key = make_key()
    return Credential(
        key,
        issue_leaf(
            issuing, key.public_key(), SITE, Purpose.SIGNING, now=now, lifetime=SIGNING_LIFETIME
        ),
    )


def test_a_change_takes_two_steps_and_what_was_signed_before_stays_valid():
    before = dsse.sign({"a": 1}, signing(ISSUING, NOW))
    begun = follow(sign_trust(BOTH, (ROOT, NEW)), FIRST, 1, at=LATER)
    assert begun == BOTH
    ended = follow(sign_trust(ALONE, (NEW,)), begun.trust(), 2, at=LATER)
    assert ended == ALONE
    grown = Credential(ISSUING.key, (ISSUING.leaf, CERTIFIED))
    after = dsse.sign({"a": 2}, signing(grown, LATER))
    for trust in (begun.trust(), ended.trust()):
        for envelope in (before, after):
            found = dsse.verify(envelope, trust, (Role.SITE,), at=LATER)
            assert found.signer == SITE
    # Who knows the first root alone can read what is issued after the change, too.
    assert dsse.verify(after, FIRST, (Role.SITE,), at=LATER).signer == SITE
    assert ended.trust().certificate == NEW.leaf


def test_the_old_root_is_worth_nothing_after_the_end():
    other = make_issuing(ROOT, "blood", LATER)
    stolen = dsse.sign({"a": 1}, signing(other, LATER))
    assert dsse.verify(stolen, BOTH.trust(), (Role.SITE,), at=LATER).signer == SITE
    with pytest.raises(UntrustedError):
        dsse.verify(stolen, ALONE.trust(), (Role.SITE,), at=LATER)


@pytest.mark.parametrize("version", [2, 3, 9])
def test_rollback_an_older_version_changes_nothing(version):
    assert follow(sign_trust(BOTH, (ROOT, NEW)), ALONE.trust(), version, at=LATER) is None


def test_fast_forward_a_version_cannot_be_left_out():
    with pytest.raises(UntrustedError, match="came before version 2"):
        follow(sign_trust(ALONE, (NEW,)), FIRST, 1, at=LATER)


@pytest.mark.parametrize(
    "signers", [(NEW,), (ROOT,), (EVIL, NEW), (ROOT, EVIL)], ids=["new", "old", "evil", "evil new"]
)
def test_wrong_signers_the_old_root_and_the_new_must_both_sign(signers):
    with pytest.raises(UntrustedError, match="has not signed"):
        follow(sign_trust(BOTH, signers), FIRST, 1, at=LATER)


def test_a_stolen_old_root_cannot_move_who_has_begun_the_change():
    theft = replace(
        BOTH, version=3, roots=(ROOT.leaf, EVIL.leaf), issuing=(ISSUING.leaf, EVIL_CERTIFIED)
    )
    with pytest.raises(UntrustedError, match="has not signed"):
        follow(sign_trust(theft, (ROOT, EVIL)), BOTH.trust(), 2, at=LATER)


def test_a_root_cannot_ride_along():
    stowaway = replace(BOTH, roots=(EVIL.leaf, NEW.leaf), issuing=(EVIL_CERTIFIED, CERTIFIED))
    # The old root's key signs as well, as if it had been made to.
    envelope = sign_trust(stowaway, (ROOT, NEW))
    with pytest.raises(UntrustedError, match="trusted before"):
        follow(envelope, FIRST, 1, at=LATER)


def test_an_altered_statement_is_refused():
    envelope = sign_trust(BOTH, (ROOT, NEW))
    other = sign_trust(replace(BOTH, issued_at="2035-06-02T00:00:00Z"), (ROOT, NEW))
    payload = other.partition(b'"payload":"')[2].partition(b'"')[0]
    original = envelope.partition(b'"payload":"')[2].partition(b'"')[0]
    with pytest.raises(UntrustedError, match="does not hold"):
        follow(envelope.replace(original, payload), FIRST, 1, at=LATER)


def test_a_change_of_another_federation_is_refused():
    foreign = replace(BOTH, federation_id="other-0123456789ab")
    with pytest.raises(UntrustedError, match="another federation"):
        follow(sign_trust(foreign, (ROOT, NEW)), FIRST, 1, at=LATER)


def test_a_new_root_that_has_ended_is_refused():
    with pytest.raises(UntrustedError, match="not valid at this time"):
        follow(sign_trust(BOTH, (ROOT, NEW)), FIRST, 1, at=LATER + dt.timedelta(days=21 * 366))


def test_all_roots_certify_one_issuing_key():
    other = make_issuing(NEW, "blood", LATER)
    changed = replace(BOTH, issuing=(ISSUING.leaf, other.leaf))
    with pytest.raises(MalformedError, match="same issuing key"):
        follow(sign_trust(changed, (ROOT, NEW)), FIRST, 1, at=LATER)


def test_a_leaf_is_no_root():
    leaf = signing(ISSUING, NOW)
    changed = replace(BOTH, roots=(ROOT.leaf, leaf.leaf))
    with pytest.raises(MalformedError, match="certify"):
        follow(sign_trust(changed, (ROOT, Credential(leaf.key, leaf.chain))), FIRST, 1, at=LATER)


@pytest.mark.parametrize("version", [1, 0, 257, 2.5, True, "2"])
def test_a_version_is_a_small_whole_number(version):
    with pytest.raises(MalformedError):
        follow(sign_trust(replace(BOTH, version=version), (ROOT, NEW)), FIRST, 1, at=LATER)


@pytest.mark.parametrize("rubbish", [b"", b"{}", b"[]", b'{"payload":1}', b"\xff" * 70_000])
def test_rubbish_is_malformed_and_no_trust_statement(rubbish):
    assert not is_trust_statement(rubbish)
    with pytest.raises(MalformedError):
        follow(rubbish, FIRST, 1, at=LATER)


def test_other_statements_are_not_taken_for_one():
    assert is_trust_statement(sign_trust(BOTH, (ROOT, NEW)))
    assert not is_trust_statement(dsse.sign({"a": 1}, signing(ISSUING, NOW)))


@pytest.mark.parametrize("trust", [FIRST, BOTH.trust(), ALONE.trust()])
def test_trust_survives_its_file(trust):
    again = parse_trust(trust.pem, FEDERATION)
    assert (again.roots, again.issuing) == (trust.roots, trust.issuing)
