"""Heat maps of a recording: a number for each PE, and its color.

In: a recording. Out: values, and their codes of a byte in an image pyramid, each level half as wide
and high as the one before. Code 0 is a PE without a program; 1 to 255 are equal steps from zero to
the highest value. A level of a whole wafer has 0.9 MB and is one tile. Some maps also exist for
each window of a sampled run, all on one scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import ConfigurationError
from onewafer.recording import (
    SRAM_COLUMNS,
    WAVELET_COLUMNS,
    WINDOW_STEP,
    column_of_step,
    column_of_wait,
    column_of_window,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from onewafer.recording import Operation, RecordingFile

NUM_STEPS = 254
_HALF = 0.5
OPERATION = "operation-"
"""The prefix of the name of an operation's map, before the operation's number."""
_SMALLEST_LEVEL = 128
"""PEs: the largest longer side of the last level."""


class Unit(StrEnum):
    """The unit of a map's values."""

    SHARE = "share"
    """A share of the cycles, 0 to 1."""
    UNITS = "units"
    """The mean number of a PE's units (threads, links) that wait."""
    COUNT = "count"
    CYCLES = "cycles"
    BYTES = "bytes"
    JOULES = "joules"
    PROGRAM = "program"
    """The number of the tile program; not ordered."""
    PART = "part"
    """The number of the model's part; not ordered."""

    @property
    def is_ordered(self) -> bool:
        """True if values are quantities, and not just numbers of things."""
        return self not in (Unit.PROGRAM, Unit.PART)


@dataclass(frozen=True, slots=True)
class HeatMap:
    """One map."""

    name: str
    """The name for `--what` and links."""
    title: str
    unit: Unit
    columns: tuple[str, ...]
    """The columns of the recording whose sum is drawn."""
    group: str = ""
    """The group of the map in lists."""
    counter: str = ""
    """The counter of windows with the same values; empty: it is not sampled."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The codes of a map."""

    highest: float
    """The value of code 255; 1 if the largest share is above a half, so that scales are alike."""
    most: float
    """The highest value."""
    mean: float
    """The mean over all PEs with a program."""
    levels: tuple[NDArray[np.uint8], ...]
    """`[y, x]`, the finest first."""


def list_maps(recording: RecordingFile) -> tuple[HeatMap, ...]:
    """Return the maps of a recording, the most used first."""
    reasons = recording.header.reasons
    waits = {reason: column_of_wait(reason) for reason in reasons}
    links = WAVELET_COLUMNS[:-1]
    windows = range(len(recording.header.windows))
    steps = tuple(column_of_window(i, WINDOW_STEP) for i in windows)
    time, traffic, memory = "Time", "Traffic", "Memory"
    maps = (
        HeatMap("busy", "busy", Unit.SHARE, ("busy_cycles",), time, "busy_cycles"),
        HeatMap("waiting", "waiting", Unit.UNITS, tuple(waits.values()), time, "wait_cycles"),
        HeatMap("part", "part of the model", Unit.PART, steps, time, WINDOW_STEP),
        *(_part("wait", f"waiting: {r}", Unit.UNITS, r, column) for r, column in waits.items()),
        HeatMap("main-thread", "main thread busy", Unit.SHARE, ("main_thread_cycles",), time),
        HeatMap("data-path", "data path busy", Unit.SHARE, ("data_path_cycles",), time),
        HeatMap("wavelets", "wavelets sent over links", Unit.COUNT, links, traffic, "wavelets"),
        *(
            _part("wavelets", f"wavelets to the {side}", Unit.COUNT, side, column)
            for column, side in ((c, c.removeprefix("wavelets_")) for c in WAVELET_COLUMNS)
        ),
        HeatMap("sram", "memory used", Unit.BYTES, SRAM_COLUMNS, memory),
        *(
            _part("sram", f"memory: {kind}", Unit.BYTES, kind, column)
            for column, kind in ((c, c.split("_")[1]) for c in SRAM_COLUMNS)
        ),
        HeatMap("program", "tile programs", Unit.PROGRAM, ("program",), "Program"),
        HeatMap("instructions", "instructions", Unit.COUNT, ("instructions",), "Program"),
        HeatMap("elements", "DSD elements", Unit.COUNT, ("dsd_elements",), "Program"),
        HeatMap("tasks", "task starts", Unit.COUNT, ("task_starts",), "Program"),
        HeatMap("energy", "energy (an estimate)", Unit.JOULES, ("energy_joules",), "Program"),
    )
    known = set(recording.columns)
    maps += tuple(_operation(i, one, known) for i, one in enumerate(recording.header.operations))
    return tuple(found for found in maps if found.columns and known.issuperset(found.columns))


_GROUPS = {"wait": "Time", "wavelets": "Traffic", "sram": "Memory"}


def _part(whole: str, title: str, unit: Unit, kind: str, column: str) -> HeatMap:
    return HeatMap(f"{whole}-{kind.replace(' ', '-')}", title, unit, (column,), _GROUPS[whole])


def _operation(index: int, operation: Operation, known: Collection[str]) -> HeatMap:
    """Return the map of an operation: the cycles that each PE spent in it."""
    columns = (column_of_step(step) for step in (2 * index, 2 * index + 1))
    title = f"{operation.title} in {operation.launch}"
    seen = tuple(column for column in columns if column in known)
    return HeatMap(f"{OPERATION}{index}", title, Unit.CYCLES, seen, "Operations")


