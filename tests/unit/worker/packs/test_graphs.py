"""A rewritten graph returns the original's outputs; a rewrite leaves unknown structures alone."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from tests.unit.worker.engine.toy_graphs import (
    Floats,
    detector,
    graph,
    noise,
    operators,
    prelu,
    recogniser,
    run,
    shape_of,
)
from worker.packs import graphs

SLOPES = np.linspace(-0.5, 1.5, 8, dtype=np.float32)


def same(model: ModelProto, other: ModelProto, batch: Floats) -> bool:
    return all(
        np.allclose(mine, theirs, rtol=0, atol=1e-5)
        for mine, theirs in zip(run(model, batch), run(other, batch), strict=True)
    )


def test_negligible_weights_become_zeros_and_outputs_stay_identical() -> None:
    weights = {"w1": noise(8, 3, 3, 3), "w2": noise(4, 8, 1, 1)}
    weights["w1"][2] = 1e-39
    weights["w2"][1, 3:5] = -3e-24
    model = graph(
        [
            helper.make_node("Conv", ["input", "w1"], ["a"], kernel_shape=[3, 3]),
            helper.make_node("Conv", ["a", "w2"], ["output"], kernel_shape=[1, 1]),
        ],
        weights,
        takes=[1, 3, 16, 16],
        gives={"output": [1, 4, 14, 14]},
    )
    made = graphs.with_zeroed_dust(model)
    left = {value.name: numpy_helper.to_array(value) for value in made.graph.initializer}
    assert not left["w1"][2].any()
    assert not left["w2"][1, 3:5].any()
    assert all(np.array_equal(left[name][left[name] != 0], weights[name][left[name] != 0]) for name in weights)
    batch = noise(1, 3, 16, 16)
    assert np.array_equal(run(made, batch)[0], run(model, batch)[0])


def test_small_values_that_are_not_weights_stay() -> None:
    model = graph(
        [helper.make_node("Mul", ["input", "factor"], ["output"])],
        {"factor": np.full((1, 8), 1e-30, np.float32)},
        takes=[1, 8],
        gives={"output": [1, 8]},
    )
    assert graphs.with_zeroed_dust(model) is model


def test_weights_of_some_size_are_left_alone() -> None:
    model = prelu(SLOPES.reshape(8, 1, 1))
    assert graphs.with_zeroed_dust(model) is model


@pytest.mark.parametrize(
    "slope",
    [
        SLOPES.reshape(8, 1, 1),
        SLOPES.reshape(1, 8, 1, 1),
        np.full((1, 1, 1), 0.25, np.float32),
        np.full(1, 0.1, np.float32),
    ],
)
def test_a_prelu_over_channels_is_written_as_convolutions(slope: NDArray[Any]) -> None:
    model = prelu(slope)
    made = graphs.with_convolved_prelu(model)
    assert operators(made) == ["Conv", "Conv", "Relu", "Conv", "Add", "Conv"]
    assert same(made, model, noise(1, 3, 16, 16))


@pytest.mark.parametrize(
    "slope", [noise(8, 14, 14), noise(14), noise(1, 1, 14)], ids=["one a pixel", "one a column", "one a column, ranked"]
)
def test_a_prelu_with_other_slopes_is_left_alone(slope: NDArray[Any]) -> None:
    model = prelu(slope)
    assert graphs.with_convolved_prelu(model) is model


def test_a_prelu_on_rows_is_left_alone() -> None:
    model = graph(
        [helper.make_node("PRelu", ["input", "slope"], ["output"])],
        {"slope": noise(8)},
        takes=[1, 8],
        gives={"output": [1, 8]},
    )
    assert graphs.with_convolved_prelu(model) is model


def test_two_prelus_share_no_slope() -> None:
    model = graph(
        [
            helper.make_node("PRelu", ["input", "one"], ["a"]),
            helper.make_node("PRelu", ["a", "two"], ["output"]),
        ],
        {"one": SLOPES.reshape(8, 1, 1), "two": SLOPES[::-1].reshape(8, 1, 1).copy()},
        takes=[1, 8, 4, 4],
        gives={"output": [1, 8, 4, 4]},
    )
    assert same(graphs.with_convolved_prelu(model), model, noise(1, 8, 4, 4))


def test_the_original_is_not_touched() -> None:
    for model, rewrite in [
        (detector(interleaved=True), graphs.with_free_sides),
        (detector(interleaved=True), graphs.with_free_batch),
        (narrow(), graphs.with_joined_convolutions),
        (prelu(SLOPES.reshape(8, 1, 1)), graphs.with_convolved_prelu),
    ]:
        before = model.SerializeToString()
        assert rewrite(model).SerializeToString() != before
        assert model.SerializeToString() == before


def test_a_recogniser_for_one_picture_takes_many_and_keeps_them_apart() -> None:
    model = recogniser()
    made = graphs.with_free_batch(model)
    batch = noise(5, 3, 16, 16)
    together = run(made, batch)[0]
    assert together.shape == (5, 16)
    assert shape_of(made) == [graphs.BATCH, 16]
    for row, alone in zip(batch, together, strict=True):
        np.testing.assert_allclose(run(model, row[None])[0][0], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("interleaved", [True, False], ids=["older heads", "newer heads"])
def test_a_detector_for_one_picture_of_one_size_takes_many_of_any(interleaved: bool) -> None:
    model = detector(interleaved=interleaved)
    made = graphs.with_free_batch(graphs.with_free_sides(model))
    batch = noise(3, 3, 64, 64)
    answers = run(made, batch)
    assert [answer.shape for answer in answers] == [(3, 128, 1), (3, 128, 4), (3, 32, 1), (3, 32, 4)]
    for number, picture in enumerate(batch):
        for alone, together in zip(run(model, picture[None]), answers, strict=True):
            np.testing.assert_allclose(alone.reshape(together[number].shape), together[number], rtol=0, atol=1e-6)
    assert run(made, noise(1, 3, 32, 96))[0].shape == (1, 2 * 4 * 12, 1)


def test_older_heads_interleave_pictures_unless_rewritten() -> None:
    """Guard the test above: without the new order of axes, a batch interleaves the rows of both pictures."""
    broken = detector(interleaved=True, side="side")
    broken.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    batch = noise(2, 3, 64, 64)
    assert not np.allclose(run(broken, batch)[1][:128], run(broken, batch[:1])[1], atol=1e-3)
    assert np.allclose(run(graphs.with_free_batch(broken), batch)[1][0], run(broken, batch[:1])[1], atol=1e-6)


def test_free_sides_match_a_graph_exported_for_that_size() -> None:
    """Export the same weights for sides of 64 and 96; with free sides, the first matches the second."""
    small, large = detector(interleaved=False, side=64), detector(interleaved=False, side=96)
    weights = {value.name: value for value in small.graph.initializer if value.name != "sizes"}
    for value in large.graph.initializer:
        if value.name in weights:
            value.CopyFrom(weights[value.name])
    assert same(graphs.with_free_sides(small), large, noise(1, 3, 96, 96))


@pytest.mark.parametrize("rewrite", [graphs.with_free_batch, graphs.with_free_sides])
def test_a_model_with_free_axes_passes_unchanged(rewrite: graphs.Rewrite) -> None:
    free = graphs.with_free_batch(graphs.with_free_sides(detector(interleaved=False)))
    assert rewrite(free) is free


def narrow(*, opset: int = 11, strides: tuple[int, ...] = (1, 1, 1)) -> ModelProto:
    """Return three convolutions of one tensor, as wide as those of an SCRFD head."""
    counts = {"score": 2, "box": 8, "points": 20}
    return graph(
        [
            helper.make_node("Conv", ["input", f"w{name}", f"b{name}"], [name], pads=[1, 1, 1, 1], strides=[stride] * 2)
            for name, stride in zip(counts, strides, strict=True)
        ],
        {
            **{f"w{name}": noise(count, 4, 3, 3) for name, count in counts.items()},
            **{f"b{name}": noise(count) for name, count in counts.items()},
        },
        takes=[1, 4, 8, 8],
        gives={
            name: [1, count, 8 // stride, 8 // stride]
            for (name, count), stride in zip(counts.items(), strides, strict=True)
        },
        opset=opset,
    )


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_narrow_convolutions_of_one_tensor_are_joined(opset: int) -> None:
    model = narrow(opset=opset)
    made = graphs.with_joined_convolutions(model)
    assert operators(made) == ["Conv", "Split"]
    assert same(made, model, noise(1, 4, 8, 8))


def test_convolutions_that_step_differently_are_not_joined() -> None:
    model = narrow(strides=(1, 2, 4))
    assert graphs.with_joined_convolutions(model) is model


def test_unused_constants_are_dropped() -> None:
    made = graphs.with_convolved_prelu(prelu(SLOPES.reshape(8, 1, 1)))
    assert "slope" not in {value.name for value in made.graph.initializer}
