"""A model pack of a few kilobytes with the shapes of a real one: bright squares are faces."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from worker.packs.manifests import (
    MANIFEST,
    PREPROCESSINGS,
    Licence,
    LivenessLimits,
    Manifest,
    PackFile,
    Role,
    sha256_of,
)
from worker.packs.thresholds import Thresholds

DIMENSIONS = 64
THRESHOLDS = Thresholds(detection=0.5, match=0.35, live=0.5, spoof=0.3, register_score=0.65)


def write_pack(
    models_dir: Path,
    *,
    name: str = "tiny",
    poisoned: Role | None = None,
    flexible: bool = False,
    liveness: bool = True,
    optional_liveness: bool = False,
) -> Manifest:
    """Write the pack to `models_dir/name`. A `poisoned` role answers NaN; `flexible` frees the fixed input shapes.

    With `optional_liveness` the liveness file has its own limits, and lies beside its place as `spare.onnx`.
    """
    folder = models_dir / name
    folder.mkdir(parents=True)
    graphs: dict[Role, onnx.GraphProto] = {
        "detection": _detector(flexible=flexible, bias=_bias(poisoned == "detection")),
        "recognition": _recogniser(flexible=flexible, bias=_bias(poisoned == "recognition")),
    }
    if liveness:
        graphs["liveness"] = _liveness(bias=_bias(poisoned == "liveness"))
    files: list[PackFile] = []
    for role, graph in graphs.items():
        path = folder / f"{role}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        files.append(PackFile(name=path.name, sha256=sha256_of(path), role=role, preprocessing=PREPROCESSINGS[role][0]))
    if optional_liveness:
        files[-1] = files[-1].model_copy(update={"optional": True, "limits": LivenessLimits(live=0.8, spoof=0.5)})
        (folder / files[-1].name).rename(folder / "spare.onnx")
    manifest = Manifest(
        format=1,
        name=name,
        licence=Licence(text="None: made by a test.", url="", must_accept=False),
        embedding_size=DIMENSIONS,
        thresholds=THRESHOLDS,
        files=tuple(files),
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2))
    return manifest


def _bias(poisoned: bool) -> float:
    return math.nan if poisoned else 0.0


def _tensor(name: str, values: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def _shape(name: str, *dimensions: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(dimensions, np.int64), name)


def _value(name: str, shape: list[int | str] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _detector(*, flexible: bool, bias: float) -> onnx.GraphProto:
    """Three strides with two anchors each; a bright cell of 32 pixels is a face of 256, the finer strides see none."""
    points = [(-1, -1), (1, -1), (0, 0), (-1, 1), (1, 1)]
    nodes, weights, outputs = [], [], []
    for head, channels in (("score", 1), ("box", 4), ("points", 10)):
        for stride in (8, 16, 32):
            out = f"{head}{stride}"
            weight: NDArray[np.float64] = np.zeros((2 * channels, 3, 1, 1))
            offset: NDArray[np.float64] = np.zeros(2 * channels)
            if head == "score":
                weight[:] = 20 / 3
                offset[:] = -16.0 + bias if stride == 32 else -100.0
            elif head == "box":
                offset[:] = 4.0
            else:
                offset[:] = np.array(points * 2).ravel()
            weights += [_tensor(f"{out}_w", weight), _tensor(f"{out}_b", offset), _shape(f"{out}_s", -1, channels)]
            nodes += [
                helper.make_node(
                    "AveragePool", ["input"], [f"{out}_a"], kernel_shape=[stride] * 2, strides=[stride] * 2
                ),
                helper.make_node("Conv", [f"{out}_a", f"{out}_w", f"{out}_b"], [f"{out}_c"]),
                helper.make_node("Transpose", [f"{out}_c"], [f"{out}_t"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{out}_t", f"{out}_s"], [f"{out}_r" if head == "score" else out]),
            ]
            if head == "score":
                nodes.append(helper.make_node("Sigmoid", [f"{out}_r"], [out]))
            outputs.append(_value(out, ["cells" + out, channels]))
    side: list[int | str] = ["height", "width"] if flexible else [640, 640]
    return helper.make_graph(nodes, "detector", [_value("input", [1, 3, *side])], outputs, weights)


def _recogniser(*, flexible: bool, bias: float) -> onnx.GraphProto:
    weights = np.random.default_rng(5).normal(0, 0.05, (4, 3, 28, 28))
    return helper.make_graph(
        [
            helper.make_node("Conv", ["input", "w", "b"], ["c"], strides=[28, 28]),
            helper.make_node("Flatten", ["c"], ["embedding"]),
        ],
        "recogniser",
        [_value("input", ["batch" if flexible else 1, 3, 112, 112])],
        [_value("embedding", ["batch" if flexible else 1, DIMENSIONS])],
        [_tensor("w", weights), _tensor("b", [bias] * 4)],
    )


def _liveness(*, bias: float) -> onnx.GraphProto:
    """Live is blue: the first channel of BGR speaks for it, the third against."""
    weights = np.array([[1, 0, 0], [0, 0, 1]]).reshape(2, 3, 1, 1) / 64
    return helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["input"], ["g"]),
            helper.make_node("Conv", ["g", "w", "b"], ["c"]),
            helper.make_node("Flatten", ["c"], ["output"]),
        ],
        "liveness",
        [_value("input", [1, 3, 128, 128])],
        [_value("output", [1, 2])],
        [_tensor("w", weights), _tensor("b", [bias] * 2)],
    )