def find_map(recording: RecordingFile, name: str) -> HeatMap:
    """Return a map by its name.

    Raises:
        ConfigurationError: the recording has no such map.
    """
    maps = {found.name: found for found in list_maps(recording)}
    if name not in maps:
        raise ConfigurationError(
            f"{recording.path} has no map {name!r}; it has: {', '.join(maps) or 'none'}"
        )
    return maps[name]


def values_of(
    recording: RecordingFile, drawn: HeatMap, window: int | None = None
) -> NDArray[np.float64]:
    """Return the value of every PE, `[y, x]`, at least 0, in the whole run or in a window."""
    columns = drawn.columns if window is None else (column_of_window(window, drawn.counter),)
    if drawn.unit is Unit.PART:
        return _most_frequent([parts_of(recording, name) for name in columns])
    total = sum(recording.column(name).astype(np.float64) for name in columns)
    values = np.maximum(total, 0)
    if drawn.unit in (Unit.SHARE, Unit.UNITS):
        values = values / _cycles_of(recording, window)
    return values


def parts_of(recording: RecordingFile, column: str) -> NDArray[np.intp]:
    """Return the number of the model's part that each PE is at, from a column of steps."""
    parts = recording.header.parts
    numbers = np.array([parts.index(part) for part in recording.header.part_of_step])
    steps = recording.column(column).astype(np.intp)
    return numbers[(steps + 1).clip(0, len(numbers) - 1)]


def _most_frequent(columns: list[NDArray[Any]]) -> NDArray[np.float64]:
    """Return the most frequent number of each PE; of equally frequent ones, the smallest."""
    numbers = np.unique(columns)
    times = [sum((column == number).astype(np.uint8) for column in columns) for number in numbers]
    return numbers[np.argmax(times, axis=0)].astype(np.float64)


def _cycles_of(recording: RecordingFile, window: int | None) -> int:
    header = recording.header
    if window is None:
        return max(1, header.cycles)
    return header.windows[window].end_cycle - header.windows[window].start_cycle


def mean_of(values: NDArray[np.float64], has_program: NDArray[np.bool_]) -> float:
    """Return the mean over all PEs with a program."""
    return float(values[has_program].mean()) if has_program.any() else 0.0


def draw_codes(
    recording: RecordingFile,
    drawn: HeatMap,
    *,
    window: int | None = None,
    highest: float | None = None,
) -> Drawn:
    """Return the codes of a map, in the whole run or in a window.

    `highest` is the value of code 255; None: the highest value of the map.
    """
    values = values_of(recording, drawn, window)
    has_program = recording.column("program") >= 0
    most = float(values.max(initial=0))
    top = most if highest is None else highest
    if not drawn.unit.is_ordered:
        codes = np.where(has_program, 1 + values % (NUM_STEPS + 1), 0).astype(np.uint8)
        return Drawn(top, most, 0.0, levels_of(codes, is_ordered=False))
    if drawn.unit is Unit.SHARE and top > _HALF:
        top = max(top, 1.0)
    codes = encode(values, has_program, top)
    return Drawn(top, most, mean_of(values, has_program), levels_of(codes, is_ordered=True))


def encode(
    values: NDArray[np.float64], has_program: NDArray[np.bool_], highest: float
) -> NDArray[np.uint8]:
    """Return values as codes.

    >>> encode(np.array([0.0, 1.0, 2.0, 0.0]), np.array([True, True, True, False]), 2.0)
    array([  1, 128, 255,   0], dtype=uint8)
    """
    steps = np.rint(values * (NUM_STEPS / highest)) if highest > 0 else np.zeros_like(values)
    steps = np.minimum(steps, NUM_STEPS)
    return np.where(has_program | (values > 0), 1 + steps, 0).astype(np.uint8)


def levels_of(codes: NDArray[np.uint8], *, is_ordered: bool) -> tuple[NDArray[np.uint8], ...]:
    """Return the pyramid of codes, the finest level first."""
    levels = [codes]
    for _ in range(num_levels(*codes.shape) - 1):
        levels.append(_halve(levels[-1], is_ordered=is_ordered))
    return tuple(levels)


def num_levels(width: int, height: int) -> int:
    """Return the number of levels of a rectangle's pyramid.

    >>> num_levels(64, 64), num_levels(65, 2), num_levels(755, 1170)
    (1, 1, 5)
    """
    side, levels = max(width, height), 1
    while side > _SMALLEST_LEVEL:
        side, levels = (side + 1) // 2, levels + 1
    return levels


def _halve(codes: NDArray[np.uint8], *, is_ordered: bool) -> NDArray[np.uint8]:
    """Return the next level: the mean of each 2×2 nonzero codes, or the largest if not ordered."""
    height, width = (size + size % 2 for size in codes.shape)
    padded = np.zeros((height, width), np.uint8)
    padded[: codes.shape[0], : codes.shape[1]] = codes
    fours = padded.reshape(height // 2, 2, width // 2, 2)
    if not is_ordered:
        largest: NDArray[np.uint8] = fours.max(axis=(1, 3))
        return largest
    count = np.maximum((fours > 0).sum(axis=(1, 3)), 1)
    total = fours.sum(axis=(1, 3), dtype=np.int64)
    return ((total + count // 2) // count).astype(np.uint8)
