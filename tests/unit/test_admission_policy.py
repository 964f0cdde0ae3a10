"""The rules and the site's policy as pure decisions."""

import json
import re
import shutil
from pathlib import Path

import pytest

from client_agent.errors import RefusedError, ResourceError
from client_agent.module.admission import (
    MODULE_RULES,
    OFFER_RULES,
    Candidate,
    check_module,
    check_publication,
)
from client_agent.module.signing import sign_module
from client_agent.policy.admission import AdmissionLimits, AdmissionPolicy
from client_agent.policy.file import read_policy
from client_agent.registry.modules import own_modules, read_card
from client_agent.registry.revocations import RevocationList
from ff_protocol.card import Card, Figure, Waiver
from ff_protocol.errors import SpecError
from ff_protocol.manifest import describe_module
from ff_protocol.spec import parse_spec
from ff_protocol.statements import Publication

ROOT = Path(__file__).resolve().parents[2]


def figure(value: float) -> Figure:
    return Figure(value=value, samples="128-255")


def card(**changes) -> Card:
    values = {
        "federation_id": "f",
        "site_id": "hospital-1",
        "class_name": "zero",
        "class_index": 0,
        "image": {"size": 8, "channels": 1},
        "generator": {
            "family": "edm",
            "preset": "tiny",
            "parameters": 1,
            "sampler": "s",
            "sampler_steps": 1,
        },
        "training": {
            "images": "128-255",
            "steps": 1,
            "seconds": 1,
            "device": "cpu",
            "final_loss": 0.1,
        },
        "created_at": "2026-11-23T12:00:00Z",
    }
    return Card.model_validate({**values, **changes})


DEMANDS = AdmissionPolicy.model_validate(
    {"require_figures": {"mia_auc": {"max": 0.6}, "recall": {"min": 0.3}}}
)


@pytest.mark.parametrize(
    ("memorisation", "fidelity", "problem"),
    [
        ({"mia_auc": 0.6}, {"recall": 0.3}, None),
        ({"mia_auc": 0.61}, {"recall": 0.3}, "mia_auc is 0.61, at most 0.6"),
        ({"mia_auc": 0.5}, {"recall": 0.2}, "recall is 0.2, at least 0.3"),
        ({}, {"recall": 0.3}, "mia_auc is not stated"),
        ({"mia_auc": 0.7}, {"mia_auc": 0.5, "recall": 1}, "mia_auc is 0.7"),
        ({"mia_auc": 0.5}, {"mia_auc": 0.7, "recall": 1}, "mia_auc is 0.7"),
    ],
)
def test_demanded_figures_must_be_stated_and_within_bounds(memorisation, fidelity, problem):
    stated = card(
        memorisation={name: figure(value) for name, value in memorisation.items()},
        fidelity={name: figure(value) for name, value in fidelity.items()},
    )
    found = DEMANDS.missing_figure(stated)
    assert (found is None) == (problem is None)
    assert problem is None or problem in found


def test_a_waiver_counts_only_where_policy_accepts_it_and_for_what_it_names():
    waiver = Waiver(reason="a class of forty images", figures=("mia_auc",))
    stated = card(memorisation={"mia_auc": figure(0.9)}, waiver=waiver)
    assert "its waiver is not accepted here" in DEMANDS.missing_figure(stated)
    lenient = DEMANDS.model_copy(update={"accept_waivers": True})
    assert lenient.missing_figure(stated) == "recall is not stated"


@pytest.mark.parametrize(
    ("mode", "site", "suspicious", "on_poison", "decision"),
    [
        ("automatic", "hospital-1", False, "flag", "admit"),
        ("automatic", "hospital-1", True, "flag", "admit"),
        ("automatic", "hospital-1", True, "hold", "wait"),
        ("manual", "hospital-1", False, "flag", "wait"),
        ("manual", "named-in-policy", False, "flag", "admit"),
        ("manual", "trusted-by-command", False, "flag", "admit"),
        ("manual", "trusted-by-command", True, "hold", "wait"),
    ],
)
def test_who_is_admitted_without_asking(mode, site, suspicious, on_poison, decision):
    policy = AdmissionPolicy(mode=mode, on_poison=on_poison, trusted_sites=("named-in-policy",))
    trusted = frozenset({"trusted-by-command"})
    assert policy.decision(site, trusted=trusted, suspicious=suspicious) == decision


def test_a_sites_limits_are_never_looser_than_the_federations():
    spec = parse_spec({"classes": ["a", "b"], "image": {"size": 8, "channels": 1}})
    loose = AdmissionLimits(max_module_bytes=2**40, max_parameters=2**40, max_sampler_steps=9999)
    assert loose.tighten(spec) == spec
    tight = AdmissionLimits(max_module_bytes=4096, max_parameters=5, max_sampler_steps=2)
    policy = tight.tighten(spec).policy
    assert (policy.max_module_bytes, policy.max_parameters, policy.max_sampler_steps) == (
        4096,
        5,
        2,
    )
    assert tight.tighten(spec).model_copy(update={"policy": spec.policy}) == spec


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("admission: {mode: perhaps}", "admission.mode"),
        ("admission: {modus: manual}", "unknown key 'admission.modus'"),
        ("admission: {require_figures: {mia_auc: {}}}", "give min, max or both"),
        ("admission: {trusted_sites: [a], refused_sites: [a]}", "both trusted and refused"),
        ("admission: {trusted_sites: [Hospital]}", "Hospital"),
        ("admission: {limits: {max_parameters: 0}}", "max_parameters"),
    ],
)
def test_a_wrong_policy_is_a_fault_of_configuration_and_refuses_nobody(sites, text, said):
    receiver = sites["hospital-2"]
    receiver.home.policy_file.write_text(text)
    folder = own_modules(sites["hospital-1"].home)["zero"]
    with pytest.raises(SpecError, match=re.escape(said)):
        check_module(folder, published(folder), receiver)
    with pytest.raises(SpecError):
        check_publication(published(folder), receiver, RevocationList())


