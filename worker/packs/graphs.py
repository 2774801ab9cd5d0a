"""Rewrite ONNX graphs into equivalents that run faster or accept any batch or picture size.

Every rewrite is a pure function and returns the model unchanged if it does not apply. Rewrites do not check their own
results: `prepare` compares them with the original.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Rewrite = Callable[[ModelProto], ModelProto]

BATCH: Final = "pictures"
HEIGHT: Final = "height"
WIDTH: Final = "width"
_INTERLEAVED: Final = [2, 3, 0, 1]
_BY_PICTURE: Final = [0, 2, 3, 1]
_ELEMENTWISE: Final = ("Sigmoid", "Identity")
_IMAGE_RANK: Final = 4
_BLOCK: Final = 8
"""Channels in a block of onnxruntime's blocked layout: 16 with AVX-512, 8 with AVX2."""
_DUST: Final = 1e-20
"""Weights below this have no effect in float32 when the bias of their channel is added."""
_WEIGHTED: Final = frozenset({"Conv", "Gemm", "MatMul"})
_SPLIT_BY_INPUT: Final = 13
"""Operator set version from which Split takes its lengths as an input."""


def with_zeroed_dust(model: ModelProto) -> ModelProto:
    """Replace weights that training has decayed to almost zero with zeros.

    Weights below 1.2e-38, and products of slightly larger ones, are subnormal, and an Intel core leaves its fast path
    for each of them. This affects one weight in seven of the recogniser of `compact`: with zeros, a run takes 0.08 of
    its time on such a core and returns the same bits.
    """
    graph = _Graph(model)
    weights = {name for node in graph.proto.node if node.op_type in _WEIGHTED for name in node.input[1:]}
    for value in graph.proto.initializer:
        if value.name in weights and value.data_type == TensorProto.FLOAT:
            numbers = numpy_helper.to_array(value)
            dust = (numbers != 0) & (np.abs(numbers) < _DUST)
            if dust.any():
                value.CopyFrom(numpy_helper.from_array(np.where(dust, np.float32(0), numbers), value.name))
    return graph.done()


def with_convolved_prelu(model: ModelProto) -> ModelProto:
    """Replace each PRelu over channels with x + (1 - slope) * relu(-x), as two 1x1 depthwise convolutions.

    onnxruntime computes PRelu outside the blocked layout of its convolutions. In this form it becomes two fused kernels
    within that layout (convolution with Relu, convolution with Add): the recogniser of `compact` takes 0.45 of its
    time.
    """
    graph = _Graph(model)
    shapes = graph.shapes()
    nodes: list[NodeProto] = []
    for node in graph.proto.node:
        slope = graph.constant(node.input[1]) if node.op_type == "PRelu" else None
        channels = _channels(slope, shapes.get(node.input[0])) if slope is not None else None
        if slope is None or channels is None:
            nodes.append(node)
            continue
        x, y = node.input[0], node.output[0]
        ones: NDArray[np.float32] = np.ones((channels, 1, 1, 1), np.float32)
        minus = graph.add(f"minus_{channels}", -ones)
        rest = graph.add(f"{y}_rest", ones - slope.astype(np.float32).reshape(-1, 1, 1, 1))
        depthwise: dict[str, Any] = {"kernel_shape": [1, 1], "group": channels}
        nodes += [
            helper.make_node("Conv", [x, minus], [f"{y}_minus"], name=f"{y}_minus", **depthwise),
            helper.make_node("Relu", [f"{y}_minus"], [f"{y}_below"], name=f"{y}_below"),
            helper.make_node("Conv", [f"{y}_below", rest], [f"{y}_lift"], name=f"{y}_lift", **depthwise),
            helper.make_node("Add", [f"{y}_lift", x], [y], name=f"{y}_prelu"),
        ]
    graph.replace_nodes(nodes)
    return graph.done()


