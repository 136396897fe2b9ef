"""Two recordings side by side: the parts of a page that shows both, and what differs.

In: two recordings of one rectangle. Out: the parts of `page_parts`, those of maps in three folders:

    a/maps/…, b/maps/…    both runs, with the steps of one scale
    difference/maps/…     run B less run A: code 128 is no difference, 1 and 255 the largest one
    b/pes/…, b/columns.json
    everything else       that of run A
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import ConfigurationError
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
from onewafer.viewer.page_parts import PageParts, drawn_part
from onewafer.viewer.palettes import difference_palette

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.recording import RecordingFile
    from onewafer.viewer.heat_maps import HeatMap

NO_DIFFERENCE = 128
"""The code of a PE that did the same in both runs."""
_MOST_KEPT = 32


def check_rectangles(first: RecordingFile, second: RecordingFile) -> None:
    """Make sure that two runs can be compared PE by PE.

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
    """Run B less run A."""

    first: RecordingFile
    second: RecordingFile

    def maps(self) -> tuple[HeatMap, ...]:
        """Return the maps that both have; what a model is at differs by window, and has none."""
        known = {found.name for found in list_maps(self.second)}
        maps = list_maps(self.first)
        return tuple(m for m in maps if m.name in known and m.unit is not Unit.PART)

    def highest(self, drawn: HeatMap) -> float:
        """Return the highest value of both runs."""
        both = (self.first, self.second)
        return max(float(values_of(one, drawn).max(initial=0)) for one in both)

    def draw(self, drawn: HeatMap) -> Drawn:
        """Return the codes of what differs; its highest value is the largest difference."""
        has_program = (self.first.column("program") >= 0) | (self.second.column("program") >= 0)
        less = values_of(self.second, drawn) - values_of(self.first, drawn)
        if not drawn.unit.is_ordered:
            less = (less != 0).astype(np.float64)
        largest = float(np.abs(less).max(initial=0))
        steps = np.rint(less * ((NO_DIFFERENCE - 1) / largest)) if largest > 0 else less
        codes = np.where(has_program | (less != 0), NO_DIFFERENCE + steps, 0).astype(np.uint8)
        return Drawn(largest, mean_of(less, has_program), levels_of(codes, is_ordered=True))


class ComparedParts:
    """The parts of the page of two recordings."""

    def __init__(self, first: RecordingFile, second: RecordingFile) -> None:
        """Take two runs.

        Raises:
            ConfigurationError: as `check_rectangles`.
        """
        check_rectangles(first, second)
        self._difference = Difference(first, second)
        self._both = {"a": PageParts(first), "b": PageParts(second)}
        self._maps = {found.name: found for found in self._difference.maps()}
        self._draw = lru_cache(_MOST_KEPT)(self._draw_codes)

    def find(self, path: str) -> bytes | None:
        """Return what is at a path; None: nothing is.

        Raises:
            RecordingError: a recording is damaged.
        """
        if path == "run.json":
            return self._run()
        folder, _, rest = path.partition("/")
        if folder not in (*self._both, "difference"):
            return self._both["a"].find(path)
        if not rest.startswith("maps/"):
            return self._both[folder].find(rest) if folder in self._both else None
        name = rest.removeprefix("maps/").removesuffix(".json").partition("/")[0]
        if name not in self._maps:
            return None
        return drawn_part(self._draw(folder, name), rest.removeprefix(f"maps/{name}"))

    def paths(self) -> Iterator[str]:
        """Yield all paths that a page without a server needs, the most needed first."""
        for path in self._both["a"].paths():
            if not path.startswith(("maps/", "windows.json", "spans")):
                yield path
        if "columns.json" in self._both["b"].paths():
            yield "b/columns.json"
        header = self._both["a"].recording.header
        levels = range(num_levels(header.width, header.height))
        for name in self._maps:
            for folder in (*self._both, "difference"):
                path = f"{folder}/maps/{name}"
                yield f"{path}.json"
                yield from (f"{path}/{level}" for level in levels)

    def _draw_codes(self, folder: str, name: str) -> Drawn:
        drawn = self._maps[name]
        if folder == "difference":
            return self._difference.draw(drawn)
        recording = self._both[folder].recording
        return draw_codes(recording, drawn, highest=self._difference.highest(drawn))

    def _run(self) -> bytes:
        record: dict[str, Any] = json.loads(self._both["a"].find("run.json") or b"{}")
        other = self._both["b"].recording.header
        record["maps"] = [
            {**about, "is_sampled": False}
            for about in record["maps"]
            if about["name"] in self._maps
        ]
        record["windows"], record["spans"] = [], None
        record["other"] = {"title": other.title, "cycles": other.cycles, "ending": other.ending}
        record["palettes"]["difference"] = difference_palette().reshape(-1).tolist()
        return json.dumps(record, separators=(",", ":")).encode()
