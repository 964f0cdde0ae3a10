"""Attacks by operators: others than the allowed, loops without an end, bodies within bodies."""

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper

from tests.hostile.attack import Attack
from tests.hostile.graphs import constant, honest, looping, model, node, value


def _operator(op_type: str, domain: str = "", opsets: tuple[tuple[str, int], ...] = ()) -> bytes:
    nodes = [
        node(op_type, ["noise"], ["x"], domain=domain),
        node("Sigmoid", ["noise"], ["image"]),
    ]
    return model(nodes, opsets=(("", 18), *opsets)).SerializeToString()


def _function() -> bytes:
    made = honest()
    imports = [helper.make_opsetid("", 18)]
    made.functions.append(
        helper.make_function(
            "ai.onnx", "Sigmoid", ["x"], ["y"], [node("Log", ["x"], ["y"])], imports
        )
    )
    return made.SerializeToString()


def _branches(depth: int) -> bytes:
    """2^depth leaves, of which the file names one."""
    body = helper.make_graph(
        [node("Sigmoid", ["noise"], [f"b{depth}"])], "leaf", [], [value(f"b{depth}")]
    )
    for level in reversed(range(depth)):
        branch = node("If", ["go"], [f"b{level}"], then_branch=body, else_branch=body)
        body = helper.make_graph([branch], "branch", [], [value(f"b{level}")])
    nodes = [*body.node, node("Identity", ["b0"], ["image"])]
    return model(nodes, [constant("go", np.bool_(True))]).SerializeToString()


def _scan() -> bytes:
    body = helper.make_graph(
        [node("Identity", ["s"], ["t"])], "body", [value("s", [1, 8, 8])], [value("t", [1, 8, 8])]
    )
    nodes = [node("Scan", ["noise"], ["image"], body=body, num_scan_inputs=1)]
    return model(nodes).SerializeToString()


def _loop_in_a_loop() -> bytes:
    inner = helper.make_graph(
        [node("Identity", ["inner_go"], ["inner_on"]), node("Sin", ["u"], ["v"])],
        "inner",
        [
            value("j", [], TensorProto.INT64),
            value("inner_go", [], TensorProto.BOOL),
            value("u"),
        ],
        [value("inner_on", [], TensorProto.BOOL), value("v")],
    )
    nested = node("Loop", ["inner_trips", "", "x"], ["y"], body=inner)
    return looping([nested], constant("inner_trips", np.int64(256)))


def _two_loops() -> bytes:
    made = onnx.load_model_from_string(looping([node("Sin", ["x"], ["y"])]))
    second = onnx.NodeProto()
    second.CopyFrom(made.graph.node[0])
    second.output[0] = "second"
    made.graph.node.append(second)
    return made.SerializeToString()


def _trips(change: str) -> bytes:
    """A loop whose trip count is not what it seems."""
    made = onnx.load_model_from_string(looping(_TURN, trips=10))
    loop = made.graph.node[0]
    if change == "computed":
        made.graph.node.insert(0, node("Add", ["trips", "trips"], ["more"]))
        made.graph.node[1].input[0] = "more"
    elif change == "absent":
        loop.input[0] = ""
    elif change == "twice":
        made.graph.initializer.append(constant("trips", np.int64(10**9)))
    elif change == "shadowed":
        node_with_its_name = node("Constant", [], ["trips"], value=constant("", np.int64(10**9)))
        made.graph.node.insert(0, node_with_its_name)
    elif change == "an input":
        made.graph.input.append(value("trips", [], TensorProto.INT64))
    return made.SerializeToString()


def _attribute_twice() -> bytes:
    made = model([node("Concat", ["noise", "noise"], ["x"], axis=1), *honest().graph.node])
    made.graph.node[0].attribute.append(helper.make_attribute("axis", 0))
    return made.SerializeToString()


def _attribute_by_reference() -> bytes:
    made = model([node("Concat", ["noise", "noise"], ["x"]), *honest().graph.node])
    made.graph.node[0].attribute.append(
        AttributeProto(name="axis", type=AttributeProto.INT, ref_attr_name="axis")
    )
    return made.SerializeToString()


