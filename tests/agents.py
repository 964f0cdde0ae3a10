"""Running `ff-agent` as a process, as a user or a script would."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.warm import Warm, WarmProcess

COMMAND = [sys.executable, "-m", "client_agent.cli"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
WARM = Warm("agent", ENVIRONMENT)


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output; fails if there is anything else."""
        value: dict[str, Any] = json.loads(self.out)
        return value


def start_agent(
    home: Path, *arguments: object, before: str = "", longest_file: int | None = None
) -> "subprocess.Popen[str] | WarmProcess":
    """Start a command and return its process.

    Args:
        home: of the site.
        arguments: as on the command line.
        before: Python that is run first.
        longest_file: bytes that it may write to one file, as on a full disk.
    """
    words = [*map(str, arguments), "--home", str(home)]
    if WARM.suits(ENVIRONMENT):
        return WARM.start("client_agent.cli", words, before=before, longest_file=longest_file)
    return start_cold(*words)


def start_cold(*words: str) -> "subprocess.Popen[str]":
    """Start a command as `python -m`, with ENVIRONMENT as it is now."""
    return subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def finish(process: "subprocess.Popen[str] | WarmProcess") -> Finished:
    """Wait for a process."""
    out, err = process.communicate(timeout=240)
    assert process.returncode is not None
    return Finished(process.returncode, out, err)


def agent(home: Path, *arguments: object) -> Finished:
    """Run a command to its end."""
    return finish(start_agent(home, *arguments))


def agent_json(home: Path, *arguments: object) -> dict[str, Any]:
    """Run a command with --json; it must succeed."""
    done = agent(home, *arguments, "--json")
    assert done.code == 0, done.out + done.err
    return done.document
