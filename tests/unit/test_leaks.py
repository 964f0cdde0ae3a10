"""The leak search finds what is hidden in each way that it claims to see through."""

import base64
import hashlib
import io
import json
import urllib.parse
import zipfile
import zlib

import pytest

from tests.leaks import Needles

SECRET = "Vorontsova^Quintessa Müller"


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", data)
    return buffer.getvalue()


def png(data: bytes) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    padded = data + bytes(64 - len(data))
    Image.frombytes("L", (8, 8), padded).save(buffer, "PNG")
    return buffer.getvalue()


HIDDEN = {
    "plain": SECRET.encode(),
    "other case": SECRET.swapcase().replace("Ü", "ü").encode(),
    "UTF-16": SECRET.encode("utf-16-le"),
    "latin": SECRET.encode("latin-1"),
    "base64": base64.b64encode(b"x" + SECRET.encode() + b"yz"),
    "base64 of base64": base64.b64encode(base64.b64encode(b"12345" + SECRET.encode())),
    "URL base64": base64.urlsafe_b64encode(b">?>?>?" + SECRET.encode()),
    "hex": SECRET.encode().hex().encode(),
    "URL": urllib.parse.quote(SECRET).encode(),
    "JSON": json.dumps(SECRET).encode(),
    "hash": hashlib.sha256(SECRET.encode()).hexdigest().encode(),
    "hash bytes": hashlib.sha256(SECRET.encode()).digest(),
    "deflate": b"junk" * 9 + zlib.compress(SECRET.encode() * 3),
    "zip": zipped(SECRET.encode()),
    "deflate in base64": base64.b64encode(zlib.compress(SECRET.encode() * 3)),
    "png": png(SECRET.encode()),
}


@pytest.mark.parametrize("form", HIDDEN)
def test_it_is_found_in_every_form(form):
    needles = Needles()
    needles.text("name", SECRET)
    assert needles.found_in(HIDDEN[form])


def test_nothing_is_found_where_nothing_is():
    needles = Needles()
    needles.text("name", SECRET)
    needles.raw("pixels", bytes(range(64)))
    noise = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(256))
    for data in (noise, base64.b64encode(noise), zlib.compress(noise), zipped(noise), png(b"x")):
        assert needles.found_in(data) == []
