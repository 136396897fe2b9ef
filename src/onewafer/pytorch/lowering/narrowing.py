"""Operations that compute only some features: the others are left out, not computed and dropped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch
from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Add,
    AddBias,
    Linear,
    Multiply,
    OfElement,
    Operation,
    Scale,
)
from onewafer.pytorch.lowering.nouns import noun_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.graph import Tensor


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Some features of a tensor."""

    result: Tensor
    """The tensor that has only them."""
    part: Callable[[str], str]
    """Name of an input or result → name of the one that has only these features."""
    stored: Callable[[str], str]
    """Name of a parameter with a row or number per feature → name of that for these features."""


@singledispatch
def narrow(operation: Operation, to: Narrowing) -> Operation:
    """Return an operation that computes only some features of the result of another."""
    del to
    msg = f"taking a part of the features that {noun_of(operation)} gives is not supported"
    raise UnsupportedOperationError(msg)


@narrow.register(Linear)
def _(operation: Linear, to: Narrowing) -> Linear:
    return replace(operation, result=to.result, weight=to.stored(operation.weight))


@narrow.register(Add | AddBias | Multiply | OfElement | Scale)
def _(operation: Operation, to: Narrowing) -> Operation:
    """Each feature follows from the same feature of the operands."""
    names = {name: to.part(name) for name in operation.activation_operands}
    names |= {name: to.stored(name) for name in operation.parameter_operands}
    return replace(operation.renamed(names), result=to.result)
