"""Operations on feature maps: windows of taps over pixels, all of which each PE has."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.graph import DataType
from onewafer.mesh import arithmetic
from onewafer.mesh.banks import bank, count_shared, row_banks
from onewafer.mesh.elementwise.vectors import FACTORS
from onewafer.mesh.entry import float_words
from onewafer.mesh.kinds import ELEMENT, Beginning, Kind, Module
from onewafer.mesh.operation import NO_CONFLICTS, Conflicts, MeshOperation
from onewafer.mesh.sizes import block_entry, block_sizes, in_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.graph import Window
    from onewafer.mesh.blocks import Axis, Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

_WORD = 0xFFFF


def window_words(window: Window, samples: int) -> tuple[int, ...]:
    """Return a window and the number of feature maps as `pe.csl` reads them."""
    maps = (samples, window.height, window.width, window.result_height, window.result_width)
    kernel = (window.kernel_height, window.kernel_width, window.stride_y, window.stride_x)
    margins = (window.top & _WORD, window.left & _WORD)
    return (*maps, *kernel, *margins, window.dilation_y, window.dilation_x)


_WINDOW = Module("window")
_POOL = Module("pool", f"{ELEMENT}, .window = window", (_WINDOW,))
_READ_WINDOW = """
// Read the window of an operation on feature maps from the schedule.
inline fn read_window(words: [*]u16) void {
  window.set_map(words[8], words[9], words[10], words[11], words[12]);
  window.set_kernel(words[13], words[14], words[15], words[16], words[17], words[18], words[19],
                    words[20]);
  entry += 13;
}
"""
_WITH_WINDOW = Beginning("operations with a window", "read_window(words);")


@dataclass(frozen=True, slots=True)
class Convolve(MeshOperation):
    """Multiply the rows at the taps of a window by a weight each, a partial sum.

    `result[p, c] = Σₜ Σₖ input[tap t of p, k] · weight[t, k, c]` over the taps inside the feature
    map: the sum starts at +0 and takes taps, and k for each, in ascending order, one rounding a
    term, as that of `Matmul` does. Columns that pad the last blocks are +0. Of a kernel whose taps
    are not neighbours in a line of the feature map, the columns are added one by one, an operation
    for each.
    """

    kinds = (
        Kind(
            41,
            "convolve",
            """
            const operand = @ptrcast([*]element, &model.activations[left]);
            const axis = words[21];
            const after = size(axis) - 1 - place(axis);
            const line = words[22];
            const adds = words[23];
            entry += 3;
            const places = window.samples * window.result_height * window.result_width;
            convolve.run(sums(result, places * columns), parameter(right, columns), operand,
                         columns, inner, line, adds, fixed, after);
            """,
            (Module("convolve", f"{ELEMENT}, .window = window", (_WINDOW,)),),
            (_READ_WINDOW,),
            beginning=_WITH_WINDOW,
        ),
    )

    result: Block
    """f32, rows of all maps."""
    input: Block
    weight: Block
    """The columns of the input for each tap of the whole kernel, one tap after the other."""
    window: Window
    axis: Axis
    """The axis over which the columns of the result are blocked."""
    features: int
    """Columns of the result over all PEs, without padding."""
    column: int | None = None
    """The only column of the kernel that is used, added to the result unless it is column 0; None:
    all columns, which are neighbours."""

    @property
    def samples(self) -> int:
        """Feature maps."""
        return self.input.rows // self.window.num_pixels

    @property
    def part(self) -> Window:
        """The window of the taps that are taken."""
        window = self.window
        if self.column is None:
            return window
        shift = self.column * window.dilation_x
        return replace(
            window,
            kernel_width=1,
            left=window.left - shift,
            right=window.right - window.dilation_x * (window.kernel_width - 1) + shift,
            dilation_x=1,
        )

    @property
    def taps(self) -> range:
        """The taps of the whole kernel that are taken."""
        if self.column is None:
            return range(self.window.num_taps)
        return range(self.column, self.window.num_taps, self.window.kernel_width)

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        inner, columns = self.input.columns, self.result.columns
        first = self.weight.offset + self.taps.start * inner * columns
        return block_entry(
            program,
            self.kind,
            self.result,
            self.input,
            replace(self.weight, offset=first),
            n=program.size(self.axis) * columns - self.features,
            inner=inner,
            more=(
                *window_words(self.part, self.samples),
                self.axis.number,
                self.window.kernel_width * inner,
                int(bool(self.column)),
            ),
        )

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        inner, columns = self.input.columns, self.result.columns
        maps = _maps(memories, self.input, self.window).astype(np.float32)
        weights = memories.view(self.weight, self.window.num_taps, inner, columns)
        weights = weights.astype(np.float32)
        shape = (*maps.shape[:3], self.window.num_result_pixels, columns)
        sums = np.zeros(shape, np.float32)
        if self.column:
            sums[...] = memories.matrix(self.result).reshape(shape)
        for tap, sources in zip(self.taps, self.part.sources().T, strict=True):
            (pixels,) = np.nonzero(sources >= 0)
            rows, partial = maps[..., sources[pixels], :], sums[..., pixels, :]
            for k in range(inner):
                column = rows[..., k, np.newaxis]
                row = weights[:, :, np.newaxis, np.newaxis, tap, k]
                partial = _accumulate(memories, partial, column, row)
            sums[..., pixels, :] = partial
        first = memories.at(self.axis)[..., np.newaxis, np.newaxis] * columns
        is_feature = (first + np.arange(columns) < self.features)[..., np.newaxis, :]
        memories.write(self.result, np.where(is_feature, sums, np.float32(0.0)))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on; PEs with padding are through earlier.

        The kernel has `begun` if a pixel may have a tap in the feature map: then it goes through
        the `height` and the `pixels` that may, `lines` of their taps inside the feature map and
        their `steps`.
        """
        part, samples = self.part, self.samples
        taps = (part.kernel_height, part.kernel_width)
        is_tap = part.sources().reshape(part.result_height, part.result_width, *taps) >= 0
        edges, edges_of_lines = _Edges(), _Edges()
        below = part.dilation_y * (part.kernel_height - 1) - part.top
        first_y = edges.first(below, part.stride_y)
        end_y = edges.end(-part.top, part.stride_y, part.height, part.result_height)
        first_x = edges.first(part.kernel_width - 1 - part.left, part.stride_x)
        end_x = edges.end(-part.left, part.stride_x, part.width, part.result_width)
        begun = int(end_y > first_y and end_x > first_x)
        height, width = begun * (end_y - first_y), begun * (end_x - first_x)
        for line in range(first_y, first_y + height):
            y = line * part.stride_y - part.top
            edges_of_lines.first(y, part.dilation_y)
            edges_of_lines.end(y, part.dilation_y, part.height, part.kernel_height)
        return {
            **block_sizes(program, self.result, launch),
            **edges.plus(edges_of_lines, times=samples),
            "begun": begun,
            "samples": samples * begun,
            "height": samples * height,
            "pixels": samples * height * width,
            "lines": samples * int(is_tap.any(axis=3).sum()),
            "steps": samples * int(is_tap.sum()) * self.input.columns,
        }

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the multiply-adds: one for each pixel, tap inside the map and row of its weight.

        In f16, the two sources advance differently.
        """
        del launch
        if program.dtype is DataType.F16:
            return NO_CONFLICTS
        inner, columns = self.input.columns, self.result.columns
        weights = np.zeros((len(self.taps), 4), np.int64)
        for index, tap in enumerate(self.taps):
            first = self.weight.offset + tap * inner * columns
            rows = row_banks(replace(self.weight, offset=first), inner, program.dtype)
            weights[index, [*rows]] = [*rows.values()]
        is_tap = np.tile(self.part.sources() >= 0, (self.samples, 1))
        pixels = self.result.offset + np.arange(len(is_tap)) * columns
        count = (is_tap @ weights)[np.arange(len(is_tap)), bank(pixels, program.dtype)].sum()
        return Conflicts(int(count), "fmacs", columns)


@dataclass(slots=True)
class _Edges:
    """The functions of `window.csl`, with a count for each branch."""

    before: int = 0
    """Began in front of the map."""
    behind: int = 0
    """Began behind it."""
    capped: int = 0
    """Ended with the last index that there is, or later."""

    def first(self, start: int, step: int) -> int:
        """Return the first index at which `start` + index · step is not negative."""
        self.before += start < 0
        return max(0, -(start // step))

    def end(self, start: int, step: int, size: int, most: int) -> int:
        """Return the first index up to `most` at which that is `size` or more, else `most`."""
        if start >= size:
            self.behind += 1
            return 0
        end = -((start - size) // step)
        self.capped += end >= most
        return min(end, most)

    def plus(self, other: _Edges, *, times: int) -> dict[str, int]:
        """Return the sums of these numbers and `times` the other ones."""
        return {
            "before": self.before + times * other.before,
            "behind": self.behind + times * other.behind,
            "capped": self.capped + times * other.capped,
        }


class _Pool(MeshOperation):
    """An operation on each feature by itself, in strips of pixels of a line."""

    __slots__ = ()

    result: Block
    input: Block
    window: Window

    @property
    def samples(self) -> int:
        """Feature maps."""
        return self.input.rows // self.window.num_pixels

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on.

        Of the `taps`, `met` reach a line of the result and `reached` a pixel; `passes` are these
        over all feature maps, `lines` those of the result that they reach, `strip` the pixels of a
        line that they reach on average.
        """
        window, samples = self.window, self.samples
        is_tap = self._taps_by_line()
        lines = samples * int(is_tap.any(axis=2).sum())
        edges, edges_of_rows, met = _Edges(), _Edges(), 0
        for i in range(window.kernel_height):
            y = i * window.dilation_y - window.top
            first = edges.first(y, window.stride_y)
            end = edges.end(y, window.stride_y, window.height, window.result_height)
            met += window.kernel_width * (end > first)
        for j in range(window.kernel_width):
            x = j * window.dilation_x - window.left
            edges_of_rows.first(x, window.stride_x)
            edges_of_rows.end(x, window.stride_x, window.width, window.result_width)
        reached = int(is_tap.any(axis=(1, 2)).sum())
        return {
            **block_sizes(program, self.result, launch),
            **edges.plus(edges_of_rows, times=window.kernel_height),
            "step": window.stride_x * self.result.columns,
            "kernel_height": window.kernel_height,
            "taps": window.num_taps,
            "met": met,
            "reached": reached,
            "passes": samples * reached,
            "lines": lines,
            "strip": -(-samples * int(is_tap.sum()) // max(lines, 1)),
        }

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the strips that begin in the same banks in the result and in the input.

        Where pixels are left out, or the result has other elements, they advance differently.
        """
        kind = self.dsd_operation(program.dtype)
        if self.window.stride_x > 1 or kind == "fmachs":
            return NO_CONFLICTS
        is_tap = self._taps_by_line()
        taps, lines = np.nonzero(is_tap.any(axis=2))
        first = is_tap.argmax(axis=2)[taps, lines]
        pixels = lines * self.window.result_width + first
        sources = self.window.sources()[pixels, taps]
        maps = np.arange(self.samples)[:, np.newaxis]
        features = np.arange(self.result.columns)
        begins = [
            block.offset + (maps * size + rows)[..., np.newaxis] * self.result.columns + features
            for block, size, rows in (
                (self.result, self.window.num_result_pixels, pixels),
                (self.input, self.window.num_pixels, sources),
            )
        ]
        left, right = (bank(begin, program.dtype) for begin in begins)
        strip = self.sizes(program, launch)["strip"]
        return Conflicts(int((left == right).sum()), kind, strip)

    @abstractmethod
    def dsd_operation(self, dtype: DataType) -> str:
        """Return the lower-case name of its DSD operation."""

    def _taps_by_line(self) -> NDArray[np.bool_]:
        """Return which pixels each tap reaches: `[taps, lines of the result, pixels]`."""
        window = self.window
        is_tap = (window.sources() >= 0).T
        return is_tap.reshape(window.num_taps, window.result_height, window.result_width)


@dataclass(frozen=True, slots=True)
class ConvolveDepthwise(_Pool):
    """Add up each feature by itself over the taps of a window, each times a weight.

    The sum starts at +0 and takes the taps inside the feature map in ascending order, one rounding
    a term.
    """

    kinds = (
        Kind(
            42,
            "depthwise",
            """
            const weight = @ptrcast([*]element, &model.parameters[round_offset + right]);
            pool.weigh(sums(result, 1), activation(left, 1), weight, columns);
            """,
            (_POOL,),
            (_READ_WINDOW,),
            beginning=_WITH_WINDOW,
        ),
    )

    result: Block
    """f32."""
    input: Block
    weight: Block
    """A row a tap."""
    window: Window

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        more = window_words(self.window, self.samples)
        return block_entry(program, self.kind, self.result, self.input, self.weight, more=more)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        maps = _maps(memories, self.input, self.window).astype(np.float32)
        weights = memories.matrix(self.weight).astype(np.float32)
        shape = (*maps.shape[:3], self.window.num_result_pixels, self.result.columns)
        sums = np.zeros(shape, np.float32)
        for tap, sources in enumerate(self.window.sources().T):
            (pixels,) = np.nonzero(sources >= 0)
            row = weights[:, :, np.newaxis, np.newaxis, tap]
            rows = maps[..., sources[pixels], :]
            sums[..., pixels, :] = _accumulate(memories, sums[..., pixels, :], rows, row)
        memories.write(self.result, sums)

    def dsd_operation(self, dtype: DataType) -> str:
        """Return the lower-case name of its DSD operation."""
        return "fmachs" if dtype is DataType.F16 else "fmacs"


@dataclass(frozen=True, slots=True)
class MaxPool(_Pool):
    """Take the largest of each feature over the taps inside the feature map; exact.

    It is NaN if one is NaN, and +0 is above −0.
    """

    kinds = (
        Kind(
            43,
            "max_pool",
            """
            pool.maximum(activation(result, 1), activation(left, 1), columns);
            """,
            (_POOL,),
            (_READ_WINDOW,),
            beginning=_WITH_WINDOW,
        ),
    )

    result: Block
    input: Block
    window: Window

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        more = window_words(self.window, self.samples)
        return block_entry(program, self.kind, self.result, self.input, more=more)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        maps = _maps(memories, self.input, self.window)
        shape = (*maps.shape[:3], self.window.num_result_pixels, self.result.columns)
        largest = np.full(shape, -np.inf, maps.dtype)
        for sources in self.window.sources().T:
            (pixels,) = np.nonzero(sources >= 0)
            rows = maps[..., sources[pixels], :]
            largest[..., pixels, :] = arithmetic.maximum(largest[..., pixels, :], rows)
        memories.write(self.result, largest)

    def dsd_operation(self, dtype: DataType) -> str:
        """Return the lower-case name of its DSD operation."""
        return in_type("fmax", dtype)


@dataclass(frozen=True, slots=True)
class GlobalAveragePool(MeshOperation):
    """Add up the rows of each sample in f32, and multiply by one over their number.

    The sum starts at +0 and takes rows in ascending order; each term and the product are rounded
    once, and once more to the program's dtype.
    """

    kinds = (
        Kind(
            39,
            "global_average_pool",
            """
            const samples = words[8];
            global_average_pool.run(activation(result, fixed), sums(words[9], fixed),
                          activation(left, columns), samples, inner, columns, number(words, 10));
            entry += 4;
            """,
            (Module("global_average_pool", ELEMENT),),
        ),
    )

    result: Block
    input: Block
    sums: Block
    """f32, as large as the result; the result itself in an f32 program."""

    @property
    def samples(self) -> int:
        """Rows of the result."""
        return self.result.rows

    @property
    def rows(self) -> int:
        """Rows of a sample."""
        return self.input.rows // self.samples

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        more = (self.samples, self.sums, *float_words(1 / self.rows))
        return block_entry(program, self.kind, self.result, self.input, inner=self.rows, more=more)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        rows = memories.view(self.input, self.samples, self.rows, self.input.columns)
        sums = np.zeros((*rows.shape[:3], self.input.columns), np.float32)
        for r in range(self.rows):
            sums = arithmetic.add(sums, rows[:, :, :, r].astype(np.float32))
        factor = np.full((), 1 / self.rows, np.float32)
        memories.store(self.result, arithmetic.multiply(sums, factor))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on."""
        sizes = block_sizes(program, self.result, launch)
        return {**sizes, "samples": self.samples, "rows": self.input.rows}

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the rows that begin in the same banks as their sums; f16 rows advance otherwise."""
        del launch
        if program.dtype is DataType.F16:
            return NO_CONFLICTS
        count = count_shared(self.input, self.sums, self.input.rows, program.dtype)
        return Conflicts(count, "fadds", self.result.columns)


@dataclass(frozen=True, slots=True)
class ScaleFeatureMaps(MeshOperation):
    """Multiply all rows of each sample by one row, in the program's dtype, rounded once."""

    kinds = (
        Kind(
            40,
            "scale_feature_maps",
            """
            var at: u16 = 0; // the first element of a map, and of its factors
            var factors_at = right;
            for (@range(u16, words[8])) |_| {
              factors.run(activation(result + at, columns), activation(left + at, columns),
                          activation(factors_at, columns), inner, columns);
              at += inner * columns;
              factors_at += columns;
            }
            entry += 1;
            """,
            (FACTORS,),
        ),
    )

    result: Block
    input: Block
    factors: Block
    """A row a sample."""

    @property
    def rows(self) -> int:
        """Rows of a sample."""
        return self.input.rows // self.factors.rows

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        blocks, samples = (self.result, self.input, self.factors), self.factors.rows
        return block_entry(program, self.kind, *blocks, inner=self.rows, more=(samples,))

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        samples, columns = self.factors.rows, self.input.columns
        maps = memories.view(self.input, samples, self.rows, columns)
        factors = memories.view(self.factors, samples, 1, columns)
        memories.write(self.result, arithmetic.multiply(maps, factors))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on."""
        sizes = block_sizes(program, self.result, launch)
        return {**sizes, "samples": self.factors.rows, "rows": self.input.rows}

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the rows that begin in the same banks as their factors."""
        del launch
        count = count_shared(self.input, self.factors, self.input.rows, program.dtype)
        return Conflicts(count, in_type("fmul", program.dtype), self.result.columns)


def _maps(memories: Memories, block: Block, window: Window) -> NDArray[Any]:
    """Return the rows of a block as `[height, width, samples, pixels, columns]`."""
    samples = block.rows // window.num_pixels
    return memories.view(block, samples, window.num_pixels, block.columns)


def _accumulate(
    memories: Memories, sums: NDArray[Any], left: NDArray[Any], right: NDArray[Any]
) -> NDArray[Any]:
    """Add a product to f32 sums, rounded once."""
    if memories.is_half:  # the product of two f16 is exact in f32
        return arithmetic.add(sums, arithmetic.multiply(left, right))
    return arithmetic.fused_multiply_add(sums, left, right)
