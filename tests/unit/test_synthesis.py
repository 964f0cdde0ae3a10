"""Synthesis: samples depend on module, spec and number only; plans and roots are pure."""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from client_agent.errors import RefusedError
from client_agent.registry.modules import AdmittedModule
from client_agent.synthesis.dataset import load_dataset, merkle_root, plan_dataset, synthesise
from client_agent.synthesis.noise import noise, noise_key
from client_agent.synthesis.session import probe_module, quantise
from client_agent.synthesis.shards import ShardStore
from ff_protocol.card import Card, GeneratorCard, TrainingCard
from ff_protocol.errors import MalformedError
from ff_protocol.spec import parse_spec

A, B, C = "a" * 64, "b" * 64, "c" * 64
SHAPE = (1, 8, 8)


def spec(**changes):
    value = {
        "classes": ["x", "y"],
        "image": {"size": 8, "channels": 1},
        "synthesis": {"samples_per_class": 50, "batch_size": 8, "threads": 1},
    }
    return parse_spec(value | changes)


def module_file(path, *operators: str, constant: float | None = None):
    """A tiny module: the noise through the operators, or a constant."""
    shape = ["n", *SHAPE]
    nodes, last = [], "noise"
    for number, operator in enumerate(operators):
        nodes.append(helper.make_node(operator, [last], [f"v{number}"]))
        last = f"v{number}"
    if constant is not None:
        zero = helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])
        level = helper.make_tensor("level", TensorProto.FLOAT, [], [constant])
        nodes += [
            helper.make_node("Constant", [], ["z"], value=zero),
            helper.make_node("Constant", [], ["l"], value=level),
            helper.make_node("Mul", [last, "z"], ["m"]),
            helper.make_node("Add", ["m", "l"], ["image"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", [last], ["image"]))
    graph = helper.make_graph(
        nodes,
        "module",
        [helper.make_tensor_value_info("noise", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def admitted(tmp_path, digest, name):
    folder = tmp_path / "admitted" / digest
    folder.mkdir(parents=True)
    module_file(folder / "module.onnx", "Sigmoid")
    card = Card(
        federation_id="f",
        site_id="hospital-1",
        class_name=name,
        class_index=spec().class_index(name),
        image=spec().image,
        generator=GeneratorCard(
            family="edm", preset="tiny", parameters=1, sampler="s", sampler_steps=1
        ),
        training=TrainingCard(images="<16", steps=1, seconds=1, device="cpu", final_loss=0.5),
        created_at="2026-11-23T12:00:00Z",
    )
    return AdmittedModule(digest, card, folder)


def test_a_sample_does_not_depend_on_which_others_are_made():
    key = noise_key(A, B, "f")
    whole = noise(key, 0, 40, SHAPE)
    np.testing.assert_array_equal(noise(key, 17, 5, SHAPE), whole[17:22])
    assert len({row.tobytes() for row in whole}) == 40


def test_the_noise_is_fixed_for_ever():
    """A golden value: if this changes, every module's synthetic images change."""
    drawn = noise(noise_key(A, B, "f"), 3, 2, SHAPE)
    assert drawn.dtype == np.float32
    assert hashlib.sha256(drawn.tobytes()).hexdigest()[:16] == "49ff372274ba706b"


def test_module_spec_and_federation_all_change_the_noise():
    keys = {noise_key(A, B, "f"), noise_key(C, B, "f"), noise_key(A, C, "f"), noise_key(A, B, "g")}
    assert len(keys) == 4


def test_quantise_rounds_and_clips():
    levels = quantise(np.array([-1, 0, 0.5, 1, 2], dtype=np.float32).reshape(5, 1, 1, 1))
    assert levels.ravel().tolist() == [0, 0, 128, 255, 255]
    assert levels.dtype == np.uint8


def test_asking_for_more_extends_and_never_changes(tmp_path):
    model = module_file(tmp_path / "module.onnx", "Sigmoid")
    store = ShardStore(tmp_path / "shards", spec(), "f")
    assert store.ensure(A, model, 40) == 64
    first = {path: path.read_bytes() for path in (tmp_path / "shards" / A).glob("*.npy")}
    assert store.ensure(A, model, 33) == 0
    assert store.ensure(A, model, 100) == 64
    assert all(path.read_bytes() == data for path, data in first.items())
    fresh = ShardStore(tmp_path / "other", spec(), "f")
    fresh.ensure(A, model, 100)
    for mine, other in zip(store.read(A, 100), fresh.read(A, 100), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_shards_made_under_another_spec_are_not_mixed(tmp_path):
    model = module_file(tmp_path / "module.onnx", "Sigmoid")
    ShardStore(tmp_path / "shards", spec(), "f").ensure(A, model, 40)
    other = spec(synthesis={"samples_per_class": 50, "batch_size": 4, "threads": 1})
    store = ShardStore(tmp_path / "shards", other, "f")
    assert not store.has(A, 10)
    assert store.ensure(A, model, 10) == 16


def test_a_damaged_shard_is_named(tmp_path):
    store = ShardStore(tmp_path / "shards", spec(), "f")
    store.ensure(A, module_file(tmp_path / "module.onnx", "Sigmoid"), 10)
    store.path(A, 0).write_bytes(b"\x93NUMPY garbage")
    with pytest.raises(MalformedError, match="damaged"):
        store.read(A, 10)


def test_classes_are_balanced_and_divided_by_digest_order(tmp_path):
    modules = [admitted(tmp_path, B, "x"), admitted(tmp_path, A, "x"), admitted(tmp_path, C, "y")]
    plan = plan_dataset(
        modules, spec(synthesis={"samples_per_class": 51, "batch_size": 8, "threads": 1})
    )
    assert [(portion.module.digest, portion.count) for portion in plan] == [
        (A, 26),
        (B, 25),
        (C, 51),
    ]
    assert plan_dataset(modules[::-1], spec()) == plan_dataset(modules, spec())


def test_equal_modules_give_an_equal_root_and_one_less_another(tmp_path):
    modules = [admitted(tmp_path, digest, name) for digest, name in ((A, "x"), (B, "x"), (C, "y"))]
    roots = []
    for number, chosen in enumerate((modules, modules[::-1], modules[1:])):
        store = ShardStore(tmp_path / f"shards-{number}", spec(), "f")
        plan = plan_dataset(chosen, spec())
        synthesise(plan, store)
        dataset = load_dataset(plan, store, spec())
        assert np.bincount(dataset.labels).tolist() == [50, 50]
        roots.append(dataset.root)
    assert roots[0] == roots[1] != roots[2]


def test_a_class_without_module_leaves_the_label_space(tmp_path):
    plan = plan_dataset([admitted(tmp_path, C, "y")], spec())
    store = ShardStore(tmp_path / "shards", spec(), "f")
    synthesise(plan, store)
    dataset = load_dataset(plan, store, spec())
    assert dataset.classes == ("y",)
    assert set(dataset.labels.tolist()) == {0}


def test_the_merkle_root_is_that_of_rfc_6962():
    leaf = [hashlib.sha256(b"\x00" + bytes([n])).digest() for n in range(3)]
    pair = hashlib.sha256(b"\x01" + leaf[0] + leaf[1]).digest()
    whole = hashlib.sha256(b"\x01" + pair + leaf[2]).hexdigest()
    assert merkle_root([bytes([n]) for n in range(3)]) == whole
    assert merkle_root([]) == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("operators", "constant", "reason"),
    [
        (("Log",), None, "not finite"),
        (("Exp",), None, "leave the range"),
        (("Sigmoid",), 0.5, "constant"),
    ],
)
def test_a_module_with_useless_images_is_refused(tmp_path, operators, constant, reason):
    model = module_file(tmp_path / "module.onnx", *operators, constant=constant)
    with pytest.raises(RefusedError, match=reason):
        probe_module(model, A, spec(), "f")


def test_a_sound_module_passes_the_probe(tmp_path):
    probe_module(module_file(tmp_path / "module.onnx", "Sigmoid"), A, spec(), "f")
