"""How far two evaluations of one graph may be apart, from the arithmetic alone.

Notation: u is the unit roundoff (f32 2⁻²⁴, f16 2⁻¹¹), γₙ = n·u / (1 − n·u). Each tensor carries a
bound e on its distance from exact arithmetic and a bound m = |exact| + e on its magnitude:

* linear: a sum of n products takes part in at most `n + p` roundings, whatever the order (n
  multiply-adds or n products and n − 1 additions; p − 1 additions of the chain over p PEs), so
  e = |W|·eₓ + γₙ₊ₚ₊₁ · |W|·mₓ in f32, plus u₁₆ · m of the result where it is stored in f16;
* bias, residual add: the operands' bounds plus one rounding of the result;
* ReLU: exact and never increases a distance. A `Redistribute` is exact.

Products and sums below the normal range add at most the smallest subnormal each. The bounds hold
while nothing overflows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import HostError, UnsupportedOperationError
from onewafer.graph import Add, AddBias, DataType, Linear, Relu
from onewafer.mesh.blocks import Axis
from onewafer.mesh.layout import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.graph import Operation
    from onewafer.mesh.program import MeshProgram

    Arrays = Mapping[str, NDArray[Any]]
    Float64 = NDArray[np.float64]

_ROUNDOFF = {DataType.F16: 2.0**-11, DataType.F32: 2.0**-24}
_SUBNORMAL = {DataType.F16: 2.0**-24, DataType.F32: 2.0**-149}


def error_bound(program: MeshProgram, inputs: Arrays, parameters: Arrays) -> dict[str, Float64]:
    """Return for each output the largest distance, element by element, from another evaluation.

    The other evaluation (PyTorch on the host) may sum in any order, with or without fused
    multiply-adds, but sums in f32 and stores every tensor in the program's dtype. Raises HostError
    for a missing array, UnsupportedOperationError for an operation that is not listed above.
    """
    analysis = _Analysis(program, {**inputs, **parameters})
    return {name: 2 * analysis.errors[name] for name in program.graph.outputs}


class _Analysis:
    """Exact values and error bounds of every tensor of a program's graph."""

    def __init__(self, program: MeshProgram, arrays: Arrays) -> None:
        self.exact: dict[str, Float64] = {}
        self.errors: dict[str, Float64] = {}
        self._dtype = program.dtype
        self._num_pes = max(program.size(axis) for axis in Axis)
        for tensor in (*program.graph.inputs, *program.graph.parameters):
            if tensor.name not in arrays:
                raise HostError(f"the array of {tensor.name!r} is missing")
            stored = arrays[tensor.name].astype(numpy_dtype(tensor.dtype))
            self.exact[tensor.name] = stored.astype(np.float64)
            self.errors[tensor.name] = np.zeros(tensor.shape)
        for operation in program.graph.operations:
            self._follow(operation)

    def _follow(self, operation: Operation) -> None:
        exact, errors, name = self.exact, self.errors, operation.result.name
        match operation:
            case Linear():
                exact[name] = exact[operation.input] @ exact[operation.weight].T
                errors[name] = self._linear(operation)
            case AddBias():
                exact[name] = exact[operation.input] + exact[operation.bias]
                errors[name] = self._rounded(name, errors[operation.input])
            case Relu():
                exact[name] = np.maximum(exact[operation.input], 0.0)
                errors[name] = errors[operation.input]
            case Add():
                exact[name] = exact[operation.left] + exact[operation.right]
                total = errors[operation.left] + errors[operation.right]
                errors[name] = self._rounded(name, total)
            case _:
                raise UnsupportedOperationError(
                    f"{type(operation).__name__}, which defines {name!r}, has no known error bound"
                )

    def _linear(self, operation: Linear) -> Float64:
        weight = np.abs(self.exact[operation.weight]).T
        error = self.errors[operation.input]
        magnitude = np.abs(self.exact[operation.input]) + error
        roundings = weight.shape[0] + self._num_pes + 1
        share = roundings * _ROUNDOFF[DataType.F32]
        gamma = share / (1 - share)
        sums = error @ weight + gamma * (magnitude @ weight)
        sums += roundings * _SUBNORMAL[DataType.F32]
        if self._dtype is DataType.F32:
            return sums
        return self._rounded(operation.result.name, sums)

    def _rounded(self, name: str, error: Float64) -> Float64:
        """Add one rounding to the storage type, of a value within `error` of the exact one."""
        magnitude = np.abs(self.exact[name]) + error
        return error + _ROUNDOFF[self._dtype] * magnitude + _SUBNORMAL[self._dtype]
