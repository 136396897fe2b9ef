"""The host's evaluation of a graph with NumPy, with which all other readers are compared.

In: a graph, parameters, and for each launch inputs and their places in sequences. Out: outputs. All
operations use one floating type, float64 by default; results may be rounded to a narrower one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import HostError
from onewafer.graph.draws import SEEDS
from onewafer.graph.operations.launch import Launch
from onewafer.graph.slot import Slot
from onewafer.graph.tensor import DataType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation
    from onewafer.graph.operations.launch import Cache
    from onewafer.graph.tensor import Tensor

    Array = NDArray[Any]
    Arrays = Mapping[str, Array]


class Evaluator:
    """A well-formed graph with its parameters, and the keys and values of its sequences."""

    def __init__(
        self,
        graph: Graph,
        parameters: Arrays,
        *,
        dtype: DTypeLike = np.float64,
        stored_as: DTypeLike | None = None,
    ) -> None:
        """Take the parameters by name; raise HostError if one is missing or has another shape.

        If `stored_as` is given, each result is rounded to it and then converted back to `dtype`.
        Parameters that have this type are not copied and must not change.
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
        self._caches: dict[int, Cache] = {}
        """Sequence → its keys and values so far."""

    def run(self, inputs: Arrays, start: int = 0, num_rows: int | None = None) -> dict[str, Array]:
        """Return the outputs of one launch of sequence 0, whose first row is at position `start`.

        Of the rows of the inputs, the first `num_rows` are used, or all if None. Raises as
        `run_slots` does.
        """
        values = self._take_inputs(inputs, num_rows)
        rows = values[self.graph.inputs[0].name].shape[0]
        return self._run(values, (Slot(0, start, rows),), {})

    def run_slots(
        self, inputs: Arrays, slots: Sequence[Slot], *, taking: Arrays | None = None
    ) -> dict[str, Array]:
        """Return the outputs of one launch with rows of several sequences, slot after slot.

        Inputs may have more rows than the slots. Outputs have a row for each row of the slots, or
        for each slot. `taking` has results of another evaluation, which later operations read
        instead of those computed here. Raises HostError for a missing input, a wrong shape, or a
        position beyond the rows of earlier launches.
        """
        values = self._take_inputs(inputs, sum(slot.rows for slot in slots))
        return self._run(values, slots, taking or {})

    def _run(
        self, given: Mapping[str, Array], slots: Sequence[Slot], taking: Arrays
    ) -> dict[str, Array]:
        """Return the outputs of a launch whose inputs are converted."""
        values = {**self._parameters, **given}
        results: dict[str, Array] = {}
        for operation in self.graph.operations:
            result = self._evaluate(operation, values, slots)
            if operation.result.dtype is not DataType.I32:
                result = np.asarray(result, dtype=self._stored_as).astype(self._dtype, copy=False)
            name = operation.result.name
            results[name] = values[name] = result
            if name in taking:
                values[name] = taking[name].astype(result.dtype)
        return {name: results.get(name, values[name]) for name in self.graph.outputs}

    def _take_inputs(self, inputs: Arrays, rows: int | None) -> dict[str, Array]:
        """Return the first rows of the inputs (all rows if None), converted for computation."""
        found = {
            tensor.name: self._take_input(tensor, inputs, rows) for tensor in self.graph.inputs
        }
        return found | ({SEEDS: inputs[SEEDS]} if SEEDS in inputs else {})

    def _take_input(self, tensor: Tensor, inputs: Arrays, rows: int | None) -> Array:
        if tensor.name not in inputs:
            raise HostError(f"the input {tensor.name!r} is missing")
        array = inputs[tensor.name]
        if array.ndim != len(tensor.shape) or array.shape[1:] != tensor.shape[1:]:
            wanted = ("rows", *tensor.shape[1:])
            raise HostError(f"input {tensor.name!r} has shape {array.shape}, not {wanted}")
        dtype = np.int64 if tensor.dtype is DataType.I32 else self._dtype
        return array[:rows].astype(dtype)

    def _evaluate(
        self, operation: Operation, values: dict[str, Array], slots: Sequence[Slot]
    ) -> Array:
        """Return an operation's result: slot by slot if it depends on the order of rows."""
        if len(slots) == 1:
            return operation.evaluate(self._launch(values, slots[0]))
        if not operation.is_sequential:
            return operation.evaluate(Launch(values, {}, 0, sum(slot.rows for slot in slots), 0))
        results: list[Array] = []
        first = 0
        for slot in slots:
            of_slot = {name: values[name] for name in operation.parameter_operands}
            for name in operation.activation_operands:
                of_slot[name] = values[name][first : first + slot.rows]
            results.append(operation.evaluate(self._launch(of_slot, slot)))
            first += slot.rows
        return np.concatenate(results)

    def _launch(self, values: dict[str, Array], slot: Slot) -> Launch:
        cache = self._caches.setdefault(slot.sequence, {})
        return Launch(values, cache, slot.position, slot.rows, slot.first_table_row)


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
