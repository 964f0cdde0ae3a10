"""Revisions of the federation spec: what may follow what, and what a site is asked about."""

import datetime as dt
from typing import Any

import pytest

from ff_protocol import dsse
from ff_protocol.capabilities import Capabilities, build_capabilities, read_capabilities
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.dsse import VerifiedPayload
from ff_protocol.errors import MalformedError, SpecError, UntrustedError
from ff_protocol.members import MemberList, build_members, read_members
from ff_protocol.names import Identity, Role
from ff_protocol.revisions import (
    OutOfOrderError,
    SpecRevision,
    build_revision,
    check_follows,
    read_revision,
    stated_revision,
)
from ff_protocol.spec import FederationSpec, parse_spec
from ff_protocol.spec_changes import changes, check_change
from ff_protocol.statements import build_spec
from tests.homes import FEDERATION, Authority, make_authority


def spec(**values: Any) -> FederationSpec:
    return parse_spec({"classes": ["a", "b"], "image": {"size": 28, "channels": 1}, **values})


@pytest.mark.parametrize(
    ("change", "additive", "text"),
    [
        ({"classes": ["a", "b", "c", "d"]}, True, "new classes: c, d"),
        ({"policy": {"max_parameters": 70_000_000}}, True, "max_parameters: 64000000 -> 70000000"),
        ({"policy": {"max_module_bytes": 2**27}}, True, "max_module_bytes"),
        ({"policy": {"max_parameters": 1_000_000}}, False, "max_parameters"),
        ({"policy": {"stale_heads": "refuse"}}, False, "stale_heads: warn -> refuse"),
        ({"classes": ["b", "c"]}, False, "classes leave the federation: a"),
        ({"image": {"size": 32, "channels": 1}}, False, "28 x 28, grey -> 32 x 32, grey"),
        ({"image": {"size": 28, "channels": 3}}, False, "28 x 28, grey -> 28 x 28, colour"),
        ({"preset": "small"}, False, "preset: tiny -> small"),
        ({"preparation": {"window": "lung"}}, False, "preparation.window"),
        ({"synthesis": {"samples_per_class": 5}}, False, "samples_per_class: 1000 -> 5"),
        ({"classifier": {"epochs": 3}}, False, "classifier.epochs: None -> 3"),
        ({"selection": {"most_per_class": 8}}, False, "selection: all modules -> 8 a class by"),
    ],
)
def test_every_difference_is_named_and_only_what_leaves_all_modules_usable_is_additive(
    change, additive, text
):
    found = changes(spec(), spec(**change))
    assert all(item.additive for item in found) == additive
    assert any(text in item.text for item in found)
    check_change([spec()], spec(**change))


def test_no_key_of_the_spec_can_change_unnoticed():
    other = spec(
        classes=["b", "c"],
        image={"size": 32, "channels": 3},
        preset="small",
        preparation={"window": "lung", "frame": "first"},
        synthesis={"samples_per_class": 5, "batch_size": 8, "threads": 1},
        classifier={"preset": "other", "epochs": 3, "seed": 1, "threads": 1},
        policy={
            "max_module_bytes": 2**27,
            "max_parameters": 1,
            "max_sampler_steps": 1,
            "heads_valid_hours": 1,
            "stale_heads": "refuse",
        },
    )
    text = " ".join(item.text for item in changes(spec(), other))
    before, after = spec().model_dump(), other.model_dump()
    assert set(FederationSpec.model_fields) == {
        *("version", "classes", "image", "preparation", "preset"),
        *("synthesis", "classifier", "policy", "selection"),
    }
    for section in ("preparation", "synthesis", "classifier", "policy"):
        for key, value in before[section].items():
            assert after[section][key] != value, "the test forgets a key"
            assert f"{section}.{key}: " in text
    assert changes(spec(), spec()) == ()


@pytest.mark.parametrize(
    ("earlier", "new", "reason"),
    [
        ([["a", "b"]], ["b", "a"], "keep their order"),
        ([["a", "b"]], ["c", "a", "b"], "come first"),
        ([["a", "b", "c"]], ["a", "d", "c"], "come first"),
        ([["a", "b", "c"], ["a", "b"]], ["a", "b", "C"], "was in the federation before"),
    ],
)
def test_classes_keep_their_order_and_names_of_classes_that_left_do_not_return(
    earlier, new, reason
):
    with pytest.raises(SpecError, match=reason):
        check_change([spec(classes=classes) for classes in earlier], spec(classes=new))


