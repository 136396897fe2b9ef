"""Calls of modules as launches of a loaded program.

A call is launches of its program's bucket; parameters are written again where they have changed.
Values come from the wafer, or from the host beside launches that are accounted for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.execution import Phase, convert
from onewafer.graph import NUM_SEEDS, SEEDS, num_samples
from onewafer.pytorch.arrays import to_numpy
from onewafer.pytorch.host_outputs import HostOutputs
from onewafer.pytorch.tracing import leaving_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from numpy.typing import NDArray

    from onewafer.execution import Arrays, Launched, ResidentProgram
    from onewafer.graph import Graph
    from onewafer.mesh import Launch
    from onewafer.pytorch.captured import Capture, CapturedCall


@dataclass(frozen=True, slots=True)
class _Made:
    """A launch that was made."""

    launched: Launched
    samples: int
    """The call's samples in it, which come first; others are padding."""

    def outputs(self, size: int) -> Arrays:
        """Return the outputs of these samples; the launch has room for `size`."""
        arrays = self.launched.outputs
        if self.samples == size:
            return dict(arrays)
        return {name: a[: len(a) // size * self.samples] for name, a in arrays.items()}


class ModuleProgram:
    """A loaded program with the parameters of a module."""

    def __init__(
        self,
        loaded: ResidentProgram,
        *,
        graph: Graph | None = None,
        launch: Launch | None = None,
        ones: Collection[str] = (),
        cut: Capture | None = None,
    ) -> None:
        """Take a program; if it does more than compute a `graph`, the `launch` that does.

        `ones` are the inputs that calls do not have, as factors of dropouts: they are 1. Calls are
        `cut` where a launch has only some rows of a sequence.
        """
        self._loaded, self._ones, self._cut = loaded, ones, cut
        self.graph = graph or loaded.graph
        """The graph, with the rows of its bucket."""
        whole = loaded.record.program.whole_launch() if self.graph.is_sequence else None
        self._launch = launch or whole

    def run(self, call: CapturedCall, on_host: Callable[[], object]) -> object:
        """Return the module's result; `on_host` computes it on the host."""
        loaded, host, result = self._loaded, None, None
        call = call if self._cut is None else replace(call, capture=self._cut)
        if loaded.leaves_values_to_host:
            result = on_host()
            host = HostOutputs(call, result).samples
        with leaving_turn(), loaded.alone():
            made = [*self._launch_all(call, host)]
        rows, flop = count_samples(call), call.capture.flop
        loaded.count_call(Phase.BATCH, [one.launched for one in made], rows=rows, flop=flop)
        if host is not None:
            return result
        chunks = [one.outputs(num_samples(self.graph)) for one in made]
        outputs = {n: np.concatenate([c[n] for c in chunks]) for n in chunks[0]}
        return call.restore(call.join(outputs))

    def _filled(self) -> Arrays:
        """Return the inputs that calls do not have."""
        tensors = map(self.graph.tensor, self._ones)
        ones = {tensor.name: np.ones(tensor.shape, np.float32) for tensor in tensors}
        return ones | ({SEEDS: np.zeros((1, NUM_SEEDS), np.int32)} if self._draws else {})

    @cached_property
    def _draws(self) -> bool:
        """True if its program draws the factors of dropouts, except in an evaluation."""
        return any(operation.draw is not None for operation in self.graph.operations)

    def _launch_from(self, start: int) -> Launch | None:
        """Return the launch of rows from a position of their sequence on."""
        launch = self._launch
        if launch is None:
            return None
        if self._draws:
            launch = replace(launch, is_evaluation=True)
        if not start:
            return launch
        return replace(launch, slots=tuple(replace(slot, position=start) for slot in launch.slots))

    def _launch_all(
        self, call: CapturedCall, host: Callable[[int, int], Arrays] | None
    ) -> Iterator[_Made]:
        """Make the launches of a call.

        `host` returns so many samples of the host's outputs from a first one on.
        """
        first = 0
        for part in call.split():
            self._loaded.keep({name: to_numpy(t) for name, t in part.parameters.items()})
            for bucket in cut_into_buckets(part, self.graph):
                start, count = first + bucket.samples.start, len(bucket.samples)
                samples = None if host is None else partial(host, start, count)
                inputs = {**bucket.inputs, **self._filled()}
                launch = self._launch_from(part.start)
                yield _Made(self._loaded.launch(inputs, launch, host=samples), count)
            first += num_samples(part.graph)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The samples of one launch."""

    samples: range
    """Their indices among the samples of the call."""
    inputs: Arrays
    """Inputs with the rows of the bucket, which are 0 behind the samples."""


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
    return call.samples
