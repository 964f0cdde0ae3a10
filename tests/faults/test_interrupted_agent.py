"""Killing, stopping and starving `ff-agent` processes: a rerun ends as an undisturbed run does."""

import resource
import shutil
import signal
import time

import pytest

from client_agent.home import Home
from client_agent.registry.modules import own_modules, place
from client_agent.site import open_site
from ff_protocol.files import StorageError
from ff_protocol.manifest import describe_module
from tests.agents import Finished, agent, agent_json, finish, start_agent
from tests.federation import make_federation
from tests.homes import UNAUDITED

SPEC = {
    "classes": ["zero", "one", "two"],
    "image": {"size": 8, "channels": 1},
    "synthesis": {"samples_per_class": 40, "batch_size": 16, "threads": 1},
    "classifier": {"epochs": 2, "threads": 1},
}
STEPS = 120
# `train` as a process, with checkpoints every fifth of a second instead of every minute.
IMPATIENT = (
    "import client_agent.generator.training as t;"
    "t.train_generator.__kwdefaults__['checkpoint_every_seconds'] = 0.2"
)


def one_clear_line(finished: Finished) -> str:
    """The single `error:` line of a command that failed as foreseen."""
    assert "Traceback" not in finished.err, finished.err
    (line,) = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    return line


def limited(home, limit: int, *arguments: object) -> Finished:
    """Run a command that may write no file longer than `limit` bytes, as on a full disk."""
    return finish(start_agent(home, *arguments, longest_file=limit))


def until(condition, process, seconds: float = 60) -> None:
    """Wait until `condition()` holds while the process is at work."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.02)


def parts(home) -> list:
    """Temporary files that a writer left behind."""
    return list(home.rglob("*.part"))


@pytest.fixture
def home(trained_homes, tmp_path):
    """A copy of a home with one trained module, not sent yet."""
    shutil.copytree(trained_homes["hospital-1"], tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def untrained(authority, tmp_path):
    """A home that has only joined."""
    authority.join(tmp_path / "untrained", "hospital-1").home.policy_file.write_text(UNAUDITED)
    return tmp_path / "untrained"


@pytest.fixture(scope="module")
def stocked(trained_homes, authority, tmp_path_factory):
    """A home that holds every site's module, admitted, and nothing made from them."""
    folder = tmp_path_factory.mktemp("stocked") / "home"
    shutil.copytree(trained_homes["hospital-1"], folder)
    for source in trained_homes.values():
        for module in own_modules(Home(source)).values():
            place(module, Home(folder).admitted(describe_module(module)[0]), copy=True)
    return folder


@pytest.fixture(scope="module")
def undisturbed(stocked, tmp_path_factory):
    """What `fit` makes of that home when nothing goes wrong: the classifier's bytes."""
    folder = tmp_path_factory.mktemp("undisturbed") / "home"
    shutil.copytree(stocked, folder)
    agent_json(folder, "fit")
    return (folder / "classifier" / "classifier.onnx").read_bytes()


@pytest.fixture
def full(stocked, tmp_path):
    """A copy of that home."""
    shutil.copytree(stocked, tmp_path / "full")
    return tmp_path / "full"


def checkpoints(home) -> list:
    return list((home / "training").rglob("*.pt"))


def training(digits) -> tuple:
    named = ("train", "--data", digits, "--classes", "zero", "--threads", 1, "--no-audit")
    return (*named, "--steps", STEPS)


def interrupt_training(home, digits, number: signal.Signals) -> Finished:
    """Signal a training that has written a checkpoint and goes on."""
    process = start_agent(home, *training(digits), before=IMPATIENT)
    until(lambda: checkpoints(home), process)
    process.send_signal(number)
    return finish(process)


