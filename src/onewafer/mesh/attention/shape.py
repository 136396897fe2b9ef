"""The layout of heads, features and positions of attention, and each PE's part of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh.attention import arrays
from onewafer.mesh.blocks import HeadSegments
from onewafer.mesh.operation import Classes
from onewafer.mesh.sizes import CHUNK, MOST_STRIDE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Axis, Launch
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.program_shape import ProgramShape

    Array = NDArray[Any]

WORDS_OF_SLOT = 6
"""Words of the attention table for each slot of a launch (`step.OF_SLOTS`)."""


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """The layout of attention on the rectangle; equal layers use one object."""

    axis: Axis
    """A, the axis along which blocks of features lie."""
    num_pes: int
    """The number of PEs along A."""
    kv_heads: int
    group: int
    """Query heads for each kv head."""
    head_dim: int
    width: int
    """Features of keys on each PE; queries have `group` times as many."""
    capacity: int
    """Positions that a PE keeps."""
    is_causal: bool
    rows: int
    """Rows of the largest launch."""
    table: int
    """Offset of the attention table in the arena of tables."""
    is_apart: bool = False
    """True if every PE has only the scores of its own heads; else it has those of all heads, most
    of them −0 until they are summed. Blocks of features then end where heads end, or are whole
    parts of one head."""
    sequences: int = 1
    """Sequences with a cache of keys and values."""

    @property
    def has_slots(self) -> bool:
        """True if launches may have rows of several sequences."""
        return self.sequences > 1

    @property
    def num_heads(self) -> int:
        """Query heads."""
        return self.kv_heads * self.group

    @property
    def score_heads(self) -> int:
        """Query heads in each PE's block of scores."""
        return self.most if self.is_apart else self.num_heads

    @property
    def segments(self) -> HeadSegments | None:
        """The PEs that share one head's scores; None: each head has one PE, or all share all."""
        if not self.is_apart or self.width >= self.head_dim:
            return None
        return HeadSegments(self.axis, self.head_dim // self.width, self.kv_heads)

    @property
    def most_kv_heads(self) -> int:
        """The most kv heads with features on one PE."""
        return arrays.most_heads(
            self.num_pes,
            width=self.width,
            head_dim=self.head_dim,
            features=self.kv_heads * self.head_dim,
        )

    @property
    def most(self) -> int:
        """The most query heads with features on one PE."""
        return self.most_kv_heads * self.group

    @property
    def cache_elements(self) -> int:
        """Elements of a sequence's keys and values on each PE."""
        return 2 * self.width * self.capacity

    @property
    def totals_columns(self) -> int:
        """Columns of a row of totals: sums of weights, then weighted values."""
        return self.most + self.group * self.width

    @property
    def table_words(self) -> int:
        """Words of the attention table: header, slots of each row, heads."""
        return self._words_before + self.rows + 2 + self.most_kv_heads

    @property
    def _words_before(self) -> int:
        """Words of the attention table before the slots of each row.

        They are slots and the first position, or the scores in use and words of each sequence.
        """
        return 1 + WORDS_OF_SLOT * self.sequences if self.has_slots else 2

    @property
    def words(self) -> tuple[int, ...]:
        """The words common to all steps of the attention; a flag for a kept cache follows them."""
        heads = self.table + self._words_before + self.rows
        cache = self.width, self.capacity
        axis = self.axis.number
        return (self.table, heads, self.group, *cache, self.score_heads, self.most, axis)

    def first(self, launch: Launch) -> int:
        """Return the first row's position in the cache, or 0 without causality."""
        return launch.start if self.is_causal else 0

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the costs of the attention's steps depend on.

        `heads`, `features` and the like are those of a class of PEs; `slots`, `kept` and `attended`
        (summed over the rows) those of a place along the axis of the positions. `seeing` rows
        attend to `seen` slots each. Keys that are `kept` are copied with a stride, or feature by
        feature if the stride is too large.

        With several slots, the kinds of rows of all slots follow one another. `slot` is 1 at the
        first kind of each slot, where sizes are that count once for each slot.
        """
        return _sizes(self, program.size(self.axis.other), launch)

    def work(self, num_places: int, launch: Launch) -> dict[str, Size]:
        """Return the `sizes` of a program with `num_places` along the axis of the positions."""
        of_rows = self.row_sizes(launch.num_rows)
        if not self.has_slots:
            return of_rows | self._slot_sizes(num_places, launch)
        each = [
            {"slot": 1, "rows": part.num_rows, **self._slot_sizes(num_places, part)}
            for _, part in launch.each_slot()
        ]
        return of_rows | _join_slots(each)

    def row_sizes(self, num_rows: int) -> dict[str, Size]:
        """Return the `sizes` that depend on the number of rows alone."""
        (heads, features), _ = _local_work(self)
        lacking = (self.width - features) * self.group
        return {
            "rows": num_rows,
            "heads": heads,
            "group": self.group,
            "width": self.width,
            "features": features,
            "lacking": lacking,
            "padded": (lacking > 0).astype(np.int64),
            "capacity": self.capacity,
            "share": -(-features // np.maximum(heads, 1)),
            "present": (heads > 0).astype(np.int64),
            "num_heads": self.score_heads,
            "most": self.most,
            "totals": self.totals_columns,
        }

    def _slot_sizes(self, num_places: int, launch: Launch) -> dict[str, Size]:
        """Return the `sizes` that depend on the positions of a launch of one slot."""
        (heads, _), _ = _local_work(self)
        places = np.arange(num_places)
        start = self.first(launch)
        slots = self.slots(num_places, launch)
        kept = slots - arrays.num_slots(start, places, len(places))
        seeing, seen = self._count_rows(launch, places)
        is_near = self.capacity <= MOST_STRIDE
        elements = heads * self.group * slots
        chunks = -(-elements // CHUNK)
        return {
            "slots": slots[np.newaxis, np.newaxis],
            "used": (slots > 0).astype(np.int64)[np.newaxis, np.newaxis],
            "seeing": seeing,
            "seen": seen,
            "attended": (seeing * seen).sum(axis=0, keepdims=True),
            "kept": kept[np.newaxis, np.newaxis],
            "strided": (kept * is_near)[np.newaxis, np.newaxis],
            "single": (kept * (not is_near))[np.newaxis, np.newaxis],
            "chunks": chunks,
            "chunk": -(-elements // np.maximum(chunks, 1)),
            "cut": (elements % CHUNK > 0).astype(np.int64),
        }

    def slots(self, num_places: int, launch: Launch) -> Array:
        """Return the cached positions at each place along their axis, after the launch."""
        end = self.first(launch) + launch.num_rows
        return arrays.num_slots(end, np.arange(num_places), num_places)

    @property
    def classes(self) -> Classes:
        """The classes of PEs along A, by their heads and features."""
        return _local_work(self)[1]

    def _count_rows(self, launch: Launch, places: Array) -> tuple[Array, Array]:
        """Count the rows that attend to each number of slots, `[kinds of rows, 1, places]`.

        Rows that attend to none are not counted.
        """
        first, size = self.first(launch), len(places)
        end = first + launch.num_rows
        least = (first + 1 if self.is_causal else end) // size
        seen = np.arange(max(1, least), -(-end // size) + 1)[:, np.newaxis, np.newaxis]
        # A PE has n slots in use from the position of its n-th slot to that of the next one.
        begins = places + (seen - 1) * size
        if self.is_causal:
            seeing = np.minimum(begins + size, end) - np.maximum(begins, first)
            return np.maximum(seeing, 0), seen
        return launch.num_rows * ((begins < end) & (begins + size >= end)), seen

    def first_head(self, a: int) -> int:
        """Return the first query head with features on the PEs at `a` along A."""
        return a * self.width // self.head_dim * self.group

    def local_heads(self, a: int) -> arrays.LocalHeads:
        """Return the heads of the PEs at `a` along A."""
        features = self.kv_heads * self.head_dim
        heads = arrays.local_heads(a, width=self.width, head_dim=self.head_dim, features=features)
        return dataclasses.replace(heads, first=0) if self.is_apart else heads


_ONCE_A_SLOT = frozenset({"slot", "used", "attended", "kept", "strided", "single"})
"""Sizes that count once for each slot, not for each kind of its rows."""


def _join_slots(each: list[dict[str, Size]]) -> dict[str, Size]:
    """Join the sizes of several slots: their kinds of rows follow one another."""
    counts = [np.shape(sizes["seen"])[0] for sizes in each]
    joined: dict[str, Size] = {}
    for name in each[0]:
        parts: list[Array] = []
        for sizes, count in zip(each, counts, strict=True):
            size = np.asarray(sizes[name]) + np.zeros((1, 1, 1), np.int64)
            part = np.repeat(size, count if len(size) == 1 else 1, axis=0)
            if name in _ONCE_A_SLOT:
                part[1:] = 0
            parts.append(part)
        joined[name] = np.concatenate(parts)
    return joined


@lru_cache(maxsize=16)
def _sizes(shape: AttentionShape, num_places: int, launch: Launch) -> Mapping[str, Size]:
    """Return the sizes of all steps of one attention; cached, since each step asks for them."""
    return MappingProxyType(shape.work(num_places, launch))


@cache
def _local_work(shape: AttentionShape) -> tuple[Array, Classes]:
    """Return the numbers of local kv heads and features, `[2, 1, classes, 1]`, and the classes.

    The function is cached, since all steps of attention ask for them.
    """
    features = shape.kv_heads * shape.head_dim
    numbers = arrays.count_heads(
        shape.num_pes, width=shape.width, head_dim=shape.head_dim, features=features
    )
    distinct, classes = Classes.of(shape.axis, np.stack(numbers, axis=1))
    return distinct.T[:, np.newaxis, :, np.newaxis], classes
