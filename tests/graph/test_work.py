"""The work of a pass is that of its tokens one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onewafer.graph import Attention, DataType, Graph, Tensor, count_work


def attention(rows, window, *, is_causal=True):
    tensors = [Tensor(name, (rows, 8), DataType.F16) for name in ("q", "k", "v", "r")]
    operation = Attention(tensors[3], "q", "k", "v", 2, 2, 0.5, is_causal, None, window)
    return Graph("attention", (*tensors[:3],), (), (operation,), ("r",)), operation


@given(st.integers(1, 12), st.integers(0, 12), st.none() | st.integers(1, 15))
def test_tokens_one_by_one_do_the_flop_of_all_at_once(rows, cached, window):
    graph, operation = attention(rows, window)
    one, single = attention(1, window)

    whole = count_work(graph, operation, cached_tokens=cached)

    assert whole.flop == sum(
        count_work(one, single, cached_tokens=cached + row).flop for row in range(rows)
    )


@given(st.integers(1, 5), st.integers(0, 9), st.none() | st.integers(1, 6))
def test_each_sequence_reads_its_own_cache(sequences, cached, window):
    graph, operation = attention(1, window)

    work = count_work(graph, operation, sequences=sequences, cached_tokens=cached)

    seen = cached if window is None else min(cached, window - 1)
    assert work.cached == sequences * seen * 16
    assert work.activations == sequences * 4 * 8


def test_attention_to_all_rows_has_no_cache():
    graph, operation = attention(3, None, is_causal=False)

    work = count_work(graph, operation, cached_tokens=7)

    assert work.cached == 0
    assert work.flop == count_work(graph, operation).flop
