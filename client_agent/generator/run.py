"""What changes while a generator is trained: weights, their average, optimiser, clock, losses.

One step draws all its randomness from (seed, step), so that a run restored from its state goes on
exactly as one that was never stopped.
"""

import copy
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from client_agent.errors import TrainingError
from client_agent.generator.frames import draw_frames, turned_share
from client_agent.generator.gaussian import ClassGaussian
from client_agent.generator.gradients import BatchGradients
from client_agent.generator.held_out import CurvePoint, Watch, evaluation_interval, memorises, merit
from client_agent.generator.muon import make_optimisers
from client_agent.generator.network import RawNetwork, denoising_loss, draw_sigma, upright
from client_agent.generator.presets import Preset
from client_agent.generator.privacy import PrivacyPlan
from client_agent.generator.private_gradients import NOISE_MULTIPLICITY, PrivateGradients

_LOSS_MEMORY = 0.98
# A step that no run reaches: the randomness of the watch.
_WATCH = 2**32 - 1


class Run:
    """What changes while training: weights, their average, optimiser, step, clock, losses.

    Args:
        preset: network and recipe.
        device: where to compute.
        gaussian: of the class.
        seed: of batches and noise; under `plan` a secret.
        parts: what is trained on and what is held out, uint8 [n, C, H, W]; None watches nothing.
        most_membership: bound of `Watch.membership`; None where it is not judged.
        plan: of a private training.
    """

    def __init__(
        self,
        preset: Preset,
        device: torch.device,
        gaussian: ClassGaussian,
        seed: int,
        parts: tuple[Tensor, Tensor] | None = None,
        most_membership: float | None = None,
        plan: PrivacyPlan | None = None,
    ) -> None:
        self.preset, self.device, self.seed = preset, device, seed
        self.gaussian = gaussian.to(device)
        # No frames in a private training: its few steps see no image often.
        self.network = RawNetwork(preset, framed=plan is None).to(device)
        # Channels-last is what convolutions on both kinds of device are fastest in.
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network)
        self.optimisers = make_optimisers(self.network, preset)
        # On processors bf16 pays for wide networks only; the preset knows (docs/recipe.md).
        self.autocast = (preset.bf16 or device.type == "cuda") and _has_bf16(device)
        threads = torch.get_num_threads() if device.type == "cpu" else 1
        self.plan = plan
        self.gradients = (
            BatchGradients(self.network, preset.batch_size, threads)
            if plan is None
            else PrivateGradients(self.network, plan, threads)
        )
        self.step, self.seconds, self.loss = 0, 0.0, 1.0
        self.curve: list[CurvePoint] = []
        self.best: dict[str, Tensor] | None = None
        self._most_membership = most_membership
        self._watch = None
        if parts is not None:
            self._watch = Watch(*parts, self.gaussian, preset, device, step_seed(seed, _WATCH))

    def take_step(self, data: Tensor, fraction: float) -> None:
        """Train on one batch; `fraction` of the budget has been used before it."""
        preset = self.preset
        torch.manual_seed(step_seed(self.seed, self.step + 1))
        value = self.gradients.fill(self._loss, *self._draw(data))
        if not np.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {self.step + 1} (peak_lr {preset.peak_lr})",
                hint="lower the preset's peak_lr; the last good checkpoint was kept",
            )
        warm = min(1.0, (self.step + 1) / preset.warmup_steps)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak_lr"] * warm * (1.0 - fraction)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self._update_average()
        memory = min(_LOSS_MEMORY, 1 - 1 / self.step)
        self.loss = memory * self.loss + (1 - memory) * value

    def _draw(self, data: Tensor) -> tuple[Tensor, ...]:
        """Draw a step's images minus mu, noise levels, noise and, unless private, frames."""
        if self.plan is None:
            batch = _draw_batch(len(data), self.preset.batch_size)
        else:
            # Poisson sampling is what the accountant reckons with.
            batch = torch.nonzero(torch.rand(len(data)) < self.plan.sample_rate)[:, 0]
        centred = data[batch].to(self.device).float() / 127.5 - 1 - self.gaussian.mean
        if self.plan is not None:
            centred = centred[:, None].expand(-1, NOISE_MULTIPLICITY, -1, -1, -1)
        shape = centred.shape[:-3]
        sigma = self.gaussian.sigma_data * draw_sigma(shape.numel(), self.preset, self.device)
        drawn = centred, sigma.reshape(shape), torch.randn(centred.shape, device=self.device)
        if self.plan is not None:
            return drawn
        share = turned_share(self.step, self.preset.batch_size, len(data))
        return *drawn, draw_frames(len(centred), share, self.device)

    def _loss(self, network: RawNetwork, *drawn: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return denoising_loss(network, self.gaussian, *drawn)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Power-function average of weights, arXiv 2312.02696 equation 8."""
        fresh = 1 - (1 - 1 / self.step) ** (self.preset.ema_gamma + 1)
        torch._foreach_lerp_(
            list(self.average.parameters()), list(self.network.parameters()), fresh
        )

    @property
    def interval(self) -> int:
        """Steps between two evaluations."""
        if self._watch is None:
            return evaluation_interval(self.preset)
        return evaluation_interval(self.preset, self._watch.passes)

    def evaluate(self) -> None:
        """Add a point to the learning curve; keep the weights if none before did as well."""
        point = CurvePoint(self.step, self.seconds, self.loss)
        if self._watch is not None:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
                point = replace(
                    point,
                    held_out_loss=self._watch.loss(self.average),
                    membership=self._watch.membership(self.average),
                )
        self.curve.append(point)
        if self._watch is not None and self.kept is point:
            self.best = copy.deepcopy(self.average.state_dict())

    @property
    def kept(self) -> CurvePoint:
        """The moment whose weights are handed over: the best one, the later of equals."""
        return min(reversed(self.curve), key=lambda point: merit(point, self._most_membership))

    @property
    def memorises(self) -> bool:
        """Whether training has come to memorise for good."""
        return memorises(self.curve, self._most_membership)

    def finish(self) -> RawNetwork:
        """Return the averaged weights of the moment `kept`, on the processor, in eval mode."""
        if self.best is not None:
            self.average.load_state_dict(self.best)
        network = self.average.cpu()
        return (upright(network) if self.plan is None else network).eval()

    def check_finite(self) -> None:
        """Raise TrainingError when a step with a finite loss still left weights that are not."""
        if not all(bool(values.isfinite().all()) for values in self.average.parameters()):
            raise TrainingError(
                f"weights are not finite after step {self.step} (peak_lr {self.preset.peak_lr})",
                hint="lower the preset's peak_lr; the last good checkpoint was kept",
            )

    def state(self, fingerprint: str) -> dict[str, Any]:
        """Tensors and plain values, enough to go on exactly."""
        return {
            "fingerprint": fingerprint,
            "seed": f"{self.seed:x}",
            "step": self.step,
            "seconds": self.seconds,
            "loss": self.loss,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "curve": [asdict(point) for point in self.curve],
            "best": self.best,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Invert `state`."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.loss = float(state["loss"])
        self.curve = [CurvePoint(**point) for point in state["curve"]]
        best = state["best"]
        self.best = best and {name: value.to(self.device) for name, value in best.items()}


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _draw_batch(count: int, size: int) -> Tensor:
    """Indices without repeats inside a batch unless the class is smaller than the batch."""
    rounds = -(-size // count)
    return torch.cat([torch.randperm(count) for _ in range(rounds)])[:size]


def step_seed(seed: int, step: int) -> int:
    """One independent 63-bit seed a step; step 0 is the initial weights."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)
