"""Gradients of graphs: each rule and whole graphs against finite differences in float64."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import HostError
from onewafer.graph import (
    SEEDS,
    Add,
    AddBias,
    Attention,
    CrossEntropy,
    DataType,
    ElementLoss,
    Embedding,
    Evaluator,
    Experts,
    Graph,
    GraphError,
    LastRow,
    Linear,
    LossFunction,
    Multiply,
    Opaque,
    Operation,
    PositionEmbedding,
    Rotary,
    Tensor,
    TopIndices,
    derive_gradients,
    evaluate_graph,
    from_json,
    to_json,
    verify_graph,
)
from tests.graph.convolutional import convolutional
from tests.graph.operations.examples import EXAMPLES
from tests.graph.operations.one_operation import random
from tests.graph.strategies import graphs, products, searches, sequences

if TYPE_CHECKING:
    from collections.abc import Iterator

F32 = DataType.F32
WITHOUT_RULE = {"BatchMean", "BatchVariance", "BatchedOuter", "Experts", "Opaque", "RepeatRows"}
WITHOUT_RULE |= {"SliceFeatures", "SumRows", "SumSamples"}
"""Classes without a rule, besides those of gradients; `TopIndices` has no gradient."""
RULES = {
    kind.__name__: graph
    for kind, graph in EXAMPLES.items()
    if not kind.__name__.endswith("Gradient") and kind.__name__ not in WITHOUT_RULE
}
REFUSED = {
    "Attention": {"s", "f"},
    "CrossEntropy": {"v"},
    "ElementLoss": {"y", "v"},
    "NegativeLogLikelihood": {"v"},
    "Rotary": {"cosine", "sine"},
}
"""Operands of the examples that have no rule: sinks, weights of losses, targets, angles."""


def arrays(graph: Graph, seed: int):
    """Return the values of inputs and parameters."""
    generator = np.random.default_rng(seed)
    choices = min((t.shape[0] for t in graph.parameters if "table" in t.name), default=2)
    found = {
        t.name: generator.normal(size=t.shape)
        if t.is_floating
        else generator.integers(0, choices, t.shape)
        for t in (*graph.inputs, *graph.parameters)
    }
    return found | {SEEDS: np.array([[seed, 2, 1]])}


def evaluate(graph: Graph, values):
    return evaluate_graph(graph, values, values)


def floats(graph: Graph) -> list[str]:
    return [t.name for t in (*graph.inputs, *graph.parameters) if t.is_floating]


def gradients_of(graph: Graph, wanted, values, seed: int):
    """Return the gradients of Σ seed · output, and that sum as a function of the values."""
    derived = derive_gradients(graph, wanted)
    verify_graph(derived.graph, seeds=derived.seeds.values())
    assert derived.graph.operations[: derived.num_forward] == graph.operations
    seeds = {
        name: random(seed + i, *graph.tensor(output).shape)
        for i, (output, name) in enumerate(derived.seeds.items())
    }

    def total(changed):
        results = evaluate(graph, changed)
        return sum((seeds[name] * results[output]).sum() for output, name in derived.seeds.items())

    results = evaluate(derived.graph, values | seeds)
    found = {name: results[gradient] for name, gradient in derived.by_name.items()}
    return found, total


def check_step(found, total, values, *, seed: int) -> None:
    """Compare the slope of the sum in a random direction with that of the gradients."""
    step = {name: random(seed + 1, *gradient.shape) for name, gradient in found.items()}
    size = 1e-6
    plus, minus = (
        total(values | {name: values[name] + sign * size * step[name] for name in found})
        for sign in (1, -1)
    )
    slope = (plus - minus) / (2 * size)
    expected = sum((found[name] * step[name]).sum() for name in found)
    scale = sum(np.abs(found[name] * step[name]).sum() for name in found) + 1
    assert abs(slope - expected) <= 1e-5 * scale


def differences(total, values, name: str, step: float = 1e-5):
    """Return the gradient of one tensor by central differences, element by element."""
    result = np.zeros(values[name].shape)
    for index in np.ndindex(result.shape):
        either = [values[name].copy(), values[name].copy()]
        either[0][index] += step
        either[1][index] -= step
        plus, minus = (total(values | {name: changed}) for changed in either)
        result[index] = (plus - minus) / (2 * step)
    return result


@pytest.mark.parametrize("graph", RULES.values(), ids=RULES)
def test_the_rule_of_each_operation_gives_what_small_changes_do(graph):
    values = arrays(graph, 1)
    refused = REFUSED.get(type(graph.operations[-1]).__name__, set())
    wanted = [name for name in floats(graph) if name not in refused]
    found, total = gradients_of(graph, wanted, values, 7)
    for name in wanted:
        if name in found:
            expected = differences(total, values, name)
            np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-8)
    is_independent = isinstance(graph.operations[-1], TopIndices | PositionEmbedding)
    assert set(found) == set(wanted) - ({"x"} if is_independent else set())


def variants(graph: Graph) -> Iterator[Graph]:
    """Yield graphs like one with another size or option of its last operation, as far as valid."""
    sizes = sorted({size for tensor in graph.tensors for size in tensor.shape if size > 1})
    for size, other in itertools.product(sizes, (1, 3, 2)):
        changed = size + 1 if other == 1 else size * other
        yield from _valid(graph, {size: changed}, {})
    operation = graph.operations[-1]
    for field in fields(operation):
        value = getattr(operation, field.name)
        for option in _options(value):
            yield from _valid(graph, {}, {field.name: option})


def _options(value: object) -> list[object]:
    """Return other values of a field of numbers or choices; none of a name or a tensor."""
    if isinstance(value, Enum):
        return [other for other in type(value) if other is not value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [1, value + 1, 2 * value]
    if isinstance(value, float):
        return [0.5 * value, 1.7 * value, -value]
    return []


def _valid(graph: Graph, sizes: dict[int, int], options: dict[str, Any]) -> Iterator[Graph]:
    """Yield a graph with other sizes and options, if it is valid and its rule applies."""

    def resize(tensor: Tensor) -> Tensor:
        return replace(tensor, shape=tuple(sizes.get(size, size) for size in tensor.shape))

    found = replace(
        graph,
        inputs=tuple(map(resize, graph.inputs)),
        parameters=tuple(map(resize, graph.parameters)),
        operations=tuple(replace(one, result=resize(one.result)) for one in graph.operations),
    )
    *before, last = found.operations
    last = replace(last, **options)
    tensors = {tensor.name: tensor for tensor in found.tensors}
    try:
        for shape in (last.result.shape, last.result_shape(tensors)):
            result = replace(last.result, shape=shape)
            changed = replace(found, operations=(*before, replace(last, result=result)))
            if is_valid(changed):
                yield changed
                return
    except ZeroDivisionError:  # of a shape with an option that is not valid
        return


def is_valid(graph: Graph) -> bool:
    """Tell whether a graph passes the verifier, and a launch has values for it."""
    try:
        verify_graph(graph)
        evaluate(graph, inside_of_domain(graph, arrays(graph, 1)))
    except (GraphError, HostError, ValueError, IndexError):
        return False
    return True


def inside_of_domain(graph: Graph, values):
    """Return values that the last operation has a derivative for."""
    function = getattr(graph.operations[-1], "function", None)
    if function is LossFunction.BINARY:
        return values | {name: 0.5 + np.tanh(values[name]) / 2.1 for name in ("x", "y")}
    if function is LossFunction.DIVERGENCE:
        return values | {"y": np.abs(values["y"])}
    return values


@pytest.mark.parametrize("name", RULES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_rule_of_each_operation_holds_for_other_sizes_and_options(name):
    """A step in a random direction changes the sum by the product with the gradients."""
    found_some = False
    for index, graph in enumerate(variants(RULES[name])):
        values = inside_of_domain(graph, arrays(graph, index))
        wanted = [each for each in floats(graph) if each not in REFUSED.get(name, set())]
        try:
            found, total = gradients_of(graph, wanted, values, index)
        except GraphError as error:
            assert "not supported" in str(error), error  # noqa: PT017  # a rule for some options
            continue
        check_step(found, total, values, seed=index)
        found_some = True
    assert found_some


@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_an_attention_of_several_heads_to_masked_rows(causal, drops):
    shapes = {"q": (3, 8), "k": (3, 4), "v": (3, 6)} | ({"f": (3, 12)} if drops else {})
    inputs = tuple(Tensor(name, shape, F32) for name, shape in shapes.items())
    bias = () if causal else (Tensor("mask", (12, 3), F32),)
    attention = Attention(
        *(Tensor("r", (3, 12), F32), "q", "k", "v", 4, 2, 0.7),
        is_causal=causal,
        bias=None if causal else "mask",
        factors="f" if drops else None,
    )
    graph = Graph("g", inputs, bias, (attention,), ("r",))
    values = arrays(graph, 3)
    found, total = gradients_of(graph, ["q", "k", "v"], values, 5)
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, differences(total, values, name), atol=1e-8)
    if not causal:
        with pytest.raises(GraphError, match="'mask' is not supported, only those of query, key"):
            derive_gradients(graph, ["mask"])
    if drops:
        with pytest.raises(GraphError, match="'f' is not supported, only those of query, key"):
            derive_gradients(graph, ["f"])


@given(
    st.one_of(graphs(), searches(), products(), sequences(), convolutional()), st.integers(0, 99)
)
def test_gradients_of_whole_graphs_follow_a_small_step(graph, seed):
    """A step in a random direction changes the sum by the product with the gradients."""
    tables = {n for op in graph.operations if isinstance(op, Rotary) for n in op.position_tables}
    wanted = [name for name in floats(graph) if name not in tables]
    values = arrays(graph, seed)
    found, total = gradients_of(graph, wanted, values, seed)
    check_step(found, total, values, seed=seed)


def _twice() -> Graph:
    """Return a graph that reads a weight twice, and its input three times."""
    x, w, b = Tensor("x", (2, 3), F32), Tensor("w", (3, 3), F32), Tensor("b", (3,), F32)
    t = [Tensor(f"t{i}", (2, 3), F32) for i in range(5)]
    operations = (
        Linear(t[0], "x", "w"),
        Linear(t[1], "t0", "w"),
        Multiply(t[2], "t1", "x"),
        AddBias(t[3], "t2", "b"),
        Add(t[4], "t3", "x"),
    )
    return Graph("twice", (x,), (w, b), operations, ("t4",))


def test_a_weight_that_is_read_twice_gets_the_sum():
    graph, values = _twice(), arrays(_twice(), 0)
    found, total = gradients_of(graph, ["x", "w", "b"], values, 2)
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, differences(total, values, name), rtol=1e-7)


def test_what_needs_no_gradient_is_not_computed():
    graph = _twice()
    derived = derive_gradients(graph, ["b"])
    (only,) = derived.graph.operations[derived.num_forward :]
    assert derived.by_name == {"b": only.result.name}
    assert derive_gradients(graph, []).graph.operations == graph.operations
    assert derive_gradients(graph, []).seeds == {}


def test_gradients_come_from_the_outputs_that_are_named():
    graph = replace(_twice(), outputs=("t0", "t4"))
    derived = derive_gradients(graph, ["w"], outputs=["t0"])
    assert derived.seeds == {"t0": "t0.seed"}
    assert [type(op).__name__ for op in derived.graph.operations[5:]] == ["LinearWeightGradient"]
    assert derived.graph.outputs == ("t0", "t4", "w.gradient")
    assert from_json(to_json(derived.graph)) == derived.graph


def test_a_name_that_is_taken_gets_a_number():
    graph = _twice()
    other = replace(graph, inputs=(*graph.inputs, Tensor("b.gradient", (2, 3), F32)))
    assert derive_gradients(other, ["b"]).by_name == {"b": "b.gradient.2"}


def test_one_row_of_a_sequence_has_a_seed_of_one_row():
    ids, table = Tensor("ids", (4, 1), DataType.I32), Tensor("table", (5, 3), F32)
    operations = (
        Embedding(Tensor("e", (4, 3), F32), "ids", "table"),
        LastRow(Tensor("r", (1, 3), F32), "e"),
    )
    graph = Graph("g", (ids,), (table,), operations, ("r",))
    derived = derive_gradients(graph, ["table"])
    verify_graph(derived.graph, seeds=derived.seeds.values())
    values = {"ids": np.array([[1], [3], [3], [2]]), "table": random(0, 5, 3)}
    result = evaluate(derived.graph, values | {"r.seed": np.ones((1, 3))})
    np.testing.assert_array_equal(result["table.gradient"].sum(axis=1), [0, 0, 3, 0, 0])


def test_attention_to_all_rows_has_no_gradients_in_the_middle_of_a_sequence():
    x = Tensor("x", (2, 2), F32)
    attention = Attention(Tensor("r", (2, 2), F32), "x", "x", "x", 1, 1, 1.0, is_causal=False)
    derived = derive_gradients(Graph("g", (x,), (), (attention,), ("r",)), ["x"])
    evaluator, values = (
        Evaluator(derived.graph, {}),
        {"x": random(0, 2, 2), "r.seed": np.ones((2, 2))},
    )
    evaluator.run(values)
    with pytest.raises(HostError, match="a launch that starts at 2 is no whole sequence"):
        evaluator.run(values, start=2)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (Experts, "up", r"Experts that defines 'r': the gradient of 'up' is not supported"),
        (Opaque, "x", r"Opaque that defines 'r': the gradient of 'x' is not supported, since"),
        (Rotary, "cosine", "'cosine' is not supported, a table of angles is no weight"),
        (ElementLoss, "y", "'y' is not supported, only that of the first operand is"),
        (CrossEntropy, "v", "'v' is not supported, weights of classes are no weights of a layer"),
        (Attention, "s", "'s' is not supported, only those of query, key and value are"),
        (Embedding, "ids", "'ids' has dtype i32, indices have no gradient"),
        (Add, "z", "graph 'example' has no parameter and no input 'z'"),
    ],
)
def test_an_operation_without_a_rule_is_named(kind: type[Operation], name, message):
    with pytest.raises(GraphError, match=message):
        derive_gradients(EXAMPLES[kind], [name])