def with_free_batch(model: ModelProto) -> ModelProto:
    """Let a graph that was exported for one picture accept any number of them.

    Older SCRFD heads (Transpose 2,3,0,1, then Reshape to rows) interleave the rows of several pictures. They become
    Transpose 0,2,3,1 and Reshape to (pictures, rows, values), with outputs of three axes.
    """
    graph = _Graph(model)
    graph.scale_by_factors()
    for value in graph.inputs():
        _name_axis(value, 0, BATCH, only=1)
    rows_of_all = set()
    for node in graph.proto.node:
        shape = graph.constant(node.input[1]) if node.op_type == "Reshape" else None
        if shape is None:
            continue
        before = graph.maker(node.input[0])
        if before is not None and _order(before) == _INTERLEAVED and len(shape) == 2 and shape[0] == -1:  # noqa: PLR2004
            before.attribute[0].ints[:] = _BY_PICTURE
            node.input[1] = graph.add(f"{node.output[0]}_shape", np.array([0, -1, shape[1]], np.int64))
            rows_of_all |= graph.elementwise_from(node.output[0])
        elif len(shape) > 1 and shape[0] == 1 and not (shape[1:] == 0).any():
            # 0 copies the axis from the input, so that -1 remains available for another axis
            node.input[1] = graph.add(f"{node.output[0]}_shape", np.array([0, *shape[1:]], np.int64))
    for value in graph.proto.output:
        if value.name in rows_of_all:
            _set_shape(value, [BATCH, f"rows_{value.name}", value.type.tensor_type.shape.dim[-1].dim_value])
        else:
            _name_axis(value, 0, BATCH, only=1)
    return graph.done()


def with_free_sides(model: ModelProto) -> ModelProto:
    """Let a detector that was exported for one size accept any height and width that its strides divide."""
    graph = _Graph(model)
    [value] = graph.inputs()
    if all(axis.HasField("dim_param") or not axis.dim_value for axis in value.type.tensor_type.shape.dim[2:]):
        return graph.done()
    graph.scale_by_factors()
    _name_axis(value, 2, HEIGHT)
    _name_axis(value, 3, WIDTH)
    for output in graph.proto.output:
        rows = len(output.type.tensor_type.shape.dim) - 2
        _name_axis(output, rows, f"rows_{output.name}")
    return graph.done()


def with_joined_convolutions(model: ModelProto) -> ModelProto:
    """Join narrow convolutions of the same tensor into one convolution and a Split.

    The blocked layout rounds channels up to 8 or 16: the 2, 8, and 20 of an SCRFD head cost as much as 64, but as 32 if
    joined. This saves 3.3 % of the time of the detector of `compact`.
    """
    graph = _Graph(model)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, node in enumerate(graph.proto.node):
        weight = graph.constant(node.input[1]) if node.op_type == "Conv" and len(node.input) == 3 else None  # noqa: PLR2004
        if weight is None or graph.constant(node.input[2]) is None or _attribute(node, "group", 1) != 1:
            continue
        attributes = tuple(sorted(part.SerializeToString(deterministic=True) for part in node.attribute))
        groups.setdefault((node.input[0], weight.shape[1:], attributes), []).append(index)
    replaced: dict[int, list[NodeProto]] = {}
    for group in groups.values():
        parts = [graph.proto.node[index] for index in group]
        counts = [len(graph.known(node.input[1])) for node in parts]
        if _rounded(sum(counts)) < sum(map(_rounded, counts)):
            replaced |= {index: [] for index in group[1:]} | {group[0]: graph.joined(parts, counts)}
    nodes = [node for index, old in enumerate(graph.proto.node) for node in replaced.get(index, [old])]
    graph.replace_nodes(nodes)
    return graph.done()


