import json
from dataclasses import replace

import pytest

from onewafer.errors import SourceLine
from onewafer.pytorch import Report, render, to_json, write_json
from onewafer.pytorch.host_work import Cause
from onewafer.pytorch.report import (
    ElementWork,
    FlopReport,
    HostCalls,
    HostCause,
    InnerCalls,
    NotCounted,
    describe_share,
)
from tests.execution.program_reports import MODEL, PROGRAM, shown

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

TABLES = """\
explained: docs/reference/report.md
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
│ all bytes in          │ 100,000 B, each weight once                     │
│ all bytes out         │ 15,360 B                                        │
│ parameters sent       │ 4 once, 2 again                                 │
└───────────────────────┴─────────────────────────────────────────────────┘
calls on the wafer  6
compilations        1 (0 of them recompilations)
on the host         460 × Sequential, digits.py:29: the result needs a gradient, 70% of the FLOP
"""


def test_calls_of_a_loss_are_not_counted_as_calls_of_the_model():
    loss = HostCalls("CrossEntropyLoss", None, TRAINING, 460, 0)
    both = replace(GRADIENT, calls=920, parts=(*GRADIENT.parts, loss))
    line = "460 × Sequential, 460 calls of other modules, digits.py:29: the result needs a gradient"
    assert line in shown(render(replace(REPORT, host=(both,))), width=120)


def test_table_has_every_figure():
    text = shown(render(REPORT, is_verbose=True))
    assert text.startswith(shown(render(REPORT)).rpartition("all tables:")[0])
    assert text.endswith(TABLES)


def test_busiest_programs_are_shown_and_the_rest_counted():
    programs = tuple(replace(PROGRAM, bucket_rows=n, cycles=n) for n in (1, 2, 4, 8, 16))
    text = shown(render(replace(REPORT, programs=programs), is_verbose=True))
    assert "16 rows" in text
    assert "2 rows" not in text
    assert "and 2 more programs with fewer cycles; --json has them all" in text


def test_calls_on_the_wafer_inside_refused_modules_are_named():
    inner = (InnerCalls("Linear", "GPTJModel", 1200), InnerCalls("MLP", "GPTJModel", 4))
    lines = shown(render(replace(REPORT, inner_calls=inner), is_verbose=True)).splitlines()
    assert lines[-3:-1] == [
        "inner calls         1,200 × Linear of GPTJModel, on the wafer",
        "                    4 × MLP of GPTJModel, on the wafer",
    ]


OPERATIONS = (NotCounted("mine::scan", TRAINING, 1200), NotCounted("mine::sort", None, 3))
NAMES = "not counted, on the host: 1,200 × mine::scan at digits.py:29, 3 × mine::sort"


@pytest.mark.parametrize(
    ("on_wafer", "not_counted", "words"),
    [
        (1_996, (), "0.2% of the script's matrix FLOP ran on the wafer (2 k of 1 M)."),
        (999_600, (), "99.9% of the script's matrix FLOP ran on the wafer (1 M of 1 M)."),
        (1_000_000, (), "100% of the script's matrix FLOP ran on the wafer (1 M of 1 M)."),
        (
            1_000_000,
            OPERATIONS,
            "All of the script's matrix FLOP that were counted ran on the wafer (1 M of 1 M; "
            + NAMES,
        ),
        (
            300_000,
            OPERATIONS,
            "At most 30% of the script's matrix FLOP ran on the wafer (300 k of 1 M; ",
        ),
        (0, OPERATIONS, "0% of the script's matrix FLOP ran on the wafer (0 of 1 M; "),
    ],
)
def test_the_headline_says_all_only_of_all(on_wafer, not_counted, words):
    flop = FlopReport(10**6, on_wafer, on_wafer / 10**6, not_counted=not_counted)
    text = describe_share(flop)
    assert text.startswith(words)
    assert ("100%" in text) == (on_wafer == flop.total and not not_counted)


def test_the_headline_names_element_wise_work_of_the_host():
    work = [ElementWork(f"Module{number}", TRAINING, 3_000) for number in range(5)]
    flop = FlopReport(10**6, 10**6, 1.0, elements_on_wafer=25_000, elements_on_host=(*work,))
    assert describe_share(flop) == (
        "100% of the script's matrix FLOP ran on the wafer (1 M of 1 M; "
        "element-wise results on the host: 15 k of 40 k, Module0 at digits.py:29, "
        "Module1 at digits.py:29, Module2 at digits.py:29, 2 other modules)."
    )


def test_report_of_nothing():
    nothing = FlopReport(0, 0, None)
    empty = replace(REPORT, flop=nothing, wafer_calls=0, compilations=0, host=(), programs=())
    assert shown(render(empty)) == "onewafer report\nNo matrix FLOP were counted.\n"
    assert shown(render(empty, is_verbose=True)).splitlines() == [
        "onewafer report",
        "No matrix FLOP were counted.",
        "calls on the wafer  0",
        "compilations        0 (0 of them recompilations)",
        "on the host         nothing",
    ]


def test_json_has_every_field_by_name(tmp_path):
    path = tmp_path / "report.json"
    write_json(REPORT, path)
    assert path.read_text() == to_json(REPORT)
    fields = json.loads(path.read_text())
    assert fields["format"] == "onewafer-report-4"
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
