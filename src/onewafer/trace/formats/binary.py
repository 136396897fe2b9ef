"""Traces as files: small, written while the program runs, readable after any end.

    file    := magic, u32 bytes, header (JSON, deflated), chunk…, end
    chunk   := u32 events, u32 bytes, i64 first cycle, i64 last cycle, columns (deflated)
    columns := i64 cycle (differences), u16 y, u16 x, u8 kind, i64 subject, i64 value, each column
               as planes: all lowest bytes, then all second bytes, …
    end     := u32 0, u32 0, i64 cycle of the end, i64 1: the run ended well, 0: by an error

All numbers are little-endian. Events stand in the order in which they were told. A file without an
end is of a process that was killed; what it holds is whole chunks.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from onewafer.errors import TraceError
from onewafer.trace.event import Detail, Event, EventKind
from onewafer.trace.formats.header import TraceHeader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

MAGIC = b"onewafer trace 1\n"
_LENGTH = struct.Struct("<I")
_CHUNK = struct.Struct("<IIqq")
_CHUNK_EVENTS = 1 << 16
_DTYPES = ("<i8", "<u2", "<u2", "u1", "<i8", "<i8")
_REPEATED = frozenset((EventKind.HOP, EventKind.RAMP_ARRIVAL))
"""What `MOVE` says as well."""


class TraceWriter:
    """An event sink that writes a file."""

    def __init__(self, file: BinaryIO, header: TraceHeader) -> None:
        """Write the header; the file is the caller's to close."""
        self._file = file
        self._left_out = _REPEATED if header.detail >= Detail.CAUSES else frozenset[EventKind]()
        self._rows: list[tuple[int, ...]] = []
        payload = zlib.compress(json.dumps(header.to_record()).encode())
        file.write(MAGIC + _LENGTH.pack(len(payload)) + payload)

    def record(self, event: Event) -> None:
        """Take one event."""
        kind = event.kind
        if kind in self._left_out:
            return
        rows = self._rows
        rows.append((event.cycle, event.y, event.x, kind, event.subject, event.value))
        if len(rows) == _CHUNK_EVENTS:
            self._flush()

    def end(self, cycle: int, *, is_well: bool) -> None:
        """Write what is left, and that the run ended in `cycle`."""
        self._flush()
        self._file.write(_CHUNK.pack(0, 0, cycle, int(is_well)))

    def _flush(self) -> None:
        if not self._rows:
            return
        table = np.array(self._rows, np.int64)
        self._rows = []
        cycles = table[:, 0].copy()
        table[1:, 0] -= cycles[:-1]
        planes = [_to_planes(table[:, i], dtype) for i, dtype in enumerate(_DTYPES)]
        payload = zlib.compress(b"".join(planes), 6)
        bounds = int(cycles.min()), int(cycles.max())
        self._file.write(_CHUNK.pack(len(table), len(payload), *bounds) + payload)


def _to_planes(column: NDArray[np.int64], dtype: str) -> bytes:
    """Return a column byte by byte: equal high bytes stand together, and shrink."""
    narrow = column.astype(dtype)
    return narrow.view(np.uint8).reshape(len(column), -1).T.tobytes()


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace in memory."""

    header: TraceHeader
    rows: NDArray[np.int64]
    """`[num_events, 6]`: the fields of `Event`, by cycle; in one cycle as they were told."""
    end_cycle: int
    ended_well: bool
    """No error, no deadlock."""
    is_whole: bool
    """The file has its end."""

    def events(self, *kinds: EventKind) -> Iterator[Event]:
        """Yield the events of some kinds; none given: all."""
        rows = self.rows[np.isin(self.rows[:, 3], kinds)] if kinds else self.rows
        for cycle, y, x, kind, subject, value in rows.tolist():
            yield Event(cycle, y, x, EventKind(kind), subject, value)

    def of_pes(self) -> Iterator[tuple[int, int, list[list[int]]]]:
        """Yield (x, y, its rows) for every PE with events, row by row of the wafer."""
        place = self.rows[:, 1] * self.header.width + self.rows[:, 2]
        order = np.argsort(place, kind="stable")
        ordered, rows = place[order], self.rows[order]
        bounds = np.flatnonzero(np.diff(ordered, prepend=-1, append=-1))
        for first, last in pairwise(bounds):
            yield int(rows[first, 2]), int(rows[first, 1]), rows[first:last].tolist()


def read_trace(path: Path) -> Trace:
    """Return the trace in a file.

    Raises:
        TraceError: it cannot be read, is no trace, or is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from None
    if not content.startswith(MAGIC):
        raise TraceError(f"{path}: this is no trace that onewafer wrote")
    try:
        return _decode(content)
    except (ValueError, KeyError, TypeError, struct.error, zlib.error) as error:
        raise TraceError(f"{path}: the trace is damaged ({error}); trace the run again") from error


def _decode(content: bytes) -> Trace:
    (length,) = _LENGTH.unpack_from(content, len(MAGIC))
    place = len(MAGIC) + _LENGTH.size
    if place + length > len(content):
        raise ValueError("it ends in its header")
    header = TraceHeader.from_record(json.loads(zlib.decompress(content[place : place + length])))
    place += length
    chunks = [np.zeros((0, len(_DTYPES)), np.int64)]
    end: tuple[int, bool] | None = None
    while place + _CHUNK.size <= len(content):
        num_events, num_bytes, first, last = _CHUNK.unpack_from(content, place)
        place += _CHUNK.size
        if not num_events:
            end = first, bool(last)
            break
        if place + num_bytes > len(content):
            break
        chunks.append(_from_planes(zlib.decompress(content[place : place + num_bytes]), num_events))
        place += num_bytes
    rows = np.concatenate(chunks)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    last_cycle = int(rows[-1, 0]) if len(rows) else 0
    end_cycle, ended_well = (last_cycle, False) if end is None else end
    return Trace(header, rows, end_cycle, ended_well, is_whole=end is not None)


def _from_planes(payload: bytes, num_events: int) -> NDArray[np.int64]:
    table = np.zeros((num_events, len(_DTYPES)), np.int64)
    planes = np.frombuffer(payload, np.uint8)
    place = 0
    for i, dtype in enumerate(map(np.dtype, _DTYPES)):
        stretch = planes[place : place + num_events * dtype.itemsize]
        column = np.ascontiguousarray(stretch.reshape(dtype.itemsize, num_events).T)
        table[:, i] = column.view(dtype).reshape(-1)
        place += stretch.size
    table[:, 0] = np.cumsum(table[:, 0])
    return table
