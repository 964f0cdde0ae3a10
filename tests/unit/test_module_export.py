"""The exported module: what it computes, what it may hold, what it must not tell."""

import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from client_agent.errors import TrainingError  # noqa: E402
from client_agent.generator.presets import preset_for  # noqa: E402
from client_agent.generator.training import (  # noqa: E402
    Budget,
    TrainedGenerator,
    sample_torch,
    train_generator,
)
from client_agent.module import export  # noqa: E402
from client_agent.module.export import build_module, export_module  # noqa: E402
from client_agent.synthesis.session import ModuleSession  # noqa: E402
from ff_protocol.spec import parse_spec  # noqa: E402

REPOSITORY = Path(__file__).parents[2]
# Name, side, channels, patch; 17 is padded to 20 before it is folded.
SHAPES = [("grey8", 8, 1, 1), ("odd17", 17, 3, 2)]


def train(size: int, channels: int, seed: int = 0, **changes) -> TrainedGenerator:
    preset = preset_for("tiny", size, channels, **{"norm_groups": 4, "batch_size": 8} | changes)
    images = np.random.default_rng(2).integers(0, 256, (16, size, size, channels), dtype=np.uint8)
    return train_generator(images, preset=preset, seed=seed, budget=Budget(steps=6), threads=1)


def noise(count: int, size: int, channels: int) -> np.ndarray:
    shape = (count, channels, size, size)
    return np.random.Generator(np.random.Philox(4)).standard_normal(shape, dtype=np.float32)


def session(path: Path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module", params=SHAPES, ids=[name for name, *_ in SHAPES])
def exported(request, tmp_path_factory):
    _, size, channels, patch = request.param
    trained = train(size, channels, patch=patch, block_out_channels=(8, 16))
    path = tmp_path_factory.mktemp("module") / "module.onnx"
    export_module(trained, path)
    return trained, path


def test_onnxruntime_agrees_with_torch_at_every_batch_size(exported):
    trained, path = exported
    runner = session(path)
    preset = trained.preset
    for count in (1, 3, 64):
        start = noise(count, preset.image_size, preset.channels)
        images = runner.run(["image"], {"noise": start})[0]
        assert images.dtype == np.float32
        assert images.shape == start.shape
        assert images.min() >= 0.0
        assert images.max() <= 1.0
        assert np.abs(images - sample_torch(trained, start)).max() < 1e-3


def test_samples_of_every_part_of_the_mixture_agree_with_torch(tmp_path: Path):
    random = np.random.default_rng(3)
    images = random.integers(0, 60, (200, 8, 8, 1)) + 190 * (random.random((200, 1, 1, 1)) < 0.3)
    trained = train_generator(
        images.astype(np.uint8), preset=preset_for("tiny", 8, 1), seed=0, budget=Budget(steps=2)
    )
    mixture = trained.gaussian.mixture
    assert mixture is not None
    start = noise(400, 8, 1)
    parts = mixture.part(torch.from_numpy(start).reshape(400, -1))
    assert len(set(parts.tolist())) == len(mixture.means) > 1
    export_module(trained, tmp_path / "module.onnx")
    images = session(tmp_path / "module.onnx").run(["image"], {"noise": start})[0]
    assert np.abs(images - sample_torch(trained, start)).max() < 1e-3


def test_repeats_give_the_same_bits(exported):
    trained, path = exported
    start = noise(5, trained.preset.image_size, trained.preset.channels)
    first = session(path).run(None, {"noise": start})[0]
    assert first.tobytes() == session(path).run(None, {"noise": start})[0].tobytes()


def test_batches_side_by_side_have_the_bits_of_one_after_another(exported):
    trained, path = exported
    image = {"size": trained.preset.image_size, "channels": trained.preset.channels}
    synthesis = {"batch_size": 4, "threads": 3}
    spec = parse_spec({"classes": ["a", "b"], "image": image, "synthesis": synthesis})
    runner = ModuleSession(path, "a" * 64, spec, "f")
    together = [batch.tobytes() for batch in runner.run_batches(range(7))]
    assert together == [runner.run_batch(index).tobytes() for index in range(7)]
    assert len(set(together)) == 7


def test_same_weights_give_the_same_bytes_in_another_process(tmp_path: Path):
    """What the site's second process traces is what its first one did."""
    program = (
        "import sys; from pathlib import Path; "
        "from tests.unit.test_module_export import train, export_module; "
        "export_module(train(8, 1, block_out_channels=(8, 16)), Path(sys.argv[1]))"
    )
    other = tmp_path / "other.onnx"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "7"}
    subprocess.run(
        [sys.executable, "-c", program, str(other)], check=True, env=environment, cwd=REPOSITORY
    )
    here = tmp_path / "here.onnx"
    export_module(train(8, 1, block_out_channels=(8, 16)), here)
    assert other.read_bytes() == here.read_bytes()


