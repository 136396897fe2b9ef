"""Paged attention for a Llama-like network: the blocks of each sequence, and a prefix cache."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from onewafer.server.contract.values import Computation
from onewafer.server.values.llama import BLOCK, LlamaNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from onewafer.server.contract.values import Chunk


class BlockPool:
    """Allocates blocks, numbered from 0, and finds cached ones.

    A full block is cached under a hash of all tokens up to its end. A prompt with the same prefix
    uses the block instead of computing it. Unused blocks are evicted when their room is needed, the
    least recently used first.
    """

    def __init__(self, num_blocks: int, *, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._free = list(range(num_blocks - 1, -1, -1))
        self._num_users = [0] * num_blocks
        self._name_of_block: dict[int, bytes] = {}
        self._block_of_name: dict[bytes, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        """Cached blocks without a user, the most recently used last."""

    @property
    def num_used(self) -> int:
        """Number of blocks in use."""
        return len(self._num_users) - len(self._free) - len(self._idle)

    def find(self, prompt: Sequence[int]) -> tuple[list[int], bytes]:
        """Take the cached blocks of a prompt's prefix; return them, and the last one's hash.

        The last token of a prompt is never in them: its logits have to be computed.
        """
        found: list[int] = []
        name = b""
        size = self._block_tokens
        for start in range(0, len(prompt) - size, size):
            following = name_block(name, prompt[start : start + size])
            block = self._block_of_name.get(following)
            if block is None:
                break
            name = following
            self._num_users[block] += 1
            self._idle.pop(block, None)
            found.append(block)
        return found, name

    def take(self) -> int:
        """Take a block for new tokens."""
        if self._free:
            block = self._free.pop()
        else:
            block, _ = self._idle.popitem(last=False)
            del self._block_of_name[self._name_of_block.pop(block)]
        self._num_users[block] = 1
        return block

    def name(self, block: int, name: bytes) -> None:
        """Cache a full block, unless another one with the same tokens is cached."""
        if name not in self._block_of_name:
            self._block_of_name[name] = block
            self._name_of_block[block] = name

    def give_back(self, blocks: Sequence[int]) -> None:
        """Release a sequence's blocks."""
        for block in reversed(blocks):  # so that the end of a sequence is evicted before its prefix
            self._num_users[block] -= 1
            if self._num_users[block]:
                continue
            if block in self._name_of_block:
                self._idle[block] = None
            else:
                self._free.append(block)


def name_block(before: bytes, tokens: Sequence[int]) -> bytes:
    """Return the hash of a block, from that of the block before it and its tokens."""
    return sha256(before + b",".join(b"%d" % token for token in tokens)).digest()


@dataclass(slots=True)
class _Paged:
    """The blocks of one sequence."""

    blocks: list[int]
    name: bytes
    """The hash of the last full block."""
    rest: list[int] = field(default_factory=list[int])
    """The tokens of the last block, which is not full."""


class PagedComputation(Computation):
    """Computes sequences together on a Llama-like network, with a prefix cache."""

    def __init__(self, network: LlamaNetwork, *, num_blocks: int, keeps_prefixes: bool) -> None:
        self._network = network
        self._pool = BlockPool(num_blocks, block_tokens=BLOCK)
        self._keeps_prefixes = keeps_prefixes
        self._sequences: dict[int, _Paged] = {}
        self.most_rows = network.most_rows

    def begin(self, slot: int, prompt: Sequence[int]) -> int:
        blocks, name = self._pool.find(prompt) if self._keeps_prefixes else ([], b"")
        self._network.blocks[slot, : len(blocks)] = blocks
        self._sequences[slot] = _Paged(blocks, name)
        return len(blocks) * BLOCK

    def compute(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        for chunk in chunks:
            self._make_room(chunk)
        logits = self._network.compute(chunks)
        for chunk in chunks:
            self._remember(chunk)
        return logits

    def end(self, slot: int) -> None:
        """Release the blocks of a sequence; full ones stay in the prefix cache."""
        self._pool.give_back(self._sequences.pop(slot).blocks)

    def _make_room(self, chunk: Chunk) -> None:
        blocks = self._sequences[chunk.slot].blocks
        while len(blocks) * BLOCK < chunk.start + len(chunk.tokens):
            self._network.blocks[chunk.slot, len(blocks)] = block = self._pool.take()
            blocks.append(block)

    def _remember(self, chunk: Chunk) -> None:
        """Cache blocks that are now full."""
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
