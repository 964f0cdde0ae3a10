"""The noise of sample *i* of a module: a pure function of (module digest, synthesis spec, *i*).

Philox (Salmon et al. 2011) is counter-based: the key comes from HKDF (RFC 5869) over the module's
digest, the counter is the sample's number, so that any sample can be made alone and asking for
more never changes one that exists.
"""

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def noise_key(module_digest: str, synthesis_digest: str, federation_id: str) -> int:
    """Derive the 128-bit Philox key of a module under a synthesis spec.

    Args:
        module_digest: SHA-256 in hexadecimal.
        synthesis_digest: SHA-256 in hexadecimal, from `FederationSpec.synthesis_digest`.
        federation_id: separates federations that exchange the same module.
    """
    derivation = HKDF(
        algorithm=hashes.SHA256(),
        length=16,
        salt=b"ff-synthesis/1",
        info=federation_id.encode() + b"\0" + bytes.fromhex(synthesis_digest),
    )
    return int.from_bytes(derivation.derive(bytes.fromhex(module_digest)), "little")


def noise(key: int, start: int, count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Return standard normal noise for samples `start` to `start + count - 1`.

    Args:
        key: from `noise_key`.
        start: number of the first sample.
        count: how many samples.
        shape: (C, H, W).

    Returns:
        float32 [count, C, H, W].
    """
    result = np.empty((count, *shape), dtype=np.float32)
    for offset in range(count):
        # The third counter word numbers the sample; the first two count blocks within it.
        philox = np.random.Philox(key=key, counter=(start + offset) << 128)
        np.random.Generator(philox).standard_normal(out=result[offset], dtype=np.float32)
    return result
