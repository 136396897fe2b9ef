"""Whole training steps of small transformers: NumPy, fabric and closed form; float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Activation,
    ActivationFunction,
    Add,
    CrossEntropy,
    DataType,
    FirstRow,
    Graph,
    LastRow,
    Linear,
    Reduction,
    RmsNorm,
    RowAt,
    Tensor,
    derive_gradients,
    evaluate_graph,
    inputs_of_one_row,
    with_rows,
)
from onewafer.mesh import shard_training
from onewafer.mesh.optimizers import AdamW
from onewafer.mesh.reference import MeshEvaluator
from tests.mesh.fabric import check_launches
from tests.mesh.models import VOCABULARY, Decoder
from tests.mesh.strategies import random_arrays

IGNORED = -100
ENTRIES = ("clear", "forward", "loss", "backward", "update")
CASES = {
    "one PE": (Decoder(rows=3), (1, 1), "wse3"),
    "grouped queries, parts of heads": (Decoder(), (2, 3), "wse2"),
    "learned positions": (Decoder(layers=2, kv_heads=4, has_rotary=False), (2, 2), "wse3"),
    "bidirectional": (Decoder(kv_heads=4, has_rotary=False, is_causal=False), (3, 2), "wse3"),
    "a head across the table that it is": (Decoder(has_transform=True), (2, 3), "wse3"),
    "grouped queries, a head on two PEs": (Decoder(), (3, 4), "wse3"),
    "norms of heads, two on a PE": (Decoder(has_head_norms=True), (2, 3), "wse2"),
    "norms of heads on two PEs": (Decoder(has_head_norms=True, heads=2), (3, 4), "wse3"),
    "an adapter, which lies across what it adds to": (Decoder(rank=3), (3, 2), "wse3"),
}


def derived(
    decoder: Decoder,
    frozen=("cosine", "sine"),
    *,
    graph=None,
    reduction=Reduction.MEAN,
    rows: int | None = None,
):
    """Return the gradients of a decoder with a cross entropy, and how many operations it has.

    Instead of its own `graph` it may have one with more inputs; and launches of some `rows`.
    """
    graph = decoder.graph if graph is None else graph
    (logits,) = graph.outputs
    scalar = Tensor("loss", (1, 1), DataType.F32)
    loss = CrossEntropy(scalar, logits, "targets", ignored=IGNORED, reduction=reduction)
    targets = Tensor("targets", (decoder.rows, 1), DataType.I32)
    whole = replace(
        graph,
        inputs=(*graph.inputs, targets),
        operations=(*graph.operations, loss),
        outputs=(logits, "loss"),
    )
    whole = whole if rows is None else with_rows(whole, rows, context=decoder.rows)
    wanted = [tensor.name for tensor in graph.parameters if tensor.name not in frozen]
    return derive_gradients(whole, wanted, outputs=["loss"]), len(graph.operations)


def inputs_of(decoder: Decoder, seed: int = 0):
    """Return tokens, some of them equal, and targets, one of which does not count."""
    generator = np.random.default_rng(seed)
    tokens, targets = generator.integers(0, VOCABULARY, (2, decoder.rows, 1)).astype(np.int32)
    tokens[-1], targets[1] = tokens[0], IGNORED
    seed_of_loss = np.ones((1, 1), np.float32)
    return {"ids": tokens, "targets": targets, "loss.seed": seed_of_loss}


def check_gradients(gradients, values, parameters, found):
    """Compare gradients with those in float64, or with what a rounding of parameters changes."""
    wide = {name: value.astype(np.float64) for name, value in parameters.items()}
    exact = evaluate_graph(gradients.graph, values, wide)
    errors = {name: np.abs(found[name] - exact[name]).max() for name in gradients.by_name.values()}
    steep = {n: error for n, error in errors.items() if error > 2e-5 * np.abs(exact[n]).max()}
    if steep:
        reach = reach_of_roundings(gradients, values, wide, exact)
        assert all(error <= reach[name] for name, error in steep.items())


def reach_of_roundings(gradients, values, wide, exact):
    """Return how far gradients go, in float64, if each parameter is half an ulp of f32 off."""
    generator, half = np.random.default_rng(0), np.finfo(np.float32).eps / 2
    reach = dict.fromkeys(gradients.by_name.values(), 0.0)
    for _ in range(4):
        off = {n: v * (1 + half * generator.choice([-1, 1], v.shape)) for n, v in wide.items()}
        found = evaluate_graph(gradients.graph, values, off)
        reach = {n: max(most, np.abs(found[n] - exact[n]).max()) for n, most in reach.items()}
    return reach


@pytest.mark.parametrize(("decoder", "rectangle", "arch"), CASES.values(), ids=CASES)
@pytest.mark.alternate(9)
def test_a_step_on_the_fabric(decoder, rectangle, arch):
    architecture = load_architecture(arch)
    gradients, number = derived(decoder)
    width, height = rectangle
    program = shard_training(
        gradients,
        width=width,
        height=height,
        architecture=architecture,
        num_model=number,
        optimizer=AdamW().step,
    )
    parameters, inputs = random_arrays(gradients.graph.parameters, 2), inputs_of(decoder)
    inputs |= {"step_numbers": AdamW().numbers(1)}
    launches = [(inputs, replace(program.whole_launch(), entry=entry)) for entry in ENTRIES]
    runs = check_launches(program, architecture, parameters, launches, tolerance=0.07, slack=200)
    check_gradients(gradients, inputs, parameters, runs[ENTRIES.index("backward")].outputs)


def test_what_is_frozen_has_no_gradient():
    decoder = Decoder()
    gradients, number = derived(decoder, frozen=("cosine", "sine", "tokens", "0.query.weight"))
    program = shard_training(
        gradients, width=2, height=2, architecture=load_architecture("wse3"), num_model=number
    )
    parameters, inputs = random_arrays(gradients.graph.parameters, 2), inputs_of(decoder)
    evaluator = MeshEvaluator(program, parameters)
    found = {}
    for entry in ("forward", "loss", "backward"):
        found |= evaluator.run(inputs, replace(program.whole_launch(), entry=entry))
    assert "0.query.weight" not in gradients.by_name
    check_gradients(gradients, inputs, parameters, found)


def test_a_weight_that_heads_share_is_refused():
    graph = Decoder(has_rotary=False).graph
    x = Tensor("x", (3, 8), DataType.F32)
    weights = Tensor("g", (4,), DataType.F32), Tensor("w", (8, 8), DataType.F32)
    results = (Tensor(name, (3, 8), DataType.F32) for name in "ab")
    operations = RmsNorm(next(results), "x", "g", 1e-5, 2), Linear(next(results), "a", "w")
    graph = replace(graph, inputs=(x,), parameters=weights, operations=operations, outputs=("b",))
    gradients = derive_gradients(graph, ["g", "w"])
    with pytest.raises(UnsupportedOperationError, match="a weight that heads share"):
        shard_training(gradients, width=2, height=2, architecture=load_architecture("wse3"))


@pytest.mark.parametrize("row", [0, 3, 4])
@pytest.mark.alternate
def test_gradients_of_single_rows(row):
    """As of a head on a class token, on the last token alone, or on one that is named."""
    x, place = Tensor("x", (5, 6), DataType.F32), Tensor("place", (1, 1), DataType.I32)
    parameters = Tensor("w", (7, 6), DataType.F32), Tensor("v", (3, 7), DataType.F32)
    hidden = Tensor("h", (5, 7), DataType.F32)
    names = "first", "last", "named", "both", "all"
    first, last, named, both, all_ = (Tensor(name, (1, 7), DataType.F32) for name in names)
    operations = (
        Linear(hidden, "x", "w"),
        FirstRow(first, "h"),
        LastRow(last, "h"),
        RowAt(named, "h", "place"),
        Add(both, "first", "last"),
        Add(all_, "both", "named"),
        Linear(Tensor("r", (1, 3), DataType.F32), "all", "v"),
    )
    graph = Graph("rows", (x, place), parameters, operations, ("r",))
    assert inputs_of_one_row(graph) == {"place"}
    gradients = derive_gradients(graph, ["x", "w"])
    architecture = load_architecture("wse3")
    program = shard_training(gradients, width=3, height=2, architecture=architecture)
    numbers = [tensor for tensor in gradients.graph.inputs if tensor.is_floating]
    inputs = {**random_arrays(numbers, 1), "place": np.array([[row]], np.int32)}
    values = random_arrays(parameters, 2)
    entries = [replace(program.whole_launch(), entry=entry) for entry in ("forward", "backward")]
    launches = [(inputs, launch) for launch in entries]
    _, backward = check_launches(program, architecture, values, launches)
    check_gradients(gradients, inputs, values, backward.outputs)


def test_a_sequence_has_one_label():
    """As a classifier of BERT: the first row alone goes through a pooler to the classes."""
    rows, f32 = 5, DataType.F32
    inputs = Tensor("x", (rows, 6), f32), Tensor("targets", (1, 1), DataType.I32)
    shapes = {"u": (7, 6), "v": (7, 7), "w": (3, 7)}
    parameters = tuple(Tensor(name, shape, f32) for name, shape in shapes.items())
    operations = (
        Linear(Tensor("h", (rows, 7), f32), "x", "u"),
        FirstRow(Tensor("first", (1, 7), f32), "h"),
        Linear(Tensor("pooled", (1, 7), f32), "first", "v"),
        Activation(Tensor("active", (1, 7), f32), "pooled", ActivationFunction.TANH),
        Linear(Tensor("logits", (1, 3), f32), "active", "w"),
        CrossEntropy(Tensor("loss", (1, 1), f32), "logits", "targets", ignored=IGNORED),
    )
    graph = Graph("classifier", inputs, parameters, operations, ("logits", "loss"))
    assert inputs_of_one_row(graph) == {"targets"}
    gradients = derive_gradients(graph, shapes, outputs=["loss"])
    architecture = load_architecture("wse3")
    program = shard_training(
        gradients, width=3, height=2, architecture=architecture, num_model=len(operations) - 1
    )
    generator = np.random.default_rng(1)
    x = generator.standard_normal((rows, 6)).astype(np.float32)
    seed = np.ones((1, 1), np.float32)
    values = {"x": x, "targets": np.array([[2]], np.int32), "loss.seed": seed}
    arrays = random_arrays(parameters, 2)
    entries = ("clear", "forward", "loss", "backward")
    launches = [(values, replace(program.whole_launch(), entry=entry)) for entry in entries]
    *_, backward = check_launches(program, architecture, arrays, launches)
    check_gradients(gradients, values, arrays, backward.outputs)
