"""Model FLOP of training, against formulas that were published."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import ConfigurationError
from onewafer.graph import (
    Attention,
    DataType,
    Graph,
    Linear,
    Segment,
    Tensor,
    verify_graph,
)
from onewafer.perf.gpt import GptShape, gpt_model
from onewafer.perf.training_work import AttentionPairs, model_flop_per_token, training_pieces
from tests.perf.dense_model import QWEN3_235B, Sizes, dense_model
from tests.perf.wafer.latent_models import latent_model

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


def test_of_experts_those_count_that_a_token_meets() -> None:
    """A layer: products of 64² and 64 × 32, two each, 4 scores, 2 experts of 3 · 64 · 96."""
    sizes = Sizes(
        layers=3,
        hidden=64,
        heads=4,
        kv_heads=2,
        features=16,
        inner=96,
        vocabulary=100,
        experts=4,
        experts_per_row=2,
    )
    weights = 2 * 64 * 64 + 2 * 64 * 32 + 4 * 64 + 2 * 3 * 64 * 96
    attention = 2 * 64 * 512

    found = model_flop_per_token(dense_model("mix", sizes), 512, AttentionPairs.ALL)

    assert found == 3 * 2 * (3 * (weights + attention) + 100 * 64)


def test_model_flop_of_experts_are_those_that_megatron_bridge_divides_by() -> None:
    """Qwen3-235B on GB200, 25.11: 728 TFLOP/s are 4,916 tokens/s, pairs under the mask counted."""
    model = dense_model("qwen3-235b-a22b", QWEN3_235B)

    ours = model_flop_per_token(model, 4096, AttentionPairs.CAUSAL)

    assert ours == pytest.approx(728e12 / 4916, rel=0.005)


def test_latent_attention_is_trained_with_keys_and_values_of_all_heads() -> None:
    """4 heads of 6 + 2 features of keys and 4 of values, latent vectors of 8."""
    model = latent_model(
        Sizes(layers=1, hidden=16, heads=1, kv_heads=1, features=16, inner=24, vocabulary=32)
    )
    layer = training_pieces(model, 8)[1]
    (attention,) = (op for op in layer.graph.operations if isinstance(op, Attention))
    products = {
        layer.graph.tensor(op.weight).shape
        for op in layer.graph.operations
        if isinstance(op, Linear)
    }

    verify_graph(layer.graph)
    assert (attention.heads, attention.kv_heads, attention.cached_features) == (4, 4, None)
    assert layer.graph.tensor(attention.query).shape == (8, 4 * 8)
    assert layer.graph.tensor(attention.value).shape == (8, 4 * 4)
    assert {(4 * 6, 8), (4 * 4, 8)} <= products
    weights = sum(t.num_elements for t in layer.segment.weights)
    assert weights == sum(t.num_elements for t in model.segments[1].weights)


def test_latent_vectors_that_no_products_expand_are_refused_by_name() -> None:
    x, key = Tensor("x", (8, 16), DataType.F16), Tensor("k", (8, 16), DataType.F16)
    latent = Attention(key, "x", "x", "x", 1, 1, 1.0, is_causal=True, cached_features=16)
    graph = Graph("other", (x,), (), (latent,), ("k",))
    shape = GptShape(layers=2, hidden=64, heads=4, vocabulary=100, positions=128)

    with pytest.raises(ConfigurationError, match="defines 'k' does not make keys and values"):
        training_pieces(replace(gpt_model("gpt", shape), segments=(Segment(graph, 1),)), 8)
