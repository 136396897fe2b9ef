"""Cut a graph into a mesh program: `graph` → `mesh`.

Three decisions are made here and nowhere else: how each tensor lies (`orientation`), where each
block sits in PE memory (`lowering.builder`: first fit over the lifetimes of activations, in the
banks that `lowering.phases` chooses; element-wise operations work in place where their operand
dies), and the order of the operations (the graph's, each lowered by its class in `lowering`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.graph import verify_graph
from onewafer.mesh.lowering import Builder
from onewafer.mesh.orientation import choose_layouts

if TYPE_CHECKING:
    from onewafer.arch import Architecture
    from onewafer.graph import Graph
    from onewafer.mesh.program import MeshProgram


def shard(graph: Graph, *, width: int, height: int, architecture: Architecture) -> MeshProgram:
    """Return the mesh program of a graph on a rectangle of PEs.

    Raises GraphError for a graph that is not well formed, UnsupportedOperationError for one with an
    operation that the mesh has no form of, ConfigurationError for a rectangle that the wafer has no
    room for. Whether the program fits into the memory of a PE is for `verify` to say.
    """
    verify_graph(graph)
    _check_rectangle(width, height, architecture)
    builder = Builder(graph, width, height, choose_layouts(graph, width, height))
    builder.prepare()
    for operation in graph.operations:
        builder.lower(operation)
    return builder.build()


def largest_rectangle(architecture: Architecture) -> tuple[int, int]:
    """Return the (width, height) of the PEs that memcpy leaves to a program."""
    width = architecture.fabric_width - architecture.margin_west - architecture.margin_east
    height = architecture.fabric_height - architecture.margin_north - architecture.margin_south
    return width, height


def _check_rectangle(width: int, height: int, architecture: Architecture) -> None:
    widest, highest = largest_rectangle(architecture)
    if not (1 <= width <= widest and 1 <= height <= highest):
        raise ConfigurationError(
            f"a rectangle of {width}×{height} PEs is not available on {architecture.title}: "
            f"width must be 1–{widest}, height 1–{highest}"
        )
