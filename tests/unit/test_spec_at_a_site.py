"""Revisions of the federation spec at a site: taken in order, adopted by policy, or waiting."""

import dataclasses
import datetime as dt

import pytest

from client_agent.errors import NotReadyError, RefusedError, UsageError
from client_agent.module.admission import check_publication
from client_agent.registry.fitting import class_indices, class_misfit, image_misfit
from client_agent.registry.members import authority_suspicions, take_members
from client_agent.registry.modules import (
    admitted_modules,
    own_modules,
    place,
    usable_modules,
)
from client_agent.registry.refusals import refusals, remember_refusal
from client_agent.registry.revocations import RevocationList
from client_agent.registry.specs import (
    adopt,
    known_revisions,
    known_spec_envelopes,
    take_revision,
    waiting_revisions,
)
from client_agent.site import Site, open_site
from client_agent.steps.fit import spec_provenance
from client_agent.steps.spec import accept_spec, spec_state, unusable
from client_agent.steps.train import _kept_classes as kept_classes
from client_agent.steps.verify_unlearning import _spec_of as spec_of
from client_agent.synthesis.dataset import plan_dataset
from ff_protocol import canonical, dsse
from ff_protocol.canonical import sha256_hex
from ff_protocol.certificates import Purpose
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.errors import SpecError
from ff_protocol.manifest import ALL_FILES, FileEntry, describe_module
from ff_protocol.members import MemberList, build_members
from ff_protocol.names import Role
from ff_protocol.revisions import OutOfOrderError, SpecRevision, build_revision, read_revision
from ff_protocol.spec import parse_spec
from ff_protocol.statements import Publication
from ff_protocol.unlearning import Probe, Rebuilt
from tests.homes import FEDERATION, make_authority


class Chain:
    """The authority's revisions after the first, one made after another."""

    def __init__(self, tmp_path) -> None:
        self.authority = make_authority(classes=["a", "b", "c"])
        self.site = self.authority.join(tmp_path / "home", "hospital-1")
        self.key = self.authority.credential(Role.AUTHORITY, None, Purpose.SIGNING)
        self.newest = self.site.revision
        self.envelopes: list[bytes] = []

    def add(self, **changes) -> bytes:
        value = self.newest.spec.model_dump(mode="json") | changes
        envelope = self.sign(self.newest.number + 1, self.newest.digest, value)
        self.newest = read_revision(self.verified(envelope))
        self.envelopes.append(envelope)
        return envelope

    def sign(self, number: int, previous: str | None, value) -> bytes:
        spec, now = parse_spec(value), timestamp(utc_now())
        revision = SpecRevision(FEDERATION, "test", number, previous, spec, now)
        return dsse.sign(build_revision(revision), self.key)

    def verified(self, envelope: bytes) -> dsse.VerifiedPayload:
        return dsse.verify(envelope, self.site.trust, (Role.AUTHORITY,), at=utc_now())

    def take(self, envelope: bytes, site: Site | None = None):
        return take_revision(site or self.site, self.verified(envelope), envelope)


@pytest.fixture
def chain(tmp_path) -> Chain:
    return Chain(tmp_path)


def test_an_additive_revision_is_in_force_at_once_and_after_opening_again(chain):
    remember_refusal(chain.site.home, "0" * 64, "class 'd' is not here", "unknown_class")
    remember_refusal(chain.site.home, "1" * 64, "no signature", "signature")
    chain.take(chain.add(classes=["a", "b", "c", "d"]))
    for site in (chain.site, open_site(chain.site.home)):
        assert (site.revision.number, site.spec.classes) == (2, ("a", "b", "c", "d"))
        assert list(known_revisions(site)) == [1, 2]
    # What the old spec refused is judged anew, what has another fault is not.
    assert list(refusals(chain.site.home)) == ["1" * 64]
    events = [entry["event"] for entry in chain.site.log.entries()]
    assert events == ["spec_received", "spec_adopted"]
    assert chain.take(chain.envelopes[0]).notes == ()


@pytest.mark.parametrize(("rule", "in_force"), [("additive", 2), ("never", 1), ("always", 4)])
def test_policy_says_what_is_adopted_without_asking(chain, rule, in_force):
    chain.site.home.policy_file.write_text(f"federation: {{accept_spec: {rule}}}")
    chain.take(chain.add(classes=["a", "b", "c", "d"]))
    chain.take(chain.add(image={"size": 16, "channels": 1}))
    last = chain.take(chain.add(classes=["a", "b", "c", "d", "e"]))
    assert chain.site.revision.number == in_force
    assert [item.number for item in waiting_revisions(chain.site)] == list(range(in_force + 1, 5))
    assert any("ff-agent spec --accept 4" in note for note in last.notes) == (in_force < 4)


