"""Programs over the tokens of a sequence: fabric, NumPy reader, cost model and exact evaluation."""

from __future__ import annotations

import itertools
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import ConfigurationError, HostError, UnsupportedOperationError
from onewafer.graph import FLOATING, Attention, DataType, Evaluator, Graph, Linear, Slot, Tensor
from onewafer.image import SectionKind
from onewafer.mesh import Arena, Launch, MeshEvaluator, emit, estimate, footprint, shard
from onewafer.mesh.budget import num_tile_programs
from onewafer.mesh.schedule import build_schedule
from onewafer.mesh.tokens import LookUpTokens
from tests.graph.strategies import sequences
from tests.mesh.fabric import compile_emitted, run_launches
from tests.mesh.models import VOCABULARY, bert, gpt2, llama
from tests.mesh.strategies import assert_same_bits, random_arrays
from tests.mesh.test_fabric import DELAY_PLACES, with_delays

ARCHITECTURES = {name: load_architecture(name) for name in ("wse2", "wse3")}
WSE3 = ARCHITECTURES["wse3"]
sides = st.integers(1, 4)
architectures = st.sampled_from(sorted(ARCHITECTURES))
GENERATION = ((0, 3), (3, 1), (4, 1), (5, 2))
"""First positions and numbers of rows of launches: a prompt, then tokens."""


def shards(graph, width, height, architecture=WSE3, **options):
    return shard(graph, width=width, height=height, architecture=architecture, **options)


def arrays_of(graph, seed, scale=0.4):
    arrays = random_arrays(graph.parameters, seed)
    return {name: np.float32(scale) * array for name, array in arrays.items()}


def steps_of(graph, launches, seed, vocabulary):
    """Return for each launch token ids, those of unused rows far outside the table, and itself."""
    generator = np.random.default_rng(seed)
    rows = graph.inputs[0].shape[0]
    for start, num_rows in launches:
        ids = np.full((rows, 1), 10**9, np.int32)
        ids[:num_rows, 0] = generator.integers(0, vocabulary, num_rows)
        yield {"ids": ids}, Launch.at(start, num_rows)


def valid(value, graph, launch):
    """Return the rows of an output that a launch computed."""
    return value[: launch.num_rows] if len(value) == graph.inputs[0].shape[0] else value


def check(graph, rectangle, architecture, launches, *, vocabulary=VOCABULARY, **options):
    """Compare values bit by bit, and cycles with their tolerance; return the outputs."""
    program = shards(graph, *rectangle, architecture)
    parameters = arrays_of(graph, 0)
    steps = list(steps_of(graph, launches, 0, vocabulary))
    reader = MeshEvaluator(program, parameters)
    outputs = []
    for run, (inputs, launch) in zip(
        run_launches(program, architecture, parameters, steps, **options), steps, strict=True
    ):
        for name, value in reader.run(inputs, launch).items():
            expected = valid(value, graph, launch)
            assert_same_bits(valid(run.outputs[name], graph, launch), expected)
            outputs.append(expected)
        if not options:
            least, most = bounds(program, architecture, launch)
            tolerance = max(0.03 * run.cycles, 200)
            assert least - tolerance <= run.cycles <= most + tolerance, launch
    return outputs


def bounds(program, architecture, launch):
    """Return the cycles where the PEs hold equally many of the tokens, and where one has them all.

    The closed form is the first: it cannot know the tokens.
    """
    even = LookUpTokens.sizes

    def of_one(operation, shape, at):
        sizes = even(operation, shape, at)
        return {**sizes, "held": sizes["rows"]}

    least = estimate(program, architecture, launch).cycles
    with mock.patch.object(LookUpTokens, "sizes", of_one):
        return least, estimate(program, architecture, launch).cycles


@settings(max_examples=8)
@given(sequences(has_equal_heads=True), sides, sides, architectures, st.data())
def test_random_sequences(graph, width, height, architecture, data):
    rows = graph.inputs[0].shape[0]
    counts = data.draw(st.lists(st.integers(1, rows), min_size=1, max_size=3))
    if not graph.is_sequence:
        counts = [rows]
    starts = itertools.accumulate(counts, initial=0)
    launches = [(start, n) for start, n in zip(starts, counts, strict=False) if start + n <= rows]
    vocabulary = graph.tensor("table").shape[0]
    try:
        check(graph, (width, height), ARCHITECTURES[architecture], launches, vocabulary=vocabulary)
    except UnsupportedOperationError:
        reject()


