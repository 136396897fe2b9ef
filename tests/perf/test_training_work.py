"""Model FLOP of training, against formulas that were published."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import ConfigurationError
from onewafer.graph import DataType, Experts, Graph, MaxPool, Segment, Tensor, Window, verify_graph
from onewafer.perf.gpt import GptShape, gpt_model
from onewafer.perf.training_work import AttentionPairs, model_flop_per_token, training_pieces

_SHAPES = st.builds(
    GptShape,
    layers=st.integers(1, 200),
    hidden=st.integers(1, 64).map(lambda n: 128 * n),
    heads=st.sampled_from([1, 2, 4, 8]),
    vocabulary=st.integers(1, 200_000),
    positions=st.just(8192),
)


@given(shape=_SHAPES, sequence=st.integers(1, 8192))
def test_model_flop_is_that_of_megatron(shape: GptShape, sequence: int) -> None:
    """The formula is num_floating_point_operations of Megatron-LM, July 2024."""
    layers, hidden = shape.layers, shape.hidden
    attention = 2 + sequence / hidden
    logits = shape.vocabulary / (2 * layers * hidden)
    theirs = 12 * layers * hidden**2 * (attention + 4 + logits)

    ours = model_flop_per_token(gpt_model("gpt", shape), sequence, AttentionPairs.ALL)

    assert ours == pytest.approx(theirs, rel=1e-12)


@given(shape=_SHAPES, sequence=st.integers(1, 8192))
def test_causal_attention_is_half_of_all_pairs(shape: GptShape, sequence: int) -> None:
    model = gpt_model("gpt", shape)
    every, causal = (model_flop_per_token(model, sequence, pairs) for pairs in AttentionPairs)
    attention = 12 * shape.layers * shape.hidden * sequence

    assert every - causal == pytest.approx(attention * (1 - 1 / sequence) / 2, abs=1e-3 * every)


@pytest.mark.parametrize(
    ("layers", "hidden", "heads", "billions"),
    [(24, 2048, 16, 1.7), (30, 4096, 32, 7.1), (96, 12288, 96, 177), (112, 18432, 144, 462)],
)
def test_sizes_are_those_of_the_table(
    layers: int, hidden: int, heads: int, billions: float
) -> None:
    shape = GptShape(layers=layers, hidden=hidden, heads=heads, vocabulary=131_072, positions=4096)

    assert gpt_model("gpt", shape).num_weights / 1e9 == pytest.approx(billions, rel=0.04)


def test_graphs_are_well_formed_for_every_token() -> None:
    shape = GptShape(layers=2, hidden=64, heads=4, vocabulary=100, positions=128)
    pieces = training_pieces(gpt_model("gpt", shape), 32)

    for piece in pieces:
        verify_graph(piece.graph)
    assert pieces[-1].graph.tensor("logits").shape == (32, 100)


def test_longer_sequences_than_the_model_was_made_for_are_refused() -> None:
    shape = GptShape(layers=2, hidden=64, heads=4, vocabulary=100, positions=128)

    with pytest.raises(ConfigurationError, match="made for sequences of up to 128 tokens; 129 are"):
        training_pieces(gpt_model("gpt", shape), 129)


@pytest.mark.parametrize(
    ("changes", "message"), [({"heads": 5}, "5 heads do not share 64"), ({"layers": 0}, "below 1")]
)
def test_shapes_without_meaning_are_refused(changes: dict[str, int], message: str) -> None:
    shape = {"layers": 2, "hidden": 64, "heads": 4, "vocabulary": 100, "positions": 128}

    with pytest.raises(ConfigurationError, match=message):
        GptShape(**{**shape, **changes})


def test_models_with_experts_or_maps_are_refused() -> None:
    shape = GptShape(layers=2, hidden=64, heads=4, vocabulary=100, positions=128)
    model = gpt_model("gpt", shape)
    x = Tensor("x", (16, 64), DataType.F16)
    expert = Experts(Tensor("y", (16, 64), DataType.F16), "x", "x", ("w",), 8, 2, 128)
    pool = MaxPool(Tensor("y", (16, 64), DataType.F16), "x", Window(4, 4))

    for operation, message in ((expert, "expert parallelism"), (pool, "works on maps")):
        graph = Graph("other", (x,), (), (operation,), ("y",))
        with pytest.raises(ConfigurationError, match=message):
            training_pieces(replace(model, segments=(Segment(graph, 1),)), 16)
