"""What Perfetto reads is the timeline: decoded here as its protocol buffers are defined."""

import io
import struct
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.geometry import Direction
from onewafer.trace import Detail
from onewafer.trace.formats import build_timelines, write_perfetto
from onewafer.trace.formats.protobuf import varint
from tests.simulator.feature_generation import feature_programs
from tests.trace.fixtures import run_traced
from tests.trace.test_timeline import LENIENT, SLOW, slow_reader

BEGIN, END, COUNTER = 1, 2, 4


def read_varint(content, place):
    number = shift = 0
    while True:
        byte = content[place]
        number |= (byte & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if byte < 0x80:
            return number, place


def decode(content):
    """Return field number → list of values; messages stay bytes."""
    fields, place = defaultdict(list), 0
    while place < len(content):
        tag, place = read_varint(content, place)
        match tag & 7:
            case 0:
                value, place = read_varint(content, place)
            case 1:
                (value,) = struct.unpack_from("<d", content, place)
                place += 8
            case 2:
                length, place = read_varint(content, place)
                value, place = content[place : place + length], place + length
            case other:
                raise AssertionError(other)
        fields[tag >> 3].append(value)
    return fields


def one(fields, number, default=None):
    return fields[number][0] if fields[number] else default


def tracks_of(trace):
    """Return path of names → [(timestamp, type, name or value, arguments)], as a reader sees it."""
    buffer = io.BytesIO()
    write_perfetto(trace, buffer)
    names, strings, keys = {}, {}, {}
    described, events = {}, defaultdict(list)
    for index, packet in enumerate(map(decode, decode(buffer.getvalue())[1])):
        assert one(packet, 10) == 1  # one sequence
        assert one(packet, 13) == (3 if index == 0 else 2)  # whose names are kept
        for interned in map(decode, packet[12]):
            for field, known in ((2, names), (3, keys), (29, strings)):
                entries = map(decode, interned[field])
                known.update({one(e, 1): one(e, 2).decode() for e in entries})
        for track in map(decode, packet[60]):
            process = decode(one(track, 3, b""))
            name = one(track, 2) or one(process, 6)
            described[one(track, 1)] = one(track, 5), name.decode()
        for event in map(decode, packet[11]):
            arguments = {}
            for annotation in map(decode, event[4]):
                text = one(annotation, 17)
                value = one(annotation, 4) if text is None else strings[text]
                arguments[keys[one(annotation, 1)]] = value
            what = one(event, 44) if one(event, 9) == COUNTER else names.get(one(event, 10))
            events[one(event, 11)].append((one(packet, 8), one(event, 9), what, arguments))

    def path(uuid):
        parent, name = described[uuid]
        return (*path(parent), name) if parent else (name,)

    return {path(uuid): events[uuid] for uuid in described}


def slices_of(events):
    """Return (start, end, name) of the slices of a track; they must nest."""
    found, stack, last = [], [], 0
    for cycle, type_, name, _ in events:
        assert cycle >= last
        last = cycle
        if type_ == BEGIN:
            stack.append((cycle, name))
        elif type_ == END:
            start, begun = stack.pop()
            found.append((start, cycle, begun))
    assert not stack
    return sorted(found)


@pytest.mark.parametrize(
    ("number", "expected"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\1"), (300, b"\xac\2")]
)
def test_numbers_are_base_128(number, expected):
    assert varint(number) == expected


@given(st.integers(0, 1 << 64))
def test_numbers_come_back(number):
    assert read_varint(varint(number), 0) == (number, len(varint(number)))


@LENIENT
@given(feature_programs())
def test_perfetto_shows_the_timeline(tmp_path, case):
    architecture, image = case
    trace, machine = run_traced(image, architecture, tmp_path / "t", Detail.CAUSES)
    if trace is None:
        return
    tracks = tracks_of(trace)
    expected, departed = [], 0
    for pe in build_timelines(trace):
        for slices in (*pe.threads.values(), *pe.router.values()):
            expected += [(s.start, s.end, s.name) for s in slices]
        departed += sum(len(cycles) for cycles in pe.departures.values())
    found = [s for events in tracks.values() for s in slices_of(events)]
    assert sorted(found) == sorted(expected)
    assert departed == machine.statistics().link_wavelets.sum()


def test_a_pe_is_a_track_of_its_row(tmp_path):
    trace, machine = run_traced(slow_reader(), SLOW, tmp_path / "t", Detail.CAUSES)
    tracks = tracks_of(trace)
    row = "row 0 of wse3 (1 ns is 1 cycle)"
    main = tracks[row, "PE (3, 0) slow.csl"]
    begun = {what: arguments for _, type_, what, arguments in main if type_ == BEGIN}
    assert set(begun) == {"main (launched)", "fmacs", "wait: input empty C3"}
    issued = begun["fmacs"].pop("issued at cycle")
    assert issued < next(cycle for cycle, _, what, _ in main if what == "fmacs")
    assert begun["fmacs"] == {"elements": 60, "source": "kernel.csl:7"}
    assert any(path[-1] == "router: C3 from WEST" for path in tracks)
    link = tracks[row, "PE (1, 0)", "link EAST"]
    cycles = [cycle for cycle, *_ in link]
    assert cycles == sorted(set(cycles))
    # Windows of equal length, in which the link was as full as its value says.
    window = min(b - a for a, b in pairwise(cycles))
    values = [value for *_, value, _ in link]
    held = zip(values, cycles, [*cycles[1:], cycles[-1]], strict=True)
    carried = sum(value / 100 * (end - start) for value, start, end in held)
    assert window == 8
    assert carried == machine.statistics().link_wavelets[0, 1, Direction.EAST]
