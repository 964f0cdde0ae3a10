"""Private keys under a passphrase: PKCS#8, PBES2, scrypt, AES-256-CBC (RFC 5958, 8018, 7914).

The cryptography package reads this form but writes PBKDF2 with 2,048 rounds only, which a graphics
card tries by the million: hence the few lines of DER here. `openssl pkey -in FILE` reads it too.
"""

import base64
import secrets

from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ff_protocol.errors import PassphraseError

SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**14, 8, 5
"""16 MiB and about a quarter of a second a guess; openssl's own limit on memory is twice that."""

_PBES2 = bytes.fromhex("2a864886f70d01050d")
_SCRYPT = bytes.fromhex("2b06010401da47040b")
_AES_256_CBC = bytes.fromhex("60864801650304012a")
_BEGIN, _END = b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"-----END ENCRYPTED PRIVATE KEY-----"
_INTEGER, _OCTETS, _OBJECT, _SEQUENCE = 0x02, 0x04, 0x06, 0x30


def is_encrypted(pem: bytes) -> bool:
    """Say whether a private key in PEM needs a passphrase."""
    return _BEGIN in pem


def encrypt_key(key: ec.EllipticCurvePrivateKey, passphrase: bytes) -> bytes:
    """Serialise a key as EncryptedPrivateKeyInfo in PEM.

    Law: `decrypt_key(encrypt_key(key, phrase), phrase)` is the same key.
    """
    plain = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    salt, vector = secrets.token_bytes(16), secrets.token_bytes(16)
    secret = Scrypt(salt, length=32, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).derive(passphrase)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(secret), modes.CBC(vector)).encryptor()
    padded = padder.update(plain) + padder.finalize()
    numbers = b"".join(_integer(value) for value in (SCRYPT_N, SCRYPT_R, SCRYPT_P, 32))
    derivation = _sequence(_der(_OBJECT, _SCRYPT), _sequence(_der(_OCTETS, salt), numbers))
    cipher = _sequence(_der(_OBJECT, _AES_256_CBC), _der(_OCTETS, vector))
    scheme = _sequence(_der(_OBJECT, _PBES2), _sequence(derivation, cipher))
    document = _sequence(scheme, _der(_OCTETS, encryptor.update(padded) + encryptor.finalize()))
    text = base64.b64encode(document)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join((_BEGIN, *lines, _END, b""))


def decrypt_key(pem: bytes, passphrase: bytes) -> PrivateKeyTypes:
    """Load an encrypted private key.

    Raises:
        PassphraseError: the passphrase is wrong, or the file is damaged: CBC cannot tell.
    """
    try:
        return serialization.load_pem_private_key(pem, password=passphrase)
    except (ValueError, TypeError) as error:
        raise PassphraseError(
            "the passphrase of the private keys is wrong",
            hint="give the right one with --passphrase-file or FF_PASSPHRASE",
        ) from error


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _sequence(*parts: bytes) -> bytes:
    return _der(_SEQUENCE, b"".join(parts))
