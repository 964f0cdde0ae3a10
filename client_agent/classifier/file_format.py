"""What `classifier.onnx` holds besides the network: names shared by the writer and the reader.

The file takes `image`, uint8 [n, H, W, C], and gives

    probabilities    float32 [n, k], calibrated (see classifier/calibration.py)
    in_distribution  float32 [n]: 1 at the limit within which 99 % of held-out training images are,
                     less where an image is further from all that the classifier was trained on

Its metadata holds, as canonical JSON:

    calibration     temperature and limit, in words
    format_version  2
    classes         list of k names, in the order of the output
    image           {"size": H, "channels": C}
    preprocessing   how an image file becomes uint8 [H, W, C]
    provenance      what it was trained on and with

Importing this module loads neither torch nor onnx.
"""

FORMAT_VERSION = 2
INPUT_NAME = "image"
PROBABILITIES_NAME = "probabilities"
IN_DISTRIBUTION_NAME = "in_distribution"
METADATA_KEYS = (
    "calibration",
    "classes",
    "format_version",
    "image",
    "preprocessing",
    "provenance",
)
# Bounds for a reader: the file is the site's own, but may be damaged or swapped.
MAX_FILE_BYTES = 2048 * 1024 * 1024
MAX_METADATA_BYTES = 16 * 1024 * 1024
