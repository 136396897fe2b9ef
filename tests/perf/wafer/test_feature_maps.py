"""Models on feature maps on wafers: programs of blocks, their messages, the whole answer."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import ConfigurationError
from onewafer.graph import Attention, Convolution, GlobalAveragePool, MaxPool, Segment
from onewafer.mesh import Estimator, footprint, shard
from onewafer.perf import Answer, Forward, Goal, Model, Prefill, Refusal
from onewafer.perf.breakdown import Limit
from onewafer.perf.wafer import WaferOptions, estimate, pipeline
from onewafer.perf.wafer.feature_map_blocks import WHOLE, Exchange, cut
from onewafer.perf.wafer.inference import prefill_demand
from onewafer.perf.wafer.measured import HALOS
from onewafer.perf.wafer.messages import Groups
from onewafer.perf.wafer.options import Mode
from onewafer.perf.wafer.pipeline import place
from onewafer.perf.wafer.plan import HOPS, SAMPLES, WAITING, pace
from onewafer.perf.wafer.region import Regions
from onewafer.perf.wafer.system import machine
from onewafer.perf.wafer.workload import in_small_pieces
from tests.perf.feature_map_models import graph_of, small_network, tensor, window

OPTIONS = WaferOptions()
MACHINE = machine("cs3", OPTIONS)
NETWORK = small_network()


@pytest.fixture(autouse=True)
def some_rectangles(few_rectangles, monkeypatch):
    del few_rectangles  # it comes first
    monkeypatch.setattr(pipeline, "_NUM_FIRST_OF_FEATURE_MAPS", 8)


def regions_of(model):
    rows = model.fixed_tokens
    load = prefill_demand(model, Prefill(tokens=rows)).load
    return Regions(model, load, machine=MACHINE, options=OPTIONS)


def answer(model, job, *, options=OPTIONS, system="cs3") -> Answer:
    result = estimate(model, job, system, options)
    assert isinstance(result, Answer), result
    return result


# --- regions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [(2, 2), (4, 2), (1, 4)])
def test_a_region_takes_what_the_program_of_a_block_and_its_messages_take(grid):
    regions, work = regions_of(NETWORK), ((1, 1),)
    group = (6, 5)
    rectangle = (group[0] * grid[0], group[1] * grid[1])
    blocks = cut(regions.graphs[1], grid)
    program = shard(
        blocks.graph, width=group[0], height=group[1], architecture=MACHINE.architecture
    )
    estimator = Estimator(program, MACHINE.architecture)
    found = estimator.estimate()
    names = [blocks.graph.operations[source].result.name for source in program.sources]
    groups = Groups(
        grid=grid,
        width=group[0],
        height=group[1],
        element_bytes=2,
        timing=MACHINE.architecture.timing,
        issue_cycles=estimator.issue_cycles(),
    )
    (told,) = blocks.messages.values()
    (name,) = blocks.messages
    stand_in = found.operations[names.index(name)].cycles
    columns = {-(-64 // side) for side in group}
    possible = {found.cycles - stand_in + groups.waits(told, count).cycles for count in columns}
    split = regions.split(work, rectangle, grid)
    needed = regions.bytes(work, rectangle, grid)

    assert sum(split.values()) in possible
    assert any(part == HALOS and is_estimated for part, _, is_estimated in split)
    assert needed.total == pytest.approx(footprint(program, MACHINE.architecture).total, rel=0.01)


@given(st.integers(1, 700), st.integers(1, 1100), st.integers(0, 2))
@settings(max_examples=20, deadline=None)
def test_a_cost_is_the_sum_of_its_split_and_has_room(width, height, index):
    regions = regions_of(NETWORK)
    cost = regions.cost(((index, NETWORK.segments[index].repeats),), (width, height))

    if cost is not None:
        split = regions.split(cost.work, cost.rectangle, cost.grid)
        assert sum(split.values()) == pytest.approx(cost.cycles)
        assert cost.bytes.total <= MACHINE.architecture.memory_bytes
        assert cost.grid[0] <= width
        assert cost.grid[1] <= height


def test_means_of_blocks_are_gathered():
    regions = regions_of(NETWORK)
    alone = regions.split(((2, 1),), (8, 8), WHOLE)
    dealt_out = regions.split(((2, 1),), (32, 32), (4, 4))

    assert not any(part == HALOS for part, _, _ in alone)
    assert any(part == HALOS for part, _, _ in dealt_out)


def test_feature_maps_that_are_too_large_for_a_pe_are_dealt_out():
    regions = regions_of(small_network(side=192))
    room = MACHINE.architecture.memory_bytes
    cost = regions.cost(((0, 1),), (400, 400))

    assert regions.bytes(((0, 1),), (64, 64)).total > room
    assert cost is not None
    assert cost.grid != WHOLE


# --- pieces -----------------------------------------------------------------------------------


def test_what_is_there_once_is_cut_at_products_and_pools():
    pieces = in_small_pieces(NETWORK).segments
    kinds = [[type(op).__name__ for op in piece.graph.operations] for piece in pieces]

    assert kinds == [
        ["Convolution", "Relu"],
        ["MaxPool"],
        ["Convolution", "Relu", "Linear", "Add"],
        ["GlobalAveragePool"],
        ["Linear"],
    ]
    assert [piece.repeats for piece in pieces] == [1, 1, 3, 1, 1]
    assert in_small_pieces(NETWORK).num_weights == NETWORK.num_weights


# --- answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.PIPELINE, Mode.WHOLE])
def test_the_breakdown_is_the_time_of_the_batch(mode):
    one = answer(NETWORK, Forward(batch=50), options=replace(OPTIONS, mode=mode))

    assert one.ttft_seconds == pytest.approx(one.breakdown.seconds)
    assert one.tokens_per_second == pytest.approx(50 * 1024 / one.breakdown.seconds)
    assert "blocks" in one.choice.text or mode is Mode.PIPELINE


def test_what_has_no_kernel_is_marked_with_its_share_of_the_time():
    one = answer(NETWORK, Forward(batch=100))
    unchecked = {item.name for item in one.breakdown.items if not item.is_cross_checked}

    assert HOPS in unchecked
    assert 0 < one.breakdown.cross_checked_fraction < 1
    assert any("no kernel yet" in note for note in one.notes)
    assert one.ttft_seconds is not None


def test_samples_come_in_and_scores_go_out_over_the_edge():
    regions = regions_of(NETWORK)
    costs = [
        regions.cost(((index, segment.repeats),), (60, 60))
        for index, segment in enumerate(NETWORK.segments)
    ]
    found = pace(place(costs, MACHINE), regions, MACHINE)
    (ends,) = [item for item in found.breakdown.items if item.name == SAMPLES]
    num_bytes = 2 * (1024 * 3 + 10)

    assert ends.seconds == pytest.approx(
        MACHINE.system.crossing_seconds + num_bytes / MACHINE.architecture.io_bytes_per_second
    )
    assert found.latency_seconds == pytest.approx(found.breakdown.seconds)
    assert found.period_seconds == pytest.approx(found.slowest.seconds)


def test_an_edge_that_is_too_slow_sets_the_pace():
    regions = regions_of(NETWORK)
    costs = [regions.cost(((i, s.repeats),), (60, 60)) for i, s in enumerate(NETWORK.segments)]
    slow = replace(MACHINE, architecture=replace(MACHINE.architecture, io_bytes_per_second=1e6))
    found = pace(place(costs, slow), regions, slow)

    assert found.period_seconds == pytest.approx(2 * 1024 * 3 / 1e6)
    assert found.slowest.limit is Limit.OFF_WAFER


def test_one_sample_is_shown_in_all_stages_and_others_in_the_slowest():
    one, *few = (
        answer(NETWORK, Forward(batch=n), options=replace(OPTIONS, mode=Mode.PIPELINE))
        for n in (1, 4, 5, 6)  # of fewer, another plan may be the fastest
    )
    names = {item.name for item in one.breakdown.items}

    assert {HOPS, SAMPLES, HALOS} <= names
    assert WAITING not in names
    assert len({after.choice.text for after in few}) == 1
    (second, third) = (b.breakdown.seconds - a.breakdown.seconds for a, b in pairwise(few))
    assert second == pytest.approx(third)
    assert second < few[0].breakdown.seconds / 2


def test_more_samples_take_longer_and_come_faster():
    few, many = (answer(NETWORK, Forward(batch=batch)) for batch in (1, 100))

    assert few.breakdown.seconds < many.breakdown.seconds
    assert few.tokens_per_second < many.tokens_per_second


def test_a_faster_clock_is_never_slower():
    fast = replace(OPTIONS, clock_hertz=1.1e9)
    slow = replace(OPTIONS, clock_hertz=0.75e9)
    job = Forward(batch=10)

    assert (
        answer(NETWORK, job, options=fast).breakdown.seconds
        < answer(NETWORK, job, options=slow).breakdown.seconds
    )


def test_samples_are_named_in_the_reason():
    reason = answer(NETWORK, Forward(batch=4), options=replace(OPTIONS, goal=Goal.LATENCY)).choice

    assert "samples/s" in reason.reason
    assert "tokens" not in reason.reason


def test_weights_of_feature_maps_do_not_come_from_outside():
    with pytest.raises(ConfigurationError, match="--mode out, or ask for pipeline or whole"):
        estimate(NETWORK, Forward(batch=4), "cs3", replace(OPTIONS, mode=Mode.STREAMING))


def test_a_feature_map_whose_pixels_all_meet_is_refused_where_it_has_no_room():
    pixels = 4096
    attention = Attention(tensor("a", pixels, 64), "x", "x", "x", 1, 1, 1.0, is_causal=False)
    pool = MaxPool(tensor("m", pixels // 4, 64), "a", window(64, kernel=2, stride=2))
    mean = GlobalAveragePool(tensor("mean", 1, 64), "m", pixels // 4)
    graph = graph_of(attention, pool, mean, inputs=(tensor("x", pixels, 64),))
    model = Model(
        name="meeting", title="Meeting", segments=(Segment(graph, 1),), fixed_tokens=pixels
    )
    refusal = estimate(model, Forward(), "cs3", OPTIONS)

    assert isinstance(refusal, Refusal)
    assert "--mode streaming" not in refusal.reason


def test_messages_are_exchanges_before_convolutions():
    graph = NETWORK.segments[1].graph
    blocks = cut(graph, (2, 2))
    before = [
        following
        for told, following in pairwise(blocks.graph.operations)
        if isinstance(blocks.messages.get(told.result.name), Exchange)
    ]

    assert [type(operation) for operation in before] == [Convolution]
