"""Windows over feature maps: their words in the schedule, and the branches of the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onewafer.mesh import arithmetic
from onewafer.mesh.kinds import Beginning, Module

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.graph import Window
    from onewafer.mesh.blocks import Block
    from onewafer.mesh.memories import Memories

_WORD = 0xFFFF


def window_words(window: Window, samples: int) -> tuple[int, ...]:
    """Return the schedule words of a window and the number of feature maps, for `pe.csl`."""
    maps = (samples, window.height, window.width, window.result_height, window.result_width)
    kernel = (window.kernel_height, window.kernel_width, window.stride_y, window.stride_x)
    margins = (window.top & _WORD, window.left & _WORD)
    return (*maps, *kernel, *margins, window.dilation_y, window.dilation_x)


WINDOW = Module("window")
READ_WINDOW = """
// Read the window of an operation on feature maps from the schedule.
inline fn read_window(words: [*]u16) void {
  window.set_map(words[8], words[9], words[10], words[11], words[12]);
  window.set_kernel(words[13], words[14], words[15], words[16], words[17], words[18], words[19],
                    words[20]);
  entry += 13;
}
"""
WITH_WINDOW = Beginning("operations with a window", "read_window(words);")
OF_WINDOW = Beginning("gradients of operations with a window", "read_window(words);")


@dataclass(slots=True)
class Edges:
    """The functions of `window.csl`, which count the branches that they take."""

    before: int = 0
    """Calls whose start is in front of the map."""
    behind: int = 0
    """Calls whose start is behind the map."""
    capped: int = 0
    """Calls whose end is limited by the largest index."""

    def first(self, start: int, step: int) -> int:
        """Return the first index at which `start + index · step` is not negative."""
        self.before += start < 0
        return max(0, -(start // step))

    def end(self, start: int, step: int, size: int, most: int) -> int:
        """Return the first index with `start + index · step ≥ size`, at most `most`."""
        if start >= size:
            self.behind += 1
            return 0
        end = -((start - size) // step)
        self.capped += end >= most
        return min(end, most)

    def plus(self, other: Edges, *, times: int) -> dict[str, int]:
        """Return the sums of these counts and `times` the other counts."""
        return {
            "before": self.before + times * other.before,
            "behind": self.behind + times * other.behind,
            "capped": self.capped + times * other.capped,
        }


def maps_of(memories: Memories, block: Block, window: Window) -> NDArray[Any]:
    """Return a block's rows as `[height, width, samples, pixels, columns]`."""
    samples = block.rows // window.num_pixels
    return memories.view(block, samples, window.num_pixels, block.columns)


def accumulate(
    memories: Memories, sums: NDArray[Any], left: NDArray[Any], right: NDArray[Any]
) -> NDArray[Any]:
    """Add products to f32 sums, with one rounding each."""
    if memories.is_half:  # the product of two f16 is exact in f32
        return arithmetic.add(sums, arithmetic.multiply(left, right))
    return arithmetic.fused_multiply_add(sums, left, right)
