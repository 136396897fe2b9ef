"""Models on feature maps: each convolution is an implicit product, and what follows it is free."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import GpuCluster, load_gpu
from onewafer.errors import ConfigurationError
from onewafer.graph import (
    Add,
    AddBias,
    Attention,
    BatchedMatmul,
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Opaque,
    Relu,
    ScaleFeatures,
    Segment,
)
from onewafer.perf import Answer, Forward, Precision, Prefill, Refusal
from onewafer.perf.breakdown import Limit
from onewafer.perf.gpu import GpuOptions, Plan, Points, estimate
from onewafer.perf.gpu.clock import KernelClock
from onewafer.perf.gpu.factors import load_roofline
from onewafer.perf.gpu.feature_map_pieces import piece_on_feature_maps
from onewafer.perf.gpu.kernels import AttentionShape, NumberFormat, Vector
from onewafer.perf.gpu.kernels import Convolution as ConvolutionKernel
from onewafer.perf.gpu.measurements import Measurements
from onewafer.perf.gpu.sharding import Attend, ImplicitProduct, Sweep
from tests.perf.feature_map_models import graph_of, small_network, tensor, window

PLAIN = GpuOptions(uses_tables=False)
NETWORK = small_network()


def answer(model, job, system, options=PLAIN) -> Answer:
    result = estimate(model, job, system, options)
    assert isinstance(result, Answer), result
    return result


def piece(*operations, parameters=(), inputs=None, is_first=True, outputs=None):
    graph = graph_of(*operations, parameters=parameters, inputs=inputs, outputs=outputs)
    return piece_on_feature_maps(Segment(graph, 1), is_first=is_first)


# --- pieces -----------------------------------------------------------------------------------


def test_a_convolution_takes_what_follows_element_by_element():
    one = piece(
        Convolution(tensor("c", 64, 8), "x", "w", window(8)),
        ScaleFeatures(tensor("s", 64, 8), "c", "scale"),
        AddBias(tensor("b", 64, 8), "s", "shift"),
        Add(tensor("a", 64, 8), "b", "y"),
        Relu(tensor("r", 64, 8), "a"),
        parameters=(tensor("w", 9, 8, 4), tensor("scale", 8), tensor("shift", 8)),
        inputs=(tensor("x", 64, 4), tensor("y", 64, 8)),
    )

    assert one.parts == (
        ImplicitProduct("convolutions", rows=64, outputs=8, inputs=4, taps=9, read=64 * 4 + 64 * 8),
    )
    assert (one.quantized_weights, one.plain_weights) == (9 * 8 * 4, 16)
    assert one.sample_elements == 64 * (4 + 8 + 8)


def test_pixels_that_no_tap_meets_are_not_read():
    strided = window(8, kernel=1, stride=2)
    one = piece(
        Convolution(tensor("c", 16, 8), "x", "w", strided),
        parameters=(tensor("w", 1, 8, 4),),
        inputs=(tensor("x", 64, 4),),
    )

    assert one.parts == (
        ImplicitProduct("convolutions", 16, outputs=8, inputs=4, taps=1, read=16 * 4),
    )


def test_what_others_read_as_well_is_written_first():
    one = piece(
        Linear(tensor("p", 64, 8), "x", "w"),
        Relu(tensor("r", 64, 8), "p"),
        Add(tensor("a", 64, 8), "p", "r"),
        parameters=(tensor("w", 8, 4),),
        inputs=(tensor("x", 64, 4),),
    )

    assert one.parts == (
        ImplicitProduct("convolutions", 64, outputs=8, inputs=4, taps=1, read=64 * 4),
        Sweep("other operations", elements=2 * 64 * 8, flop=64 * 8),
    )


def test_functions_without_a_form_are_done_with_the_product_before_them():
    one = piece(
        Linear(tensor("p", 64, 8), "x", "w"),
        Opaque(tensor("o", 64, 8), "aten.hardtanh", ("p",), (), 1.0, keeps_rows=True),
        parameters=(tensor("w", 8, 4),),
        inputs=(tensor("x", 64, 4),),
    )

    assert len(one.parts) == 1


@pytest.mark.parametrize(("is_first", "num_parts"), [(False, 1), (True, 2)])
def test_what_a_piece_begins_with_is_done_by_the_kernel_before_it(is_first, num_parts):
    one = piece(
        Relu(tensor("r", 64, 4), "x"),
        Linear(tensor("p", 64, 8), "r", "w"),
        parameters=(tensor("w", 8, 4),),
        inputs=(tensor("x", 64, 4),),
        is_first=is_first,
    )

    assert len(one.parts) == num_parts


def test_sweeps_read_and_write_their_feature_maps_once():
    one = piece(
        MaxPool(tensor("m", 16, 4), "x", window(8, kernel=2, stride=2)),
        DepthwiseConvolution(tensor("d", 16, 4), "m", "taps", window(4)),
        GlobalAveragePool(tensor("mean", 1, 4), "d", 16),
        parameters=(tensor("taps", 9, 4),),
        inputs=(tensor("x", 64, 4),),
    )

    assert one.parts == (
        Sweep("pools", elements=(64 + 16) * 4, flop=16 * 4 * 4),
        Sweep("depthwise convolutions", elements=2 * 16 * 4, fixed=36, flop=2 * 16 * 4 * 9),
        Sweep("pools", elements=(16 + 1) * 4, flop=4 * 17),
    )


def test_attention_among_pixels_and_products_of_feature_maps_have_their_own_sizes():
    one = piece(
        Attention(tensor("a", 16, 8), "x", "x", "x", 2, 2, 1.0, is_causal=False),
        BatchedMatmul(tensor("m", 16, 16), "a", "a", 1, 16, is_transposed=True),
        Opaque(tensor("v", 16, 16), "aten.view", ("m",), (), 0.0, keeps_rows=True, is_view=True),
        inputs=(tensor("x", 16, 8),),
    )

    assert one.parts == (
        Attend(AttentionShape(2, 2, 4), is_causal=False, tokens=16),
        Sweep("attention", 16 * 8 + 16 * 16, flop=2 * 16 * 16 * 8, is_product=True),
    )


# --- kernels ----------------------------------------------------------------------------------


def test_a_convolution_takes_the_longer_of_arithmetic_and_maps():
    gpu, roofline = load_gpu("h100"), load_roofline()
    kernel = ConvolutionKernel(
        1000, 64, 9 * 32, elements=5000 + 9 * 32 * 64 + 1000 * 64, number_format=NumberFormat.BF16
    )
    time = KernelClock(gpu).time(kernel)
    num_bytes = 2 * (5000 + 9 * 32 * 64 + 1000 * 64)
    arithmetic = 2 * 1000 * 64 * 9 * 32 / (989e12 * roofline.compute_efficiency)
    memory = num_bytes / (3.35e12 * roofline.memory_efficiency)

    assert time.seconds == pytest.approx(max(arithmetic, memory) + roofline.kernel_seconds)
    assert time.limit is Limit.HBM
    assert not time.is_measured


class _TwiceTheRoofline(Measurements):
    """Products that take twice as long as the ideal one."""

    def gemm(self, number_format):
        del number_format
        rows, outputs, inputs = (axis.ravel() for axis in _grid())
        gpu = load_gpu("h100")
        flop = 2.0 * rows * outputs * inputs
        num_bytes = 2.0 * (rows * inputs + outputs * inputs + rows * outputs)
        ideal = load_roofline().ideal(flop, num_bytes, 989e12, gpu)
        return Points((rows, outputs, inputs), 2 * ideal)


def _grid():
    return np.meshgrid(*[np.array([16.0, 256.0, 4096.0])] * 3)


@pytest.mark.parametrize(("taps", "is_measured"), [(9, False), (1, True)])
def test_a_convolution_reaches_what_a_product_of_its_sizes_reaches(taps, is_measured):
    gpu, roofline = load_gpu("h100"), load_roofline()
    elements = 1000 + taps * 64 * 256 + 4096 * 256
    kernel = ConvolutionKernel(
        4096, 256, taps * 64, elements, NumberFormat.BF16, is_dense=taps == 1
    )
    time = KernelClock(gpu, _TwiceTheRoofline()).time(kernel)
    num_bytes = 2 * elements
    ideal = max(2 * 4096 * 256 * taps * 64 / 989e12, num_bytes / 3.35e12) + roofline.kernel_seconds

    assert time.seconds == pytest.approx(2 * ideal)
    assert time.is_measured is is_measured


def test_vectors_have_no_tensor_cores():
    time = KernelClock(load_gpu("h100")).time(Vector(num_bytes=10.0, flop=67e12))

    assert time.seconds == pytest.approx(1 + load_roofline().kernel_seconds)
    assert time.limit is Limit.COMPUTE


# --- passes -----------------------------------------------------------------------------------


def test_a_pass_is_the_sum_of_its_kernels_without_an_engine():
    one = answer(NETWORK, Forward(batch=64), "h100")
    names = {item.name for item in one.breakdown.items}

    assert names == {"convolutions", "pools", "head"}
    assert one.ttft_seconds == pytest.approx(one.breakdown.seconds)
    assert one.tokens_per_second == pytest.approx(64 * 1024 / one.breakdown.seconds)
    assert one.choice.text == "one GPU"
    assert "without a serving engine" in one.notes[0]


def test_a_batch_is_split_over_gpus():
    one, eight = (answer(NETWORK, Forward(batch=64), name) for name in ("h100", "h100x8"))
    eighth = answer(NETWORK, Forward(batch=8), "h100")

    assert eight.choice.text == "8 replicas"
    assert eight.breakdown == eighth.breakdown
    assert eight.breakdown.seconds < one.breakdown.seconds


def test_one_sample_is_on_one_gpu():
    assert answer(NETWORK, Forward(batch=1), "h100x8").choice.text == "one GPU"


def test_rows_of_samples_are_a_prompt_of_that_length():
    assert answer(NETWORK, Prefill(batch=2, tokens=1024), "h100") == answer(
        NETWORK, Forward(batch=2), "h100"
    )


def test_gpus_do_not_share_maps():
    options = replace(PLAIN, plan=Plan(tensor=2))

    with pytest.raises(ConfigurationError, match=r"which GPUs do not share.*--plan dp8"):
        estimate(NETWORK, Forward(batch=8), "h100x8", options)


def test_a_batch_whose_feature_maps_do_not_fit_is_refused_with_what_would_do():
    refusal = estimate(NETWORK, Forward(batch=10**6), "h100", PLAIN)

    assert isinstance(refusal, Refusal)
    assert "for feature maps" in refusal.reason
    assert "h100x" in refusal.reason.split("; ")[-1]


def test_narrow_formats_halve_the_maps():
    wide = answer(NETWORK, Forward(batch=512), "h100")
    narrow = answer(NETWORK, Forward(batch=512), "h100", replace(PLAIN, precision=Precision.FP8))

    assert 0.45 * wide.breakdown.seconds < narrow.breakdown.seconds < 0.6 * wide.breakdown.seconds


batches = st.integers(1, 4000)


@given(batches, batches)
def test_more_samples_never_take_less_time(first, second):
    few, many = sorted((first, second))
    times = [answer(NETWORK, Forward(batch=n), "h100x4").breakdown.seconds for n in (few, many)]

    assert times[0] <= times[1] * (1 + 1e-9)


@given(
    batches,
    st.sampled_from(["bf16_flop_per_second", "fp32_flop_per_second", "memory_bytes_per_second"]),
    st.floats(1, 20),
)
def test_better_hardware_is_never_slower(batch, field, factor):
    gpu = load_gpu("h100")
    better = replace(gpu, **{field: getattr(gpu, field) * factor})
    before, after = (
        answer(NETWORK, Forward(batch=batch), GpuCluster(kind, 2)).breakdown.seconds
        for kind in (gpu, better)
    )

    assert after <= before * (1 + 1e-9)
