import json
from dataclasses import replace

import pytest

from onewafer.errors import SourceLine
from onewafer.execution import Phase
from onewafer.execution.activity import PeMemory
from onewafer.execution.placement import Candidate
from onewafer.execution.report import (
    CacheReport,
    LaunchOrigins,
    PartReport,
    PhaseReport,
    PlacementReport,
    ProgramReport,
    SimulationReport,
    TensorReport,
    render_placement,
)
from onewafer.execution.report.simulation_words import show_fabric_values
from onewafer.graph import LayerPart
from onewafer.mesh import Axis
from onewafer.pytorch import Report, render, to_json, write_json
from onewafer.pytorch.host_work import Cause
from onewafer.pytorch.report import FlopReport, HostCalls, HostCause, InnerCalls
from onewafer.terminal.console import PlainConsole

PROGRAM = ProgramReport(
    module="Sequential",
    compiled_because="first call",
    arch="wse3",
    arch_title="WSE-3 (CS-3, 2024)",
    profile="sdk",
    fidelity="fabric",
    engine="fast",
    dtype="f32",
    clock_hertz=850e6,
    width=4,
    height=2,
    bucket_rows=64,
    tile_programs=8,
    memory_bytes=49152,
    memory=PeMemory(1, 0, 6000, 1234, 2048, 0, 1006),
    cache=None,
    placement=PlacementReport(
        rows=64,
        refused_rows=(256, 128),
        is_pinned=False,
        candidates=(
            Candidate(1, 1, 60_000, None, "10,848 B too many"),
            Candidate(2, 2, 20_000, 15_000, None),
            Candidate(4, 2, 10_288, 10_000, None),
            Candidate(4, 4, 9_000, 10_000, None),
        ),
        tensors=(
            TensorReport("x", "input", 1, 64, Axis.X, 16, "as numbered"),
            TensorReport("y", "Linear", 2, 32, Axis.Y, 16, "2 heads interleaved"),
        ),
        redistributions=0,
    ),
    on_host=(),
    not_finite=None,
    calls=6,
    launches=6,
    samples=360,
    cycles=60000,
    cycles_per_launch=10000.0,
    cycles_per_sample=60000 / 360,
    seconds_per_launch=10000 / 850e6,
    seconds_per_sample=60000 / 360 / 850e6,
    wavelet_hops_per_launch=20576.0,
    busy_pe_fraction=0.6251,
    busy_link_fraction=0.0432,
    bytes_in=100000,
    bytes_out=15360,
    parameters_sent=4,
    parameters_resent=2,
    flop=600_000,
    phases=(),
)


def part(name, measured, expected, *, is_collective=False):
    busy = None if measured is None else 0.5
    return PartReport(name, is_collective, measured, busy, expected)


DECODE = PhaseReport(
    phase=Phase.DECODE,
    calls=14,
    launches=14,
    rows=14,
    cycles=14 * 40_000,
    cycles_per_row=40_000.0,
    seconds_per_row=40_000 / 850e6,
    rows_per_second=850e6 / 40_000,
    expected_cycles_per_row=40_800.0,
    busy_pe_fraction=0.9,
    busy_link_fraction=0.003,
    parts=(
        part(LayerPart.ATTENTION, 20_000.0, 21_000.0),
        part(LayerPart.ATTENTION, 6_000.0, 5_500.0, is_collective=True),
        part(LayerPart.MLP, 10_000.0, 10_500.0),
        part(LayerPart.MLP, 3_000.0, 2_800.0, is_collective=True),
        part(None, 1_000.0, 1_000.0),
    ),
)
PREFILL = replace(
    DECODE,
    phase=Phase.PREFILL,
    calls=1,
    launches=1,
    rows=1_234,
    cycles_per_row=9_000.0,
    expected_cycles_per_row=8_910.0,
    rows_per_second=850e6 / 9_000,
)
MODEL = replace(
    PROGRAM,
    module="LlamaForCausalLM",
    memory=PeMemory(1, 0, 6000, 1234, 2048, 512, 1006),
    cache=CacheReport(512, 8.0, 64, 496),
    on_host=("cutting 'pixels' into patches", "adding 1 row of zeros"),
    not_finite=None,
    phases=(PREFILL, DECODE),
)
TRAINING = SourceLine("/home/me/digits.py", 29, "loss = loss_of(model(x))  # see [/docs]")
GRADIENT = HostCause(
    cause=Cause.GRADIENT,
    reason="the result needs a gradient",
    line=None,
    module="Sequential",
    place=TRAINING,
    num_places=1,
    calls=460,
    nested_calls=0,
    flop=1_400_000,
    share=0.7,
    parts=(HostCalls("Sequential", None, TRAINING, 460, 1_400_000),),
)
REPORT = Report(
    version="0.1.0",
    ended=None,
    flop=FlopReport(2_000_000, 600_000, 0.3),
    advice=(),
    wafer_calls=6,
    compilations=1,
    recompilations=0,
    host=(GRADIENT,),
    inner_calls=(),
    workers=(),
    programs=(PROGRAM,),
)

