"""Error bounds: the largest difference of two evaluations of a graph, from arithmetic alone.

The lowering of an operation says how the error of its result follows from those of its operands;
`distances.py` has the arithmetic.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import HostError, UnsupportedOperationError
from onewafer.graph import SEEDS, Evaluator
from onewafer.mesh.blocks import Axis
from onewafer.mesh.distances import Bounded, Distances
from onewafer.mesh.layout import numpy_dtype
from onewafer.mesh.lowering.catalog import lowering_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from onewafer.graph import Operation, Tensor
    from onewafer.mesh.blocks import Launch
    from onewafer.mesh.program import MeshProgram

    Arrays = Mapping[str, NDArray[Any]]
    Float64 = NDArray[np.float64]


def error_bound(program: MeshProgram, inputs: Arrays, parameters: Arrays) -> dict[str, Float64]:
    """Return for each output the largest element-wise difference between two evaluations.

    Both evaluate one launch of all rows. Raises as `ErrorBounds` does.
    """
    found = ErrorBounds(program, parameters).run(inputs)
    return {name: 2 * found[name].error for name in program.graph.outputs}


class ErrorBounds:
    """Error bounds of consecutive launches, relative to exact arithmetic.

    The evaluation may sum in any order, with or without fused multiply-adds, but sums in f32 and
    stores every tensor in the program's dtype. Bounds grow with every product, and fast: those of
    the logits of a language model say nothing. Those of each operation alone do.
    """

    def __init__(self, program: MeshProgram, parameters: Arrays) -> None:
        """Take the parameters.

        Raises HostError for a missing array, UnsupportedOperationError for an operation whose
        lowering knows no bound.
        """
        graph = program.graph
        for operation in graph.operations:
            if program.dtype not in lowering_of(operation).bounded_types:
                raise _no_bound(operation)
        self._program = program
        self._parameters = _stored(graph.parameters, parameters)
        names = tuple(operation.result.name for operation in graph.operations)
        self._evaluator = Evaluator(replace(graph, outputs=names), self._parameters)
        self._kept: dict[tuple[int, str], Bounded] = {}

    def run(
        self, inputs: Arrays, launch: Launch | None = None, *, alone: Arrays | None = None
    ) -> dict[str, Bounded]:
        """Return inputs and results in exact arithmetic, with error bounds.

        The launch has all rows unless another one is given. With the results of an evaluation, each
        operation is bounded `alone`: its operands are those of that evaluation, without error.
        Raises as above.
        """
        program = self._program
        given = _stored(program.graph.inputs, inputs)
        taken = given | {name: array for name, array in inputs.items() if name == SEEDS}
        slots = (launch or program.whole_launch()).slots
        if program.sequence_rows is None:
            exact = self._evaluator.run(taken)
        else:
            exact = self._evaluator.run_slots(taken, slots, taking=alone)
        distances = Distances(
            program.dtype,
            num_pes=max(program.extent(axis) for axis in Axis),
            exact=exact,
            slots=slots,
            kept=self._kept,
            seeds=inputs.get(SEEDS),
        )
        for name, array in (self._parameters | given | dict(alone or {})).items():
            distances.known[name] = Bounded(array.astype(np.float64), np.zeros(array.shape))
        found = {name: distances.of(name) for name in given}
        with np.errstate(all="ignore"):  # a bound may be infinite
            for operation in program.graph.operations:
                found[operation.result.name] = _bound(operation, distances)
        return found


def _bound(operation: Operation, distances: Distances) -> Bounded:
    """Return a result with its bound, and record it for later operations unless one is known."""
    found = lowering_of(operation).bound(operation, distances)
    if found is None:
        raise _no_bound(operation)
    bounded = Bounded(found.exact, np.where(np.isnan(found.error), np.inf, found.error))
    distances.known.setdefault(operation.result.name, bounded)
    return bounded


def _no_bound(operation: Operation) -> UnsupportedOperationError:
    name, result = type(operation).__name__, operation.result.name
    return UnsupportedOperationError(f"{name}, which defines {result!r}, has no known error bound")


def _stored(tensors: Iterable[Tensor], arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Return arrays as they are stored; raise HostError if one is missing."""
    found: dict[str, NDArray[Any]] = {}
    for tensor in tensors:
        if tensor.name not in arrays:
            raise HostError(f"the array of {tensor.name!r} is missing")
        found[tensor.name] = arrays[tensor.name].astype(numpy_dtype(tensor.dtype))
    return found
