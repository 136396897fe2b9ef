"""Compute a graph with NumPy on the host: what every other reader is compared with.

In: a graph, parameters, and for each launch inputs and its place in the sequence. Out: outputs.
All is computed in one floating type of the caller's choice, float64 unless told otherwise; results
are rounded to a narrower one if the caller names one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import HostError
from onewafer.graph.operations.launch import Launch
from onewafer.graph.tensor import DataType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    from onewafer.graph.graph import Graph

    Array = NDArray[Any]
    Arrays = Mapping[str, Array]


class Evaluator:
    """A well-formed graph with its parameters; it remembers the keys and values of a sequence."""

    def __init__(
        self,
        graph: Graph,
        parameters: Arrays,
        *,
        dtype: DTypeLike = np.float64,
        stored_as: DTypeLike | None = None,
    ) -> None:
        """Take the parameters by name; raise HostError if one is missing or has another shape.

        Results are rounded to `stored_as`, then computed on with in `dtype`. Parameters that have
        this type are not copied and must not change.
        """
        self.graph = graph
        self._dtype = dtype
        self._stored_as = stored_as
        self._parameters = {
            tensor.name: _find("parameter", tensor.name, tensor.shape, parameters).astype(
                dtype, copy=False
            )
            for tensor in graph.parameters
        }
        self._cache: dict[str, tuple[Array, Array]] = {}
        """Result of a causal attention → keys and values of all rows of the sequence so far."""

    def run(self, inputs: Arrays, start: int = 0, num_rows: int | None = None) -> dict[str, Array]:
        """Return the outputs of one launch, whose first row is at position `start`.

        Inputs may have any number of rows, of which the first `num_rows` count, all if None.
        Outputs have `num_rows` rows, or one. Raises HostError for a missing input, a wrong shape,
        or a start beyond the rows that earlier launches have given.
        """
        values = dict(self._parameters)
        for tensor in self.graph.inputs:
            if tensor.name not in inputs:
                raise HostError(f"the input {tensor.name!r} is missing")
            array = inputs[tensor.name]
            if array.ndim != len(tensor.shape) or array.shape[1:] != tensor.shape[1:]:
                wanted = ("rows", *tensor.shape[1:])
                raise HostError(f"input {tensor.name!r} has shape {array.shape}, not {wanted}")
            dtype = np.int64 if tensor.dtype is DataType.I32 else self._dtype
            values[tensor.name] = array[:num_rows].astype(dtype)
        rows = values[self.graph.inputs[0].name].shape[0]
        launch = Launch(values, self._cache, start, rows)
        for operation in self.graph.operations:
            result = operation.evaluate(launch)
            if operation.result.dtype is not DataType.I32:
                result = np.asarray(result, dtype=self._stored_as).astype(self._dtype, copy=False)
            values[operation.result.name] = result
        return {name: values[name] for name in self.graph.outputs}


def evaluate_graph(
    graph: Graph, inputs: Arrays, parameters: Arrays, *, dtype: DTypeLike = np.float64
) -> dict[str, Array]:
    """Return the outputs of one launch at position 0; raise HostError for missing arrays."""
    return Evaluator(graph, parameters, dtype=dtype).run(inputs)


def _find(what: str, name: str, shape: tuple[int, ...], arrays: Arrays) -> Array:
    if name not in arrays:
        raise HostError(f"the {what} {name!r} is missing")
    if arrays[name].shape != shape:
        raise HostError(f"{what} {name!r} has shape {arrays[name].shape}, not {shape}")
    return arrays[name]
