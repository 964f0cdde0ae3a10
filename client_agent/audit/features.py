"""Features for the audit: what a small network learns on site, with no downloaded weights.

With one class on site there is no second class to tell apart, so the network learns to tell apart
the images themselves: two disguises of one image (flipped, shifted, noisy, brighter, blurred) must
lie closer to each other than to any other image. That is instance discrimination (Exemplar-CNN,
Dosovitskiy et al., arXiv 1406.6909) with the contrastive loss of SimCLR (Chen et al., arXiv
2002.05709). It suits the audit better than predicting rotations, for cells and tissue have no
upright position, and than principal components, which keep what a disguise changes: docs/audit.md
has the figures.
Where other classes are on site, the same network also learns to tell the classes apart.

Training and held-out images take part alike. A network that had seen only the training images would
know them better, and the audit would take that for a leak.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from client_agent.audit.distances import shrink

FEATURES = 64
_STEPS = 80
_BATCH = 64
_TEMPERATURE = 0.2
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class SiteFeatures:
    """A trained feature network.

    Attributes:
        network: float32 [n, C, h, w] in [-1, 1] -> float32 [n, 64].
        head: features -> scores, one a class, the audited class first; None with one class on site.
    """

    network: nn.Module
    head: nn.Module | None

    @torch.inference_mode()
    def of(self, images: np.ndarray) -> Tensor:
        """Return features of unit length, float32 [n, 64], of uint8 [n, H, W, C]."""
        return _unit(torch.cat([self.network(part) for part in _scaled(images).split(_CHUNK)]))

    @torch.inference_mode()
    def classified_as_own(self, images: np.ndarray) -> np.ndarray:
        """Return whether each image is taken for the audited class, bool [n].

        Only where there are other classes.
        """
        assert self.head is not None
        return (self.head(self.of(images)).argmax(1) == 0).numpy()


def learn_features(
    own: np.ndarray,
    others: np.ndarray | None,
    labels: np.ndarray | None,
    *,
    seed: int,
) -> SiteFeatures:
    """Train the network; torch's global random state is left alone.

    Args:
        own: the audited class, training and held-out images in one, uint8 [n, H, W, C].
        others: images of other classes, uint8 [o, H, W, C], or None.
        labels: of `others`, any integers, [o].
        seed: of weights, batches and disguises.
    """
    own_data = _scaled(own)
    data, targets, classes = own_data, torch.zeros(len(own), dtype=torch.long), 1
    if others is not None and labels is not None and len(others):
        names, numbered = np.unique(labels, return_inverse=True)
        data = torch.cat([own_data, _scaled(others)])
        targets = torch.cat([targets, 1 + torch.tensor(numbered.ravel())])
        classes += len(names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, projector = _network(data.shape[1]), nn.Linear(FEATURES, FEATURES)
        head = nn.Linear(FEATURES, classes) if classes > 1 else None
        learnt = [network, projector] + ([head] if head else [])
        parameters = [values for module in learnt for values in module.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=3e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=_STEPS)
        for _ in range(_STEPS):
            batch = _draw(targets, classes)
            both = torch.cat([disguise(data[batch]), disguise(data[batch])])
            features = network(both)
            loss = _contrast(_unit(projector(features)))
            if head is not None:
                known = targets[batch].repeat(2)
                loss = loss + functional.cross_entropy(head(_unit(features)), known)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    return SiteFeatures(network, head)


def disguise(images: Tensor) -> Tensor:
    """Flip, shift, blur, brighten and roughen each image at random, float32 [n, C, h, w]."""
    n, _, height, width = images.shape
    mirrored = [images, images.flip(3), images.flip(2), images.flip((2, 3))]
    choice = torch.randint(0, 4, (n,))
    images = torch.stack(mirrored)[choice, torch.arange(n)]
    # One bilinear resampling does shift and blur: a fraction of a pixel mixes its neighbours.
    reach = 4 / min(height, width)
    moves = (torch.rand(n, 2) * 2 - 1) * reach
    angles = torch.eye(2).repeat(n, 1, 1)
    grid = functional.affine_grid(
        torch.cat([angles, moves[:, :, None]], 2), list(images.shape), align_corners=False
    )
    images = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    contrast = 1 + 0.2 * (torch.rand(n, 1, 1, 1) * 2 - 1)
    brightness = 0.2 * (torch.rand(n, 1, 1, 1) * 2 - 1)
    roughness = 0.15 * torch.rand(n, 1, 1, 1) * torch.randn_like(images)
    return images * contrast + brightness + roughness


def _network(channels: int) -> nn.Module:
    """Three strided convolutions and a mean over places: small enough for any site's processor."""

    def block(into: int, out: int) -> list[nn.Module]:
        return [nn.Conv2d(into, out, 3, 2, 1, bias=False), nn.GroupNorm(8, out), nn.ReLU()]

    return nn.Sequential(
        *block(channels, 32), *block(32, 64), *block(64, 128),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(512, FEATURES),
    )  # fmt: skip


def _draw(targets: Tensor, classes: int) -> Tensor:
    """Draw a batch without repeats; with several classes half of it is of the audited one."""
    if classes == 1:
        return torch.randperm(len(targets))[:_BATCH]
    own, others = (targets == 0).nonzero().ravel(), (targets != 0).nonzero().ravel()
    half = _BATCH // 2
    return torch.cat(
        [own[torch.randperm(len(own))[:half]], others[torch.randperm(len(others))[:half]]]
    )


def _contrast(projected: Tensor) -> Tensor:
    """NT-Xent (SimCLR, equation 1) of rows i and i + n/2, which show the same image."""
    scores = projected @ projected.T / _TEMPERATURE
    scores.fill_diagonal_(-torch.inf)
    half = len(projected) // 2
    partner = torch.arange(len(projected)).roll(half)
    return functional.cross_entropy(scores, partner)


def _scaled(images: np.ndarray) -> Tensor:
    return shrink(images) / 127.5 - 1


def _unit(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors, dim=1)
