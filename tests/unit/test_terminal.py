"""What people see: completion that works, plain text in pipes, lines that wrap on a terminal."""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from client_agent.text import bar, shorten_digests
from tests.agents import COMMAND

PROGRAM = Path(sys.executable).parent / "ff-agent"


def test_bash_completes_commands_and_options():
    bash = shutil.which("bash")
    if bash is None or not PROGRAM.is_file():
        pytest.skip("needs bash and ff-agent beside this Python")
    script = f"""
        export PATH={PROGRAM.parent}:$PATH
        eval "$(ff-agent completion bash)"
        complete -p ff-agent
        complete_words() {{
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _ff_agent_completion ff-agent
        }}
        complete_words ff-agent pre; echo "commands: ${{COMPREPLY[@]}}"
        complete_words ff-agent report --sh; echo "options: ${{COMPREPLY[@]}}"
        complete_words ff-agent completion ''; echo "choices: ${{COMPREPLY[@]}}"
    """
    done = subprocess.run([bash, "--norc", "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    assert "_ff_agent_completion ff-agent" in done.stdout
    assert "commands: predict\n" in done.stdout
    assert "options: --shareable\n" in done.stdout
    assert "choices: bash zsh fish\n" in done.stdout


@pytest.mark.parametrize(("shell", "word"), [("zsh", "#compdef"), ("fish", "complete")])
def test_other_shells_get_their_script(shell, word):
    done = subprocess.run([*COMMAND, "completion", shell], capture_output=True, text=True)
    assert done.returncode == 0
    assert word in done.stdout
    if program := shutil.which(shell):
        checked = subprocess.run([program, "-n", "-c", done.stdout], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr


def on_terminal(home: Path, *arguments: str, **environment: str) -> str:
    """Run a command on a pseudo-terminal of 80 columns; return what appears on it."""
    leader, follower = pty.openpty()
    done = subprocess.run(
        [*COMMAND, *arguments, "--home", str(home)],
        stdout=follower,
        stderr=follower,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm-256color", **environment},
    )
    os.close(follower)
    assert done.returncode in (0, 4)
    parts = []
    try:
        while part := os.read(leader, 65536):
            parts.append(part)
    except OSError:  # the terminal's other end is closed: that is its end of file
        pass
    os.close(leader)
    return b"".join(parts).decode()


@pytest.fixture(scope="module")
def home(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("terminal") / "home"
    authority.join(folder, "hospital-9")
    return folder


def test_colour_is_for_terminals_and_can_be_turned_off(home):
    coloured = on_terminal(home, "doctor")
    assert "\x1b[32mok" in coloured
    assert "\x1b[1;31mWRONG" in coloured
    for plain in (
        on_terminal(home, "doctor", "--no-color"),
        on_terminal(home, "doctor", NO_COLOR="1"),
    ):
        assert "\x1b[" not in plain
        assert "WRONG port" in plain


def test_lines_stay_within_the_terminal(home):
    for command in ("status", "doctor", "log"):
        shown = on_terminal(home, command, "--no-color")
        longest = [line for line in shown.splitlines() if len(line) > 80]
        assert [line for line in longest if " " in line.strip()[:80]] == []


def test_bars_and_digests():
    assert bar(0) == " " * 20
    assert bar(1, 4) == "████"
    assert bar(0.5, 4) == "██  "
    assert bar(0.53125, 4) == "██▏ "
    assert bar(7, 4) == "████"
    digest = "0123456789abcdef" * 4
    assert shorten_digests(f"module={digest} x") == "module=0123456789ab x"
    assert shorten_digests("cafe") == "cafe"
