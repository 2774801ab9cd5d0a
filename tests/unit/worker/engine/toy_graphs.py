"""ONNX graphs of a few nodes, shaped like what the rewrites look for."""

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]


def noise(*shape: int) -> Floats:
    """The same values for the same shape, in whatever order the tests run."""
    return np.random.default_rng(shape).normal(0, 0.5, shape).astype(np.float32)


def graph(
    nodes: list[NodeProto],
    constants: dict[str, NDArray[Any]],
    *,
    takes: list[int | str],
    gives: dict[str, list[int | str]],
    opset: int = 11,
) -> ModelProto:
    made = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, takes)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in gives.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def prelu(slope: NDArray[Any], *, takes: list[int | str] | None = None) -> ModelProto:
    """Convolution, PRelu, convolution."""
    return graph(
        [
            helper.make_node("Conv", ["input", "w1"], ["a"], kernel_shape=[3, 3]),
            helper.make_node("PRelu", ["a", "slope"], ["b"]),
            helper.make_node("Conv", ["b", "w2"], ["output"], kernel_shape=[1, 1]),
        ],
        {"w1": noise(8, 3, 3, 3), "slope": slope, "w2": noise(4, 8, 1, 1)},
        takes=takes or [1, 3, 16, 16],
        gives={"output": [1, 4, 14, 14]},
    )


def recogniser() -> ModelProto:
    """Fixed to one picture by its input and by a Reshape to [1, -1]."""
    return graph(
        [
            helper.make_node("Conv", ["input", "w"], ["a"], strides=[8, 8], kernel_shape=[8, 8]),
            helper.make_node("Reshape", ["a", "shape"], ["embedding"]),
        ],
        {"w": noise(4, 3, 8, 8), "shape": np.array([1, -1], np.int64)},
        takes=[1, 3, 16, 16],
        gives={"embedding": [1, 16]},
    )


def detector(*, interleaved: bool, side: int | str = 64) -> ModelProto:
    """Two levels, the second added to the first through a Resize to a fixed size; each with a score and a box.

    `interleaved` heads are those of older exports: rows of all pictures in one, outputs of two axes.
    """
    order = [2, 3, 0, 1] if interleaved else [0, 2, 3, 1]
    lead = [-1] if interleaved else [1, -1]
    nodes = [
        helper.make_node("Conv", ["input", "w8"], ["p8"], strides=[8, 8], kernel_shape=[8, 8]),
        helper.make_node("Conv", ["p8", "w16"], ["p16"], strides=[2, 2], kernel_shape=[2, 2]),
        helper.make_node(
            "Resize",
            ["p16", "none", "none", "sizes"] if isinstance(side, int) else ["p16", "none", "factors"],
            ["up"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        helper.make_node("Add", ["p8", "up"], ["f8"]),
    ]
    constants: dict[str, NDArray[Any]] = {"w8": noise(6, 3, 8, 8), "w16": noise(6, 6, 2, 2), "none": np.array([], "f")}
    if isinstance(side, int):
        constants["sizes"] = np.array([1, 6, side // 8, side // 8], np.int64)
    else:
        constants["factors"] = np.array([1, 1, 2, 2], np.float32)
    gives: dict[str, list[int | str]] = {}
    for stride, features in ((8, "f8"), (16, "p16")):
        for name, channels in (("score", 1), ("box", 4)):
            head = f"{name}{stride}"
            constants |= {
                f"{head}_w": noise(2 * channels, 6, 3, 3),
                f"{head}_b": noise(2 * channels),
                f"{head}_s": np.array([*lead, channels], np.int64),
            }
            last = f"{head}_r" if name == "score" else head
            nodes += [
                helper.make_node("Conv", [features, f"{head}_w", f"{head}_b"], [f"{head}_c"], pads=[1, 1, 1, 1]),
                helper.make_node("Transpose", [f"{head}_c"], [f"{head}_t"], perm=order),
                helper.make_node("Reshape", [f"{head}_t", f"{head}_s"], [last]),
            ]
            if name == "score":
                nodes.append(helper.make_node("Sigmoid", [last], [head]))
            rows = 2 * (side // stride) ** 2 if isinstance(side, int) else f"rows{head}"
            gives[head] = [rows, channels] if interleaved else [1, rows, channels]
    return graph(nodes, constants, takes=[1, 3, side, side], gives=gives)


def run(model: ModelProto, batch: Floats) -> list[Floats]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(answer, np.float32) for answer in session.run(None, {"input": batch})]


def operators(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def shape_of(model: ModelProto, output: int = 0) -> list[int | str]:
    return [axis.dim_value or axis.dim_param for axis in model.graph.output[output].type.tensor_type.shape.dim]
