"""How far two evaluations of one graph may be apart, from the arithmetic alone.

The lowering of an operation says how the distance of its result follows from those of its operands;
`distances.py` has the arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import HostError, UnsupportedOperationError
from onewafer.mesh.blocks import Axis
from onewafer.mesh.distances import Bounded, Distances
from onewafer.mesh.layout import numpy_dtype
from onewafer.mesh.lowering.catalog import lowering_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.program import MeshProgram

    Arrays = Mapping[str, NDArray[Any]]
    Float64 = NDArray[np.float64]


def error_bound(program: MeshProgram, inputs: Arrays, parameters: Arrays) -> dict[str, Float64]:
    """Return for each output the largest distance, element by element, from another evaluation.

    The other evaluation (PyTorch on the host) may sum in any order, with or without fused
    multiply-adds, but sums in f32 and stores every tensor in the program's dtype. Raises HostError
    for a missing array, UnsupportedOperationError for an operation whose lowering knows no bound.
    """
    distances = Distances(program.dtype, num_pes=max(program.size(axis) for axis in Axis))
    arrays = {**inputs, **parameters}
    for tensor in (*program.graph.inputs, *program.graph.parameters):
        if tensor.name not in arrays:
            raise HostError(f"the array of {tensor.name!r} is missing")
        stored = arrays[tensor.name].astype(numpy_dtype(tensor.dtype))
        exact = stored.astype(np.float64)
        distances.known[tensor.name] = Bounded(exact, np.zeros(tensor.shape))
    for operation in program.graph.operations:
        name = operation.result.name
        found = lowering_of(operation).bound(operation, distances)
        if found is None:
            raise UnsupportedOperationError(
                f"{type(operation).__name__}, which defines {name!r}, has no known error bound"
            )
        distances.known[name] = found
    return {name: 2 * distances.of(name).error for name in program.graph.outputs}
