"""A coordinator that withholds, reorders, rolls back, replays or forges: what each site notices."""

import base64
import dataclasses
import datetime as dt
import json

import pytest

from client_agent.registry.log import LogBrokenError
from client_agent.registry.modules import own_modules, place
from client_agent.registry.revocations import load_revocations
from client_agent.site import Site
from client_agent.steps.fit import fit
from client_agent.steps.heads import StaleHeadsError, WithheldError, check_view, sign_heads
from client_agent.steps.receive import receive
from client_agent.steps.record import verify_record
from client_agent.steps.revoke import revoke, sign_revocation
from client_agent.steps.send import send
from client_agent.steps.status import status
from ff_protocol import canonical, dsse
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.heads import HEADS, build_heads
from ff_protocol.manifest import describe_module
from ff_protocol.statements import PUBLICATION, REVOCATION, Revocation, build_revocation

ONE, TWO, THREE = "hospital-1", "hospital-2", "hospital-3"


def digest_of(site: Site) -> str:
    (folder,) = own_modules(site.home).values()
    return describe_module(folder)[0]


def withdraw_last(sites: dict[str, Site]) -> str:
    """Hospital-3 revokes its module and tells the coordinator."""
    digest = digest_of(sites[THREE])
    assert revoke(sites[THREE], module=digest, rebuild=False).relayed
    return digest


def sign_chain(site: Site, count: int) -> list[bytes]:
    """Sign revocations of modules that nobody has; return the envelopes in order."""
    for number in range(count):
        sign_revocation(site, (canonical.sha256_hex(b"%d" % number),), reason="")
    return [path.read_bytes() for path in sorted(site.home.revocations.glob(f"{site.site_id}*"))]


def events(site: Site, event: str) -> list[dict]:
    return [entry["details"] for entry in site.log.entries() if entry["event"] == event]


def test_an_honest_coordinator_arouses_no_suspicion(sites, relay):
    assert receive(sites[ONE]).warnings == []
    digest = withdraw_last(sites)
    received = receive(sites[ONE])
    assert (received.warnings, received.revocations) == ([], 1)
    assert not sites[ONE].home.admitted(digest).exists()
    assert status(sites[ONE])["warnings"] == []


def test_withholding_a_revocation_is_noticed_by_whoever_sees_its_issuers_heads(sites, relay):
    withdraw_last(sites)
    relay.rewrite = relay.without(REVOCATION, of=THREE)
    (warning,) = receive(sites[ONE]).warnings
    assert "hospital-3 has issued 1 revocations, 0 are here" in warning
    assert events(sites[ONE], "suspicion") == [{"kind": "withheld", "about": THREE}]
    with pytest.raises(WithheldError, match="withholding"):
        fit(sites[ONE])
    relay.rewrite = None  # and all is well once it is handed out
    assert receive(sites[ONE]).warnings == []
    check_view(sites[ONE])


def test_withholding_is_noticed_by_hearsay_from_another_sites_publication(sites, relay):
    withdraw_last(sites)
    receive(sites[TWO])
    send(sites[TWO])  # its publication carries the heads that it has seen
    relay.rewrite = relay.without(REVOCATION, HEADS, of=THREE)
    warnings = receive(sites[ONE]).warnings
    assert any("hospital-2 signed that hospital-3 has issued 1" in text for text in warnings)


def test_withholding_heads_too_is_noticed_when_the_old_ones_expire(sites, relay, monkeypatch):
    withdraw_last(sites)
    relay.rewrite = relay.without(REVOCATION, HEADS, of=THREE)
    later = utc_now() + dt.timedelta(hours=sites[ONE].spec.policy.heads_valid_hours + 1)
    assert any("hospital-3" in warning for warning in receive(sites[ONE]).warnings)  # rolled back
    monkeypatch.setattr("client_agent.registry.heads.utc_now", lambda: later)
    notes = Notes()
    check_view(sites[ONE], notes)
    assert any("heads of hospital-3 expired" in note for note in notes.lines)
    policy = sites[ONE].spec.policy.model_copy(update={"stale_heads": "refuse"})
    spec = sites[ONE].spec.model_copy(update={"policy": policy})
    revision = dataclasses.replace(sites[ONE].revision, spec=spec)
    strict = dataclasses.replace(sites[ONE], revision=revision)
    with pytest.raises(StaleHeadsError, match="expired"):
        check_view(strict)


class Notes:
    """Progress that keeps what is said."""

    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


def test_a_site_of_which_no_heads_were_ever_seen_is_named(sites, relay):
    relay.rewrite = relay.without(HEADS, of=THREE)
    (folder,) = own_modules(sites[THREE].home).values()
    place(folder, sites[TWO].home.admitted(digest_of(sites[THREE])), copy=True)
    receive(sites[TWO])
    assert any("no signed heads of hospital-3" in text for text in status(sites[TWO])["warnings"])


