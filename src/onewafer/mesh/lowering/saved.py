"""Results that lowerings of a forward pass save for those of its backward pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.mesh.batch_norms import BatchStatistics
    from onewafer.mesh.blocks import Block, Layout
    from onewafer.mesh.norms.gradients import NormTotals


@dataclass(slots=True)
class SavedForBackward:
    """Blocks that backward passes read, other than results of the graph."""

    norms: dict[tuple[str, float, int, bool], NormTotals] = field(
        default_factory=dict[tuple[str, float, int, bool], "NormTotals"]
    )
    """Statistics of rows from norms, by input, epsilon, groups, and true for a LayerNorm."""
    batch_means: dict[str, Block] = field(default_factory=dict[str, "Block"])
    """Means of features over all rows, by input."""
    batch_variances: dict[str, Block] = field(default_factory=dict[str, "Block"])
    """Variances of features over all rows, by input."""
    batch_norms: dict[tuple[str, float], BatchStatistics] = field(
        default_factory=dict[tuple[str, float], "BatchStatistics"]
    )
    """Statistics of batch norms, by input and epsilon."""
    group_norms: dict[tuple[str, int, float], BatchStatistics] = field(
        default_factory=dict[tuple[str, int, float], "BatchStatistics"]
    )
    """Statistics of group norms, by input, groups and epsilon."""
    angles: dict[tuple[str, Layout, int], Block] = field(
        default_factory=dict[tuple[str, "Layout", int], "Block"]
    )
    """Sines with which gradients are rotated back, keyed as `Builder.angles`."""
    caches: dict[str, Block] = field(default_factory=dict[str, "Block"])
    """Keys and values of causal attention, by the name of its result."""
    transposed_caches: dict[str, Block] = field(default_factory=dict[str, "Block"])
    """The transposed copies of `caches`: values as keys, keys as values; or room for them."""
    carried: dict[str, tuple[Block, Block]] = field(
        default_factory=dict[str, "tuple[Block, Block]"]
    )
    """Gradients of the keys and values of earlier launches, for each of `caches`."""
    transposed_cache: Block | None = None
    """Room for one transposed cache at a time, where there is none for each attention."""