def test_the_admin_adopts_in_order_up_to_a_revision(chain):
    for change in ({"preset": "small"}, {"preset": "large"}, {"preset": "tiny"}):
        chain.take(chain.add(**change))
    with pytest.raises(UsageError, match=r"revision 5 .* has not come"):
        accept_spec(chain.site, 5)
    state = accept_spec(chain.site, 3)
    assert (state.revision, state.preset, state.adopted) == (3, "large", (2, 3))
    assert [item.changes for item in state.waiting] == [("generator preset: large -> tiny",)]
    with pytest.raises(NotReadyError, match="never taken back"):
        raise_hint(lambda: accept_spec(chain.site, 2))
    assert spec_state(open_site(chain.site.home)).revision == 3


def raise_hint(work) -> None:
    """Do some work; a refusal is raised with its hint."""
    try:
        work()
    except NotReadyError as error:
        raise NotReadyError(f"{error.message}: {error.hint}") from error


def test_a_revision_before_its_predecessor_is_not_taken_and_may_come_again(chain):
    second = chain.add(preset="small")
    third = chain.add(preset="large")
    with pytest.raises(OutOfOrderError):
        chain.take(third)
    chain.take(second)
    chain.take(third)
    assert [item.number for item in waiting_revisions(chain.site)] == [2, 3]


def test_two_revisions_of_one_number_are_a_fork(chain):
    first = chain.newest
    chain.take(chain.add(preset="small"))
    other = chain.sign(2, first.digest, first.spec.model_dump(mode="json") | {"preset": "large"})
    (suspicion,) = chain.take(other).suspicions
    assert (suspicion.kind, suspicion.about) == ("forked", "authority")
    assert [item.spec.preset for item in waiting_revisions(chain.site)] == ["small"]


def test_a_change_that_may_not_be_made_is_refused_whoever_signed_it(chain):
    with pytest.raises(SpecError, match="keep their order"):
        chain.take(chain.add(classes=["b", "a", "c"]))
    assert list(known_revisions(chain.site)) == [1]


def test_who_joins_late_learns_the_earlier_revisions_and_a_false_one_shows(chain, tmp_path):
    first = chain.site.home.spec_envelope.read_bytes()
    second = chain.add(classes=["b", "c"])
    third = chain.add(image={"size": 16, "channels": 1})
    late = chain.authority.join(tmp_path / "late", "hospital-2")
    late.home.spec_envelope.write_bytes(third)
    late = open_site(late.home)
    assert (late.revision.number, list(known_revisions(late))) == (3, [3])
    forged = chain.sign(2, "0" * 64, {"classes": ["x", "y"], "image": {"size": 8, "channels": 1}})
    assert chain.take(forged, late).suspicions[0].kind == "forked"
    for envelope in (first, second):
        assert chain.take(envelope, late).notes == ()
    assert list(known_revisions(late)) == [1, 2, 3]
    assert {sha256_hex(item) for item in (first, second, third)} == known_spec_envelopes(late)
    assert late.revision.number == 3


def test_a_spec_kept_back_shows_in_the_member_list(chain):
    now = utc_now()
    members = MemberList(
        FEDERATION, 1, timestamp(now), timestamp(now + dt.timedelta(days=9)), 1, (), 2
    )
    envelope = dsse.sign(build_members(members), chain.key)
    take_members(chain.site, chain.verified(envelope), envelope, now)
    (suspicion,) = authority_suspicions(chain.site, now)
    assert suspicion.kind == "withheld"
    assert "spec is at revision 2, revision 1 is here" in suspicion.text
    chain.take(chain.add(preset="small"))  # received, whether adopted or not
    assert authority_suspicions(chain.site, now) == ()


