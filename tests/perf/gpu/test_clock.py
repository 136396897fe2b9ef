"""Kernels by hand-computed rooflines, by measurements, and what must hold for all of them."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_gpu
from onewafer.errors import ConfigurationError
from onewafer.perf import Precision
from onewafer.perf.breakdown import Limit
from onewafer.perf.gpu.aiconfigurator import AiconfiguratorTables, is_installed
from onewafer.perf.gpu.clock import KernelClock, load_roofline
from onewafer.perf.gpu.collectives import Collective, Group, flat_seconds, nvlink
from onewafer.perf.gpu.kernels import (
    AttentionShape,
    Communication,
    DecodeAttention,
    Elementwise,
    Experts,
    ExpertShape,
    Gemm,
    NumberFormat,
    PrefillAttention,
    product_format,
)
from onewafer.perf.gpu.latency_table import Points
from onewafer.perf.gpu.measurements import AttentionPoints, CollectivePoints

H100 = load_gpu("h100")
BF16 = NumberFormat.BF16
HEADS = AttentionShape(heads=32, kv_heads=8, features=128)
needs_tables = pytest.mark.skipif(
    not is_installed(), reason="needs the packages aiconfigurator-core and pyarrow"
)


@dataclass(frozen=True)
class FewPoints:
    """A measurement or two of each kind."""

    source: str = "a bench"

    def gemm(self, number_format):
        if number_format is not BF16:
            return None
        sizes = (np.array([8.0]), np.array([512.0]), np.array([512.0]))
        return Points(sizes, np.array([1e-3]))

    def decode_attention(self, shape, cache_format):  # noqa: ARG002
        return AttentionPoints(
            HEADS, Points((np.array([8.0]), np.array([1000.0])), np.array([1e-3]))
        )

    def prefill_attention(self, shape, cache_format):  # noqa: ARG002
        return None

    def experts(self, shape, number_format):  # noqa: ARG002
        return None

    def collective(self, collective, num_gpus):
        if collective is not Collective.ALL_REDUCE:
            return None
        return CollectivePoints(num_gpus, Points((np.array([1e6]),), np.array([1e-3])))


def test_a_product_of_few_rows_takes_the_time_of_its_weights():
    roofline = load_roofline()
    num_bytes = 2 * (1 * 4096 + 4096 * 8192 + 1 * 8192)
    time = KernelClock(H100).time(Gemm(1, 8192, 4096, BF16))

    assert time.limit is Limit.HBM
    assert not time.is_measured
    assert time.seconds == pytest.approx(
        num_bytes / (3.35e12 * roofline.memory_efficiency) + roofline.kernel_seconds
    )


def test_a_product_of_many_rows_takes_the_time_of_its_operations():
    roofline = load_roofline()
    time = KernelClock(H100).time(Gemm(8192, 8192, 8192, BF16))

    assert time.limit is Limit.COMPUTE
    assert time.seconds == pytest.approx(
        2 * 8192**3 / (989e12 * roofline.compute_efficiency) + roofline.kernel_seconds
    )


def test_attention_of_new_tokens_reads_the_cache_once():
    roofline = load_roofline()
    cache = 8 * 1000 * 2 * 8 * 128 * 2
    queries_and_results = 8 * 2 * 32 * 128 * 2
    time = KernelClock(H100).time(DecodeAttention(HEADS, 8, 1000, BF16))

    assert time.seconds == pytest.approx(
        (cache + queries_and_results) / (3.35e12 * roofline.memory_efficiency)
        + roofline.kernel_seconds
    )


def test_attention_of_a_prompt_counts_the_pairs_that_are_not_masked():
    roofline = load_roofline()
    flop = 4 * (4096 * 4097 / 2) * 32 * 128
    time = KernelClock(H100).time(PrefillAttention(HEADS, 1, 4096, 0, BF16))

    assert time.limit is Limit.COMPUTE
    assert time.seconds == pytest.approx(
        flop / (989e12 * roofline.attention_efficiency) + roofline.kernel_seconds
    )


@given(st.integers(1, 300), st.integers(0, 300), st.integers(1, 200))
def test_a_window_leaves_out_what_lies_further_back(new, cached, window):
    shape = replace(HEADS, window=window)
    pairs = sum(min(cached + row + 1, window) for row in range(new))
    clock = KernelClock(replace(H100, bf16_flop_per_second=1e3, memory_bytes_per_second=1e30))
    time = clock.time(PrefillAttention(shape, 1, new, cached, BF16))
    efficiency = load_roofline().attention_efficiency

    assert time.seconds == pytest.approx(4 * pairs * 32 * 128 / (1e3 * efficiency), rel=1e-6)


def test_experts_are_read_if_a_row_meets_them():
    roofline = load_roofline()
    shape = ExpertShape(512, 256, 1000, num_experts=4, experts_per_row=1, tensor=1, expert=2)
    met = 1 - (3 / 4) ** 2
    weights = met * 2 * 1000 * 2
    between, rows = 2 * (1 / 2) * 2 * 256 * 2, 2 * 2 * 512 * 2
    time = KernelClock(H100).time(Experts(shape, 2, BF16))

    assert time.seconds == pytest.approx(
        (weights + between + rows) / (3.35e12 * roofline.memory_efficiency)
        + roofline.kernel_seconds
    )


def test_keys_and_values_that_share_numbers_are_read_once():
    latent = replace(HEADS, cached_features=576)

    assert latent.token_elements == 576
    assert HEADS.token_elements == 2 * 8 * 128


def test_measured_kernels_take_what_was_measured():
    clock = KernelClock(H100, FewPoints())

    assert clock.time(Gemm(8, 512, 512, BF16)).seconds == pytest.approx(1e-3)
    assert clock.time(Gemm(8, 512, 512, BF16)).is_measured
    assert clock.time(DecodeAttention(HEADS, 8, 1000, BF16)).seconds == pytest.approx(1e-3)
    reduced = clock.time(Communication(Collective.ALL_REDUCE, 1e6, Group(4)))
    assert reduced.seconds == pytest.approx(1e-3)


def test_what_was_not_measured_falls_back_to_formulas():
    clock, plain = KernelClock(H100, FewPoints()), KernelClock(H100)
    kernels = (
        Gemm(8, 512, 512, NumberFormat.FP8),
        PrefillAttention(HEADS, 1, 64, 0, BF16),
        Communication(Collective.ALL_GATHER, 1e6, Group(4)),
        Communication(Collective.ALL_REDUCE, 1e6, Group(16)),
        Elementwise(1e6),
    )

    assert [clock.time(kernel) for kernel in kernels] == [plain.time(kernel) for kernel in kernels]


def test_a_measured_efficiency_holds_for_other_sizes_and_shapes():
    clock = KernelClock(H100, FewPoints())
    formula = partial(flat_seconds, Collective.ALL_REDUCE, num_gpus=4, link=nvlink(H100))
    larger = clock.time(Communication(Collective.ALL_REDUCE, 1e8, Group(4)))

    assert larger.seconds == pytest.approx(1e-3 * formula(1e8) / formula(1e6))


def test_arithmetic_that_a_gpu_lacks_is_refused():
    with pytest.raises(ConfigurationError, match=r"A100 SXM 80GB has no fp8 arithmetic"):
        KernelClock(load_gpu("a100")).time(Gemm(1, 8, 8, NumberFormat.FP8))


def test_precisions_have_formats():
    assert product_format(Precision.FP16) is BF16
    assert product_format(Precision.FP8) is NumberFormat.FP8
    assert product_format(Precision.FP8, has_block_scales=True) is NumberFormat.FP8_BLOCK
    assert product_format(Precision.FP4).num_bytes == 0.5625


dimensions = st.integers(1, 20_000)
kernels = st.one_of(
    st.builds(Gemm, dimensions, dimensions, dimensions, st.sampled_from([BF16, NumberFormat.FP8])),
    st.builds(DecodeAttention, st.just(HEADS), dimensions, dimensions, st.just(BF16)),
    st.builds(
        PrefillAttention, st.just(HEADS), st.integers(1, 64), dimensions, dimensions, st.just(BF16)
    ),
    st.builds(Elementwise, st.floats(0, 1e9)),
)


@given(kernels, st.floats(1, 10), st.floats(1, 10))
def test_a_better_gpu_is_never_slower(kernel, faster, wider):
    better = replace(
        H100,
        bf16_flop_per_second=H100.bf16_flop_per_second * faster,
        fp8_flop_per_second=H100.fp8_flop_per_second * faster,
        memory_bytes_per_second=H100.memory_bytes_per_second * wider,
    )

    assert KernelClock(better).time(kernel).seconds <= KernelClock(H100).time(kernel).seconds


@given(st.sampled_from(["rows", "outputs", "inputs"]), dimensions, dimensions, dimensions)
def test_a_larger_product_is_never_faster(which, rows, outputs, inputs):
    small = Gemm(rows, outputs, inputs, BF16)
    large = replace(small, **{which: getattr(small, which) + 17})
    clock = KernelClock(H100)

    assert clock.time(small).seconds <= clock.time(large).seconds


@needs_tables
def test_tables_are_read_and_are_near_the_roofline_where_that_is_tight():
    measured, formula = (
        KernelClock(H100, AiconfiguratorTables("h100_sxm", "trtllm")),
        KernelClock(H100),
    )
    kernels = (
        Gemm(1, 16384, 8192, BF16),
        Gemm(8192, 8192, 8192, BF16),
        Gemm(8192, 8192, 8192, NumberFormat.FP8),
        DecodeAttention(HEADS, 64, 8192, BF16),
        PrefillAttention(HEADS, 1, 8192, 0, BF16),
        Communication(Collective.ALL_REDUCE, 2**26, Group(8)),
        Communication(Collective.ALL_GATHER, 2**26, Group(8)),
    )
    for kernel in kernels:
        time = measured.time(kernel)

        assert time.is_measured
        assert time.seconds == pytest.approx(formula.time(kernel).seconds, rel=0.35), kernel
