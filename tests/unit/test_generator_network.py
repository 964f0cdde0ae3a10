"""Presets, preconditioning and the network's handling of odd shapes."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from client_agent.errors import UsageError  # noqa: E402
from client_agent.generator.gaussian import fit_gaussian  # noqa: E402
from client_agent.generator.network import (  # noqa: E402
    RawNetwork,
    denoising_loss,
    draw_sigma,
    network_inputs,
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
    inputs = torch.randn(3, 2 * channels, size, size)
    with torch.inference_mode():
        assert network(inputs, torch.zeros(1)).shape == (3, channels, size, size)
        assert network(inputs, torch.zeros(3)).dtype == torch.float32


@pytest.mark.parametrize(("name", "size"), [("small", 64), ("large", 128)])
def test_larger_presets_run(name: str, size: int):
    network = RawNetwork(preset_for(name, size, 3)).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 6, size, size), torch.zeros(1)).shape == (1, 3, size, size)


def test_the_loss_is_the_error_of_the_denoiser_as_a_share_of_the_linear_one():
    """||D - y||^2 / c_out^2 with D put together as the sampler does equals the loss of F."""
    preset = preset_for("tiny", 8, 1, block_out_channels=(8, 8), norm_groups=4)
    network = RawNetwork(preset).eval()
    data = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8)
    gaussian = fit_gaussian(data)
    clean, noise = data[:5].float() / 127.5 - 1 - gaussian.mean, torch.randn(5, 1, 8, 8)
    sigma = torch.tensor([0.05, 0.2, 0.5, 2.0, 10.0])
    with torch.inference_mode():
        loss = denoising_loss(network, gaussian, clean, sigma, noise)
        errors = []
        for i in range(5):
            level = sigma[i : i + 1]
            x = clean[i : i + 1] + level * noise[i : i + 1]
            linear = gaussian.estimate(x, level)
            raw = network(*network_inputs(gaussian, x, linear, level))
            error = linear + gaussian.error(level) * raw - clean[i : i + 1]
            errors.append((error**2).mean() / gaussian.error(level) ** 2)
    assert float(loss) == pytest.approx(float(torch.stack(errors).mean()), rel=1e-3)


@pytest.mark.parametrize("sigma", [0.02, 0.3, 1.0, 5.0])
def test_what_the_network_sees_is_scaled_to_about_one(sigma: float):
    data = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8)
    gaussian = fit_gaussian(data)
    centred = data.float() / 127.5 - 1 - gaussian.mean
    level = torch.tensor([sigma])
    x = centred + sigma * torch.randn(64, 1, 8, 8)
    inputs, _ = network_inputs(gaussian, x, gaussian.estimate(x, level), level)
    assert float(inputs[:, :1].std()) == pytest.approx(1.0, rel=0.05)
    assert float(inputs[:, 1:].std()) < 1.1


def test_noise_levels_follow_the_log_normal_law():
    preset = preset_for("tiny", 8, 1)
    torch.manual_seed(0)
    drawn = torch.cat([draw_sigma(32, preset) for _ in range(200)]).log().numpy()
    assert np.mean(drawn) == pytest.approx(preset.P_mean, abs=0.02)
    assert np.std(drawn) == pytest.approx(preset.P_std, abs=0.02)
