"""Certificates: dates, purposes, parties and federations cannot stand in for each other."""

import datetime as dt

import pytest

from ff_protocol.certificate_requests import make_request, request_public_key
from ff_protocol.certificates import (
    SIGNING_LIFETIME,
    Credential,
    Purpose,
    issue_leaf,
    key_from_pem,
    key_to_pem,
    make_issuing,
    make_key,
    make_root,
)
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.names import Identity, Role
from ff_protocol.trust import TrustRoot

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
FEDERATION = "blood-0123456789ab"
SITE = Identity(FEDERATION, Role.SITE, "hospital-1")


@pytest.fixture(scope="module")
def root() -> Credential:
    return make_root("blood", NOW)


@pytest.fixture(scope="module")
def issuing(root: Credential) -> Credential:
    return make_issuing(root, "blood", NOW)


@pytest.fixture(scope="module")
def trust(root: Credential) -> TrustRoot:
    return TrustRoot(root.leaf, FEDERATION)


def leaf(issuing, identity=SITE, purpose=Purpose.SIGNING, lifetime=SIGNING_LIFETIME, now=NOW):
    return issue_leaf(
        issuing, make_key().public_key(), identity, purpose, now=now, lifetime=lifetime
    )


def test_a_valid_leaf_gives_its_identity(trust, issuing):
    assert trust.verify(leaf(issuing), Purpose.SIGNING, Role.SITE, at=NOW) == SITE


@pytest.mark.parametrize("held", list(Purpose))
@pytest.mark.parametrize("needed", list(Purpose))
def test_a_leaf_serves_its_own_purpose_only(trust, issuing, held, needed):
    chain = leaf(issuing, purpose=held)
    if held is needed:
        assert trust.verify(chain, needed, Role.SITE, at=NOW) == SITE
    else:
        with pytest.raises(UntrustedError, match="not for"):
            trust.verify(chain, needed, Role.SITE, at=NOW)


def test_an_expired_leaf_is_refused_with_its_date(trust, issuing):
    chain = leaf(issuing, lifetime=dt.timedelta(days=1))
    with pytest.raises(UntrustedError, match="expired on 2026-11-24"):
        trust.verify(chain, Purpose.SIGNING, Role.SITE, at=NOW + dt.timedelta(days=2))


def test_a_leaf_of_tomorrow_is_refused_today(trust, issuing):
    chain = leaf(issuing, now=NOW + dt.timedelta(days=1))
    with pytest.raises(UntrustedError, match="not valid before"):
        trust.verify(chain, Purpose.SIGNING, Role.SITE, at=NOW)


def test_another_root_is_refused_even_under_the_same_name(issuing):
    other = TrustRoot(make_root("blood", NOW).leaf, FEDERATION)
    with pytest.raises(UntrustedError):
        other.verify(leaf(issuing), Purpose.SIGNING, Role.SITE, at=NOW)


def test_another_federation_id_under_the_same_root_is_refused(root, issuing):
    other = TrustRoot(root.leaf, "other-0123456789ab")
    with pytest.raises(UntrustedError, match="another federation"):
        other.verify(leaf(issuing), Purpose.SIGNING, Role.SITE, at=NOW)


def test_an_invitation_is_not_a_site(trust, issuing):
    chain = leaf(issuing, Identity(FEDERATION, Role.INVITATION, "hospital-1"), Purpose.TLS_CLIENT)
    with pytest.raises(UntrustedError, match="role invitation"):
        trust.verify(chain, Purpose.TLS_CLIENT, Role.SITE, at=NOW)


def test_a_site_cannot_issue_certificates(trust, issuing):
    key = make_key()
    chain = issue_leaf(
        issuing, key.public_key(), SITE, Purpose.SIGNING, now=NOW, lifetime=SIGNING_LIFETIME
    )
    victim = Identity(FEDERATION, Role.SITE, "hospital-2")
    forged = leaf(Credential(key, chain), victim)
    with pytest.raises(UntrustedError):
        trust.verify(forged, Purpose.SIGNING, Role.SITE, at=NOW)


def test_a_missing_intermediate_is_refused(trust, issuing):
    with pytest.raises(UntrustedError):
        trust.verify(leaf(issuing)[:1], Purpose.SIGNING, Role.SITE, at=NOW)


def test_keys_survive_a_round_trip_and_garbage_does_not_load():
    key = make_key()
    assert key_from_pem(key_to_pem(key)).private_numbers() == key.private_numbers()
    with pytest.raises(MalformedError):
        key_from_pem(b"garbage")


def test_a_request_with_a_broken_signature_is_refused():
    key = make_key()
    pem = make_request(key, "hospital-1")
    assert request_public_key(pem) == key.public_key()
    lines = pem.decode().splitlines()
    lines[-2] = lines[-2][:8] + ("A" if lines[-2][8] != "A" else "B") + lines[-2][9:]
    with pytest.raises(MalformedError):
        request_public_key("\n".join(lines).encode())


@pytest.mark.parametrize(
    "urn",
    [
        "urn:federated-factory:blood:site",
        "urn:federated-factory:blood:authority:hospital-1",
        "urn:federated-factory:blood:site:../x",
        "urn:federated-factory:blood:site:Hospital",
        "urn:other:blood:site:hospital-1",
        "",
    ],
)
def test_a_urn_of_another_form_is_no_identity(urn):
    with pytest.raises(MalformedError):
        Identity.from_urn(urn)
