"""Find the first number on the wafer that is not finite although the host's is.

In: a program, the launches up to such a number, and the host's values for each. Out: the graph
operation and the PE. The NumPy reader repeats the launches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.graph import DataType, Linear
from onewafer.mesh.blocks import Arena
from onewafer.mesh.reference import MeshEvaluator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Launch
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program import MeshProgram

    Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class NonFinite:
    """An infinity or a NaN on the wafer whose counterpart on the host is finite."""

    launch: int
    """The index of the launch."""
    operation: int
    """The index of the graph operation."""
    x: int
    y: int
    value: float


def find_non_finite(
    program: MeshProgram,
    parameters: Arrays,
    launches: Sequence[tuple[Arrays, Launch]],
    host: Sequence[Arrays],
) -> NonFinite | None:
    """Return the first number on the wafer that is not finite although the host's are.

    The launches (inputs, place in the sequence) begin at the start of the sequence; `host` has the
    results of all graph operations for each launch. Raises HostError as `MeshEvaluator` does.
    """
    evaluator, watch = MeshEvaluator(program, parameters), _Watch(program)
    with np.errstate(all="ignore"):
        for number, ((inputs, launch), results) in enumerate(zip(launches, host, strict=True)):
            watch.begin(number, results)
            evaluator.run(inputs, launch, after_step=watch.look)
            if watch.found is not None:
                return watch.found
    return None


def _results_of(program: MeshProgram, index: int) -> list[str]:
    """Return the results of an operation's steps, which several linear layers may share."""
    operations, with_steps = program.graph.operations, set(program.sources)
    first = operations[index]
    if not isinstance(first, Linear):
        return [first.result.name]
    return [first.result.name] + [
        other.result.name
        for at, other in enumerate(operations)
        if at not in with_steps and isinstance(other, Linear) and other.input == first.input
    ]


class _Watch:
    """Observer of the activations of all PEs after each graph operation."""

    def __init__(self, program: MeshProgram) -> None:
        self.found: NonFinite | None = None
        self._program = program
        self._launch = 0
        self._host: Arrays = {}
        self._before: NDArray[np.bool_] | None = None
        """True for numbers that were not finite before the operation."""

    def begin(self, launch: int, host: Arrays) -> None:
        """Begin the next launch, with the host's results for it."""
        self._launch, self._host = launch, host

    def look(self, step: int, memories: Memories) -> None:
        """Record the first new number that is not finite."""
        sources = self._program.sources
        is_last = step + 1 == len(sources) or sources[step + 1] != sources[step]
        if self.found is not None or not is_last:
            return
        operation = self._program.graph.operations[sources[step]]
        activations = memories.arena(Arena.ACTIVATIONS)
        is_bad = ~np.isfinite(activations)
        is_new = is_bad if self._before is None else is_bad & ~self._before
        self._before = is_bad
        if operation.result.dtype is DataType.I32:
            return  # a search marks found elements with −∞
        results = _results_of(self._program, sources[step])
        if is_new.any() and all(np.isfinite(self._host[name]).all() for name in results):
            y, x, element = np.argwhere(is_new)[0].tolist()
            value = float(activations[y, x, element])
            self.found = NonFinite(self._launch, sources[step], x, y, value)
