"""Presets, preconditioning and the network's handling of odd shapes."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from client_agent.errors import UsageError  # noqa: E402
from client_agent.generator.network import (  # noqa: E402
    RawNetwork,
    denoising_loss,
    draw_sigma,
    precondition,
)
from client_agent.generator.presets import PRESET_NAMES, Preset, preset_for  # noqa: E402


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_every_size_is_padded_to_what_the_levels_divide(name: str):
    for size in range(8, 257):
        preset = preset_for(name, size, 3)
        grid = preset.padded_size // preset.patch
        assert (
            0
            <= preset.padded_size - size
            < preset.patch * 2 ** (len(preset.block_out_channels) - 1)
        )
        assert grid % 2 ** (len(preset.block_out_channels) - 1) == 0
        assert all(width % preset.norm_groups == 0 for width in preset.block_out_channels)


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_presets_survive_json(name: str):
    preset = preset_for(name, 28, 1)
    assert Preset.from_dict(json.loads(json.dumps(preset.to_dict()))) == preset


def test_unknown_names_and_shapes_are_refused():
    with pytest.raises(UsageError, match="'huge' is unknown") as caught:
        preset_for("huge", 28, 3)
    assert "tiny" in str(caught.value.hint)
    for size, channels in ((7, 1), (257, 3), (28, 2)):
        with pytest.raises(UsageError, match="no generator for images"):
            preset_for("tiny", size, channels)


@pytest.mark.parametrize("size", [8, 9, 15, 16, 28, 33])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiny_keeps_the_image_shape(size: int, channels: int):
    preset = preset_for("tiny", size, channels, block_out_channels=(8, 8), norm_groups=4)
    network = RawNetwork(preset).eval()
    scaled = torch.randn(3, channels, size, size)
    with torch.inference_mode():
        assert network(scaled, torch.zeros(1)).shape == scaled.shape
        assert network(scaled, torch.zeros(3)).dtype == torch.float32


@pytest.mark.parametrize(("name", "size"), [("small", 64), ("large", 128)])
def test_larger_presets_run(name: str, size: int):
    network = RawNetwork(preset_for(name, size, 3)).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, size, size), torch.zeros(1)).shape == (1, 3, size, size)


@pytest.mark.parametrize("sigma", [0.002, 0.1, 0.5, 3.0, 80.0])
def test_preconditioning_keeps_unit_variance(sigma: float):
    """EDM equations 114, 131 and 138: input and target of F have unit variance."""
    spread = 0.4
    k = precondition(sigma, spread)
    assert k.c_in**2 * (spread**2 + sigma**2) == pytest.approx(1)
    target_variance = (1 - k.c_skip) ** 2 * spread**2 + k.c_skip**2 * sigma**2
    assert target_variance / k.c_out**2 == pytest.approx(1)


def test_the_loss_is_the_weighted_error_of_the_denoiser():
    """lambda(sigma) ||D - y||^2 with D built from EDM's coefficients equals the loss of F."""
    preset = preset_for("tiny", 8, 1, block_out_channels=(8, 8), norm_groups=4)
    network, spread = RawNetwork(preset).eval(), 0.4
    clean, noise = torch.randn(5, 1, 8, 8) * spread, torch.randn(5, 1, 8, 8)
    sigma = torch.tensor([0.05, 0.2, 0.5, 2.0, 10.0])
    with torch.inference_mode():
        loss = denoising_loss(network, clean, sigma, noise, spread)
        errors = []
        for i, level in enumerate(sigma.tolist()):
            k = precondition(level, spread)
            x = clean[i : i + 1] + level * noise[i : i + 1]
            estimate = k.c_skip * x + k.c_out * network(k.c_in * x, torch.tensor([k.c_noise]))
            errors.append(((estimate - clean[i : i + 1]) ** 2).mean() / k.c_out**2)
    assert float(loss) == pytest.approx(float(torch.stack(errors).mean()), rel=1e-3)


def test_noise_levels_follow_the_log_normal_law():
    preset = preset_for("tiny", 8, 1)
    torch.manual_seed(0)
    drawn = torch.cat([draw_sigma(32, preset) for _ in range(200)]).log().numpy()
    assert np.mean(drawn) == pytest.approx(preset.P_mean, abs=0.02)
    assert np.std(drawn) == pytest.approx(preset.P_std, abs=0.02)
