"""The release gate: what a policy lets leave, who refuses, and how a person overrules it."""

import json

import pytest

pytest.importorskip("torch")

from client_agent.audit.audit import AuditResult
from client_agent.audit.figures import figure_of, judge
from client_agent.audit.thresholds import Bound, Thresholds
from client_agent.errors import NotReadyError, ReleaseRefusedError, UsageError
from client_agent.module.packing import Terms, restore_replaced
from client_agent.module.signing import check_signature
from client_agent.policy.file import read_policy
from client_agent.policy.release import NOT_AUDITED, ReleasePolicy, objections
from client_agent.registry.modules import own_modules, read_card
from client_agent.registry.training_images import training_images
from client_agent.steps.bundle import export_bundle
from client_agent.steps.release import replace_card, waive
from client_agent.steps.send import send
from client_agent.steps.train import train
from client_agent.steps.train_options import TrainOptions
from client_agent.steps.withdraw import withdraw
from ff_protocol.card import Figure, Waiver, bucket, bucket_floor
from ff_protocol.manifest import describe_module
from tests.agents import agent
from tests.relays import MemoryRelay

ONE = "hospital-1"
REASON = "agreed with the data protection officer"
BOUNDS = Thresholds({"membership_auc": Bound(max=0.6, required=True)})
POLICY = ReleasePolicy(thresholds=BOUNDS)


@pytest.fixture(autouse=True)
def no_defaults(monkeypatch):
    """Bounds are what each test sets: the default ones have tests of their own."""
    monkeypatch.setattr(
        "client_agent.policy.release.default_thresholds", lambda images: Thresholds({})
    )


@pytest.fixture
def site(sites, tmp_path, monkeypatch):
    """Hospital 1 with one module, not audited and not sent, and a relay to send it to."""
    MemoryRelay(tmp_path / "relay", sites[ONE].trust).connect(monkeypatch)
    (sites[ONE].home.policy_file).unlink()
    return sites[ONE]


def digest_of(site) -> str:
    return describe_module(site.home.outbox / "zero")[0]


def auc(value: float, low: float, high: float) -> dict[str, Figure]:
    return {"membership_auc": Figure(value=value, low=low, high=high, samples="64-127")}


def card_of(site):
    return read_card(site.home.outbox / "zero")


def give_figures(site, figures: dict[str, Figure]) -> str:
    """Have the module's card carry these, as if an audit had found them."""
    card = card_of(site).model_copy(update={"memorisation": figures})
    return replace_card(site, "zero", digest_of(site), card)


def set_policy(site, **release) -> None:
    site.home.policy_file.write_text(json.dumps({"release": release}))


def set_bound(site, most: float) -> None:
    set_policy(site, thresholds={"membership_auc": {"max": most}})


def test_a_bound_is_broken_when_the_whole_interval_lies_beyond_it(site):
    card = card_of(site)
    unlucky = card.model_copy(update={"memorisation": auc(0.65, 0.55, 0.75)})
    assert objections(unlucky, POLICY) == ()
    (found,) = objections(card.model_copy(update={"memorisation": auc(0.8, 0.7, 0.9)}), POLICY)
    assert (found.figure, found.waived) == ("membership_auc", False)
    assert "0.8 (0.7 to 0.9), at most 0.6" in found.text


def test_a_module_without_an_audit_is_refused_unless_the_policy_says_otherwise(site):
    (found,) = objections(card_of(site), POLICY)
    assert found.figure == NOT_AUDITED
    assert objections(card_of(site), ReleasePolicy(require_audit=False)) == ()


def test_a_waiver_covers_what_it_names_and_nothing_that_fails_later(site):
    card = card_of(site).model_copy(
        update={
            "memorisation": auc(0.8, 0.7, 0.9),
            "waiver": Waiver(reason=REASON, figures=("membership_auc",)),
        }
    )
    assert [item.waived for item in objections(card, POLICY)] == [True]
    tightened = ReleasePolicy(
        thresholds=Thresholds({**BOUNDS.root, "other": Bound(max=1, required=True)})
    )
    assert [item.waived for item in objections(card, tightened)] == [True, False]


def test_send_names_figure_value_bound_and_what_to_do(site):
    give_figures(site, auc(0.93, 0.88, 0.97))
    set_bound(site, 0.6)
    with pytest.raises(ReleaseRefusedError) as caught:
        send(site)
    assert "zero: its module may not leave: membership_auc is 0.93 (0.88 to 0.97)" in str(
        caught.value
    )
    assert "at most 0.6" in caught.value.message
    assert "ff-agent waive zero --reason" in caught.value.hint
    assert (caught.value.exit_code, caught.value.error_code) == (6, "release_refused")
    assert not list(site.home.publications.glob("*"))


def test_no_bundle_and_no_withdrawal_carries_what_may_not_leave(site, tmp_path, monkeypatch):
    set_policy(site, require_audit=False)
    send(site)
    old = digest_of(site)
    found = AuditResult(memorisation=auc(0.93, 0.88, 0.97))
    monkeypatch.setattr("client_agent.steps.train_class.audit_trained", lambda *arguments: found)
    set_bound(site, 0.6)
    (record,) = training_images(site.home)
    done = withdraw(site, [image.identifier for image in record.used[:2]])
    # The withdrawal is in force; the new module waits for a decision.
    assert (done.successors, done.statement is not None) == ({}, True)
    assert digest_of(site) != old
    with pytest.raises(ReleaseRefusedError, match="membership_auc is"):
        send(site)
    with pytest.raises(ReleaseRefusedError, match="membership_auc is"):
        export_bundle(site, tmp_path / "bundle.tar")
    waive(site, "zero", REASON)
    assert [item.class_name for item in send(site).modules] == ["zero"]


