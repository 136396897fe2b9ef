"""The parts of the page by path: answers of the server, or contents of the one-file page.

In: a recording. Out: bytes of JSON, codes and routes.

    run.json                 the run, its maps, programs, colors, tensors
    maps/NAME.json           highest value, mean, sizes of the levels of a map
    maps/NAME/LEVEL          codes of a level, a byte a PE, row by row
    maps/NAME@N…             the same for window N of a sampled run
    windows.json             means of windows, and the share of PEs at each part of a model
    times/NAME/X-Y           codes of the row of a PE, window by window, then those of its column
    spans.json               texts of the spans of a traced run
    spans/row/Y              tasks, operations and waits of a row of PEs; spans/column/X of a column
    moves                    the wavelets that left routers, ordered by cycle
    scripts.json             texts of the script's files with operations of a model
    programs/N.json          a tile program: lines with costs, symbols, memory, tasks, queues
    routes/COLOR.json        the configurations of a color
    routes/COLOR             their numbers, 16 bits a PE, little-endian; 0: the color has no route
    pes/X-Y.json             the counters of a PE
    peers/X-Y.json           the PEs that it waits for, as far as routes show; null: none
    columns.json             the counters of all PEs, for small runs
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from onewafer.arch import load_architecture
from onewafer.errors import OnewaferError
from onewafer.geometry import Direction
from onewafer.image import NUM_COLORS, SectionKind
from onewafer.recording import NOT_WAITING, SourceTexts
from onewafer.viewer.heat_maps import Drawn, Unit, draw_codes, list_maps, num_levels
from onewafer.viewer.palettes import palette_of
from onewafer.viewer.peers import peers_of
from onewafer.viewer.program_listing import list_program, listing_record
from onewafer.viewer.routes import configured_colors
from onewafer.viewer.span_lines import bytes_of_moves, describe_spans, line_of, texts_of
from onewafer.viewer.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onewafer.arch import Architecture
    from onewafer.image import ColorConfig, TileProgram
    from onewafer.recording import RecordingFile

_MOST_LAUNCHES = 100
_MOST_KEPT_BYTES = 1 << 28
"""The cache of maps' codes in bytes; a map has 4/3 bytes a PE."""
_MOST_WAITING = 256
"""The most PEs whose peers the one-file page contains."""
_MOST_NUMBERS = 400_000
"""The most numbers of all columns together in the one-file page."""


class Parts(Protocol):
    """The parts of a page."""

    def find(self, path: str) -> bytes | None:
        """Return the page part at a path, or None.

        Raises:
            RecordingError: the recording is damaged.
        """
        ...

    def paths(self) -> Iterator[str]:
        """Yield all paths that a static page needs, in order of importance."""
        ...


