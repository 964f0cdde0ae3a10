"""What waits for a person: listed, shown, admitted, refused, revoked; and who is trusted."""

import contextlib
import json
import os
import pty
import shutil
import subprocess

import pytest
from click.testing import CliRunner

pytest.importorskip("torch")

from client_agent.cli import main
from client_agent.errors import RefusedError, UsageError, WaitTimeoutError
from client_agent.module.signing import sign_module
from client_agent.registry.modules import own_modules
from client_agent.registry.refusals import refusals
from client_agent.site import open_site
from client_agent.steps import decide
from client_agent.steps.bundle import export_bundle, import_bundle
from client_agent.steps.receive import receive
from client_agent.steps.revoke import revoke
from client_agent.steps.status import inspect, status
from client_agent.steps.waiting import WaitFor
from ff_protocol import canonical
from ff_protocol.manifest import describe_module
from tests.agents import COMMAND, ENVIRONMENT
from tests.relays import MemoryRelay

MANUAL = "# written by the admin\nadmission: {mode: manual}\n"


def digest_of(site):
    (folder,) = own_modules(site.home).values()
    return describe_module(folder)[0]


@pytest.fixture
def offer(sites, tmp_path):
    """hospital-2 decides by hand; returns it, and what imports hospital-1's module into it."""
    site, number = sites["hospital-2"], iter(range(100))
    site.home.policy_file.write_text(MANUAL)

    def bring():
        path = tmp_path / f"bundle-{next(number)}.tar"
        export_bundle(sites["hospital-1"], path, everything=True)
        return import_bundle(site, path)

    return site, bring


def events(site, name):
    return [entry["details"] for entry in site.log.entries() if entry["event"] == name]


def test_a_module_waits_over_restarts_until_it_is_admitted(sites, offer):
    site, bring = offer
    digest = digest_of(sites["hospital-1"])
    received = bring()
    assert (received.admitted, received.waiting, received.refused) == ([], [digest], {})
    assert not site.home.incoming(digest).exists()
    again = bring()
    assert (again.admitted, again.waiting, again.refused) == ([], [], {})
    site = open_site(site.home)
    (listed,) = status(site)["waiting"]
    assert (listed["digest"], listed["class"], listed["site"]) == (digest, "zero", "hospital-1")
    assert inspect(site, digest[:8]).problem is None
    seen = decide.look_at(site, digest[:8])
    assert seen.card["site_id"] == "hospital-1"
    assert seen.comparison["modules"] == 1  # this site's own
    assert seen.contact_sheet.read_bytes().startswith(b"\x89PNG")
    assert decide.admit(site, digest[:8]).decision == "admitted"
    assert describe_module(site.home.admitted(digest))[0] == digest
    assert status(site)["waiting"] == []
    assert [item["by"] for item in events(site, "module_admitted")] == ["admin"]
    assert [item["module"] for item in events(site, "module_waiting")] == [digest]


def test_a_contact_sheet_holds_64_samples_and_no_more(sites, offer):
    from PIL import Image

    site, bring = offer
    bring()
    seen = decide.look_at(site, digest_of(sites["hospital-1"]))
    width, height = Image.open(seen.contact_sheet).size
    assert (width, height) == (16 * (8 * 6 + 2), 4 * (8 * 6 + 2))


def files_of(site):
    return {path for path in site.home.root.rglob("*") if path.is_file()}


def test_a_refused_module_leaves_nothing_but_a_record(sites, offer):
    site, bring = offer
    before = files_of(site)
    digest = digest_of(sites["hospital-1"])
    bring()
    decide.look_at(site, digest)
    decide.refuse(site, digest, "not now")
    left = {str(path.relative_to(site.home.root)) for path in files_of(site) - before}
    own = f"appraisals/{digest_of(site)}/"  # this site's own module, with which it was compared
    assert {name for name in left if not name.startswith(own)} == {
        "log.jsonl",
        f"statements/publications/{digest}.dsse",
        f"statements/refused/{digest}.json",
    } - {str(path.relative_to(site.home.root)) for path in before}
    assert not site.home.waiting(digest).exists()
    assert refusals(site.home)[digest].code == "admin"
    assert "not now" in refusals(site.home)[digest].reason
    assert status(site)["refusal_codes"] == {digest: "admin"}
    again = bring()
    assert (again.waiting, again.admitted) == ([], [])


