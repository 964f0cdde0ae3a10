"""Choosing among the modules on offer: the rule, and that only what is chosen is fetched."""

import dataclasses
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_agent.policy.selection import Candidate, ranked, select
from client_agent.registry.modules import own_modules, read_card
from client_agent.steps.fit import fit
from client_agent.steps.receive import receive
from client_agent.steps.revoke import revoke
from client_agent.steps.select import keep_chosen
from client_agent.steps.send import send
from client_agent.steps.synthesise import make_dataset
from ff_protocol.card import Card, Figure
from ff_protocol.errors import SpecError
from ff_protocol.manifest import describe_module
from ff_protocol.schema import parse
from ff_protocol.selection import Selection
from ff_protocol.spec import parse_spec
from tests.homes import UNAUDITED
from tests.relays import MemoryRelay

SPEC = {"classes": ["zero", "one"], "image": {"size": 8, "channels": 1}}


def figure(value: float, spread: float | None = None) -> Figure:
    low, high = (None, None) if spread is None else (value - spread, value + spread)
    return Figure(value=value, low=low, high=high, samples="512-1023")


def card(images: str = "512-1023", **figures: Figure) -> Card:
    return Card.model_validate(
        {
            "federation_id": "f",
            "site_id": "s",
            "class_name": "zero",
            "class_index": 0,
            "image": {"size": 8, "channels": 1},
            "generator": {
                **{"family": "edm", "preset": "tiny", "parameters": 1},
                **{"sampler": "x", "sampler_steps": 1},
            },
            "training": {"images": images, "steps": 1, "seconds": 1, "device": "cpu"},
            "fidelity": {name: value.model_dump() for name, value in figures.items()},
            "created_at": "2026-01-01T00:00:00Z",
        }
    )


def offer(module: str, site: str = "", at: str = "2026", **figures: Figure) -> Candidate:
    return Candidate(module, site or f"site-{module}", "zero", at, card(**figures))


RULE = Selection(most_per_class=2)


def test_ranks_by_the_unfavourable_end_of_the_interval():
    few = offer("a", coverage=figure(0.9, 0.3))
    many = offer("b", coverage=figure(0.8, 0.05))
    assert [item.module for item in ranked([few, many], RULE)] == ["b", "a"]


def test_a_figure_that_is_not_stated_ranks_last_and_lower_may_be_better():
    rule = Selection(most_per_class=1, order=("lower kid",))
    silent, bad, good = offer("a"), offer("b", kid=figure(0.5)), offer("c", kid=figure(0.1))
    assert [item.module for item in ranked([silent, bad, good], rule)] == ["c", "b", "a"]


def test_one_module_of_a_site_and_the_newest_of_equals():
    old, new = offer("b", "s", at="2025"), offer("a", "s", at="2026")
    assert select([old, new, offer("c", at="2024")], RULE) == {"a", "c"}


def test_trusted_sites_come_first_where_the_rule_says_so():
    rule = Selection(most_per_class=1, order=("trusted", "higher coverage"))
    friend, best = offer("a", coverage=figure(0.1)), offer("b", coverage=figure(0.9))
    assert select([friend, best], rule) == {"b"}
    assert select([friend, best], rule, frozenset({"site-a"})) == {"a"}


def test_a_federation_cannot_rank_by_what_one_site_thinks():
    with pytest.raises(SpecError, match=r"policy\.yaml"):
        parse_spec(SPEC | {"selection": {"most_per_class": 3, "order": ["trusted"]}})
    with pytest.raises(SpecError, match="ranks nothing"):
        parse(Selection, {"most_per_class": 3, "order": ["beauty"]}, "policy.yaml")


def test_a_spec_without_the_rule_is_signed_as_it_always_was():
    assert "selection" not in parse_spec(SPEC).model_dump(mode="json")
    spec = parse_spec(SPEC | {"selection": {"most_per_class": 3}})
    assert parse_spec(spec.model_dump(mode="json")) == spec


candidates = st.lists(
    st.builds(
        lambda module, site, name, at, images, coverage: Candidate(
            f"{module:03d}",
            f"s{site}",
            name,
            f"20{at}",
            card(images, **({} if coverage is None else {"coverage": figure(coverage, 0.1)})),
        ),
        st.integers(0, 200),
        st.integers(0, 4),
        st.sampled_from(["zero", "one"]),
        st.integers(20, 23),
        st.sampled_from(["<16", "16-31", "512-1023"]),
        st.none() | st.sampled_from([0.1, 0.5, 0.9]),
    ),
    unique_by=lambda item: item.module,
    max_size=12,
)
rules = st.builds(Selection, most_per_class=st.integers(1, 4), most_per_site=st.integers(1, 2))


