import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import ConfigurationError, TooLargeError
from onewafer.execution import (
    Fidelity,
    Trained,
    WaferOptions,
    place_training,
    placement,
    refuse_outside_of_groups,
)
from onewafer.execution.placement import choose_bucket, place
from onewafer.graph import (
    AddBias,
    BatchNorm,
    Convolution,
    DataType,
    GlobalAveragePool,
    Graph,
    Linear,
    Tensor,
    Window,
    derive_gradients,
)
from onewafer.mesh import budget, estimate, footprint, smallest_rectangle, verify
from tests.mesh.gradients.test_transformers import derived
from tests.mesh.models import Decoder

WSE3 = load_architecture("wse3")


def linear(rows, width, height):
    return Graph(
        "linear",
        (Tensor("x", (rows, width), DataType.F32),),
        (Tensor("w", (height, width), DataType.F32),),
        (Linear(Tensor("y", (rows, height), DataType.F32), "x", "w"),),
        ("y",),
    )


@given(st.integers(1, 5000), st.integers(1, 3000))
def test_bucket_is_a_bounded_power_of_two(rows, max_batch):
    bucket = choose_bucket(rows, max_batch)
    assert bucket & (bucket - 1) == 0
    assert bucket <= max_batch
    assert bucket < 2 * rows
    assert bucket >= rows or 2 * bucket > max_batch


@pytest.mark.parametrize(("width", "height"), [(1, 1), (10, 64), (300, 200)])
def test_default_rectangle_fits_in_eight_by_eight(width, height):
    program = place(linear(4, width, height), WSE3, WaferOptions()).program
    verify(program, WSE3)
    assert max(program.width, program.height) <= 8


def test_default_rectangle_is_the_fastest_of_the_usual_ones():
    graph = linear(4, 64, 32)
    sides = (1, 2, 4, 8)
    cycles = [
        estimate(place(graph, WSE3, WaferOptions(rectangle=(width, height))).program, WSE3).cycles
        for width in sides
        for height in sides
    ]
    assert min(cycles) < max(cycles)
    assert estimate(place(graph, WSE3, WaferOptions()).program, WSE3).cycles == min(cycles)


def test_the_choice_says_what_was_considered_and_why_it_was_refused():
    placed = place(linear(4, 300, 200), WSE3, WaferOptions())
    assert not placed.is_pinned
    sides = [(c.width, c.height) for c in placed.candidates]
    assert sides == [(width, height) for height in (1, 2, 4, 8) for width in (1, 2, 4, 8)]
    fitting = [c for c in placed.candidates if c.refusal is None]
    assert 1 < len(fitting) < len(sides)
    for candidate in placed.candidates:
        assert (candidate.cycles is None) == (candidate.num_bytes > WSE3.memory_bytes)
        if candidate.cycles is None:
            lacking = candidate.num_bytes - WSE3.memory_bytes
            assert candidate.refusal == f"{lacking:,} B too many"
    best = min(fitting, key=lambda c: c.cycles)
    assert (placed.program.width, placed.program.height) == (best.width, best.height)
    assert best.cycles == estimate(placed.program, WSE3).cycles
    assert best.num_bytes == footprint(placed.program, WSE3).total


def test_a_pinned_rectangle_is_the_only_candidate():
    placed = place(linear(4, 8, 8), WSE3, WaferOptions(rectangle=(3, 2)))
    assert placed.is_pinned
    (candidate,) = placed.candidates
    assert (candidate.width, candidate.height, candidate.refusal) == (3, 2, None)


def test_rows_that_fit_nowhere_are_remembered():
    placed = place(linear(64, 300, 200), WSE3, WaferOptions(rectangle=(4, 4)))
    bucket = placed.program.graph.inputs[0].shape[0]
    assert placed.refused_rows[0] == 64
    assert placed.refused_rows[-1] == 2 * bucket


def test_larger_models_get_larger_rectangles():
    program = place(linear(1, 2048, 1024), WSE3, WaferOptions()).program
    assert program.width == program.height == 16


def test_given_rectangle_is_taken_or_refused():
    program = place(linear(4, 8, 8), WSE3, WaferOptions(rectangle=(3, 2))).program
    assert (program.width, program.height) == (3, 2)
    with pytest.raises(TooLargeError, match="at least"):
        place(linear(4, 300, 300), WSE3, WaferOptions(rectangle=(1, 1)))
    with pytest.raises(ConfigurationError, match="is not available"):
        WaferOptions(rectangle=(5000, 1))