def test_a_refusal_can_be_reconsidered(sites, offer):
    site, bring = offer
    digest = digest_of(sites["hospital-1"])
    bring()
    decide.refuse(site, digest)
    with pytest.raises(UsageError, match="waits") as caught:
        decide.admit(site, digest)
    assert "--undo" in caught.value.hint
    assert decide.reconsider(site, digest[:8]).decision == "reconsidered"
    assert bring().waiting == [digest]
    with pytest.raises(UsageError, match="has been refused"):
        decide.reconsider(site, digest)


def test_a_revocation_deletes_what_waits(sites, offer):
    site, bring = offer
    first = sites["hospital-1"]
    digest = digest_of(first)
    bring()
    revoke(first, module=digest, rebuild=False)
    received = bring()
    assert (received.revocations, received.admitted, received.waiting) == (1, [], [])
    assert not site.home.waiting(digest).exists()
    assert not site.home.appraisal(digest).exists()
    with pytest.raises(UsageError):
        decide.admit(site, digest)


def test_a_rule_that_no_longer_holds_refuses_at_the_decision(sites, offer):
    site, bring = offer
    digest = digest_of(sites["hospital-1"])
    bring()
    site.home.policy_file.write_text("admission: {refused_sites: [hospital-1]}")
    with pytest.raises(RefusedError, match="refuses modules of hospital-1"):
        decide.admit(site, digest)
    assert refusals(site.home)[digest].code == "refused_site"
    assert not site.home.waiting(digest).exists()


def test_trusted_sites_are_not_asked_about_and_the_admins_file_stays_as_it_is(sites, offer):
    site, bring = offer
    assert decide.trust(site, "hospital-1") == {"hospital-1"}
    assert bring().admitted == [digest_of(sites["hospital-1"])]
    assert site.home.policy_file.read_text() == MANUAL
    assert decide.trust(site, "hospital-1", trusted=False) == frozenset()
    assert [len(events(site, name)) for name in ("site_trusted", "site_trust_withdrawn")] == [1, 1]
    site.home.policy_file.write_text("admission: {mode: manual, trusted_sites: [hospital-3]}")
    assert decide.trust(site, "hospital-1") == {"hospital-1", "hospital-3"}
    with pytest.raises(UsageError, match=r"policy\.yaml says"):
        decide.trust(site, "hospital-3", trusted=False)
    with pytest.raises(UsageError, match="site name"):
        decide.trust(site, "../etc")


def test_waiting_counts_what_is_in_use_and_says_what_waits(sites, tmp_path, monkeypatch):
    relay = MemoryRelay(tmp_path / "relay", sites["hospital-1"].trust).connect(monkeypatch)
    from client_agent.steps.send import send

    send(sites["hospital-1"])
    site = sites["hospital-2"]
    site.home.policy_file.write_text(MANUAL)
    with pytest.raises(WaitTimeoutError, match="1 modules wait for a decision") as caught:
        receive(site, WaitFor(1, "classes", timeout_seconds=0))
    assert "ff-agent admit" in caught.value.hint
    decide.admit(site, digest_of(sites["hospital-1"]))
    receive(site, WaitFor(1, "classes", timeout_seconds=0))
    assert relay.listings


def swapped_bundle(sites, tmp_path):
    """hospital-1 publishes a module that claims `zero` and makes the images of a `one`."""
    publisher = sites["hospital-1"]
    folder = own_modules(publisher.home)["zero"]
    shutil.copy(own_modules(sites["hospital-2"].home)["one"] / "module.onnx", folder)
    (folder / "module.sig").unlink()
    sign_module(folder, publisher.home)
    export_bundle(publisher, tmp_path / "swapped.tar")
    return tmp_path / "swapped.tar", describe_module(folder)[0]


@pytest.mark.parametrize("on_poison", ["flag", "hold", "refuse"])
def test_images_of_another_class_are_flagged_with_numbers_and_policy_decides(
    sites, tmp_path, on_poison
):
    site = sites["hospital-2"]
    site.home.policy_file.write_text(f"admission: {{on_poison: {on_poison}}}")
    path, digest = swapped_bundle(sites, tmp_path)
    received = import_bundle(site, path)
    (noted,) = events(site, "module_suspicious")
    assert noted["module"] == digest
    assert noted["other"]["class_name"] == "one"
    assert noted["other"]["separability"] < 0.66
    assert [flag["code"] for flag in noted["flags"]] == ["copies_another_class"]
    if on_poison == "refuse":
        assert list(received.refused) == [digest]
        assert refusals(site.home)[digest].code == "copies_another_class"
        assert not site.home.appraisal(digest).exists()
        return
    assert received.admitted == ([digest] if on_poison == "flag" else [])
    assert received.waiting == ([digest] if on_poison == "hold" else [])
    kept = json.loads((site.home.appraisal(digest) / "comparison.json").read_text())
    assert kept == {key: value for key, value in noted.items() if key != "module"}
    (listed,) = [
        item
        for item in (*status(site)["waiting"], *status(site)["admitted"])
        if item["digest"] == digest
    ]
    assert listed["suspicious"] == ["copies_another_class"]
    revoke(site, module=digest, rebuild=False)
    assert not site.home.appraisal(digest).exists()