TABLE = """\
onewafer report
30% of the script's FLOP ran on the wafer (600 k of 2 M).
┌───────────────────────┬─────────────────────────────────────────────────┐
│ program               │ Sequential, 64 rows, f32                        │
│ compiled because      │ first call                                      │
│ machine               │ WSE-3 (CS-3, 2024), sdk timing, fabric fidelity │
│ engine                │ fast                                            │
│ rectangle             │ 4×2, 8 PEs used                                 │
│ tile programs         │ 8                                               │
├───────────────────────┼─────────────────────────────────────────────────┤
│ SRAM, fullest PE      │ 10,288 B (21%) at PE (1, 0)                     │
│   code, runtime       │ 6,000 B                                         │
│   weights             │ 1,234 B                                         │
│   activations         │ 2,048 B                                         │
│   buffers             │ 1,006 B                                         │
├───────────────────────┼─────────────────────────────────────────────────┤
│ cycles a launch       │ 10,000                                          │
│ time a launch         │ 11.8 µs at 850 MHz                              │
│ cycles a sample       │ 167                                             │
│ time a sample         │ 196 ns at 850 MHz                               │
│ wavelet-hops a launch │ 20,576                                          │
│ PEs busy              │ 62.5%                                           │
│ links busy            │ 4.3%                                            │
├───────────────────────┼─────────────────────────────────────────────────┤
│ all calls             │ 6 in 6 launches, 360 samples                    │
│ all bytes in          │ 100,000 B, weights included, replicas not       │
│ all bytes out         │ 15,360 B                                        │
│ parameters sent       │ 4 once, 2 again                                 │
└───────────────────────┴─────────────────────────────────────────────────┘
calls on the wafer  6
compilations        1 (0 of them recompilations)
on the host         460 × Sequential, digits.py:29: the result needs a gradient, 70% of the FLOP
"""


