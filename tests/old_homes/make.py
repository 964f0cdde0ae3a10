"""Makes homes with an earlier version of the programs: run once per version, the result is kept.

    git worktree add --detach /tmp/earlier COMMIT
    python tests/old_homes/make.py /tmp/earlier tests/old_homes/NAME.tar.xz [LEAVE_OUT]

A coordinator founds a federation of two classes of 8 x 8 digits and serves; two hospitals join,
train five steps, send, receive and fit, each by its command line. The archive holds `coordinator/`,
`hospital-1/` and `hospital-2/`. Its keys are for tests and protect nothing. TLS certificates are
issued for ten years here, so that the tests outlast the usual year.

| archive | commit | what it stands for |
|---|---|---|
| `card-1.tar.xz` | f444183 | cards of schema 1: no module of it can be used any more |
| `card-2.tar.xz` | 715777e | modules that hold, beside a classifier of an older format |

From `card-1.tar.xz` `hospital-1/classifier` is left out: the other one has such a file, too.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

SPEC = """
classes: [zero, one]
image: {size: 8, channels: 1}
synthesis: {samples_per_class: 40, batch_size: 16, threads: 1}
classifier: {epochs: 2, threads: 1}
"""
BEFORE = """
import datetime, socket, sys
import ff_protocol.certificates
ff_protocol.certificates.TLS_LIFETIME = datetime.timedelta(days=3650)
socket.gethostname = lambda: "coordinator"
"""
SMALLER = """
from dataclasses import replace
from client_agent.generator import presets
tiny = presets._TABLE["tiny"]
presets._TABLE["tiny"] = lambda *shape: replace(tiny(*shape), block_out_channels=(8, 8))
"""
"""A network of 60 kB instead of 900: nothing else about the module is another."""


def command(source: Path, lines: str) -> list[str]:
    """Return a command line that runs Python with an earlier version's packages."""
    folders = f"sys.path[:0] = {[str(source), str(source / 'proto')]!r}"
    return [sys.executable, "-c", "\n".join(("import sys", folders, BEFORE, lines))]


def calls(program: str, *lines: tuple[str, ...]) -> str:
    """Return Python that runs commands of a program one after another."""
    start = f"from {program}.cli import main"
    ends = "import click"
    return "\n".join(
        (
            *(start, ends, SMALLER if program == "client_agent" else ""),
            "def call(*words):",
            "    try:",
            "        main(words, standalone_mode=False)",
            "    except click.exceptions.Exit as end:",
            "        assert end.exit_code == 0, words",
            *(f"call(*{words!r})" for words in lines),
        )
    )


def make(source: Path, archive: Path, leave_out: str = "") -> None:
    """Make the homes and pack them."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        digits = load_digits()
        chosen = digits.target < 2
        np.savez(
            "digits.npz",
            train_images=np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)[..., None],
            train_labels=digits.target[chosen][:, None],
            class_names=np.array(["zero", "one"]),
        )
        Path("spec.yaml").write_text(SPEC)
        init = ("init", "--federation", "Earlier", "--spec", "spec.yaml", "--home", "coordinator")
        subprocess.run(command(source, calls("coordinator", init)), check=True)
        serve = ("serve", "--home", "coordinator", "--listen", "127.0.0.1:0", "--json")
        with subprocess.Popen(
            command(source, calls("coordinator", serve)), stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            endpoint = json.loads(server.stdout.readline())["listening"]
            try:
                sites(source, endpoint)
            finally:
                server.terminate()
        pack(archive, leave_out)


def pack(archive: Path, leave_out: str) -> None:
    """Pack the homes in the working folder."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return None if leave_out and member.name.startswith(leave_out) else member

    for path in Path().glob("hospital-*/training-images/*.json"):
        path.write_text(path.read_text().replace(str(Path.cwd()), "/data"))
    with tarfile.open(archive, "w:xz", preset=9) as stream:
        for name in ("coordinator", "hospital-1", "hospital-2"):
            stream.add(name, filter=anonymous)


def sites(source: Path, endpoint: str) -> None:
    """Have two hospitals take part."""
    names = {"hospital-1": "zero", "hospital-2": "one"}
    invite = ("invite", "--home", "coordinator", "--endpoint", endpoint)
    subprocess.run(
        command(
            source,
            calls("coordinator", *((*invite, site, "--output", f"{site}.json") for site in names)),
        ),
        check=True,
    )
    agent: list[tuple[str, ...]] = []
    for site, class_name in names.items():
        train = ("--classes", class_name, "--steps", "5", "--threads", "1")
        agent += [
            ("join", f"{site}.json", "--home", site),
            ("train", "--data", "digits.npz", "--home", site, *train),
            ("send", "--home", site),
        ]
    agent += [("receive", "--home", site) for site in names]
    agent.append(("fit", "--home", "hospital-1"))
    subprocess.run(command(source, calls("client_agent", *agent)), check=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), *sys.argv[3:])
