# pyright: basic
# The type hints of torch and transformers are partial.
"""PyTorch in place of the own kernels of `onewafer serve`, for `measure_host_values`.

Decoders of transformers compute many rows at a time, each as if it were alone.

A row is one token of one sequence. The layers are those of transformers; rows only meet in the keys
and values of their own sequence. No bit of a row depends on its neighbours, their number, or the
number of threads:

* oneDNN adds the products of a row in an order that depends on the weight alone, from two rows on;
* everything else is computed by one thread, in whole registers;
* a row attends to whole blocks of its own sequence, whatever was read beside it.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from onewafer.server.contract.values import Chunk

BLOCK: Final = 32
"""Tokens whose keys and values lie together."""
_MOST_ROWS: Final = 256
_PAIR: Final = 2
"""A single row is computed in another order: PyTorch gets an even number of rows."""
_ATTENTION: Final = "onewafer-rows"


class _Place(NamedTuple):
    """Where a row is: the blocks of its sequence in the pool, and its position."""

    blocks: NDArray[np.int64]
    position: int


@dataclass(frozen=True, slots=True)
class _Group:
    """Neighbouring rows of one sequence that see the same blocks."""

    rows: slice
    blocks: torch.Tensor
    """[blocks]: their places in the pool."""
    mask: torch.Tensor
    """[rows, 1, 1, blocks · BLOCK]: 0, or -inf for keys that a row does not see."""


class _Step:
    """Rows on their way through the layers."""

    def __init__(
        self, pool: Sequence[tuple[torch.Tensor, torch.Tensor]], places: Sequence[_Place]
    ) -> None:
        self._pool = pool
        self._places = places
        self._new = torch.tensor(
            [blocks[position // BLOCK] * BLOCK + position % BLOCK for blocks, position in places]
        )
        self._groups: dict[int | None, list[_Group]] = {}

    def attend(
        self,
        layer: int,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        *,
        scale: float,
        window: int | None,
    ) -> torch.Tensor:
        """Keep keys and values ([rows, key heads, width]); return what queries see, as they are."""
        pool = self._pool[layer]
        for part, new in zip(pool, (keys, values), strict=True):
            part.flatten(0, 1).index_copy_(0, self._new, new)
        num_heads, width = keys.shape[1:]
        grouped = queries.view(len(queries), num_heads, -1, width)
        attended = torch.empty_like(grouped)
        if window not in self._groups:
            self._groups[window] = list(_groups(self._places, window))
        for group in self._groups[window]:
            seen = (_gather(part, group) for part in pool)
            attended[group.rows] = scaled_dot_product_attention(
                grouped[group.rows], *seen, attn_mask=group.mask, scale=scale
            )
        return attended.view_as(queries)


def _groups(places: Sequence[_Place], window: int | None) -> Iterator[_Group]:
    """Yield the rows that see the same blocks, in a layer that looks back as far as its window."""
    firsts = [0 if window is None else max(0, p.position - window + 1) for p in places]
    spans = [
        (id(place.blocks), first // BLOCK, place.position // BLOCK + 1)
        for place, first in zip(places, firsts, strict=True)
    ]
    start = 0
    for (_, begin, end), members in groupby(spans):
        rows = slice(start, start := start + len(list(members)))
        positions = torch.arange(begin * BLOCK, end * BLOCK)
        least = torch.tensor(firsts[rows])[:, None]
        most = torch.tensor([place.position for place in places[rows]])[:, None]
        is_seen = (positions >= least) & (positions <= most)
        mask = torch.where(is_seen, 0.0, -torch.inf)[:, None, None]
        yield _Group(rows, torch.from_numpy(places[rows.start].blocks[begin:end]), mask)


def _gather(pool: torch.Tensor, group: _Group) -> torch.Tensor:
    """Return the keys or values that a group sees: [rows, key heads, tokens, width]."""
    seen = pool.index_select(0, group.blocks).flatten(0, 1).transpose(0, 1)
    return seen.expand(len(group.mask), *seen.shape)


def _attend_rows(
    module: Any,  # noqa: ANN401  # of transformers
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: torch.Tensor | None,
    *,
    scaling: float,
    step: _Step,
    sliding_window: int | None = None,
    **_options: object,
) -> tuple[torch.Tensor, None]:
    """Attend from each row to its own sequence: an attention function of transformers.

    Tensors are [rows, heads, 1, width], the result is [rows, 1, heads, width].
    """
    new = (tensor[:, :, 0] for tensor in (query, key, value))
    attended = step.attend(module.layer_idx, *new, scale=scaling, window=sliding_window)
    return attended[:, None], None


AttentionInterface.register(_ATTENTION, _attend_rows)


class _PackedLinear(nn.Module):
    """A linear layer by oneDNN, with the weight as it wants it, on all threads."""

    def __init__(self, linear: nn.Linear, num_threads: int) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, _MOST_ROWS)  # noqa: SLF001
        self._bias = linear.bias
        self._num_threads = num_threads

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the rows times the weight."""
        multiply = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001  # as compiled models call it
        with _threads(self._num_threads):
            return multiply(rows, self._weight, self._bias, "none", [], "")


