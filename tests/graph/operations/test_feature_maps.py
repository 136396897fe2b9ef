"""Operations on feature maps: shapes, rules, values, and other numbers of samples."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from onewafer.graph import (
    Add,
    Convolution,
    DataType,
    DepthwiseConvolution,
    GlobalAveragePool,
    Graph,
    GraphError,
    LastRow,
    Linear,
    MaxPool,
    Relu,
    ScaleFeatureMaps,
    ScaleFeatures,
    Tensor,
    Window,
    evaluate_graph,
    from_json,
    num_samples,
    to_json,
    verify_graph,
    with_samples,
)
from tests.graph.convolutional import convolutional, windows
from tests.graph.moved import moved_elements
from tests.graph.strategies import graphs, sequences

F32 = DataType.F32
SIDES = (4, 6)
FEATURES = 3


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, F32)


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def pixels(window: Window) -> tuple[int, int]:
    return window.result_height, window.result_width


@given(convolutional())
def test_well_formed_graphs_pass_and_come_back_from_json(graph):
    verify_graph(graph)
    assert from_json(to_json(graph)) == graph
    assert graph.has_feature_maps == any(
        hasattr(o, "window") or hasattr(o, "rows") for o in graph.operations
    )


def padded(images: torch.Tensor, window: Window, value: float = 0.0) -> torch.Tensor:
    margins = [window.left, window.right, window.top, window.bottom]
    return functional.pad(images, margins, value=value)


def steps(window: Window) -> dict[str, tuple[int, int]]:
    return {
        "stride": (window.stride_y, window.stride_x),
        "dilation": (window.dilation_y, window.dilation_x),
    }


def kernels(weight: np.ndarray, window: Window) -> torch.Tensor:
    """Return a weight whose first dimension is that of the taps as PyTorch has it."""
    taps = (window.kernel_height, window.kernel_width)
    return torch.from_numpy(np.moveaxis(weight, 0, -1).reshape(*weight.shape[1:], *taps))


def images(rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rows.reshape(2, *SIDES, -1)).permute(0, 3, 1, 2)


def rows_of(result: torch.Tensor) -> np.ndarray:
    return result.permute(0, 2, 3, 1).reshape(-1, result.shape[1]).numpy()


def compute(operation, x, **parameters):
    graph = Graph(
        "g",
        (tensor("x", *x.shape),),
        tuple(tensor(name, *array.shape) for name, array in parameters.items()),
        (operation,),
        ("y",),
    )
    verify_graph(graph)
    return evaluate_graph(graph, {"x": x}, parameters)["y"]


X = random(0, 2 * SIDES[0] * SIDES[1], FEATURES)


@given(windows(*SIDES), st.integers(0, 9))
def test_convolution_is_that_of_pytorch(window, seed):
    weight = random(seed, window.num_taps, 5, FEATURES)
    result = tensor("y", 2 * window.num_result_pixels, 5)
    found = compute(Convolution(result, "x", "w", window), X, w=weight)
    expected = functional.conv2d(
        padded(images(X), window), kernels(weight, window), None, **steps(window)
    )
    assert expected.shape[2:] == pixels(window)
    np.testing.assert_allclose(found, rows_of(expected), atol=1e-12)


@given(windows(*SIDES), st.integers(0, 9))
def test_depthwise_is_that_of_pytorch(window, seed):
    weight = random(seed, window.num_taps, FEATURES)
    result = tensor("y", 2 * window.num_result_pixels, FEATURES)
    found = compute(DepthwiseConvolution(result, "x", "w", window), X, w=weight)
    expected = functional.conv2d(
        padded(images(X), window),
        kernels(weight[:, :, np.newaxis], window),
        None,
        **steps(window),
        groups=FEATURES,
    )
    np.testing.assert_allclose(found, rows_of(expected), atol=1e-12)


@given(windows(*SIDES).filter(lambda w: (w.sources() >= 0).any(axis=1).all()))
def test_max_pool_is_that_of_pytorch(window):
    result = tensor("y", 2 * window.num_result_pixels, FEATURES)
    found = compute(MaxPool(result, "x", window), X)
    taps = (window.kernel_height, window.kernel_width)
    expected = functional.max_pool2d(padded(images(X), window, -torch.inf), taps, **steps(window))
    np.testing.assert_array_equal(found, rows_of(expected))


def test_means_and_factors():
    mean = compute(GlobalAveragePool(tensor("y", 2, FEATURES), "x", len(X) // 2), X)
    np.testing.assert_allclose(mean, images(X).mean(dim=(2, 3)).numpy(), atol=1e-12)
    factors = random(1, FEATURES)
    scaled = compute(ScaleFeatures(tensor("y", *X.shape), "x", "f"), X, f=factors)
    np.testing.assert_array_equal(scaled, X * factors)


def test_gates_are_broadcast_over_pixels():
    gate = GlobalAveragePool(tensor("m", 2, FEATURES), "x", len(X) // 2)
    result = ScaleFeatureMaps(tensor("y", *X.shape), "x", "m", len(X) // 2)
    graph = Graph("g", (tensor("x", *X.shape),), (), (gate, result), ("y",))
    verify_graph(graph)
    maps = images(X)
    expected = maps * maps.mean(dim=(2, 3), keepdim=True)
    np.testing.assert_allclose(
        evaluate_graph(graph, {"x": X}, {})["y"], rows_of(expected), atol=1e-12
    )
    assert result.count_flop(graph.by_name) == X.size
    wrong = dataclasses.replace(graph, operations=(gate, dataclasses.replace(result, factors="x")))
    with pytest.raises(GraphError, match=re.escape("factors are (48, 3), must be (2, 3)")):
        verify_graph(wrong)


def test_flop_are_those_of_pytorch():
    window = Window(4, 6, 3, 2, top=1)
    x, weight = tensor("x", 48, 3), tensor("w", 6, 5, 3)
    convolution = Convolution(tensor("y", 2 * window.num_result_pixels, 5), "x", "w", window)
    taps = tensor("t", 6, 5)
    again = Window(*pixels(window), 3, 2)
    depthwise = DepthwiseConvolution(tensor("z", 2 * again.num_result_pixels, 5), "y", "t", again)
    pool = MaxPool(dataclasses.replace(depthwise.result, name="m"), "y", again)
    mean = GlobalAveragePool(tensor("a", 2, 5), "m", again.num_result_pixels)
    operations = (convolution, depthwise, pool, mean)
    graph = Graph("g", (x,), (weight, taps), operations, ("z", "a"))
    verify_graph(graph)
    result, later = 2 * 15 * 5, 2 * 4 * 5
    assert [operation.count_flop(graph.by_name) for operation in operations] == [
        2 * 3 * 6 * result,
        2 * 6 * later,
        6 * later,
        (4 + 1) * 2 * 5,
    ]
    assert moved_elements(convolution, graph) == 48 * 3 + 6 * 5 * 3 + result
    assert moved_elements(mean, graph) == later + 10


# --- rules ----------------------------------------------------------------------------------------

WINDOW = Window(2, 3, 2, 2)
MAP, WEIGHT = tensor("x", 12, 4), tensor("w", 4, 5, 4)
CONVOLUTION = Convolution(tensor("y", 4, 5), "x", "w", WINDOW)
GOOD = Graph("g", (MAP,), (WEIGHT,), (CONVOLUTION,), ("y",))


def with_window(**changes: int) -> dict[str, object]:
    window = dataclasses.replace(WINDOW, **changes)
    return {"operations": (dataclasses.replace(CONVOLUTION, window=window),)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": (tensor("w", 4, 4, 5),)}, "(4, 4, 5), must be (4, out features, 4)"),
        ({"parameters": (tensor("w", 5, 5, 4),)}, "(5, 5, 4), must be (4, out features, 4)"),
        ({"inputs": (tensor("x", 13, 4),)}, "map has 2×3 pixels, which must divide the 13"),
        ({"inputs": (tensor("x", 2, 6, 4),)}, "the input has shape (2, 6, 4), must be (rows,"),
        (with_window(top=-1), "a margin of its window is negative"),
        (with_window(stride_x=0), "map has 2×3 pixels; sizes, strides and dilations must"),
        (with_window(dilation_y=2), "a kernel of 2×2 taps does not fit its feature map of 2×3"),
        (
            {"parameters": (tensor("w", 4, 5),), "operations": (
                DepthwiseConvolution(tensor("y", 4, 4), "x", "w", WINDOW),)},
            "the weight has shape (4, 5), must be (4, 4)",
        ),
        (
            {"operations": (MaxPool(tensor("y", 20, 4), "x", Window(2, 3, 1, 1, top=3)),)},
            "a kernel of 1×1 taps lies outside the map for some pixels of the result",
        ),
        (
            {"operations": (GlobalAveragePool(tensor("y", 1, 4), "x", 5),)},
            "a sample has 5 rows, which must",
        ),
        (
            {"operations": (GlobalAveragePool(tensor("y", 1, 4), "x", 0),)},
            "a sample has 0 rows, must have some",
        ),
        (
            {"operations": (CONVOLUTION, GlobalAveragePool(tensor("z", 1, 5), "y", 4))},
            "it has 1 feature maps, those before it have 2",
        ),
        (
            {"operations": (CONVOLUTION, LastRow(tensor("z", 1, 5), "y"))},
            "it has 2 feature maps, and positions are of one sequence",
        ),
        ({"inputs": (MAP, tensor("v", 3, 4))}, "the input 'v' has 3 rows for 2 samples"),
        (
            {
                "parameters": (WEIGHT, tensor("f", 3)),
                "operations": (ScaleFeatures(tensor("y", 12, 4), "x", "f"),),
            },
            "the vector of factors has shape (3,), must be (4,)",
        ),
    ],
)  # fmt: skip
def test_broken_rules_are_named(change, message):
    verify_graph(GOOD)
    with pytest.raises(GraphError, match=re.escape(message)):
        verify_graph(dataclasses.replace(GOOD, **change))


# --- samples --------------------------------------------------------------------------------------


@given(convolutional(), st.integers(1, 4))
def test_other_samples_make_a_well_formed_graph(graph, samples):
    other = with_samples(graph, samples)
    verify_graph(other)
    assert num_samples(other) == samples
    assert with_samples(other, num_samples(graph)) == graph


@given(graphs() | sequences())
def test_rows_are_samples_unless_they_belong_together(graph):
    assert num_samples(graph) == (1 if graph.is_sequence else graph.inputs[0].shape[0])


def test_each_input_has_rows_of_its_own():
    vectors = tensor("v", 2, 5)
    mean = GlobalAveragePool(tensor("m", 2, 5), "y", 2)
    operations = (
        CONVOLUTION,
        mean,
        Add(tensor("s", 2, 5), "m", "v"),
        Relu(tensor("r", 2, 5), "s"),
        Linear(tensor("z", 2, 2), "r", "u"),
    )
    graph = Graph("g", (MAP, vectors), (WEIGHT, tensor("u", 2, 5)), operations, ("z", "y"))
    verify_graph(graph)
    one = with_samples(graph, 1)
    assert [each.shape for each in one.inputs] == [(6, 4), (1, 5)]
    assert [each.result.shape[0] for each in one.operations] == [2, 1, 1, 1, 1]


@given(convolutional())
def test_samples_do_not_meet(graph):
    """What two samples give together is what each gives alone."""
    graph = with_samples(graph, 2)
    parameters = {t.name: random(1, *t.shape) for t in graph.parameters}
    (source,) = graph.inputs
    x = random(2, *source.shape)
    (together,) = evaluate_graph(graph, {"x": x}, parameters).values()
    one = with_samples(graph, 1)
    alone = [
        evaluate_graph(one, {"x": half}, parameters)[graph.outputs[0]] for half in np.split(x, 2)
    ]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-12)
