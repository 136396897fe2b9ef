"""Programs that keep several sequences: launches with rows of any of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import HostError, TooLargeError, UnsupportedOperationError
from onewafer.graph import DataType, Evaluator, Slot
from onewafer.mesh import (
    Arena,
    ErrorBounds,
    Launch,
    MeshEvaluator,
    emit,
    estimate,
    footprint,
    shard,
    split_waits,
    verify,
)
from tests.graph.strategies import sequences
from tests.mesh.fabric import compile_emitted, run_launches
from tests.mesh.models import VOCABULARY, bert, gpt2, llama
from tests.mesh.strategies import assert_same_bits
from tests.mesh.test_sequences import arrays_of

WSE3 = load_architecture("wse3")
NUM_SEQUENCES = 3
ROWS = 5
POSITIONS = 8
MODELS = {"llama": llama, "gpt2": gpt2}
A_PROMPT_BESIDE_TOKENS = (
    ((0, 0, 3),),
    ((2, 0, 2), (0, 3, 1), (1, 0, 2)),
    ((1, 2, 1), (0, 4, 1), (2, 2, 3)),
    ((0, 0, 4),),  # the first sequence is over: another one has its place
    ((2, 5, 1), (1, 3, 1, 7), (0, 4, 1)),
    ((1, 4, 2, 2), (0, 5, 1)),  # the second one's tables are read where its script counts padding
)
"""Sequence, first position, rows, and perhaps the row of tables, of each slot of some launches."""


def shards(graph, rectangle, *, num_sequences=NUM_SEQUENCES, **options):
    width, height = rectangle
    return shard(
        graph, width=width, height=height, architecture=WSE3, sequences=num_sequences, **options
    )


def launches_of(slots):
    return [Launch(tuple(Slot(*slot) for slot in launch)) for launch in slots]


def steps_of(graph, launches, *, vocabulary=VOCABULARY):
    """Return for each launch token ids, those of unused rows far outside the table, and itself."""
    generator = np.random.default_rng(0)
    for launch in launches:
        ids = np.full((graph.inputs[0].shape[0], 1), 10**9, np.int32)
        ids[: launch.num_rows, 0] = generator.integers(0, vocabulary, launch.num_rows)
        yield {"ids": ids}, launch


def valid(outputs, graph, launch):
    """Return the output of a launch: a row for each of its rows, or for each of its slots."""
    (value,) = outputs.values()
    has_all_rows = len(value) == graph.inputs[0].shape[0] != NUM_SEQUENCES
    return value[: launch.num_rows if has_all_rows else len(launch.slots)]


def check(program, launches, *, vocabulary=VOCABULARY):
    """Compare fabric and NumPy reader bit by bit, and cycles with their tolerance."""
    graph = program.graph
    parameters = arrays_of(graph, 0)
    steps = list(steps_of(graph, launches, vocabulary=vocabulary))
    reader = MeshEvaluator(program, parameters)
    outputs = []
    runs = run_launches(program, WSE3, parameters, steps)
    for run, (inputs, launch) in zip(runs, steps, strict=True):
        expected = valid(reader.run(inputs, launch), graph, launch)
        assert_same_bits(valid(run.outputs, graph, launch), expected)
        outputs.append(expected)
        cycles = estimate(program, WSE3, launch).cycles
        assert abs(cycles - run.cycles) <= max(0.03 * run.cycles, 200), launch
    return outputs


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("rectangle", "dtype"), [((1, 1), DataType.F32), ((3, 2), DataType.F16), ((4, 4), DataType.F32)]
)
@pytest.mark.alternate(3)
def test_a_prompt_beside_tokens_of_other_sequences(model, rectangle, dtype):
    graph = MODELS[model](rows=ROWS, positions=POSITIONS, layers=1, dtype=dtype)
    launches = launches_of(A_PROMPT_BESIDE_TOKENS)
    outputs = check(shards(graph, rectangle), launches)
    compare_with_exact(graph, outputs, launches)


def compare_with_exact(graph, outputs, launches):
    """Compare with f64, where each sequence is evaluated alone; f16 rounds every stored tensor."""
    tolerance = 2e-2 if graph.dtype is DataType.F16 else 1e-5
    parameters = arrays_of(graph, 0)
    if graph.dtype is DataType.F16:
        parameters = {name: array.astype(np.float16) for name, array in parameters.items()}
    host = Evaluator(graph, parameters)
    for value, (inputs, launch) in zip(outputs, steps_of(graph, launches), strict=True):
        for index, (first, (slot,)) in enumerate(alone(launch)):
            ids = {"ids": inputs["ids"][first : first + slot.rows]}
            exact = host.run_slots(ids, (slot,))[graph.outputs[0]]
            np.testing.assert_allclose(
                value[index : index + 1].astype(np.float64), exact, atol=tolerance, rtol=tolerance
            )


def alone(launch):
    return [(first, part.slots) for first, part in launch.each_slot()]


@st.composite
def launches_of_slots(draw, *, num_sequences, rows, positions, most=4):
    """Draw launches: prompts, parts of prompts and tokens beside each other, places used again."""
    ends = [0] * num_sequences
    launches = []
    for _ in range(draw(st.integers(1, most))):
        slots, left = [], rows
        for sequence in draw(st.permutations(range(num_sequences))):
            begins = ends[sequence] == positions or draw(st.booleans())
            position = 0 if begins else ends[sequence]
            count = draw(st.integers(0, min(left, positions - position)))
            if count:
                slots.append(Slot(sequence, position, count))
                ends[sequence], left = position + count, left - count
        launches += [Launch(tuple(slots))] if slots else []
    return launches


@settings(max_examples=6)
@given(
    st.data(), sequences(has_equal_heads=True, has_cache=True), st.integers(1, 3), st.integers(1, 3)
)
def test_random_sequences_beside_each_other(data, graph, width, height):
    rows = graph.inputs[0].shape[0]
    try:
        program = shards(graph, (width, height))
    except UnsupportedOperationError:
        reject()
    positions = program.context or rows
    launches = data.draw(
        launches_of_slots(num_sequences=NUM_SEQUENCES, rows=rows, positions=positions)
    )
    check(program, launches, vocabulary=graph.tensor("table").shape[0])


@pytest.mark.slow
@settings(max_examples=100)
@given(
    st.data(),
    sequences(has_equal_heads=True, has_cache=True, max_rows=9, max_operations=12),
    st.integers(1, 6),
    st.integers(1, 6),
)
def test_random_sequences_on_larger_rectangles(data, graph, width, height):
    test_random_sequences_beside_each_other.hypothesis.inner_test(data, graph, width, height)


@settings(max_examples=10)
@given(st.data(), st.sampled_from(sorted(MODELS)), st.sampled_from([(1, 1), (3, 2), (2, 4)]))
def test_each_operation_is_within_its_own_roundings(data, model, rectangle):
    """Operands are those of the reader: bounds of the whole model would say nothing."""
    graph = MODELS[model](rows=ROWS, positions=POSITIONS, layers=2)
    graph = dataclasses.replace(graph, outputs=tuple(op.result.name for op in graph.operations))
    program, parameters = shards(graph, rectangle), arrays_of(graph, 0)
    reader, bounds = MeshEvaluator(program, parameters), ErrorBounds(program, parameters)
    launches = data.draw(
        launches_of_slots(num_sequences=NUM_SEQUENCES, rows=ROWS, positions=POSITIONS)
    )
    for inputs, launch in steps_of(graph, launches):
        rows = program.output_rows(launch)
        results = {n: array[: rows[n]] for n, array in reader.run(inputs, launch).items()}
        ids = {"ids": inputs["ids"][: launch.num_rows]}
        for name, found in bounds.run(ids, launch, alone=results).items():
            if name in results:
                distance = np.abs(results[name].astype(np.float64) - found.exact)
                assert (distance <= found.error).all(), name
                assert found.error.max() <= 2e-5 * np.abs(found.exact).max(), name


@settings(max_examples=20)
@given(
    st.data(),
    st.sampled_from(sorted(MODELS)),
    st.sampled_from([DataType.F32, DataType.F16]),
    st.sampled_from([(1, 1), (3, 2), (2, 4)]),
)
def test_a_row_does_not_depend_on_those_beside_it(data, model, dtype, rectangle):
    """Bit by bit what the same program gives for the same sequence alone, in another place."""
    graph = MODELS[model](rows=ROWS, positions=POSITIONS, layers=1, dtype=dtype)
    program = shards(graph, rectangle)
    parameters = arrays_of(graph, 0)
    launches = data.draw(
        launches_of_slots(num_sequences=NUM_SEQUENCES, rows=ROWS, positions=POSITIONS)
    )
    together = MeshEvaluator(program, parameters)
    of_each = [MeshEvaluator(program, parameters) for _ in range(NUM_SEQUENCES)]
    for inputs, launch in steps_of(program.graph, launches):
        values = valid(together.run(inputs, launch), program.graph, launch)
        for index, (first, (slot,)) in enumerate(alone(launch)):
            ids = np.zeros_like(inputs["ids"])
            ids[: slot.rows] = inputs["ids"][first : first + slot.rows]
            place = dataclasses.replace(slot, sequence=NUM_SEQUENCES - 1 - slot.sequence)
            (value,) = of_each[slot.sequence].run({"ids": ids}, Launch((place,))).values()
            assert_same_bits(values[index], value[0])


@pytest.mark.parametrize(
    "dtype", [DataType.F16, pytest.param(DataType.F32, marks=pytest.mark.slow)]
)
@pytest.mark.slow
def test_the_footprint_has_every_sequence_and_is_an_upper_bound(dtype):
    graph = llama(rows=ROWS, positions=POSITIONS, dtype=dtype)
    program, one = (shards(graph, (4, 3), num_sequences=count) for count in (NUM_SEQUENCES, 1))
    kept = one.arena_elements[Arena.STATE]
    assert program.arena_elements[Arena.STATE] == NUM_SEQUENCES * kept
    image = compile_emitted(emit(program, WSE3), WSE3)
    most = max(sum(part.num_bytes for part in tile.sections) for tile in image.programs)
    assert most <= footprint(program, WSE3).total <= most + 512


def test_a_program_for_one_sequence_knows_nothing_of_slots():
    emitted = emit(shards(llama(), (2, 2), num_sequences=1), WSE3)
    assert not emitted.has_slots
    names = {s.name for tile in compile_emitted(emitted, WSE3).programs for s in tile.symbols}
    assert not {"num_slots", "model.slots", "infer_slots"} & names


def test_a_launch_of_tokens_is_cheaper_than_one_after_the_other():
    program = shards(llama(rows=ROWS, positions=POSITIONS), (4, 4))
    slots = tuple(Slot(sequence, 4, 1) for sequence in range(NUM_SEQUENCES))
    together = estimate(program, WSE3, Launch(slots))
    each = [estimate(program, WSE3, Launch((slot,))).cycles for slot in slots]
    assert together.cycles < 0.7 * sum(each)
    waits = split_waits(program, Launch(slots), together, WSE3)
    operations = [operation.cycles for operation in together.operations]
    assert [wait.cycles for wait in waits] == operations


def test_launches_beyond_the_program_are_refused():
    program = shards(llama(rows=ROWS, positions=POSITIONS), (1, 1))
    reader = MeshEvaluator(program, arrays_of(program.graph, 0))

    def run(*slots):
        reader.run({"ids": np.zeros((ROWS, 1), np.int32)}, *launches_of([slots]))

    with pytest.raises(HostError, match=r"sequences \[3\] does not work: the program keeps 3 seq"):
        run((3, 0, 1))
    with pytest.raises(HostError, match=r"sequences \[1, 1\].*a launch has each at most once"):
        run((1, 0, 1), (1, 1, 1))
    with pytest.raises(HostError, match="at least a row of each"):
        run((0, 0, 1), (1, 0, 0))
    with pytest.raises(HostError, match="6 rows does not work: the program was built for 1 to 5"):
        run((0, 0, 3), (2, 0, 3))
    with pytest.raises(HostError, match=r"2 rows from position 7 on do not fit.*8 positions"):
        run((0, 0, 1), (1, 7, 2))
    with pytest.raises(HostError, match=r"2 rows from position 7 on do not fit.*8 positions"):
        run((0, 0, 2, 7))
    alone = MeshEvaluator(
        shards(program.graph, (1, 1), num_sequences=1), arrays_of(program.graph, 0)
    )
    with pytest.raises(HostError, match="rows of tables that are not those of positions need"):
        alone.run({"ids": np.zeros((ROWS, 1), np.int32)}, *launches_of([[(0, 0, 2, 1)]]))


def test_graphs_whose_rows_look_at_others_are_refused():
    with pytest.raises(
        UnsupportedOperationError, match=r"several sequences at a time: .*not causal"
    ):
        shards(bert(), (2, 2))


def test_too_many_sequences_are_refused_with_what_would_fit():
    graph = llama(rows=4, positions=2000)
    with pytest.raises(
        TooLargeError, match=r"2,000 positions of 8 sequences each.*fewer sequences at a time"
    ):
        verify(shards(graph, (2, 2), num_sequences=8), WSE3)
