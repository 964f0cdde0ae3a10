"""The page on images: its files and commands do what it says."""

import json
import re
import shlex
import textwrap
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from client_agent.cli import main
from tests.dicom_files import PIXELS, make_dataset, write

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "images.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"^ *```{language}\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
    return textwrap.dedent(found[1])


COMMANDS = re.findall(r"^ff-agent (scan .*)$", PAGE, re.MULTILINE)


@pytest.fixture
def mnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The places that the guide speaks of."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FF_HOME", str(tmp_path / "no-home"))
    ward = tmp_path / "mnt" / "export" / "ward-3"
    write(make_dataset(PIXELS, BodyPartExamined="HGG", PatientID="4711"), ward / "0001")
    write(make_dataset(np.stack([PIXELS] * 3), BodyPartExamined="UNKLAR"), ward / "0002")
    (tmp_path / "mnt" / "table.csv").write_text(block("csv"))
    (tmp_path / "mnt" / "map.yaml").write_text(block("yaml"))
    return tmp_path / "mnt"


def test_there_are_commands_to_test() -> None:
    assert len(COMMANDS) == 4


@pytest.mark.parametrize("command", COMMANDS)
def test_every_scan_of_the_guide_runs(mnt: Path, command: str) -> None:
    words = [word.replace("/mnt", str(mnt)).replace("/tmp/sheet", f"{mnt}/sheet")
             for word in shlex.split(command)]  # fmt: skip
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    rows = {row["class_name"]: row["images"] for row in document["overview"]["rows"]}
    if "--labels" in words:
        assert rows == {"glioma": 1, "no-tumour": 1}
    elif "--label-tag" in words:
        assert rows == {"glioma": 1, "(left out)": 1}
        assert document["codes"]["glioma"][0]["value"] == "393564001"
    elif "--frame" in words:
        assert rows == {"ward-3": 4}
    else:
        assert rows == {"ward-3": 2}
        assert (mnt / "sheet.png").stat().st_mode & 0o777 == 0o600