class _Graph:
    """A copy of a model for a rewrite to change."""

    def __init__(self, model: ModelProto) -> None:
        self.model = ModelProto()
        self.model.CopyFrom(model)
        self.proto = self.model.graph
        self._before = model.SerializeToString(deterministic=True)
        self._original = model

    def done(self) -> ModelProto:
        """Return the model without unused constants and stale shapes; the original if nothing changed."""
        if self.model.SerializeToString(deterministic=True) == self._before:
            return self._original
        used = {name for node in self.proto.node for name in node.input}
        unused = [value for value in self.proto.initializer if value.name not in used]
        for value in unused:
            self.proto.initializer.remove(value)
        names = {value.name for value in unused}
        for value_info in [value for value in self.proto.input if value.name in names]:
            self.proto.input.remove(value_info)
        del self.proto.value_info[:]
        return self.model

    def inputs(self) -> list[onnx.ValueInfoProto]:
        """Return the inputs of the model, without the constants that older exports list among them."""
        constants = {value.name for value in self.proto.initializer}
        return [value for value in self.proto.input if value.name not in constants]

    def shapes(self) -> dict[str, list[int]]:
        """Return the shape of every tensor of known rank; 0 stands for an axis of unknown size."""
        inferred = onnx.shape_inference.infer_shapes(self.model).graph
        known = [*inferred.value_info, *inferred.input, *inferred.output]
        return {
            value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
            for value in known
            if value.type.tensor_type.HasField("shape")
        }

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """Return the value of a constant tensor, or None if the tensor is not constant."""
        for value in self.proto.initializer:
            if value.name == name:
                return np.asarray(numpy_helper.to_array(value))
        maker = self.maker(name)
        if maker is None or maker.op_type != "Constant" or maker.attribute[0].name != "value":
            return None
        return np.asarray(numpy_helper.to_array(maker.attribute[0].t))

    def known(self, name: str) -> NDArray[np.generic]:
        """Return the value of a tensor that is known to be constant."""
        value = self.constant(name)
        assert value is not None  # noqa: S101 - the caller has checked this
        return value

    def joined(self, parts: Sequence[NodeProto], counts: Sequence[int]) -> list[NodeProto]:
        """Return one convolution in place of several of the same tensor, and the Split that restores their outputs."""
        name = f"{parts[0].output[0]}_joined"
        weight = self.add(f"{name}_weight", np.concatenate([self.known(node.input[1]) for node in parts]))
        bias = self.add(f"{name}_bias", np.concatenate([self.known(node.input[2]) for node in parts]))
        convolution = helper.make_node("Conv", [parts[0].input[0], weight, bias], [name], name=name)
        convolution.attribute.extend(parts[0].attribute)
        outputs = [node.output[0] for node in parts]
        lengths = np.array(counts, np.int64)
        if self.version < _SPLIT_BY_INPUT:
            split = helper.make_node("Split", [name], outputs, name=f"{name}_split", axis=1, split=lengths.tolist())
        else:
            sizes = self.add(f"{name}_sizes", lengths)
            split = helper.make_node("Split", [name, sizes], outputs, name=f"{name}_split", axis=1)
        return [convolution, split]

    @property
    def version(self) -> int:
        """Version of the standard ONNX operator set."""
        return next(int(entry.version) for entry in self.model.opset_import if entry.domain in {"", "ai.onnx"})

    def replace_nodes(self, nodes: Sequence[NodeProto]) -> None:
        """Replace all nodes with these, in this order; some may be nodes of the graph already."""
        copies = []
        for node in nodes:
            copy = NodeProto()
            copy.CopyFrom(node)
            copies.append(copy)
        del self.proto.node[:]
        self.proto.node.extend(copies)

    def maker(self, name: str) -> NodeProto | None:
        """Return the node that outputs this tensor."""
        return next((node for node in self.proto.node if name in node.output), None)

    def add(self, name: str, value: NDArray[np.generic]) -> str:
        """Add a constant unless one of this name exists, and return its name in the graph."""
        name = f"vultus_{name}"
        if not any(known.name == name for known in self.proto.initializer):
            self.proto.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def elementwise_from(self, name: str) -> set[str]:
        """Return this tensor and those derived from it element by element."""
        reached = {name}
        for node in self.proto.node:
            if node.op_type in _ELEMENTWISE and node.input[0] in reached:
                reached.add(node.output[0])
        return reached

    def scale_by_factors(self) -> None:
        """Replace the fixed size of each Resize with the equivalent integer scale factors."""
        shapes = self.shapes()
        for node in self.proto.node:
            if node.op_type != "Resize" or len(node.input) < 4:  # noqa: PLR2004 - tensor, region, factors, sizes
                continue
            sizes, before = self.constant(node.input[3]), shapes.get(node.input[0], [])
            if sizes is None or len(before) != len(sizes) or 0 in before or (sizes % np.array(before)).any():
                continue
            factors = (sizes // np.array(before)).astype(np.float32)
            inputs = [node.input[0], node.input[1], self.add(f"{node.output[0]}_factors", factors)]
            del node.input[:]
            node.input.extend(inputs)


def _channels(slope: NDArray[np.generic], shape: Sequence[int] | None) -> int | None:
    """Return the channels of an image tensor whose PRelu has a slope per channel or a single one; None for others."""
    if shape is None or len(shape) != _IMAGE_RANK or not shape[1] or slope.dtype != np.float32:
        return None
    over_channels = slope.shape in {(shape[1], 1, 1), (1, shape[1], 1, 1)}
    return shape[1] if over_channels or slope.size == 1 else None


def _rounded(channels: int) -> int:
    return -(-channels // _BLOCK) * _BLOCK


def _attribute(node: NodeProto, name: str, default: int) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), default)


def _order(node: NodeProto) -> list[int]:
    return list(node.attribute[0].ints) if node.op_type == "Transpose" and node.attribute else []


def _name_axis(value: onnx.ValueInfoProto, axis: int, name: str, *, only: int | None = None) -> None:
    """Make a fixed axis dynamic; with `only`, if it has that size."""
    shape = value.type.tensor_type.shape.dim
    if axis < len(shape) and shape[axis].dim_value and (only is None or shape[axis].dim_value == only):
        shape[axis].dim_param = name


def _set_shape(value: onnx.ValueInfoProto, shape: Sequence[int | str]) -> None:
    value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, shape))
