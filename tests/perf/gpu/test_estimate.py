"""Answers and refusals: numbers that can be checked by hand, and good errors."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import GpuCluster, load_gpu
from onewafer.errors import ConfigurationError
from onewafer.perf import Answer, Decode, Goal, Precision, Prefill, Refusal, Serve, Train
from onewafer.perf.breakdown import Limit
from onewafer.perf.gpu import GpuOptions, Plan, Profile, estimate
from onewafer.perf.gpu.factors import load_roofline
from tests.perf.dense_model import LLAMA_8B, LLAMA_70B, QWEN3_235B, dense_model

SMALL = dense_model("llama-3.1-8b", LLAMA_8B)
LARGE = dense_model("llama-3.1-70b", LLAMA_70B)
PLAIN = GpuOptions(uses_tables=False)
ONE = Decode(batch=1, context=4096)


def answer(model, job, system, options=PLAIN) -> Answer:
    result = estimate(model, job, system, options)
    assert isinstance(result, Answer), result
    return result


def test_decoding_reads_all_weights_once_a_token():
    one = answer(SMALL, ONE, "h100")
    weights = 2 * (8_030_261_248 - 128256 * 4096)  # without the table of the embedding
    cache = 4096 * 2 * 32 * 8 * 128 * 2
    at_bandwidth = (weights + cache) / (3.35e12 * 0.80)

    assert one.tpot_seconds is not None
    assert at_bandwidth < one.tpot_seconds < 1.4 * at_bandwidth
    assert one.limit is Limit.HBM
    assert one.tokens_per_second == pytest.approx(1 / one.tpot_seconds)
    assert one.memory.cache_bytes == cache
    assert one.memory.weight_bytes == pytest.approx(2 * 8_030_261_248)


def test_a_prompt_is_limited_by_arithmetic():
    one = answer(SMALL, Prefill(batch=2, tokens=4096), "h100")

    assert one.limit is Limit.COMPUTE
    assert one.tpot_seconds is None
    assert one.mfu is not None
    assert 0.4 < one.mfu < 0.7  # efficiencies of the roofline
    assert one.tokens_per_second == pytest.approx(2 * 4096 / one.breakdown.seconds)


def test_requests_that_keep_coming_share_steps():
    job = Serve(concurrency=32, prompt=1024, answer=256)
    one = answer(SMALL, job, "h100")
    alone = answer(SMALL, replace(job, concurrency=1), "h100")

    assert one.tpot_seconds is not None
    assert one.tpot_seconds > (alone.tpot_seconds or 0)
    assert one.tokens_per_second > 5 * alone.tokens_per_second
    assert one.breakdown.items[-1].name == "prompts of other requests"


jobs = st.one_of(
    st.builds(Decode, batch=st.integers(1, 40), context=st.integers(1, 8000)),
    st.builds(Prefill, batch=st.integers(1, 20), tokens=st.integers(1, 20_000)),
    st.builds(
        Serve,
        concurrency=st.integers(1, 100),
        prompt=st.integers(1, 9000),
        answer=st.integers(2, 1000),
    ),
)
systems = st.sampled_from(["h100", "h200x2", "b200x8", "gb200x16"])


@given(jobs, systems, st.sampled_from(Goal))
def test_the_breakdown_is_the_time(job, system, goal):
    one = answer(SMALL, job, system, replace(PLAIN, goal=goal))
    seconds = one.breakdown.seconds

    if one.tpot_seconds is not None:
        assert seconds == pytest.approx(one.tpot_seconds)
    else:
        assert seconds == pytest.approx(job.batch * job.tokens / one.tokens_per_second)
    assert one.joules_per_token == pytest.approx(one.watts / one.tokens_per_second)
    assert one.watts <= one.num_devices * (1200 + 788)


@given(
    jobs,
    st.sampled_from(["bf16_flop_per_second", "memory_bytes_per_second", "link_bytes_per_second"]),
    st.floats(1, 20),
)
def test_better_hardware_is_never_slower(job, field, factor):
    gpu = load_gpu("h100")
    better = replace(gpu, **{field: getattr(gpu, field) * factor})
    options = replace(PLAIN, plan=Plan(tensor=4))
    before = answer(SMALL, job, GpuCluster(gpu, 4), options).breakdown.seconds
    after = answer(SMALL, job, GpuCluster(better, 4), options).breakdown.seconds

    assert after <= before * (1 + 1e-9)


def test_the_best_plan_is_at_least_as_good_as_any_pinned_one():
    best = answer(LARGE, ONE, "h100x8")
    pinned = [
        answer(LARGE, ONE, "h100x8", replace(PLAIN, plan=Plan(tensor=tensor)))
        for tensor in (2, 4, 8)
    ]

    assert all(best.breakdown.seconds <= other.breakdown.seconds for other in pinned)
    assert pinned[0].choice.is_pinned
    assert pinned[0].choice.text == "tensor parallelism 2"


@given(jobs, systems)
def test_each_goal_is_best_at_what_it_wants(job, system):
    fast = answer(SMALL, job, system)
    much = answer(SMALL, job, system, replace(PLAIN, goal=Goal.THROUGHPUT))

    assert much.tokens_per_second >= fast.tokens_per_second
    assert (fast.tpot_seconds or 0) <= (much.tpot_seconds or 0)


def test_nobody_waits_outside_for_the_speed_of_those_inside():
    job = Serve(concurrency=512, prompt=1024, answer=1024)
    fast = answer(LARGE, job, "h100x8")
    crowded = replace(PLAIN, plan=Plan(tensor=2, replicas=4))

    assert (answer(LARGE, job, "h100x8", crowded).ttft_seconds or 0) > 10
    assert (fast.ttft_seconds or 10) < 1


def test_gpus_that_a_single_sequence_cannot_use_idle():
    one = answer(SMALL, ONE, "gb200x72")
    gpu = load_gpu("gb200")

    assert "replicas" not in one.choice.text
    assert one.watts < 32 * gpu.busy_watts + 72 * (gpu.idle_watts + gpu.host_watts)


def test_what_does_not_fit_is_refused_with_what_would():
    refusal = estimate(LARGE, ONE, "h100", PLAIN)

    assert isinstance(refusal, Refusal)
    assert "needs 141 GB for weights and 1.34 GB for keys and values" in refusal.reason
    assert "h100x2 would do" in refusal.reason
    assert isinstance(estimate(LARGE, ONE, "h100x2", PLAIN), Answer)


def test_narrow_weights_need_less_room_and_time():
    wide, narrow = (
        answer(LARGE, ONE, "b200", replace(PLAIN, precision=precision))
        for precision in (Precision.BF16, Precision.FP4)
    )

    assert narrow.memory.weight_bytes < 0.35 * wide.memory.weight_bytes
    assert (narrow.tpot_seconds or 1) < 0.45 * (wide.tpot_seconds or 0)


def test_the_longest_context_is_the_one_that_still_fits():
    longest = answer(SMALL, Decode(batch=4, context=100), "h100").memory.longest_context
    assert longest is not None

    assert isinstance(estimate(SMALL, Decode(batch=4, context=longest), "h100", PLAIN), Answer)
    assert isinstance(estimate(SMALL, Decode(batch=4, context=longest + 1), "h100", PLAIN), Refusal)


def test_an_answer_says_what_stands_behind_it():
    one = answer(SMALL, ONE, "h100")

    assert any("rooflines with stated efficiencies" in note for note in one.notes)
    assert "thermal design power" in one.energy_basis


@pytest.mark.parametrize(
    ("system", "options", "message"),
    [
        ("h10x8", PLAIN, r"no GPU system 'h10x8'; nearest: h100x8"),
        ("h100", replace(PLAIN, engine="llm"), r"no engine 'llm'; .* sglang, trtllm, vllm"),
        ("h100x4", replace(PLAIN, plan=Plan(tensor=8)), r"needs 8 GPUs, and h100x4 has 4"),
        ("h100x8", replace(PLAIN, plan=Plan(tensor=3)), r"does not divide .* 1, 2, 4, 8"),
        ("h100x8", replace(PLAIN, plan=Plan(tensor=8, expert=2)), r"of 8 GPUs there can be 1$"),
    ],
)
def test_bad_input_is_refused_with_what_to_write(system, options, message):
    with pytest.raises(ConfigurationError, match=message):
        estimate(SMALL, ONE, system, options)


def test_training_is_another_estimate():
    with pytest.raises(ConfigurationError, match="estimate_training"):
        estimate(SMALL, Train(tokens=1e9, sequence=4096, batch=8), "h100x8", PLAIN)


def test_a_gpu_without_the_arithmetic_is_refused():
    refusal = estimate(SMALL, Decode(context=64), "a100x8", replace(PLAIN, precision=Precision.FP8))

    assert isinstance(refusal, Refusal)
    assert "A100 SXM 80GB has no fp8" in refusal.reason


def test_a_plan_of_nothing_is_refused():
    with pytest.raises(ConfigurationError, match="pipeline = 0"):
        Plan(pipeline=0)


def test_a_thousand_plans_are_considered():
    one = answer(LARGE, Decode(batch=512, context=1024), "h100x4096", PLAIN)

    assert one.choice.num_considered >= 400


def test_a_profile_of_the_own_card_stands_in_for_tables_and_formulas():
    bench = Profile(
        device="a card",
        software="a bench",
        copy_bytes_per_second=3.35e12 * 0.8,
        launch_seconds=load_roofline().kernel_seconds,
        products={},
        decode=(),
        prefill=(),
    )
    slower = replace(bench, copy_bytes_per_second=bench.copy_bytes_per_second / 2)
    plain, same, half = (
        answer(SMALL, ONE, "h100", options)
        for options in (PLAIN, GpuOptions(profile=bench), GpuOptions(profile=slower))
    )

    assert same.breakdown.seconds == pytest.approx(plain.breakdown.seconds)
    assert half.breakdown.seconds > 1.8 * plain.breakdown.seconds
    assert any("measured on a card" in note for note in same.notes)


def test_few_tokens_read_few_experts():
    model = dense_model("qwen3-235b-a22b", QWEN3_235B)
    one, many = (answer(model, Decode(batch=batch, context=1024), "h200x8") for batch in (1, 64))
    experts = [
        sum(i.seconds for i in a.breakdown.items if i.name == "experts") for a in (one, many)
    ]

    assert 5 < experts[1] / experts[0] < 16  # 8 of 128, then nearly all of them
    assert one.choice.num_considered > 20


def test_groups_of_experts_divide_the_gpus():
    with pytest.raises(ConfigurationError, match="the first must divide the second"):
        Plan(tensor=4, expert=3)
