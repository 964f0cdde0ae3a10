"""Parsers of untrusted bytes: round trips are exact, garbage ends in a foreseeable error."""

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_protocol import canonical
from ff_protocol.card import bucket, parse_card
from ff_protocol.clock import utc_now
from ff_protocol.durations import parse_duration
from ff_protocol.errors import FederatedFactoryError, MalformedError
from ff_protocol.invitation import parse_invitation
from ff_protocol.names import Identity, Role, check_class_name, check_site_id, slug

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-(2.0**53) + 2, 2.0**53 - 2)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_canonical_json_round_trips(value):
    data = canonical.dumps(value)
    again = canonical.loads(data, max_bytes=len(data))
    assert again == value
    assert canonical.dumps(again) == data


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_are_malformed(data):
    with contextlib.suppress(MalformedError):
        canonical.loads(data, max_bytes=300)


@pytest.mark.parametrize(
    "data", [b'{"a":1,"a":2}', b"NaN", b"[" * 40 + b"]" * 40, b'{"a":Infinity}', b"\xff", b"1" * 99]
)
def test_ambiguous_deep_or_large_json_is_refused(data):
    with pytest.raises(MalformedError):
        canonical.loads(data, max_bytes=90)


@given(st.binary(max_size=400) | JSON.map(canonical.dumps))
def test_cards_and_invitations_survive_garbage(data):
    with pytest.raises(FederatedFactoryError):
        parse_card(data)
    with pytest.raises(FederatedFactoryError):
        parse_invitation(data, at=utc_now())


@given(st.text(max_size=70))
def test_a_site_id_is_always_one_safe_path_component(text):
    try:
        name = check_site_id(text)
    except MalformedError:
        return
    assert set(name) <= set(string.ascii_lowercase + string.digits + "-")
    assert Identity.from_urn(str(Identity("f", Role.SITE, name))).site_id == name


@given(st.text(max_size=70))
def test_a_class_name_never_leaves_its_folder(text):
    try:
        name = check_class_name(text)
    except MalformedError:
        return
    assert "/" not in name
    assert "\\" not in name
    assert not name.startswith(".")
    assert name == name.strip()
    assert name.isascii()


@given(st.text(max_size=60))
def test_a_slug_fits_a_urn(text):
    try:
        made = slug(text)
    except MalformedError:
        return
    assert Identity.from_urn(str(Identity(made, Role.AUTHORITY))).federation_id == made


@given(st.integers(0, 10**7))
def test_a_bucket_never_tells_the_count(count):
    low, _, high = bucket(count).partition("-")
    if high:
        assert int(low) <= count <= int(high)
        assert int(high) >= 2 * int(low) - 1


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_durations_add_up(days, hours, minutes, seconds):
    text = f"{days}d{hours}h{minutes}m{seconds}s"
    expected = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert parse_duration(text).total_seconds() == expected


@given(st.text(max_size=12))
def test_a_duration_is_positive_or_refused(text):
    with contextlib.suppress(FederatedFactoryError):
        assert parse_duration(text).total_seconds() > 0
