"""The origin of infinities and NaNs that only the wafer's results have.

In: the launches of a program. Out: a sentence, the first time that this happens.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.execution.agreement import are_finite
from onewafer.execution.executable import HostEvaluation
from onewafer.execution.sequence_rows import SequenceRows
from onewafer.graph import DataType
from onewafer.mesh import find_non_finite

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from onewafer.execution.arrays import Arrays
    from onewafer.mesh import Launch, MeshProgram, NonFinite


_ADVICE = "; leave out the option dtype, or write f32"
_LARGEST = {DataType.F16: "65,504", DataType.F32: "3.4e38"}


class NonFiniteWarning(UserWarning):
    """The wafer's result has an infinity or a NaN where the host's has none."""


@dataclass(slots=True)
class FinitenessCheck:
    """Checks the outputs of a program; searches once for the origin of an infinity or NaN."""

    program: MeshProgram
    host_stores: DataType
    """The type of the host's results: the module's own, whatever the wafer stores."""
    tell: Callable[[str], None]
    """Called with the sentence."""
    is_over: bool = False
    _parameters: dict[str, NDArray[Any]] = field(default_factory=dict[str, "NDArray[Any]"])
    _sequences: SequenceRows = field(init=False)
    """Rows that made the state of the program."""

    def __post_init__(self) -> None:
        """Begin with nothing launched."""
        self._sequences = SequenceRows(self.program)

    def send(self, parameters: Arrays) -> None:
        """Note parameters, which must not change from then on, and forget all sequences."""
        if not self.is_over:
            self._parameters |= parameters
            self._sequences = SequenceRows(self.program)

    def look(self, inputs: Arrays, launch: Launch | None, outputs: Arrays) -> None:
        """Tell the origin of the first infinity or NaN of a launch that only the wafer has.

        To be called for all launches, also those without outputs.
        """
        if self.is_over:
            return
        where = launch or self.program.whole_launch()
        self._sequences.note(inputs, launch)
        if are_finite(outputs, self.program.output_rows(where)):
            return
        found = self._look_for_origin(inputs, where)
        self.is_over = True
        self._sequences = SequenceRows(self.program)
        self._parameters.clear()
        if found is not None:
            self.tell(found)

    def _look_for_origin(self, inputs: Arrays, where: Launch) -> str | None:
        if self._is_narrower:
            for name, array in (*inputs.items(), *self._parameters.items()):
                if not np.isfinite(array).all():
                    return f"{name!r} is not finite on the wafer: {self._range}{_ADVICE}"
        launches = [*self._sequences.launches_before(where), (inputs, where)]
        graph = self.program.graph
        names = tuple(operation.result.name for operation in graph.operations)
        with_all = replace(graph, outputs=names)
        evaluation = HostEvaluation(with_all, self._parameters, self.host_stores)
        host = [evaluation.run(*launch) for launch in launches]
        found = find_non_finite(self.program, self._parameters, launches, host)
        return None if found is None else self._describe(found, host[found.launch])

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
