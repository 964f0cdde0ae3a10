"""Ask the modules that the classifier in use was made from what they say of images."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from client_agent.progress import SILENT, Progress
from client_agent.site import Site
from client_agent.steps.made_from import modules_of

if TYPE_CHECKING:
    from client_agent.classifier.prediction import ClassifierFile


def gather_evidence(
    site: Site,
    classifier: "ClassifierFile",
    images: NDArray[np.uint8],
    progress: Progress = SILENT,
) -> NDArray[np.float64]:
    """Return what the modules say of each image, by class; see `evidence.judgement`.

    Args:
        site: whose modules.
        classifier: in use there.
        images: uint8 [n, H, W, C], prepared for it.
        progress: watches.

    Returns:
        logarithms, float64 [n, k], in the order of the classifier's classes.

    Raises:
        NotReadyError: other modules are here than the classifier was made from.
        RefusedError: a module cannot be asked.
    """
    from client_agent.evidence.judgement import class_evidence

    modules = modules_of(site, classifier)
    return class_evidence(modules, classifier.classes, images, site.spec, progress)
