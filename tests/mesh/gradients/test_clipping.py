"""Gradients clipped where they lie: NumPy against the fabric, and against float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.graph import derive_gradients
from onewafer.mesh import shard_training
from onewafer.mesh.blocks import Launch, Role
from onewafer.mesh.optimizers import Sgd
from onewafer.mesh.reference import MeshEvaluator
from onewafer.mesh.sizes import CHUNK
from tests.mesh.fabric import check_launches
from tests.mesh.strategies import mlp, random_arrays

WSE3 = load_architecture("wse3")
OPTIMIZER = Sgd(lr=0.1)
EPSILON = 2.0**-24
ENTRIES = ("forward", "backward", "sum_gradients", "scale_gradients", "clamp_gradients", "update")


def cut(sizes, rectangle):
    """Return the program of a perceptron, and the gradients that it gives."""
    width, height = rectangle
    graph = mlp(sizes, batch=4)
    gradients = derive_gradients(graph, [tensor.name for tensor in graph.parameters])
    program = shard_training(
        gradients, width=width, height=height, architecture=WSE3, optimizer=OPTIMIZER.step
    )
    return program, gradients


def launches_of(gradients, factor: float, bound: float):
    inputs = random_arrays(gradients.graph.inputs, 1)
    numbers = {"clip_factor": factor, "clip_bound": bound}
    written = {name: np.full((1, 1), value, np.float32) for name, value in numbers.items()}
    inputs |= written | {"step_numbers": OPTIMIZER.numbers(1)}
    return [(inputs, replace(Launch.at(0, 0), entry=entry)) for entry in ENTRIES]


def roundings(program) -> int:
    """Return how many roundings a square meets at most on its way into the sum."""
    elements = max(p.block.num_elements for p in program.with_role(Role.PARAMETER))
    runs = len(program.with_role(Role.PARAMETER))
    return runs * (elements // CHUNK + CHUNK) + program.width + program.height + 1


@pytest.mark.parametrize("rectangle", [(1, 1), (1, 3), (3, 1), (4, 3)])
@pytest.mark.parametrize("sizes", [[5, 7, 3], [30, 50, 12]])
def test_the_sum_counts_each_element_once(rectangle, sizes):
    program, gradients = cut(sizes, rectangle)
    evaluator = MeshEvaluator(program, random_arrays(gradients.graph.parameters, 2))
    found = {}
    for inputs, launch in launches_of(gradients, 0.5, -np.inf)[:4]:
        found[launch.entry] = evaluator.run(inputs, launch)
    before = {name: array.astype(np.float64) for name, array in found["backward"].items()}
    expected = sum(np.square(array).sum() for array in before.values())
    (total,) = found["sum_gradients"].values()
    assert abs(total.item() - expected) <= roundings(program) * EPSILON * expected
    for name, array in before.items():
        np.testing.assert_array_equal(found["scale_gradients"][name], array / 2)


@pytest.mark.parametrize("rectangle", [(1, 1), (3, 2)])
def test_clipping_on_the_fabric(rectangle):
    """Two chunks on a PE; parameters over both axes and over one."""
    program, gradients = cut([9, 10, 5], rectangle)
    parameters = random_arrays(gradients.graph.parameters, 2)
    launches = launches_of(gradients, 0.75, -0.3)
    runs = check_launches(program, WSE3, parameters, launches, slack=40)
    clamped = runs[ENTRIES.index("clamp_gradients")].outputs
    assert max(np.abs(array).max() for array in clamped.values()) == np.float32(0.3)


def test_what_is_no_number_stays_so():
    program, gradients = cut([5, 7, 3], (2, 1))
    parameters = random_arrays(gradients.graph.parameters, 2)
    nan = np.full((3,), np.nan, np.float32)
    evaluator = MeshEvaluator(program, parameters | {"1.bias.gradient": nan})
    launches = {launch.entry: (inputs, launch) for inputs, launch in launches_of(gradients, 1, -1)}
    assert np.isnan(evaluator.run(*launches["sum_gradients"])["gradient_squares"]).all()
    assert np.isnan(evaluator.run(*launches["clamp_gradients"])["1.bias.gradient"]).all()
