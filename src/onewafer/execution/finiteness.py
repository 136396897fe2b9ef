"""Infinities and NaNs that the wafer gives and the host would not: where they come from.

In: the launches of a program. Out: a sentence, the first time that this happens.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.graph import DataType, Evaluator
from onewafer.mesh import find_non_finite, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from onewafer.execution.arrays import Arrays
    from onewafer.mesh import Launch, MeshProgram, NonFinite


_ADVICE = "; leave out the option dtype, or write f32"
_LARGEST = {DataType.F16: "65,504", DataType.F32: "3.4e38"}


class NonFiniteWarning(UserWarning):
    """The wafer's result has an infinity or a NaN where the host's has none."""


@dataclass(slots=True)
class FinitenessCheck:
    """Looks at outputs of a program; asks at most once where something comes from."""

    program: MeshProgram
    host_stores: DataType
    """The type of the host's results: the module's own, whatever the wafer stores."""
    tell: Callable[[str], None]
    """Gets the sentence."""
    is_over: bool = False
    _parameters: dict[str, NDArray[Any]] = field(default_factory=dict[str, "NDArray[Any]"])
    _launches: list[tuple[Arrays, Launch]] = field(default_factory=list["tuple[Arrays, Launch]"])
    """Launches that made the state of the program, the last one included."""

    def send(self, parameters: Arrays) -> None:
        """Note parameters, which must not change from then on, and forget the sequence."""
        if not self.is_over:
            self._parameters |= parameters
            self._launches.clear()

    def note(self, inputs: Arrays, launch: Launch | None) -> None:
        """Note a launch, which `look` may follow: it overwrites the positions that it begins at."""
        if not self.is_over:
            where = launch or self.program.whole_launch()
            while self._launches and self._launches[-1][1].start >= where.start:
                self._launches.pop()
            self._launches.append((inputs, where))

    def look(self, outputs: Arrays) -> None:
        """Tell where the first number of the last launch comes from that only the wafer has."""
        if self.is_over:
            return
        inputs, where = self._launches[-1]
        if self._is_finite(outputs, where):
            return
        found = self._look_for_origin(inputs)
        self.is_over = True
        self._launches.clear()
        self._parameters.clear()
        if found is not None:
            self.tell(found)

    def _look_for_origin(self, inputs: Arrays) -> str | None:
        if self._is_narrower:
            for name, array in (*inputs.items(), *self._parameters.items()):
                if not np.isfinite(array).all():
                    return f"{name!r} is not finite on the wafer: {self._range}{_ADVICE}"
        host = self._run_on_host()
        found = find_non_finite(self.program, self._parameters, self._launches, host)
        return None if found is None else self._describe(found, host[found.launch])

    def _is_finite(self, outputs: Arrays, launch: Launch) -> bool:
        rows = launch.num_rows if self.program.sequence_rows else None
        return all(bool(np.isfinite(array[:rows]).all()) for array in outputs.values())

    def _run_on_host(self) -> Sequence[Arrays]:
        """Return the results of all operations, for each launch."""
        graph = self.program.graph
        names = tuple(operation.result.name for operation in graph.operations)
        evaluator = Evaluator(
            replace(graph, outputs=names),
            self._parameters,
            dtype=np.float32,
            stored_as=numpy_dtype(self.host_stores),
        )
        is_sequence = self.program.sequence_rows is not None
        with np.errstate(all="ignore"):
            return [
                evaluator.run(inputs, where.start, where.num_rows if is_sequence else None)
                for inputs, where in self._launches
            ]

    def _describe(self, found: NonFinite, host: Arrays) -> str:
        operation = self.program.graph.operations[found.operation]
        name = operation.result.name
        what = "NaN" if np.isnan(found.value) else "an infinity"
        parameters = operation.parameter_operands
        reads = f" with {parameters[0]}" if parameters else ""
        return (
            f"{what} arises on the wafer first in {type(operation).__name__}{reads} "
            f"(result {name!r}), at PE ({found.x}, {found.y}); on the host, which stores "
            f"{self.host_stores}, no result there is larger than {np.abs(host[name]).max():.5g}; "
            f"{self._range}{_ADVICE if self._is_narrower else ''}"
        )

    @property
    def _is_narrower(self) -> bool:
        return self.program.dtype is DataType.F16 and self.host_stores is not DataType.F16

    @property
    def _range(self) -> str:
        return f"{self.program.dtype} holds numbers up to {_LARGEST[self.program.dtype]}"
