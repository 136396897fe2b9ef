"""`torch.exp`: in the graph, in NumPy and on the fabric bit for bit, and its cycles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onewafer.arch import load_architecture
from onewafer.graph import FLOATING, Exp, Graph, Tensor
from onewafer.mesh import estimate, evaluate, numpy_dtype, shard
from tests.mesh.fabric import run_on_fabric
from tests.mesh.strategies import assert_same_bits
from tests.pytorch.lowering.test_matmul import captured, kinds

WSE3 = load_architecture("wse3")
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 1e30, -1e30, 88.7, 88.8, 101.0, -87.4, -104.0]


@pytest.mark.parametrize("function", [torch.exp, lambda x: x.exp(), lambda x: x.relu().exp() + x])
def test_it_is_an_operation_of_the_graph(function):
    assert Exp in kinds(captured(function, (3, 6)))


@pytest.mark.parametrize("dtype", FLOATING)
def test_the_wafer_is_as_exact_as_its_bound(dtype):
    """Two and a half units, as `exponential` in docs/explanation/numerics.md, over two chunks."""
    generator = np.random.default_rng(3)
    values = np.concatenate([SPECIAL, generator.uniform(-110, 90, 500), generator.normal(size=87)])
    with np.errstate(over="ignore"):
        x = values.astype(numpy_dtype(dtype)).reshape(4, -1)
    shape = Tensor("x", x.shape, dtype), Tensor("y", x.shape, dtype)
    graph = Graph("exp", shape[:1], (), (Exp(shape[1], "x"),), ("y",))
    program = shard(graph, width=2, height=2, architecture=WSE3)
    run = run_on_fabric(program, WSE3, {"x": x}, {})
    assert_same_bits(run.outputs["y"], evaluate(program, {"x": x}, {})["y"])
    with np.errstate(all="ignore"):
        exact = np.exp(x.astype(np.float64))
        units = np.abs(np.spacing(np.minimum(exact, np.finfo(x.dtype).max).astype(x.dtype)))
        expected = exact.astype(x.dtype)
        found = run.outputs["y"]
        is_close = np.abs(found - exact) <= 2.5 * units
    assert (is_close | (found == expected) | np.isnan(x)).all()
    cycles = estimate(program, WSE3).cycles
    assert abs(cycles - run.cycles) <= 0.02 * run.cycles
