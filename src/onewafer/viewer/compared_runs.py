"""Two recordings side by side: the parts of a page with both and their difference.

In: two recordings of one rectangle. Out: the parts of `page_parts`, those of maps in three folders:

    a/maps/…, b/maps/…    both runs, on one scale
    difference/maps/…     run B minus run A: code 128 is no difference, 1 and 255 the largest one
    …/maps/NAME@N…        window N of the longer run, and the window of the other at that time
    windows.json          means of the windows of both, if both were sampled
    b/pes/…, b/columns.json
    everything else       that of run A
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import ConfigurationError
from onewafer.units import format_rate
from onewafer.viewer.heat_maps import (
    Drawn,
    Unit,
    draw_codes,
    levels_of,
    list_maps,
    mean_of,
    num_levels,
    values_of,
)
from onewafer.viewer.page_parts import PageParts, Parts, drawn_part, number_below, to_json
from onewafer.viewer.palettes import difference_palette
from onewafer.viewer.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.recording import RecordingFile, Window
    from onewafer.viewer.heat_maps import HeatMap

NO_DIFFERENCE = 128
"""The code of a PE with equal values in both runs."""
_MOST_KEPT = 32


def check_rectangles(first: RecordingFile, second: RecordingFile) -> None:
    """Check that two runs can be compared PE by PE.

    Raises:
        ConfigurationError: their rectangles differ.
    """
    sizes = [(found.header.width, found.header.height) for found in (first, second)]
    if sizes[0] != sizes[1]:
        (width, height), (other_width, other_height) = sizes
        raise ConfigurationError(
            f"{first.path} has {width}×{height} PEs and {second.path} {other_width}×{other_height}:"
            " runs are compared PE by PE; record both on one rectangle"
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two recordings: run B minus run A."""

    first: RecordingFile
    second: RecordingFile

    def maps(self) -> tuple[HeatMap, ...]:
        """Return the maps that both have; that of a model's parts has no difference."""
        known = {found.name for found in list_maps(self.second)}
        maps = list_maps(self.first)
        return tuple(m for m in maps if m.name in known and m.unit is not Unit.PART)

    def cycles(self, first_name: str) -> str:
        """Return a phrase that compares the cycles of the second run with those of the first."""
        before, after = self.first.header.cycles, self.second.header.cycles
        if before == after:
            return f"as many cycles as {first_name}"
        change = abs(after - before)
        share = f"{format_rate(100 * change / before)} %" if before else f"{change:,}"
        return f"{share} {'more' if after > before else 'fewer'} cycles than {first_name}"

    def windows(self) -> tuple[Window, ...]:
        """Return the windows of the longer run, if both were sampled."""
        both = (self.first.header, self.second.header)
        if not all(header.windows for header in both):
            return ()
        return max(both, key=lambda header: header.windows[-1].end_cycle).windows

    def pair(self, number: int) -> tuple[int, int]:
        """Return the indices of both runs' windows that contain the middle of window `number`.

        If a run was over by then, its last window.
        """
        window = self.windows()[number]
        middle = (window.start_cycle + window.end_cycle) // 2
        ends = ([one.end_cycle for one in run.header.windows] for run in (self.first, self.second))
        first, second = (min(bisect_right(found, middle), len(found) - 1) for found in ends)
        return first, second

    def highest(self, drawn: HeatMap, *, over_time: bool = False) -> float:
        """Return the highest value of both runs; `over_time`: of all their windows."""
        both = (self.first, self.second)
        if over_time:
            return max(Windows(one).highest(drawn) for one in both)
        return max(float(values_of(one, drawn).max(initial=0)) for one in both)

    def draw(self, drawn: HeatMap, window: int | None = None) -> Drawn:
        """Return the codes of the difference; `highest` is its largest absolute value."""
        has_program = (self.first.column("program") >= 0) | (self.second.column("program") >= 0)
        first, second = (None, None) if window is None else self.pair(window)
        change = values_of(self.second, drawn, second) - values_of(self.first, drawn, first)
        if not drawn.unit.is_ordered:
            change = (change != 0).astype(np.float64)
        largest = float(np.abs(change).max(initial=0))
        steps = np.rint(change * ((NO_DIFFERENCE - 1) / largest)) if largest > 0 else change
        codes = np.where(has_program | (change != 0), NO_DIFFERENCE + steps, 0).astype(np.uint8)
        mean = mean_of(change, has_program)
        return Drawn(largest, largest, mean, levels_of(codes, is_ordered=True))


