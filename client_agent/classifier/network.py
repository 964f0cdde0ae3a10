"""The residual network of the classifier: MONAI's `ResNet` (arXiv 1512.03385), shaped to the image.

The stem keeps small images whole and shrinks large ones, so that the first stage works on 8 to 64
pixels a side whatever the federation's image size is:

    size      8..32     33..64     65..128            129..256
    stem      stride 1  stride 2   stride 2, pooling  stride 2, pooling

Pixels enter as uint8; the mapping to [-1, 1] is part of the network and thereby of the exported
file, and needs no statistics of anybody's images.
"""

import torch
from monai.networks.nets.resnet import ResNet
from torch import Tensor, nn

from client_agent.classifier.settings import LARGEST_IMAGE, SMALLEST_IMAGE, ClassifierSettings
from client_agent.errors import DataError

_UNTOUCHED_UP_TO = 32
_UNPOOLED_UP_TO = 64


class ClassifierNetwork(nn.Module):
    """uint8 pixels in, one score a class out.

    Normalisation is by batch (arXiv 1502.03167): MONAI's stages offer no other.
    """

    def __init__(
        self, settings: ClassifierSettings, image_size: int, channels: int, classes: int
    ) -> None:
        """Build for images [image_size, image_size, channels].

        Raises:
            DataError: the image size or the number of channels is out of range.
        """
        super().__init__()
        if not SMALLEST_IMAGE <= image_size <= LARGEST_IMAGE or channels not in (1, 3):
            raise DataError(
                f"a classifier takes images of {SMALLEST_IMAGE} to {LARGEST_IMAGE} pixels in 1 or "
                f"3 channels, not {image_size} in {channels}"
            )
        self.classes = classes
        self.body = ResNet(
            block="basic",
            layers=list(settings.blocks),
            block_inplanes=list(settings.widths),
            spatial_dims=2,
            n_input_channels=channels,
            conv1_t_size=3,
            conv1_t_stride=1 if image_size <= _UNTOUCHED_UP_TO else 2,
            no_max_pool=image_size <= _UNPOOLED_UP_TO,
            shortcut_type="B",
            bias_downsample=False,
            num_classes=classes,
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Return scores float32 [n, classes] of `pixels` [n, H, W, C], uint8 or as float32."""
        return self.scores(self.features(pixels))

    def features(self, pixels: Tensor) -> Tensor:
        """Return what the last layer sees, float32 [n, widths[3]], of `pixels`."""
        body = self.body
        scaled = pixels.permute(0, 3, 1, 2).float() * (1 / 127.5) - 1.0
        hidden = body.act(body.bn1(body.conv1(scaled)))
        if not body.no_max_pool:
            hidden = body.maxpool(hidden)
        hidden = body.layer4(body.layer3(body.layer2(body.layer1(hidden))))
        return body.avgpool(hidden).flatten(1)

    def scores(self, features: Tensor) -> Tensor:
        """Return scores float32 [n, classes] of `features`."""
        last = self.body.fc
        assert last is not None, "built with num_classes"
        return last(features)


def build_network(
    settings: ClassifierSettings, image_size: int, channels: int, classes: int
) -> ClassifierNetwork:
    """Build with initial weights that depend on `settings.seed` alone.

    The global random state is as it was afterwards.

    Raises:
        DataError: as `ClassifierNetwork`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = ClassifierNetwork(settings, image_size, channels, classes)
    # Convolutions of few channels on a CPU are fastest in this layout.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