class PageParts(Parts):
    """The parts of the page of one recording."""

    def __init__(self, recording: RecordingFile) -> None:
        self.recording = recording
        self._maps = {found.name: found for found in list_maps(recording)}
        self._windows = Windows(recording)
        kept = max(16, _MOST_KEPT_BYTES // (2 * recording.header.num_pes))
        self._draw = lru_cache(kept)(self._draw_codes)

    def find(self, path: str) -> bytes | None:
        wholes: dict[str, Callable[[], bytes | None]] = {
            "run.json": self._run,
            "columns.json": self._columns,
            "windows.json": self._over_time,
            "spans.json": self._texts_of_spans,
            "moves": self._moves,
            "scripts.json": self._scripts,
        }
        if path in wholes:
            return wholes[path]()
        finders: dict[str, Callable[[str], bytes | None]] = {
            "maps": self._map,
            "times": self._times,
            "spans": self._spans,
            "programs": self._program,
            "routes": self._routes,
            "pes": self._pe,
            "peers": self._peers,
        }
        folder, _, rest = path.partition("/")
        return finders[folder](rest) if folder in finders else None

    def paths(self) -> Iterator[str]:
        yield "run.json"
        if self.recording.header.num_pes * len(self._counters()) <= _MOST_NUMBERS:
            yield "columns.json"
        yield "scripts.json"
        yield from (f"programs/{number}.json" for number in self._placed())
        for name in self._maps:
            yield from self._paths_of_map(name)
        yield from self._paths_of_spans()
        yield from (f"peers/{x}-{y}.json" for x, y in self._waiting())
        for color in configured_colors(self.recording.image):
            yield f"routes/{color}.json"
            yield f"routes/{color}"
        if self._windows:
            yield "windows.json"
        for name in (found.name for found in self._maps.values() if found.counter):
            for number in range(len(self._windows)):
                yield from self._paths_of_map(f"{name}@{number}")

    def _paths_of_map(self, name: str) -> Iterator[str]:
        header = self.recording.header
        yield f"maps/{name}.json"
        levels = range(num_levels(header.width, header.height))
        yield from (f"maps/{name}/{level}" for level in levels)

    def _paths_of_spans(self) -> Iterator[str]:
        if self.recording.is_traced:
            yield "spans.json"
            yield from (f"spans/row/{y}" for y in range(self.recording.header.height))
            yield "moves"

    def _draw_codes(self, name: str, window: int | None = None) -> Drawn:
        drawn = self._maps[name]
        if window is None:
            return draw_codes(self.recording, drawn)
        highest = self._windows.highest(drawn)
        return draw_codes(self.recording, drawn, window=window, highest=highest)

    def _placed(self) -> list[int]:
        numbers: list[int] = np.unique(self.recording.image.program_of_pe).tolist()
        return [number for number in numbers if number >= 0]

    # --- the run ---------------------------------------------------------------------------------

    def _run(self) -> bytes:
        header, image = self.recording.header, self.recording.image
        record = header.to_record()
        record["num_launches"] = len(header.launches)
        record["launches"] = record["launches"][:_MOST_LAUNCHES]
        record["maps"] = [
            {
                "name": m.name,
                "title": m.title,
                "unit": m.unit.value,
                "group": m.group,
                "is_sampled": bool(m.counter and self._windows),
            }
            for m in self._maps.values()
        ]
        record["programs"] = [self._about_program(number) for number in self._placed()]
        record["colors"] = [
            {"color": color, "name": "/".join(image.names_of_color(color))}
            for color in configured_colors(image)
        ]
        record["palettes"] = {
            unit.value: palette_of(unit, header.parts).reshape(-1).tolist()
            for unit in dict.fromkeys((Unit.PART, *(m.unit for m in self._maps.values())))
        }
        spans = self.recording.spans
        record["spans"] = None if spans is None else describe_spans(spans, header.width)
        record["parts"] = header.parts
        record["operations"] = [
            {**told, **self._measured(index), "title": operation.title}
            for index, (told, operation) in enumerate(
                zip(record["operations"], header.operations, strict=True)
            )
        ]
        machine = self._machine()
        record["memory_bytes"] = None if machine is None else machine.memory_bytes
        record["arch_title"] = header.arch if machine is None else machine.title
        return to_json(record)

    def _measured(self, index: int) -> dict[str, int | None]:
        """Return the cycles in which the slowest PE was at an operation; None: not sampled."""
        elapsed = dict(self.recording.header.step_cycles)
        names = ("work", "collective")
        return {
            name: elapsed.get(2 * index + number, 0) if elapsed else None
            for number, name in enumerate(names)
        }

    def _machine(self) -> Architecture | None:
        """Return the machine of the run; None: it is not in the catalog."""
        try:
            return load_architecture(self.recording.header.arch)
        except OnewaferError:
            return None

    def _about_program(self, number: int) -> dict[str, Any]:
        x, y = self._first_pe(number)
        program = self.recording.image.programs[number]
        return {
            "number": number,
            "name": program.name,
            "num_pes": int((self.recording.image.program_of_pe == number).sum()),
            "first_pe": [x, y],
            "num_bytes": sum(section.num_bytes for section in program.sections),
            "sections": _bytes_by_kind(program),
        }

    def _first_pe(self, number: int) -> tuple[int, int]:
        image = self.recording.image
        place = int((image.program_of_pe.reshape(-1) == number).argmax())
        return place % image.width, place // image.width

    def _columns(self) -> bytes:
        columns = ((name, self.recording.column(name)) for name in self._counters())
        return to_json({name: column.reshape(-1).tolist() for name, column in columns})

    def _counters(self) -> list[str]:
        """Return the names of columns, except the many of registers and windows."""
        return [n for n in self.recording.columns if not n.startswith(("register_", "window_"))]

    # --- maps ------------------------------------------------------------------------------------

    def _map(self, rest: str) -> bytes | None:
        whole = rest.removesuffix(".json").partition("/")[0]
        name, at, number = whole.partition("@")
        found = self._maps.get(name)
        if found is None:
            return None
        window = number_below(len(self._windows), number) if at and found.counter else None
        if at and window is None:
            return None
        return drawn_part(self._draw(name, window), rest.removeprefix(whole))

    def _over_time(self) -> bytes | None:
        if not self._windows:
            return None
        sampled = [found for found in self._maps.values() if found.counter]
        means = {f.name: self._windows.means(f) for f in sampled if f.unit.is_ordered}
        return to_json(
            {
                "means": means,
                "parts": self._windows.shares_of_parts(),
                "activations": self._windows.activation_bytes(),
            }
        )

    def _times(self, rest: str) -> bytes | None:
        name, _, place = rest.partition("/")
        found, pe = self._maps.get(name), self._pe_at(place)
        if found is None or not (found.counter and self._windows) or pe is None:
            return None
        x, y = pe
        codes = [self._draw(name, number).levels[0] for number in range(len(self._windows))]
        row, column = np.stack([c[y] for c in codes]), np.stack([c[:, x] for c in codes])
        return row.tobytes() + column.tobytes()

    # --- spans -----------------------------------------------------------------------------------

    def _texts_of_spans(self) -> bytes | None:
        spans = self.recording.spans
        return None if spans is None else to_json(texts_of(spans))

    def _spans(self, rest: str) -> bytes | None:
        spans, header = self.recording.spans, self.recording.header
        way, _, text = rest.partition("/")
        length = {"row": header.height, "column": header.width}.get(way, 0)
        number = number_below(length, text)
        if spans is None or number is None:
            return None
        pes = np.arange(header.num_pes).reshape(header.height, header.width)
        return line_of(spans, pes[number] if way == "row" else pes[:, number])

    def _moves(self) -> bytes | None:
        moves = self.recording.moves
        return None if moves is None else bytes_of_moves(moves)

    # --- programs --------------------------------------------------------------------------------

    def _program(self, rest: str) -> bytes | None:
        image, header = self.recording.image, self.recording.header
        number = number_below(len(image.programs), rest.removesuffix(".json"))
        if number is None or number not in self._placed():
            return None
        x, y = self._first_pe(number)
        listed = list_program(
            image,
            load_architecture(header.arch, profile=header.profile),
            x=x,
            y=y,
            find_source=SourceTexts(self.recording.sources),
        )
        program = image.programs[number]
        places = [f"{p.path}:{p.line}" if p else "" for p in program.locations]
        return to_json(
            {**listing_record(listed), "places": places, "queues": self._queues(program)}
        )

    def _scripts(self) -> bytes:
        named = {one.source.rpartition(":")[0] for one in self.recording.header.operations}
        sources = self.recording.sources
        return to_json({name: sources[name] for name in sorted(named) if name in sources})

    def _queues(self, program: TileProgram) -> list[dict[str, Any]]:
        return [
            {
                "queue": queue.queue,
                "is_input": queue.is_input,
                "color": queue.color,
                "name": "/".join(self.recording.image.names_of_color(queue.color)),
            }
            for queue in program.queues
        ]

    def _pe(self, rest: str) -> bytes | None:
        pe = self._pe_at(rest.removesuffix(".json"))
        return None if pe is None else to_json(self.recording.row(*pe))

    def _peers(self, rest: str) -> bytes | None:
        pe = self._pe_at(rest.removesuffix(".json"))
        return None if pe is None else to_json(self._peers_of(*pe))

    def _peers_of(self, x: int, y: int) -> dict[str, Any] | None:
        row, reasons = self.recording.row(x, y), self.recording.header.reasons
        reason = int(row.get("waits_for", NOT_WAITING))
        color = int(row.get("waits_for_color", NOT_WAITING))
        if not (0 <= reason < len(reasons) and 0 <= color < NUM_COLORS):
            return None
        peers = peers_of(self.recording.image, color, x, y, reason=reasons[reason])
        return None if peers is None else peers.to_record()

    def _waiting(self) -> list[tuple[int, int]]:
        """Return the first PEs that wait for others at the end of the run."""
        if "waits_for_color" not in self.recording.columns:
            return []
        waits = np.argwhere(self.recording.column("waits_for_color") >= 0)[:_MOST_WAITING]
        return [(x, y) for y, x in waits.tolist()]

    def _pe_at(self, text: str) -> tuple[int, int] | None:
        header = self.recording.header
        first, _, second = text.partition("-")
        x, y = number_below(header.width, first), number_below(header.height, second)
        return None if x is None or y is None else (x, y)

    # --- routes ----------------------------------------------------------------------------------

    def _routes(self, rest: str) -> bytes | None:
        image = self.recording.image
        color = number_below(image.config_of_color.shape[2], rest.removesuffix(".json"))
        if color is None:
            return None
        configs = image.config_of_color[:, :, color]
        if not rest.endswith(".json"):
            return (configs + 1).astype("<u2").tobytes()
        used: list[int] = np.unique(configs[configs >= 0]).tolist()
        return to_json({number + 1: _ways(image.color_configs[number]) for number in used})


def _bytes_by_kind(program: TileProgram) -> dict[str, int]:
    """Return the bytes of a program by kind of section."""
    found = {
        kind.name.lower(): sum(s.num_bytes for s in program.sections if s.kind is kind)
        for kind in SectionKind
    }
    return {kind: num_bytes for kind, num_bytes in found.items() if num_bytes}


def drawn_part(drawn: Drawn, rest: str) -> bytes | None:
    """Return a part of a map: `.json`, its scale, or `/N`, the codes of a level; else None."""
    if rest == ".json":
        sizes = [[codes.shape[1], codes.shape[0]] for codes in drawn.levels]
        told = {"highest": drawn.highest, "most": drawn.most, "mean": drawn.mean}
        return to_json({**told, "levels": sizes})
    number = number_below(len(drawn.levels), rest.removeprefix("/"))
    return None if number is None else drawn.levels[number].tobytes()


def _ways(config: ColorConfig) -> dict[str, Any]:
    """Return the routes of a configuration in each switch position, and the initial position."""
    positions = [
        None if p is None else {"from": _names(p.rx), "to": _names(p.tx)} for p in config.positions
    ]
    return {"positions": positions, "current": config.current_position}


def _names(mask: int) -> list[str]:
    return [direction.name.lower() for direction in Direction if mask >> direction & 1]


def to_json(value: object) -> bytes:
    """Return a value as compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def number_below(end: int, text: str) -> int | None:
    """Parse a number below `end` of plain digits; None: the text is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(end))):
        return None
    number = int(text)
    return number if number < end else None
