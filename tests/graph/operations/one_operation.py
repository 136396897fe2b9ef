"""What one operation gives, by the evaluator of graphs."""

from __future__ import annotations

import numpy as np
import torch

from onewafer.graph import DataType, Evaluator, Graph, Tensor

F32 = DataType.F32


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def compute(operation, arrays, *, start=0, num_rows=None):
    """Return the result of one operation; x, y and z are its inputs, all others parameters."""
    inputs = {n: a for n, a in arrays.items() if n in "xyz"}
    parameters = {n: a for n, a in arrays.items() if n not in "xyz"}
    graph = Graph(
        "g",
        tuple(Tensor(n, a.shape, F32) for n, a in inputs.items()),
        tuple(Tensor(n, a.shape, F32) for n, a in parameters.items()),
        (operation,),
        (operation.result.name,),
    )
    return Evaluator(graph, parameters).run(inputs, start, num_rows)[operation.result.name]


def t(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)
