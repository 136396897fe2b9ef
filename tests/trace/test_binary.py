"""Traces on disk: what is read is what was told, and damage is said."""

import dataclasses
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import TraceError
from onewafer.trace import Detail, Event, EventKind
from onewafer.trace.formats import ProgramNames, TraceHeader, TraceWriter, binary, read_trace

PROGRAM = ProgramNames("pe.csl", ("pe.csl:3", ""), ("return", "end_task"), (16, 18), {0: "main"})
HEADER = TraceHeader(
    arch="wse3",
    profile="sdk",
    clock_hertz=1e9,
    hop_cycles=2,
    task_start_cycles=3,
    result_cycles=3,
    bank_conflict_factor=2.0,
    width=4,
    height=3,
    fabric_width=11,
    fabric_height=5,
    offset_x=4,
    offset_y=1,
    detail=Detail.EVENTS,
    operations=("mov16", "mov32"),
    reasons=("input empty",),
    colors={4: "sum"},
    programs=(PROGRAM,),
    program_of_pe=(0,) * 11 + (-1,),
)
events = st.builds(
    Event,
    cycle=st.integers(0, 1 << 50),
    y=st.integers(0, 2),
    x=st.integers(0, 3),
    kind=st.sampled_from(EventKind),
    subject=st.integers(0, 1 << 45),
    value=st.integers(0, 1 << 48),
)


def written(told, header=HEADER, *, end=None):
    buffer = io.BytesIO()
    writer = TraceWriter(buffer, header)
    for event in told:
        writer.record(event)
    if end is not None:
        writer.end(end, is_well=True)
    else:
        writer._flush()
    return buffer.getvalue()


@given(st.lists(events, max_size=40), st.integers(1, 7))
def test_what_is_read_is_what_was_told(tmp_path_factory, told, chunk_events):
    path = tmp_path_factory.mktemp("trace") / "t.wafer-trace"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binary, "_CHUNK_EVENTS", chunk_events)
        path.write_bytes(written(told, end=1 << 51))
    trace = read_trace(path)
    assert list(trace.events()) == sorted(told, key=lambda e: e.cycle)  # stable, as the file is
    assert trace.header == HEADER
    assert (trace.end_cycle, trace.ended_well, trace.is_whole) == (1 << 51, True, True)
    by_pe = [(x, y, len(rows)) for x, y, rows in trace.of_pes()]
    assert by_pe == sorted(by_pe, key=lambda place: (place[1], place[0]))
    assert sum(count for *_, count in by_pe) == len(told)


def test_more_detail_leaves_out_what_is_said_twice(tmp_path):
    told = [Event(3, 0, 0, kind, 1, 1) for kind in EventKind]
    header = dataclasses.replace(HEADER, detail=Detail.CAUSES)
    (tmp_path / "t").write_bytes(written(told, header, end=9))
    kinds = {event.kind for event in read_trace(tmp_path / "t").events()}
    assert kinds == set(EventKind) - {EventKind.HOP, EventKind.RAMP_ARRIVAL}


def test_a_process_that_was_killed_leaves_whole_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(binary, "_CHUNK_EVENTS", 10)
    told = [Event(c, 0, 0, EventKind.TASK_START, 9, 0) for c in range(30)]
    content = written(told)
    path = tmp_path / "t"
    path.write_bytes(content)
    trace = read_trace(path)
    assert (len(trace.rows), trace.is_whole, trace.ended_well) == (30, False, False)
    path.write_bytes(content[:-5])
    trace = read_trace(path)
    assert (len(trace.rows), trace.end_cycle, trace.is_whole) == (20, 19, False)


def test_what_is_no_trace_is_refused(tmp_path):
    path = tmp_path / "t"
    with pytest.raises(TraceError, match="No such file"):
        read_trace(path)
    path.write_bytes(b"@0 dimX=3, dimY=2\n")
    with pytest.raises(TraceError, match="not a trace that onewafer wrote"):
        read_trace(path)
    path.write_bytes(binary.MAGIC)
    with pytest.raises(TraceError, match="damaged"):
        read_trace(path)
    path.write_bytes(binary.MAGIC.replace(b"2", b"1"))
    with pytest.raises(TraceError, match="another version of onewafer wrote it"):
        read_trace(path)


@pytest.fixture
def three_chunks(monkeypatch):
    """Return a whole trace of 30 events."""
    monkeypatch.setattr(binary, "_CHUNK_EVENTS", 10)
    return written([Event(c, 0, 0, EventKind.TASK_START, 9, c) for c in range(30)], end=40)


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_no_byte_changes_unnoticed(tmp_path, three_chunks, flip):
    """What a changed byte leaves readable is the same: there are bits that mean nothing."""
    path = tmp_path / "t"
    path.write_bytes(three_chunks)
    whole = read_trace(path)
    num_unread = 0
    for place in range(len(binary.MAGIC), len(three_chunks)):
        damaged = bytearray(three_chunks)
        damaged[place] ^= flip
        path.write_bytes(damaged)
        try:
            trace = read_trace(path)
        except TraceError as error:
            assert "t: the trace is damaged (" in str(error)  # noqa: PT017 - most of them raise
            num_unread += 1
        else:
            assert trace.header == whole.header
            assert trace.rows.tolist() == whole.rows.tolist()
            assert (trace.end_cycle, trace.is_whole) == (whole.end_cycle, True)
    assert num_unread > 0.9 * (len(three_chunks) - len(binary.MAGIC))


def test_a_trace_that_stops_anywhere_has_the_chunks_before(tmp_path, three_chunks):
    path = tmp_path / "t"
    path.write_bytes(written([], HEADER))
    header_bytes = len(path.read_bytes())
    found = set()
    for length in range(len(binary.MAGIC), len(three_chunks)):
        path.write_bytes(three_chunks[:length])
        if length < header_bytes:
            with pytest.raises(TraceError, match="damaged"):
                read_trace(path)
        else:
            trace = read_trace(path)
            assert not trace.is_whole
            assert [event.cycle for event in trace.events()] == list(range(len(trace.rows)))
            found.add(len(trace.rows))
    assert found == {0, 10, 20, 30}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Event(0, 0, 0, 99, 9, 0), "an event of no known kind"),
        (Event(0, 3, 0, EventKind.TASK_START, 9, 0), "outside the program's PEs"),
        (Event(0, 0, 4, EventKind.TASK_START, 9, 0), "outside the program's PEs"),
    ],
)
def test_events_that_cannot_be_are_refused(tmp_path, event, expected):
    (tmp_path / "t").write_bytes(written([event], end=3))
    with pytest.raises(TraceError, match=expected):
        read_trace(tmp_path / "t")


def test_what_follows_the_end_is_refused(tmp_path, three_chunks):
    (tmp_path / "t").write_bytes(three_chunks + b"\0")
    with pytest.raises(TraceError, match="something follows its end"):
        read_trace(tmp_path / "t")


def test_every_whole_chunk_is_on_disk_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(binary, "_CHUNK_EVENTS", 10)
    path = tmp_path / "t"
    with path.open("wb") as file:
        writer = TraceWriter(file, HEADER)
        for cycle in range(25):
            assert len(read_trace(path).rows) == cycle // 10 * 10
            writer.record(Event(cycle, 0, 0, EventKind.TASK_START, 9, 0))
