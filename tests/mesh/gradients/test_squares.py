"""Mean squares and their gradients: float64, NumPy, fabric, closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Activation,
    ActivationFunction,
    DataType,
    ElementLoss,
    LossFunction,
    Reduction,
    Tensor,
    derive_gradients,
    evaluate_graph,
)
from onewafer.mesh import estimate, shard_training
from onewafer.mesh.blocks import Launch
from onewafer.mesh.reference import MeshEvaluator
from tests.mesh.fabric import run_launches
from tests.mesh.strategies import assert_same_bits, mlp, random_arrays

WSE3 = load_architecture("wse3")
LAUNCHES = [replace(Launch.at(0, 0), entry=name) for name in ("forward", "loss", "backward")]


def with_loss(function=LossFunction.SQUARE, reduction=Reduction.MEAN, *, is_activated=False):
    """Return the gradients of a perceptron, and the operations of the model."""
    graph = mlp([6, 7, 5], batch=3)
    (name,) = graph.outputs
    if is_activated:  # its padding is not 0; the loss is then of no parameter
        shares = Activation(
            Tensor("shares", (3, 5), DataType.F32), name, ActivationFunction.SIGMOID
        )
        graph = replace(graph, operations=(*graph.operations, shares))
        name = "shares"
    shape = (3, 5) if reduction is Reduction.NONE else (1, 1)
    loss = ElementLoss(Tensor("loss", shape, DataType.F32), name, "t", function, reduction)
    whole = replace(
        graph,
        inputs=(*graph.inputs, Tensor("t", (3, 5), DataType.F32)),
        operations=(*graph.operations, loss),
        outputs=("loss",),
    )
    wanted = [] if is_activated else [tensor.name for tensor in graph.parameters]
    return derive_gradients(whole, wanted), len(graph.operations)


@pytest.mark.parametrize("is_activated", [False, True])
@pytest.mark.parametrize("reduction", [Reduction.MEAN, Reduction.SUM])
def test_squares(reduction, is_activated):
    gradients, number = with_loss(reduction=reduction, is_activated=is_activated)
    program = shard_training(gradients, width=4, height=3, architecture=WSE3, num_model=number)
    inputs, parameters = (
        random_arrays(gradients.graph.inputs, 1),
        random_arrays(gradients.graph.parameters, 2),
    )
    exact = evaluate_graph(gradients.graph, inputs | parameters, parameters)
    evaluator = MeshEvaluator(program, parameters)
    used = [launch for launch in LAUNCHES if launch.entry in program.entries]
    runs = run_launches(program, WSE3, parameters, [(inputs, launch) for launch in used])
    for run, launch in zip(runs, used, strict=True):
        for name, value in evaluator.run(inputs, launch).items():
            assert_same_bits(run.outputs[name], value)
            scale = np.abs(exact[name]).max()
            assert np.abs(value - exact[name]).max() <= 1e-5 * scale
        cycles = estimate(program, WSE3, launch).cycles
        assert abs(cycles - run.cycles) <= max(0.1 * run.cycles, 100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"function": LossFunction.ABSOLUTE}, "the loss 'absolute' is not supported"),
        ({"reduction": Reduction.NONE}, "a loss for each element is not supported"),
    ],
)
def test_losses_without_a_kernel_are_refused(options, message):
    gradients, number = with_loss(**options)
    with pytest.raises(UnsupportedOperationError, match=message):
        shard_training(gradients, width=2, height=2, architecture=WSE3, num_model=number)
