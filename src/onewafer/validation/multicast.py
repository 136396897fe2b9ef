"""WSE-3: a multicast along a line, hops and links (EPCC-CS3, ALCF-CS3)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from onewafer.validation.case import Case, Kind, Point, Target

if TYPE_CHECKING:
    from onewafer.validation.bench import Bench, Run

_EAST, _WEST, _SOUTH, _NORTH = range(4)
_WORD_BYTES = 4
_PROBE_WORDS = 8

_SHORTEST = {
    64: {1: 39, 16: 53, 64: 101, 256: 293, 512: 549},
    256: {1: 93, 16: 107, 64: 155, 256: 347, 512: 603},
    1024: {1: 309, 16: 323, 64: 371, 256: 563, 512: 819},
    2048: {1: 597, 64: 659, 256: 851, 512: 1107},
}
"""EPCC-CS3: payload bytes → receivers → shortest cycles. The 16 of 2,048 bytes is not published."""

_RULE = (
    "PE 0 sends K bytes to the N PEs after it; all use synchronous operations. From the last read "
    "of the cycle counter before the send to the first after the receive on PE N, less the time of "
    "two reads in a row"
)


def _run_line(
    bench: Bench, profile: str, *, num_receivers: int, num_words: int, heading: int = _EAST
) -> Run:
    run = bench.run(
        "line",
        "wse3",
        profile,
        params={"num_pes": num_receivers + 1, "num_words": num_words, "heading": heading},
    )
    run.expect("values", *_place(heading, num_receivers, num_receivers), value=1.0)
    return run


def _place(heading: int, index: int, last: int) -> tuple[int, int]:
    """Return (x, y) of PE `index` of the line, PE 0 the sender."""
    position = last - index if heading in (_WEST, _NORTH) else index
    return (position, 0) if heading in (_EAST, _WEST) else (0, position)


def _latency(bench: Bench, profile: str, *, num_receivers: int, num_words: int) -> int:
    watch = _run_line(bench, profile, num_receivers=num_receivers, num_words=num_words).stopwatch
    calibration, sent, _ = watch.reads(0)
    return watch.reads(num_receivers)[-1] - sent - (sent - calibration)


def _synchronized_latency(bench: Bench, num_bytes: int, num_receivers: int) -> float:
    words = num_bytes // _WORD_BYTES
    measured = _latency(bench, "silicon", num_receivers=num_receivers, num_words=words)
    return measured - num_receivers


def _synchronized_intercept(bench: Bench) -> float:
    num_bytes, num_receivers = 64, 16
    measured = _synchronized_latency(bench, num_bytes, num_receivers)
    return measured - 9 * num_bytes / 32 - (num_receivers - 1)


def _hop(profile: str, bench: Bench, heading: int, near: int, far: int) -> float:
    """Return the cycles per hop: the delay of PE `far` behind PE `near`, by their distance."""
    watch = _run_line(
        bench, profile, num_receivers=far, num_words=_PROBE_WORDS, heading=heading
    ).stopwatch
    ends = [watch.last_element(*_place(heading, index, far)) for index in (near, far)]
    return (ends[1] - ends[0]) / (far - near)


def _wavelet(profile: str, bench: Bench) -> float:
    """Return the cycles per wavelet, from the difference of two lengths."""
    short, long = 72, 360
    times = [_latency(bench, profile, num_receivers=1, num_words=words) for words in (short, long)]
    return (times[1] - times[0]) / (long - short)


def _turn(profile: str, bench: Bench) -> float:
    """Return the extra cycles of 4 hops east and 4 south over 8 hops east."""
    spans: list[int] = []
    for width, height in ((9, 1), (5, 5)):
        params: dict[str, int | bool] = {
            "width": width,
            "height": height,
            "num_words": _PROBE_WORDS,
        }
        run = bench.run("turn", "wse3", profile, params=params)
        run.expect("values", width - 1, height - 1, value=1.0)
        spans.append(run.stopwatch.last_anywhere() - run.stopwatch.first_element())
    return spans[1] - spans[0]


def _shared_link(bench: Bench) -> float:
    """Return the cycles per wavelet of two streams that share a link, relative to one stream."""
    spans: list[int] = []
    for num_words in (72, 360):
        run = bench.run("contention", "wse3", "silicon", params={"num_words": num_words})
        run.expect("values", 3, value=1.0)
        spans.append(run.stopwatch.last_anywhere() - run.stopwatch.first_element())
    return (spans[1] - spans[0]) / 288 / _wavelet("silicon", bench)


_HOP_RULE = (
    "a multicast of 8 wavelets along a line: how much later the receive ends on the farther PE, "
    "by the hops between the two"
)
_HOP = Case(
    name="hop",
    machine="wse3",
    profile="silicon",
    quantity="one hop",
    rule=_HOP_RULE,
    target=Target(absolute=0.0005),
    source="ALCF-CS3",
    kind=Kind.CALIBRATION,
    basis="hop_cycles comes from it",
    measure=partial(_hop, "silicon"),
    points=(
        Point("east, hops 1 to 32", 2.0, (_EAST, 1, 32)),
        Point("north, hops 1 to 32", 2.0, (_NORTH, 1, 32)),
        Point("south, hops 1 to 32", 2.0, (_SOUTH, 1, 32)),
        Point("west, hops 1 to 32", 2.0, (_WEST, 1, 32)),
    ),
)
_WAVELET = Case(
    name="wavelet",
    machine="wse3",
    profile="silicon",
    quantity="one wavelet on a link",
    rule="one hop, as line-multicast: the time of 360 words less that of 72, by 288",
    target=Target(absolute=0.0005),
    source="ALCF-CS3, EPCC-CS3",
    kind=Kind.CALIBRATION,
    basis="link_window_words and link_window_cycles come from it",
    measure=partial(_wavelet, "silicon"),
    points=(Point("one link", 1.125),),
)
_TURN = Case(
    name="turn",
    machine="wse3",
    profile="silicon",
    quantity="turn from a row into a column",
    rule="8 wavelets: the time over 4 hops east and 4 south less that over 8 hops east",
    target=Target(absolute=2),
    source="ALCF-CS3",
    kind=Kind.VALIDATION,
    basis="no constant comes from it",
    measure=partial(_turn, "silicon"),
    points=(Point("one turn", 20.0),),
    finding=(
        "not modelled: a router treats all its links alike (M50), and no source explains the time "
        "of a turn. The study fitted it before it found that its clocks were set a cycle a hop "
        "wrong, and corrected straight routes only; software that receives and sends again would "
        "explain it: 29 cycles in a program of SPIKE's that turns so"
    ),
)
CASES = (
    Case(
        name="line-multicast",
        machine="wse3",
        profile="silicon",
        quantity="multicast along a line, stock time synchronisation",
        rule=f"{_RULE} and less 1 cycle a hop, as the stock synchronisation does",
        target=Target(absolute=0.5),
        source="EPCC-CS3",
        kind=Kind.CALIBRATION,
        basis="link_window_words and link_window_cycles come from these runs (and from ALCF-CS3)",
        measure=_synchronized_latency,
        points=tuple(
            Point(
                f"K={num_bytes} B, N={receivers}",
                cycles,
                (num_bytes, receivers),
                work=receivers * num_bytes // _WORD_BYTES,
            )
            for num_bytes, row in _SHORTEST.items()
            for receivers, cycles in row.items()
        ),
        finding=(
            "slopes over K and N are exact, the intercept is not (see line-multicast-intercept): "
            "every point is late by the same few cycles; for N=1 theirs is 1 above its own formula"
        ),
    ),
    Case(
        name="line-multicast-intercept",
        machine="wse3",
        profile="silicon",
        quantity="constant of the line multicast, 20 in the published formula",
        rule="line-multicast at K=64 B and N=16, less 9·K/32 + (N−1)",
        target=Target(absolute=0.5),
        source="EPCC-CS3",
        kind=Kind.VALIDATION,
        basis="set-up, ramp and resume come from ALCF-CS3 and NOWR",
        measure=_synchronized_intercept,
        points=(Point("K=64 B, N=16", 20.0),),
        finding=(
            "11 of our cycles are resume_cycles, derived from copies in memory on silicon (set-up "
            "15 of ALCF-CS3). The receives of the original are asynchronous; where behind them it "
            "reads the counter is not said"
        ),
    ),
    _HOP,
    replace(
        _HOP,
        name="hop-sdk",
        profile="sdk",
        measure=partial(_hop, "sdk"),
    ),
    Case(
        name="hop-far-west",
        machine="wse3",
        profile="silicon",
        quantity="one hop to the west beyond 32 hops, published as 2.9 to 3.3",
        rule=_HOP_RULE,
        target=Target(absolute=0.2),
        source="ALCF-CS3",
        kind=Kind.VALIDATION,
        basis="no constant comes from it",
        measure=partial(_hop, "silicon"),
        points=(Point("west, hops 33 to 64", 3.1, (_WEST, 33, 64)),),
        finding=(
            "not modelled: a link is the same everywhere (M50); why long routes to the west are "
            "slower the study that measured it leaves open"
        ),
    ),
    _WAVELET,
    replace(
        _WAVELET,
        name="wavelet-sdk",
        profile="sdk",
        measure=partial(_wavelet, "sdk"),
        points=(Point("one link", 1.0),),
    ),
    Case(
        name="link-contention",
        machine="wse3",
        profile="silicon",
        quantity="two streams over one link by one stream alone",
        unit="times",
        rule="two streams of 360 words less two of 72, by 288 and by wavelet",
        target=Target(relative=0.01),
        source="ALCF-CS3",
        kind=Kind.CALIBRATION,
        basis="the rule that a link serialises (M54) and link_window_words come from it",
        measure=_shared_link,
        points=(Point("full serialisation", 2.0),),
    ),
    _TURN,
    replace(
        _TURN,
        name="turn-sdk",
        profile="sdk",
        measure=partial(_turn, "sdk"),
        points=(Point("one turn", 33.0),),
    ),
)
