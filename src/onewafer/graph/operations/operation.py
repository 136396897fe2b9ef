"""The interface of the operations of a graph, for all its readers.

Rows and features are the last two dimensions; operations that say "two-dimensional" need a tensor
that has no others. Where an operation knows positions, its rows are consecutive tokens of one
sequence: row r of a launch that begins at `start` is at position start + r.

Where an operation works on feature maps (images and the like), its rows are the pixels of one
feature map after the other, all pixels of a sample together, in reading order: sample · pixels + y
· width + x.
"""

from __future__ import annotations

import inspect
from abc import ABC
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from onewafer.graph.operations.names import ACTIVATIONS, PARAMETERS, Role, name_fields
from onewafer.graph.tensor import Tensor  # noqa: TC001  # `names` reads the annotations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from typing import Self

    Tensors = Mapping[str, Tensor]
    """The tensors of a graph by their names, or those before an operation."""


@dataclass(frozen=True, slots=True)
class Operation(ABC):
    """One step of a graph: the tensor that it defines, the names that it reads, and numbers.

    A new operation is a frozen dataclass in the file of its family, which answers the questions
    below where the usual answer is wrong for it. The annotations of its fields say what their names
    stand for (see `names`).
    """

    is_sequential: ClassVar[bool] = False
    """Whether the rows of a launch belong together, in their order."""
    has_all_rows: ClassVar[bool] = False
    """Whether its result must have all rows of a launch."""
    gives_indices: ClassVar[bool] = False
    """Whether its result is indices, not numbers."""

    result: Tensor

    @staticmethod
    def kinds() -> dict[str, type[Operation]]:
        """Return the classes of operations by their names."""
        return {kind.__name__: kind for kind in _subclasses(Operation)}

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the shape that its result has if its operands are right: that of the first one."""
        return tensors[self.activation_operands[0]].shape

    def wrong_number(self) -> str | None:
        """Return what is wrong with its numbers; None if nothing is."""
        return None

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        del tensors
        return None

    @property
    def activation_operands(self) -> tuple[str, ...]:
        """Names of the inputs and results that it reads."""
        return self._names(ACTIVATIONS)

    @property
    def index_operands(self) -> tuple[str, ...]:
        """Those of them that must be indices."""
        return self._names({Role.INDEX})

    @property
    def number_operands(self) -> tuple[str, ...]:
        """Those of them that must not be indices."""
        return self._names({Role.VALUE})

    @property
    def parameter_operands(self) -> tuple[str, ...]:
        """Names of the parameters that it reads."""
        return self._names(PARAMETERS)

    @property
    def position_tables(self) -> tuple[str, ...]:
        """Those of them that have a row for every position."""
        return self._names({Role.POSITION_TABLE})

    def renamed(self, names: Mapping[str, str]) -> Self:
        """Return it with other names of tensors, old name → new one; others stay."""
        changes = {field: _rename(getattr(self, field), names) for field in name_fields(type(self))}
        result = replace(self.result, name=names.get(self.result.name, self.result.name))
        return replace(self, result=result, **changes)

    def _names(self, roles: Collection[Role]) -> tuple[str, ...]:
        found: list[str] = []
        for field, role in name_fields(type(self)).items():
            if role in roles:
                value: str | tuple[str, ...] | None = getattr(self, field)
                found += [value] if isinstance(value, str) else value or ()
        return tuple(found)


def _rename(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401  # a field of names
    """Return a name, several, or none, after the change."""
    if isinstance(value, str):
        return names.get(value, value)
    return value and tuple(names.get(name, name) for name in value)


def _subclasses(kind: type[Operation]) -> Iterator[type[Operation]]:
    """Yield the classes that can have instances; one with slots comes after what it was made of."""
    for each in kind.__subclasses__():
        if not inspect.isabstract(each):
            yield each
        yield from _subclasses(each)
