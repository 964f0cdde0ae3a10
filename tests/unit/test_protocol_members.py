"""The authority's member list: what it says, and who may say it."""

import datetime as dt
from dataclasses import replace

import pytest

from ff_protocol import dsse
from ff_protocol.certificates import Purpose
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.members import ExpelledSite, MemberList, build_members, read_members
from ff_protocol.names import Role
from ff_protocol.trust import TrustRoot
from tests.homes import FEDERATION, make_authority

NOW = utc_now()
KEPT, LATER = "a" * 64, "b" * 64
LIST = MemberList(
    FEDERATION,
    3,
    timestamp(NOW),
    timestamp(NOW + dt.timedelta(days=14)),
    1,
    (ExpelledSite("hospital-2", timestamp(NOW), "stolen key", (KEPT,)),),
)


@pytest.fixture(scope="module")
def parties():
    authority = make_authority()
    trust = TrustRoot(authority.root.leaf, FEDERATION)
    signer = authority.credential(Role.AUTHORITY, None, Purpose.SIGNING)
    return trust, signer, authority.credential(Role.SITE, "hospital-1", Purpose.SIGNING)


def read(parties, members, at=NOW, signer=None):
    trust, authority, _ = parties
    envelope = dsse.sign(build_members(members), signer or authority)
    return read_members(dsse.verify(envelope, trust, (Role.AUTHORITY,), at=NOW), at=at)


def test_a_list_survives_signing(parties):
    assert read(parties, LIST) == LIST


def test_it_refuses_what_came_after_and_keeps_what_was_there():
    assert LIST.refuses(KEPT, "hospital-2") is None
    assert LIST.refuses(LATER, "hospital-2").reason == "stolen key"
    assert LIST.refuses(LATER, "hospital-1") is None


def test_only_the_authority_signs_it(parties):
    with pytest.raises(UntrustedError, match="role authority"):
        read(parties, LIST, signer=parties[2])


def test_it_ends_and_does_not_come_from_the_future(parties):
    assert not LIST.expired(NOW + dt.timedelta(days=13))
    assert LIST.expired(NOW + dt.timedelta(days=15))
    with pytest.raises(MalformedError, match="future"):
        read(parties, LIST, at=NOW - dt.timedelta(days=2))
    far = replace(LIST, expires_at=timestamp(NOW + dt.timedelta(days=93)))
    with pytest.raises(MalformedError, match="at most"):
        read(parties, far)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"roots": 0},
        {"issued_at": "yesterday"},
        {"expelled": (*LIST.expelled, *LIST.expelled)},
        {"expelled": (replace(LIST.expelled[0], site_id="../x"),)},
        {"expelled": (replace(LIST.expelled[0], reason="x" * 501),)},
        {"expelled": (replace(LIST.expelled[0], modules=(KEPT, KEPT)),)},
        {"expelled": (replace(LIST.expelled[0], modules=("short",)),)},
    ],
)
def test_what_breaks_the_form_is_refused(parties, change):
    with pytest.raises(MalformedError):
        read(parties, replace(LIST, **change))


def test_a_site_that_may_sign_other_statements_cannot_sign_this_one(parties):
    trust, _, site = parties
    payload = dsse.verify(
        dsse.sign(build_members(LIST), site), trust, (Role.SITE, Role.AUTHORITY), at=NOW
    )
    with pytest.raises(UntrustedError, match="hospital-1 cannot sign the member list"):
        read_members(payload, at=NOW)