class RowNetwork:
    """Computes rows of tokens, with the keys and values of earlier ones in a pool of blocks."""

    def __init__(
        self,
        module: Any,  # noqa: ANN401  # of transformers
        *,
        num_slots: int,
        num_blocks: int,
        context_length: int,
        num_threads: int,
    ) -> None:
        shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
        self._module = copy.deepcopy(module, shared)
        self._module.config._attn_implementation = _ATTENTION  # noqa: SLF001  # no public setter keeps a name of ours
        for parent in list(self._module.modules()):
            for name, child in parent.named_children():
                if type(child) is nn.Linear:
                    setattr(parent, name, _PackedLinear(child, num_threads))
        config, attention = module.config, module.model.layers[0].self_attn
        shape = (BLOCK, config.num_key_value_heads, attention.head_dim)
        # Pages of the pool that no token has used take no memory. The last block is that
        # of rows that nothing reads.
        pool = torch.zeros(config.num_hidden_layers, 2, num_blocks + 1, *shape)
        self._pool = [(keys, values) for keys, values in pool]
        self._spare = _Place(np.array([num_blocks]), 0)
        self.blocks = np.zeros((num_slots, -(-context_length // BLOCK)), np.int64)
        """Where the blocks of each slot are in the pool."""

    @property
    def most_rows(self) -> int:
        """Rows that one step can have."""
        return _MOST_ROWS

    def compute(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """Return the logits behind the last token of each chunk that wants them."""
        tokens = [token for chunk in chunks for token in chunk.tokens]
        places = [
            _Place(self.blocks[chunk.slot], chunk.start + index)
            for chunk in chunks
            for index in range(len(chunk.tokens))
        ]
        ends = np.cumsum([len(chunk.tokens) for chunk in chunks]) - 1
        wanted = [end for chunk, end in zip(chunks, ends, strict=True) if chunk.wants_logits]
        missing = len(tokens) % _PAIR
        with torch.inference_mode(), _threads(1):
            hidden = self._advance(tokens + [0] * missing, places + [self._spare] * missing)
            rows = hidden[wanted + wanted[-1:] * (len(wanted) % _PAIR)]
            return self._module.lm_head(rows)[: len(wanted)].numpy()

    def _advance(self, tokens: Sequence[int], places: Sequence[_Place]) -> torch.Tensor:
        """Return what the last layer makes of rows: [rows, width]."""
        positions = torch.tensor([place.position for place in places])
        answer = self._module.model(
            input_ids=torch.tensor(tokens)[:, None],
            position_ids=positions[:, None],
            use_cache=False,
            step=_Step(self._pool, places),
        )
        return answer.last_hidden_state[:, 0]


@contextmanager
def _threads(num_threads: int) -> Generator[None]:
    """Let PyTorch have so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
