"""Every parser that meets foreign bytes: what it accepts, with seeds that our own code has written.

A parser here takes bytes and returns, or raises one of the package's own errors: anything else is
a finding. Where the value can be written again, reading that again must give the same value.
"""

import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ff_protocol import canonical, dsse
from ff_protocol.certificate_requests import make_request, request_public_key
from ff_protocol.certificates import (
    chain_from_pem,
    chain_to_pem,
    key_from_pem,
    key_to_pem,
    make_key,
)
from ff_protocol.clock import timestamp
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.names import Role
from tests.fuzz.seeds import (
    FEDERATION,
    MAX_MODULE,
    NOW,
    authority,
    bundle,
    card,
    files,
    heads,
    invitation,
    npz,
    onnx_module,
    payload,
    publication,
    revocation,
    signed,
    trust,
    unlearning,
)


@dataclass(frozen=True)
class Parser:
    """One parser.

    Attributes:
        parse: raises FederatedFactoryError (or one of `errors`) or returns a value.
        seeds: valid inputs.
        write: bytes that `parse` reads back to an equal value; None where nothing writes it.
        errors: other exceptions that its callers are told of.
    """

    parse: Callable[[bytes], Any]
    seeds: Callable[[], list[bytes]]
    write: Callable[[Any], bytes] | None = None
    errors: tuple[type[Exception], ...] = ()

    def check(self, data: bytes) -> bool:
        """Read some bytes; True if they were accepted. Any other exception is a finding."""
        try:
            value = self.parse(data)
        except (FederatedFactoryError, *self.errors) as error:
            str(error).encode()  # its text must fit a terminal and a log
            return False
        if self.write is not None:
            again = self.parse(self.write(value))
            assert again == value, f"read back as {again!r}, written from {value!r}"
        return True


# Parsers that want a file


def in_file(parse: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """Write the bytes to a file in memory and parse that."""

    def parse_bytes(data: bytes) -> Any:
        with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="fuzz-") as file:
            file.write(data)
            file.flush()
            return parse(Path(file.name))

    return parse_bytes


def parse_npz(path: Path) -> Any:
    from client_agent.sources.npz import read_npz_split

    images, labels, names = read_npz_split(path, "train")
    return (images.tobytes(), labels.tobytes(), names)


def parse_labels(path: Path) -> Any:
    from client_agent.sources.class_names import ClassNames
    from client_agent.sources.labels import read_labels

    return read_labels(path, ClassNames(("zero", "one")))


def parse_structure(path: Path) -> Any:
    from client_agent.module.structure import check_structure

    return check_structure(path, authority().spec)


def parse_config(path: Path) -> Any:
    from client_agent.config import read_config

    return read_config(path)


def parse_spec_file(path: Path) -> Any:
    from ff_protocol.spec import read_spec

    return read_spec(path)


def parse_policy(data: bytes) -> Any:
    from client_agent.home import Home
    from client_agent.policy.file import read_policy

    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="fuzz-") as folder:
        home = Home(Path(folder))
        home.policy_file.write_bytes(data)
        return read_policy(home)


def parse_bundle(data: bytes) -> Any:
    from client_agent.bundle.reading import BundleSource

    source = BundleSource(io.BytesIO(data), len(data), FEDERATION, MAX_MODULE)
    return (source.label, sorted(source.modules), list(source.list_statements(set())))


def parse_chunk(data: bytes) -> Any:
    """Both readers of a chunk must agree: our view of it and protobuf's copy."""
    from client_agent.relay.chunk_wire import chunk_data
    from ff_protocol.wire import relay_pb2

    ours = bytes(chunk_data(data))
    assert ours == relay_pb2.Chunk.FromString(data).data
    return ours


def chunk_seeds() -> list[bytes]:
    from ff_protocol.wire import relay_pb2

    return [
        relay_pb2.Chunk(sha256=bytes(32), data=data).SerializeToString()
        for data in (b"", b"x", bytes(200), bytes(20_000))
    ]


def entries(data: bytes) -> Any:
    from ff_protocol.manifest import parse_entries

    value = canonical.loads(data, max_bytes=1 << 20)
    return parse_entries(value, max_module_bytes=MAX_MODULE)


def write_entries(value: Any) -> bytes:
    return canonical.dumps([entry.to_dict() for entry in value.values()])


def statement(read: str, build: str, make: Callable[[], Any]) -> Parser:
    """A reader of signed statements, given its payload."""
    module_name, _, name = read.rpartition(".")

    def module() -> Any:
        import importlib

        return importlib.import_module(f"ff_protocol.{module_name}")

    def parse(data: bytes) -> Any:
        options = {}
        if name == "read_publication":
            options["max_module_bytes"] = MAX_MODULE
        if name in ("read_heads", "read_capabilities"):
            options["at"] = None
        value = getattr(module(), name)(payload(data), **options)
        # The payload's own digest is the one thing that writing again may change.
        return replace(value, digest="") if hasattr(value, "digest") else value

    def write(value: Any) -> bytes:
        return canonical.dumps(getattr(module(), build)(value))

    return Parser(parse, lambda: [write(make())], write)


