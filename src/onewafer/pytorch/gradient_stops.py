"""Where the code of a module stops a gradient: a graph of operations does not say it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.lowering.lines import line_of

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

_SET_GRAD = vars(sys.modules["torch._C"])["_set_grad_enabled"]  # no public name
_DETACHES = {"detach", "detach_", torch.detach, torch.detach_, torch.Tensor.detach}


def find_gradient_stop(graph_module: GraphModule) -> UnsupportedOperationError | None:
    """Return why a graph of Dynamo keeps a gradient from flowing back; None if it does not.

    A gradient stops at `detach`, and in what is computed under `no_grad` from what has one.
    """
    is_enabled, has_gradient = True, set["Node"]()
    for node in graph_module.graph.nodes:
        if node.op == "placeholder":
            value = node.meta.get("example_value")
            if isinstance(value, torch.Tensor) and value.requires_grad:
                has_gradient.add(node)
        elif node.target is _SET_GRAD:
            is_enabled = bool(cast("bool", node.args[0]))
        elif not has_gradient.isdisjoint(node.all_input_nodes) and node.op != "output":
            if node.target in _DETACHES:
                return _stopped_by("detach", node)
            if not is_enabled:
                return _stopped_by("no_grad", node)
            has_gradient.add(node)
    return None


def _stopped_by(name: str, node: Node) -> UnsupportedOperationError:
    return UnsupportedOperationError(f"`{name}` stops a gradient inside the module", line_of(node))