@pytest.mark.slow
@settings(max_examples=200)
@given(
    sequences(has_equal_heads=True, max_rows=9, max_operations=12),
    st.integers(1, 7),
    st.integers(1, 7),
    architectures,
    st.data(),
)
def test_random_sequences_on_larger_rectangles(graph, width, height, architecture, data):
    test_random_sequences.hypothesis.inner_test(graph, width, height, architecture, data)


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize(
    ("rectangle", "architecture"), [((1, 1), "wse3"), ((3, 2), "wse2"), ((2, 5), "wse3")], ids=str
)
@pytest.mark.alternate(3)
def test_llama_generates_with_a_cache(rectangle, architecture, dtype):
    graph = llama(dtype=dtype, has_head_norms=True)
    outputs = check(graph, rectangle, ARCHITECTURES[architecture], GENERATION)
    compare_with_exact(graph, outputs, GENERATION)


@pytest.mark.parametrize("swapped", [0, 2, 4])
@pytest.mark.slow
def test_pairs_of_rotated_features_lie_side_by_side(swapped):
    graph = llama(features=24, swapped=swapped, layers=1)
    outputs = check(graph, (3, 2), WSE3, GENERATION)
    compare_with_exact(graph, outputs, GENERATION)


@pytest.mark.parametrize(("model", "launches"), [(gpt2, GENERATION), (bert, ((0, 5), (0, 2)))])
@pytest.mark.parametrize("rectangle", [(2, 3), (4, 2)], ids=str)
@pytest.mark.alternate(3)
def test_other_families(model, launches, rectangle):
    outputs = check(model(), rectangle, WSE3, launches)
    compare_with_exact(model(), outputs, launches)


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize(
    ("rectangle", "architecture"), [((1, 1), "wse3"), ((3, 2), "wse2"), ((4, 7), "wse3")], ids=str
)
@pytest.mark.slow
def test_attention_with_a_bias(rectangle, architecture, dtype):
    graph = bert(dtype=dtype, has_bias=True)
    outputs = check(graph, rectangle, ARCHITECTURES[architecture], ((0, 5), (0, 2)))
    compare_with_exact(graph, outputs, ((0, 5), (0, 2)))


def compare_with_exact(graph, outputs, launches):
    """Compare with f64; f16 rounds every stored tensor."""
    tolerance = 2e-2 if graph.dtype is DataType.F16 else 1e-5
    parameters = arrays_of(graph, 0)
    if graph.dtype is DataType.F16:
        parameters = {name: array.astype(np.float16) for name, array in parameters.items()}
    host = Evaluator(graph, parameters)
    steps = steps_of(graph, launches, 0, VOCABULARY)
    for value, (inputs, launch) in zip(outputs, steps, strict=True):
        ids = {"ids": inputs["ids"][: launch.num_rows]}
        exact = host.run(ids, start=launch.start, num_rows=launch.num_rows)[graph.outputs[0]]
        np.testing.assert_allclose(value.astype(np.float64), exact, atol=tolerance, rtol=tolerance)


def test_a_prompt_in_pieces_gives_the_same_as_one_in_one_launch():
    graph = llama(rows=6)
    program = shards(graph, 2, 3)
    parameters = arrays_of(graph, 1)
    ids = np.arange(6, dtype=np.int32).reshape(6, 1)
    whole = MeshEvaluator(program, parameters).run({"ids": ids}, Launch.at(0, 6))["logits"]
    pieces = MeshEvaluator(program, parameters)
    for start, n in ((0, 2), (2, 3), (5, 1)):
        part = np.zeros_like(ids)
        part[:n] = ids[start : start + n]
        last = pieces.run({"ids": part}, Launch.at(start, n))["logits"]
    assert_same_bits(last, whole)


