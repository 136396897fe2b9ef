"""An RmsNorm whose result is only multiplied by weights comes after the products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.errors import HostError
from onewafer.graph import FLOATING, Add, DataType, Graph, Linear, RmsNorm, Tensor
from onewafer.mesh import MeshEvaluator, emit_csl, evaluate, shard
from onewafer.mesh.norms import Normalize, StoreNormalized, SumRowSquares
from tests.mesh.fabric import run_on_fabric
from tests.mesh.strategies import assert_same_bits, random_arrays

WSE3 = load_architecture("wse3")


def normed(*, rows=1, features=12, outs=(8, 4), dtype=DataType.F32):
    """Build a norm and the products of its result."""
    tensors = [Tensor(f"y{index}", (rows, out), dtype) for index, out in enumerate(outs)]
    return Graph(
        name="normed",
        inputs=(Tensor("x", (rows, features), dtype),),
        parameters=(
            Tensor("g", (features,), dtype),
            *(Tensor(f"w{index}", (out, features), dtype) for index, out in enumerate(outs)),
        ),
        operations=(
            RmsNorm(Tensor("n", (rows, features), dtype), "x", "g", 1e-5),
            *(Linear(tensor, "n", f"w{index}") for index, tensor in enumerate(tensors)),
        ),
        outputs=tuple(tensor.name for tensor in tensors),
    )


def kinds(program):
    return {operation.kind for operation in program.operations}


def arrays_of(graph, seed=0):
    return random_arrays(graph.inputs, seed), random_arrays(graph.parameters, seed + 1)


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize(
    ("rows", "features", "rectangle"),
    [(1, 12, (3, 2)), (3, 12, (2, 3)), (2, 150, (2, 1)), (1, 1, (4, 1)), (2, 130, (2, 2))],
    ids=str,
)
@pytest.mark.alternate
def test_it_is_the_norm(rows, features, rectangle, dtype):
    """Rows longer than a chunk, padding, PEs that have nothing but padding."""
    graph = normed(rows=rows, features=features, outs=(8,), dtype=dtype)
    program = shard(graph, width=rectangle[0], height=rectangle[1], architecture=WSE3)
    assert kinds(program) >= {*SumRowSquares.kinds, *StoreNormalized.kinds}
    inputs, parameters = arrays_of(graph)
    expected = evaluate(program, inputs, parameters)["y0"]
    run = run_on_fabric(program, WSE3, inputs, parameters)
    assert_same_bits(run.outputs["y0"], expected)
    x, g, w = (array.astype(np.float64) for array in (inputs["x"], *parameters.values()))
    exact = (x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-5) * g) @ w.T
    tolerance = 4e-3 if dtype is DataType.F16 else 1e-5
    np.testing.assert_allclose(expected, exact, rtol=tolerance, atol=tolerance * abs(exact).max())


@pytest.mark.parametrize("dtype", FLOATING)
def test_products_of_one_norm_share_its_squares(dtype):
    graph = normed(dtype=dtype)
    program = shard(graph, width=3, height=2, architecture=WSE3)
    assert sum(operation.kind in SumRowSquares.kinds for operation in program.operations) == 1
    inputs, parameters = arrays_of(graph)
    run = run_on_fabric(program, WSE3, inputs, parameters)
    for name, value in evaluate(program, inputs, parameters).items():
        assert_same_bits(run.outputs[name], value)


def test_large_values_are_no_reason_for_an_infinity():
    """What the norm would have made small is summed in f32."""
    graph = normed(dtype=DataType.F16, outs=(8,))
    program = shard(graph, width=3, height=2, architecture=WSE3)
    inputs, parameters = arrays_of(graph)
    inputs = {"x": np.sign(inputs["x"]) * np.float32(60_000)}
    assert np.isfinite(evaluate(program, inputs, parameters)["y0"]).all()


def with_other_reader(graph):
    shape = graph.tensor("n").shape
    add = Add(Tensor("z", shape, graph.dtype), "n", "x")
    return replace(graph, operations=(*graph.operations, add), outputs=(*graph.outputs, "z"))


def in_groups(graph):
    norm, *others = graph.operations
    g, *weights = graph.parameters
    return replace(
        graph,
        operations=(replace(norm, groups=3), *others),
        parameters=(replace(g, shape=(g.shape[0] // 3,)), *weights),
    )


@pytest.mark.parametrize(
    ("graph", "rectangle"),
    [
        (with_other_reader(normed()), (3, 2)),
        (replace(normed(), outputs=("y0", "y1", "n")), (3, 2)),
        (in_groups(normed()), (3, 2)),
        (normed(), (1, 1)),
    ],
    ids=["another reader", "an output", "groups", "one PE"],
)
def test_else_it_comes_first(graph, rectangle):
    program = shard(graph, width=rectangle[0], height=rectangle[1], architecture=WSE3)
    assert Normalize.kinds[0] in kinds(program)
    assert StoreNormalized.kinds[0] not in kinds(program)


def test_weights_are_sent_again_when_their_factors_change():
    program = shard(normed(), width=3, height=2, architecture=WSE3)
    _, parameters = arrays_of(normed())
    emitted = emit_csl.write_text(program)
    assert emitted.multiplied == {"g", "w0", "w1"}

    def names(changed):
        packed = emitted.pack_parameters(parameters, changed)
        return [item.placement.name for item, _ in packed]

    assert names(None) == names({"g"}) == ["w0", "w1"]
    assert names({"w1"}) == ["w1"]
    ones = {**parameters, "g": np.ones_like(parameters["g"])}
    plain = {item.placement.name: blocks for item, blocks in emitted.pack_parameters(ones)}
    for item, blocks in emitted.pack_parameters({**parameters, "g": 2 * ones["g"]}, {"g"}):
        assert_same_bits(blocks, 2 * plain[item.placement.name])


def test_a_missing_factor_is_named():
    program = shard(normed(), width=3, height=2, architecture=WSE3)
    _, parameters = arrays_of(normed())
    del parameters["g"]
    with pytest.raises(HostError, match="'g' is missing"):
        MeshEvaluator(program, parameters)
