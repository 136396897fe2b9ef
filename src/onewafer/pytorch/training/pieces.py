"""Parameters of a script as those of a program, which may be views of them: thirds, or transposed.

The wafer steps whole parameters only, whose pieces have each element once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from onewafer.pytorch.arrays import to_numpy, to_tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onewafer.execution import Arrays


@dataclass(frozen=True, slots=True)
class Piece:
    """A parameter of a program: some elements of one of the script's."""

    name: str
    """The name in the program."""
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    """Elements in memory from the first one of the script's parameter on."""

    def view(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return these elements of a tensor that lies in memory as the script's parameter does."""
        offset = tensor.storage_offset() + self.offset
        return tensor.detach().as_strided(self.size, self.stride, offset)


@dataclass(frozen=True, slots=True)
class Cut:
    """The pieces of one parameter of a script, which have each of its elements once."""

    stride: tuple[int, ...]
    """The strides of the parameter."""
    pieces: tuple[Piece, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the pieces."""
        return tuple(piece.name for piece in self.pieces)

    def arrays(self, tensor: torch.Tensor) -> Arrays:
        """Return the pieces of a tensor of the parameter's shape, by their names."""
        like = tensor if tensor.stride() == self.stride else self._empty_like(tensor).copy_(tensor)
        return {piece.name: to_numpy(piece.view(like)) for piece in self.pieces}

    def write(self, tensor: torch.Tensor, arrays: Arrays) -> None:
        """Write the pieces, by their names, into a tensor of the parameter's shape."""
        like = tensor if tensor.stride() == self.stride else self._empty_like(tensor)
        for piece in self.pieces:
            piece.view(like).copy_(to_tensor(arrays[piece.name]))
        if like is not tensor:
            tensor.copy_(like)

    def _empty_like(self, tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty_strided(tensor.shape, self.stride, dtype=tensor.dtype)


def find_cuts(bound: Mapping[str, torch.Tensor]) -> dict[torch.Tensor, Cut]:
    """Return the cut of each parameter of a script, given the parameters of a program by name.

    Parameters of which the program has only some elements, or tensors computed from them, are left
    out.
    """
    found: defaultdict[torch.Tensor, list[Piece]] = defaultdict(list)
    for name, tensor in bound.items():
        leaf = _leaf_of(tensor)
        if leaf is not None:
            offset = int(tensor.storage_offset() - leaf.storage_offset())
            found[leaf].append(Piece(name, (*tensor.shape,), tensor.stride(), offset))
    cuts = {leaf: _choose((*leaf.shape,), leaf.stride(), (*all_,)) for leaf, all_ in found.items()}
    return {leaf: Cut(leaf.stride(), pieces) for leaf, pieces in cuts.items() if pieces}


def names_of(cuts: Iterable[Cut]) -> tuple[str, ...]:
    """Return the names of all pieces, one parameter's after the other's."""
    return tuple(name for cut in cuts for name in cut.names)


def _leaf_of(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return the parameter that a tensor is or is a view of; None: it is computed, or frozen."""
    base = tensor if tensor.is_leaf else tensor._base  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public name
    return base if base is not None and base.is_leaf and base.requires_grad else None


@lru_cache(maxsize=4096)
def _choose(
    shape: tuple[int, ...], stride: tuple[int, ...], pieces: tuple[Piece, ...]
) -> tuple[Piece, ...]:
    """Return pieces that have each element of a parameter once; none if there are no such."""
    for piece in pieces:
        if not piece.offset and _dimensions(shape, stride) == _dimensions(piece.size, piece.stride):
            return (piece,)
    is_taken = torch.zeros(shape, dtype=torch.bool)
    if is_taken.stride() != stride:
        return ()
    for piece in pieces:
        view = piece.view(is_taken)
        if view.any():
            return ()
        view.fill_(value=True)
    return pieces if is_taken.all() else ()


def _dimensions(size: tuple[int, ...], stride: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return sizes with their strides, in no order that matters: a transposed tensor is whole."""
    return sorted(pair for pair in zip(size, stride, strict=True) if pair[0] != 1)
