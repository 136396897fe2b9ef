"""Losses of classes and their gradients: float64, NumPy, fabric, closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.graph import (
    CrossEntropy,
    DataType,
    LogSoftmax,
    NegativeLogLikelihood,
    Reduction,
    Tensor,
    derive_gradients,
    evaluate_graph,
)
from onewafer.mesh import shard_training
from onewafer.mesh.blocks import Launch
from tests.mesh.fabric import check_launches
from tests.mesh.strategies import mlp, random_arrays

WSE3 = load_architecture("wse3")
LAUNCHES = [replace(Launch.at(0, 0), entry=name) for name in ("forward", "loss", "backward")]
ROWS, CLASSES = 5, 6
LOSSES = {
    "weights": {"weights": "w"},
    "smoothing": {"smoothing": 0.1},
    "weights and smoothing": {"weights": "w", "smoothing": 0.2, "reduction": Reduction.SUM},
    "likelihood": {},
    "likelihood with weights": {"weights": "w"},
}


def with_loss(name):
    """Return the gradients of a perceptron with a loss, and the operations of the model."""
    graph = mlp([4, 7, CLASSES], batch=ROWS)
    (logits,) = graph.outputs
    result = Tensor("loss", (1, 1), DataType.F32)
    if name.startswith("likelihood"):
        shares = LogSoftmax(Tensor("logarithms", (ROWS, CLASSES), DataType.F32), logits)
        graph = replace(graph, operations=(*graph.operations, shares), outputs=("logarithms",))
        loss = NegativeLogLikelihood(result, "logarithms", "ids", ignored=-1, **LOSSES[name])
    else:
        loss = CrossEntropy(result, logits, "ids", ignored=-1, **LOSSES[name])
    weights = (Tensor("w", (CLASSES,), DataType.F32),) if loss.weights else ()
    whole = replace(
        graph,
        inputs=(*graph.inputs, Tensor("ids", (ROWS, 1), DataType.I32)),
        parameters=(*graph.parameters, *weights),
        operations=(*graph.operations, loss),
        outputs=(*graph.outputs, "loss"),
    )
    wanted = [tensor.name for tensor in graph.parameters]
    return derive_gradients(whole, wanted, outputs=["loss"]), len(graph.operations)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.alternate(3)
def test_losses_of_classes(name):
    """One row does not count, and some PEs have no class."""
    gradients, number = with_loss(name)
    program = shard_training(gradients, width=4, height=2, architecture=WSE3, num_model=number)
    inputs = random_arrays([t for t in gradients.graph.inputs if t.is_floating], 1)
    inputs["ids"] = np.array([[2], [5], [-1], [0], [5]], np.int32)
    parameters = random_arrays(gradients.graph.parameters, 2)
    if "w" in parameters:
        parameters["w"] = np.abs(parameters["w"])
    exact = evaluate_graph(gradients.graph, inputs | parameters, parameters)
    launches = [(inputs, launch) for launch in LAUNCHES]
    for run in check_launches(program, WSE3, parameters, launches, slack=100):
        for result, value in run.outputs.items():
            scale = np.abs(exact[result]).max()
            assert np.abs(value - exact[result]).max() <= 1e-5 * scale
