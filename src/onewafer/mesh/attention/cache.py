"""Attention: the slots of each PE, and the keys and values that it caches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onewafer.mesh.attention import arrays
from onewafer.mesh.attention.step import (
    OF_ATTENTION,
    OF_SLOTS,
    SLOT_TABLE,
    AttentionStep,
    each_slot,
)
from onewafer.mesh.kinds import ELEMENT, Kind, Module

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Block
    from onewafer.mesh.memories import Memories

    Array = NDArray[Any]


_SHARES = Module("shares")
KV_APPEND = Module("kv_append", ELEMENT)
_SHARE = """
// Fill the table of an attention for this launch.
inline fn share(words: [*]u16, numbers: [*]u16, heads: [*]u16, rows: u16, width: u16, axis: u16,
                is_kept: u16) void {
  const b = place(1 - axis);
  const num_pes = size(1 - axis);
  const first = if (is_kept != 0) start else 0;
  const end = first + rows;
  numbers[0] = shares.slots(end, b, num_pes);
  numbers[1] = first;
  const lengths = table(words[8] + 2);
  if (is_kept != 0) {
    shares.lengths(lengths, rows, first + 1, 1, b, num_pes);
  } else {
    shares.lengths(lengths, rows, end, 0, b, num_pes);
  }
  const head_dim = words[17];
  shares.heads(heads, place(axis), width, head_dim, words[18]);
  if (words[19] != 0) heads[0] = 0; // scores are those of the PE's own heads
  entry += 3;
}
"""

_SHARE_SLOTS = """
// Fill the table of an attention for the slots of this launch.
inline fn share_slots(words: [*]u16, numbers: [*]u16, heads: [*]u16, width: u16, capacity: u16,
                      num_heads: u16, axis: u16, slot_table: u16, length_table: u16) void {
  const b = place(1 - axis);
  const num_pes = size(1 - axis);
  var first: u16 = 0;
  var end: u16 = 0; // of scores
  for (@range(u16, num_slots)) |index| {
    const slot = table(slot_table + words_of_slot * index);
    const sequence = model.slots[4 * index];
    const position = model.slots[4 * index + 1];
    const rows = model.slots[4 * index + 2];
    const slots = shares.slots(position + rows, b, num_pes);
    slot[0] = first;
    slot[1] = rows;
    slot[2] = position;
    slot[3] = 2 * width * capacity * sequence;
    slot[4] = slots;
    slot[5] = end;
    shares.lengths(table(length_table + first), rows, position + 1, 1, b, num_pes);
    first += rows;
    end += rows * num_heads * slots;
  }
  numbers[0] = end;
  shares.heads(heads, place(axis), width, words[17], words[18]);
  if (words[19] != 0) heads[0] = 0; // scores are those of the PE's own heads
  entry += 3;
}
"""


@dataclass(frozen=True, slots=True)
class Share(AttentionStep):
    """Compute the heads and slots of each PE, once a launch for all layers of one shape."""

    kinds = (
        Kind(
            61,
            "share",
            """
            share(words, numbers, heads, rows, width, axis, is_kept);
            """,
            (_SHARES,),
            (_SHARE,),
            beginning=OF_ATTENTION,
        ),
        Kind(
            72,
            "share_slots",
            """
            share_slots(words, numbers, heads, width, capacity, num_heads, axis,
                        slot_table, length_table);
            """,
            (_SHARES,),
            (SLOT_TABLE, _SHARE_SLOTS),
            beginning=OF_SLOTS,
            flags=("has_slots",),
        ),
    )

    rows: Block
    """A block whose rows are those of the launch."""

    def blocks(self) -> tuple[Block, ...]:
        return (self.rows,)

    def more(self) -> tuple[int, ...]:
        shape = self.shape
        return (shape.head_dim, shape.kv_heads * shape.head_dim, int(shape.is_apart))

    def execute_slot(self, memories: Memories) -> None:
        """Do nothing: in NumPy each step computes its heads and slots itself."""


@dataclass(frozen=True, slots=True)
class Append(AttentionStep):
    """Append the keys and values of the launch's rows to the cache, on the PE of each position."""

    kinds = (
        Kind(
            48,
            "append",
            """
            kv_append.run(cache(result, is_kept), activation(left, width), activation(right, width),
                          heads, numbers[1], rows, width, capacity,
                          place(1 - axis), size(1 - axis));
            """,
            (KV_APPEND,),
            beginning=OF_ATTENTION,
        ),
        Kind(
            73,
            "append_slots",
            each_slot(
                """
                const first = slot[0] * width;
                kv_append.run(cache(result + slot[3], 1), activation(left + first, width),
                              activation(right + first, width), heads, slot[2], slot[1], width,
                              capacity, place(1 - axis), size(1 - axis));
                """
            ),
            (KV_APPEND,),
            (SLOT_TABLE,),
            beginning=OF_SLOTS,
        ),
    )

    cache: Block
    keys: Block
    values: Block

    def blocks(self) -> tuple[Block, ...]:
        return self.cache, self.keys, self.values

    def execute_slot(self, memories: Memories) -> None:
        shape = self.shape
        cache = memories.whole(self.cache)
        keys, values = memories.matrix(self.keys), memories.matrix(self.values)
        for column in self.columns(memories):
            arrays.append(
                column.of(cache, shape.axis),
                column.of(keys, shape.axis),
                column.of(values, shape.axis),
                column.heads,
                start=shape.first(memories.launch),
                capacity=shape.capacity,
                b=column.b,
                size=len(column.b),
            )
