"""Every operation of the usual models belongs to the part that their authors would name."""

from __future__ import annotations

import pytest

from onewafer.graph import (
    Activation,
    ActivationFunction,
    Add,
    AddBias,
    Attention,
    Convolution,
    DataType,
    DepthwiseConvolution,
    GlobalAveragePool,
    Graph,
    LayerNorm,
    LayerPart,
    Linear,
    MaxPool,
    Multiply,
    Relu,
    RmsNorm,
    ScaleFeatures,
    Tensor,
    TopIndices,
    layer_parts,
)
from tests.mesh.models import bert, gpt2, llama
from tests.mesh.strategies import mlp

EMBEDDING, ATTENTION, MLP, NORMS, HEAD, OTHER = (
    LayerPart.EMBEDDING,
    LayerPart.ATTENTION,
    LayerPart.MLP,
    LayerPart.NORMS,
    LayerPart.HEAD,
    LayerPart.OTHER,
)


def by_name(graph):
    results = [operation.result.name for operation in graph.operations]
    return dict(zip(results, layer_parts(graph), strict=True))


def test_llama():
    names = {
        EMBEDDING: ["embedded"],
        NORMS: ["norm", *(f"{n}.{p}norm" for n in (0, 1) for p in ("", "mlp.", "query.", "key."))],
        ATTENTION: [
            f"{layer}.{part}"
            for layer in (0, 1)
            for part in (
                *("query", "key", "value", "query.rotated", "key.rotated"),
                *("attended", "output", "middle"),
            )
        ],
        MLP: [
            f"{layer}.{part}"
            for layer in (0, 1)
            for part in ("gate", "up", "silu", "gated", "down", "hidden")
        ],
        HEAD: ["last", "logits"],
    }
    expected = {name: part for part, listed in names.items() for name in listed}
    assert by_name(llama(has_head_norms=True)) == expected


def test_gpt2_joins_its_embeddings_and_keeps_biases_with_their_products():
    parts = by_name(gpt2(layers=1))
    assert [n for n, p in parts.items() if p is EMBEDDING] == ["embedded", "places", "first"]
    assert [n for n, p in parts.items() if p is NORMS] == ["0.norm", "0.mlp.norm", "norm"]
    mlp_names = ["0.up.product", "0.up", "0.active", "0.down.product", "0.down", "0.hidden"]
    assert [n for n, p in parts.items() if p is MLP] == mlp_names
    assert [n for n, p in parts.items() if p is HEAD] == ["last", "logits"]
    assert parts["0.output"] is parts["0.middle"] is parts["0.query.product"] is ATTENTION


def test_bert_has_norms_after_residuals_and_a_pooler():
    parts = by_name(bert(layers=2))
    assert [n for n, p in parts.items() if p is EMBEDDING] == ["embedded", "places", "both"]
    assert [n for n, p in parts.items() if p is HEAD] == ["first row", "pooled", "tanh"]
    assert parts["1.middle"] is ATTENTION
    assert parts["0.total"] is parts["1.down"] is parts["1.active"] is MLP


def test_a_perceptron_is_mlp_from_end_to_end():
    assert set(layer_parts(mlp([4, 4, 4], is_residual=True))) == {MLP}


class Layer:
    """Operations of one layer on tensors of four features."""

    def __init__(self):
        self.operations = []

    def add(self, kind, name, *operands, **more):
        self.operations.append(kind(Tensor(name, (3, 4), DataType.F32), *operands, **more))

    def attend(self, source):
        for name in "qkv":
            self.add(Linear, name, source, f"{name}.w")
        self.add(Attention, "a", "q", "k", "v", 2, 2, 0.5, is_causal=True)

    def parts(self, *outputs):
        x = Tensor("x", (3, 4), DataType.F32)
        return by_name(Graph("layer", (x,), (), tuple(self.operations), outputs))


def test_patches_of_a_picture_are_embedding():
    layer = Layer()
    layer.add(Linear, "patch", "x", "w")
    layer.add(AddBias, "patches", "patch", "b")
    layer.add(LayerNorm, "n", "patches", "w", "b", 1e-5)
    layer.attend("n")
    layer.add(Add, "r", "patches", "a")
    parts = layer.parts("r")
    assert parts["patch"] is parts["patches"] is EMBEDDING
    assert parts["q"] is parts["r"] is ATTENTION


