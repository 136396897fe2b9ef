"""Traces as files: small, written while the program runs, readable after any end.

    file    := magic, u32 bytes, header (JSON, deflated), chunk…, end
    chunk   := u32 events, u32 bytes, i64 first cycle, i64 last cycle, u32 check, columns (deflated)
    columns := i64 cycle (differences), u16 y, u16 x, u8 kind, i64 subject, i64 value, each column
               as planes: all lowest bytes, then all second bytes, …
    end     := u32 0, u32 0, i64 cycle of the end, i64 1: the run ended well, 0: by an error,
               u32 check

All numbers are little-endian; a check is the CRC-32 of the numbers before it, and deflated bytes
carry their own. Events are in the order of recording. A file without an end is from a killed
process: its complete chunks are read. Any other mismatch is refused as damage.
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
from onewafer.files.foreign_bytes import DAMAGES, inflate
from onewafer.files.whole_files import check_file
from onewafer.terminal import quoted
from onewafer.trace.event import Detail, Event, EventKind
from onewafer.trace.formats.header import TraceHeader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

MAGIC = b"onewafer trace 2\n"
_FAMILY = b"onewafer trace "
_LENGTH = struct.Struct("<I")
_CHUNK = struct.Struct("<IIqq")
_CHECK = struct.Struct("<I")
_HEAD_BYTES = _CHUNK.size + _CHECK.size
_CHUNK_EVENTS = 1 << 14
"""Events of a chunk: the most that a killed process loses."""
_DTYPES = ("<i8", "<u2", "<u2", "u1", "<i8", "<i8")
_EVENT_BYTES = sum(np.dtype(dtype).itemsize for dtype in _DTYPES)
_HEADER_BYTES = 1 << 28
"""Most bytes of a header; that of a whole wafer has a hundredth of it."""
_REPEATED = frozenset((EventKind.HOP, EventKind.RAMP_ARRIVAL))
"""Kinds that a trace with causes leaves out, because `MOVE` implies them."""


class TraceWriter:
    """An event sink that writes a file; at most one chunk is not yet written."""

    def __init__(self, file: BinaryIO, header: TraceHeader) -> None:
        """Write the header; the file is the caller's to close.

        Raises:
            OSError: it cannot be written; likewise from the methods.
        """
        self._file = file
        self._left_out = _REPEATED if header.detail >= Detail.CAUSES else frozenset[EventKind]()
        self._rows: list[tuple[int, ...]] = []
        payload = zlib.compress(json.dumps(header.to_record()).encode())
        self._write(MAGIC + _LENGTH.pack(len(payload)) + payload)

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
        """Write the last events, and that the run ended in `cycle`."""
        self._flush()
        self._write(_head(0, 0, cycle, int(is_well)))

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
        self._write(_head(len(table), len(payload), *bounds) + payload)

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._file.flush()


def _head(*numbers: int) -> bytes:
    """Return the numbers before a chunk, or of the end, with their check."""
    packed = _CHUNK.pack(*numbers)
    return packed + _CHECK.pack(zlib.crc32(packed))


def _to_planes(column: NDArray[np.int64], dtype: str) -> bytes:
    """Return a column as planes of bytes, in which equal high bytes compress well."""
    narrow = column.astype(dtype)
    return narrow.view(np.uint8).reshape(len(column), -1).T.tobytes()


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace in memory."""

    header: TraceHeader
    rows: NDArray[np.int64]
    """`[num_events, 6]`: the fields of `Event`, by cycle and then in the order of recording."""
    end_cycle: int
    ended_well: bool
    """True if the run ended without error or deadlock."""
    is_whole: bool
    """True if the file has its end."""

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
        check_file(path)
        content = path.read_bytes()
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from None
    if not content.startswith(MAGIC):
        if content.startswith(_FAMILY):
            raise TraceError(f"{path}: another version of onewafer wrote it; trace the run again")
        raise TraceError(f"{path}: this is not a trace that onewafer wrote")
    try:
        return _decode(content)
    except DAMAGES as error:
        reason = quoted(str(error) or type(error).__name__)
        raise TraceError(f"{path}: the trace is damaged ({reason}); trace the run again") from error


def _decode(content: bytes) -> Trace:
    (length,) = _LENGTH.unpack_from(content, len(MAGIC))
    place = len(MAGIC) + _LENGTH.size
    if place + length > len(content):
        raise ValueError("it ends in its header")
    record = json.loads(inflate(content[place : place + length], most_bytes=_HEADER_BYTES))
    header = TraceHeader.from_record(record)
    place += length
    chunks = [np.zeros((0, len(_DTYPES)), np.int64)]
    end: tuple[int, bool] | None = None
    while place + _HEAD_BYTES <= len(content):
        num_events, num_bytes, first, last = _read_head(content, place)
        place += _HEAD_BYTES
        if not num_events:
            end = first, bool(last)
            break
        if place + num_bytes > len(content):
            break
        if num_events > _CHUNK_EVENTS:
            raise ValueError(f"a chunk says that it has {num_events:,} events")
        planes = inflate(content[place : place + num_bytes], most_bytes=num_events * _EVENT_BYTES)
        chunks.append(_from_planes(planes, num_events))
        place += num_bytes
    if end is not None and place < len(content):
        raise ValueError("something follows its end")
    rows = np.concatenate(chunks)
    _check_rows(rows, header)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    last_cycle = int(rows[-1, 0]) if len(rows) else 0
    end_cycle, ended_well = (last_cycle, False) if end is None else end
    return Trace(header, rows, end_cycle, ended_well, is_whole=end is not None)


def _read_head(content: bytes, place: int) -> tuple[int, int, int, int]:
    packed = content[place : place + _CHUNK.size]
    (check,) = _CHECK.unpack_from(content, place + _CHUNK.size)
    if check != zlib.crc32(packed):
        raise ValueError(f"byte {place:,} should begin a chunk, or the end")
    return _CHUNK.unpack(packed)


def _check_rows(rows: NDArray[np.int64], header: TraceHeader) -> None:
    """Raise ValueError for an event of an unknown kind, or outside the PEs."""
    if np.any(rows[:, 3] >= len(EventKind)):
        raise ValueError("it has an event of no known kind")
    if np.any((rows[:, 1] >= header.height) | (rows[:, 2] >= header.width)):
        raise ValueError("it has an event outside the program's PEs")


def _from_planes(payload: bytes, num_events: int) -> NDArray[np.int64]:
    if len(payload) != num_events * _EVENT_BYTES:
        raise ValueError(f"a chunk of {num_events:,} events has {len(payload):,} bytes")
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
