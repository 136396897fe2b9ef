"""The extent of a refusal: one call, calls with the same masks, or parts of the module.

In: an exported graph in which the wafer refuses an operation. Out: an error, with the modules that
call an operation that the wafer does not have. As parts they would be refused for it, too: they
need no capture of their own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from onewafer.errors import Refusal, SourceLine, UnsupportedOperationError
from onewafer.pytorch.lowering import find_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from torch.fx import Graph, Node

    from onewafer.pytorch.lowering import Decision, Operands

_PATH_OF_DYNAMO = re.compile(r"L\['module'\]\.?")
"""The beginning of a module's path in graphs that Dynamo made."""
NO_PRODUCTS = Refusal("it multiplies no matrices: nothing is compiled for it")
"""The reason to leave a graph without FLOP to the host."""


class OutsideTableError(UnsupportedOperationError):
    """A refusal for the elements of one call's tensors, which says nothing of other calls."""


class SurroundingsError(UnsupportedOperationError):
    """A refusal for what surrounds a call, which holds for every call made inside it, too."""


class RefusedError(UnsupportedOperationError):
    """A refusal of a graph for some elements of its masks, whether it is trained or not."""

    def __init__(
        self,
        reason: str,
        place: SourceLine | None = None,
        *,
        decided: tuple[Decision, ...] = (),
        parts: Mapping[str, Refusal] | None = None,
    ) -> None:
        super().__init__(reason, place)
        self._decided = decided
        self.parts = parts or {}
        """Path of a module inside → the operation of it that the wafer does not have."""

    def holds_for(self, leaves: Sequence[object]) -> bool:
        """Tell whether a call with these leaves would be refused for the same reason."""
        return are_unchanged(self._decided, leaves)

    def again(self) -> Self:
        """Return a new error of the same kind, with the same parts."""
        return type(self)(
            self.refusal.reason, self.refusal.place, decided=self._decided, parts=self.parts
        )


def are_unchanged(decided: Sequence[Decision], leaves: Sequence[object]) -> bool:
    """Tell whether a call with these leaves has the elements that a graph was specialised for."""
    known: dict[int, torch.Tensor] = {}
    return all(decision.holds(leaves, known) for decision in decided)


def find_refused_parts(graph: Graph, operands: Mapping[Node, Operands]) -> Mapping[str, Refusal]:
    """Return the modules that call an operation that the wafer does not have, by their paths."""
    found: dict[str, Refusal] = {}
    for node, refusal in find_unknown(graph, operands):
        stack: Mapping[str, tuple[str, object]] = node.meta.get("nn_module_stack", {})
        for name, _ in stack.values():
            found.setdefault(_PATH_OF_DYNAMO.sub("", name, count=1), refusal)
    found.pop("", None)  # the module that was called
    return found
