"""The outputs of a graph, taken from a result that the host computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from onewafer.graph import num_samples
from onewafer.pytorch.arrays import to_numpy
from onewafer.pytorch.captured import WaferResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.execution import Arrays
    from onewafer.pytorch.captured import CapturedCall


class HostOutputs:
    """The graph's outputs for a result of the host: `CapturedCall.restore` backwards."""

    def __init__(self, call: CapturedCall, result: object) -> None:
        self._call = call
        self._result = result
        self._outputs: Arrays | None = None

    def samples(self, first: int, count: int) -> Arrays:
        """Return the rows of some samples, NaN where the result has no such element.

        Losses of several launches are left out.
        """
        if self._outputs is None:
            self._outputs = self._invert()
        samples = self._call.capture.sequences * num_samples(self._call.graph)
        if count == samples:
            return self._outputs
        rows = {name: len(array) // samples for name, array in self._outputs.items()}
        return {
            name: array[first * rows[name] : (first + count) * rows[name]]
            for name, array in self._outputs.items()
        }

    def _invert(self) -> Arrays:
        leaves, found = pytree.tree_leaves(self._result), dict[str, "NDArray[Any]"]()
        if len(leaves) != len(self._call.results):
            return found
        joined = self._call.capture.joined  # the host has no loss of each launch
        for leaf, result in zip(leaves, self._call.results, strict=True):
            if not isinstance(result, WaferResult) or result.name in joined:
                continue
            if isinstance(leaf, torch.Tensor):
                found[result.name] = self._place(result, to_numpy(leaf.detach()))
        return found

    def _place(self, result: WaferResult, values: NDArray[Any]) -> NDArray[Any]:
        """Put the elements of a tensor where its layout takes them from."""
        rows, features = self._call.graph.tensor(result.name).shape
        shape = rows * self._call.capture.sequences, features
        output = np.full(shape, np.nan)
        places = result.layout.take(np.arange(output.size).reshape(shape))
        output.reshape(-1)[places.reshape(-1)] = values.reshape(-1)
        return output
