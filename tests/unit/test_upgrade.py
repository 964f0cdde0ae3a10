"""Homes of earlier versions, made by those versions (tests/old_homes), in this one; and back."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from client_agent.errors import NotReadyError
from client_agent.home import Home
from client_agent.registry.fit_record import read_fit_record
from client_agent.registry.forgetting import forget_revoked
from client_agent.registry.log import Log
from client_agent.registry.modules import admitted_modules, own_modules, place
from client_agent.registry.revocations import RevocationList
from client_agent.registry.statements import published_modules
from client_agent.site import open_site
from client_agent.steps import upgrade as steps
from client_agent.steps.fit import fit
from client_agent.steps.status import status
from client_agent.steps.upgrade import check_upgrade, downgrade, upgrade
from client_agent.upgrade.formats import (
    FORMAT,
    HomeFormat,
    NewerHomeError,
    OutdatedHomeError,
    check_format,
    format_of,
)
from client_agent.upgrade.plan import Drop, Plan, SetAside, Step, Write
from client_agent.upgrade.to_2 import card_schema, is_fit_record
from ff_protocol.statements import Revocation
from tests.agents import agent
from tests.homes import make_authority
from tests.old_homes import unpack


@pytest.fixture(scope="module")
def earlier(tmp_path_factory) -> dict[str, Path]:
    """The archives, unpacked: not to be changed."""
    names = ("card-1", "card-2")
    return {name: unpack(name, tmp_path_factory.mktemp(name)) for name in names}


@pytest.fixture
def copy(earlier, tmp_path):
    """Return a copy of hospital-1's home out of an archive."""

    def make(name: str) -> Home:
        shutil.copytree(earlier[name] / "hospital-1", tmp_path / name, symlinks=True)
        return Home(tmp_path / name)

    return make


def files(home: Home) -> dict[str, bytes]:
    """Every file but the record, the lock and the backups."""
    return {
        name: path.read_bytes()
        for path in sorted(home.root.rglob("*"))
        if path.is_file()
        and not (name := path.relative_to(home.root).as_posix()).startswith("backups/")
        and name not in ("log.jsonl", ".lock")
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"site_id": "a"}, HomeFormat(1, None, False)),
        ({"version": 2, "program": "0.2.0"}, HomeFormat(2, "0.2.0", False)),
        ({"version": 9, "program": 3}, HomeFormat(9, None, False)),
        ({"version": True}, HomeFormat(1, None, False)),
        ({"version": "2"}, HomeFormat(1, None, False)),
        (None, HomeFormat(1, None, False)),
        (["version"], HomeFormat(1, None, False)),
    ],
)
def test_the_format_is_read_from_whatever_site_yaml_holds(values, expected):
    assert format_of(values, unfinished=False) == expected


def test_only_the_present_format_without_a_journal_is_worked_in():
    check_format(HomeFormat(FORMAT, None, False), "home")
    with pytest.raises(OutdatedHomeError, match="earlier version") as outdated:
        check_format(HomeFormat(FORMAT - 1, None, False), "home")
    assert "ff-agent upgrade" in outdated.value.hint
    with pytest.raises(OutdatedHomeError, match="interrupted"):
        check_format(HomeFormat(FORMAT, None, True), "home")
    with pytest.raises(NewerHomeError, match=r"written by ff-agent 3\.1\.0") as newer:
        check_format(HomeFormat(FORMAT + 1, "3.1.0", True), "home")
    assert "install ff-agent 3.1.0 or later" in newer.value.hint


def test_what_format_1_may_hold_is_told_apart():
    assert card_schema({"schema_version": 1}) == 1
    assert card_schema({"schema_version": "1"}) is card_schema([]) is card_schema({}) is None
    record = dict.fromkeys(("inputs", "modules", "samples", "losses", "state"))
    assert is_fit_record(record)
    assert not is_fit_record({key: None for key in record if key != "losses"})
    assert not is_fit_record(None)


