"""Every parser that meets foreign bytes: what it accepts, and seeds that our own code has written.

A parser here takes bytes and returns, or raises one of the package's own errors: anything else is
a finding. Where the value can be written again, reading that again must give the same value.
"""

import datetime as dt
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from ff_protocol import canonical, dsse
from ff_protocol.certificates import (
    Purpose,
    chain_from_pem,
    chain_to_pem,
    issue_leaf,
    key_from_pem,
    key_to_pem,
    make_key,
    make_request,
    request_public_key,
)
from ff_protocol.clock import timestamp
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.names import Identity, Role
from ff_protocol.trust import TrustRoot

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
FEDERATION = "test-0123456789ab"
A, B, C = "a" * 64, "b" * 64, "c" * 64
MAX_MODULE = 1 << 26


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


@cache
def authority() -> Any:
    from tests.homes import make_authority

    return make_authority()


def trust() -> TrustRoot:
    return TrustRoot(authority().root.leaf, FEDERATION)


def signed(value: Any, role: Role = Role.SITE) -> bytes:
    site = "hospital-1" if role is Role.SITE else None
    return dsse.sign(value, authority().credential(role, site, Purpose.SIGNING))


def payload(data: bytes, role: Role = Role.SITE) -> dsse.VerifiedPayload:
    """A payload as if its signature held: the readers behind it are reached at once."""
    value = canonical.loads(data, max_bytes=1 << 20, what="statement")
    signer = Identity(FEDERATION, role, "hospital-1" if role is Role.SITE else None)
    return dsse.VerifiedPayload(value, canonical.sha256_hex(data), signer)


# Values that our own builders write


def files() -> dict[str, Any]:
    from ff_protocol.manifest import FileEntry

    return {
        name: FileEntry(name, size, A, (B,))
        for name, size in (("module.onnx", 1000), ("card.json", 50), ("module.sig", 9))
    }


def publication() -> Any:
    from ff_protocol.heads import Head, RecordHead
    from ff_protocol.manifest import module_digest
    from ff_protocol.statements import Publication

    return Publication(
        federation_id=FEDERATION,
        site_id="hospital-1",
        class_name="zero",
        module=module_digest(files()),
        files=files(),
        published_at=timestamp(NOW),
        supersedes=(C,),
        heads=(Head("hospital-2", 3, B),),
        record=RecordHead(7, A),
    )


def revocation() -> Any:
    from ff_protocol.statements import Revocation

    return Revocation(
        federation_id=FEDERATION,
        issuer="hospital-1",
        modules=(A, B),
        site_id=None,
        reason="a patient withdrew",
        sequence=2,
        previous=C,
        issued_at=timestamp(NOW),
        digest="",
        successors=(C,),
    )


def heads() -> Any:
    from ff_protocol.heads import Head, Heads, RecordHead

    return Heads(
        federation_id=FEDERATION,
        site_id="hospital-1",
        sequence=4,
        heads=(Head("authority", 1, A), Head("hospital-2", 3, B)),
        record=RecordHead(7, C),
        issued_at=timestamp(NOW),
        expires_at=timestamp(NOW + dt.timedelta(days=7)),
    )


def unlearning() -> Any:
    from ff_protocol.unlearning import PortionRoot, Probe, Rebuilt, Unlearning

    after = Rebuilt(
        spec=A,
        dataset_root=B,
        portions=(PortionRoot(B, "zero", 20, C), PortionRoot(C, "one", 20, A)),
        classifier=C,
        classes=("zero", "one"),
        reproducibility={
            "torch": "2.13.0",
            "instruction_set": ["avx2"],
            "threads": {"synthesis": 1},
        },
        probe=Probe(((1,) * 16, (255,) * 16), ((10_000, 0), (4000, 6000))),
    )
    return Unlearning(
        federation_id=FEDERATION,
        site_id="hospital-1",
        modules=(A,),
        statements=(B,),
        root_before=C,
        classifier_before=None,
        after=after,
        certified_at=timestamp(NOW),
    )


def card() -> bytes:
    from ff_protocol.card import Card, Figure, GeneratorCard, PrivacyGuarantee, TrainingCard, Waiver
    from ff_protocol.spec import ImageSpec

    figure = Figure(value=0.5, low=0.25, high=0.75, samples="64-127")
    return Card(
        federation_id=FEDERATION,
        site_id="hospital-1",
        class_name="zero",
        class_index=0,
        image=ImageSpec(size=8, channels=1),
        generator=GeneratorCard(
            family="edm", preset="tiny", parameters=1, sampler="s", sampler_steps=18
        ),
        training=TrainingCard(images="512-1023", steps=1, seconds=1, device="cpu", final_loss=0.5),
        fidelity={"kid": figure},
        memorisation={"mia_auc": figure},
        waiver=Waiver(reason="too few images to measure", figures=("mia_auc",)),
        differential_privacy=PrivacyGuarantee(
            epsilon=8.0,
            delta=1e-5,
            accountant="rdp",
            noise_multiplier=1.1,
            max_grad_norm=1.0,
            sample_rate=0.1,
            steps=10,
        ),
        software={"torch": "2.13.0"},
        created_at=timestamp(NOW),
    ).to_bytes()


def invitation() -> bytes:
    from ff_protocol.invitation import Invitation

    key = make_key()
    identity = Identity(FEDERATION, Role.INVITATION, "hospital-1")
    chain = issue_leaf(
        authority().issuing,
        key.public_key(),
        identity,
        Purpose.TLS_CLIENT,
        now=NOW,
        lifetime=dt.timedelta(days=7),
    )
    return Invitation(
        federation_id=FEDERATION,
        federation_name="test",
        site_id="hospital-1",
        endpoint="127.0.0.1:7443",
        server_name=None,
        root=chain_to_pem((trust().certificate,)).decode(),
        fingerprint=trust().fingerprint,
        expires_at=timestamp(NOW + dt.timedelta(days=6)),
        certificates=chain_to_pem(chain).decode(),
        key=key_to_pem(key).decode(),
    ).to_bytes()


def bundle() -> bytes:
    import tarfile

    from client_agent.bundle import layout

    label = {"format": layout.FORMAT, "federation": FEDERATION, "site": "s", "created_at": "x"}
    envelope = b'{"payload":"x"}'
    named = [
        (layout.LABEL, canonical.dumps(label)),
        (layout.statement_name(canonical.sha256_hex(envelope)), envelope),
        *((layout.file_name(A, name), b"data") for name in files()),
    ]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in named:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def onnx_module() -> list[bytes]:
    from onnx import TensorProto, helper

    shape = ["n", 1, 8, 8]
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("noise", "image")
    ]
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Sigmoid", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("d", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, shape),
        ],
        [helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])],
    )
    nodes = [
        helper.make_node("Constant", [], ["go"], value=helper.make_tensor("g", 9, [], [True])),
        helper.make_node("Loop", ["trips", "go", "noise"], ["image"], body=body),
    ]
    trips = helper.make_tensor("trips", TensorProto.INT64, [], [3])
    graph = helper.make_graph(nodes, "module", values[:1], values[1:], [trips])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return [model.SerializeToString()]


def npz() -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    images = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8)
    np.savez(
        buffer,
        train_images=images,
        train_labels=np.array([[0], [1], [1]]),
        class_names=np.array(["zero", "one"]),
    )
    return buffer.getvalue()


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
