"""Traces for https://ui.perfetto.dev, in its own binary form.

A row of PEs is a process, a PE a track in it. The track of a PE has its tasks, with the
synchronous DSD operations inside, and in these what they waited for; below are a track for each
microthread, for each color that was held up in the router, and a counter for each link: how full
it was.

A cycle is shown as a nanosecond, so that the time axis reads in cycles.

Field numbers are those of `protos/perfetto/trace/*.proto` of Perfetto, v59.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.geometry import Direction
from onewafer.trace.formats.protobuf import bytes_field, double_field, number_field, text_field
from onewafer.trace.formats.timeline import MAIN_THREAD, PeTimeline, Slice, build_timelines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from onewafer.trace.formats.binary import Trace

# Trace, TracePacket
_PACKET = 1
_TIMESTAMP, _SEQUENCE_ID, _TRACK_EVENT, _INTERNED, _FLAGS, _DESCRIPTOR = 8, 10, 11, 12, 13, 60
_INCREMENTAL_CLEARED, _NEEDS_INCREMENTAL = 1, 2
# TrackDescriptor, ProcessDescriptor, CounterDescriptor
_UUID, _NAME, _PROCESS, _PARENT, _COUNTER, _ORDERING, _RANK = 1, 2, 3, 5, 8, 11, 12
_PID, _PROCESS_NAME = 1, 6
_UNIT_NAME = 6
_EXPLICIT = 3
# TrackEvent
_CATEGORY_IDS, _ANNOTATIONS, _TYPE, _NAME_ID, _TRACK, _DOUBLE_VALUE = 3, 4, 9, 10, 11, 44
_BEGIN, _END, _COUNT = 1, 2, 4
# DebugAnnotation, InternedData
_ANNOTATION_NAME_ID, _INT_VALUE, _STRING_ID = 1, 4, 17
_CATEGORIES, _EVENT_NAMES, _ANNOTATION_NAMES, _STRINGS = 1, 2, 3, 29
_ID, _TEXT = 1, 2

_THE_SEQUENCE = 1
_NUM_WINDOWS = 256
"""Most values of a counter, one for each window of the run."""
_LEAST_SHIFT = 3
"""The least binary logarithm of a window's cycles."""


def write_perfetto(trace: Trace, file: BinaryIO) -> None:
    """Write a trace for the Perfetto UI."""
    writer = _Writer(trace, file)
    for timeline in build_timelines(trace):
        writer.write_pe(timeline)
    writer.flush()


class _Names:
    """Interned texts: each is written once, and referred to by its number."""

    def __init__(self, field: int) -> None:
        self._field = field
        self._ids: dict[str, int] = {}

    def id(self, text: str, fresh: list[bytes]) -> int:
        """Return the number of a text; on its first use, append its definition to `fresh`."""
        known = self._ids.get(text)
        if known is not None:
            return known
        number = len(self._ids) + 1
        self._ids[text] = number
        entry = number_field(_ID, number) + text_field(_TEXT, text)
        fresh.append(bytes_field(self._field, entry))
        return number


