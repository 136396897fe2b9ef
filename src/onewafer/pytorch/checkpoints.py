"""`checkpoint` inside a captured module: what is computed again does not change any value.

Dynamo writes such a call as one operation with a graph of its own. The wafer keeps what a backward
pass reads, or computes layers again where they do not fit; hence that graph is inlined at the
call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.lowering.lines import line_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch.fx import GraphModule, Node

_CHECKPOINT = torch.ops.higher_order.tag_activation_checkpoint


def inline_checkpoints(graph_module: GraphModule) -> None:
    """Inline the graphs of checkpoints in a graph of Dynamo."""
    found = [*_checkpoints(graph_module, is_reentrant=False)]
    for node in found:
        _inline(graph_module, node)
    if found:
        graph_module.graph.eliminate_dead_code()
        graph_module.recompile()
        inline_checkpoints(graph_module)  # those inside


def find_reentrant_checkpoint(graph_module: GraphModule) -> UnsupportedOperationError | None:
    """Return why a graph is for the host if parameters in it may get no gradient; else None.

    That depends on which tensors are arguments of `checkpoint`, which Dynamo does not say.
    """
    for node in _checkpoints(graph_module, is_reentrant=True):
        reason = "`checkpoint` with `use_reentrant=True` is PyTorch's own backward pass"
        return UnsupportedOperationError(reason, line_of(node))
    return None


def _checkpoints(graph_module: GraphModule, *, is_reentrant: bool) -> Iterator[Node]:
    for node in graph_module.graph.find_nodes(op="call_function", target=_CHECKPOINT):
        if (node.kwargs.get("use_reentrant") is not False) is is_reentrant:
            yield node


def _inline(graph_module: GraphModule, node: Node) -> None:
    body, *operands = cast("Sequence[Node]", node.args)
    inner = cast("GraphModule", graph_module.get_submodule(str(body.target)))
    for name, child in inner.named_children():  # those of checkpoints inside
        graph_module.add_submodule(f"{body.target}_{name}", child)
    placed = dict(zip(inner.graph.find_nodes(op="placeholder"), operands, strict=True))
    with graph_module.graph.inserting_before(node):
        results = graph_module.graph.graph_copy(inner.graph, placed)
    for name, _ in inner.named_children():
        for copied in placed.values():
            if (copied.op, copied.target) == ("get_attr", name):
                copied.target = f"{body.target}_{name}"
    for user in [*node.users]:
        index = cast("int", user.args[1])
        user.replace_all_uses_with(cast("Sequence[Node]", results)[index])
        graph_module.graph.erase_node(user)
    graph_module.graph.erase_node(node)
