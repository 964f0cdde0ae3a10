"""Encrypting what lies in Ray's object store.

Ray writes objects to disk when its store in memory is full, on whatever disk the cluster was told
to use. Images, checkpoints and generators are therefore put there sealed (AES-256-GCM). The key is
drawn for each run and goes to the workers as an argument of a call, which Ray sends from process to
process and never stores.
"""

import secrets
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ff_protocol.limits import MIB

_PIECE = 64 * MIB
_NONCE = 12


def new_key() -> bytes:
    """Draw a key."""
    return AESGCM.generate_key(256)


def seal(data: bytes, key: bytes) -> list[bytes]:
    """Encrypt `data` in pieces of at most 64 MiB."""
    cipher = AESGCM(key)
    view = memoryview(data)
    count = max(1, -(-len(data) // _PIECE))
    sealed = []
    for number in range(count):
        nonce = secrets.token_bytes(_NONCE)
        piece = view[number * _PIECE : (number + 1) * _PIECE]
        sealed.append(nonce + cipher.encrypt(nonce, piece, _place(number, count)))
    return sealed


def unseal(pieces: Sequence[bytes], key: bytes) -> bytes:
    """Invert `seal`.

    Raises:
        cryptography.exceptions.InvalidTag: changed, incomplete, out of order or of another key.
    """
    cipher = AESGCM(key)
    return b"".join(
        cipher.decrypt(piece[:_NONCE], piece[_NONCE:], _place(number, len(pieces)))
        for number, piece in enumerate(pieces)
    )


def _place(number: int, count: int) -> bytes:
    return f"{number}/{count}".encode()
