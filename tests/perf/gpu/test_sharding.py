"""Layers become the kernels that engines launch, and each GPU gets its share of them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.graph import (
    DataType,
    Experts,
    Gather,
    Graph,
    Opaque,
    Segment,
    Softmax,
    Tensor,
    TopIndices,
)
from onewafer.perf.gpu.collectives import Collective
from onewafer.perf.gpu.kernels import AttentionShape, ExpertShape
from onewafer.perf.gpu.sharding import (
    Attend,
    Exchange,
    Fused,
    Mix,
    Product,
    Rows,
    most_shards,
    num_experts,
    shard,
)
from tests.perf.dense_model import LLAMA_8B, QWEN3_32B, QWEN3_235B, dense_model

EMBEDDING, LAYER, HEAD = dense_model("8b", LLAMA_8B).segments


def test_a_layer_on_one_gpu_is_nine_kernels():
    norm = 2 * 4096 + 3 * 4096  # and the addition of the layer before it: x, y → x + y, normed
    assert shard(LAYER, 1).parts == (
        Fused("norms and activations", norm, Rows.ALL),
        Product("attention projections", 4096 + 2 * 1024, 4096, Rows.ALL, is_quantized=True),
        Fused("norms and activations", 2 * (4096 + 1024), Rows.ALL),
        Attend(AttentionShape(32, 8, 128), is_causal=True),
        Product("attention projections", 4096, 4096, Rows.ALL, is_quantized=True),
        Fused("norms and activations", 4 * 4096, Rows.ALL),
        Product("MLP", 2 * 14336, 4096, Rows.ALL, is_quantized=True),
        Fused("norms and activations", 3 * 14336, Rows.ALL),
        Product("MLP", 4096, 14336, Rows.ALL, is_quantized=True),
    )


def test_a_group_of_gpus_reduces_twice_a_layer():
    parts = shard(LAYER, 4).parts
    exchanges = [part for part in parts if isinstance(part, Exchange)]
    products = [part for part in parts if isinstance(part, Product)]

    assert exchanges == [Exchange(Collective.ALL_REDUCE, 4096, Rows.ALL)] * 2
    assert [(p.outputs, p.inputs) for p in products] == [
        (1536, 4096),
        (4096, 1024),
        (7168, 4096),
        (4096, 3584),
    ]


def test_more_gpus_than_heads_of_keys_have_copies_of_them():
    piece = shard(LAYER, 16)
    (attention,) = (part for part in piece.parts if isinstance(part, Attend))

    assert attention.shape == AttentionShape(heads=2, kv_heads=1, features=128)
    assert piece.parts[1] == Product(
        "attention projections", (2 + 1 + 1) * 128, 4096, Rows.ALL, is_quantized=True
    )
    assert piece.cached_features == 2 * 128


def test_the_head_sees_the_last_rows_and_is_not_quantized():
    norm, product, gather = shard(HEAD, 2, is_last=True).parts

    assert norm == Fused("norms and activations", 2 * 4096, Rows.LAST)
    assert product == Product("head", 64128, 4096, Rows.LAST, is_quantized=False)
    assert gather == Exchange(Collective.ALL_GATHER, 128256, Rows.LAST)


def test_the_table_of_the_embedding_is_shared_out():
    piece = shard(EMBEDDING, 2)

    assert piece.plain_weights == 128256 * 4096 // 2
    assert piece.parts[1] == Exchange(Collective.ALL_REDUCE, 4096, Rows.ALL)


def test_norms_of_heads_are_done_with_the_rotation():
    piece = shard(dense_model("32b", QWEN3_32B).segments[1], 8)
    kernels = [type(part).__name__ for part in piece.parts]

    assert kernels.count("Fused") == 4


@pytest.mark.parametrize("sizes", [LLAMA_8B, QWEN3_32B])
@given(size=st.sampled_from([1, 2, 4, 8]))
def test_weights_and_caches_of_all_gpus_are_those_of_the_model(sizes, size):
    model = dense_model("m", sizes)
    pieces = [(shard(s, size, is_last=s is model.segments[-1]), s.repeats) for s in model.segments]
    divided = sum((p.quantized_weights + p.plain_weights) * n for p, n in pieces) * size
    norms = sum(n * (2 * sizes.hidden + sizes.has_head_norms * 256) for _, n in pieces[1:2])
    copies = (norms + sizes.hidden) * (size - 1)

    assert divided - copies == model.num_weights
    assert sum(p.cached_features * n for p, n in pieces) * size == model.cached_features


def test_heads_limit_the_size_of_a_group():
    assert most_shards(LAYER) == 32
    assert most_shards(HEAD) == 1


def test_experts_are_dealt_out_to_groups_and_chosen_by_everybody():
    layer = dense_model("235b", QWEN3_235B).segments[1]
    *_, scores, mix, sum_of_all = shard(layer, 8, expert_groups=4).parts

    assert num_experts(layer) == 128
    assert scores == Product("MLP", 128, 4096, Rows.ALL, is_quantized=False, is_choice=True)
    assert mix == Mix(ExpertShape(4096, 1536, 3 * 4096 * 1536, 128, 8, tensor=2, expert=4))
    assert sum_of_all == Exchange(Collective.ALL_REDUCE, 4096, Rows.ALL)


@given(size=st.sampled_from([1, 2, 4, 8]), groups=st.sampled_from([1, 2, 4, 8]))
def test_however_experts_are_shared_there_are_as_many_weights(size, groups):
    layer = dense_model("235b", QWEN3_235B).segments[1]
    experts = 128 * 3 * 4096 * 1536
    whole = shard(layer, 1).quantized_weights - experts
    shared = shard(layer, size, expert_groups=min(groups, size))
    of_keys = 2 * 128 * 4096 * max(0, size // 4 - 1) * 4  # copies of heads

    assert shared.quantized_weights * size == experts + whole + of_keys


def test_what_has_no_other_form_takes_the_time_of_its_elements():
    rows = 8
    x = Tensor("x", (rows, 64), DataType.F16)
    table = Tensor("table", (64, 32), DataType.F16)
    told = Opaque(
        Tensor("y", (rows, 32), DataType.F16),
        "aten.thing",
        ("x",),
        ("table",),
        4.0,
        keeps_rows=True,
    )
    seen = Opaque(
        Tensor("z", (rows, 32), DataType.F16),
        "aten.view",
        ("y",),
        (),
        0.0,
        keeps_rows=True,
        is_view=True,
    )
    graph = Graph("one", (x,), (table,), (told, seen), ("z",))

    (part,) = shard(Segment(graph, 1), 1).parts

    assert part == Fused("norms and activations", 64 + 32, Rows.ALL, fixed=64 * 32, flop=4.0 * 32)


@pytest.mark.parametrize("group_size", [1, 2, 8])
def test_everybody_chooses_experts_however_the_choice_is_made(group_size):
    """As Mixtral is captured: softmax of all scores, the largest ones, in parts of their sum."""
    layer = dense_model("moe", QWEN3_235B).segments[1]
    rows = layer.graph.inputs[0].shape[0]

    def t(name, features, dtype=DataType.F16):
        return Tensor(name, (rows, features), dtype)

    chosen = (
        Softmax(t("likely", 128), "scores"),
        TopIndices(t("places", 8, DataType.I32), "likely", 8),
        Gather(t("taken", 8), "likely", "places"),
    )
    operations = tuple(
        replace(op, choice="taken") if isinstance(op, Experts) else op
        for op in layer.graph.operations
    )
    at = next(i for i, op in enumerate(operations) if isinstance(op, Experts))
    graph = replace(layer.graph, operations=(*operations[:at], *chosen, *operations[at:]))

    parts = shard(replace(layer, graph=graph), group_size).parts

    choices = [part for part in parts if isinstance(part, Product) and part.is_choice]
    assert choices == [Product("MLP", 128, 4096, Rows.ALL, is_quantized=False, is_choice=True)]
