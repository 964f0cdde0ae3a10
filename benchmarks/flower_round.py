"""Federated averaging with Flower, no training: only what travels. Runs in Flower's environment.

python flower_round.py server PORT FOLDER WEIGHTS SITES ROUNDS
python flower_round.py client PORT FOLDER WEIGHTS

The server prints the wall seconds of each round: parameters out to every site, back, averaged.
"""

import json
import logging
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import flwr as fl  # noqa: E402
import numpy as np  # noqa: E402


def load(path):
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]


def serve(port, folder, weights, sites, rounds):
    seconds = []

    class Timed(fl.server.strategy.FedAvg):
        def configure_fit(self, *arguments, **options):
            self.began = time.monotonic()
            return super().configure_fit(*arguments, **options)

        def aggregate_fit(self, *arguments, **options):
            averaged = super().aggregate_fit(*arguments, **options)
            seconds.append(time.monotonic() - self.began)
            return averaged

    strategy = Timed(
        fraction_fit=1.0,
        fraction_evaluate=0.0,
        min_fit_clients=sites,
        min_available_clients=sites,
        initial_parameters=fl.common.ndarrays_to_parameters(load(weights)),
    )
    certificates = tuple(
        (folder / name).read_bytes() for name in ("root.pem", "server.pem", "server.key")
    )
    fl.server.start_server(
        server_address=f"127.0.0.1:{port}",
        config=fl.server.ServerConfig(num_rounds=rounds),
        strategy=strategy,
        certificates=certificates,
    )
    print(json.dumps({"seconds": seconds, "version": fl.__version__}), flush=True)


def take_part(port, folder, weights):
    held = load(weights)

    class Site(fl.client.NumPyClient):
        def get_parameters(self, config):
            return held

        def fit(self, parameters, config):
            return parameters, 100, {}

    fl.client.start_client(
        server_address=f"127.0.0.1:{port}",
        client=Site().to_client(),
        root_certificates=(folder / "root.pem").read_bytes(),
    )


if __name__ == "__main__":
    action, port, folder, weights, *rest = sys.argv[1:]
    if action == "server":
        serve(int(port), Path(folder), weights, *map(int, rest))
    else:
        take_part(int(port), Path(folder), weights)