def test_a_waiver_is_signed_into_the_card_and_takes_the_private_files_along(site):
    give_figures(site, auc(0.93, 0.88, 0.97))
    set_bound(site, 0.6)
    old = digest_of(site)
    waived = waive(site, "zero", f"  {REASON} ")
    assert (waived.replaced, waived.figures) == (old, ("membership_auc",))
    assert waived.digest == digest_of(site) != old
    card = card_of(site)
    assert card.waiver == Waiver(reason=REASON, figures=("membership_auc",))
    assert card.memorisation == auc(0.93, 0.88, 0.97)
    _, entries = describe_module(site.home.outbox / "zero")
    check_signature(site.home.outbox / "zero", entries, ONE, site.trust, site.home.root_certificate)
    (record,) = training_images(site.home)
    assert record.module == waived.digest
    for path in (site.home.learning_curve, site.home.generator, site.home.training_images):
        assert path(waived.digest).stat().st_mode & 0o777 == 0o600
        assert not path(old).exists()
    assert list(site.log.entries())[-1]["event"] == "release_waived"
    assert [item.digest for item in send(site).modules] == [waived.digest]
    with pytest.raises(UsageError, match="is published and cannot change"):
        waive(site, "zero", REASON)


def test_there_must_be_something_to_waive_and_a_reason(site):
    with pytest.raises(UsageError, match="a reason of 5 characters"):
        waive(site, "zero", "  short ")
    with pytest.raises(NotReadyError, match="no module of class 'one'"):
        waive(site, "one", REASON)
    set_policy(site, require_audit=False)
    before = digest_of(site)
    with pytest.raises(UsageError, match="nothing to waive"):
        waive(site, "zero", REASON)
    assert digest_of(site) == before


def test_a_crash_between_two_renames_loses_no_module(site):
    before = digest_of(site)
    (site.home.outbox / "zero").rename(site.home.outbox / ".zero.replaced")
    assert own_modules(site.home) == {}
    waived = waive(site, "zero", REASON)
    assert waived.replaced == before
    assert not (site.home.outbox / ".zero.replaced").exists()
    (site.home.outbox / ".zero.replaced").mkdir()
    restore_replaced(site.home)
    assert digest_of(site) == waived.digest


def test_leaving_the_audit_out_needs_a_policy_that_allows_it(site, digits):
    options = TrainOptions(data=digits, classes=("zero",), steps=1, retrain=True, audit=False)
    with pytest.raises(UsageError, match="demands an audit"):
        train(site, options)


def test_inspect_and_send_tell_people_and_scripts(site):
    give_figures(site, auc(0.93, 0.88, 0.97))
    set_bound(site, 0.6)
    shown = agent(site.home.root, "inspect", "zero")
    assert "FAILS" in shown.out
    assert "MAY NOT LEAVE: membership_auc is 0.93" in shown.out
    document = agent(site.home.root, "inspect", "zero", "--json").document
    (figure,) = [item for item in document["figures"] if item["name"] == "membership_auc"]
    assert (figure["figure"]["value"], figure["bound"]["max"], figure["holds"]) == (
        0.93,
        0.6,
        False,
    )
    done = agent(site.home.root, "waive", "zero", "--reason", REASON, "--json")
    assert "membership_auc" in done.document["figures"]
    shown = agent(site.home.root, "inspect", "zero")
    assert "WAIVER for " in shown.out
    assert REASON in shown.out
    assert "waived: membership_auc is 0.93" in shown.out


def test_the_policy_file_is_strict(site):
    site.home.policy_file.write_text("release:\n  thresholds:\n    membership_auc: null\n")
    assert read_policy(site.home).release.bounds(card_of(site)).root["membership_auc"] is None
    site.home.policy_file.write_text("release: {require_audits: false}")
    with pytest.raises(Exception, match="unknown key 'release"):
        read_policy(site.home)


def test_figures_are_found_by_name_and_missing_ones_are_judged(site):
    card = card_of(site).model_copy(update={"memorisation": auc(0.5, 0.4, 0.6)})
    assert figure_of(card, "membership_auc").value == 0.5
    assert figure_of(card, "nothing") is None
    bounds = Thresholds({"recall": Bound(min=0.1, required=True), "membership_auc": None})
    judged = {item.name: (item.holds, item.bound) for item in judge(card, bounds)}
    assert judged == {"membership_auc": (True, None), "recall": (False, bounds.root["recall"])}


def test_terms_are_bounded_and_buckets_have_a_floor():
    with pytest.raises(UsageError, match="--terms has 2001 characters"):
        Terms(terms_of_use="x" * 2001)
    with pytest.raises(UsageError, match="--licence has 0 characters"):
        Terms(licence="")
    for count in (0, 15, 16, 700, 131072, 10**6):
        assert bucket(bucket_floor(bucket(count))) == bucket(count)
        assert bucket_floor(bucket(count)) <= count
