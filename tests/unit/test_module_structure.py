"""The graph rules: what is not on the allow-list is refused before anything runs it."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from client_agent.errors import RefusedError
from client_agent.module.structure import check_structure
from ff_protocol.spec import parse_spec

SPEC = parse_spec(
    {
        "classes": ["x", "y"],
        "image": {"size": 8, "channels": 1},
        "policy": {"max_parameters": 1000, "max_sampler_steps": 50},
    }
)
SHAPE = ["n", 1, 8, 8]


def value(name, shape=SHAPE, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def loop(trips=10, body_nodes=None):
    body = helper.make_graph(
        body_nodes
        or [
            helper.make_node("Identity", ["cond_in"], ["cond_out"]),
            helper.make_node("Mul", ["x_in", "w"], ["x_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond_in", TensorProto.BOOL, []),
            value("x_in"),
        ],
        [helper.make_tensor_value_info("cond_out", TensorProto.BOOL, []), value("x_out")],
        initializer=[numpy_helper.from_array(np.float32([0.5]), "w")],
    )
    return (
        [
            helper.make_node("Loop", ["trips", "go", "noise"], ["looped"], body=body),
            helper.make_node("Sigmoid", ["looped"], ["image"]),
        ],
        [
            numpy_helper.from_array(np.int64(trips), "trips"),
            numpy_helper.from_array(np.bool_(True), "go"),
        ],
    )


def model(nodes=None, initialisers=(), inputs=None, outputs=None, opsets=None):
    graph = helper.make_graph(
        nodes or [helper.make_node("Sigmoid", ["noise"], ["image"])],
        "g",
        inputs or [value("noise")],
        outputs or [value("image")],
        initializer=list(initialisers),
    )
    return helper.make_model(
        graph, opset_imports=opsets or [helper.make_opsetid("", 18)], ir_version=9
    )


def check(tmp_path, made):
    path = tmp_path / "module.onnx"
    path.write_bytes(made.SerializeToString())
    return check_structure(path, SPEC)


def test_a_loop_over_a_denoiser_is_accepted(tmp_path):
    nodes, initialisers = loop()
    assert check(tmp_path, model(nodes, initialisers)) == 3


@pytest.mark.parametrize("trips", [0, -1, 51, 10**9])
def test_a_loop_turns_a_bounded_number_of_times(tmp_path, trips):
    nodes, initialisers = loop(trips)
    with pytest.raises(RefusedError, match="fixed 1 to 50"):
        check(tmp_path, model(nodes, initialisers))


def test_a_trip_count_that_is_computed_is_refused(tmp_path):
    nodes, initialisers = loop()
    nodes.insert(0, helper.make_node("Identity", ["trips"], ["computed"]))
    nodes[1].input[0] = "computed"
    with pytest.raises(RefusedError, match="fixed"):
        check(tmp_path, model(nodes, initialisers))


def test_a_loop_in_a_loop_is_refused(tmp_path):
    inner, _ = loop()
    nodes, initialisers = loop(body_nodes=inner)
    inner_in_inner, _ = loop(body_nodes=[inner[0]])
    with pytest.raises(RefusedError):
        check(tmp_path, model(inner_in_inner + nodes, initialisers))


def test_branches_are_refused(tmp_path):
    body = helper.make_graph(
        [helper.make_node("Identity", ["noise"], ["b"])], "b", [], [value("b")]
    )
    nodes = [helper.make_node("If", ["go"], ["image"], then_branch=body, else_branch=body)]
    with pytest.raises(RefusedError, match="If"):
        check(tmp_path, model(nodes, [numpy_helper.from_array(np.bool_(True), "go")]))


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (helper.make_node("Evil", ["noise"], ["image"], domain="com.example"), "operator"),
        (helper.make_node("RandomNormalLike", ["noise"], ["image"]), "operator"),
        (helper.make_node("SequenceConstruct", ["noise"], ["image"]), "operator"),
    ],
)
def test_other_operators_are_refused(tmp_path, node, reason):
    with pytest.raises(RefusedError, match=reason):
        check(tmp_path, model([node]))


def test_another_operator_domain_is_refused(tmp_path):
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    with pytest.raises(RefusedError, match="standard operators"):
        check(tmp_path, model(opsets=opsets))


@pytest.mark.parametrize("where", ["/etc/passwd", "../../secret", "weights.bin"])
def test_external_data_is_refused_wherever_it_points(tmp_path, where):
    tensor = numpy_helper.from_array(np.float32([1]), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", where
    with pytest.raises(RefusedError, match="external data"):
        check(tmp_path, model(initialisers=[tensor]))


def test_a_weight_that_claims_terabytes_is_refused_without_allocating(tmp_path):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**20, 2**20, 2**20])
    with pytest.raises(RefusedError, match="impossible size"):
        check(tmp_path, model(initialisers=[tensor]))


def test_a_weight_whose_data_are_missing_is_refused(tmp_path):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[100])
    with pytest.raises(RefusedError, match="disagree"):
        check(tmp_path, model(initialisers=[tensor]))


def test_too_many_weights_are_refused(tmp_path):
    tensor = numpy_helper.from_array(np.zeros(1001, np.float32), "w")
    with pytest.raises(RefusedError, match="at most 1000"):
        check(tmp_path, model(initialisers=[tensor]))


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": [value("noise", ["n", 3, 8, 8])]},
        {"inputs": [value("noise", ["n", 1, 16, 16])]},
        {"inputs": [value("noise", [4, 1, 8, 8])]},
        {"inputs": [value("noise"), value("second")]},
        {"inputs": [value("noise", kind=TensorProto.DOUBLE)]},
        {"outputs": [value("image", ["n", 64])]},
        {"outputs": [value("image"), value("noise")]},
    ],
)
def test_another_interface_is_refused(tmp_path, changes):
    with pytest.raises(RefusedError):
        check(tmp_path, model(**changes))


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"<html>", b"\xff" * 1000])
def test_what_is_not_onnx_is_refused(tmp_path, data):
    path = tmp_path / "module.onnx"
    path.write_bytes(data)
    with pytest.raises(RefusedError):
        check_structure(path, SPEC)


def test_functions_are_refused(tmp_path):
    made = model()
    made.functions.append(
        helper.make_function("com.example", "f", ["a"], ["b"], [], [helper.make_opsetid("", 18)])
    )
    with pytest.raises(RefusedError, match="functions"):
        check(tmp_path, made)