@settings(max_examples=2)
@given(st.integers(0, 1000), architectures)
@pytest.mark.slow
def test_no_delay_of_any_pe_changes_a_value(seed, architecture):
    """Also where scores go along the PEs of a head, which are two of four here."""
    generator = np.random.default_rng(seed)
    delays = generator.integers(0, 60, (4, 4, DELAY_PLACES)).astype(np.uint16)
    assert shards(llama(layers=1), 4, 4).heads is not None
    check(
        llama(layers=1),
        (4, 4),
        ARCHITECTURES[architecture],
        ((0, 3), (3, 1)),
        prepare=lambda device: device.write("delays", delays),
        change=with_delays,
    )


def code_bytes(image):
    return [
        sum(part.num_bytes for part in program.sections if part.kind is SectionKind.CODE)
        for program in image.programs
    ]


@pytest.mark.slow
def test_depth_changes_no_code():
    """Thirty layers are the tile programs of two, with the same schedule but its repetitions."""
    programs = [shards(llama(layers=layers), 4, 4) for layers in (2, 30)]
    few, many = (compile_emitted(emit(program, WSE3), WSE3) for program in programs)
    assert code_bytes(few) == code_bytes(many)
    assert len(many.programs) == num_tile_programs(programs[1]) == 9
    few_steps, many_steps = (len(build_schedule(program)) for program in programs)
    assert many_steps <= few_steps + 1


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("model", [llama, gpt2, bert])
@pytest.mark.slow
def test_the_footprint_is_an_upper_bound(model, dtype):
    program = shards(model(dtype=dtype), 4, 3)
    image = compile_emitted(emit(program, WSE3), WSE3)
    most = max(sum(part.num_bytes for part in tile.sections) for tile in image.programs)
    # The code of a kernel is counted as it is beside all others, where little can be left out.
    assert most <= footprint(program, WSE3).total <= most + 512


def test_the_embedding_is_the_head():
    """A tied table is on the wafer once."""
    placements = [item for item in shards(llama(), 3, 4).placements if item.name == "tokens"]
    assert len(placements) == 1


def test_only_causal_attention_keeps_anything():
    assert shards(bert(), 2, 2).arena_elements[Arena.STATE] == 0
    state = shards(gpt2(layers=3), 2, 2).arena_elements[Arena.STATE]
    assert state == 3 * 2 * 6 * 4  # layers, keys and values, features and slots of a PE


def test_context_is_what_the_tables_hold_unless_given():
    assert shards(llama(positions=8), 2, 2).context == 8
    assert shards(llama(positions=8), 2, 2, context=5).context == 5
    with pytest.raises(ConfigurationError, match=r"context of 9 positions.*'cosine' has 8.*1 to 8"):
        shards(llama(positions=8), 2, 2, context=9)


def test_launches_beyond_the_program_are_refused():
    program = shards(llama(positions=8), 1, 1)
    reader = MeshEvaluator(program, arrays_of(program.graph, 0))
    ids = {"ids": np.zeros((3, 1), np.int32)}
    with pytest.raises(HostError, match=r"4 rows does not work.*1 to 3"):
        reader.run(ids, Launch.at(0, 4))
    with pytest.raises(HostError, match=r"2 rows from position 7 on.*8 positions"):
        reader.run(ids, Launch.at(7, 2))
    with pytest.raises(HostError, match=r"sequences \[1\] does not work: the program keeps one"):
        reader.run(ids, Launch((Slot(sequence=1, position=0, rows=2),)))
    with pytest.raises(HostError, match="no entry 'train'; it has infer"):
        reader.run(ids, Launch((Slot(sequence=0, position=0, rows=2),), "train"))


def test_heads_of_values_must_be_as_wide_as_those_of_keys():
    graph = with_unequal_heads()
    with pytest.raises(UnsupportedOperationError, match="heads of the values have 3 features"):
        shards(graph, 2, 2)


def with_unequal_heads():
    def tensor(name, *shape):
        return Tensor(name, shape, DataType.F32)

    names = {"query": 4, "key": 4, "value": 6}
    weights = tuple(tensor(f"{name}.weight", n, 4) for name, n in names.items())
    lines = tuple(Linear(tensor(name, 2, n), "x", f"{name}.weight") for name, n in names.items())
    attention = Attention(tensor("y", 2, 6), *names, 2, 2, 1.0, is_causal=True)
    return Graph("unequal", (tensor("x", 2, 4),), weights, (*lines, attention), ("y",))
