"""Where chains end on an axis."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import ConfigurationError
from onewafer.graph import Attention, DataType
from onewafer.mesh import Axis, Estimator, shard
from onewafer.mesh.lowering.middles import choose_middle
from tests.mesh.models import llama
from tests.mesh.strategies import mlp

WSE3 = load_architecture("wse3")


@given(st.integers(1, 900), st.lists(st.integers(0, 3000), min_size=1, max_size=5))
def test_no_chain_from_before_is_longer_than_that_from_behind(num_pes, words):
    middle, section = choose_middle(num_pes, words)
    assert 0 <= middle <= num_pes // 2
    assert section == 0 or 1 < section <= max(middle, num_pes - 1 - middle)


def test_the_middle_is_that_for_the_usual_launch():
    """A token of decode sends few words, a long prompt so many that one chain is better."""
    middles = [
        shard(
            llama(rows=32, positions=64, dtype=DataType.F16),
            width=40,
            height=40,
            architecture=WSE3,
            context=64,
            usual_rows=rows,
        ).middle(Axis.X)
        for rows in (None, 1, 32)
    ]
    assert middles[0] == middles[1] > middles[2]


@pytest.mark.parametrize("num_pes", [5, 24, 64])
@pytest.mark.parametrize("features", [[64, 64], [256, 64, 256]])
@pytest.mark.parametrize("batch", [1, 8])
def test_the_middle_is_near_the_best_by_the_closed_form(num_pes, features, batch):
    """The choice knows no timing of a machine; on the WSE-3 it costs little."""
    program = shard(mlp(features, batch=batch), width=num_pes, height=1, architecture=WSE3)

    def cycles(middle, section):
        others = replace(program, middle_x=middle, section_x=section)
        return Estimator(others, WSE3).estimate().cycles

    best = min(
        cycles(middle, section)
        for middle in range(0, num_pes // 2 + 1, 1 + num_pes // 30)
        for section in (0, *range(2, num_pes // 3))
    )
    assert cycles(program.middle(Axis.X), program.section_x) <= 1.02 * best


@pytest.mark.parametrize(("batch", "has_two"), [(1, True), (64, False)])
def test_all_rows_count_where_nothing_is_kept(batch, has_two):
    program = shard(mlp([64, 64], batch=batch), width=24, height=1, architecture=WSE3)
    assert (program.middle(Axis.X) > 0) == has_two


def test_usual_rows_count_where_nothing_is_kept():
    """A short sequence through an encoder sends few words, a long one so many."""
    graph = without_masks(llama(rows=32, positions=64, dtype=DataType.F16))
    middles = [
        shard(graph, width=40, height=40, architecture=WSE3, usual_rows=rows).middle(Axis.X)
        for rows in (None, 32, 1)
    ]
    assert middles[0] == middles[1] < middles[2]


@pytest.mark.parametrize(("rows", "context"), [(0, 64), (33, 64), (9, 8)])
def test_usual_rows_that_no_launch_has_are_refused(rows, context):
    with pytest.raises(ConfigurationError, match=f"launches of {rows} rows are not possible"):
        shard(
            llama(rows=32, positions=64),
            width=4,
            height=4,
            architecture=WSE3,
            context=context,
            usual_rows=rows,
        )


def without_masks(graph):
    """Return a graph whose attention sees all rows, and so keeps nothing."""
    return replace(
        graph,
        operations=tuple(
            replace(operation, is_causal=False) if isinstance(operation, Attention) else operation
            for operation in graph.operations
        ),
    )
