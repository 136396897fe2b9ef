"""How far a wafer's result may be from the host's: derived from the arithmetic, not chosen."""

from dataclasses import replace

import numpy as np
import torch

from onewafer.execution.placement import place
from onewafer.mesh import error_bound
from onewafer.pytorch import capture


def assert_agrees(session, model, x, result):
    """Check shape, type and values of the only output of `model(x)`; return the bound."""
    with torch.no_grad():
        expected = model(x)
        call = capture(model, (x,), {})
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    assert not result.requires_grad
    placed = place(call.graph, session.architecture, session.options)
    program = replace(placed.program, graph=call.graph)
    arrays = [
        {name: tensor.detach().numpy() for name, tensor in tensors.items()}
        for tensors in (call.inputs, call.parameters)
    ]
    (bound,) = error_bound(program, *arrays).values()
    distance = np.abs(result.double().numpy() - expected.double().numpy())
    assert (distance.reshape(bound.shape) <= bound).all()
    return bound
