"""The KV cache: slots, each with the tokens of one sequence.

A sequence leaves its tokens in the slot when it ends. A later one with the same prefix continues
after it: a prefix cache without copies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(slots=True, eq=False)
class Slot:
    """The KV cache of one sequence."""

    replica: int
    order: int
    """Its index in the replica."""
    content: Sequence[int] = ()
    """The cached tokens."""
    reserved: int = 0
    """The most tokens that its sequence can have."""
    last_used: int = 0

    def common(self, prompt: Sequence[int]) -> int:
        """Return the number of a prompt's cached tokens; its last one is always computed."""
        return common_prefix(self.content, prompt, most=len(prompt) - 1)


@dataclass(slots=True)
class Slots:
    """The slots of all replicas."""

    replicas: int
    num_slots: int
    """The slots of each replica."""
    room_tokens: int
    """The most tokens of each replica's KV cache."""
    _free: list[dict[int, Slot]] = field(default_factory=list[dict[int, Slot]])
    """For each replica, order → free slot, the least recently used first."""
    _reserved: list[int] = field(default_factory=list[int])
    num_taken: int = 0
    """Number of slots in use."""
    _clock: int = 0
    """A counter of uses, for the least recently used order."""

    def __post_init__(self) -> None:
        """Make all slots, free."""
        self._reserved = [0] * self.replicas
        self._free = [
            {order: Slot(replica, order) for order in range(self.num_slots)}
            for replica in range(self.replicas)
        ]

    @property
    def num_free(self) -> int:
        """Number of free slots."""
        return self.replicas * self.num_slots - self.num_taken

    @property
    def fraction_in_use(self) -> float:
        """The reserved share of the KV cache, 0 to 1."""
        return sum(self._reserved) / (self.replicas * self.room_tokens)

    def take(self, prompt: Sequence[int], *, reserved: int) -> tuple[Slot, int] | None:
        """Take a slot for `reserved` tokens, and count its cached tokens; None: there is no room.

        The slot has the longest prefix of the prompt; of equal ones, the emptiest replica, then the
        least recently used one is chosen.
        """
        found = [
            _with_most(free.values(), prompt)
            for free, taken in zip(self._free, self._reserved, strict=True)
            if free and taken + reserved <= self.room_tokens
        ]
        if not found:
            return None
        best, most = min(found, key=self._preference)
        del self._free[best.replica][best.order]
        best.reserved = reserved
        self.num_taken += 1
        self._reserved[best.replica] += reserved
        self._touch(best)
        return best, most

    def _preference(self, found: tuple[Slot, int]) -> tuple[int, int, int, int]:
        slot, common = found
        return -common, self._reserved[slot.replica], slot.last_used, slot.order

    def release(self, slot: Slot, content: Sequence[int]) -> None:
        """Free a slot, in which the tokens `content` stay cached."""
        self._reserved[slot.replica] -= slot.reserved
        self.num_taken -= 1
        slot.reserved, slot.content = 0, content
        self._free[slot.replica][slot.order] = slot
        self._touch(slot)

    def _touch(self, slot: Slot) -> None:
        self._clock += 1
        slot.last_used = self._clock


def _with_most(slots: Iterable[Slot], prompt: Sequence[int]) -> tuple[Slot, int]:
    """Return the first slot with the longest prefix of a prompt, and its length.

    For speed, most slots are ruled out by comparing one token.
    """
    remaining = iter(slots)
    best = next(remaining)
    most, last = best.common(prompt), len(prompt) - 1
    for slot in remaining:
        content = slot.content
        if most < last and most < len(content) and content[most] == prompt[most]:
            common = slot.common(prompt)
            best, most = (slot, common) if common > most else (best, most)
    return best, most


def common_prefix(first: Sequence[int], second: Sequence[int], *, most: int) -> int:
    """Return the length of the common prefix of two sequences, at most `most`.

    >>> common_prefix([1, 2, 3, 4], [1, 2, 9], most=3)
    2
    """
    low, high = 0, min(len(first), len(second), most)
    if high <= 0 or first[0] != second[0]:
        return 0
    while low < high:  # invariant: equal up to `low`; comparing slices is fast
        middle = (low + high + 1) // 2
        if tuple(first[low:middle]) == tuple(second[low:middle]):
            low = middle
        else:
            high = middle - 1
    return low
