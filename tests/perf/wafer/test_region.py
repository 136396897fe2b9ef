"""A region costs what the mesh program of all its layers costs: two readers, one program."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.mesh import Estimator, Launch, footprint, shard
from onewafer.perf.wafer.options import WaferOptions
from onewafer.perf.wafer.region import Regions
from onewafer.perf.wafer.system import machine
from onewafer.perf.wafer.workload import Load, again, join, pieces_of
from tests.perf.wafer.models import llama

OPTIONS = WaferOptions()
MACHINE = machine("cs3", OPTIONS)


def regions_of(model, *, rows=1, position=0, capacity=64, sequences=1, options=OPTIONS):
    load = Load(rows=rows, position=position, capacity=capacity, sequences=sequences)
    return Regions(model, load, machine=machine("cs3", options), options=options)


def whole_graph(model, load):
    """Return one graph of all layers of a model."""
    graphs = []
    for segment, piece in zip(
        model.segments, pieces_of(model, load, OPTIONS.precision), strict=True
    ):
        for _ in range(segment.repeats):
            graphs.append(piece.graph)
            piece = again(piece)  # noqa: PLW2901
    return join(graphs)


@pytest.mark.parametrize("rectangle", [(1, 1), (5, 3), (8, 8), (16, 12)])
@pytest.mark.parametrize(("rows", "position"), [(1, 63), (4, 20)])
def test_a_whole_model_takes_what_its_mesh_program_takes(rectangle, rows, position):
    """Each segment has middles and sections that suit its own chains."""
    model = llama(layers=5)
    regions = regions_of(model, rows=rows, position=position)
    work = tuple((index, segment.repeats) for index, segment in enumerate(model.segments))
    width, height = rectangle
    program = shard(
        whole_graph(model, regions.load),
        width=width,
        height=height,
        architecture=MACHINE.architecture,
        context=64,
        usual_rows=rows,
    )
    cycles = Estimator(program, MACHINE.architecture).estimate(Launch.at(position, rows)).cycles
    needed = footprint(program, MACHINE.architecture)
    found = regions.bytes(work, rectangle)

    assert sum(regions.split(work, rectangle).values()) == pytest.approx(cycles, rel=0.005)
    assert found.weights + found.other == pytest.approx(needed.total - needed.state, rel=0.002)
    assert found.cache == needed.state


@settings(max_examples=60, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    widths=st.tuples(st.integers(1, 6), st.sampled_from([1, 2, 4]), st.integers(1, 90)),
    load=st.builds(
        Load,
        rows=st.integers(1, 3),
        capacity=st.integers(3, 200),
        sequences=st.integers(1, 5),
        are_sequences=st.booleans(),
    ),
    density=st.sampled_from([1.0, 0.3]),
    data=st.data(),
)
def test_no_region_needs_less_than_the_least(sides, widths, load, density, data):
    """Rectangles that the bound leaves out never had room."""
    size, kv_heads, inner = widths
    model = llama(
        layers=3, features=8 * size, heads=4, kv_heads=kv_heads, inner=inner, vocabulary=11 * size
    )
    options = WaferOptions(density=density)
    regions = Regions(model, load, machine=machine("cs3", options), options=options)
    first = data.draw(st.integers(0, 2))
    counts = [(index, data.draw(st.integers(1, 3))) for index in range(first, 3)]
    for work in (tuple(counts), (counts[0],)):
        needed = regions.bytes(work, sides)

        assert needed is None or regions.least_bytes(work, sides) <= needed.total


@settings(max_examples=15, deadline=None)
@given(sides=st.tuples(st.integers(2, 24), st.integers(2, 24)), layers=st.integers(1, 6))
def test_the_split_of_a_cost_is_its_cycles(sides, layers):
    regions = regions_of(llama(layers=layers))
    work = ((1, layers),)
    cost = regions.cost(work, sides)

    if cost is not None:
        assert sum(regions.split(work, sides).values()) == pytest.approx(cost.cycles)


@settings(max_examples=15, deadline=None)
@given(
    layers=st.integers(1, 5),
    position=st.integers(0, 60),
    more=st.integers(1, 60),
    rows=st.integers(1, 4),
)
def test_more_layers_rows_and_context_never_take_less(layers, position, more, rows):
    model = llama(layers=12)

    def cycles(count, **load):
        cost = regions_of(model, capacity=160, **load).cost(((1, count),), (6, 6))
        return cost.cycles

    least = cycles(layers, rows=rows, position=position)
    assert cycles(layers + 1, rows=rows, position=position) > least
    assert cycles(layers, rows=rows, position=position + more) >= least
    assert cycles(layers, rows=rows + 1, position=position) > least


def test_decode_gets_slower_again_with_too_many_pes():
    """Chains grow with the sides of a rectangle, work shrinks with their product."""
    regions = regions_of(llama(features=256, inner=1024), position=63)
    times = [regions.cost(((1, 4),), (side, side)).cycles for side in (16, 64, 128, 256)]

    assert times[0] > times[1] < times[2] < times[3]


def test_caches_of_several_sequences_take_so_many_times_the_bytes():
    one, four = (regions_of(llama(), sequences=count) for count in (1, 4))

    assert four.bytes(((1, 2),), (4, 4)).cache == 4 * one.bytes(((1, 2),), (4, 4)).cache > 0


def test_sparse_weights_save_products_and_bytes_and_nothing_else():
    model, rectangle, work = llama(features=256, inner=1024), (24, 24), ((1, 4),)
    dense, sparse = (
        regions_of(model, options=WaferOptions(density=density)) for density in (1.0, 0.25)
    )
    before, after = (regions.split(work, rectangle) for regions in (dense, sparse))
    changed = {key[1].value for key, cycles in before.items() if after[key] != cycles}

    assert changed == {"SRAM bandwidth"}
    assert sparse.cost(work, rectangle).cycles < dense.cost(work, rectangle).cycles
    before, after = (regions.bytes(work, rectangle) for regions in (dense, sparse))
    assert after.weights == pytest.approx(before.weights / 4, rel=0.1)  # norms stay dense
    assert (after.cache, after.other) == (before.cache, before.other)


def test_what_has_no_room_has_no_cost():
    regions = regions_of(llama(features=512, inner=2048))

    assert regions.cost(((1, 4),), (2, 2)) is None
    assert regions.cost(((1, 4),), (40, 40)) is not None
