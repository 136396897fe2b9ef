"""Points that run on the fabric: CSL programs with params, and scripts with flags."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

import onewafer
from tests.sweep.studies import rows, sweep, write_study

EXAMPLE = Path(__file__).parents[3] / "examples" / "csl" / "axpy-sum"
LAYOUT = """
param rounds: u16;
const memcpy = @import_module("<memcpy/get_params>", .{ .width = 1, .height = 1 });
layout {
  @comptime_assert(rounds < 100);
  @set_rectangle(1, 1);
  @set_tile_code(0, 0, "pe.csl", .{ .memcpy_params = memcpy.get_params(0), .rounds = rounds });
  @export_name("main", fn()void);
}
"""
PE = """
param memcpy_params: comptime_struct;
param rounds: u16;
const sys_mod = @import_module("<memcpy/memcpy>", memcpy_params);
var sum: u16 = 0;
fn main() void {
  for (@range(u16, rounds)) |i| { sum += i; }
  sys_mod.unblock_cmd_stream();
}
comptime { @export_symbol(main); }
"""
STUDY = """
title = "loops"
objectives = { seconds = "min" }
[csl]
file = "program/layout.csl"
launch = "main, main"
[axes]
params.rounds = [4, 8, 200]
clock = ["850MHz", "1.7GHz"]
"""


@pytest.fixture
def program(tmp_path):
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "layout.csl").write_text(LAYOUT)
    (folder / "pe.csl").write_text(PE)
    return folder


def test_a_point_is_a_run_of_the_program_with_its_params(program, tmp_path, capsys):
    study = write_study(tmp_path, STUDY)
    code, out, err = sweep(capsys, study, "--workers", "1")

    assert code == 1
    assert "4 answered, 2 failed" in out
    assert "2 of 6 points failed" in err
    found = rows(study)
    short, short_fast, long, _, failed, _ = found
    assert "@comptime_assert" in failed["reason"]

    with onewafer.load(onewafer.compile_csl(program / "layout.csl", params={"rounds": 4})) as run:
        cycles = [run.launch("main").cycles for _ in range(2)]
    assert short["cycles"] == sum(cycles) < long["cycles"]
    assert short_fast["cycles"] == short["cycles"]
    assert short_fast["seconds"] == pytest.approx(short["seconds"] / 2)
    assert [item["name"] for item in short["breakdown"]] == ["main", "main"]


def test_a_change_in_a_source_is_another_program(program, tmp_path, capsys):
    text = STUDY.replace("[4, 8, 200]", "[4]").replace('"850MHz", ', "")
    study = write_study(tmp_path, text)
    sweep(capsys, study, "--workers", "1")
    before = rows(study)
    _, out, _ = sweep(capsys, study, "--workers", "1")
    assert "1 point, 1 of them known before" in out
    (program / "pe.csl").write_text(PE.replace("sum += i;", "sum += i; sum += i;"))
    _, out, _ = sweep(capsys, study, "--workers", "1")
    assert "1 point: 1 answered" in out
    assert rows(study)[0]["cycles"] > before[0]["cycles"]


@pytest.mark.slow
def test_a_host_script_runs_the_program_of_each_point(tmp_path, capsys):
    shutil.copytree(EXAMPLE, tmp_path / "axpy-sum", ignore=shutil.ignore_patterns("out"))
    text = """
    [csl]
    file = "axpy-sum/layout.csl"
    host = "axpy-sum/run.py"
    params = { block_size = 8 }
    [axes]
    hop_latency = [1, 9]
    """
    study = write_study(tmp_path, text)
    code, _, err = sweep(capsys, study, "--workers", "1")

    assert (code, err) == (0, "")
    near, far = rows(study)
    assert near["cycles"] < far["cycles"]
    assert [item["name"] for item in near["breakdown"]] == ["axpy_sum", "axpy_sum"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('launch = "main, main"', "", 'launch = "main" or host = "run.py"'),
        ("program/layout.csl", "program/layuot.csl", "there is no such file"),
        ("program/layout.csl", "program", "file = 'program': that is a folder; name the file"),
        ("params.rounds", "parms.rounds", "nearest: params"),
        ("clock =", "link_width = [2.0] #", "write a link_width of 1 or less"),
        ("[csl]", "[csl]\nprofile = 'fast'", "has no timing profile 'fast'"),
        ("[csl]", "[csl]\narch = 'wse4'", "there is no machine 'wse4'"),
    ],
)
@pytest.mark.usefixtures("program")
def test_a_study_of_a_program_that_means_nothing_is_refused(tmp_path, capsys, old, new, message):
    code, out, err = sweep(capsys, write_study(tmp_path, STUDY.replace(old, new)), "--workers", "1")
    assert code == 2
    assert message in f"{out}{err}"


@pytest.mark.slow
def test_a_script_runs_with_the_flags_of_each_point(tmp_path, capsys):
    pytest.importorskip("torch")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "net.py").write_text(
        "import argparse, torch\n"
        "p = argparse.ArgumentParser()\n"
        "p.add_argument('--width', type=int)\n"
        "width = p.parse_args().width\n"
        "net = torch.nn.Linear(16, width).eval()\n"
        "with torch.no_grad(): net(torch.ones(2, 16))\n"
    )
    text = """
    [script]
    file = "net/net.py"
    fidelity = "model"
    rectangle = "2x2"
    [axes]
    flags.width = [8, 64, -1]
    """
    study = write_study(tmp_path, text)
    code, _, err = sweep(capsys, study, "--workers", "1")

    narrow, wide, failed = rows(study)
    assert code == 1
    assert narrow["cycles"] < wide["cycles"]
    assert narrow["rectangles"] == "2×2"
    assert failed["status"] == "failed"
    assert "exit code 1" in err
