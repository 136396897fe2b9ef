"""The signature of a call, which tells calls of a module apart without running its code."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, cast

import torch
from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from collections.abc import Mapping

CallSignature = Hashable
"""The key that tells calls of a module apart; compared, never read."""


def signature_of(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> CallSignature:
    """Return the signature of a call: shapes and types of its arguments, modes of its modules."""
    leaves, structure = pytree.tree_flatten((args, dict(kwargs)))
    shapes = tuple(
        (leaf.dtype, leaf.shape) if isinstance(leaf, torch.Tensor) else type(leaf)
        for leaf in cast("list[object]", leaves)
    )
    # Dynamo trusts that `forward` of a class of PyTorch is not replaced.
    states = tuple(
        (inner.training, type(inner).forward, *map(type, vars(inner)["_parameters"].values()))
        for inner in module.modules()
    )
    return shapes, str(structure), states
