"""Ways to replay images so that they are not the same bytes any more. All: uint8 [n, H, W, C]."""

import io

import numpy as np

NOISE = 12.0
QUALITY = 50
REACH = 2


def flipped(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Mirror each image left to right, top to bottom, or both."""
    choice = random.integers(1, 4, len(images))
    ways = np.stack([images, images[:, :, ::-1], images[:, ::-1], images[:, ::-1, ::-1]])
    return ways[choice, np.arange(len(images))]


def shifted(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Move each image by up to 2 pixels of 28 both ways, repeating what the edge shows."""
    reach = max(1, round(REACH * images.shape[1] / 28))
    moves = random.integers(-reach, reach + 1, (len(images), 2))
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = images.shape[1:3]
    return np.stack(
        [
            image[reach + y : reach + y + height, reach + x : reach + x + width]
            for image, (y, x) in zip(padded, moves, strict=True)
        ]
    )


def noisy(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Add normal noise of 12 grey levels to every value."""
    return np.clip(images + random.normal(0, NOISE, images.shape), 0, 255).round().astype(np.uint8)


def recompressed(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Save as JPEG of quality 50 and read again."""
    from PIL import Image

    del random
    read = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image.squeeze()).save(file, "JPEG", quality=QUALITY)
        read.append(np.asarray(Image.open(file)).reshape(image.shape))
    return np.stack(read)


def unchanged(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Replay as it is."""
    del random
    return images


DISGUISES = {
    "lookup table": unchanged,
    "replay, flipped": flipped,
    "replay, shifted": shifted,
    "replay, noisy": noisy,
    "replay, JPEG": recompressed,
}