def go_on(home, digits) -> bytes:
    """Finish the training; it must have taken up the checkpoint. Return the generator's bytes."""
    import torch

    (path,) = checkpoints(home)
    state = torch.load(path, weights_only=True)
    assert 0 < state["step"] < STEPS
    # The clock runs on from the checkpoint's: the record shows whether that one was taken up.
    torch.save(state | {"seconds": state["seconds"] + 5000}, path)
    agent_json(home, *training(digits))
    assert not checkpoints(home)
    entries = agent_json(home, "log")["entries"]
    (trained,) = [entry["details"] for entry in entries if entry["event"] == "trained"]
    assert trained["steps"] == STEPS
    assert trained["seconds"] >= 5000
    return (home / "outbox" / "zero" / "module.onnx").read_bytes()


@pytest.fixture(scope="module")
def undisturbed_module(authority, digits, tmp_path_factory):
    """The generator that the training makes when nothing goes wrong."""
    folder = tmp_path_factory.mktemp("undisturbed-training")
    authority.join(folder, "hospital-1").home.policy_file.write_text(UNAUDITED)
    agent_json(folder, *training(digits))
    return (folder / "outbox" / "zero" / "module.onnx").read_bytes()


def test_ctrl_c_in_training_is_one_line_and_the_rerun_makes_the_same_generator(
    untrained, digits, undisturbed_module
):
    stopped = interrupt_training(untrained, digits, signal.SIGINT)
    assert stopped.code == 130, stopped.err
    assert one_clear_line(stopped) == "error: interrupted"
    assert "hint: run the same command again" in stopped.err
    assert agent(untrained, "status").code == 0
    assert go_on(untrained, digits) == undisturbed_module


def test_a_killed_training_goes_on_from_its_checkpoint_to_the_same_generator(
    untrained, digits, undisturbed_module
):
    assert interrupt_training(untrained, digits, signal.SIGKILL).code == -signal.SIGKILL
    assert go_on(untrained, digits) == undisturbed_module


def record(home) -> list[str]:
    path = home / "log.jsonl"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("moment", ["shards", "classifier"])
def test_a_fit_that_was_killed_ends_with_the_same_bytes_when_rerun(full, undisturbed, moment):
    process = start_agent(full, "fit")
    until(lambda: len(list(full.glob("shards/*"))) == (1 if moment == "shards" else 3), process)
    if moment == "classifier":
        until(lambda: any("synthesised" in line for line in record(full)), process)
    process.kill()
    finish(process)
    agent_json(full, "fit")
    assert (full / "classifier" / "classifier.onnx").read_bytes() == undisturbed


def test_two_commands_at_once_on_one_home_are_one_too_many(home):
    with open_site(Home(home)).exclusive():
        second = agent(home, "fit")
    assert second.code == 2
    assert "another ff-agent command is at work" in one_clear_line(second)


def test_a_coordinator_that_is_down_is_one_line_and_a_json_document(home):
    failed = agent(home, "send")
    assert failed.code == 4
    assert "127.0.0.1:1" in one_clear_line(failed)
    assert "hint: " in failed.err
    document = agent(home, "send", "--json").document
    assert (document["status"], document["error_code"]) == ("error", "network")
    assert document["exit_code"] == 4
    assert document["hint"]


# -- the disk -----------------------------------------------------------------


def test_a_disk_that_fills_while_a_module_is_packed_leaves_no_half_module(untrained, digits):
    command = (*training(digits)[:-2], "--steps", 3)
    failed = limited(untrained, 300_000, *command)
    assert failed.code == 8, failed.err
    assert "cannot write" in one_clear_line(failed)
    assert agent_json(untrained, "status")["outbox"] == {}
    assert not parts(untrained)
    agent_json(untrained, *command)
    assert (untrained / "outbox" / "zero" / "module.sig").is_file()


def test_a_disk_that_fills_while_synthesising_or_fitting_costs_nothing(full, undisturbed):
    for limit, command in ((500, "synthesise"), (20_000, "fit")):
        failed = limited(full, limit, command)
        assert failed.code == 8, (command, failed.err)
        assert "cannot write" in one_clear_line(failed)
        assert not parts(full)
    agent_json(full, "fit")
    assert (full / "classifier" / "classifier.onnx").read_bytes() == undisturbed


