"""Jobs on wafers: parts add up, more of anything never hurts, refusals say what would do."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import ConfigurationError
from onewafer.perf import Answer, Decode, Goal, Precision, Prefill, Refusal, Serve, Train
from onewafer.perf.breakdown import Limit
from onewafer.perf.gpt import GptShape, gpt_model
from onewafer.perf.wafer import Mode, Programs, WaferOptions, estimate, machine, parse_system
from onewafer.perf.wafer.inference import decode_demand
from onewafer.perf.wafer.layout_search import lay_out
from onewafer.perf.wafer.layouts import Asked, best_reading
from onewafer.perf.wafer.rectangles import alone_on_wafer
from onewafer.perf.wafer.region import Regions
from onewafer.perf.wafer.search import share_out
from onewafer.perf.wafer.sketch import spread
from onewafer.perf.wafer.streaming import WEIGHTS, least_seconds, search_streaming, stream
from onewafer.perf.wafer.workload import Load
from tests.perf.wafer.models import llama, llama_70b

SMALL = llama(layers=3, features=64, inner=128, vocabulary=96)


@pytest.mark.parametrize("mode", [Mode.PIPELINE, Mode.WHOLE, Mode.STREAMING])
def test_the_parts_of_a_token_are_its_time(mode):
    answer = estimate(SMALL, Decode(context=64), "cs3", WaferOptions(mode=mode))

    assert answer.breakdown.seconds == pytest.approx(answer.tpot_seconds)
    assert answer.tokens_per_second == pytest.approx(1 / answer.tpot_seconds)
    assert answer.choice.is_pinned
    assert 0 < answer.memory.used_bytes <= answer.memory.available_bytes
    assert answer.joules_per_token == pytest.approx(answer.watts / answer.tokens_per_second)
    assert 16_100 <= answer.watts <= 23_000


def test_prefill_is_the_slowest_stage_for_all_launches_and_the_others_once():
    options = WaferOptions(mode=Mode.PIPELINE)
    answer = estimate(SMALL, Prefill(batch=3, tokens=8), "cs3", options)

    assert answer.breakdown.seconds == pytest.approx(answer.ttft_seconds)
    assert answer.tokens_per_second == pytest.approx(3 * 8 / answer.ttft_seconds)
    assert 0 < answer.mfu < 1


@settings(max_examples=3, deadline=None)
@given(slow=st.floats(750e6, 1000e6), factor=st.floats(1.0, 1.1))
def test_a_higher_clock_is_never_slower(slow, factor):
    slower, faster = (
        estimate(
            SMALL, Decode(context=32), "cs3", WaferOptions(clock_hertz=clock, mode=Mode.PIPELINE)
        )
        for clock in (slow, slow * factor)
    )

    assert faster.tpot_seconds <= slower.tpot_seconds


def test_off_wafer_time_does_not_depend_on_the_clock():
    outside = {
        estimate(
            SMALL, Decode(context=32), "cs3", WaferOptions(clock_hertz=clock, mode=Mode.PIPELINE)
        ).breakdown.by(lambda item: item.limit)[Limit.OFF_WAFER]
        for clock in (750e6, 1.1e9)
    }

    assert len(outside) == 1


@pytest.mark.slow
def test_more_context_and_more_sequences_never_make_a_token_faster():
    times = [
        estimate(SMALL, Decode(batch=batch, context=context), "cs3").tpot_seconds
        for batch, context in ((1, 16), (1, 256), (4, 256))
    ]

    assert times == sorted(times)


def test_many_sequences_fill_the_pipeline():
    one, many = (estimate(SMALL, Decode(batch=n, context=64), "cs3") for n in (1, 4))

    assert many.tokens_per_second > 2 * one.tokens_per_second
    assert many.watts > one.watts


def test_a_model_that_is_too_large_is_refused_with_bytes_and_what_would_do():
    model, job = llama_70b(), Decode(context=8192)
    refusal = estimate(model, job, "cs3")

    assert isinstance(refusal, Refusal)
    assert "141 GB for weights" in refusal.reason
    assert "1 wafer has 43.4 GB" in refusal.reason
    assert refusal.reason.endswith("let the weights come from outside: `--mode streaming`")
    fewest = int(refusal.reason.partition("cs3x")[2].split()[0])
    pipeline = WaferOptions(mode=Mode.PIPELINE)
    assert isinstance(estimate(model, job, f"cs3x{fewest}", pipeline), Answer)
    assert isinstance(estimate(model, job, f"cs3x{fewest - 1}", pipeline), Refusal)


def test_the_bytes_of_a_refusal_are_more_than_the_wafer_has():
    """26 GB of weights do not fit into 43.4 GB, because code, buffers and padding lie there too."""
    sizes = {"layers": 40, "features": 5120, "heads": 40, "kv_heads": 40, "inner": 13_824}
    refusal = estimate(llama(**sizes, vocabulary=32_000), Decode(context=4096), "cs3")

    assert isinstance(refusal, Refusal)
    weights, taken, present = (
        float(re.search(pattern, refusal.reason)[1])
        for pattern in (r"([\d.]+) GB for weights", r"takes ([\d.]+) GB; ", r"has ([\d.]+) GB;")
    )
    assert weights < present < taken


@pytest.mark.parametrize("launches", [1, 7, 400])
@pytest.mark.alternate(3)
def test_no_rectangle_of_those_that_are_tried_first_streams_faster(launches):
    options = WaferOptions(mode=Mode.STREAMING, density=0.5)
    chip = machine("cs3", options)
    regions = Regions(SMALL, Load(rows=1, capacity=32), machine=chip, options=options)
    tried = spread(alone_on_wafer(chip, 2 * max(regions.weight_bytes)), 24)
    passes = [stream(regions, chip, sides, launches=launches) for sides in tried]
    least = min(one.seconds for one in passes if one is not None)

    found = search_streaming(regions, chip, options, launches=launches)

    assert found is not None
    assert found.seconds <= least
    again = stream(regions, chip, found.rectangle, launches=launches)
    assert again == replace(found, num_considered=1)
    assert found.num_considered >= len(tried)


@settings(max_examples=20, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    rows=st.integers(1, 6),
    launches=st.integers(1, 50),
    density=st.sampled_from([1.0, 0.3]),
)
def test_no_pass_is_faster_than_the_bounds(sides, rows, launches, density):
    """What a search leaves out because of them was not the best."""
    options = WaferOptions(mode=Mode.STREAMING, density=density)
    chip = machine("cs3", options)
    regions = Regions(SMALL, Load(rows=rows, capacity=32), machine=chip, options=options)
    found = stream(regions, chip, sides, launches=launches)

    if found is not None:
        assert least_seconds(regions, chip) <= found.seconds * (1 + 1e-9)
        for index in range(len(regions.segments)):
            assert regions.least_cycles(index, sides) <= regions.cycles(((index, 1),), sides)


@settings(max_examples=10, deadline=None)
@given(share=st.floats(0.5, 1.5), launches=st.sampled_from([1, 40, 3000]))
@pytest.mark.slow
def test_a_limit_hides_no_pass_that_keeps_to_it(share, launches):
    options = WaferOptions(mode=Mode.STREAMING)
    chip = machine("cs3", options)
    regions = Regions(SMALL, Load(rows=1, capacity=32), machine=chip, options=options)
    best = search_streaming(regions, chip, options, launches=launches)
    limited = search_streaming(
        regions, chip, options, launches=launches, at_most=share * best.seconds
    )

    assert limited == (best if share >= 1 else None)


@pytest.mark.parametrize("mode", [Mode.PIPELINE, Mode.WHOLE])
@pytest.mark.parametrize("name", ["cs3", "cs3x3"])
@pytest.mark.alternate
def test_a_speed_is_that_of_its_pace(mode, name):
    options = WaferOptions()
    layout = lay_out(
        Asked(
            SMALL,
            decode_demand(Decode(batch=4, context=64)),
            machine(name, options),
            options,
            Programs(),
        ),
        mode=mode,
    )

    assert layout.speed().latency_seconds == pytest.approx(layout.pace().latency_seconds)
    assert layout.speed().period_seconds == pytest.approx(layout.pace().period_seconds)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_token_is_decoded_at_the_end_of_its_context(batch):
    """A sequence by itself is no exception: what is before it was read already."""
    load, *_ = decode_demand(Decode(batch=batch, context=64)).loads(batch)

    assert load.position == 63


@pytest.mark.slow
def test_what_cannot_be_best_is_said_to_be_no_better():
    """A wafer reads eight tokens long before 28 MB of weights are there."""
    model, job = llama(layers=2, features=1024, inner=4096, vocabulary=96), Prefill(tokens=8)
    answer = estimate(model, job, "cs3")
    pinned = estimate(model, job, "cs3", WaferOptions(mode=Mode.STREAMING))

    assert "weight streaming would reach at most" in answer.choice.reason
    assert pinned.tokens_per_second < answer.tokens_per_second


def test_streaming_takes_at_least_what_the_edge_of_the_wafer_lets_through():
    """141 GB at 150 GB/s: 0.94 s a token, for as many sequences as there is room for."""
    options = WaferOptions(mode=Mode.STREAMING, region=(535, 741))
    answer = estimate(llama_70b(), Decode(batch=4, context=1000), "cs3", options)

    assert answer.tpot_seconds == pytest.approx(141.1e9 / 150e9, rel=0.01)
    assert answer.breakdown.by(lambda item: item.name)[WEIGHTS] > 0.8
    assert answer.limit is Limit.OFF_WAFER


@pytest.mark.slow
def test_serving_shares_the_stages_between_prompts_and_answers():
    few, many = (estimate(SMALL, Serve(concurrency=n, prompt=32, answer=16), "cs3") for n in (1, 4))

    assert many.tokens_per_second > few.tokens_per_second
    assert many.tpot_seconds > few.tpot_seconds
    assert few.tpot_seconds == pytest.approx(few.breakdown.seconds)


def test_a_pinned_region_is_taken():
    options = WaferOptions(mode=Mode.PIPELINE, region=(6, 5))
    answer = estimate(SMALL, Decode(context=32), "cs3", options)

    assert "on 6×5 PEs" in answer.choice.text
    assert answer.choice.is_pinned


def test_a_region_that_holds_no_layer_is_refused_as_such():
    options = WaferOptions(region=(16, 16))
    refusal = estimate(llama_70b(), Decode(context=1000), "cs3x8", options)

    assert "no layer fits the region asked for, 16×16 PEs" in refusal.reason
    with pytest.raises(ConfigurationError, match="which has 755×1170 PEs for programs"):
        estimate(SMALL, Decode(context=8), "cs3", WaferOptions(region=(800, 4)))


def test_a_context_that_launches_cannot_name_is_refused_as_such():
    refusal = estimate(llama(positions=131072), Decode(context=131072), "cs3")

    assert "a context of 131072 positions is not possible" in refusal.reason


def test_the_goal_decides_between_the_rate_of_one_and_of_all():
    job = Decode(batch=2, context=64)
    fast, many = (
        estimate(SMALL, job, "cs3", WaferOptions(goal=goal))
        for goal in (Goal.LATENCY, Goal.THROUGHPUT)
    )

    assert fast.tpot_seconds <= many.tpot_seconds
    assert many.tokens_per_second >= fast.tokens_per_second


def test_bf16_costs_what_fp16_costs_and_says_so():
    half, brain = (
        estimate(
            SMALL, Decode(context=32), "cs3", WaferOptions(precision=precision, mode=Mode.PIPELINE)
        )
        for precision in (Precision.FP16, Precision.BF16)
    )

    assert brain.tpot_seconds == half.tpot_seconds
    assert any("bf16 costs what fp16 costs" in note for note in brain.notes)


def test_pieces_are_shared_out_in_order_by_their_weights():
    options = WaferOptions()
    regions = Regions(
        llama_70b(),
        Load(rows=1, capacity=16),
        machine=machine("cs3x4", options),
        options=options,
    )
    works = share_out(regions, 4)

    assert [index for work in works for index, _ in work] == [0, 1, 1, 1, 1, 2]
    assert sum(count for work in works for index, count in work if index == 1) == 80


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 0.0}, "as 0.25 for"),
        ({"density": 1e-9}, "write 0.001 to 1"),
        ({"clock_hertz": -1.0}, "as in 850MHz"),
        ({"precision": Precision.FP8}, "write fp16, bf16 or fp32"),
        ({"region": (0, 4)}, "write 160×160"),
    ],
)
def test_choices_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        WaferOptions(**options)


def test_names_of_systems():
    assert parse_system("h100x8") is None
    assert parse_system("CS3x4").num_wafers == 4
    with pytest.raises(ConfigurationError, match="write cs3 for one, cs3x4 for four"):
        parse_system("cs3x0")
    with pytest.raises(ConfigurationError, match="write one of cs2, cs3"):
        estimate(SMALL, Decode(context=8), "h100")


@pytest.mark.parametrize(("layers", "hidden"), [(6, 1024), (8, 512), (12, 768)])
@pytest.mark.alternate(3)
def test_a_wafer_more_makes_no_token_later(layers, hidden):
    """A region that spills onto the second wafer costs more than one that is a little slower."""
    shape = GptShape(
        layers=layers, hidden=hidden, heads=hidden // 64, vocabulary=50_257, positions=1024
    )
    one, two = (
        estimate(gpt_model("gpt", shape), Decode(context=64), name) for name in ("cs3", "cs3x2")
    )

    assert two.tpot_seconds <= one.tpot_seconds * (1 + 1e-9)


def test_what_keeps_no_keys_has_nothing_to_decode():
    segments = (SMALL.segments[0], SMALL.segments[2])
    with pytest.raises(ConfigurationError, match="ask for --prefill"):
        estimate(replace(SMALL, segments=segments), Decode(context=8), "cs3")
    with pytest.raises(ConfigurationError, match="estimate_training"):
        estimate(SMALL, Train(tokens=1e9, sequence=8, batch=8), "cs3")


def test_a_note_about_launches_speaks_of_prompts_where_there_are_some():
    headless = replace(SMALL, segments=(SMALL.segments[0], SMALL.segments[2]))
    options = WaferOptions(mode=Mode.WHOLE)
    prompts = estimate(SMALL, Prefill(tokens=8), "cs3", options)
    samples = estimate(headless, Prefill(tokens=8), "cs3", options)

    assert prompts.notes[-1].startswith("a launch has ")
    assert " of a prompt: " in prompts.notes[-1]
    assert samples.notes[-1].startswith("a launch has ")
    assert "prompt" not in samples.notes[-1]
    assert "token" not in samples.notes[-1]


def test_an_answer_names_machine_and_clock():
    answer = estimate(SMALL, Decode(context=8), "cs3x2", WaferOptions(clock_hertz=1.1e9))

    assert isinstance(answer, Answer)
    assert answer.title == "2 × CS-3, WSE-3 at 1.1 GHz"
    assert answer.num_devices == 2


def test_prompts_can_be_read_wherever_their_sequences_are_decoded():
    """A token of a prompt goes through as one that is decoded, where there is no room for more."""
    job, options = Decode(batch=3, context=64), WaferOptions(mode=Mode.WHOLE)
    roomy = machine(parse_system("cs3"), options)
    demand = replace(decode_demand(job), most_rows=1)
    found = lay_out(Asked(SMALL, demand, roomy, options, Programs()), mode=Mode.WHOLE)
    most = max(stage.cost.bytes.total for stage in found.plan.stages)
    full = replace(roomy, architecture=replace(roomy.architecture, memory_bytes=int(most)))

    reading = best_reading(replace(found, machine=full), tokens=64)

    assert reading.launches <= 64
    assert reading.speed.period_seconds > 0
