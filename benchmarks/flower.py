"""One round of federated averaging through Flower, beside ours, in an environment of its own."""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("flower_round.py")
ROUNDS = 4


@dataclass(frozen=True)
class FlowerRound:
    """Median seconds of a round after the first, and the bytes of the parameters one way."""

    seconds: float
    parameter_bytes: int
    version: str


def measure_round(folder: Path, sites: int, classes: int) -> FlowerRound | None:
    """Run Flower's server and `sites` clients over TLS on loopback; None without the package.

    Nobody trains: the clients send back what they got, so a round is transfer and averaging alone.

    Args:
        folder: holds root.pem, server.pem and server.key.
        sites: number of clients.
        classes: the classifier's number of classes.
    """
    with tempfile.TemporaryDirectory() as name:
        python = _environment(Path(name) / "flower")
        if python is None:
            return None
        weights = Path(name) / "weights.npz"
        parameter_bytes = _write_weights(weights, classes)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        arguments = [str(port), str(folder), str(weights)]
        quiet = {"stderr": subprocess.DEVNULL, "env": _bare_environment()}
        server = subprocess.Popen(
            [python, SCRIPT, "server", *arguments, str(sites), str(ROUNDS)],
            stdout=subprocess.PIPE,
            text=True,
            **quiet,
        )
        clients = [
            subprocess.Popen(
                [python, SCRIPT, "client", *arguments], stdout=subprocess.DEVNULL, **quiet
            )
            for _ in range(sites)
        ]
        try:
            out, _ = server.communicate(timeout=300)
        finally:
            for process in (server, *clients):
                process.kill()
                process.wait()
    document = json.loads(out.splitlines()[-1])
    seconds = statistics.median(document["seconds"][1:])
    return FlowerRound(seconds, parameter_bytes, document["version"])


def _environment(folder: Path) -> str | None:
    """Make a virtual environment with Flower: it conflicts with what the product pins."""
    given = os.environ.get("FLOWER_PYTHON")
    if given:
        return given
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = str(folder / "bin" / "python")
        command = [python, "-m", "pip", "install", "--quiet", "flwr", "numpy"]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return None
    return python


def _bare_environment() -> dict[str, str]:
    """Our import path must not leak into Flower's environment."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return kept | {"FLWR_TELEMETRY_ENABLED": "0"}


def _write_weights(path: Path, classes: int) -> int:
    """Write the product's classifier for 28 px colour images as arrays; return their bytes."""
    import numpy as np

    from client_agent.classifier.network import build_network
    from client_agent.classifier.settings import ClassifierSettings

    state = build_network(ClassifierSettings(), 28, 3, classes).state_dict()
    arrays = {name: values.numpy() for name, values in state.items()}
    np.savez(path, **arrays)
    return sum(values.nbytes for values in arrays.values())