def _interface(**changes: object) -> bytes:
    return model([node("Sigmoid", ["noise"], ["image"])], **changes).SerializeToString()  # type: ignore[arg-type]


def _of_version(version: int) -> bytes:
    return _interface(opsets=(("", version),))


_TURN = [node("Sin", ["x"], ["y"])]
_TERMINAL = "Sigmoid\x1b[2J\u202e"

OPERATORS = (
    Attack(
        "an operator of its own",
        "operator com.example:Evil",
        lambda: _operator("Evil", "com.example"),
    ),
    Attack(
        "a domain of its own",
        "only standard operators",
        lambda: _operator("Evil", "com.example", (("com.example", 1),)),
    ),
    Attack(
        "an operator of onnxruntime", "com.microsoft", lambda: _operator("Gelu", "com.microsoft")
    ),
    Attack(
        "an operator for training",
        "operator ai.onnx.preview",
        lambda: _operator("Adam", "ai.onnx.preview.training"),
    ),
    Attack(
        "an operator that draws at random",
        "operator RandomNormalLike",
        lambda: _operator("RandomNormalLike"),
    ),
    Attack(
        "an operator on strings", "operator StringNormalizer", lambda: _operator("StringNormalizer")
    ),
    Attack(
        "an operator on sequences",
        "operator SequenceConstruct",
        lambda: _operator("SequenceConstruct"),
    ),
    Attack("an operator that multiplies", "operator Tile", lambda: _operator("Tile")),
    Attack(
        "an operator with a name for terminals",
        r"Sigmoid\\x1b\[2J\\u202e",
        lambda: _operator(_TERMINAL),
    ),
    Attack("an operator of another alphabet", r"Sigm\\u043eid", lambda: _operator("Sigm\u043eid")),
    Attack("a function in the name of an operator", "local functions", _function),
    Attack("operators from the future", "operator set 99", lambda: _of_version(99)),
    Attack("operators from the past", "operator set 7", lambda: _of_version(7)),
    Attack("a file format from the future", "file format 99", lambda: _interface(ir_version=99)),
    Attack("a branch", "If with a body", lambda: _branches(1)),
    Attack("2^11 branches", "If with a body", lambda: _branches(11)),
    Attack("a scan", "Scan with a body", _scan),
    Attack("a loop in a loop", "nested deeper than one Loop", _loop_in_a_loop),
    Attack("two loops", "more than one Loop", _two_loops),
    Attack("a loop of 10^9 turns", "fixed 1 to 256", lambda: looping(_TURN, trips=10**9)),
    Attack("a loop of -1 turns", "fixed 1 to 256", lambda: looping(_TURN, trips=-1)),
    Attack("a loop whose turns are computed", "fixed 1 to 256", lambda: _trips("computed")),
    Attack("a loop without a number of turns", "fixed 1 to 256", lambda: _trips("absent")),
    Attack(
        "a number of turns that is there twice", "two values have one name", lambda: _trips("twice")
    ),
    Attack(
        "a number of turns that a node overwrites",
        "two values have one name",
        lambda: _trips("shadowed"),
    ),
    Attack(
        "a number of turns that is an input", "two values have one name", lambda: _trips("an input")
    ),
    Attack("an attribute that is there twice", "an attribute twice", _attribute_twice),
    Attack("an attribute that refers to none", "no value", _attribute_by_reference),
    Attack(
        "20,001 nodes",
        "more than 20000 nodes",
        lambda: model([node("Sigmoid", ["noise"], ["image"])] * 20_001).SerializeToString(),
    ),
    Attack(
        "another image shape",
        "must be float32",
        lambda: _interface(outputs=[value("image", ["n", 1, 99, 99])]),
    ),
    Attack(
        "another noise type",
        "must be float32",
        lambda: _interface(inputs=[value("noise", kind=TensorProto.DOUBLE)]),
    ),
    Attack(
        "a batch of its own",
        "must be free",
        lambda: _interface(inputs=[value("noise", [4, 1, 8, 8])]),
    ),
    Attack(
        "a second input",
        "exactly one value",
        lambda: _interface(inputs=[value("noise"), value("secret")]),
    ),
    Attack(
        "a second output",
        "exactly one value",
        lambda: _interface(outputs=[value("image"), value("noise")]),
    ),
)