def shown(report, width=100, form=render):
    console = PlainConsole(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(form(report))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def test_calls_of_a_loss_are_not_counted_as_calls_of_the_model():
    loss = HostCalls("CrossEntropyLoss", None, TRAINING, 460, 0)
    both = replace(GRADIENT, calls=920, parts=(*GRADIENT.parts, loss))
    line = "460 × Sequential, 460 calls of other modules, digits.py:29: the result needs a gradient"
    assert line in shown(replace(REPORT, host=(both,)), width=120)


def test_table_has_every_figure():
    assert shown(REPORT) == TABLE


def test_values_without_a_distance_are_equal():
    simulation = SimulationReport(
        origins=LaunchOrigins(simulated=2, known=0, derived=0, closed_form=0),
        lowest_ratio=1.0,
        largest_ratio=1.0,
        depends_on=(),
        compared=2,
        other_bits=0,
        beyond_bound=0,
        distance=0.0,
        not_simulated=None,
    )
    assert show_fabric_values(simulation) == "reader's bits in 2 launches, equal to PyTorch's"
    near = replace(simulation, distance=7e-7)
    assert show_fabric_values(near) == "reader's bits in 2 launches, 7e-07 from PyTorch"


def test_unknown_figures_leave_no_row():
    modelled = replace(PROGRAM, tile_programs=None, wavelet_hops_per_launch=None)
    text = shown(replace(REPORT, programs=(modelled,)))
    assert "tile programs" not in text
    assert "wavelet-hops" not in text
    assert "cycles a launch" in text


PHASES = """\
┌───────────────────┬────────────────────────────┬────────────────────────────┐
│ costs of a token  │                    prefill │                     decode │
├───────────────────┼────────────────────────────┼────────────────────────────┤
│ tokens            │            1,234 in 1 call │             14 in 14 calls │
│ cycles            │                      9,000 │                     40,000 │
│ closed form       │              8,910 (-1.0%) │             40,800 (+2.0%) │
│ time              │                    47.1 µs │                    47.1 µs │
│ tokens/s, 850 MHz │                     94,444 │                     21,250 │
│ PEs busy          │                      90.0% │                      90.0% │
│ links busy        │                       0.3% │                       0.3% │
├───────────────────┼────────────────────────────┼────────────────────────────┤
│ cycles by part    │  measured      closed form │  measured      closed form │
│ attention         │    20,000 222%      21,000 │    20,000  50%      21,000 │
│ MLP               │    10,000 111%      10,500 │    10,000  25%      10,500 │
│ collectives       │     9,000 100%       8,300 │     9,000  22%       8,300 │
│ start and end     │     1,000  11%       1,000 │     1,000   2%       1,000 │
│   of them idle    │       900  10%           – │     4,000  10%           – │
└───────────────────┴────────────────────────────┴────────────────────────────┘
measured: the mean over PEs, from about 64 samples a launch; idle: counters;
closed form: of the PE that is last (docs/explanation/costs.md)
"""


def test_prefill_and_decode_of_a_language_model_are_told_apart():
    text = shown(replace(REPORT, programs=(MODEL,)), width=80)
    assert PHASES in text
    for row in (
        "│   KV cache       │ 512 B ",
        "│ KV cache a token │ 512 B, 8 B on each PE ",
        "│ context          │ 64 tokens; 496 would fit ",
        "│ all calls        │ 6 in 6 launches, 360 tokens ",
        "│ host, before     │ cutting 'pixels' into patches; adding 1 row of zeros",
    ):
        assert row in text
    for mixed in ("cycles a launch", "time a sample", "wavelet-hops"):
        assert mixed not in text


BATCH = """\
┌────────────────────┬───────────────────┐
│ costs of a sample  │             batch │
├────────────────────┼───────────────────┤
│ cycles             │            40,000 │
│ samples/s, 850 MHz │            21,250 │
├────────────────────┼───────────────────┤
│ cycles by part     │ closed form share │
│ MLP                │      40,000   98% │
│ start and end      │         800    2% │
└────────────────────┴───────────────────┘
calls on the wafer  6
"""


def test_closed_form_stands_alone_where_nothing_was_simulated():
    batch = replace(
        DECODE,
        phase=Phase.BATCH,
        busy_pe_fraction=None,
        busy_link_fraction=None,
        parts=(part(LayerPart.MLP, None, 40_000.0), part(None, None, 800.0)),
    )
    model = replace(PROGRAM, memory=replace(PROGRAM.memory, x=None, y=None), phases=(batch,))
    text = shown(replace(REPORT, programs=(model,)), width=80)
    assert "10,288 B (21%) in closed form" in text
    assert BATCH in text


PLACEMENT = """\
placement of Sequential
256, 128 rows a launch fit nowhere. 4×2 was chosen: of the rectangles whose PEs
have room, the one that takes fewest cycles (closed form) for a launch of 64
rows. A PE has 49,152 B. `--rectangle` pins another.
┏━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━┓
┃ rectangle ┃ bytes a PE ┃ cycles ┃ verdict               ┃
┡━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━┩
│ 1×1       │   60,000 B │      – │ 10,848 B too many     │
│ 2×2       │   20,000 B │ 15,000 │ 1.50 times the cycles │
│ 4×2       │   10,288 B │ 10,000 │ chosen                │
│ 4×4       │    9,000 B │ 10,000 │ as fast, on more PEs  │
└───────────┴────────────┴────────┴───────────────────────┘
The first tensor lies along x; every linear operation changes the axis, others
keep it, and what is added must lie alike: none had to be redistributed. To
exchange x and y, exchange the sides.
"""


def test_placement_is_explained_in_words():
    text = shown(REPORT.programs, width=80, form=render_placement)
    assert text.startswith(PLACEMENT)
    assert "│ Linear     │     2 │       32 │ y     │   16 │ 2 heads interleaved │" in text
    placement = replace(PROGRAM.placement, is_pinned=True, redistributions=2)
    pinned = replace(PROGRAM, placement=placement)
    text = shown((pinned,), width=80, form=render_placement)
    assert "4×2 was asked for, and fits with 64 rows a\nlaunch." in text
    assert "2 tensors had to be redistributed" in text
    assert "no program was placed" in shown((), form=render_placement)


def test_one_of_a_kind_is_singular():
    one = replace(PROGRAM, bucket_rows=1, width=1, height=1, calls=1, launches=1, samples=1)
    text = shown(replace(REPORT, programs=(one,)))
    for words in ("Sequential, 1 row, f32", "1×1, 1 PE used", "1 in 1 launch, 1 sample "):
        assert words in text


def test_busiest_programs_are_shown_and_the_rest_counted():
    programs = tuple(replace(PROGRAM, bucket_rows=n, cycles=n) for n in (1, 2, 4, 8, 16))
    text = shown(replace(REPORT, programs=programs))
    assert "16 rows" in text
    assert "2 rows" not in text
    assert "and 2 more programs with fewer cycles; --json has them all" in text


def test_calls_on_the_wafer_inside_refused_modules_are_named():
    inner = (InnerCalls("Linear", "GPTJModel", 1200), InnerCalls("MLP", "GPTJModel", 4))
    lines = shown(replace(REPORT, inner_calls=inner)).splitlines()
    assert lines[-3:-1] == [
        "inner calls         1,200 × Linear of GPTJModel, on the wafer",
        "                    4 × MLP of GPTJModel, on the wafer",
    ]


def test_report_of_nothing():
    nothing = FlopReport(0, 0, None)
    empty = replace(REPORT, flop=nothing, wafer_calls=0, compilations=0, host=(), programs=())
    assert shown(empty).splitlines() == [
        "onewafer report",
        "The script multiplied no matrices: there are no FLOP to count.",
        "calls on the wafer  0",
        "compilations        0 (0 of them recompilations)",
        "on the host         nothing",
    ]


def test_json_has_every_field_by_name(tmp_path):
    path = tmp_path / "report.json"
    write_json(REPORT, path)
    assert path.read_text() == to_json(REPORT)
    fields = json.loads(path.read_text())
    assert fields["format"] == "onewafer-report-2"
    assert fields["programs"][0]["memory"]["weight_bytes"] == 1234
    assert fields["host"][0]["calls"] == 460
    assert fields["host"][0]["place"]["number"] == 29
    assert fields["flop"]["share"] == 0.3


def test_json_has_phases_and_parts():
    (program,) = json.loads(to_json(replace(REPORT, programs=(MODEL,))))["programs"]
    assert program["cache"]["longest_context"] == 496
    assert program["on_host"][1] == "adding 1 row of zeros"
    prefill, decode = program["phases"]
    assert (prefill["phase"], decode["phase"]) == ("prefill", "decode")
    assert decode["parts"][1] == {
        "part": "attention",
        "is_collective": True,
        "cycles_per_row": 6_000.0,
        "busy_fraction": 0.5,
        "expected_cycles_per_row": 5_500.0,
    }
    assert decode["parts"][-1]["part"] is None


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    path.write_text("old")

    def interrupted(_self, _target):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(path), "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_json(REPORT, path)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_link_is_written_through(tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    link.symlink_to(target)
    write_json(REPORT, link)
    assert link.is_symlink()
    assert target.read_text() == to_json(REPORT)
