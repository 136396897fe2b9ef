"""Names of modules in messages and reports: those that their user knows.

A graph that Dynamo made of a function or of a `forward` is a module, too, of a class that no user
has written. Its name is that of the function or of the module's class.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import torch

from onewafer.pytorch.places import nodes_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KEY = "onewafer.name"
"""Entry of a graph module's `meta`."""
_OUTERMOST = re.compile(r'File "([^"]*)", line (\d+), in (\S+)')
_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def name_of_module(module: torch.nn.Module) -> str:
    """Return the class of a module, or what a graph was made of."""
    if isinstance(module, torch.fx.GraphModule) and _KEY in module.meta:
        return module.meta[_KEY]
    return type(module).__name__


def name_graph(graph_module: torch.fx.GraphModule) -> None:
    """Give a graph that Dynamo made the name of what it was made of, if that is known."""
    name = next(_names(graph_module), None)
    if name is not None:
        graph_module.meta[_KEY] = name


def _names(graph_module: torch.fx.GraphModule) -> Iterator[str]:
    """Yield the names that operations give: of the outermost code, or of the outermost module."""
    for node in graph_module.graph.nodes:
        found = _OUTERMOST.search(node.meta.get("stack_trace") or "")
        if found is not None:
            file, line, function = found.groups()
            yield _enclosing_class(file, int(line)) or function
        stack: Mapping[str, tuple[str, type]] = node.meta.get("nn_module_stack") or {}
        for _, kind in stack.values():
            yield kind.__name__
            break


def _enclosing_class(file: str, line: int) -> str | None:
    """Return the class of the method that a line is in; None: it is in no method."""
    around = [
        node
        for node in nodes_of(file)
        if isinstance(node, _Definition) and node.lineno <= line <= (node.end_lineno or line)
    ]
    around.sort(key=lambda definition: definition.lineno)
    outer = around[-2:-1]
    return outer[0].name if outer and isinstance(outer[0], ast.ClassDef) else None
