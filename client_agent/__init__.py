"""Everything a site runs: read, train, pack, send; receive, admit, synthesise, fit, revoke.

For use from Python: `load_classifier`.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client_agent.classifier.prediction import ClassifierFile

# onnxruntime 1.29 and later keep a device number and report every session to their maker unless
# this is set before they are loaded. Nothing that runs here may report to anyone.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def load_classifier(path: str | Path) -> "ClassifierFile":
    """Open a `classifier.onnx`; needs onnxruntime, NumPy and Pillow.

        classifier = load_classifier("~/.federated-factory/classifier/classifier.onnx")
        probabilities, in_distribution = classifier.run(classifier.prepare(pixels))
        print(classifier.classes[probabilities[0].argmax()], in_distribution[0] >= 1)

    Raises:
        NotReadyError: there is no such file.
        MalformedError: it is not a classifier of this software, or is damaged.
    """
    from client_agent.classifier.prediction import ClassifierFile

    return ClassifierFile.open(Path(path).expanduser())