class _Writer:
    """Writes packets, and numbers the tracks."""

    def __init__(self, trace: Trace, file: BinaryIO) -> None:
        self._trace = trace
        self._file = file
        self._packets: list[bytes] = []
        self._next_uuid = 1
        self._rows: dict[int, int] = {}
        self._categories = _Names(_CATEGORIES)
        self._names = _Names(_EVENT_NAMES)
        self._annotation_names = _Names(_ANNOTATION_NAMES)
        self._strings = _Names(_STRINGS)
        self._is_first = True
        shift = max(0, (trace.end_cycle // _NUM_WINDOWS).bit_length())
        self._window_shift = max(_LEAST_SHIFT, shift)

    def write_pe(self, timeline: PeTimeline) -> None:
        header = self._trace.header
        program = header.program(timeline.x, timeline.y)
        name = f"PE ({timeline.x}, {timeline.y})"
        track = self._track(
            f"{name} {program.name.split(' (')[0]}" if program is not None else name,
            parent=self._row(timeline.y),
            rank=timeline.x,
        )
        self._write_slices(track, timeline.threads.get(MAIN_THREAD, ()))
        for thread, slices in sorted(timeline.threads.items()):
            if thread != MAIN_THREAD:
                child = self._track(f"microthread {thread}", parent=track, rank=thread)
                self._write_slices(child, slices)
        for rank, (where, slices) in enumerate(sorted(timeline.router.items()), MAIN_THREAD):
            child = self._track(f"router: {where}", parent=track, rank=rank)
            self._write_slices(child, slices)
        for direction, cycles in sorted(timeline.departures.items()):
            self._write_link(track, direction, cycles)
        self.flush()

    def flush(self) -> None:
        self._file.write(b"".join(self._packets))
        self._packets.clear()

    # --- tracks ----------------------------------------------------------------------------------

    def _row(self, y: int) -> int:
        if y not in self._rows:
            name = f"row {y} of {self._trace.header.arch} (1 ns is 1 cycle)"
            process = number_field(_PID, y + 1) + text_field(_PROCESS_NAME, name)
            self._rows[y] = self._describe(bytes_field(_PROCESS, process))
        return self._rows[y]

    def _track(self, name: str, *, parent: int, rank: int, more: bytes = b"") -> int:
        fields = text_field(_NAME, name) + number_field(_PARENT, parent)
        return self._describe(fields + number_field(_RANK, rank) + more)

    def _describe(self, fields: bytes) -> int:
        uuid = self._next_uuid
        self._next_uuid += 1
        ordering = number_field(_ORDERING, _EXPLICIT)
        self._packet(bytes_field(_DESCRIPTOR, number_field(_UUID, uuid) + fields + ordering))
        return uuid

    # --- slices ----------------------------------------------------------------------------------

    def _write_slices(self, track: int, slices: Sequence[Slice]) -> None:
        """Write nested slices, sorted by start."""
        open_ends: list[int] = []
        for slice_ in slices:
            while open_ends and open_ends[-1] <= slice_.start:
                self._write_end(track, open_ends.pop())
            # Clipped to its parent: otherwise the reader would end the parent.
            end = min(slice_.end, open_ends[-1]) if open_ends else slice_.end
            self._write_begin(track, slice_)
            open_ends.append(end)
        while open_ends:
            self._write_end(track, open_ends.pop())

    def _write_begin(self, track: int, slice_: Slice) -> None:
        fresh: list[bytes] = []
        event = (
            number_field(_TYPE, _BEGIN)
            + number_field(_TRACK, track)
            + number_field(_CATEGORY_IDS, self._categories.id(slice_.category, fresh))
            + number_field(_NAME_ID, self._names.id(slice_.name, fresh))
            + b"".join(self._annotations(slice_, fresh))
        )
        self._event(slice_.start, event, fresh)

    def _write_end(self, track: int, cycle: int) -> None:
        self._event(cycle, number_field(_TYPE, _END) + number_field(_TRACK, track))

    def _annotations(self, slice_: Slice, fresh: list[bytes]) -> Iterator[bytes]:
        for name, value in slice_.arguments:
            fields = number_field(_ANNOTATION_NAME_ID, self._annotation_names.id(name, fresh))
            if isinstance(value, int):
                fields += number_field(_INT_VALUE, value)
            else:
                fields += number_field(_STRING_ID, self._strings.id(value, fresh))
            yield bytes_field(_ANNOTATIONS, fields)

    # --- counters --------------------------------------------------------------------------------

    def _write_link(self, parent: int, direction: Direction, cycles: Sequence[int]) -> None:
        """Write the utilisation of a link by window, where it changes."""
        shift = self._window_shift
        name = "to the ramp" if direction is Direction.RAMP else f"link {direction.name}"
        unit = bytes_field(_COUNTER, text_field(_UNIT_NAME, "% of a wavelet a cycle"))
        track = self._track(name, parent=parent, rank=100 + direction, more=unit)
        counts: dict[int, int] = {}
        for cycle in cycles:
            counts[cycle >> shift] = counts.get(cycle >> shift, 0) + 1
        shown = 0
        for window in sorted({0, *counts, *(window + 1 for window in counts)}):
            count = counts.get(window, 0)
            if count != shown or not window:
                value = double_field(_DOUBLE_VALUE, 100 * count / (1 << shift))
                event = number_field(_TYPE, _COUNT) + number_field(_TRACK, track) + value
                self._event(window << shift, event)
                shown = count

    # --- packets ---------------------------------------------------------------------------------

    def _event(self, cycle: int, event: bytes, fresh: Sequence[bytes] = ()) -> None:
        fields = number_field(_TIMESTAMP, cycle) + bytes_field(_TRACK_EVENT, event)
        if fresh:
            fields += bytes_field(_INTERNED, b"".join(fresh))
        self._packet(fields)

    def _packet(self, fields: bytes) -> None:
        flags = _NEEDS_INCREMENTAL | (_INCREMENTAL_CLEARED if self._is_first else 0)
        self._is_first = False
        around = number_field(_SEQUENCE_ID, _THE_SEQUENCE) + number_field(_FLAGS, flags)
        self._packets.append(bytes_field(_PACKET, fields + around))
