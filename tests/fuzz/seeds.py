"""Seeds for the parsers that meet foreign bytes: valid values, written by our own code."""

import datetime as dt
import io
from functools import cache
from typing import Any

from ff_protocol import canonical, dsse
from ff_protocol.certificates import Purpose, chain_to_pem, issue_leaf, key_to_pem, make_key
from ff_protocol.clock import timestamp
from ff_protocol.names import Identity, Role
from ff_protocol.trust import TrustRoot

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
FEDERATION = "test-0123456789ab"
A, B, C = "a" * 64, "b" * 64, "c" * 64
MAX_MODULE = 1 << 26


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
