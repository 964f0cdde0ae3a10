"""Turned images in training: the network is told, what it hands over is upright, nothing leaks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from client_agent.generator.frames import (  # noqa: E402
    FRAMES,
    FRESH_PASSES,
    GROWTH,
    MOST_TURNED,
    draw_frames,
    turn,
    turned_share,
)
from client_agent.generator.gaussian import fit_gaussian  # noqa: E402
from client_agent.generator.network import (  # noqa: E402
    RawNetwork,
    denoising_loss,
    network_inputs,
    upright,
)
from client_agent.generator.presets import preset_for  # noqa: E402
from client_agent.generator.privacy import PrivacyTarget, plan_privacy  # noqa: E402
from client_agent.generator.run import Run  # noqa: E402

PRESET = preset_for("tiny", 8, 1)


def pixels(count: int, seed: int = 0):
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def framed_network():
    """A framed network in which every weight, the frames' among them, says something."""
    torch.manual_seed(3)
    network = RawNetwork(PRESET, framed=True).eval()
    for values in network.parameters():
        torch.nn.init.normal_(values, std=0.1)
    return network


def test_fresh_images_are_upright_and_well_known_ones_mostly_turned():
    fresh = round(FRESH_PASSES * 96 / 16)
    assert turned_share(0, 16, 96) == turned_share(fresh, 16, 96) == 0
    assert turned_share(fresh + 6, 16, 96) == pytest.approx(GROWTH)
    assert turned_share(10**6, 16, 96) == MOST_TURNED < 1
    # A class ten times as large is turned as much after ten times the steps.
    assert turned_share(3000, 16, 960) == turned_share(300, 16, 96) > 0


@pytest.mark.parametrize("share", [0.0, 0.3, MOST_TURNED])
def test_frames_are_drawn_in_their_share_and_each_turn_as_often(share):
    torch.manual_seed(0)
    frames = draw_frames(20_000, share)
    assert (frames > 0).float().mean() == pytest.approx(share, abs=0.02)
    if share:
        counts = torch.bincount(frames, minlength=FRAMES)[1:]
        assert counts.min() > 0.85 * counts.max()


def test_the_eight_turns_differ_and_each_keeps_every_pixel():
    image = pixels(1)
    turned = turn(image.expand(FRAMES, -1, -1, -1), torch.arange(FRAMES))
    assert torch.equal(turned[0], image[0])
    assert len({values.numpy().tobytes() for values in turned}) == FRAMES
    for values in turned:
        assert torch.equal(values.flatten().sort()[0], image.flatten().sort()[0])


def test_a_framed_network_answers_by_the_frame_and_upright_unless_told():
    network, inputs = framed_network(), torch.cat([pixels(2), pixels(2, 1)], 1)
    level = torch.full((1,), 0.3)
    with torch.inference_mode():
        unsaid = network(inputs, level)
        assert torch.equal(unsaid, network(inputs, level, torch.zeros(2, dtype=torch.int64)))
        told = network(inputs, level, torch.tensor([0, 5]))
    assert torch.equal(unsaid[0], told[0])
    assert not torch.allclose(unsaid[1], told[1], atol=1e-3)


def test_what_is_handed_over_takes_no_frames_and_says_the_same_of_upright_images():
    network, inputs = framed_network(), torch.cat([pixels(3), pixels(3, 1)], 1)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    torch.manual_seed(9)
    state = torch.get_rng_state()
    plain = upright(network)
    assert torch.equal(torch.get_rng_state(), state)
    level = torch.full((1,), -0.2)
    with torch.inference_mode():
        assert torch.allclose(plain(inputs, level), network(inputs, level), atol=1e-6)
    assert set(plain.state_dict()) == set(RawNetwork(PRESET).state_dict())
    assert all(torch.equal(before[name], values) for name, values in network.state_dict().items())


def test_the_loss_of_turned_images_asks_for_the_turned_answer():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), np.uint8))
    gaussian = fit_gaussian(images)
    centred = images[:6].float() / 127.5 - 1 - gaussian.mean
    sigma, noise, frames = torch.full((6,), 0.2), pixels(6), torch.tensor([0, 1, 3, 4, 6, 7])
    x = centred + sigma[:, None, None, None] * noise
    estimate = gaussian.estimate(x, sigma)
    answer = (centred - estimate) / gaussian.error(sigma)[:, None, None, None]
    shown, _ = network_inputs(gaussian, x, estimate, sigma)

    def knows(inputs, _, told):
        # A network that recognises what it is shown and answers as it should: turned alike.
        assert torch.equal(inputs, turn(shown, frames))
        return turn(answer, told)

    loss = denoising_loss(knows, gaussian, centred, sigma, noise, frames)
    assert loss.item() == pytest.approx(0, abs=1e-10)


def test_private_training_turns_nothing_and_other_training_does():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), np.uint8))
    gaussian, place = fit_gaussian(images), torch.device("cpu")
    torch.manual_seed(0)
    for plan, framed in ((None, True), (plan_privacy(PrivacyTarget(8.0, 1e-3), 40, 5), False)):
        run = Run(PRESET, place, gaussian, 0, plan=plan)
        try:
            assert (run.network.unet.class_embedding is not None) == framed
            assert len(run._draw(images)) == 3 + framed
            assert run.finish().unet.class_embedding is None
        finally:
            run.gradients.close()