def test_reordered_revocations_are_noticed_and_applied_in_their_order(sites, relay):
    for envelope in reversed(sign_chain(sites[THREE], 3)):
        relay.publish(envelope)
    received = receive(sites[ONE])
    assert (received.revocations, received.refused) == (3, {})
    assert received.warnings == [
        "the coordinator hands out the revocations of hospital-3 out of order"
    ]
    numbers = [entry.sequence for entry in load_revocations(sites[ONE].home, relay.trust).relayed]
    assert numbers == [1, 2, 3]


def test_a_rolled_back_coordinator_is_noticed_by_whoever_saw_a_later_state(sites, relay):
    before = list(relay.statements)
    withdraw_last(sites)
    receive(sites[ONE])
    relay.statements = before
    (warning,) = receive(sites[ONE]).warnings
    assert "its store was rolled back" in warning
    assert events(sites[ONE], "suspicion")[-1] == {"kind": "rolled_back", "about": THREE}


def test_replayed_heads_and_revocations_change_nothing(sites, relay):
    old = [item for item in relay.statements if relay.kind(item)[0] == HEADS]
    withdraw_last(sites)
    receive(sites[ONE])
    held = (sites[ONE].home.heads / f"{THREE}.dsse").read_bytes()
    relay.rewrite = lambda listing: [*listing, *listing, *old]
    received = receive(sites[ONE])
    assert (received.revocations, received.refused) == (0, {})
    assert (sites[ONE].home.heads / f"{THREE}.dsse").read_bytes() == held


@pytest.mark.parametrize(("sequence", "previous"), [(2, "0" * 64), (3, "0" * 64), (7, "f" * 64)])
def test_a_wrong_sequence_is_refused_and_recorded(sites, relay, sequence, previous):
    site = sites[THREE]
    relay.publish(sign(site, revocation(site, sequence=sequence, previous=previous)))
    received = receive(sites[ONE])
    (reason,) = received.refused.values()
    assert "without its predecessor" in reason
    assert reason == events(sites[ONE], "refused")[0]["reason"]
    assert load_revocations(sites[ONE].home, relay.trust).relayed == ()


def test_two_revocations_under_one_number_are_refused_and_recorded(sites, relay):
    site = sites[THREE]
    relay.publish(sign(site, revocation(site)))
    receive(sites[ONE])
    relay.publish(sign(site, revocation(site, reason="another")))
    (reason,) = receive(sites[ONE]).refused.values()
    assert "two different revocations numbered 1" in reason


def test_a_statement_by_a_site_that_may_not_make_it_is_refused_and_recorded(sites, relay):
    module = digest_of(sites[THREE])
    usurped = revocation(sites[TWO], modules=(module,))
    relay.publish(sign(sites[TWO], usurped))
    in_anothers_name = revocation(sites[THREE], modules=(module,))
    relay.publish(sign(sites[TWO], in_anothers_name))
    relay.publish(dsse.sign(build_revocation(usurped), sites[TWO].credential("signing")))
    received = receive(sites[ONE])
    assert any("cannot revoke" in reason for reason in received.refused.values())
    assert any("in the name of another" in reason for reason in received.refused.values())
    assert sites[ONE].home.admitted(module).is_dir()
    assert len(events(sites[ONE], "refused")) == len(received.refused)


def test_a_forged_or_altered_statement_is_refused_and_recorded(sites, relay):
    site = sites[THREE]
    good = json.loads(sign(site, revocation(site, modules=(digest_of(site),))))
    payload = base64.b64decode(good["payload"]).replace(b'"reason":""', b'"reason":"x"')
    altered = canonical.dumps({**good, "payload": base64.b64encode(payload).decode()})
    wrong_key = dsse.sign(build_revocation(revocation(site)), site.credential("tls"))
    relay.rewrite = lambda listing: [altered, wrong_key, *listing]
    received = receive(sites[ONE])
    assert sorted(received.refused.values()) == sorted(
        ["the statement's signature does not hold", "certificate is not for signing"]
    )
    assert sites[ONE].home.admitted(digest_of(site)).is_dir()


def test_a_lying_witness_stops_nobody_and_is_named(sites, relay):
    liar = sites[TWO]
    head = {"issuer": THREE, "sequence": 9, "digest": "a" * 64}
    heads = sign_heads(liar)
    statement = build_heads(heads)
    statement["predicate"] |= {"heads": [head], "sequence": heads.sequence + 1}
    relay.publish(dsse.sign(statement, liar.credential("signing")))
    (warning,) = receive(sites[ONE]).warnings
    assert warning.startswith("hospital-2 signed that hospital-3")
    check_view(sites[ONE])  # hearsay is a warning unless policy says refuse


