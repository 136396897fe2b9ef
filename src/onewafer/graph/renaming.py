"""Give the tensors of a graph other names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.graph.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph.tensor import Tensor


def rename(graph: Graph, names: Mapping[str, str]) -> Graph:
    """Return a graph whose tensors have other names, old name → new one; others keep theirs."""

    def tensor(old: Tensor) -> Tensor:
        return replace(old, name=names.get(old.name, old.name))

    return Graph(
        graph.name,
        tuple(map(tensor, graph.inputs)),
        tuple(map(tensor, graph.parameters)),
        tuple(operation.renamed(names) for operation in graph.operations),
        tuple(names.get(name, name) for name in graph.outputs),
        {names.get(name, name): known for name, known in graph.script_names.items()},
    )