@pytest.mark.parametrize("name", ["card-1", "card-2"])
def test_no_other_command_works_in_an_older_home_and_nothing_is_changed(copy, name):
    home = copy(name)
    before = files(home)
    for command in (["status"], ["receive"], ["fit"], ["log"], ["spec"]):
        done = agent(home.root, *command, "--json")
        assert done.code == 7, done.out
        assert done.document["error_code"] == "home_outdated"
        assert "ff-agent upgrade" in done.document["hint"]
    checked = agent(home.root, "upgrade", "--check", "--json")
    assert checked.code == 7
    assert (checked.document["source"], checked.document["target"]) == (1, FORMAT)
    assert files(home) == before


def test_a_home_of_a_later_format_is_left_alone_and_names_the_program(copy):
    home = copy("card-2")
    text = home.site_file.read_text().replace("version: 1", "version: 99\nprogram: 7.0.0")
    home.site_file.write_text(text)
    before = files(home)
    for command in ("status", "upgrade"):
        done = agent(home.root, command)
        assert done.code == 10
        assert "install ff-agent 7.0.0 or later" in done.err
    assert files(home) == before


def test_of_a_home_with_cards_of_schema_1_identity_and_keys_stay(copy):
    home = copy("card-1")
    before = files(home)
    done = upgrade(home)
    after = files(home)
    assert (done.source, done.target) == (1, FORMAT)
    modules = [path for path in done.set_aside if path.startswith(("outbox/", "admitted/"))]
    assert len(modules) == 3
    assert all("schema 1" in done.set_aside[path] for path in modules)
    assert any("--retrain --classes zero" in line for line in done.to_do)
    assert any("ff-agent receive" in line for line in done.to_do)
    for name, data in before.items():
        moved = name.startswith(("outbox/zero", "admitted/", "shards/")) or name == "site.yaml"
        assert (after.get(name) == data) != moved, name
    site = open_site(home)
    state = status(site)
    assert state["admitted"] == []
    assert state["missing_classes"] == ["zero", "one"]
    assert len(published_modules(site)) == 2
    site.credential("signing")
    site.log.verify()
    assert upgrade(home).source == FORMAT


def test_of_a_home_with_cards_of_schema_2_modules_stay_and_give_the_same_bits(copy, tmp_path):
    """A classifier of the upgraded home is that of a fresh home with the same modules."""
    home = copy("card-2")
    old = home.root / "training" / "zero" / "half.pt"
    old.parent.mkdir(parents=True)
    import torch

    torch.save({"format": "federated-factory/generator-checkpoint/2"}, old)
    done = upgrade(home)
    assert set(done.set_aside) == {"classifier", "training/zero/half.pt"}
    assert done.dropped == {}
    site = open_site(home)
    assert [module.card.class_name for module in admitted_modules(home)] != []
    assert status(site)["classifier"] is None
    fitted = fit(site)
    assert fitted.classes == ("zero", "one")

    fresh = make_authority().join(tmp_path / "fresh", "hospital-9")
    for path in (home.root_certificate, home.spec_envelope):
        shutil.copy(path, fresh.home.root / path.name)
    text = home.site_file.read_text().replace("hospital-1", "hospital-9")
    fresh.home.site_file.write_text(text)
    for module in admitted_modules(home):
        place(module.folder, fresh.home.admitted(module.digest), copy=True)
    again = fit(open_site(fresh.home))
    assert (again.classifier, again.dataset_root) == (fitted.classifier, fitted.dataset_root)
    assert fresh.home.classifier.read_bytes() == home.classifier.read_bytes()


@pytest.mark.parametrize("name", ["card-1", "card-2"])
def test_the_way_back_restores_every_byte_but_what_can_be_made_again(copy, name):
    home = copy(name)
    before = files(home)
    dropped = upgrade(home).dropped
    downgrade(home)
    assert files(home) == {
        path: data for path, data in before.items() if path.rpartition("/")[0] not in dropped
    }
    assert not list(home.backups.glob("format-1*"))
    with pytest.raises(OutdatedHomeError):
        open_site(home)
    Log(home.log).verify()
    events = [entry["event"] for entry in Log(home.log).entries()][-2:]
    assert events == ["upgraded", "upgraded"]
    with pytest.raises(NotReadyError, match="nothing to go back to"):
        downgrade(home)