def test_modules_of_before_are_refused_with_the_revision_since_which_they_do_not_fit(chain):
    chain.site.home.policy_file.write_text("federation: {accept_spec: always}")
    old = chain.site.spec.image
    chain.take(chain.add(classes=["a", "c"]))
    chain.take(chain.add(image={"size": 16, "channels": 1}))
    chain.take(chain.add(classes=["a", "c", "d"]))
    revisions = tuple(known_revisions(chain.site).values())
    assert class_misfit("a", revisions) is None
    left = class_misfit("b", revisions)
    assert left is not None
    assert (left.code, left.text[-18:]) == ("class_left", "(since revision 2)")
    assert class_misfit("z", revisions).code == "unknown_class"
    shape = image_misfit(old, revisions)
    assert shape.code == "image_shape"
    assert "8 x 8, grey; the federation is at 16 x 16, grey (since revision 3)" in shape.text
    assert "at revision 4 at the latest" in image_misfit(old, revisions[3:]).text
    assert image_misfit(chain.site.spec.image, revisions) is None
    assert class_indices("c", revisions) == {1, 2}

    entries = {name: FileEntry(name, 1, "0" * 64, ("0" * 64,)) for name in ALL_FILES}
    publication = Publication(FEDERATION, "hospital-2", "b", "0" * 64, entries, "now")
    with pytest.raises(RefusedError) as refused:
        check_publication(publication, chain.site, RevocationList())
    assert refused.value.refusal_code == "class_left"
    with pytest.raises(RefusedError) as refused:
        check_publication(
            dataclasses.replace(publication, class_name="z"), chain.site, RevocationList()
        )
    assert refused.value.refusal_code == "unknown_class"


def test_an_interrupted_adoption_leaves_the_old_spec_in_force(chain, monkeypatch):
    chain.site.home.policy_file.write_text("federation: {accept_spec: never}")
    chain.take(chain.add(preset="small"))

    def stop(home, digests):
        raise KeyboardInterrupt

    monkeypatch.setattr("client_agent.registry.specs.forget_refusals", stop)
    (revision,) = waiting_revisions(chain.site)
    with pytest.raises(KeyboardInterrupt):
        adopt(chain.site, revision, by="admin")
    monkeypatch.undo()
    again = open_site(chain.site.home)
    assert again.revision.number == 1
    adopt(again, revision, by="admin")
    assert open_site(chain.site.home).spec.preset == "small"


def rebuilt(site: Site, revision: SpecRevision) -> Rebuilt:
    """The state that a certificate made under a revision names."""
    return Rebuilt(
        spec=sha256_hex(canonical.dumps(revision.spec.model_dump(mode="json"))),
        dataset_root="0" * 64,
        portions=(),
        classifier="0" * 64,
        classes=("a", "b"),
        reproducibility={},
        probe=Probe((), ()),
        revision=revision.number,
    )


def test_a_certificate_is_rebuilt_under_the_revision_that_it_names(chain):
    first, site = chain.site.revision, chain.site
    envelope = site.home.spec_envelope.read_bytes()
    chain.take(chain.add(classes=["a", "b", "c", "d"]))
    assert spec_of(site, rebuilt(site, site.revision)) == site.home.spec_envelope
    assert spec_of(site, rebuilt(site, first)).read_bytes() == envelope
    with pytest.raises(NotReadyError, match="revision 2 is in force"):
        spec_of(site, dataclasses.replace(rebuilt(site, first), revision=3))
    with pytest.raises(NotReadyError, match="another federation spec"):
        spec_of(site, dataclasses.replace(rebuilt(site, first), spec="0" * 64))


def test_a_record_names_every_revision_but_the_first(chain):
    first = rebuilt(chain.site, chain.site.revision).to_dict()
    assert "revision" not in first  # as programs of before wrote it
    assert spec_provenance(chain.site.revision) == {}
    chain.take(chain.add(classes=["a", "b", "c", "d"]))
    now = chain.site.revision
    assert rebuilt(chain.site, now).to_dict()["revision"] == 2
    assert spec_provenance(now) == {"spec": {"revision": 2, "statement": now.digest}}


def test_own_modules_of_another_shape_are_trained_anew_and_not_sent(sites, authority):
    site = sites["hospital-1"]
    assert kept_classes(site, ["zero", "one"], retrain=False) == {"zero": "has a module already"}
    key = authority.credential(Role.AUTHORITY, None, Purpose.SIGNING)
    spec = parse_spec(site.spec.model_dump(mode="json") | {"image": {"size": 12, "channels": 1}})
    now, before = timestamp(utc_now()), site.revision
    revision = SpecRevision(FEDERATION, "test", 2, before.digest, spec, now)
    envelope = dsse.sign(build_revision(revision), key)
    take_revision(
        site, dsse.verify(envelope, site.trust, (Role.AUTHORITY,), at=utc_now()), envelope
    )
    assert spec_state(site).retrain == ("zero",)
    accept_spec(site, 2)
    assert kept_classes(site, ["zero", "one"], retrain=False) == {}
    (folder,) = own_modules(site.home).values()
    place(folder, site.home.admitted(describe_module(folder)[0]), copy=True)
    assert usable_modules(site.home, site.spec) == ()
    assert plan_dataset(admitted_modules(site.home), site.spec) == ()
    assert len(unusable(site)) == 1
