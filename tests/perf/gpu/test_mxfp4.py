"""Weights of experts in four bits: what they take by hand, and what they are not for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_gpu
from onewafer.errors import ConfigurationError
from onewafer.perf import Answer, CompareOptions, Decode, Precision, compare
from onewafer.perf.gpu import GpuOptions, Plan, estimate
from onewafer.perf.gpu.aiconfigurator import AiconfiguratorTables, is_installed
from onewafer.perf.gpu.clock import KernelClock
from onewafer.perf.gpu.factors import load_roofline
from onewafer.perf.gpu.kernels import Experts, ExpertShape, NumberFormat
from tests.perf.dense_model import LLAMA_8B, QWEN3_235B, Sizes, dense_model

MXFP4 = NumberFormat.MXFP4
NARROW = GpuOptions(precision=Precision.MXFP4, uses_tables=False)
GPT_OSS_120B = ExpertShape(
    features=2880,
    hidden=2880,
    elements=2 * 2880 * 2880 + 2880 * 2880 + 3 * 2880,
    num_experts=128,
    experts_per_row=4,
)


def test_32_weights_of_four_bits_have_a_scale_of_eight():
    assert 32 * MXFP4.num_bytes == 32 / 2 + 1


def test_weights_are_unpacked_to_bf16_where_there_is_no_arithmetic_for_four_bits():
    hopper, blackwell = load_gpu("h100"), load_gpu("b200")

    assert MXFP4.peak_flop_per_second(hopper) == hopper.bf16_flop_per_second
    assert MXFP4.peak_flop_per_second(blackwell) == blackwell.fp8_flop_per_second


def test_all_but_experts_stay_in_bf16():
    formats = NARROW.formats

    assert (formats.products, formats.experts) == (NumberFormat.BF16, MXFP4)
    assert formats.cache is NumberFormat.BF16
    assert GpuOptions().formats.experts is NumberFormat.BF16


def test_a_row_reads_its_experts_in_17_bytes_for_32_weights():
    roofline = load_roofline()
    weights = 4 * GPT_OSS_120B.elements * 17 / 32
    between, row = 4 * 2 * 2880 * 2, 2 * 2880 * 2
    time = KernelClock(load_gpu("h100")).time(Experts(GPT_OSS_120B, 1, MXFP4))

    assert time.seconds == pytest.approx(
        (weights + between + row) / (3.35e12 * roofline.memory_efficiency) + roofline.kernel_seconds
    )


def test_memory_is_that_of_both_formats():
    model = dense_model("mixture", replace(QWEN3_235B, layers=40))
    experts = 40 * 128 * 3 * 4096 * 1536
    answer = estimate(model, Decode(context=4096), "h200", NARROW)

    assert isinstance(answer, Answer)
    assert answer.memory.weight_bytes == pytest.approx(
        experts * 17 / 32 + 2 * (model.num_weights - experts)
    )
    assert any("of experts in mxfp4" in note for note in answer.notes)


@given(
    hidden=st.sampled_from([64, 512]),
    experts=st.sampled_from([4, 32]),
    batch=st.integers(1, 64),
)
def test_narrower_experts_never_take_longer_or_more_memory(hidden, experts, batch):
    sizes = Sizes(
        layers=2,
        hidden=hidden,
        heads=4,
        kv_heads=2,
        features=hidden // 4,
        inner=2 * hidden,
        vocabulary=1024,
        experts=experts,
        experts_per_row=2,
    )
    model = dense_model("mixture", sizes)
    wide, narrow = (
        estimate(model, Decode(batch=batch, context=256), "h100", replace(NARROW, precision=one))
        for one in (Precision.BF16, Precision.MXFP4)
    )

    assert narrow.tpot_seconds <= wide.tpot_seconds
    assert narrow.memory.weight_bytes < wide.memory.weight_bytes


def test_a_model_without_experts_has_nothing_in_mxfp4():
    with pytest.raises(ConfigurationError, match="has no experts"):
        estimate(dense_model("dense", LLAMA_8B), Decode(context=64), "h100", NARROW)


def test_a_wafer_says_how_it_holds_them():
    sizes = replace(QWEN3_235B, layers=1, hidden=64, inner=32, heads=4, features=16, vocabulary=96)
    model = dense_model("mixture", sizes, rows=1)
    options = CompareOptions(gpu=NARROW)
    on_wafer, on_gpu = compare(model, Decode(context=16), ["cs3", "h100"], options).results

    assert any("mxfp4 are unpacked" in note for note in on_wafer.notes)
    assert not any("unpacked" in note for note in on_gpu.notes)


@pytest.mark.skipif(not is_installed(), reason="needs aiconfigurator-core and pyarrow")
@pytest.mark.parametrize("gpu", ["h200", "b200"])
def test_experts_of_gpt_oss_were_measured(gpu):
    device = load_gpu(gpu)
    clock = KernelClock(device, AiconfiguratorTables(device.measurements, "trtllm"))
    few, many = (clock.time(Experts(GPT_OSS_120B, rows, MXFP4)) for rows in (1, 256))

    assert few.is_measured
    assert few.seconds < many.seconds
    assert few.seconds > 4 * GPT_OSS_120B.elements * 17 / 32 / device.memory_bytes_per_second


def test_a_plan_that_is_pinned_shares_experts_in_their_format():
    model = dense_model("mixture", QWEN3_235B)
    options = replace(NARROW, plan=Plan(tensor=4))
    whole = estimate(model, Decode(context=4096), "h200x4", options)
    dealt = estimate(
        model, Decode(context=4096), "h200x4", replace(options, plan=Plan(tensor=4, expert=4))
    )

    assert dealt.memory.weight_bytes == pytest.approx(whole.memory.weight_bytes)
