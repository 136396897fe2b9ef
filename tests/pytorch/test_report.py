import json
from dataclasses import replace

import pytest
from rich.console import Console

from onewafer.pytorch import Report, render, to_json, write_json
from onewafer.pytorch.executable import PeMemory
from onewafer.pytorch.report import HostCalls, PartCalls, ProgramReport

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
    memory=PeMemory(1, 0, 6000, 1234, 2048, 1006),
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
)
REPORT = Report(
    version="0.1.0",
    wafer_calls=6,
    compilations=1,
    recompilations=0,
    gradient_calls=(HostCalls("Sequential", "the result needs a gradient", 460),),
    fallbacks=(),
    parts=(),
    programs=(PROGRAM,),
)

TABLE = """\
onewafer report
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
calls on the host   460 × Sequential: the result needs a gradient
host fallbacks      none
"""


def shown(report):
    console = Console(width=100, force_terminal=False)
    with console.capture() as capture:
        console.print(render(report))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def test_table_has_every_figure():
    assert shown(REPORT) == TABLE


def test_unknown_figures_leave_no_row():
    modelled = replace(PROGRAM, memory=None, tile_programs=None, wavelet_hops_per_launch=None)
    text = shown(replace(REPORT, programs=(modelled,)))
    assert "SRAM" not in text
    assert "wavelet-hops" not in text
    assert "cycles a launch" in text


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


def test_parts_of_refused_modules_are_named():
    fallbacks = (HostCalls("GPTJModel", "no form", 2),)
    parts = (PartCalls("Linear", "GPTJModel", 1200), PartCalls("MLP", "GPTJModel", 4))
    lines = shown(replace(REPORT, fallbacks=fallbacks, parts=parts)).splitlines()
    assert lines[-3:] == [
        "host fallbacks      2 × GPTJModel: no form",
        "parts on the wafer  1,200 × Linear of GPTJModel",
        "                    4 × MLP of GPTJModel",
    ]


def test_report_of_nothing():
    empty = replace(REPORT, wafer_calls=0, compilations=0, gradient_calls=(), programs=())
    assert shown(empty).splitlines()[0] == "calls on the wafer  0"


def test_json_has_every_field_by_name(tmp_path):
    path = tmp_path / "report.json"
    write_json(REPORT, path)
    assert path.read_text() == to_json(REPORT)
    fields = json.loads(path.read_text())
    assert fields["format"] == "onewafer-report-1"
    assert fields["programs"][0]["memory"]["weight_bytes"] == 1234
    assert fields["gradient_calls"][0]["calls"] == 460


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
