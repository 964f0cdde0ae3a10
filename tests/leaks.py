"""Looking for something that must not be there, in every form in which it could have left.

`Needles` are what was planted, in each encoding; `views` are what some bytes say when they are
decoded: what base64, hex, DEFLATE, a zip or a PNG hides. `record_requests` keeps what the agent
hands to gRPC, which is what leaves before TLS.
"""

import base64
import binascii
import hashlib
import io
import json
import re
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){12,}")
_ZLIB = re.compile(rb"[\x08\x18\x28\x38\x48\x58\x68\x78][\x01\x5e\x9c\xda]")
_PNG = b"\x89PNG\r\n\x1a\n"
_DEEP = 3
_LONGEST = 64 << 20


class Needles:
    """What is looked for, as bytes by name. Letters are compared without regard to case."""

    def __init__(self) -> None:
        self.patterns: dict[bytes, str] = {}

    def text(self, name: str, value: str) -> None:
        """Look for a text: in the encodings of Unicode, in base64, hex and URLs, and hashed."""
        plain = value.encode()
        for coding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "latin-1", "cp1252"):
            try:
                self._add(name, coding, value.encode(coding))
            except UnicodeEncodeError:
                continue
        self._add(name, "URL", urllib.parse.quote(value, safe="").encode())
        self._add(name, "URL form", urllib.parse.quote_plus(value, safe="").encode())
        self._add(name, "JSON escapes", json.dumps(value)[1:-1].encode())
        for kind in ("sha256", "sha1", "md5"):
            self.digest(name, kind, hashlib.new(kind, plain).digest())
        self.raw(name, plain)

    def raw(self, name: str, value: bytes) -> None:
        """Look for bytes: as they are, in hex and in base64 at each of its three alignments."""
        self._add(name, "bytes", value)
        self._add(name, "hex", value.hex().encode())
        for shift in range(3):
            coded = base64.b64encode(b"\0" * shift + value)
            # The characters that mix in what stands before and behind.
            self._add(name, "base64", coded[4 if shift else 0 : len(coded) // 4 * 4 - 4])

    def digest(self, name: str, kind: str, value: bytes) -> None:
        """Look for a hash: as bytes, in hex and in base64."""
        self._add(name, f"{kind} bytes", value)
        self._add(name, f"{kind} hex", value.hex().encode())
        self._add(name, f"{kind} base64", base64.b64encode(value).rstrip(b"="))

    def found_in(self, data: bytes) -> list[str]:
        """Name what is in some bytes, in whatever form."""
        hits = []
        for how, view in views(data):
            low = view.lower()
            hits += [f"{what} ({how})" for key, what in self.patterns.items() if key in low]
        return hits

    def _add(self, name: str, form: str, pattern: bytes) -> None:
        if len(pattern) >= 6:  # shorter ones occur by chance
            self.patterns.setdefault(pattern.lower(), f"{name}: {form}")


def views(data: bytes, how: str = "as it is", depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield some bytes and all that they contain in another coding, with how it was got."""
    yield how, data
    if depth == _DEEP:
        return
    for name, inner in _unwrapped(data):
        yield from views(inner, f"{how} > {name}", depth + 1)


def _unwrapped(data: bytes) -> Iterator[tuple[str, bytes]]:
    if data.startswith(b"PK\3\4"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for info in archive.infolist():
                    yield f"zip {info.filename}", archive.read(info)
        except zipfile.BadZipFile:
            pass
    elif data.startswith(_PNG):
        yield "png", _pixels(data)
    for match in _ZLIB.finditer(data):
        inner = _inflated(data[match.start() :])
        if len(inner) > 32:
            yield "zlib", inner
    for match in _BASE64.finditer(data):
        word = match.group().translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
        try:
            yield "base64", base64.b64decode(word + b"=" * (-len(word) % 4))
        except binascii.Error:
            continue
    for match in _HEX.finditer(data):
        yield "hex", bytes.fromhex(match.group().decode())


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _LONGEST)
    except zlib.error:
        return b""


def _pixels(data: bytes) -> bytes:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.tobytes()
    except (OSError, ValueError):
        return b""


def record_requests(folder: Path) -> None:
    """From now on keep in `folder` whatever this process hands to gRPC, one file a message."""
    import grpc

    folder.mkdir(parents=True, exist_ok=True)
    original = grpc.secure_channel

    def keep(data: bytes, method: str) -> None:
        name = f"{method.rpartition('/')[2]}-{hashlib.sha256(data).hexdigest()}"
        (folder / name).write_bytes(method.encode() + b"\n" + data)

    class Recording:
        """A channel that notes the bytes of every request."""

        def __init__(self, channel: Any) -> None:
            self._channel = channel

        def __enter__(self) -> "Recording":
            self._channel.__enter__()
            return self

        def __exit__(self, *exception: Any) -> Any:
            return self._channel.__exit__(*exception)

        def __getattr__(self, name: str) -> Any:
            attribute = getattr(self._channel, name)
            if name not in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
                return attribute

            def multicallable(method: str, request_serializer: Any = None, **options: Any) -> Any:
                def serialise(message: Any) -> bytes:
                    data = request_serializer(message) if request_serializer else message
                    keep(bytes(data), method)
                    return bytes(data)

                return attribute(method, request_serializer=serialise, **options)

            return multicallable

    def secure_channel(target: str, *arguments: Any, **options: Any) -> Any:
        keep(repr((target, options.get("options"))).encode(), "channel")
        return Recording(original(target, *arguments, **options))

    grpc.secure_channel = secure_channel


def files_below(*roots: Path) -> Iterator[Path]:
    """Yield every plain file, each content once."""
    seen = set()
    for root in roots:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).digest()
                if digest not in seen:
                    seen.add(digest)
                    yield path
