"""Grids that are tried: they have room, and the fastest one is as good as among them."""

import math
from itertools import product

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onewafer.graph import Linear, MaxPool
from onewafer.perf import Prefill
from onewafer.perf.wafer import WaferOptions, machine
from onewafer.perf.wafer.feature_map_blocks import WHOLE, can_be_cut, cut
from onewafer.perf.wafer.feature_map_memory import FeatureMapMemory
from onewafer.perf.wafer.grids import Grids, group_of
from onewafer.perf.wafer.inference import prefill_demand
from onewafer.perf.wafer.region import Regions
from onewafer.perf.wafer.workload import in_small_pieces
from tests.perf.dense_model import LLAMA_8B, dense_model
from tests.perf.feature_map_models import block, graph_of, small_network, tensor

GRIDS = Grids(block(32, 64))
PLENTY = 40_000


def test_a_group_is_a_rectangle_divided_by_the_grid():
    assert group_of((100, 70), (7, 7)) == (14, 10)


@given(st.integers(1, 755), st.integers(1, 1170))
def test_grids_are_a_few_whose_groups_have_a_pe(width, height):
    grids = GRIDS.best((width, height), lambda _: PLENTY)

    assert len(grids) <= 6
    assert all(min(group_of((width, height), grid)) >= 1 for grid in grids)


def test_nothing_is_tried_without_room():
    assert not GRIDS.best((100, 100), lambda _: -1)
    assert not GRIDS.best((100, 100), lambda _: 5)


def test_groups_are_large_where_only_large_ones_have_room_for_weights():
    grids = GRIDS.best((128, 128), lambda group: PLENTY if math.prod(group) > 3000 else -1)

    assert grids
    assert all(math.prod(group_of((128, 128), grid)) > 3000 for grid in grids)


def test_a_model_of_tokens_has_no_grid():
    layer = dense_model("8b", LLAMA_8B).segments[1].graph

    grids = Grids(layer, has_feature_maps=False)

    assert grids.best((64, 64), lambda _: PLENTY) == (WHOLE,)
    assert not grids.best((64, 64), lambda _: -1)


def test_products_alone_have_grids_too_among_maps():
    linear = graph_of(
        Linear(tensor("p", 4096, 64), "x", "w"),
        parameters=(tensor("w", 64, 64),),
        inputs=(tensor("x", 4096, 64),),
    )

    assert WHOLE not in Grids(linear).best((128, 128), lambda _: PLENTY)


@given(
    side=st.sampled_from([8, 16, 24]),
    features=st.sampled_from([16, 50, 96]),
    sides=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    blocks=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    index=st.integers(0, 2),
)
@settings(max_examples=40, deadline=None)
def test_no_program_takes_less_for_maps_than_the_least(side, features, sides, blocks, index):
    """Grids that the bound leaves out never had room."""
    options = WaferOptions()
    model = in_small_pieces(small_network(side=side, features=features))
    index %= len(model.segments)
    load = prefill_demand(model, Prefill(tokens=side * side)).load
    regions = Regions(model, load, machine=machine("cs3", options), options=options)
    work, group = ((index, 1),), group_of(sides, blocks)
    assume(min(group) > 0 and can_be_cut(regions.graphs[index]))
    needed = regions.bytes(work, sides, blocks)
    least = FeatureMapMemory.of(cut(regions.graphs[index], blocks).graph).least_bytes(group)

    if needed is not None:
        measured = regions._programs.measure(work, sides, blocks)
        assert least <= measured._footprint.activations + measured._footprint.buffers
        assert regions._least_code_bytes(work) <= measured.code_bytes


@given(
    side=st.sampled_from([16, 24, 32]),
    features=st.sampled_from([16, 64, 96]),
    width=st.integers(16, 300),
    height=st.integers(16, 150),
)
@settings(max_examples=10, deadline=None)
def test_no_grid_of_products_is_much_faster_than_the_one_taken(side, features, width, height):
    """Pieces with products, which take most of the time, on more than a few PEs."""
    options = WaferOptions()
    model = small_network(side=side, features=features)
    load = prefill_demand(model, Prefill(tokens=side * side)).load
    regions = Regions(model, load, machine=machine("cs3", options), options=options)
    work, rectangle = ((1, 3),), (width, height)
    counts = {-(-side // (2 * length)) for length in range(1, side // 2 + 1)}
    every = [regions._cost_on(work, rectangle, grid) for grid in product(counts, counts)]
    cycles = [cost.cycles for cost in every if cost is not None]
    assume(cycles)

    assert regions.cost(work, rectangle).cycles <= 1.15 * min(cycles)


@given(
    side=st.sampled_from([16, 32, 56]),
    features=st.sampled_from([16, 64, 96]),
    sides=st.tuples(st.integers(16, 300), st.integers(16, 150)),
)
@settings(max_examples=8, deadline=None)
def test_no_grid_of_a_pool_is_much_faster_than_the_one_taken(side, features, sides):
    options = WaferOptions()
    model = in_small_pieces(small_network(side=side, features=features))
    load = prefill_demand(model, Prefill(tokens=side * side)).load
    regions = Regions(model, load, machine=machine("cs3", options), options=options)
    (index,) = (
        at for at, graph in enumerate(regions.graphs) if isinstance(graph.operations[0], MaxPool)
    )
    work, counts = ((index, 1),), {-(-side // length) for length in range(1, side + 1)}
    every = [regions._cost_on(work, sides, grid) for grid in product(counts, counts)]

    least = min(cost.cycles for cost in every if cost is not None)
    assert regions.cost(work, sides).cycles <= 1.5 * least
