"""Attention whose shares have factors, as of a dropout: NumPy, fabric, closed form; float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Attention,
    DataType,
    Graph,
    Tensor,
    evaluate_graph,
    recompute,
    with_dtype,
)
from onewafer.mesh import ErrorBounds, estimate, shard, shard_training
from onewafer.mesh.reference import MeshEvaluator
from tests.mesh.fabric import check_launches, run_launches
from tests.mesh.gradients.test_transformers import check_gradients, derived, inputs_of
from tests.mesh.models import Decoder
from tests.mesh.strategies import assert_same_bits, random_arrays

WSE3 = load_architecture("wse3")
ENTRIES = ("clear", "forward", "loss", "backward")
CASES = {
    "one PE": (Decoder(rows=3), (1, 1), "wse3"),
    "grouped queries, parts of heads": (Decoder(), (2, 3), "wse2"),
    "bidirectional": (Decoder(kv_heads=4, has_rotary=False, is_causal=False), (3, 2), "wse3"),
    "grouped queries, a head on two PEs": (Decoder(), (3, 4), "wse3"),
}


def with_factors(graph: Graph) -> Graph:
    """Return a graph each attention of which has factors."""
    inputs, operations = [*graph.inputs], []
    for operation in graph.operations:
        found = operation
        if isinstance(operation, Attention):
            rows = operation.result.shape[0]
            shape = rows, operation.heads * rows
            inputs.append(Tensor(f"factors_{len(inputs)}", shape, DataType.F32))
            found = replace(operation, factors=inputs[-1].name)
        operations.append(found)
    return replace(graph, inputs=tuple(inputs), operations=tuple(operations))


def dropped(graph: Graph, seed: int, share: float = 0.3) -> dict[str, np.ndarray]:
    """Return factors of a dropout."""
    generator = np.random.default_rng(seed)
    return {
        tensor.name: np.where(generator.random(tensor.shape) < share, 0, 1 / (1 - share)).astype(
            np.float32
        )
        for tensor in graph.inputs
        if tensor.name.startswith("factors_")
    }


def trained(decoder: Decoder, rectangle: tuple[int, int], architecture=WSE3):
    """Return a program that trains a decoder with factors, and its gradients."""
    graph = with_factors(decoder.graph)
    gradients, number = derived(decoder, graph=graph)
    width, height = rectangle
    program = shard_training(
        gradients, width=width, height=height, architecture=architecture, num_model=number
    )
    return program, gradients, inputs_of(decoder) | dropped(graph, 5)


@pytest.mark.parametrize(("decoder", "rectangle", "arch"), CASES.values(), ids=CASES)
@pytest.mark.slow
def test_a_step_on_the_fabric(decoder, rectangle, arch):
    architecture = load_architecture(arch)
    program, gradients, inputs = trained(decoder, rectangle, architecture)
    parameters = random_arrays(gradients.graph.parameters, 2)
    launches = [(inputs, replace(program.whole_launch(), entry=entry)) for entry in ENTRIES]
    runs = check_launches(program, architecture, parameters, launches, tolerance=0.07, slack=200)
    check_gradients(gradients, inputs, parameters, runs[-1].outputs)


@settings(max_examples=8)
@given(
    st.builds(
        Decoder,
        rows=st.integers(2, 6),
        heads=st.sampled_from([2, 4]),
        kv_heads=st.sampled_from([1, 2]),
        is_causal=st.booleans(),
        has_rotary=st.booleans(),
    ),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.integers(0, 99),
)
def test_results_and_gradients_are_those_in_float64(decoder, rectangle, seed):
    program, gradients, inputs = trained(decoder, rectangle)
    inputs |= dropped(gradients.graph, seed)
    parameters = random_arrays(gradients.graph.parameters, seed)
    evaluator, found = MeshEvaluator(program, parameters), {}
    for entry in ENTRIES:
        found |= evaluator.run(inputs, replace(program.whole_launch(), entry=entry))
    wide = {name: value.astype(np.float64) for name, value in parameters.items()}
    exact = evaluate_graph(gradients.graph, inputs, wide)
    largest = {name: np.abs(exact[name]).max() for name in gradients.by_name.values()}
    for name, value in largest.items():  # where shares are 0 and 1, scores hardly matter
        error = np.abs(found[name] - exact[name]).max()
        assert error <= 2e-5 * value + 2e-6 * max(largest.values())


def test_factors_of_1_change_no_bit():
    decoder = Decoder()
    plain, gradients = derived(decoder)[0], derived(decoder, graph=with_factors(decoder.graph))[0]
    parameters = random_arrays(gradients.graph.parameters, 2)
    inputs = inputs_of(decoder) | {n: v**0 for n, v in dropped(gradients.graph, 1).items()}
    found = []
    for each in (plain, gradients):
        program = shard_training(each, width=3, height=2, architecture=WSE3)
        evaluator, outputs = MeshEvaluator(program, parameters), {}
        for entry in ("clear", "forward", "backward"):
            outputs |= evaluator.run(inputs, replace(program.whole_launch(), entry=entry))
        found.append(outputs)
    for name, value in found[0].items():
        np.testing.assert_array_equal(found[1][name], value)


@pytest.mark.parametrize("cuts", [1, 2])
def test_layers_that_are_computed_again_have_the_same_factors(cuts):
    decoder = Decoder(layers=3)
    graph = with_factors(decoder.graph)
    kept, number = derived(decoder, graph=graph)
    again, more = recompute(kept, number, cuts=cuts)
    operations = again.graph.operations
    computed = {o.result.name for o in operations if isinstance(o, Attention)}
    assert computed & again.originals.keys()
    inputs, found = inputs_of(decoder) | dropped(graph, 5), []
    parameters = random_arrays(kept.graph.parameters, 2)
    for gradients, num_model in ((kept, number), (again, more)):
        program = shard_training(
            gradients, width=3, height=2, architecture=WSE3, num_model=num_model
        )
        evaluator, outputs = MeshEvaluator(program, parameters), {}
        for entry in ENTRIES:
            outputs |= evaluator.run(inputs, replace(program.whole_launch(), entry=entry))
        found.append(outputs)
    for name, value in found[0].items():
        assert_same_bits(found[1][name], value)


def of_one_attention(rows: int, *, is_causal: bool) -> Graph:
    """Return the graph of an attention of four heads, two of which share keys and values."""
    shapes = {"q": (rows, 8), "k": (rows, 4), "v": (rows, 4)}
    tensors = tuple(Tensor(name, shape, DataType.F32) for name, shape in shapes.items())
    attention = Attention(Tensor("r", (rows, 8), DataType.F32), *"qkv", 4, 2, 0.5, is_causal)
    return Graph("one", tensors, (), (attention,), ("r",))


@given(st.booleans(), st.integers(0, 99))
def test_results_are_within_their_bound(is_causal, seed):
    graph = with_factors(of_one_attention(5, is_causal=is_causal))
    inputs = random_arrays(graph.inputs[:3], seed) | dropped(graph, seed)
    program = shard(graph, width=3, height=2, architecture=WSE3)
    exact = evaluate_graph(graph, {n: v.astype(np.float64) for n, v in inputs.items()}, {})["r"]
    bounded = ErrorBounds(program, {}).run(inputs)["r"]
    found = MeshEvaluator(program, {}).run(inputs, program.whole_launch())["r"]
    assert (np.abs(found - exact) <= bounded.error).all()
    assert bounded.error.max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("rows", [24, 31])
@pytest.mark.parametrize("rectangle", [(1, 1), (2, 2), (1, 3)])
def test_the_step_takes_what_the_closed_form_says(rows, rectangle):
    """Where operands begin in the same banks, and where they do not."""
    plain = of_one_attention(rows, is_causal=True)
    inputs = random_arrays(plain.inputs, 1) | dropped(with_factors(plain), 1)
    cycles, expected = [], []
    for graph in (plain, with_factors(plain)):
        program = shard(graph, width=rectangle[0], height=rectangle[1], architecture=WSE3)
        (run,) = run_launches(program, WSE3, {}, [(inputs, program.whole_launch())])
        cycles.append(run.cycles)
        expected.append(estimate(program, WSE3, launch=program.whole_launch()).cycles)
    assert expected[1] - expected[0] == pytest.approx(cycles[1] - cycles[0], rel=0.1)


def test_a_graph_in_f16_is_refused():
    graph = with_dtype(with_factors(Decoder().graph), DataType.F16)
    with pytest.raises(UnsupportedOperationError, match="a dropout of attention is supported in f"):
        shard(graph, width=2, height=2, architecture=WSE3)