def test_nobody_simulates_a_quarter_of_a_wafer_unasked():
    graph = linear(1, 30_000, 30_000)
    with pytest.raises(TooLargeError, match=r"at least (\d+)×\d+ PEs.* fidelity 'auto'") as error:
        place(graph, WSE3, WaferOptions(fidelity=Fidelity.FABRIC))
    for fidelity in (Fidelity.AUTO, Fidelity.MODEL):
        program = place(graph, WSE3, WaferOptions(fidelity=fidelity)).program
        assert program.width == 512
    side = int(re.search(r"at least (\d+)", str(error.value)).group(1))
    program = place(graph, WSE3, WaferOptions(rectangle=(side, side))).program
    assert (program.width, program.height) == (side, side)


def test_what_fits_none_of_the_usual_rectangles_gets_the_smallest_other_one(monkeypatch):
    monkeypatch.setattr(placement, "_candidates", lambda _: [[(1, 1), (2, 1)]])
    placed = place(linear(1, 300, 300), WSE3, WaferOptions(fidelity=Fidelity.MODEL))
    sizes = [(each.width, each.height) for each in placed.candidates]
    assert sizes[:2] == [(1, 1), (2, 1)]
    assert sizes[2:] == [smallest_rectangle(placed.program, WSE3)]
    assert (placed.program.width, placed.program.height) == sizes[2]


@pytest.mark.parametrize(("layers", "is_again"), [(4, False), (12, True)])
def test_layers_are_computed_again_where_a_step_does_not_fit_without(layers, is_again):
    gradients, number = derived(Decoder(layers=layers))
    options = WaferOptions(rectangle=(8, 8))
    program = place_training(gradients, Trained(number), WSE3, options).program
    verify(program, WSE3)
    assert bool(program.training.originals) is is_again


@pytest.mark.parametrize("rectangle", [None, (2, 16)])
@pytest.mark.parametrize("is_joined", [True, False])
def test_samples_lie_in_groups_where_that_is_fastest(is_joined, rectangle):
    """Pictures, and samples that a norm joins, of which one group has no room for all."""
    samples, pixels, window = 1024, 4, Window(2, 2, 1, 1)
    shape = (samples * pixels, 4)
    x, y, z = (Tensor(name, shape, DataType.F32) for name in "xyz")
    w, v, b = (Tensor(n, s, DataType.F32) for n, s in (("w", (4, 4)), ("v", (4,)), ("b", (4,))))
    if is_joined:
        operations = Linear(y, "x", "w"), BatchNorm(z, "y", "v", "b", 1e-5)
    else:
        w = Tensor("w", (1, 4, 4), DataType.F32)
        operations = (
            *(Convolution(y, "x", "w", window), AddBias(z, "y", "b")),
            GlobalAveragePool(Tensor("p", (samples, 4), DataType.F32), "z", pixels),
        )
    parameters = (w, v, b) if is_joined else (w, b)
    graph = Graph("samples", (x,), parameters, operations, (operations[-1].result.name,))
    gradients = derive_gradients(graph, ["w"])
    options = WaferOptions(fidelity=Fidelity.MODEL, rectangle=rectangle)
    placed = place_training(gradients, Trained(len(operations)), WSE3, options)
    program = placed.program
    verify(program, WSE3)
    of_chosen = program.width, program.height, program.sample_groups
    assert program.sample_groups > 1
    assert program.width * program.height == (64 if rectangle is None else 32)
    assert placed.is_pinned is (rectangle is not None)
    (chosen,) = (c for c in placed.candidates if (c.width, c.height, c.sample_groups) == of_chosen)
    assert chosen.refusal is None
    assert chosen.cycles == min(c.cycles for c in placed.candidates if c.cycles)


def test_groups_that_have_room_are_found_where_higher_ones_have_none():
    """Sums over groups take room for each row of PEs of a group."""
    samples, features = 2 * 1501, 16
    x, y, z = (Tensor(name, (samples, features), DataType.F32) for name in "xyz")
    w = Tensor("w", (features, features), DataType.F32)
    v, b = (Tensor(name, (features,), DataType.F32) for name in "vb")
    operations = Linear(y, "x", "w"), BatchNorm(z, "y", "v", "b", 1e-5)
    gradients = derive_gradients(Graph("samples", (x,), (w, v, b), operations, ("z",)), ["w"])

    def place_on(rectangle=None):
        options = WaferOptions(fidelity=Fidelity.MODEL, rectangle=rectangle)
        return place_training(gradients, Trained(len(operations)), WSE3, options).program

    with pytest.raises(TooLargeError):
        place_on((512, 1024))
    program = place_on()
    verify(program, WSE3)
    assert program.sample_groups == 2


