"""A trained generator in a file of its owner's, so that a module can be audited again later.

It holds what the module holds: the averaged weights in half precision and the class's Gaussian.
"""

import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from client_agent.errors import NotReadyError
from client_agent.generator.gaussian import ClassGaussian
from client_agent.generator.held_out import CurvePoint
from client_agent.generator.mixture import Mixture
from client_agent.generator.network import RawNetwork
from client_agent.generator.presets import Preset
from client_agent.generator.training import TrainedGenerator
from ff_protocol.files import write_atomically

FORMAT = "federated-factory/generator/2"
# Before there were mixtures: the same without one.
_READABLE = (FORMAT, "federated-factory/generator/1")


def save_generator(path: Path, trained: TrainedGenerator) -> None:
    """Write a generator with mode 0600.

    Raises:
        StorageError: the disk is full or not writable.
    """
    gaussian = trained.gaussian
    buffer = io.BytesIO()
    torch.save(
        {
            "format": FORMAT,
            "preset": trained.preset.to_dict(),
            # Exact: the weights were rounded when training ended.
            "network": {name: value.half() for name, value in trained.network.state_dict().items()},
            "gaussian": {
                "mean": gaussian.mean,
                "basis": gaussian.basis.half(),
                "variances": gaussian.variances,
                "rest": gaussian.rest,
                "sigma_data": gaussian.sigma_data,
                "mixture": gaussian.mixture and vars(gaussian.mixture),
            },
            "steps": trained.steps,
            "seconds": trained.seconds,
            "loss": trained.loss,
            "device": trained.device,
            "curve": [asdict(point) for point in trained.curve],
            "stopped_at": trained.stopped_at,
        },
        buffer,
    )
    write_atomically(path, buffer.getvalue(), mode=0o600)


def load_generator(path: Path) -> TrainedGenerator:
    """Invert `save_generator`, notices aside; runs no code from the file.

    Raises:
        NotReadyError: it is not there, damaged, or of another version.
    """
    hint = "train the class again: ff-agent train --retrain"
    try:
        value: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise NotReadyError(
            "the network behind this module is not here any more", hint=hint
        ) from error
    except Exception as error:  # torch reports damage through a dozen unrelated types
        raise NotReadyError(
            f"{path.name} is damaged ({type(error).__name__})", hint=hint
        ) from error
    if not isinstance(value, dict) or value.get("format") not in _READABLE:
        raise NotReadyError(f"{path.name} is of another version", hint=hint)
    preset = Preset.from_dict(value["preset"])
    network = RawNetwork(preset)
    network.load_state_dict({name: item.float() for name, item in value["network"].items()})
    gaussian = value["gaussian"]
    mixture = gaussian.get("mixture")
    return TrainedGenerator(
        preset=preset,
        network=network.eval(),
        gaussian=ClassGaussian(
            **{
                **gaussian,
                "basis": gaussian["basis"].float(),
                "mixture": mixture and Mixture(**mixture),
            }
        ),
        steps=value["steps"],
        seconds=value["seconds"],
        loss=value["loss"],
        device=value["device"],
        notices=(),
        curve=tuple(CurvePoint(**point) for point in value["curve"]),
        stopped_at=value["stopped_at"],
    )
