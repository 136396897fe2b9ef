"""A backward pass under construction, to which the gradient rules of operations add operations.

In: the tensors of a graph, and those that need a gradient. Each operation that a rule adds computes
one term of an operand's gradient. The gradient of a tensor is the sum of its terms, which is
complete once the rules of all operations that read the tensor have run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from onewafer.errors import GraphError
from onewafer.graph.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


class _Defines(Protocol):
    """An operation that defines a tensor."""

    @property
    def result(self) -> Tensor: ...


Fields = ParamSpec("Fields")
Step = TypeVar("Step", bound=_Defines)


class BackwardPass(Generic[Step]):
    """The operations of a backward pass, from the last operation of a graph to its first."""

    def __init__(self, tensors: Iterable[Tensor], needed: Collection[str]) -> None:
        """Take the tensors of a graph, and the names of those whose gradient is needed."""
        self._tensors = {tensor.name: tensor for tensor in tensors}
        self._dtype = next(t.dtype for t in self._tensors.values() if t.is_floating)
        self._needed = frozenset(needed)
        self._parts: dict[str, list[str]] = {}
        self.operations: list[Step] = []
        """In the order of execution; they read tensors of the graph and of each other."""

    def needs(self, name: str) -> bool:
        """Tell whether the gradient of a tensor is needed."""
        return name in self._needed

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor of the graph or of the backward pass."""
        return self._tensors[name].shape

    def compute(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: Callable[Concatenate[Tensor, Fields], Step],
        *fields: Fields.args,
        **numbers: Fields.kwargs,
    ) -> str:
        """Add an operation with a result of this shape, and return the result's name.

        The name is `name`, followed by a number if it is taken.
        """
        taken = name
        count = 1
        while taken in self._tensors:
            count += 1
            taken = f"{name}.{count}"
        result = Tensor(taken, shape, self._dtype)
        self._tensors[taken] = result
        self.operations.append(kind(result, *fields, **numbers))
        return taken

    def give(
        self,
        name: str,
        kind: Callable[Concatenate[Tensor, Fields], Step],
        *fields: Fields.args,
        **numbers: Fields.kwargs,
    ) -> None:
        """Add an operation that computes a term of an operand's gradient, if it needs one."""
        if self.needs(name):
            gradient = f"{name}.gradient"
            part = self.compute(gradient, self.shape(name), kind, *fields, **numbers)
            self.pass_on(name, part)

    def pass_on(self, name: str, gradient: str) -> None:
        """Add an existing tensor as a term of an operand's gradient, if it needs one."""
        if self.needs(name):
            self._parts.setdefault(name, []).append(gradient)

    def refuse(self, operation: Step, name: str, why: str) -> None:
        """Raise GraphError if an operand needs a gradient for which there is no rule."""
        if self.needs(name):
            where = f"{type(operation).__name__} that defines {operation.result.name!r}"
            error = GraphError(f"{where}: the gradient of {name!r} is not supported, {why}")
            error.result = operation.result.name
            raise error

    def take(self, name: str) -> list[str]:
        """Return and remove the terms of a tensor's gradient."""
        return self._parts.pop(name, [])
