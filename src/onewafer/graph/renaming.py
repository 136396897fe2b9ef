"""Give the tensors of a graph other names."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar, cast

from onewafer.graph.graph import Graph
from onewafer.graph.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph.operations import Operation

_Value = TypeVar("_Value")


def rename(graph: Graph, names: Mapping[str, str]) -> Graph:
    """Return a graph whose tensors have other names, old name → new one; others keep theirs."""

    def tensor(old: Tensor) -> Tensor:
        return replace(old, name=names.get(old.name, old.name))

    return Graph(
        graph.name,
        tuple(map(tensor, graph.inputs)),
        tuple(map(tensor, graph.parameters)),
        tuple(rename_operation(operation, names) for operation in graph.operations),
        tuple(names.get(name, name) for name in graph.outputs),
    )


def rename_operation(operation: Operation, names: Mapping[str, str]) -> Operation:
    """Return an operation whose operands and result have other names, old name → new one."""

    def renamed(value: _Value) -> _Value:
        match value:
            case Tensor():
                return cast("_Value", replace(value, name=names.get(value.name, value.name)))
            case str() if value in names and type(value) is str:
                return cast("_Value", names[value])
            case tuple():
                return cast(
                    "_Value", tuple(renamed(item) for item in cast("tuple[object, ...]", value))
                )
            case _:
                return value

    return replace(
        operation, **{f.name: renamed(getattr(operation, f.name)) for f in fields(operation)}
    )
