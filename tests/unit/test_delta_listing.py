"""A site that comes back pays for what is new alone; what might be skipped is asked for anew."""

import random

import pytest

from benchmarks.large.federation import SPEC, Crowd, open_home
from client_agent.registry.freshness import MAX_SIGNED_HEADS, heads_of
from client_agent.registry.position import forget_position, read_position, store_position
from client_agent.registry.refusals import forget_refusal
from client_agent.registry.revocations import RevocationList
from client_agent.registry.statements import published_modules
from client_agent.registry.witnesses import ALL_UP_TO, DRAWN, choose_witnesses
from client_agent.relay.connection import open_relay
from client_agent.site import Site
from client_agent.steps.intake import take_statements
from ff_protocol.heads import Head
from ff_protocol.names import Role
from ff_protocol.statements import Revocation
from tests.federation import make_federation


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A served federation of five sites, one of which has revoked its module."""
    with make_federation(tmp_path_factory.mktemp("crowd"), SPEC, serve=False) as federation:
        made = Crowd(federation, seed=0)
        publish(made, 5)
        first = made.members[0]
        made.revoke(first.revocation((made.stubs[first.name],))[1])
        federation.start()
        yield made


def publish(crowd: Crowd, count: int) -> None:
    for member in crowd.join(count):
        stub = crowd.stub(member)
        crowd.upload(stub)
        crowd.publish(crowd.sign(member, stub)[1])
        crowd.publish_heads(crowd.sign_heads(member))
        crowd.stubs[member.name] = stub.digest


@pytest.fixture
def site(crowd, tmp_path) -> Site:
    return open_home(crowd, tmp_path / "home", "reader")


class Spy:
    """A relay that remembers what it handed out."""

    def __init__(self, relay) -> None:
        self._relay, self.sent = relay, []

    def list_news(self, inquiry):
        self.inquiry = inquiry
        news = self._relay.list_news(inquiry)
        while True:
            try:
                envelope = next(news)
            except StopIteration as end:
                return end.value
            self.sent.append(envelope)
            yield envelope

    def __getattr__(self, name):
        return getattr(self._relay, name)


def take(site: Site, whole: bool = False):
    with open_relay(site) as relay:
        spy = Spy(relay)
        intake = take_statements(site, spy, whole=whole)
    assert intake.refused == {}
    return spy


def test_the_second_listing_brings_what_came_between(crowd, site):
    count = len(crowd.members)
    assert len(take(site).sent) == 2 * count + 2  # a member list and a revocation besides
    assert len(take(site).sent) == 0
    publish(crowd, 1)
    assert len(take(site).sent) == 2
    assert len(published_modules(site)) == count + 1


def test_a_restarted_replica_goes_on_from_the_same_position(crowd, site):
    take(site)
    crowd.federation.servers[-1].kill()
    crowd.federation.start(crowd.federation.endpoint)
    publish(crowd, 1)
    assert len(take(site).sent) == 2


def test_an_unknown_position_brings_everything(crowd, site):
    take(site)
    store_position(site.home, bytes(40))
    sent = take(site).sent
    assert len(sent) == len(crowd.members) + 1
    assert read_position(site.home) != bytes(40)


def test_a_home_that_lost_statements_asks_for_all(crowd, site):
    take(site)
    lost = next(site.home.publications.glob("*.dsse"))
    data = lost.read_bytes()
    lost.unlink()
    assert read_position(site.home) == b""
    assert take(site).sent == [data]


def test_what_is_to_be_judged_anew_is_asked_for_anew(crowd, site):
    take(site)
    assert read_position(site.home)
    forget_refusal(site.home, "f" * 64)
    assert read_position(site.home) == b""


def test_a_damaged_position_is_none(site):
    for data in (b"", b"{", b'{"position":"xy","statements":0}', b"[]", b"x" * 5000):
        site.home.position.parent.mkdir(parents=True, exist_ok=True)
        site.home.position.write_bytes(data)
        assert read_position(site.home) == b""
    forget_position(site.home)
    assert read_position(site.home) == b""


def test_a_revocation_without_its_predecessor_is_asked_for_again(crowd, site):
    """The position moves on only when all that came is settled."""
    member = crowd.members[1]
    first, one = member.revocation((crowd.stubs[member.name],))
    _, two = member.revocation((crowd.stubs[member.name],), sequence=2, previous=first)
    take(site)
    before = read_position(site.home)
    crowd.revoke(one)
    crowd.revoke(two)
    with open_relay(site) as relay:
        spy = Spy(relay)
        spy.list_news = dropping(spy.list_news, one)
        intake = take_statements(site, spy, whole=False)
    assert len(intake.refused) == 1
    assert read_position(site.home) in (before, b"")
    assert one in take(site).sent


@pytest.mark.parametrize("for_ever", [False, True])
def test_what_a_position_skips_shows_in_the_heads(crowd, site, for_ever):
    """A coordinator that lies about positions withholds: the next listing is a whole one."""
    member = crowd.members[2 if for_ever else 3]
    digest, envelope = member.revocation((crowd.stubs[member.name],))
    take(site)
    crowd.revoke(envelope)
    crowd.publish_heads(crowd.sign_heads(member, 2, (Head(member.name, 1, digest),)))
    with open_relay(site) as relay:
        spy = Spy(relay)
        spy.list_news = dropping(spy.list_news, envelope, times=9 if for_ever else 1)
        intake = take_statements(site, spy, whole=False)
    if for_ever:
        (suspicion,) = intake.suspicions
        assert (suspicion.kind, suspicion.about) == ("withheld", member.name)
        assert suspicion.proven
    else:
        assert (intake.revocations, intake.suspicions) == (1, ())


def dropping(listing, withheld, times=9):
    def list_news(inquiry):
        nonlocal times
        news = listing(inquiry)
        while True:
            try:
                envelope = next(news)
            except StopIteration as end:
                return end.value
            if envelope != withheld or times <= 0:
                yield envelope
            else:
                times -= 1

    return list_news


def test_heads_can_be_asked_for_by_site(crowd, site):
    from client_agent.relay.answers import Inquiry

    with open_relay(site) as relay:
        listed = list(relay.list_news(Inquiry(heads_of=(crowd.members[2].name, "nobody"))))
    heads = [item for item in listed if b"Z" in item and is_heads(item)]
    assert len(heads) == 1


def is_heads(envelope: bytes) -> bool:
    import base64
    import json

    payload = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    return ":heads:" in payload["predicateType"]


def test_a_small_federation_hears_everyone_and_a_large_one_those_in_use_and_some():
    names = [f"s{number:03d}" for number in range(ALL_UP_TO - 1)]
    assert choose_witnesses(names, [], "own", random.Random(0)) is None
    names += ["t1", "t2", "t3"]
    used = names[:5]
    asked = choose_witnesses(names, used, "own", random.Random(0))
    assert asked is not None
    assert {"own", *used} <= set(asked)
    assert len(asked) == 1 + 5 + DRAWN
    others = {choose_witnesses(names, used, "own", random.Random(seed)) for seed in range(8)}
    assert len(others) == 8  # nobody knows beforehand who is asked


def test_a_witness_signs_for_some_and_together_they_sign_for_all():
    issuers = ["authority", *(f"s{number:04d}" for number in range(300))]
    known = RevocationList(
        tuple(
            Revocation("f", issuer, ("a" * 64,), None, "", 1, None, "2026", f"{number:064x}")
            for number, issuer in enumerate(issuers)
        )
    )
    signed = {witness: heads_of(known, witness) for witness in issuers[1:61]}
    seen: set[str] = set()
    for witness, heads in signed.items():
        named = [head.issuer for head in heads]
        assert len(named) == MAX_SIGNED_HEADS
        assert named == sorted(named)
        assert {witness, str(Role.AUTHORITY)} <= set(named)
        seen |= set(named)
    assert seen == set(issuers)
    assert heads_of(known, "s0001") == signed["s0001"]