class ComparedParts(Parts):
    """The parts of the page of two recordings."""

    def __init__(self, first: RecordingFile, second: RecordingFile) -> None:
        """Take the recordings of two runs.

        Raises:
            ConfigurationError: as `check_rectangles`.
        """
        check_rectangles(first, second)
        self._difference = Difference(first, second)
        self._both = {"a": PageParts(first), "b": PageParts(second)}
        self._maps = {found.name: found for found in self._difference.maps()}
        self._draw = lru_cache(_MOST_KEPT)(self._draw_codes)
        self._highest = lru_cache(None)(self._highest_of)

    def find(self, path: str) -> bytes | None:
        if path == "run.json":
            return self._run()
        if path == "windows.json":
            return self._over_time()
        folder, _, rest = path.partition("/")
        if folder not in (*self._both, "difference"):
            return self._both["a"].find(path)
        if not rest.startswith("maps/"):
            return self._both[folder].find(rest) if folder in self._both else None
        whole = rest.removeprefix("maps/").removesuffix(".json").partition("/")[0]
        name, at, number = whole.partition("@")
        if name not in self._maps or (at and name not in self._sampled()):
            return None
        window = number_below(len(self._difference.windows()), number) if at else None
        if at and window is None:
            return None
        return drawn_part(self._draw(folder, name, window), rest.removeprefix(f"maps/{whole}"))

    def paths(self) -> Iterator[str]:
        for path in self._both["a"].paths():
            if not path.startswith(("maps/", "windows.json", "spans")):
                yield path
        if "columns.json" in self._both["b"].paths():
            yield "b/columns.json"
        for name in self._maps:
            yield from self._paths_of_map(name)
        if self._sampled():
            yield "windows.json"
        for name in self._sampled():
            for number in range(len(self._difference.windows())):
                yield from self._paths_of_map(f"{name}@{number}")

    def _paths_of_map(self, name: str) -> Iterator[str]:
        header = self._both["a"].recording.header
        for folder in (*self._both, "difference"):
            yield f"{folder}/maps/{name}.json"
            for level in range(num_levels(header.width, header.height)):
                yield f"{folder}/maps/{name}/{level}"

    def _sampled(self) -> tuple[str, ...]:
        """Return the names of maps that have windows in both runs."""
        if not self._difference.windows():
            return ()
        return tuple(found.name for found in self._maps.values() if found.counter)

    def _draw_codes(self, folder: str, name: str, window: int | None = None) -> Drawn:
        drawn, difference = self._maps[name], self._difference
        if folder == "difference":
            return difference.draw(drawn, window)
        highest = self._highest(name, window is not None)
        if window is not None:
            window = difference.pair(window)[folder == "b"]
        recording = self._both[folder].recording
        return draw_codes(recording, drawn, window=window, highest=highest)

    def _highest_of(self, name: str, over_time: bool) -> float:  # noqa: FBT001  # it is cached
        return self._difference.highest(self._maps[name], over_time=over_time)

    def _over_time(self) -> bytes | None:
        sampled = [self._maps[name] for name in self._sampled()]
        if not sampled:
            return None
        first, second = (
            {found.name: Windows(parts.recording).means(found) for found in sampled}
            for parts in self._both.values()
        )
        return to_json({"means": first, "parts": [], "other": second})

    def _run(self) -> bytes:
        record: dict[str, Any] = json.loads(self._both["a"].find("run.json") or b"{}")
        other = self._both["b"].recording.header
        record["maps"] = [
            {**about, "is_sampled": about["name"] in self._sampled()}
            for about in record["maps"]
            if about["name"] in self._maps
        ]
        windows = self._difference.windows()
        record["own_windows"] = record["windows"]
        record["windows"] = [asdict(window) for window in windows]
        record["pairs"] = [self._difference.pair(number) for number in range(len(windows))]
        record["spans"] = None
        record["other"] = {
            "title": other.title,
            "cycles": other.cycles,
            "change": self._difference.cycles("A"),
            "operations": json.loads(self._both["b"].find("run.json") or b"{}")["operations"],
            "ending": other.ending,
            "windows": [asdict(window) for window in other.windows],
        }
        record["palettes"]["difference"] = difference_palette().reshape(-1).tolist()
        return to_json(record)
