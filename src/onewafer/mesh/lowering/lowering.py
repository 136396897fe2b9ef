"""The interface of a lowering: how one class of graph operations becomes mesh operations."""

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
    """The lowering of one class of graph operations; a member of its family's `LOWERINGS`."""

    works_in_place = False
    """True if the result may overwrite the block of a dead operand."""
    bounded_types: ClassVar[tuple[DataType, ...]] = ()
    """Result types for which `bound` returns an error bound."""

    @abstractmethod
    def relate(self, operation: OperationType, relations: Relations) -> None:
        """Relate the layouts of operands and result, before layouts are chosen."""

    def prepare(self, operation: OperationType, builder: Builder) -> None:
        """Append steps that are needed once a launch, before the graph's first operation."""
        del operation, builder

    def scalars(self, operation: OperationType) -> tuple[str, ...]:
        """Return the operands that are one number, which every PE needs."""
        del operation
        return ()

    def pair(self, operation: OperationType) -> tuple[str, str] | None:
        """Return the two operands of equal shape that one DSD operation reads, or None."""
        del operation
        return None

    @abstractmethod
    def lower(self, operation: OperationType, builder: Builder) -> None:
        """Place parameters and the result, and append the mesh operations."""

    def bound(self, operation: OperationType, distances: Distances) -> Bounded | None:
        """Return the exact result with its error bound; None: no bound is known."""
        del operation, distances
        return None


class AlikeLowering(Lowering[OperationType]):
    """A lowering whose operands and result share one layout."""

    def relate(self, operation: OperationType, relations: Relations) -> None:
        """Give all tensors one layout."""
        for name in operation.activation_operands:
            relations.join(name, operation.result.name)


class DerivativeLowering(Lowering[DerivativeType]):
    """A gradient times a derivative, in place of an operand that is not read again."""

    works_in_place = True

    def relate(self, operation: DerivativeType, relations: Relations) -> None:
        """Give all tensors one layout, the gradient only if no other relation forbids it."""
        relations.order_alike(operation.value, operation.gradient)
        relations.join(operation.value, operation.result.name)
