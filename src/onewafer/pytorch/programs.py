"""Calls of modules as launches of a loaded program.

A call is launches of its program's bucket; parameters are written again where they have changed.
Values come from the wafer, or from the host beside launches that are accounted for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.execution import Phase, convert
from onewafer.graph import num_samples
from onewafer.pytorch.arrays import to_numpy
from onewafer.pytorch.host_outputs import HostOutputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from onewafer.execution import Arrays, ResidentProgram
    from onewafer.graph import Graph
    from onewafer.pytorch.capture import CapturedCall


class ModuleProgram:
    """A loaded program with the parameters of a module."""

    def __init__(self, loaded: ResidentProgram) -> None:
        self._loaded = loaded

    @property
    def graph(self) -> Graph:
        """What it computes, with the rows of its bucket."""
        return self._loaded.graph

    def run(self, call: CapturedCall, on_host: Callable[[], object]) -> object:
        """Return the module's result; `on_host` computes it there."""
        if self._loaded.leaves_values_to_host:
            result = on_host()
            for _ in self._launch_all(call, HostOutputs(call, result).samples):
                pass
        else:
            chunks = [*self._launch_all(call, None)]
            names = chunks[0].keys()
            result = call.restore({n: np.concatenate([c[n] for c in chunks]) for n in names})
        self._loaded.count_call(Phase.BATCH, count_samples(call), call.capture.flop)
        return result

    def _launch_all(
        self, call: CapturedCall, host: Callable[[int, int], Arrays] | None
    ) -> Iterator[Arrays]:
        """Make the launches of a call; yield what the wafer has computed of each one's samples.

        `host` returns so many samples of the host's outputs from a first one on.
        """
        program = self._loaded.record.program
        launch = program.whole_launch() if self.graph.is_sequence else None
        first, size = 0, num_samples(self.graph)
        for part in call.split():
            self._loaded.keep({name: to_numpy(t) for name, t in part.parameters.items()})
            for bucket in cut_into_buckets(part, self.graph):
                start, count = first + bucket.samples.start, len(bucket.samples)
                samples = None if host is None else partial(host, start, count)
                outputs = self._loaded.launch(bucket.inputs, launch, host=samples).outputs
                yield {name: a[: len(a) // size * count] for name, a in outputs.items()}
            first += num_samples(part.graph)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The samples of one launch."""

    samples: range
    """Their indices among the samples of the call."""
    inputs: Arrays
    """With the rows of the bucket, those behind the samples 0."""


def cut_into_buckets(call: CapturedCall, graph: Graph) -> Iterator[Bucket]:
    """Yield the samples of a call launch by launch; a sequence is one, with all its rows."""
    inputs = {t.name: convert(to_numpy(call.inputs[t.name]), t.dtype) for t in call.graph.inputs}
    total, size = num_samples(call.graph), num_samples(graph)

    def cut(array: NDArray[Any], samples: range) -> NDArray[Any]:
        rows = len(array) // total
        part = array[samples.start * rows : samples.stop * rows]
        return np.pad(part, ((0, size * rows - len(part)), (0, 0)))

    for start in range(0, total, size):
        samples = range(start, min(start + size, total))
        yield Bucket(samples, {name: cut(array, samples) for name, array in inputs.items()})


def count_samples(call: CapturedCall) -> int:
    """Return the samples of a call: rows of sequences, else rows or maps of the batch."""
    if call.graph.is_sequence:
        return call.rows * call.capture.sequences
    return num_samples(call.graph)