def test_the_size_of_modules_does_not_shrink():
    with pytest.raises(SpecError, match="larger modules may have been published"):
        check_change([spec()], spec(policy={"max_module_bytes": 2048}))


AUTHORITY: Authority = make_authority()


def signed(statement: Any, role: Role = Role.AUTHORITY, site: str | None = None) -> bytes:
    from ff_protocol.certificates import Purpose

    return dsse.sign(statement, AUTHORITY.credential(role, site, Purpose.SIGNING))


def payload(statement: Any, role: Role = Role.AUTHORITY, site: str | None = None):
    identity = Identity(FEDERATION, role, site)
    from ff_protocol import canonical

    return VerifiedPayload(statement, canonical.sha256_hex(canonical.dumps(statement)), identity)


def revision(number: int, previous: str | None, **values: Any) -> SpecRevision:
    return SpecRevision(FEDERATION, "test", number, previous, spec(**values), timestamp(utc_now()))


def test_each_revision_names_the_one_before_and_a_gap_or_a_fork_shows():
    first = read_revision(payload(build_spec(spec(), FEDERATION, "test", "2026-01-01T00:00:00Z")))
    assert (first.number, first.previous, first.spec) == (1, None, spec())
    second = read_revision(payload(build_revision(revision(2, first.digest, preset="small"))))
    assert (second.number, second.previous) == (2, first.digest)
    check_follows(second, first)
    third = read_revision(payload(build_revision(revision(3, second.digest))))
    check_follows(third, second)
    with pytest.raises(OutOfOrderError, match=r"revision 3 .* came before revision 2"):
        check_follows(third, first)
    other = read_revision(payload(build_revision(revision(2, first.digest, preset="large"))))
    with pytest.raises(UntrustedError, match="the authority has signed two"):
        check_follows(third, other)


def test_a_revision_is_the_authoritys_and_has_exactly_its_keys():
    statement = build_revision(revision(2, "0" * 64))
    with pytest.raises(UntrustedError, match="cannot sign the federation spec"):
        read_revision(payload(statement, Role.SITE, "hospital-1"))
    for change in ({"revision": 1}, {"revision": True}, {"revision": 2**40}, {"previous": "x"}):
        broken = {**statement, "predicate": {**statement["predicate"], **change}}
        with pytest.raises(MalformedError):
            read_revision(payload(broken))
    more = {**statement, "predicate": {**statement["predicate"], "more": 1}}
    with pytest.raises(MalformedError, match="exactly the keys"):
        read_revision(payload(more))


def test_the_number_is_read_from_an_envelope_without_trusting_it():
    assert stated_revision(signed(build_revision(revision(7, "0" * 64)))) == 7
    assert stated_revision(signed(build_spec(spec(), FEDERATION, "test", "now"))) == 1
    with pytest.raises(MalformedError):
        stated_revision(b"{}")


def test_the_member_list_names_the_revision_once_there_is_a_second():
    now = utc_now()
    for number in (1, 2):
        members = MemberList(
            FEDERATION, 1, timestamp(now), timestamp(now + dt.timedelta(days=1)), 1, (), number
        )
        statement = build_members(members)
        # Programs from before there were revisions read the lists of before, too.
        assert ("spec" in statement["predicate"]) == (number > 1)
        assert read_members(payload(statement), at=now) == members


def test_what_a_site_supports_is_its_own_word_and_compared_with_a_spec():
    said = Capabilities(
        FEDERATION, "hospital-1", timestamp(utc_now()), "0.1.0", 2, 3, (1,), ("tiny",), 64
    )
    statement = build_capabilities(said)
    site = (Role.SITE, "hospital-1")
    assert read_capabilities(payload(statement, *site), at=utc_now()) == said
    assert said.lacks(spec()) == ()
    assert said.lacks(spec(preset="large", image={"size": 128, "channels": 1})) == (
        "preset large",
        "images of 128 px (at most 64)",
    )
    with pytest.raises(UntrustedError, match="cannot speak for hospital-1"):
        read_capabilities(payload(statement, Role.SITE, "hospital-2"), at=utc_now())
    for change in ({"revision": 0}, {"presets": "tiny"}, {"schemas": [True]}, {"issued_at": "x"}):
        broken = {**statement, "predicate": {**statement["predicate"], **change}}
        with pytest.raises(MalformedError):
            read_capabilities(payload(broken, *site), at=utc_now())
