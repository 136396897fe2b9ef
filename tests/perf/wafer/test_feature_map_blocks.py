"""Blocks of feature maps have the pixels that their results need, and no others."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from onewafer.graph import (
    Add,
    Attention,
    Convolution,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Relu,
    ScaleFeatureMaps,
    Window,
    verify_graph,
)
from onewafer.perf.wafer.feature_map_blocks import (
    WHOLE,
    Exchange,
    Gathering,
    Halo,
    can_be_cut,
    cut,
    feature_map_shapes,
)
from tests.perf.feature_map_models import block, graph_of, small_network, tensor, window

WINDOWS = st.builds(
    Window,
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    kernel_height=st.integers(1, 5),
    kernel_width=st.integers(1, 5),
    stride_y=st.integers(1, 3),
    stride_x=st.integers(1, 3),
    top=st.integers(0, 2),
    left=st.integers(0, 2),
    bottom=st.integers(0, 2),
    right=st.integers(0, 2),
    dilation_y=st.integers(1, 2),
    dilation_x=st.integers(1, 2),
)
GRIDS = st.tuples(st.integers(1, 6), st.integers(1, 6))


def convolution(w):
    result = tensor("y", w.num_result_pixels, 4)
    return graph_of(
        Convolution(result, "x", "w", w),
        parameters=(tensor("w", w.num_taps, 4, 3),),
        inputs=(tensor("x", w.num_pixels, 3),),
    )


def test_a_convolution_on_blocks_by_hand():
    blocks = cut(block(8, 4), (2, 4))
    halo, first, *_ = blocks.graph.operations

    assert blocks.graph.inputs[0].shape == (2 * 4, 4)  # 8 / 4 lines of 8 / 2 pixels
    assert blocks.messages == {"first.with_halo": Exchange(Halo(2, 4, 1, 1), Halo(4, 6, 1, 1))}
    assert halo.result.shape == (4 * 6, 4)
    assert first.window == Window(4, 6, 3, 3)
    assert first.input == "first.with_halo"
    assert first.result.shape == (8, 4)


def test_blocks_that_fit_windows_tell_each_other_nothing():
    pool = graph_of(
        MaxPool(tensor("m", 16, 3), "x", window(8, kernel=2, stride=2)),
        inputs=(tensor("x", 64, 3),),
    )
    blocks = cut(pool, (4, 2))

    assert not blocks.messages
    assert blocks.graph.operations[0].window == Window(4, 2, 2, 2, 2, 2)


def test_margins_stay_along_an_axis_that_is_not_cut():
    blocks = cut(block(8, 4), (1, 4))

    assert blocks.messages["first.with_halo"].x == Halo(8, 8)
    assert blocks.graph.operations[1].window == Window(4, 8, 3, 3, left=1, right=1)


def test_halos_may_come_from_several_blocks():
    graph = convolution(Window(8, 1, kernel_height=7, top=3, bottom=3))
    (message,) = cut(graph, (1, 4)).messages.values()

    assert message.y == Halo(own=2, needed=8, before=3, after=3)
    assert message.y.from_each(3) == (2, 1)
    assert message.y.from_each(0) == ()


def test_means_are_gathered_and_gates_keep_their_rows():
    graph = graph_of(
        GlobalAveragePool(tensor("mean", 1, 4), "x", 64),
        ScaleFeatureMaps(tensor("gated", 64, 4), "x", "mean", 64),
        Convolution(tensor("c", 64, 4), "gated", "w", window(8)),
        parameters=(tensor("w", 9, 4, 4),),
        inputs=(tensor("x", 64, 4),),
    )
    blocks = cut(graph, (4, 2))
    mean, gate, *_ = blocks.graph.operations

    assert blocks.messages["mean"] == Gathering()
    assert (mean.rows, mean.result.shape) == (8, (1, 4))
    assert (gate.rows, gate.result.shape) == (8, (8, 4))


def test_a_product_of_all_pixels_takes_them_in_the_shape_that_they_have():
    flat = Window(1, 16, kernel_width=16)
    graph = graph_of(
        MaxPool(tensor("m", 16, 4), "x", window(8, kernel=2, stride=2)),
        Convolution(tensor("c", 1, 10), "m", "w", flat),
        parameters=(tensor("w", 16, 10, 4),),
        inputs=(tensor("x", 64, 4),),
    )
    blocks = cut(graph, (2, 2))

    assert feature_map_shapes(graph)["m"] == (4, 4)
    assert blocks.graph.operations[-1].window == Window(4, 4, 4, 4)
    verify_graph(blocks.graph)


def test_shapes_spread_through_what_works_on_each_place():
    graph = graph_of(
        Relu(tensor("r", 12, 4), "x"),
        Linear(tensor("p", 12, 5), "r", "w"),
        Add(tensor("a", 12, 5), "p", "p"),
        MaxPool(tensor("m", 2, 5), "a", Window(3, 4, 2, 2, 2, 2)),
        Linear(tensor("q", 2, 6), "m", "v"),
        parameters=(tensor("w", 5, 4), tensor("v", 6, 5)),
        inputs=(tensor("x", 12, 4),),
    )
    shapes = feature_map_shapes(graph)

    assert {shapes[name] for name in ("x", "r", "p", "a")} == {(3, 4)}
    assert {shapes[name] for name in ("m", "q")} == {(1, 2)}


def test_feature_maps_that_no_window_sees_are_columns_of_pixels():
    graph = graph_of(
        Linear(tensor("p", 12, 5), "x", "w"),
        parameters=(tensor("w", 5, 4),),
        inputs=(tensor("x", 12, 4),),
    )

    assert feature_map_shapes(graph)["p"] == (12, 1)


def test_what_looks_at_all_pixels_at_once_is_not_cut():
    x = (tensor("x", 16, 8),)
    attention = Attention(tensor("a", 16, 8), "x", "x", "x", 2, 2, 1.0, is_causal=False)
    pool = MaxPool(tensor("m", 4, 8), "a", Window(4, 4, 2, 2, 2, 2))

    assert not can_be_cut(graph_of(attention, pool, inputs=x))
    assert can_be_cut(block(8, 4))


def test_one_group_has_the_graph_itself():
    graph = block(8, 4)

    assert cut(graph, WHOLE).graph is graph


@given(WINDOWS, GRIDS)
def test_blocks_of_a_window_are_a_graph_of_their_own(w, grid):
    assume(min(w.result_height, w.result_width) >= 1)
    blocks = cut(convolution(w), grid)
    *_, result = blocks.graph.operations
    across, down = grid

    verify_graph(blocks.graph)
    assert result.result.shape[0] == -(-w.result_height // down) * -(-w.result_width // across)


@given(WINDOWS, GRIDS)
def test_a_block_is_told_all_that_it_has_not(w, grid):
    assume(min(w.result_height, w.result_width) >= 1)
    assume(not (w.num_taps == w.num_pixels and w.num_result_pixels == 1))
    (message,) = cut(convolution(w), grid).messages.values() or (None,)
    across, down = grid
    along_y = tap_pixels(
        w.height,
        w.result_height,
        kernel=w.kernel_height,
        stride=w.stride_y,
        dilation=w.dilation_y,
        margin=w.top,
    )
    along_x = tap_pixels(
        w.width,
        w.result_width,
        kernel=w.kernel_width,
        stride=w.stride_x,
        dilation=w.dilation_x,
        margin=w.left,
    )
    y, x = farthest(*along_y, down), farthest(*along_x, across)

    if message is None:
        assert y == x == (0, 0)
        return
    for told, asked in ((message.y, y), (message.x, x)):
        assert told.before >= asked[0]
        assert told.after >= asked[1]


@given(st.integers(3, 30), st.sampled_from([(3, 1), (3, 2), (5, 1), (7, 2)]), st.integers(1, 9))
def test_usual_windows_are_told_no_more_than_that(size, kernel_and_stride, blocks):
    kernel, stride = kernel_and_stride
    margin = kernel // 2
    w = Window(size, 1, kernel, 1, stride, 1, margin, 0, margin, 0)
    assume(not (w.num_taps == w.num_pixels and w.num_result_pixels == 1))
    along = tap_pixels(size, w.result_height, kernel=kernel, stride=stride, margin=margin)
    messages = cut(convolution(w), (1, blocks)).messages.values()

    for message in messages:
        assert (message.y.before, message.y.after) == farthest(*along, blocks)


def tap_pixels(size, results, *, kernel, stride, dilation=1, margin):
    """Return the size of a feature map and its pixels that each pixel of the result is made of."""
    pixels = [
        [at for tap in range(kernel) if 0 <= (at := r * stride + tap * dilation - margin) < size]
        for r in range(results)
    ]
    return size, pixels


def farthest(size, pixels, blocks):
    """Return how many pixels in front of a block and behind it are needed at most."""
    own, of_block = -(-size // blocks), -(-len(pixels) // blocks)
    before = after = 0
    for number in range(blocks):
        wanted = [at for of_one in pixels[number * of_block :][:of_block] for at in of_one]
        if wanted:
            before = max(before, number * own - min(wanted))
            after = max(after, max(wanted) + 1 - (number + 1) * own)
    return before, after


@given(GRIDS)
def test_all_groups_together_compute_at_least_everything(grid):
    graph = small_network().segments[1].graph
    blocks = cut(graph, grid)
    stand_ins = {name for name, told in blocks.messages.items() if isinstance(told, Exchange)}
    whole = sum(operation.count_flop(graph.by_name) for operation in graph.operations)
    of_group = sum(
        operation.count_flop(blocks.graph.by_name)
        for operation in blocks.graph.operations
        if operation.result.name not in stand_ins
    )

    assert whole <= np.prod(grid) * of_group


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (4, 1)])
def test_names_and_parameters_stay(grid):
    graph = block(8, 4)
    blocks = cut(graph, grid)

    assert blocks.graph.parameters == graph.parameters
    assert blocks.graph.outputs == graph.outputs
    assert replace(blocks.graph, inputs=(), operations=()) == replace(
        graph, inputs=(), operations=()
    )
