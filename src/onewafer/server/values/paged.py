"""Sequences on a Llama-like network: which blocks of the pool each has, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.server.values.block_pool import BlockPool, name_block
from onewafer.server.values.llama import BLOCK, LlamaNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from onewafer.server.contract.computation import Chunk


@dataclass(slots=True)
class _Paged:
    """The blocks of one sequence."""

    blocks: list[int]
    name: bytes
    """The name of the last full block."""
    rest: list[int] = field(default_factory=list[int])
    """Tokens of the last block, which is not full."""


class PagedComputation:
    """Computes sequences together, and keeps their beginnings: a `Computation`."""

    def __init__(self, network: LlamaNetwork, *, num_blocks: int, keeps_prefixes: bool) -> None:
        self._network = network
        self._pool = BlockPool(num_blocks, block_tokens=BLOCK)
        self._keeps_prefixes = keeps_prefixes
        self._sequences: dict[int, _Paged] = {}

    @property
    def most_rows(self) -> int | None:
        """Tokens that one step can have."""
        return self._network.most_rows

    @property
    def simulated_cycles(self) -> int | None:
        """Cycles of a simulated wafer: this computer computes."""
        return None

    def begin(self, slot: int, prompt: Sequence[int]) -> int:
        """Begin a sequence; return how many tokens of its prompt need not be read again."""
        blocks, name = self._pool.find(prompt) if self._keeps_prefixes else ([], b"")
        self._network.blocks[slot, : len(blocks)] = blocks
        self._sequences[slot] = _Paged(blocks, name)
        return len(blocks) * BLOCK

    def compute(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """Return the logits behind the last token of each chunk that wants them."""
        for chunk in chunks:
            self._make_room(chunk)
        logits = self._network.compute(chunks)
        for chunk in chunks:
            self._remember(chunk)
        return logits

    def end(self, slot: int) -> None:
        """Forget a sequence; its full blocks stay known."""
        self._pool.give_back(self._sequences.pop(slot).blocks)

    def _make_room(self, chunk: Chunk) -> None:
        blocks = self._sequences[chunk.slot].blocks
        while len(blocks) * BLOCK < chunk.start + len(chunk.tokens):
            self._network.blocks[chunk.slot, len(blocks)] = block = self._pool.take()
            blocks.append(block)

    def _remember(self, chunk: Chunk) -> None:
        """Make blocks known that are full now."""
        if not self._keeps_prefixes:
            return
        sequence = self._sequences[chunk.slot]
        sequence.rest += chunk.tokens
        index = (chunk.start + len(chunk.tokens) - len(sequence.rest)) // BLOCK
        while len(sequence.rest) >= BLOCK:
            sequence.name = name_block(sequence.name, sequence.rest[:BLOCK])
            self._pool.name(sequence.blocks[index], sequence.name)
            del sequence.rest[:BLOCK]
            index += 1
