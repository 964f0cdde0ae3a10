"""Several views of an image, each judged, and the answers multiplied: test-time augmentation.

A classifier that saw synthetic images errs a little otherwise on an image and on its mirror image.
Where the mirrored one could as well be a patient's, both together say more than either; where no
side of an image is up (cells, tissue, skin) all eight turns of a square may be asked. Nothing is
trained anew. Source: Krizhevsky, Sutskever and Hinton, NeurIPS 2012, section 4.1, who average the
probabilities; here it is their logarithms, as in a product of experts.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from client_agent.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ONE = "one"
MIRRORED = "mirrored"
TURNED = "turned"
VIEWS = {ONE: 1, MIRRORED: 2, TURNED: 8}
"""What may be asked for, and how many views of an image that is."""


def check_views(views: str) -> None:
    """Raise UsageError unless `views` is a key of VIEWS."""
    if views not in VIEWS:
        raise UsageError(f"views {views!r} are unknown", hint=f"say {', '.join(VIEWS)}")


def views_of(images: "NDArray[np.uint8]", views: str) -> "Iterator[NDArray[np.uint8]]":
    """Yield all images in one view after the other: as they are, mirrored left to right, turned.

    Args:
        images: [n, H, H, C].
        views: a key of VIEWS.

    Yields:
        uint8 [n, H, H, C], contiguous: torch reads no array backwards.
    """
    import numpy as np  # the command line reads the names above and must stay quick

    for number in range(VIEWS[views]):
        turned = np.rot90(images, number // 2, (1, 2))
        yield np.ascontiguousarray(turned[:, :, ::-1] if number % 2 else turned)
