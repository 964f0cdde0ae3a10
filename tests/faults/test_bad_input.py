"""Images, options and configuration given by clumsy hands: one clear line, the right code."""

from pathlib import Path

import numpy as np
import pytest

from tests.agents import Finished, agent, agent_json
from tests.homes import UNAUDITED

BRIEF = ("--steps", 3, "--threads", 1, "--no-audit")


@pytest.fixture
def home(authority, tmp_path):
    authority.join(tmp_path / "home", "hospital-1").home.policy_file.write_text(UNAUDITED)
    return tmp_path / "home"


def pictures(folder: Path, count: int, broken: int = 0) -> Path:
    """A folder of one class: noise as PNG files, and files that only claim to be."""
    from PIL import Image

    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = generator.integers(0, 256, (9, 9), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"image-{number:04d}.png")
    for number in range(broken):
        (folder / f"broken-{number:04d}.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    return folder.parent


def failed(home: Path, code: int, *arguments: object) -> str:
    """Run a command that must end with `code` and one clear line; return that line."""
    finished: Finished = agent(home, *arguments)
    assert finished.code == code, finished.out + finished.err
    assert "Traceback" not in finished.err
    assert finished.out == ""
    (line,) = [line for line in finished.err.splitlines() if line.lower().startswith("error: ")]
    return line


def test_one_unreadable_image_among_many_is_skipped_counted_and_named(home, tmp_path):
    data = pictures(tmp_path / "images" / "zero", 60, broken=1)
    trained = agent_json(home, "train", "--data", data, *BRIEF)
    ((name, reason),) = trained["skipped"]
    assert "broken-0000.png" in name
    assert reason
    assert [module["class_name"] for module in trained["modules"]] == ["zero"]


def test_more_than_five_percent_unreadable_stops(home, tmp_path):
    data = pictures(tmp_path / "images" / "zero", 60, broken=4)
    line = failed(home, 3, "train", "--data", data, *BRIEF)
    assert "broken-0000.png" in line
    assert not list((home / "outbox").glob("*"))


def test_unknown_and_empty_classes_are_named(home, tmp_path, digits):
    data = pictures(tmp_path / "images" / "zero", 20)
    (data / "two").mkdir()
    assert "two" in failed(home, 3, "train", "--data", data, "--classes", "zero,two", *BRIEF)
    assert "nine" in failed(home, 3, "train", "--data", digits, "--classes", "nine", *BRIEF)
    pictures(tmp_path / "images" / "unheard-of", 2)
    assert "unheard-of" in failed(home, 3, "train", "--data", data, *BRIEF)


def test_missing_data_is_explained(home, tmp_path):
    assert "--data is missing" in failed(home, 2, "train")
    assert "no such file" in failed(home, 3, "train", "--data", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "empty" in failed(home, 3, "train", "--data", tmp_path / "empty")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stepz: 5", ("stepz",)),
        ("steps: many", ("steps", "many", "integer")),
        ("threads: 0", ("threads", "0", "1")),
        ("device: gpu", ("device", "gpu", "cuda")),
        ("budget: soon", ("budget", "soon")),
        ("steps: [", ("config.yaml",)),
        ("- steps", ("config.yaml",)),
    ],
)
def test_a_wrong_configuration_names_key_value_and_what_was_expected(home, text, words):
    (home / "config.yaml").write_text(text)
    line = failed(home, 10, "train")
    for word in words:
        assert word in line, line


def test_a_flag_beats_the_configuration_file(home, digits):
    (home / "config.yaml").write_text(
        f"data: {digits}\nclasses: zero\nsteps: 3\nthreads: 1\nseed: 5\n"
    )
    agent_json(home, "train", "--classes", "one", "--no-audit")
    assert [path.name for path in (home / "outbox").iterdir() if path.name[0] != "."] == ["one"]
    assert agent_json(home, "log")["entries"][-1]["details"]["steps"] == 3


def test_a_named_configuration_file_is_read_and_must_be_there(home, tmp_path):
    other = tmp_path / "other.yaml"
    assert "other.yaml" in failed(home, 10, "train", "--config", other)
    other.write_text("classes: nine\ndata: nowhere\n")
    assert "nowhere" in failed(home, 3, "train", "--config", other)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("fit",), 7),
        (("synthesise",), 7),
        (("send",), 7),
        (("evaluate", "--data", "."), 7),
        (("predict", "--data", "."), 7),
        (("inspect", "nothing"), 2),
        (("revoke", "0123456789ab"), 2),
        (("receive", "--timeout", "soon"), 10),
    ],
)
def test_a_step_before_its_time_says_which_comes_first(home, command, code):
    failed(home, code, *command)


def test_a_home_that_never_joined_names_the_command_to_run(tmp_path):
    finished = agent(tmp_path / "nowhere", "status")
    assert finished.code == 7
    assert "ff-agent join" in finished.err
    assert not (tmp_path / "nowhere").exists()