def test_only_standard_operators_one_loop_and_nothing_outside_the_file(exported):
    _, path = exported
    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert not model.functions
    body = loop_body(model)
    assert all(node.domain == "" for node in (*model.graph.node, *body.node))
    assert all(node.op_type != "Loop" for node in body.node)
    for tensor in (*model.graph.initializer, *body.initializer):
        assert tensor.data_location == onnx.TensorProto.DEFAULT
    assert [path.name for path in path.parent.iterdir()] == ["module.onnx"]


def test_the_weights_are_inside_the_loop_and_stored_once(exported):
    trained, path = exported
    weights = sum(values.numel() for values in trained.network.state_dict().values())
    body = loop_body(onnx.load(path))
    assert sum(int(np.prod(tensor.dims)) for tensor in body.initializer) >= weights
    assert path.stat().st_size < 4 * weights + 100_000


def test_nothing_of_this_machine_is_in_the_bytes(exported):
    _, path = exported
    telling = [str(Path.home()), str(path.parent), str(Path(export.__file__).parents[2])]
    telling += [str(Path(torch.__file__).parent), socket.gethostname(), platform.node()]
    telling += [".py", "/tmp", "/home", "site-packages", "client_agent", "diffusers", "stack_trace"]
    model = onnx.load(path)
    body = loop_body(model)
    text = without_weights(model)
    for word in telling:
        if len(word) > 1:
            assert word.encode() not in text, word
        if len(word) > 5:  # too long to occur in weights by chance
            assert word.encode() not in path.read_bytes(), word
    assert not model.metadata_props
    for graph in (model.graph, body):
        assert not graph.doc_string
        assert not graph.metadata_props
        assert not any(node.doc_string or node.metadata_props or node.name for node in graph.node)


def test_another_class_of_the_same_preset_reuses_the_trace_and_keeps_its_own_weights(
    tmp_path: Path,
):
    one, other = (train(8, 1, seed, block_out_channels=(8, 16)) for seed in (0, 1))
    start = noise(3, 8, 1)
    images = []
    for name, trained in (("one", one), ("other", other)):
        export_module(trained, tmp_path / name)
        images.append(session(tmp_path / name).run(None, {"noise": start})[0])
        assert np.abs(images[-1] - sample_torch(trained, start)).max() < 1e-3
    assert np.abs(images[0] - images[1]).max() > 1e-3
    assert export.traced_network.cache_info().hits > 0


def test_attention_and_three_levels_export(tmp_path: Path):
    trained = train(
        16, 1, patch=1, block_out_channels=(8, 8, 8), attention=True, attention_head_dim=4
    )
    export_module(trained, tmp_path / "module.onnx")
    start = noise(2, 16, 1)
    images = session(tmp_path / "module.onnx").run(None, {"noise": start})[0]
    assert np.abs(images - sample_torch(trained, start)).max() < 1e-3


def test_weights_that_are_not_finite_are_refused(tmp_path: Path):
    trained = train(8, 1, block_out_channels=(8, 16))
    with torch.no_grad():
        next(iter(trained.network.parameters()))[0] = float("nan")
    with pytest.raises(TrainingError, match="not finite"):
        export_module(trained, tmp_path / "module.onnx")
    assert not (tmp_path / "module.onnx").exists()


def test_the_model_is_plain_data(exported):
    """The shape that admission relies on: names, free batch, a constant trip count."""
    trained, _ = exported
    model = build_module(trained)
    side, channels = trained.preset.image_size, trained.preset.channels
    for values, name in ((model.graph.input, "noise"), (model.graph.output, "image")):
        assert [value.name for value in values] == [name]
        dims = values[0].type.tensor_type.shape.dim
        assert dims[0].dim_param == "n"
        assert [dim.dim_value for dim in dims[1:]] == [channels, side, side]
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    trips = next(tensor for tensor in model.graph.initializer if tensor.name == loop.input[0])
    assert int(onnx.numpy_helper.to_array(trips)) == trained.preset.sampler_steps


def without_weights(model) -> bytes:
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for graph in (bare.graph, loop_body(bare)):
        for tensor in graph.initializer:
            tensor.ClearField("raw_data")
    return bare.SerializeToString()


def loop_body(model):
    (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
    return next(attribute.g for attribute in loop.attribute if attribute.name == "body")