def test_what_was_made_after_the_upgrade_waits_while_the_earlier_version_is_at_work(
    copy, trained_homes
):
    home = copy("card-1")
    upgrade(home)
    folder = own_modules(Home(trained_homes["hospital-1"]))["zero"]
    place(folder, home.outbox / "zero", copy=True)
    downgrade(home)
    assert json.loads((home.outbox / "zero" / "card.json").read_bytes())["schema_version"] == 1
    upgrade(home)
    assert (home.outbox / "zero" / "card.json").read_bytes() == (folder / "card.json").read_bytes()
    schemas = [
        json.loads(path.read_bytes())["schema_version"]
        for path in home.backup(1).glob("old/outbox/*/card.json")
    ]
    assert schemas == [1]


def test_a_revoked_module_goes_from_the_backups_too(copy):
    home = copy("card-1")
    upgrade(home)
    site = open_site(home)
    classifier = home.backup(1) / "old" / "classifier"
    module, other = published_modules(site)
    classifier.mkdir()
    (classifier / "fit.json").write_text(json.dumps({"modules": [module.module]}))
    order = Revocation(
        site.trust.federation_id,
        module.site_id,
        (module.module,),
        None,
        "a test",
        1,
        None,
        "2026-01-01T00:00:00Z",
        "0" * 64,
    )
    forget_revoked(site, RevocationList(relayed=(order,)))
    left = {path.name for path in (home.backup(1) / "old" / "admitted").iterdir()}
    assert left == {other.module}
    assert not classifier.exists()
    digests = [json.loads(p.read_bytes())["class_name"] for p in home.backups.rglob("card.json")]
    assert module.class_name not in digests


def test_a_home_climbs_several_steps_in_one_go(copy, monkeypatch):
    """A step that this version does not have yet, with every kind of change."""
    home = copy("card-2")

    def up(root: Path) -> Plan:
        text = (root / "site.yaml").read_text().replace("version: 2", "version: 3")
        return Plan(
            Write("site.yaml", text.encode()),
            writes=(Write("statements/new.json", b"{}", 0o600), Write("spec.dsse", b"changed")),
            set_aside=(SetAside("certificates/tls.pem", "a test"), SetAside("missing", "a test")),
            dropped=(Drop("shards", "a test"),),
        )

    monkeypatch.setattr(steps, "FORMAT", 3)
    monkeypatch.setattr(steps, "STEPS", {**steps.STEPS, 2: Step(2, 3, up, up)})
    spec = home.spec_envelope.read_bytes()
    done = upgrade(home)
    assert (done.source, done.target) == (1, 3)
    assert home.spec_envelope.read_bytes() == b"changed"
    assert (home.backup(2) / "old" / "spec.dsse").read_bytes() == spec
    assert (home.root / "statements" / "new.json").stat().st_mode & 0o777 == 0o600
    assert (home.backup(2) / "old" / "certificates" / "tls.pem").is_file()
    assert not home.shards.exists()
    assert not home.upgrade_journal.exists()


def test_a_record_of_today_is_kept(fitted_home, tmp_path):
    """Homes of the last version before formats were counted differ by their number alone."""
    shutil.copytree(fitted_home, tmp_path / "home")
    home = Home(tmp_path / "home")
    record = read_fit_record(home)
    text = home.site_file.read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("version", "program"))]
    home.site_file.write_text("\n".join(["version: 1", *lines]))
    done = upgrade(home)
    assert (done.set_aside, done.dropped, done.to_do) == ({}, {}, [])
    assert read_fit_record(home) == record
    assert home.site_file.read_text() == text
    assert dataclasses.asdict(check_upgrade(home))["source"] == FORMAT
