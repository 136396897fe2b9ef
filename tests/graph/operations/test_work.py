"""The work of a pass is that of its tokens one by one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from onewafer.graph import (
    Attention,
    DataType,
    Experts,
    Graph,
    Linear,
    Opaque,
    Tensor,
    from_json,
    to_json,
    verify_graph,
    with_rows,
)
from tests.graph.moved import moved_elements


def attention(rows, window, *, is_causal=True):
    tensors = [Tensor(name, (rows, 8), DataType.F16) for name in ("q", "k", "v", "r")]
    operation = Attention(tensors[3], "q", "k", "v", 2, 2, 0.5, is_causal, None, window)
    return Graph("attention", (*tensors[:3],), (), (operation,), ("r",)), operation


@given(st.integers(1, 12), st.integers(0, 12), st.none() | st.integers(1, 15))
def test_tokens_one_by_one_do_the_flop_of_all_at_once(rows, cached, window):
    graph, operation = attention(rows, window)
    one, single = attention(1, window)

    whole = operation.count_work(graph.by_name, cached_tokens=cached)

    assert whole.flop == sum(
        single.count_work(one.by_name, cached_tokens=cached + row).flop for row in range(rows)
    )


@given(st.integers(1, 5), st.integers(0, 9), st.none() | st.integers(1, 6))
def test_each_sequence_reads_its_own_cache(sequences, cached, window):
    graph, operation = attention(1, window)

    work = operation.count_work(graph.by_name, sequences=sequences, cached_tokens=cached)

    seen = cached if window is None else min(cached, window - 1)
    assert work.cached == sequences * seen * 16
    assert work.activations == sequences * 4 * 8


def test_attention_to_all_rows_has_no_cache():
    graph, operation = attention(3, None, is_causal=False)

    work = operation.count_work(graph.by_name, cached_tokens=7)

    assert work.cached == 0
    assert work.flop == operation.count_work(graph.by_name).flop


def experts(rows, *, num_experts=8, per_row=2):
    """Return a graph of experts whose choice is a softmax that has no other form."""
    x, logits, chosen, result = (
        Tensor(name, (rows, size), DataType.F16)
        for name, size in (("x", 16), ("logits", num_experts), ("chosen", per_row), ("y", 16))
    )
    weights = [
        Tensor("router", (num_experts, 16), DataType.F16),
        Tensor("up", (num_experts, 64, 16), DataType.F16),
        Tensor("bias", (num_experts, 64), DataType.F16),
        Tensor("down", (num_experts, 16, 32), DataType.F16),
    ]
    operations = (
        Linear(logits, "x", "router"),
        Opaque(chosen, "aten.topk.default", ("logits",), (), 4.0, keeps_rows=True),
        Experts(result, "x", "chosen", ("up", "bias", "down"), num_experts, per_row, 32),
    )
    return Graph("experts", (x,), (*weights,), operations, ("y",))


def test_experts_and_what_is_opaque_are_graphs_like_others():
    graph = experts(5)

    verify_graph(graph)

    assert from_json(to_json(graph)) == graph
    assert with_rows(experts(3), 5) == graph


def test_rows_compute_with_the_experts_that_they_chose():
    graph = experts(3)

    flop = graph.operations[-1].count_flop(graph.by_name)

    one = 2 * 64 * 16 + 2 * 16 * 32 + 64 + 2 * 32 + 2 * 16
    assert flop == 3 * 2 * one


def test_one_row_reads_its_experts_and_many_rows_read_all():
    graph = experts(1)
    every = 8 * (64 * 16 + 64 + 16 * 32)

    def read(sequences):
        return graph.operations[-1].count_work(graph.by_name, sequences=sequences).weights

    assert read(1) == every * 2 // 8
    assert every / 4 < read(3) < every * 3 / 4
    assert read(1000) == every
    assert moved_elements(graph.operations[-1], graph) == read(1) + 16 + 2 + 16


def test_a_view_moves_nothing():
    result = Tensor("v", (4, 2), DataType.F16)
    view = Opaque(result, "aten.slice.Tensor", ("x",), (), 0.0, keeps_rows=True, is_view=True)
    graph = Graph("view", (Tensor("x", (4, 8), DataType.F16),), (), (view,), ("v",))

    work = view.count_work(graph.by_name, sequences=3)

    assert (work.flop, work.weights, work.activations, work.cached) == (0, 0, 0, 0)


def test_keys_and_values_that_share_numbers_are_kept_once():
    graph, operation = attention(1, None)
    shared = replace(operation, cached_features=9)

    assert operation.count_token_features(graph.by_name) == 16
    assert shared.count_token_features(graph.by_name) == 9
    assert shared.count_work(graph.by_name, cached_tokens=10).cached == 90
