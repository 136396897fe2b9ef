"""Attention whose shares have factors that are drawn: NumPy, fabric, closed form; float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    SEEDS,
    Attention,
    DataType,
    Draw,
    Graph,
    draw_factors,
    evaluate_graph,
    fold,
    from_json,
    recompute,
    to_json,
    verify_graph,
    with_dtype,
    without_factors,
)
from onewafer.mesh import ErrorBounds, estimate, shard, shard_training
from onewafer.mesh.attention import DropScores
from onewafer.mesh.kinds import REPEAT
from onewafer.mesh.reference import MeshEvaluator
from onewafer.mesh.schedule import schedule_parts
from tests.mesh.attention.test_factors import of_one_attention, with_factors
from tests.mesh.drawing import (
    check_against_float64,
    check_computed_again,
    check_evaluation,
    check_on_the_fabric,
    run,
    seeded,
    trained,
)
from tests.mesh.dropout.test_dropout_in_programs import with_dropouts
from tests.mesh.fabric import run_launches
from tests.mesh.gradients.test_transformers import derived, inputs_of
from tests.mesh.models import Decoder
from tests.mesh.strategies import assert_same_bits, random_arrays

WSE3 = load_architecture("wse3")
SHARE = 0.3
CASES = {
    "one PE": (Decoder(rows=3), (1, 1), "wse3"),
    "grouped queries, parts of heads": (Decoder(), (2, 3), "wse2"),
    "bidirectional": (Decoder(kv_heads=4, has_rotary=False, is_causal=False), (3, 2), "wse3"),
    "grouped queries, a head on two PEs": (Decoder(), (3, 4), "wse3"),
}


def with_draws(graph: Graph, share: float = SHARE) -> Graph:
    """Return a graph whose attentions draw."""
    given = with_factors(graph)
    names = [tensor.name for tensor in given.inputs if tensor.name.startswith("factors_")]
    return draw_factors(given, dict.fromkeys(names, Draw.threshold_of(share)))


@pytest.mark.parametrize(("decoder", "rectangle", "arch"), CASES.values(), ids=CASES)
@pytest.mark.slow
def test_a_step_on_the_fabric(decoder, rectangle, arch):
    check_on_the_fabric(decoder, rectangle, with_draws, load_architecture(arch))


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
    check_against_float64(decoder, rectangle, with_draws, seed)


def test_gradients_are_those_of_the_same_factors_that_are_given():
    """What is drawn, given as inputs: the same bits in all passes of all layers."""
    decoder, seeds = Decoder(layers=2), seeded(5)
    given = with_factors(decoder.graph)
    gradients, number = derived(decoder, graph=given)
    program = shard_training(gradients, width=3, height=2, architecture=WSE3, num_model=number)
    drawing, _, inputs = trained(decoder, (3, 2), with_draws)
    names = [tensor.name for tensor in given.inputs if tensor.name.startswith("factors_")]
    factors = {
        name: Draw(index, Draw.threshold_of(SHARE), given.tensor(name).shape[-1])
        .factors(seeds[SEEDS], 0, decoder.rows)
        .astype(np.float32)
        for index, name in enumerate(names)
    }
    parameters = random_arrays(gradients.graph.parameters, 2)
    found = run(drawing, inputs, parameters)
    for name, value in run(program, inputs_of(decoder) | factors, parameters).items():
        assert_same_bits(found[name], value)


def test_layers_heads_sequences_and_steps_keep_others():
    """As often as they should, and no two of them alike."""
    decoder = Decoder(rows=64, layers=2, heads=2, kv_heads=2)
    graph = with_draws(decoder.graph)
    attentions = [one for one in graph.operations if isinstance(one, Attention)]
    masks: dict[tuple[int, ...], Any] = {}
    for launch in range(3):
        for layer, attention in enumerate(attentions):
            draw = attention.draw
            assert draw is not None
            factors = draw.factors(seeded(launch)[SEEDS], 0, decoder.rows)
            for head, mask in enumerate(np.split(factors > 0, attention.heads, axis=1)):
                masks[launch, layer, head] = mask
    assert len(masks) == 12
    expected = (1 - SHARE) ** 2 + SHARE**2
    size = decoder.rows**2
    for one, mask in masks.items():
        assert abs(mask.mean() - (1 - SHARE)) < 4 * np.sqrt(SHARE * (1 - SHARE) / size)
        for other, against in masks.items():
            same = (mask == against).mean()
            assert other == one or abs(same - expected) < 5 * np.sqrt(0.25 / size)


def test_an_evaluation_by_the_same_program_keeps_all():
    check_evaluation(with_draws)
    graph = Decoder().graph
    assert without_factors(with_draws(graph), ()) == graph


@pytest.mark.parametrize("cuts", [1, 2])
def test_layers_that_are_computed_again_keep_the_same(cuts):
    check_computed_again(with_draws, Attention, cuts)


def test_equal_layers_are_a_loop_whose_draws_are_numbered():
    decoder = Decoder(layers=4)
    gradients, number = derived(decoder, graph=with_draws(decoder.graph))
    again, more = recompute(gradients, number, cuts=2)
    program = shard_training(again, width=3, height=2, architecture=WSE3, num_model=more)
    (kind,) = DropScores.kinds
    for entry, step in (("forward", 1), ("backward", -1)):
        part = schedule_parts(program)[entry]
        assert any(one.kind is REPEAT for one in part)
        counts = {one.more[11] for one in part if one.kind is kind}
        assert step & 0xFFFF in counts


@given(st.booleans(), st.integers(0, 99))
def test_results_are_within_their_bound(is_causal, seed):
    graph = with_draws(of_one_attention(5, is_causal=is_causal))
    inputs = random_arrays(graph.inputs, seed) | seeded(seed)
    program = shard(graph, width=3, height=2, architecture=WSE3)
    wide = {n: v if n == SEEDS else v.astype(np.float64) for n, v in inputs.items()}
    exact = evaluate_graph(graph, wide, {})["r"]
    bounded = ErrorBounds(program, {}).run(inputs)["r"]
    found = MeshEvaluator(program, {}).run(inputs, program.whole_launch())["r"]
    assert (np.abs(found - exact) <= bounded.error).all()
    assert bounded.error.max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("rows", [24, 31])
@pytest.mark.parametrize("rectangle", [(1, 1), (2, 2), (1, 3)])
def test_the_step_takes_what_the_closed_form_says(rows, rectangle):
    plain = of_one_attention(rows, is_causal=True)
    inputs = random_arrays(plain.inputs, 1) | seeded(1)
    cycles, expected = [], []
    for graph in (plain, with_draws(plain)):
        program = shard(graph, width=rectangle[0], height=rectangle[1], architecture=WSE3)
        (found,) = run_launches(program, WSE3, {}, [(inputs, program.whole_launch())])
        cycles.append(found.cycles)
        expected.append(estimate(program, WSE3, launch=program.whole_launch()).cycles)
    assert expected[1] - expected[0] == pytest.approx(cycles[1] - cycles[0], rel=0.1)


def test_equal_layers_are_one_segment_although_they_draw_others():
    graph = with_dropouts(with_draws(Decoder(layers=4).graph))
    assert [segment.repeats for segment in fold(graph)] == [1, 4, 1]


def test_a_graph_is_read_as_it_was_written():
    graph = with_draws(Decoder().graph)
    verify_graph(graph)
    assert from_json(to_json(graph)) == graph


def test_what_cannot_be_drawn_is_refused():
    half = with_dtype(with_draws(Decoder().graph), DataType.F16)
    with pytest.raises(UnsupportedOperationError, match="a dropout of attention is supported in f"):
        shard(half, width=2, height=2, architecture=WSE3)
    plain = of_one_attention(4, is_causal=True)
    (attention,) = plain.operations
    draw = Draw(0, 9000, (1 << 16) + 4)
    large = replace(plain, operations=(replace(attention, drawn=draw),))  # pyright: ignore[reportCallIssue]
    with pytest.raises(UnsupportedOperationError, match="more than 65,536 features is not drawn"):
        shard(large, width=2, height=2, architecture=WSE3)