def test_a_disk_that_fills_under_the_record_leaves_the_record_whole(full):
    agent_json(full, "synthesise")
    record = full / "log.jsonl"
    before = record.read_bytes()
    site = open_site(Home(full))
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 40, old[1]))
    try:
        with pytest.raises(StorageError, match="larger than"):
            site.log.append("tested")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert record.read_bytes().startswith(before)
    count = site.log.verify()
    site.log.append("tested")
    assert site.log.verify() == count + 1


def test_a_home_that_cannot_be_written_is_exit_code_8(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with make_federation(tmp_path, SPEC) as federation:
        failed = agent(tmp_path / "file" / "home", "join", federation.invite("st-anna"))
    assert failed.code == 8, failed.err
    assert "cannot write" in one_clear_line(failed)


# -- invitations and federations ----------------------------------------------


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with make_federation(tmp_path_factory.mktemp("federation"), SPEC) as running:
        yield running


def test_invitations_that_expired_were_used_or_damaged_are_refused(federation, tmp_path):
    brief = federation.invite("st-anna", valid="1s")
    time.sleep(1.1)
    expired = agent(tmp_path / "late", "join", brief)
    assert expired.code == 5
    assert "expired" in one_clear_line(expired)

    once = federation.invite("st-berta")
    agent_json(tmp_path / "first", "join", once)
    assert agent_json(tmp_path / "first", "join", once)["already"] is True
    used = agent(tmp_path / "second", "join", once)
    assert used.code == 5
    assert "used" in one_clear_line(used)
    assert not (tmp_path / "second" / "site.yaml").exists()

    text = federation.invite("st-clara").read_text()
    for number, damaged in enumerate((text[:-40], "", "{}", text.replace("st-clara", "st-dora"))):
        file = tmp_path / f"damaged-{number}.json"
        file.write_text(damaged)
        refused = agent(tmp_path / f"home-{number}", "join", file)
        assert refused.code in (5, 6), (damaged[:20], refused.err)
        one_clear_line(refused)
        assert not (tmp_path / f"home-{number}" / "site.yaml").exists()
    missing = agent(tmp_path / "none", "join", tmp_path / "missing.json")
    assert missing.code == 2
    assert "missing.json" in one_clear_line(missing)


def test_a_site_of_another_federation_is_turned_away_and_after_a_restart_work_goes_on(
    federation, tmp_path
):
    with make_federation(tmp_path, SPEC) as other:
        site = tmp_path / "site"
        agent_json(site, "join", other.invite("st-anna"))
        own = other.endpoint
        file = site / "site.yaml"
        text = file.read_text()
        file.write_text(text.replace(own, federation.endpoint))
        stranger = agent(site, "receive")
        assert stranger.code in (4, 5)
        one_clear_line(stranger)
        file.write_text(text)
        agent_json(site, "receive")
        other.servers[-1].kill()
        down = agent(site, "receive")
        assert down.code == 4
        one_clear_line(down)
        other.start(own)
        agent_json(site, "receive")


# -- edited files -------------------------------------------------------------


def test_edited_files_of_the_home_are_refused(home):
    for name, old, new in (
        ("site.yaml", b"federation_id: t", b"federation_id: u"),
        ("federation-ca.pem", b"MII", b"MIJ"),
        ("spec.dsse", b'"payload":"e', b'"payload":"f'),
        ("log.jsonl", b'"sequence":1', b'"sequence":7'),
    ):
        (path,) = home.rglob(name)
        before = path.read_bytes()
        edited = before.replace(old, new, 1)
        assert edited != before, name
        path.write_bytes(edited)
        refused = agent(home, *(("log", "--verify") if name == "log.jsonl" else ("status",)))
        assert refused.code == 5, (name, refused.err)
        one_clear_line(refused)
        path.write_bytes(before)
    assert agent(home, "status").code == 0


def test_a_record_whose_last_line_is_not_one_stops_with_a_clear_line(full):
    with (full / "log.jsonl").open("ab") as stream:
        stream.write(b"scribble\n")
    refused = agent(full, "synthesise")
    assert refused.code == 5, refused.err
    assert "log.jsonl" in one_clear_line(refused)
