"""Masks, and biases by position and head, that are added to the scores of an attention.

A graph knows attention to all rows, causal attention, and attention with a bias. Which of them a
model needs depends on the elements of its masks, and is decided again for every call; the elements
of a bias are a parameter like others, so that all masks of a kind share one program.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import torch

from onewafer.errors import UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.pytorch.lowering.operands import External, Scores
    from onewafer.pytorch.lowering.writer import GraphWriter

HIDES = {torch.float32: -1e30, torch.float16: -6e4}
"""Format → a mask element below this hides a key: its exponential is 0."""


_RANK = 4
"""Dimensions of scores: sequences, heads, rows, keys."""


class Visibility(IntEnum):
    """The effect of all masks that are added to attention scores."""

    ALL = 0
    """Each query sees all keys."""
    CAUSAL = 1
    """Exactly the later keys are hidden."""
    BIASED = 2
    """Anything else that leaves each query a key."""
    NOTHING = 3
    """All keys of a query are hidden, or an element is NaN or ∞."""


def read_masks(writer: GraphWriter, scores: Scores) -> tuple[Visibility, External | None]:
    """Return the effect of masks on scores, and their sum as a bias where it is `BIASED`.

    The bias has shape (rows · heads, keys), once or for each sequence, and is added before scores
    are scaled.
    """
    if not scores.masks:
        return Visibility.ALL, None
    _, heads, rows, _ = scores.query.shape
    keys = scores.key.shape[2]
    name = "__and__".join(mask.name for mask in scores.masks)
    kind = writer.tensor(f"{name}__kind", _visibility, [*scores.masks], rows, keys)
    visibility = Visibility(int(writer.decide(kind)))
    if visibility is Visibility.NOTHING:
        raise UnsupportedOperationError(
            "the attention mask hides all keys from a query, or has NaN or ∞"
        )
    if visibility is not Visibility.BIASED:
        return visibility, None
    if writer.for_counts:
        hides = writer.tensor(f"{name}__hides", _hides_later, [*scores.masks], rows, keys)
        if bool(writer.decide(hides)):  # other elements hardly matter beside a cache
            return Visibility.CAUSAL, None
    bias = writer.tensor(
        f"{name}__bias", _bias, [*scores.masks], (heads, rows, keys), scores.scale, writer.format
    )
    return visibility, bias


def read_table(writer: GraphWriter, scores: Scores, *, may_hide: bool) -> External | None:
    """Return the sum of masks as a table to add to scaled scores; None: it is zero.

    It broadcasts to (sequences, heads, rows, keys). Hidden keys have a large negative number; they
    are refused unless `may_hide`.
    """
    if read_masks(writer, scores)[0] is Visibility.ALL:
        return None
    name = "__and__".join(mask.name for mask in scores.masks)
    hides = writer.tensor(f"{name}__hides", _hides, [*scores.masks])
    if not may_hide and bool(writer.decide(hides)):
        raise UnsupportedOperationError(
            "attention scores with a mask of -inf are supported only in a softmax"
        )
    return writer.tensor(f"{name}__table", _table, [*scores.masks], writer.format)


def _hides(masks: Sequence[torch.Tensor]) -> torch.Tensor:
    """Tell, as a tensor, whether masks hide a key."""
    total = _sum(masks)
    return (total < HIDES[total.dtype]).any()


def _table(masks: Sequence[torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    """Return the sum of some masks without infinities."""
    total = _sum(masks).float().clamp(min=HIDES[dtype])
    return total.reshape(*(1,) * (_RANK - total.dim()), *total.shape).to(dtype)


def _visibility(masks: Sequence[torch.Tensor], rows: int, keys: int) -> torch.Tensor:
    """Return the `Visibility` of the sum of some masks, as a tensor."""
    total = _sum(masks)
    total = total.expand(*total.shape[:-2], rows, keys)
    is_hidden = total < HIDES[total.dtype]
    has_infinite_rows = (total == -torch.inf).all(-1).any()
    if has_infinite_rows or not (total < torch.inf).all():
        return torch.tensor(Visibility.NOTHING)
    if (total[~is_hidden] != 0).any():
        return torch.tensor(Visibility.BIASED)
    if not is_hidden.any():
        return torch.tensor(Visibility.ALL)
    is_later = torch.ones(rows, keys, dtype=torch.bool, device=total.device).triu(1)
    is_causal = rows == keys and bool((is_hidden == is_later).all())
    return torch.tensor(Visibility.CAUSAL if is_causal else Visibility.BIASED)


def _hides_later(masks: Sequence[torch.Tensor], rows: int, keys: int) -> torch.Tensor:
    """Tell, as a tensor, whether masks hide exactly the later keys."""
    total = _sum(masks)
    is_hidden = total.expand(*total.shape[:-2], rows, keys) < HIDES[total.dtype]
    is_later = torch.ones(rows, keys, dtype=torch.bool, device=total.device).triu(1)
    return torch.tensor(rows == keys and bool((is_hidden == is_later).all()))


def _bias(
    masks: Sequence[torch.Tensor],
    shape: tuple[int, int, int],
    scale: float,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Return the sum of some masks over a scale, without infinities.

    Its shape is (sequences · rows · heads, keys), with one sequence if the masks are alike for all.
    """
    heads, rows, keys = shape
    total = (_sum(masks).float() / scale).clamp(min=HIDES[dtype])
    leading = (1,) * (_RANK - total.dim()) + total.shape[:-2]
    by_head = total.reshape(*leading, *total.shape[-2:]).expand(-1, heads, rows, keys)
    return by_head.transpose(1, 2).reshape(-1, keys).to(dtype)


def _sum(masks: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return what some masks add to scores; boolean ones are true where a key is seen."""
    numbers = [
        torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -torch.inf)
        if mask.dtype is torch.bool
        else mask
        for mask in masks
    ]
    total = numbers[0]
    for more in numbers[1:]:
        total = total + more
    return total.reshape(*(1,) * (2 - total.dim()), *total.shape)
