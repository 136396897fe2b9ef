"""The evaluator: launch by launch, its types, and arrays that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import HostError
from onewafer.graph import (
    Attention,
    DataType,
    Embedding,
    Evaluator,
    FirstRow,
    Graph,
    Linear,
    PositionEmbedding,
    Slot,
    Tensor,
    evaluate_graph,
)
from tests.graph.operations.one_operation import random
from tests.graph.strategies import sequences

F32 = DataType.F32


@given(sequences(max_rows=5), st.integers(0, 99), st.data())
def test_launches_of_a_part_each_give_the_rows_of_one_launch(graph, seed, data):
    """Where nothing looks ahead: causal attention remembers, positions go on."""
    causal = [o for o in graph.operations if not isinstance(o, Attention) or o.is_causal]
    if len(causal) < len(graph.operations) or graph.tensor(graph.outputs[0]).shape[0] == 1:
        return
    parameters = {p.name: random(seed + i, *p.shape) for i, p in enumerate(graph.parameters)}
    rows, choices = graph.inputs[0].shape[0], graph.tensor("table").shape[0]
    ids = np.random.default_rng(seed).integers(0, choices, (rows, 1))
    whole = evaluate_graph(graph, {"ids": ids}, parameters)
    evaluator, start, parts = Evaluator(graph, parameters), 0, []
    while start < rows:
        end = data.draw(st.integers(start + 1, rows))
        parts.append(evaluator.run({"ids": ids[start:end]}, start))
        start = end
    (name,) = graph.outputs
    found = np.concatenate([part[name] for part in parts])
    np.testing.assert_allclose(found, whole[name], rtol=1e-6, atol=1e-9)


@given(sequences(max_rows=5), st.integers(0, 99), st.data())
def test_rows_of_several_sequences_are_those_of_each_alone(graph, seed, data):
    causal = [o for o in graph.operations if not isinstance(o, Attention) or o.is_causal]
    if len(causal) < len(graph.operations) or any(isinstance(o, FirstRow) for o in causal):
        return
    parameters = {p.name: random(seed + i, *p.shape) for i, p in enumerate(graph.parameters)}
    rows, choices = graph.inputs[0].shape[0], graph.tensor("table").shape[0]
    generator, (name,) = np.random.default_rng(seed), graph.outputs
    together, ends = Evaluator(graph, parameters), [0, 0, 0]
    alone = [Evaluator(graph, parameters) for _ in ends]
    for order in data.draw(st.lists(st.permutations(range(3)), min_size=1, max_size=3)):
        slots = [
            Slot(sequence, ends[sequence], data.draw(st.integers(1, rows - ends[sequence])))
            for sequence in order
            if ends[sequence] < rows
        ]
        if not slots:
            break
        ids = generator.integers(0, choices, (sum(slot.rows for slot in slots) + 1, 1))
        found = together.run_slots({"ids": ids}, slots)[name]
        expected, first = [], 0
        for slot in slots:
            part = {"ids": ids[first : first + slot.rows]}
            expected.append(alone[slot.sequence].run(part, slot.position)[name])
            ends[slot.sequence] += slot.rows
            first += slot.rows
        np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-6, atol=1e-9)


def test_a_sequence_may_begin_again():
    attention = Attention(Tensor("r", (2, 2), F32), "x", "x", "x", 1, 1, scale=1.0, is_causal=True)
    graph = Graph("g", (Tensor("x", (2, 2), F32),), (), (attention,), ("r",))
    evaluator, x = Evaluator(graph, {}), random(0, 2, 2)
    first = evaluator.run({"x": x})
    evaluator.run({"x": random(1, 2, 2)}, start=2)
    assert (evaluator.run({"x": x})["r"] == first["r"]).all()
    with pytest.raises(HostError, match="starts at position 3, but earlier launches gave 2 rows"):
        evaluator.run({"x": x}, start=3)


def test_result_has_the_type_that_the_caller_chose():
    x, w = random(0, 2, 3), random(1, 4, 3)
    linear = Linear(Tensor("r", (2, 4), F32), "x", "w")
    graph = Graph("g", (Tensor("x", (2, 3), F32),), (Tensor("w", (4, 3), F32),), (linear,), ("r",))
    assert evaluate_graph(graph, {"x": x}, {"w": w})["r"].dtype == np.float64
    assert evaluate_graph(graph, {"x": x}, {"w": w}, dtype=np.float32)["r"].dtype == np.float32


def test_wrong_arrays_are_named():
    ids, table = Tensor("ids", (2, 1), DataType.I32), Tensor("table", (4, 3), F32)
    positions = Tensor("positions", (2, 3), F32)
    operations = (
        Embedding(Tensor("e", (2, 3), F32), "ids", "table"),
        PositionEmbedding(Tensor("p", (2, 3), F32), "positions"),
    )
    graph = Graph("g", (ids,), (table, positions), operations, ("e", "p"))
    good = {"table": np.zeros((4, 3)), "positions": np.zeros((2, 3))}
    with pytest.raises(HostError, match="the parameter 'table' is missing"):
        Evaluator(graph, {})
    with pytest.raises(HostError, match=r"'positions' has shape \(3, 3\), not \(2, 3\)"):
        Evaluator(graph, good | {"positions": np.zeros((3, 3))})
    evaluator = Evaluator(graph, good)
    with pytest.raises(HostError, match="the input 'ids' is missing"):
        evaluator.run({})
    with pytest.raises(HostError, match=r"'ids' has shape \(2, 2\), not \('rows', 1\)"):
        evaluator.run({"ids": np.zeros((2, 2), int)})
    with pytest.raises(HostError, match="indices from 0 to 4; 'table' has rows 0 to 3"):
        evaluator.run({"ids": np.array([[0], [4]])})
    with pytest.raises(HostError, match="position 2 is beyond the 2 positions of 'positions'"):
        evaluator.run({"ids": np.array([[0], [1]])}, start=1)


def test_results_are_rounded_to_what_they_are_stored_as():
    graph = Graph(
        "twice",
        (Tensor("x", (2, 3), DataType.F16),),
        (Tensor("w", (3, 3), DataType.F16),),
        (
            Linear(Tensor("y", (2, 3), DataType.F16), "x", "w"),
            Linear(Tensor("z", (2, 3), DataType.F16), "y", "w"),
        ),
        ("z",),
    )
    rows, weight = (
        random(seed, *shape).astype(np.float16) for seed, shape in ((0, (2, 3)), (1, (3, 3)))
    )
    evaluator = Evaluator(graph, {"w": weight}, dtype=np.float32, stored_as=np.float16)
    wide, narrow = weight.T.astype(np.float32), np.float16
    once = (rows.astype(np.float32) @ wide).astype(narrow).astype(np.float32)
    expected = (once @ wide).astype(narrow)
    found = evaluator.run({"x": rows})["z"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
