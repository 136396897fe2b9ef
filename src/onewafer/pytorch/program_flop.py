"""The floating point operations of a program that `torch.export` made, from shapes alone.

The wafer may compute more (padding, zeros between the groups of a convolution) or less (products of
parameters, once). What counts is what the script asks for: what the host would compute.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, cast

import torch
from torch._ops import OpOverload
from torch.fx import Node
from torch.utils import _pytree as pytree

from onewafer.pytorch.flop import counting_flop_of_shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch.export import ExportedProgram


def count_program_flop(program: ExportedProgram) -> int:
    """Return the FLOP of one run, by the formulas that count the host's."""
    return count_flop_of(program.graph.nodes)


def count_flop_of(nodes: Iterable[Node]) -> int:
    """Return the FLOP of some nodes of an exported graph."""
    found: list[int] = []
    with torch.no_grad(), counting_flop_of_shapes(found.append):
        for node in nodes:
            if node.op == "call_function" and isinstance(node.target, OpOverload):
                # What reads elements or leaves the meta device fails, and multiplies nothing.
                with suppress(Exception):
                    _run_on_shapes(node)
    return sum(found)


def _run_on_shapes(node: Node) -> None:
    operands = pytree.tree_map(_shape_of, (node.args, node.kwargs))
    args, options = cast("tuple[tuple[object, ...], dict[str, object]]", operands)
    cast("Callable[..., object]", node.target)(*args, **options)


def _shape_of(operand: object) -> object:
    """Return an operand, a tensor of its shape in place of a node's result."""
    if not isinstance(operand, Node):
        return operand
    return pytree.tree_map_only(torch.Tensor, _to_meta, operand.meta["val"])


def _to_meta(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device=torch.device("meta")
    )
