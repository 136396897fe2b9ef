"""Requests share steps: the formulas by hand, and what must hold for all loads."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import facts_in, load_gpu, names_in
from onewafer.perf.gpu.clock import KernelClock
from onewafer.perf.gpu.engine import load_engine
from onewafer.perf.gpu.kernels import NumberFormat
from onewafer.perf.gpu.plan import Plan
from onewafer.perf.gpu.serving import EngineClock, Load
from onewafer.perf.gpu.steps import Formats, ShardedModel, StepClock
from tests.perf.dense_model import LLAMA_8B, dense_model

BF16 = Formats(products=NumberFormat.BF16, cache=NumberFormat.BF16)
MODEL = ShardedModel(dense_model("8b", LLAMA_8B))
KERNELS = KernelClock(load_gpu("h100"))


def clock(engine: str = "vllm", **sizes: int) -> EngineClock:
    return EngineClock(load_engine(engine), StepClock(MODEL, Plan(**sizes), BF16, KERNELS))


def load(requests: float, **others) -> Load:
    return Load(
        **{"open_requests": requests, "prompt": 1000, "answer": 101, "slots": 1e9, **others}
    )


def test_one_request_waits_for_its_own_prompt_alone():
    one, engine = clock(), load_engine("vllm")
    times = one.serve(load(1))

    assert times.step_seconds == one.decode_seconds(1, 1051)
    assert times.tpot_seconds == times.step_seconds
    q = (times.prompt_seconds / (100 * times.step_seconds + times.prompt_seconds)) / 2
    assert q < 0.1
    assert times.ttft_seconds == pytest.approx(
        engine.request_seconds + times.step_seconds + times.prompt_seconds
    )


def test_each_of_the_others_has_one_prompt_done_in_a_cycle():
    times = clock().serve(load(8))
    step, added = times.step_seconds, times.prompt_seconds
    utilisation = 8 * added / (100 * step + 8 * added)
    ahead = utilisation / 2 / (1 - utilisation)

    assert times.tpot_seconds == pytest.approx(step + (7 - ahead) * added / 100)
    assert times.ttft_seconds == pytest.approx(
        load_engine("vllm").request_seconds + step + (1 + ahead) * added
    )


def test_where_all_come_at_once_a_first_token_waits_for_half_of_the_prompts():
    times = clock().serve(load(16, waves=1))
    # 8,192 tokens a step are 8 prompts of 1,000
    expected = load_engine("vllm").request_seconds + (16 + 8) / 2 * times.prompt_seconds

    assert times.ttft_seconds == pytest.approx(expected)
    assert times.tpot_seconds == pytest.approx(
        times.step_seconds + 15 / 2 * times.prompt_seconds / 100
    )


def test_what_has_no_room_waits_outside():
    inside, outside = clock().serve(load(8)), clock().serve(load(12, slots=8))
    cycle = 100 * inside.step_seconds + 9 * inside.prompt_seconds

    assert outside.tpot_seconds == inside.tpot_seconds
    assert outside.ttft_seconds - inside.ttft_seconds == pytest.approx(4 * cycle / 8)


def test_a_long_prompt_is_done_in_parts():
    steps = clock().prefill_steps(20_000)
    passes = [step.prefill for step in steps]

    assert [(p.new_tokens, p.cached_tokens) for p in passes if p] == [
        (8192, 0),
        (8192, 8192),
        (3616, 16384),
    ]


def test_short_prompts_are_done_together():
    steps = clock().prefill_steps(1000, sequences=20)

    assert [step.prefill.sequences for step in steps if step.prefill] == [8, 8, 4]


def test_what_the_cache_knows_is_not_done_again():
    (step,) = clock().prefill_steps(1000, known_tokens=900)
    known = clock().serve(load(8, known_tokens=900))

    assert step.prefill is not None
    assert (step.prefill.new_tokens, step.prefill.cached_tokens) == (100, 900)
    assert known.prompt_seconds < clock().serve(load(8)).prompt_seconds


@given(
    st.integers(1, 256), st.integers(1, 3000), st.integers(2, 2000), st.sampled_from([None, 1, 10])
)
def test_more_requests_never_make_one_faster(requests, prompt, answer, waves):
    fewer, more = (
        clock().serve(load(count, prompt=prompt, answer=answer, waves=waves))
        for count in (requests, requests + 7)
    )

    assert fewer.tpot_seconds <= more.tpot_seconds * (1 + 1e-9)
    assert fewer.seconds(answer) <= more.seconds(answer) * (1 + 1e-9)


@given(st.integers(1, 128), st.integers(2, 2000))
def test_a_cycle_has_room_for_all_that_is_done_in_it(requests, answer):
    """Throughput follows from the work, whoever waits for whom."""
    times = clock("trtllm").serve(load(requests, answer=answer))
    own = load_engine("trtllm").request_seconds + times.step_seconds
    work = (answer - 1) * times.step_seconds + requests * times.prompt_seconds

    assert times.seconds(answer) == pytest.approx(own + work)


def test_stages_send_and_wait_for_the_longest():
    one, two = clock(pipeline=1), clock(pipeline=2)
    step = one.decode_step(1, 1000)
    items = two.steps.breakdown(step)

    assert [item.name for item in items.items][-2:] == ["between stages", "uneven stages"]
    assert items.items[-1].seconds == 0  # 32 layers are 16 and 16
    three = clock(pipeline=3).steps.breakdown(step).items[-1]  # 11, 11, 10: as 33
    assert three.seconds == pytest.approx(one.steps.seconds(step) / 32)


@given(
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([1, 2, 3]),
    st.integers(1, 64),
    st.integers(1, 8000),
)
def test_a_breakdown_adds_up(tensor, pipeline, sequences, context):
    steps = clock(tensor=tensor, pipeline=pipeline).steps
    step = clock(pipeline=pipeline).decode_step(sequences, context)

    assert steps.breakdown(step).seconds == pytest.approx(steps.seconds(step))


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 4000), st.integers(1, 4000))
def test_a_step_is_monotone_in_sequences_and_context(few, more, short, longer):
    one = clock()

    assert one.decode_seconds(few, short) <= one.decode_seconds(few + more, short + longer)


def test_more_layers_take_longer():
    deeper = dense_model("9b", replace(LLAMA_8B, layers=40))
    deep = StepClock(ShardedModel(deeper), Plan(), BF16, KERNELS)
    step = clock().decode_step(4, 1000)

    assert deep.seconds(step) > clock().steps.seconds(step)


@pytest.mark.parametrize("name", names_in("onewafer.perf.gpu.engines"))
def test_every_constant_of_an_engine_has_a_unit_and_a_source(name):
    for entry in facts_in("onewafer.perf.gpu.engines", name, "engine"):
        assert entry.unit, entry.path
        assert entry.source, entry.path
