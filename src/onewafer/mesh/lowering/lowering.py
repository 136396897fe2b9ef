"""The interface of a lowering of one kind of graph operation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

from onewafer.graph import ActivationGradient, Operation, ReluGradient, SoftplusGradient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph import DataType
    from onewafer.mesh.distances import Bounded, Distances
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations

OperationType = TypeVar("OperationType", bound=Operation)
DerivativeType = TypeVar(
    "DerivativeType", bound=ReluGradient | ActivationGradient | SoftplusGradient
)
Lowerings: TypeAlias = "Mapping[type[Operation], Lowering[Any]]"
"""The lowerings of a family, by the class of the graph operation."""


class Lowering(ABC, Generic[OperationType]):
    """How one kind of graph operation becomes mesh operations; a member of `LOWERINGS`."""

    works_in_place = False
    """True if the result may overwrite the block of a dead operand."""
    bounded_types: ClassVar[tuple[DataType, ...]] = ()
    """Types of results for which `bound` has an answer."""

    @abstractmethod
    def relate(self, operation: OperationType, relations: Relations) -> None:
        """Say how the layouts of operands and result depend on one another."""

    def operands(self, operation: OperationType) -> tuple[str, ...]:
        """Return the inputs and results that the operation reads."""
        return operation.activation_operands

    def prepare(self, operation: OperationType, builder: Builder) -> None:
        """Append what is to be done once a launch, before the first operation of the graph."""
        del operation, builder

    def scalars(self, operation: OperationType) -> tuple[str, ...]:
        """Return the inputs of one number that every PE needs."""
        del operation
        return ()

    def pair(self, operation: OperationType) -> tuple[str, str] | None:
        """Return the operands of equal shape that one DSD operation reads, if there are two."""
        del operation
        return None

    @abstractmethod
    def lower(self, operation: OperationType, builder: Builder) -> None:
        """Place what the operation needs and append its mesh operations."""

    def bound(self, operation: OperationType, distances: Distances) -> Bounded | None:
        """Return the exact result and its largest distance from it; None: no bound is known."""
        del operation, distances
        return None


class AlikeLowering(Lowering[OperationType]):
    """An operation whose operands and result lie alike."""

    def relate(self, operation: OperationType, relations: Relations) -> None:
        """Give all tensors one layout."""
        for name in self.operands(operation):
            relations.join(name, operation.result.name)


class DerivativeLowering(Lowering[DerivativeType]):
    """A gradient times the derivative at a value, in place if an operand is not read again."""

    works_in_place = True

    def relate(self, operation: DerivativeType, relations: Relations) -> None:
        """Let all tensors have one layout, the gradient only if no other relation forbids it."""
        relations.order_alike(operation.value, operation.gradient)
        relations.join(operation.value, operation.result.name)