@settings(max_examples=80, deadline=None)
@given(candidates, rules, st.randoms(use_true_random=False))
def test_laws_of_selection(offers, rule, random):
    taken = select(offers, rule)
    shuffled = list(offers)
    random.shuffle(shuffled)
    assert select(shuffled, rule) == taken  # the order of listing does not matter
    for item in offers:
        others = [other for other in offers if other is not item]
        without = select(others, rule)
        if item.module not in taken:
            assert without == taken  # what is not taken could as well not exist
        else:
            # It displaces one other at most and brings in none; exact when it is revoked, too.
            assert taken - {item.module} <= without
            assert len(without - taken) <= 1
    worst = dataclasses.replace(
        (offers or [offer("x")])[0], module="zzz", site_id="new", published_at="", card=card("<16")
    )
    full = {
        name: sum(item.module in taken for item in offers if item.class_name == name)
        for name in ("zero", "one")
    }
    if full[worst.class_name] == rule.most_per_class:
        assert select([*offers, worst], rule) == taken


ONE, TWO, THREE = "hospital-1", "hospital-2", "hospital-3"


@pytest.fixture
def crowd(sites, tmp_path, monkeypatch):
    """Hospital 1 makes do with one module a class; 2 and 3 offer one each of class `one`."""
    relay = MemoryRelay(tmp_path / "relay", sites[ONE].trust).connect(monkeypatch)
    fetched: list[str] = []
    relay.on_fetch = fetched.append
    rival = sites[THREE].home.outbox / "one"
    shutil.copytree(sites[TWO].home.outbox / "one", rival)
    resign(sites[THREE], rival, coverage=0.9)
    resign(sites[TWO], sites[TWO].home.outbox / "one", coverage=0.2)
    (sites[ONE].home.policy_file).write_text(UNAUDITED + "\nselection: {most_per_class: 1}\n")
    for name in (ONE, TWO, THREE):
        send(sites[name])
    return relay, fetched


def resign(site, folder, coverage: float) -> None:
    """Turn a module into one of this site's own, with another card."""
    from client_agent.module.signing import sign_module

    made = read_card(folder).model_copy(
        update={"site_id": site.site_id, "fidelity": {"coverage": figure(coverage, 0.05)}}
    )
    (folder / "card.json").write_bytes(made.to_bytes())
    (folder / "module.sig").unlink()
    sign_module(folder, site.home)


def digest_of(site, name: str) -> str:
    return describe_module(own_modules(site.home)[name])[0]


def in_use(site) -> set[str]:
    return {path.name for path in (site.home.root / "admitted").iterdir()}


def test_only_what_is_chosen_is_fetched_and_the_next_best_after_a_revocation(sites, crowd):
    _, fetched = crowd
    site, best, second = sites[ONE], digest_of(sites[THREE], "one"), digest_of(sites[TWO], "one")

    received = receive(site)

    two = digest_of(sites[THREE], "two")
    assert sorted(received.admitted) == sorted(fetched) == sorted([best, two])
    made = make_dataset(site)[0]

    revoke(sites[THREE], module=best)
    received = receive(site)

    assert received.admitted == [second]
    assert received.pending is not None
    after = make_dataset(site)[0]
    assert after.root != made.root
    # As if the better one had never been there.
    fresh = sites[TWO]
    (fresh.home.policy_file).write_text(UNAUDITED + "\nselection: {most_per_class: 1}\n")
    receive(fresh)
    assert in_use(fresh) == in_use(site)
    assert make_dataset(fresh)[0].root == after.root


def test_a_better_module_sets_the_worse_aside_and_revoking_that_still_unlearns_it(sites, crowd):
    relay, _ = crowd
    site, best = sites[ONE], digest_of(sites[THREE], "one")
    best_envelope = (sites[THREE].home.publications / f"{best}.dsse").read_bytes()
    relay.statements.remove(best_envelope)
    receive(site)
    second = digest_of(sites[TWO], "one")
    assert second in in_use(site)
    fit(site)

    relay.publish(best_envelope)
    received = receive(site)

    assert received.set_aside == [second]
    assert second not in in_use(site)
    assert best in in_use(site)
    assert not (site.home.shards / second).exists()
    # Its classifier is still in use: it goes when the module is revoked.
    revoke(sites[TWO], module=second)
    assert receive(site).pending.modules == (second,)
    assert not site.home.classifier.exists()


def test_a_module_that_is_not_chosen_any_more_is_not_built_with(sites, crowd):
    site = sites[ONE]
    receive(site)
    before = in_use(site)
    (site.home.policy_file).write_text(
        UNAUDITED + "\nselection: {most_per_class: 1, order: [lower coverage]}\n"
    )
    keep_chosen(site)
    assert in_use(site) < before


def test_what_is_refused_makes_room_for_the_next_best(sites, crowd):
    relay, _ = crowd
    site, best = sites[ONE], digest_of(sites[THREE], "one")
    (relay.folder / best / "module.onnx").write_bytes(b"damaged")
    received = receive(site)
    assert set(received.refused) == {best}
    assert digest_of(sites[TWO], "one") in received.admitted


def test_a_bundle_is_chosen_from_by_the_cards_in_it(sites, tmp_path):
    from client_agent.steps.bundle import export_bundle, import_bundle

    site = sites[ONE]
    (site.home.policy_file).write_text(UNAUDITED + "\nselection: {most_per_class: 1}\n")
    export_bundle(sites[TWO], tmp_path / "two.ffb")
    imported = import_bundle(site, tmp_path / "two.ffb")
    assert imported.admitted == [digest_of(sites[TWO], "one")]
    assert site.home.card(imported.admitted[0]).is_file()