@pytest.mark.parametrize(
    ("fidelity", "pinned"),
    [(Fidelity.MODEL, (2, 2)), (Fidelity.FABRIC, (2, 2)), (Fidelity.FABRIC, None)],
)
def test_the_error_names_the_groups_that_have_room(fidelity, pinned, monkeypatch):
    monkeypatch.setattr(placement, "_MOST_SIMULATED_PES", 4)
    samples, features = 2048, 4
    x, y, z = (Tensor(name, (samples, features), DataType.F32) for name in "xyz")
    w = Tensor("w", (features, features), DataType.F32)
    v, b = (Tensor(name, (features,), DataType.F32) for name in "vb")
    operations = Linear(y, "x", "w"), BatchNorm(z, "y", "v", "b", 1e-5)
    gradients = derive_gradients(Graph("net", (x,), (w, v, b), operations, ("z",)), ["w"])
    trained = Trained(len(operations))

    def place_with(**options):
        return place_training(gradients, trained, WSE3, WaferOptions(**options)).program

    with pytest.raises(TooLargeError):
        place_with(fidelity=fidelity, rectangle=pinned)
    options = WaferOptions(fidelity=fidelity, rectangle=pinned)
    error = refuse_outside_of_groups(gradients, trained, WSE3, options)
    numbers = re.search(r"(\d+) groups of samples on (\d+)×(\d+) PEs each", str(error))
    groups, width, rows = map(int, numbers.groups())
    assert f"the rectangle {width}×{groups * rows}" in str(error)
    assert ("fidelity 'auto' or 'model'" in str(error)) is (pinned is None)
    program = place_with(fidelity=fidelity, rectangle=(width, groups * rows))
    assert program.sample_groups == groups > 1
    verify(program, WSE3)
    free = WaferOptions(fidelity=Fidelity.MODEL)
    assert refuse_outside_of_groups(gradients, trained, WSE3, free) is None


def test_groups_are_simulated_unasked_by_their_pes_not_by_their_sides():
    samples, features = 1 << 17, 4
    x, y, z = (Tensor(name, (samples, features), DataType.F32) for name in "xyz")
    w = Tensor("w", (features, features), DataType.F32)
    v, b = (Tensor(name, (features,), DataType.F32) for name in "vb")
    operations = Linear(y, "x", "w"), BatchNorm(z, "y", "v", "b", 1e-5)
    gradients = derive_gradients(Graph("net", (x,), (w, v, b), operations, ("z",)), ["w"])
    options = WaferOptions(fidelity=Fidelity.FABRIC)
    program = place_training(gradients, Trained(len(operations)), WSE3, options).program
    verify(program, WSE3)
    assert program.height > 128
    assert program.width * program.height <= 128 * 128


def test_one_group_has_all_samples_where_that_is_faster():
    """Many numbers for each pixel, which groups would have to add up."""
    window = Window(1, 1, 1, 1)
    x, y, z = (Tensor(n, (2, 128), DataType.F32) for n in "xyz")
    weights = tuple(Tensor(name, (1, 128, 128), DataType.F32) for name in ("w", "u"))
    operations = Convolution(y, "x", "w", window), Convolution(z, "y", "u", window)
    gradients = derive_gradients(Graph("wide", (x,), weights, operations, ("z",)), ["w", "u"])
    options = WaferOptions(fidelity=Fidelity.MODEL, rectangle=(8, 8))
    placed = place_training(gradients, Trained(2), WSE3, options)
    assert placed.program.sample_groups == 1
    assert {c.sample_groups for c in placed.candidates} == {1, 2}


def test_search_tries_few_rectangles_and_asks_of_none_what_would_fit_instead(monkeypatch):
    tried = []

    def count(graph, *, width, height, **options):
        tried.append((width, height))
        return shard(graph, width=width, height=height, **options)

    def ask(*_):
        raise AssertionError("a search in a search")

    shard = placement.shard
    monkeypatch.setattr(placement, "shard", count)
    monkeypatch.setattr(budget, "smallest_rectangle", ask)
    monkeypatch.setattr(budget, "longest_context", ask)
    program = place(linear(1, 8192, 4096), WSE3, WaferOptions()).program
    assert (program.width, program.height) == (64, 64)
    assert len(tried) == len(set(tried)) == 16 + 3
