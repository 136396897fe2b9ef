"""Launches of a program as the host evaluates them: operations in f32, results as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph import Evaluator
from onewafer.mesh import numpy_dtype

if TYPE_CHECKING:
    from onewafer.execution.arrays import Arrays
    from onewafer.graph import DataType, Graph
    from onewafer.mesh import Launch


class HostEvaluation:
    """A graph with its parameters; it remembers the sequences of its launches."""

    def __init__(self, graph: Graph, parameters: Arrays, stored_as: DataType) -> None:
        """Take the parameters; results are rounded to a type."""
        self._is_sequence = graph.is_sequence
        self._evaluator = Evaluator(
            graph, parameters, dtype=np.float32, stored_as=numpy_dtype(stored_as)
        )

    def run(self, inputs: Arrays, launch: Launch) -> Arrays:
        """Return the outputs of a launch, infinities and NaNs as they come."""
        with np.errstate(all="ignore"):
            if self._is_sequence:
                return self._evaluator.run_slots(inputs, launch.slots)
            return self._evaluator.run(inputs)
