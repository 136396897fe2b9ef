"""Losses and their gradients against PyTorch's."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch.nn import functional

from onewafer.errors import GraphError, HostError
from onewafer.graph import (
    CrossEntropy,
    DataType,
    ElementLoss,
    Graph,
    LogSoftmax,
    LossFunction,
    NegativeLogLikelihood,
    Reduction,
    Tensor,
    derive_gradients,
    evaluate_graph,
    verify_graph,
)
from tests.graph.operations.one_operation import F32, random, t

LOGITS, TARGETS = random(0, 5, 4), np.array([2, 0, -1, 3, 0])
WEIGHTS = np.array([0.5, 2.0, 0.0, 1.5])


def graph(operation, *inputs: str, weights: bool = False) -> Graph:
    shapes = {"x": (5, 4), "y": (5, 4)}
    tensors = [
        Tensor(name, shapes[name], F32) if name in shapes else Tensor(name, (5, 1), DataType.I32)
        for name in inputs
    ]
    parameters = (Tensor("w", (4,), F32),) if weights else ()
    return Graph("loss", (*tensors,), parameters, (operation,), ("r",))


def result(reduction: Reduction, *each: int) -> Tensor:
    return Tensor("r", each if reduction is Reduction.NONE else (1, 1), F32)


def assert_same(loss: Graph, values, compute):
    """Compare the loss and the gradient of x, for a random gradient of the loss."""
    derived = derive_gradients(loss, ["x"])
    verify_graph(derived.graph)
    x = t(values["x"]).requires_grad_()
    expected = compute(x)
    (shape,) = (tensor.shape for tensor in loss.tensors if tensor.name == "r")
    seed = random(9, *shape)
    expected.backward(t(seed).reshape(expected.shape))
    found = evaluate_graph(derived.graph, values | {"r.seed": seed}, values)
    np.testing.assert_allclose(found["r"].ravel(), expected.detach().numpy().ravel(), rtol=1e-12)
    np.testing.assert_allclose(found[derived.by_name["x"]], x.grad.numpy(), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("reduction", Reduction)
def test_cross_entropy(reduction, weights, smoothing):
    name = "w" if weights else None
    operation = CrossEntropy(result(reduction, 5, 1), "x", "ids", name, -1, smoothing, reduction)
    values = {"x": LOGITS, "ids": TARGETS[:, np.newaxis], "w": WEIGHTS}
    assert_same(
        graph(operation, "x", "ids", weights=weights),
        values,
        lambda x: functional.cross_entropy(
            x,
            t(TARGETS),
            t(WEIGHTS) if weights else None,
            ignore_index=-1,
            label_smoothing=smoothing,
            reduction=reduction.value,
        ),
    )


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("reduction", Reduction)
def test_logarithms_of_shares_and_their_likelihood(reduction, weights):
    name = "w" if weights else None
    logarithms = Tensor("y", (5, 4), F32)
    loss = graph(LogSoftmax(logarithms, "x"), "x", "ids", weights=weights)
    likelihood = NegativeLogLikelihood(
        *(result(reduction, 5, 1), "y", "ids", name, -1), reduction=reduction
    )
    operations = (*loss.operations, likelihood)
    loss = Graph(loss.name, loss.inputs, loss.parameters, operations, ("r",))
    values = {"x": LOGITS, "ids": TARGETS[:, np.newaxis], "w": WEIGHTS}
    assert_same(
        loss,
        values,
        lambda x: functional.nll_loss(
            functional.log_softmax(x, -1),
            t(TARGETS),
            t(WEIGHTS) if weights else None,
            ignore_index=-1,
            reduction=reduction.value,
        ),
    )


def compare(x, target, reduction, *, function, scale, delta, weights):
    """Return PyTorch's loss of elements."""
    options = {"target": target, "reduction": reduction}
    match function:
        case LossFunction.SQUARE:
            found = functional.mse_loss(x, **options)
        case LossFunction.ABSOLUTE:
            found = functional.l1_loss(x, **options)
        case LossFunction.HUBER:
            found = functional.huber_loss(x, **options, delta=delta)
        case LossFunction.BINARY:
            found = functional.binary_cross_entropy(x, **options)
        case LossFunction.BINARY_LOGITS:
            weights = t(weights) if weights is not None else None
            found = functional.binary_cross_entropy_with_logits(x, **options, pos_weight=weights)
        case LossFunction.DIVERGENCE:
            found = functional.kl_div(x, **options)
        case LossFunction.LOG_DIVERGENCE:
            found = functional.kl_div(x, **options, log_target=True)
    return found * scale


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss")
@pytest.mark.parametrize("reduction", Reduction)
@pytest.mark.parametrize(
    ("function", "scale", "delta", "weights"),
    [
        *((function, 1.0, 1.0, None) for function in LossFunction),
        (LossFunction.HUBER, 2.5, 0.4, None),  # smooth L1 with β = 0.4
        (LossFunction.BINARY_LOGITS, 1.0, 1.0, np.array([0.5, 1.0, 3.0, 0.0])),
    ],
)
def test_losses_of_elements(function, reduction, scale, delta, weights):
    x, target = LOGITS, np.random.default_rng(4).uniform(size=(5, 4))
    if function is LossFunction.BINARY:
        x = np.random.default_rng(5).uniform(size=(5, 4))
        x[0, 0], target[0, 0] = 1.0, 1.0  # a logarithm at its floor, times 0
    if function is LossFunction.DIVERGENCE:
        target[0, 0] = 0.0
    names = {} if weights is None else {"weights": "w"}
    numbers = function, reduction, scale, delta
    operation = ElementLoss(result(reduction, 5, 4), "x", "y", *numbers, **names)
    values = {"x": x, "y": target} | ({} if weights is None else {"w": weights})
    assert_same(
        graph(operation, "x", "y", weights=weights is not None),
        values,
        lambda x: compare(
            x,
            t(target),
            reduction.value,
            function=function,
            scale=scale,
            delta=delta,
            weights=weights,
        ),
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"delta": 0.0}, "δ is 0.0, must be above 0 and finite"),
        ({"scale": float("inf")}, "the loss is multiplied by inf, which must be finite"),
        ({"weights": "w"}, "weights of features are for binary_logits, not square"),
    ],
)
def test_numbers_of_a_loss_of_elements_are_checked(fields, message):
    operation = ElementLoss(result(Reduction.MEAN), "x", "y", LossFunction.SQUARE, **fields)
    with pytest.raises(GraphError, match=re.escape(message)):
        verify_graph(graph(operation, "x", "y", weights="weights" in fields))


def test_a_mean_over_no_rows_is_not_a_number():
    operation = CrossEntropy(result(Reduction.MEAN), "x", "ids", ignored=7)
    values = {"x": LOGITS, "ids": np.full((5, 1), 7)}
    assert np.isnan(evaluate_graph(graph(operation, "x", "ids"), values, {})["r"]).all()
    assert torch.isnan(functional.cross_entropy(t(LOGITS), torch.full((5,), 7), ignore_index=7))


def test_a_target_that_is_no_class_is_named():
    operation = CrossEntropy(result(Reduction.MEAN), "x", "ids")
    values = {"x": LOGITS, "ids": np.array([[0], [1], [-100], [4], [9]])}
    with pytest.raises(HostError, match="'ids' has the target 4; there are classes 0 to 3"):
        evaluate_graph(graph(operation, "x", "ids"), values, {})