def test_an_honest_module_is_not_flagged(sites, offer):
    site, bring = offer
    bring()
    assert events(site, "module_suspicious") == []


def run(site, *arguments):
    return CliRunner().invoke(main, [*arguments, "--home", str(site.home.root)])


def test_the_commands_show_ask_nobody_without_a_terminal_and_speak_json(sites, offer):
    site, bring = offer
    digest = digest_of(sites["hospital-1"])
    assert "no module waits" in run(site, "admit").output
    bring()
    assert digest[:12] in run(site, "admit").output
    assert json.loads(run(site, "admit", "--json").stdout)["waiting"][0]["digest"] == digest
    asked = run(site, "admit", digest[:8])
    assert asked.exit_code == 2
    assert "contact-sheet.png" in asked.stdout
    assert f"ff-agent admit {digest[:12]} --yes" in asked.stderr
    silent = json.loads(run(site, "admit", digest[:8], "--json").stdout)
    assert (silent["status"], silent["error_code"]) == ("error", "usage")
    looked = json.loads(run(site, "admit", digest[:8], "--dry-run", "--json").stdout)
    assert (looked["decision"], looked["module"]["digest"]) == (None, digest)
    assert site.home.waiting(digest).exists()
    refused = json.loads(run(site, "refuse", digest[:8], "--reason", "x", "--json").stdout)
    assert (refused["decision"], refused["class_name"]) == ("refused", "zero")
    assert run(site, "refuse", digest[:8], "--undo").exit_code == 0
    bring()
    done = json.loads(run(site, "admit", digest[:8], "--yes", "--json").stdout)
    assert (done["decision"], done["digest"]) == ("admitted", digest)
    assert run(site, "admit", digest[:8], "--yes").exit_code == 2
    trusted = run(site, "trust", "hospital-1", "--json")
    assert json.loads(trusted.stdout)["trusted"] == ["hospital-1"]
    assert json.loads(run(site, "trust", "hospital-1", "--not", "--json").stdout)["trusted"] == []


def at_a_terminal(site, answer, *arguments):
    """Run a command at a terminal of its own and type an answer; return its code and its words."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--home", str(site.home.root)],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=ENVIRONMENT,
    )
    os.close(follower)
    shown = b""
    with os.fdopen(leader, "r+b", buffering=0) as stream:
        stream.write(answer)
        with contextlib.suppress(OSError):  # how a terminal ends
            while part := stream.read(4096):
                shown += part
    return process.wait(timeout=200), shown.decode()


def test_at_a_terminal_it_shows_and_asks_and_no_is_no_decision(sites, offer):
    site, bring = offer
    digest = digest_of(sites["hospital-1"])
    bring()
    code, shown = at_a_terminal(site, b"n\n", "admit", digest[:8])
    assert (code, site.home.waiting(digest).exists()) == (0, True), shown
    assert shown.index("contact-sheet.png") < shown.index("Admit it?")
    code, shown = at_a_terminal(site, b"y\n", "admit", digest[:8])
    assert (code, site.home.admitted(digest).exists()) == (0, True), shown


def test_a_reason_that_quotes_a_stranger_cannot_act_on_the_terminal(sites, offer, monkeypatch):
    site, bring = offer
    hostile = "\x1b[2J" + "\x07" * 2000

    def check(*_):
        raise RefusedError(f"operator {hostile} is not accepted", refusal_code="structure")

    monkeypatch.setattr("client_agent.steps.intake.check_module", check)
    (reason,) = bring().refused.values()
    assert reason.isprintable()
    (kept,) = refusals(site.home).values()
    assert (kept.reason.isprintable(), kept.code) == (True, "structure")
    assert canonical.dumps(kept.reason)