def test_a_norm_and_a_gate_behind_attention_do_not_cut_off_its_residual():
    layer = Layer()
    layer.add(RmsNorm, "n", "x", "w", 1e-5)
    layer.attend("n")
    layer.add(Linear, "gate", "n", "g.w")
    layer.add(Activation, "opened", "gate", ActivationFunction.SIGMOID)
    layer.add(Multiply, "gated", "a", "opened")
    layer.add(Linear, "o", "gated", "o.w")
    layer.add(RmsNorm, "after", "o", "w", 1e-5)
    layer.add(Add, "r", "x", "after")
    layer.add(RmsNorm, "n2", "r", "w", 1e-5)
    layer.add(Linear, "up", "n2", "up.w")
    layer.add(Relu, "active", "up")
    layer.add(Linear, "down", "active", "down.w")
    layer.add(Add, "s", "r", "down")
    parts = layer.parts("s")
    assert parts["gated"] is parts["o"] is parts["r"] is ATTENTION
    assert parts["n"] is parts["after"] is NORMS
    assert parts["up"] is parts["active"] is parts["down"] is parts["s"] is MLP


def test_what_follows_attention_without_a_residual_ends_with_its_projections():
    layer = Layer()
    layer.attend("x")
    for index, source in enumerate(("a", "0", "1")):
        layer.add(Linear, str(index), source, f"{index}.w")
    layer.add(Relu, "active", "2")
    layer.add(Add, "end", "active", "x")
    parts = layer.parts("end")
    assert parts["0"] is parts["1"] is ATTENTION
    assert parts["2"] is parts["active"] is MLP


def test_a_residual_net_is_convolution_up_to_its_head():
    layer = Layer()
    window = None  # of no account here
    layer.add(Convolution, "c", "x", "c.w", window)
    layer.add(ScaleFeatures, "scaled", "c", "s")
    layer.add(AddBias, "b", "scaled", "s")
    layer.add(Relu, "r", "b")
    layer.add(MaxPool, "p", "r", window)
    layer.add(DepthwiseConvolution, "d", "p", "d.w", window)
    layer.add(Add, "sum", "p", "d")
    layer.add(Activation, "active", "sum", ActivationFunction.SILU)
    layer.add(GlobalAveragePool, "mean", "active", 3)
    layer.add(Linear, "product", "mean", "w")
    layer.add(AddBias, "logits", "product", "b")
    layer.add(TopIndices, "class", "logits", 1)
    parts = layer.parts("class")
    head = {"mean", "product", "logits", "class"}
    assert {name for name, part in parts.items() if part is HEAD} == head
    assert {part for name, part in parts.items() if name not in head} == {LayerPart.CONVOLUTION}


def test_products_among_convolutions_are_convolutions_too():
    layer = Layer()
    layer.add(Convolution, "c", "x", "c.w", None)
    layer.add(Linear, "wide", "c", "w")
    layer.add(Relu, "r", "wide")
    layer.add(Linear, "narrow", "r", "w")
    layer.add(Add, "sum", "narrow", "c")
    layer.add(GlobalAveragePool, "mean", "sum", 3)
    layer.add(Linear, "logits", "mean", "w")
    parts = layer.parts("logits")
    convolutions = {parts[name] for name in ("c", "wide", "r", "narrow", "sum")}
    assert convolutions == {LayerPart.CONVOLUTION}
    assert parts["mean"] is parts["logits"] is HEAD


def test_arithmetic_on_inputs_alone_is_of_no_part():
    layer = Layer()
    layer.add(Relu, "r", "x")
    layer.add(Add, "s", "r", "x")
    assert layer.parts("s") == {"r": OTHER, "s": OTHER}


@pytest.mark.parametrize("build", [llama, gpt2, bert])
def test_depth_changes_nothing(build):
    shallow, deep = by_name(build(layers=1)), by_name(build(layers=3))
    assert shallow.items() <= deep.items()
