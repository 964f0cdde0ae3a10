"""Training against an adversary: what it shows the network, and that training is."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from client_agent.classifier.adversary import add_gradient  # noqa: E402
from client_agent.classifier.settings import ClassifierSettings  # noqa: E402
from client_agent.classifier.training import fit_classifier  # noqa: E402


class Recorder(torch.nn.Module):
    """A linear classifier that keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4 * 4 * 1, 3)
        self.shown: list[torch.Tensor] = []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.shown.append(pixels.detach().clone())
        return self.layer(pixels.flatten(1) / 255)


@pytest.fixture
def batch():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (6, 4, 4, 1)).astype(np.uint8)
    pixels[0], pixels[1] = 0, 255
    return torch.from_numpy(pixels), torch.arange(6) % 3


loss = torch.nn.CrossEntropyLoss()


def test_images_change_by_at_most_the_limit_stay_pixels_and_get_harder(batch):
    pixels, truth = batch
    network = Recorder()
    plain = add_gradient(network, pixels, truth, loss, 2.0)
    shown, changed = network.shown
    assert torch.equal(shown, pixels.float())
    assert (changed - shown).abs().max() == 2
    assert 0 <= changed.min() <= changed.max() <= 255
    assert plain == pytest.approx(loss(network(pixels.float()), truth).item())
    assert loss(network(changed), truth).item() > plain


def test_the_gradient_is_the_mean_of_both(batch):
    pixels, truth = batch
    network = Recorder()
    add_gradient(network, pixels, truth, loss, 2.0)
    added = network.layer.weight.grad.clone()
    parts = []
    for images in network.shown[:2]:
        network.zero_grad()
        loss(network(images), truth).backward()
        parts.append(network.layer.weight.grad.clone())
    torch.testing.assert_close(added, (parts[0] + parts[1]) / 2)


def test_without_a_limit_images_are_shown_once_as_they_are(batch):
    pixels, truth = batch
    network = Recorder()
    add_gradient(network, pixels, truth, loss, 0)
    assert len(network.shown) == 1
    added = network.layer.weight.grad.clone()
    network.zero_grad()
    loss(network(pixels.float()), truth).backward()
    assert torch.equal(added, network.layer.weight.grad)


def test_every_second_step_of_training_is_against_it():
    settings = ClassifierSettings()
    assert [settings.adversary_at(step) for step in range(4)] == [1, 0, 1, 0]
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (32, 8, 8, 1)).astype(np.uint8)
    labels = (np.arange(32) % 2).astype(np.int64)

    def weights(**changed: float) -> bytes:
        settings = ClassifierSettings(epochs=2, batch_size=16, threads=1, **changed)
        fitted = fit_classifier(images, labels, classes=("a", "b"), settings=settings)
        return b"".join(values.numpy().tobytes() for values in fitted.network.state_dict().values())

    as_it_is = weights()
    assert as_it_is == weights(adversary=1.0, adversary_every=2)
    assert len({as_it_is, weights(adversary=0), weights(adversary_every=1)}) == 3