def test_the_example_policy_is_valid_and_shows_the_defaults(sites):
    home = sites["hospital-1"].home
    shutil.copy(ROOT / "configs" / "policy.example.yaml", home.policy_file)
    assert read_policy(home).admission == AdmissionPolicy()


def published(folder):
    digest, entries = describe_module(folder)
    return Publication(
        "test-0123456789ab", "hospital-1", "zero", digest, entries, "2026-11-23T12:00:00Z"
    )


@pytest.mark.parametrize(
    ("admission", "code"),
    [
        ("refused_sites: [hospital-1]", "refused_site"),
        ("limits: {max_module_bytes: 1024}", "too_large"),
    ],
)
def test_what_policy_refuses_is_refused_before_a_byte_is_fetched(sites, admission, code):
    receiver = sites["hospital-2"]
    receiver.home.policy_file.write_text(f"admission:\n  {admission}\n")
    publication = published(own_modules(sites["hospital-1"].home)["zero"])
    with pytest.raises(RefusedError) as caught:
        check_publication(publication, receiver, RevocationList())
    assert caught.value.refusal_code == code
    own = Publication(**{**publication.__dict__, "site_id": "hospital-2"})
    check_publication(own, receiver, RevocationList())  # it binds others only


@pytest.mark.parametrize(
    ("admission", "code"),
    [
        ("limits: {max_parameters: 10}", "structure"),
        ("limits: {max_operators: 10}", "structure"),
        ("require_figures: {mia_auc: {max: 0.6}}", "figures"),
    ],
)
def test_what_policy_refuses_of_a_module_that_the_federation_accepts(sites, admission, code):
    receiver = sites["hospital-2"]
    folder = own_modules(sites["hospital-1"].home)["zero"]
    receiver.home.policy_file.write_text(f"admission:\n  {admission}\n")
    with pytest.raises(RefusedError) as caught:
        check_module(folder, published(folder), receiver)
    assert caught.value.refusal_code == code


def test_the_first_rule_that_fails_names_the_refusal_and_the_order_is_from_cheap_to_dear(
    sites, tmp_path
):
    """Break everything, then mend rule after rule: the refusals come in the order of the list."""
    publisher, receiver = sites["hospital-1"], sites["hospital-2"]
    receiver.home.policy_file.write_text(
        "admission:\n  require_figures: {mia_auc: {max: 0.6}}\n  limits: {max_operators: 3}\n"
    )
    folder = tmp_path / "module"
    shutil.copytree(own_modules(publisher.home)["zero"], folder)
    seen = []

    def refusal() -> str:
        with pytest.raises(RefusedError) as caught:
            check_module(folder, published(folder), receiver)
        seen.append(caught.value.refusal_code)
        return caught.value.message

    good = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text("not JSON")
    (folder / "extra").touch()
    with pytest.raises(RefusedError) as caught:
        check_module(folder, published(own_modules(publisher.home)["zero"]), receiver)
    seen.append(caught.value.refusal_code)
    (folder / "extra").unlink()
    refusal()  # the signature is asked before the card is parsed
    sign_again(folder, publisher, "not JSON")
    refusal()
    sign_again(folder, publisher, json.dumps(good))
    refusal()
    receiver.home.policy_file.write_text("admission: {limits: {max_operators: 3}}")
    refusal()
    assert seen == ["files", "signed_files", "card", "figures", "structure"]
    receiver.home.policy_file.unlink()
    assert check_module(folder, published(folder), receiver) == read_card(folder)


def sign_again(folder, publisher, text):
    (folder / "card.json").write_text(text)
    (folder / "module.sig").unlink()
    sign_module(folder, publisher.home)


def test_every_refusal_code_stands_in_the_protocol_and_is_one_of_a_kind():
    codes = [rule.code for rule in (*OFFER_RULES, *MODULE_RULES)]
    assert len(set(codes)) == len(codes)
    sources = [path.read_text() for path in (ROOT / "client_agent").rglob("*.py")]
    finer = {code for text in sources for code in re.findall(r'refusal_code="(\w+)"', text)}
    finer |= set(re.findall(r'_refused\("(\w+)"', "".join(sources)))
    finer |= set(re.findall(r'(?:Flag|Misfit)\(\s*"(\w+)"', "".join(sources)))
    assert {"signed_files", "output_range", "looks_like_another_class", "class_left"} <= finer
    page = (ROOT / "docs" / "protocol.md").read_text()
    for code in {*codes, *finer, "admin"}:
        assert f"`{code}`" in page, code


def test_demanded_layers_that_the_machine_lacks_stop_the_trial_and_refuse_nobody(
    sites, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "client_agent.module.admission.layers_in_force", lambda: frozenset({"limits"})
    )
    (rule,) = (rule for rule in MODULE_RULES if rule.code == "sandbox")

    def check(*layers):
        policy = AdmissionPolicy.model_validate({"require_sandbox_layers": layers})
        rule.check(Candidate(tmp_path, None, sites["hospital-2"], policy))

    with pytest.raises(ResourceError, match=r"lacks: seccomp") as caught:
        check("limits", "seccomp")
    assert "doctor" in str(caught.value.hint)
    check("limits")
    check()
