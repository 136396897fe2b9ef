"""Blocks of keys and values: who uses them, and which hold a beginning that may come again.

A full block is known by the tokens up to its end. A prompt that begins with the same tokens takes
the block instead of computing it. A block that no sequence uses stays until its place is needed;
the one that was not used for the longest time goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class BlockPool:
    """Numbers of blocks, from 0 to `num_blocks`."""

    def __init__(self, num_blocks: int, *, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._free = list(range(num_blocks - 1, -1, -1))
        self._num_users = [0] * num_blocks
        self._name_of_block: dict[int, bytes] = {}
        self._block_of_name: dict[bytes, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        """Known blocks without a user, the one that was used last at the end."""

    @property
    def num_used(self) -> int:
        """Blocks that a sequence uses."""
        return len(self._num_users) - len(self._free) - len(self._idle)

    def find(self, prompt: Sequence[int]) -> tuple[list[int], bytes]:
        """Return the known blocks that a prompt begins with, now in use, and the last one's name.

        The last token of a prompt is never in them: what follows it has to be computed.
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
        """Return a block for new tokens."""
        if self._free:
            block = self._free.pop()
        else:
            block, _ = self._idle.popitem(last=False)
            del self._block_of_name[self._name_of_block.pop(block)]
        self._num_users[block] = 1
        return block

    def name(self, block: int, name: bytes) -> None:
        """Make a full block known, unless another one has the same tokens."""
        if name not in self._block_of_name:
            self._block_of_name[name] = block
            self._name_of_block[block] = name

    def give_back(self, blocks: Sequence[int]) -> None:
        """End a sequence's use of its blocks."""
        for block in reversed(blocks):  # the end of a sequence is of less use than its beginning
            self._num_users[block] -= 1
            if self._num_users[block]:
                continue
            if block in self._name_of_block:
                self._idle[block] = None
            else:
                self._free.append(block)


def name_block(before: bytes, tokens: Sequence[int]) -> bytes:
    """Return the name of a block, from that of the block before it and its tokens."""
    return sha256(before + b",".join(b"%d" % token for token in tokens)).digest()
