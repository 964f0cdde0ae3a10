"""The authority's word kept back, replayed or forged: what each site notices."""

import dataclasses
import datetime as dt

from client_agent.registry.members import load_members
from client_agent.site import open_site
from client_agent.steps.bundle import export_bundle, import_bundle
from client_agent.steps.heads import check_view
from client_agent.steps.receive import receive
from client_agent.steps.status import inspect, status
from ff_protocol import dsse
from ff_protocol.certificates import Purpose, certify_issuing, make_root
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.members import VALIDITY, ExpelledSite, MemberList, build_members
from ff_protocol.names import Role
from ff_protocol.roots import TrustStatement, sign_trust
from tests.faults.test_hostile_statements import ONE, THREE, TWO, digest_of, events
from tests.homes import FEDERATION


def member_list(authority, version, *, modules=None, roots=1, age=dt.timedelta(0)) -> bytes:
    """A signed member list; with `modules`, hospital-3 is expelled and these of it remain."""
    issued = utc_now() - age
    expelled = () if modules is None else (ExpelledSite(THREE, timestamp(issued), "", modules),)
    members = MemberList(
        federation_id=FEDERATION,
        version=version,
        issued_at=timestamp(issued),
        expires_at=timestamp(issued + VALIDITY),
        roots=roots,
        expelled=expelled,
    )
    signer = authority.credential(Role.AUTHORITY, None, Purpose.SIGNING)
    return dsse.sign(build_members(members), signer)


def test_what_an_expelled_site_publishes_afterwards_is_refused_until_it_is_readmitted(
    sites, relay, authority
):
    two, digest = sites[TWO], digest_of(sites[THREE])
    relay.authority = [member_list(authority, 1, modules=())]
    received = receive(two)
    assert "hospital-3 has been expelled from the federation" in received.notes
    assert "hospital-3 was expelled on" in received.refused[digest]
    assert not two.home.admitted(digest).exists()
    assert events(two, "site_expelled") == [{"site": THREE, "members": 1}]
    assert receive(two).refused == {}  # told once
    relay.authority = [member_list(authority, 2)]
    received = receive(two)
    assert (received.admitted, received.notes) == ([digest], ["hospital-3 may take part again"])


def test_what_an_expelled_site_published_before_stays_and_its_silence_is_no_suspicion(
    sites, relay, authority, monkeypatch
):
    two, digest = sites[TWO], digest_of(sites[THREE])
    relay.authority = [member_list(authority, 1, modules=(digest,))]
    assert receive(two).admitted == [digest]
    week = utc_now() + dt.timedelta(days=8)
    monkeypatch.setattr("client_agent.registry.heads.utc_now", lambda: week)
    assert status(two)["warnings"] == []


def test_a_replayed_member_list_changes_nothing_and_a_site_cannot_make_one(sites, relay, authority):
    one = sites[ONE]
    relay.authority = [member_list(authority, 2, modules=())]
    receive(one)
    relay.authority = [member_list(authority, 1)]
    assert receive(one).notes == []
    assert load_members(one, utc_now()).sites() == {THREE}
    members = dataclasses.replace(load_members(one, utc_now()), version=9, expelled=())
    relay.authority = [dsse.sign(build_members(members), sites[THREE].credential("signing"))]
    assert len(receive(one).refused) == 1
    assert load_members(one, utc_now()).sites() == {THREE}


def test_a_member_list_that_is_kept_back_is_noticed_when_the_old_one_expires(
    sites, relay, authority
):
    relay.authority = [member_list(authority, 1, age=dt.timedelta(days=15))]
    receive(sites[ONE])
    assert "the authority's member list expired on" in status(sites[ONE])["warnings"][0]


def test_a_change_of_root_that_is_kept_back_is_noticed_by_the_member_list(sites, relay, authority):
    relay.authority = [member_list(authority, 1, roots=2)]
    receive(sites[ONE])
    (warning,) = status(sites[ONE])["warnings"]
    assert "roots are at version 2, version 1 is here" in warning


def test_a_change_of_root_is_followed_forwards_only(sites, relay, authority):
    one, root, issuing = sites[ONE], authority.root, authority.issuing
    begins = root.leaf.not_valid_before_utc
    new = make_root("test", utc_now(), begins=begins)
    certified = certify_issuing(
        new, issuing.key.public_key(), issuing.leaf.subject, utc_now(), begins=begins
    )
    now = timestamp(utc_now())
    both = TrustStatement(FEDERATION, 2, (root.leaf, new.leaf), (issuing.leaf, certified), now)
    alone = TrustStatement(FEDERATION, 3, (new.leaf,), (certified,), now)
    begun, ended = sign_trust(both, (root, new)), sign_trust(alone, (new,))
    relay.authority = [sign_trust(both, (new,))]
    assert len(receive(one).refused) == 1
    relay.authority = [ended]
    assert "came before version 2" in next(iter(receive(one).refused.values()))
    assert one.trust.roots == (root.leaf,)
    relay.authority = [begun]
    (note,) = receive(one).notes
    assert "trusted beside it" in note
    relay.authority = [begun, ended]
    # What was refused while its predecessor was missing is taken now.
    assert receive(one).refused == {}
    assert one.trust.roots == (new.leaf,)
    relay.authority = [begun]
    assert receive(one).notes == []
    again = open_site(one.home)
    assert again.trust.roots == (new.leaf,)
    assert check_view(again) is None
    # The module that was in use, signed under the first root, holds under the second.
    assert inspect(again, digest_of(sites[THREE])).problem is None


def test_the_authoritys_word_travels_on_a_disk_too(sites, relay, authority, tmp_path):
    relay.authority = [member_list(authority, 1, modules=())]
    receive(sites[ONE])
    bundle = tmp_path / "everything.tar"
    export_bundle(sites[ONE], bundle, everything=True)
    imported = import_bundle(sites[TWO], bundle)
    assert "hospital-3 has been expelled from the federation" in imported.notes
    assert digest_of(sites[THREE]) in imported.refused
