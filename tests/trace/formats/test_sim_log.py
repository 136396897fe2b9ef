"""A `sim.log` is what wse-viz reads: its own patterns take every line, and wavelets have a way."""

import io
import re
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given

from onewafer.errors import TraceError
from onewafer.geometry import Direction
from onewafer.trace import Detail, EventKind
from onewafer.trace.formats import write_sim_log
from tests.image.builder import make_image
from tests.simulator.assembly import EAST, RAMP, WEST, WSE2, receiver, route, sender
from tests.simulator.feature_generation import feature_programs
from tests.trace.fixtures import run_traced
from tests.trace.test_timeline import LENIENT, SLOW, slow_reader

# trace-parser.js of wse-viz, 8dff605; word for word.
PATTERNS = {
    "landing": r"^@(\d+) P(\d+)\.(\d+) \(\w+\) landing C(\d+) from link ([WESNR]),",
    "starved": r"^@(\d+) P(\d+)\.(\d+):.*Not enough wavelets \((?:\d+)\/(?:\d+)\) (?:for )?"
    r"(?:SRC\d) with C(\d+), IN_Q\[(?:\d+)\], SIMD-(?:\d+)",
    "stall": r"^@(\d+) P(\d+)\.(\d+):.*Pipe: (?:\d+), Msg: stall: (.+)",
    "wavelet": r"^@(\d+) P(\d+)\.(\d+) \(\w+\) wavelet C(\d+) ctrl=(\d), idx=(?:[0-9a-fA-F]+), "
    r"data=(?:[0-9a-fA-F]+) \([^)]*\([^)]*\)\), half=(?:\d), ident=([0-9a-fA-F]+) "
    r"landing=([RENWSD-]) departing=\/(.{5})\/",
    "writing": r"^@(\d+) P(\d+)\.(\d+):.*Writing wavelet C(\d+) .+ to OUT_Q\[(\d+)\]",
    "sending": r"^@(\d+) P(\d+)\.(\d+):.*Sending wavelet C(\d+) .+ ident:([0-9a-fA-F]{16}) "
    r"on OUT_Q\[(\d+)\]$",
    "full": r"^@(\d+) P(\d+)\.(\d+):.*Backpressure on C(\d+) for OUT_Q\[(\d+)\]",
    # Not one pattern in the viewer, but places in the line.
    "operation": r"^@(\d+) P(\d+)\.(\d+): \[EX OP\] (?:IDLE|\^ 0x[0-9a-f]{4}: T\d+(?:\.\w+)? \S+)$",
    "size": r"^@\d+ dimX=(\d+), dimY=(\d+)",
    "ours": r"^@\d+ (?:onewafer trace of \w+, \w+ timing|end of the run)$",
}
COMPILED = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}
SLOTS = "ENWSR"
STEPS = {d.name[0]: d.step for d in Direction}
OPPOSITE = {d.name[0]: d.opposite.name[0] for d in Direction}


def parsed(trace):
    """Return kind → groups of its lines; every line is of one kind, and cycles never go back."""
    text = io.StringIO()
    write_sim_log(trace, text)
    lines, last = defaultdict(list), 0
    for line in text.getvalue().splitlines():
        (found,) = [(name, m) for name, p in COMPILED.items() if (m := p.match(line))]
        cycle = int(line[1:].split(" ", 1)[0])
        assert cycle >= last
        last = cycle
        lines[found[0]].append(found[1].groups())
    return lines


@LENIENT
@given(feature_programs())
def test_every_line_is_one_that_the_viewer_takes(tmp_path, case):
    architecture, image = case
    trace, machine = run_traced(image, architecture, tmp_path / "t", Detail.INSTRUCTIONS)
    if trace is None:
        return
    lines = parsed(trace)
    assert lines["size"] == [(str(image.fabric_width), str(image.fabric_height))]
    kinds = trace.rows[:, 3].tolist()
    assert len(lines["wavelet"]) == kinds.count(EventKind.MOVE)
    assert len(lines["writing"]) == kinds.count(EventKind.QUEUED)
    links = machine.statistics().link_wavelets
    assert len(lines["landing"]) == links[:, :, : Direction.RAMP].sum()
    check_ways(lines["wavelet"])


def test_lines_are_as_short_as_the_viewer_allows(tmp_path):
    """A pattern of the viewer's needs so many letters, beside what a line is about."""
    trace, _ = run_traced(slow_reader(), SLOW, tmp_path / "t", Detail.INSTRUCTIONS)
    text = io.StringIO()
    write_sim_log(trace, text)
    lines = text.getvalue().splitlines()
    (longest,) = {max(len(line) for line in lines if " wavelet C" in line)}
    fields = "@1234 P4.1 wavelet C3 ctrl=0, idx=0, data=3b (59(u16)), half=0, "
    way = "ident=0123456789abcdef landing=W departing=/    R/ to_ce_from_router"
    assert longest <= len(fields + "(pe) " + way)


def check_ways(wavelets):
    """A wavelet is at a PE only if it began there, or one of its copies left for there before."""
    expected = defaultdict(int)
    for cycle, x, y, color, _, ident, landing, departing in wavelets:
        place = int(x), int(y)
        if landing != "R":
            assert expected[ident, place, landing, color] > 0, (cycle, ident)
            expected[ident, place, landing, color] -= 1
        for letter, shown in zip(SLOTS, departing, strict=True):
            assert shown in (letter, " ")
            if shown != " " and letter != "R":
                dx, dy = STEPS[letter]
                there = place[0] + dx, place[1] + dy
                expected[ident, there, OPPOSITE[letter], color] += 1


def test_a_stream_that_is_held_up(tmp_path):
    trace, _ = run_traced(slow_reader(), SLOW, tmp_path / "t", Detail.INSTRUCTIONS)
    lines = parsed(trace)
    assert len({ident for *_, ident, _, _ in lines["wavelet"]}) == 60
    assert [ident for *_, ident, _ in lines["sending"]] == [f"{n:016x}" for n in range(1, 61)]
    assert {queue for *_, queue in lines["full"]} == {"2"}
    assert {color for *_, color in lines["starved"]} == {"3"}


def test_a_wavelet_keeps_its_number_when_its_color_changes(tmp_path):
    swapped = replace(route(WEST, RAMP), swap_mask=1 << WEST)
    routes = {(0, 0, 3): route(RAMP, EAST), (1, 0, 2): swapped}
    placed = {(0, 0): sender(3, 2), (1, 0): receiver(2, 2)}
    image = make_image(WSE2, placed, width=2, routes=routes)
    trace, _ = run_traced(image, WSE2, tmp_path / "t", Detail.INSTRUCTIONS)
    lines = parsed(trace)
    ways = [(ident[-1], x, color) for _, x, _, color, _, ident, *_ in lines["wavelet"]]
    first = int(ways[0][1])
    expected = [("1", f"{first}", "3"), ("1", f"{first + 1}", "2")]
    assert [way for way in ways if way[0] == "1"] == expected
    assert len(ways) == 4


def test_a_trace_without_instructions_is_refused(tmp_path):
    trace, _ = run_traced(slow_reader(), SLOW, tmp_path / "t", Detail.CAUSES)
    with pytest.raises(TraceError, match="trace the run again, with an output that ends in"):
        write_sim_log(trace, io.StringIO())