@pytest.mark.parametrize(("hours", "believed"), [(-30, True), (-5, True), (5, True), (72, False)])
def test_a_clock_that_is_off_by_hours_delays_nothing_and_one_off_by_days_is_refused(
    sites, relay, monkeypatch, hours, believed
):
    skewed = utc_now() + dt.timedelta(hours=hours)
    for step in ("heads", "revoke"):
        monkeypatch.setattr(f"client_agent.steps.{step}.timestamp", stamp(skewed))
    site = sites[TWO]
    sign_revocation(site, ("c" * 64,), reason="")
    (path,) = site.home.revocations.iterdir()
    relay.publish(path.read_bytes())
    sign_heads(site)
    relay.publish((site.home.heads / f"{TWO}.dsse").read_bytes())
    received = receive(sites[ONE])
    # Numbers order statements, never clocks: the revocation holds whatever the time on it.
    assert (received.revocations, received.warnings) == (1, [])
    assert (TWO in status(sites[ONE])["heads"]) is believed
    assert any("in the future" in reason for reason in received.refused.values()) is not believed


def stamp(now: dt.datetime):
    """`timestamp` of a clock that shows `now`; intervals stay as they are."""
    offset = now - utc_now()
    return lambda moment: timestamp(moment + offset)


def test_a_home_restored_from_a_backup_learns_what_it_has_signed(sites, relay):
    old = (sites[THREE].home.heads / f"{THREE}.dsse").read_bytes()
    sites[THREE].log.append("tested")
    send(sites[THREE])
    newest = (sites[THREE].home.heads / f"{THREE}.dsse").read_bytes()
    assert newest != old
    (sites[THREE].home.heads / f"{THREE}.dsse").write_bytes(old)
    (warning,) = receive(sites[THREE]).warnings
    assert "restored from a backup" in warning


def test_a_record_whose_end_was_cut_off_is_found_even_if_the_heads_were_deleted(sites, relay):
    site = sites[THREE]
    path = site.home.log
    assert verify_record(site).anchored >= 1
    path.write_bytes(b"")
    with pytest.raises(LogBrokenError, match="cut off"):
        verify_record(site)
    for statement in (*site.home.publications.iterdir(), *site.home.heads.iterdir()):
        statement.unlink()
    assert verify_record(site).anchors == 0
    receive(site)  # the coordinator has copies
    with pytest.raises(LogBrokenError):
        verify_record(site)
    receive(site)  # signs new heads; the loss is not hidden by them
    with pytest.raises(LogBrokenError, match=r"cut off|line"):
        verify_record(site)


def test_lines_cut_off_after_the_publication_show_by_the_newest_heads(sites, relay):
    site = sites[THREE]
    receive(site)  # the newest heads name a line after the publication's
    kept = site.home.log.read_bytes().splitlines(keepends=True)[:1]
    site.home.log.write_bytes(b"".join(kept))
    (site.home.heads / f"{THREE}.dsse").unlink()
    receive(site)
    with pytest.raises(LogBrokenError, match="its end was cut off once"):
        verify_record(site)


def test_a_module_revoked_while_it_is_downloaded_does_not_stay(sites, relay):
    site, digest = sites[TWO], digest_of(sites[THREE])
    relay.on_fetch = lambda module: withdraw_last(sites) if module == digest else None
    received = receive(site)
    assert digest in received.admitted
    assert not site.home.admitted(digest).exists()
    assert not site.home.incoming(digest).exists()
    assert received.revocations == 1


def test_a_half_downloaded_module_that_was_revoked_since_leaves_nothing(sites, relay):
    site, digest = sites[TWO], digest_of(sites[THREE])

    def cut(module):
        site.home.incoming(module).mkdir(parents=True)
        (site.home.incoming(module) / "module.onnx.part").write_bytes(b"half")
        raise ConnectionResetError

    relay.on_fetch = cut
    with pytest.raises(ConnectionResetError):
        receive(site)
    assert site.home.incoming(digest).is_dir()
    withdraw_last(sites)
    receive(site)
    assert not site.home.incoming(digest).exists()
    assert events(site, "download_discarded") == [{"module": digest}]


def test_publications_carry_heads_and_the_end_of_the_record(sites, relay):
    (envelope,) = [item for item in relay.statements if relay.kind(item)[0] == PUBLICATION]
    predicate = relay.kind(envelope)[1].value["predicate"]
    assert predicate["heads"] == []
    first = next(iter(sites[THREE].log.entries()))
    assert predicate["record"] == {"sequence": 1, "digest": first["hash"]}


def revocation(site: Site, **changes) -> Revocation:
    values = {
        "federation_id": site.trust.federation_id,
        "issuer": site.site_id,
        "modules": ("d" * 64,),
        "site_id": None,
        "reason": "",
        "sequence": 1,
        "previous": None,
        "issued_at": timestamp(utc_now()),
        "digest": "",
    }
    return Revocation(**{**values, **changes})


def sign(site: Site, value: Revocation) -> bytes:
    return dsse.sign(build_revocation(value), site.credential("signing"))