def spec_statement() -> Parser:
    from ff_protocol.statements import build_spec, read_spec

    def write(value: tuple[Any, str]) -> bytes:
        return canonical.dumps(build_spec(value[0], FEDERATION, value[1], timestamp(NOW)))

    return Parser(
        lambda data: read_spec(payload(data, Role.AUTHORITY)),
        lambda: [write((authority().spec, "test"))],
        write,
    )


def spec_revision() -> Parser:
    from ff_protocol.revisions import SpecRevision, build_revision, read_revision

    def write(value: SpecRevision) -> bytes:
        return canonical.dumps(build_revision(value))

    def parse(data: bytes) -> SpecRevision:
        return replace(read_revision(payload(data, Role.AUTHORITY)), digest="")

    def second() -> SpecRevision:
        return SpecRevision(FEDERATION, "test", 2, "0" * 64, authority().spec, timestamp(NOW))

    return Parser(parse, lambda: [write(second())], write)


def capabilities() -> Any:
    from ff_protocol.capabilities import Capabilities

    return Capabilities(
        FEDERATION, "hospital-1", timestamp(NOW), "0.1.0", 2, None, (1,), ("tiny",), 256
    )


def parse_card_bytes(data: bytes) -> Any:
    from ff_protocol.card import parse_card

    return parse_card(data)


def parse_invitation_bytes(data: bytes) -> Any:
    from ff_protocol.invitation import parse_invitation

    return parse_invitation(data, at=NOW)


def decode_error() -> type[Exception]:
    from google.protobuf.message import DecodeError

    return DecodeError


YAML = {
    "spec": b"classes: [zero, one]\nimage: {size: 8, channels: 1}\npolicy:\n  stale_heads: warn\n",
    "config": b"data: /mnt/x\nsteps: 5\nbudget: 10m\nwait_for: sites\n",
    "policy": b"admission: {}\nrelease: {}\n",
}

PARSERS: dict[str, Parser] = {
    "json": Parser(
        lambda data: canonical.loads(data, max_bytes=1 << 16),
        lambda: [card(), b'{"a":[1e3,"\\ud83d\\ude00"]}'],
    ),
    "card": Parser(parse_card_bytes, lambda: [card()], lambda value: value.to_bytes()),
    "entries": Parser(entries, lambda: [write_entries(files())], write_entries),
    "publication": statement("statements.read_publication", "build_publication", publication),
    "revocation": statement("statements.read_revocation", "build_revocation", revocation),
    "heads": statement("heads.read_heads", "build_heads", heads),
    "unlearning": statement("unlearning.read_unlearning", "build_unlearning", unlearning),
    "spec": spec_statement(),
    "spec-revision": spec_revision(),
    "capabilities": statement("capabilities.read_capabilities", "build_capabilities", capabilities),
    "envelope": Parser(
        lambda data: dsse.verify(data, trust(), (Role.SITE, Role.AUTHORITY), at=NOW),
        lambda: [signed({"_type": "x"}), signed([1], Role.AUTHORITY)],
    ),
    "invitation": Parser(
        parse_invitation_bytes, lambda: [invitation()], lambda value: value.to_bytes()
    ),
    "certificates": Parser(
        chain_from_pem,
        lambda: [chain_to_pem(authority().issuing.chain), chain_to_pem(authority().root.chain)],
        chain_to_pem,
    ),
    "key": Parser(
        lambda data: key_to_pem(key_from_pem(data)), lambda: [key_to_pem(make_key())], bytes
    ),
    "request": Parser(
        lambda data: request_public_key(data).public_numbers(),
        lambda: [make_request(make_key(), "hospital-1")],
    ),
    "chunk": Parser(parse_chunk, chunk_seeds, errors=(decode_error(),)),
    "bundle": Parser(parse_bundle, lambda: [bundle()]),
    "onnx": Parser(in_file(parse_structure), onnx_module),
    "npz": Parser(in_file(parse_npz), lambda: [npz()]),
    "labels": Parser(in_file(parse_labels), lambda: [b"path,label\na.png,zero\nb/c.png,one\n"]),
    "config": Parser(in_file(parse_config), lambda: [YAML["config"]]),
    "spec-file": Parser(in_file(parse_spec_file), lambda: [YAML["spec"]]),
    "policy": Parser(parse_policy, lambda: [YAML["policy"]]),
}
