"""`onewafer csl` as a user meets it: what it shows of a program, and what it says of bad input."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onewafer.cli.csl import cslc
from onewafer.cli.csl import routes as csl_routes
from onewafer.cli.main import execute

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "csl" / "axpy-sum"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the compiled example."""
    sources = tmp_path_factory.mktemp("axpy")
    for name in ("layout.csl", "pe_program.csl"):
        shutil.copy(EXAMPLE / name, sources)
    options = ["--arch=wse3", "--fabric-dims=9,3", "--params=block_size:8", "--memcpy"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(sources)
        assert cslc.execute(["layout.csl", *options, "-o", "out"]) == 0
    return sources / "out"


def refused(capsys, *arguments):
    """Return what a command line that cannot be done says."""
    assert execute(["csl", *map(str, arguments)]) in (1, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("onewafer: ")
    assert "Traceback" not in captured.err
    return captured.err


def test_listing_has_source_lines_with_bytes_and_cycles(folder, capsys):
    assert execute(["csl", "listing", str(folder), "--pe", "1,0"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("program 1  ")
    assert "as on PE (1, 0), the only PE that runs it; wse3, sdk timing" in text
    assert "RUNTIME    4,176 B" in text
    assert "  local     9  pc     0  done" in text
    reasons = "issue 2, DSR wait 3, elements 8, bank conflict 8"
    assert f"     42     28       21  @fmacs(y_dsd, y_dsd, x_dsd, a);\n{'':24}{reasons}\n" in text
    assert "; beside: ≥ 1" in text
    assert "fmacs src0.0, src0.0, src1.1, r1  ; its sources share memory banks" in text
    assert execute(["csl", "listing", str(folder), "--pe", "1,0", "--profile", "silicon"]) == 0
    text = capsys.readouterr().out
    assert "wse3, silicon timing" in text
    assert "     42     28       31  @fmacs(y_dsd, y_dsd, x_dsd, a);" in text
    assert "unblock_cmd_stream();\n" in text  # code of a library has the line of its call


def test_listing_of_several_programs_says_which_there_are(folder, capsys):
    assert execute(["csl", "listing", str(folder)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("2 programs; --program N or --pe X,Y shows one")
    assert execute(["csl", "listing", str(folder), "--json"]) == 0
    programs = json.loads(capsys.readouterr().out)
    assert [(p["program"], p["num_pes"], p["first_pe"]) for p in programs] == [
        (0, 1, [0, 0]),
        (1, 1, [1, 0]),
    ]


def test_json_sums_are_those_of_the_instructions(folder, capsys):
    assert execute(["csl", "listing", str(folder), "--program", "0", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["num_bytes"] == sum(s["num_bytes"] for s in record["sections"])
    code = next(s for s in record["sections"] if s["kind"] == "code")
    assert code["num_bytes"] == sum(line["num_bytes"] for line in record["lines"])
    for line in record["lines"]:
        assert line["num_bytes"] == sum(i["num_bytes"] for i in line["instructions"])
        assert line["cycles"]["least"] == sum(i["cycles"]["least"] for i in line["instructions"])
    silicon = ["csl", "listing", str(folder), "--program", "0", "--json", "--profile", "silicon"]
    assert execute(silicon) == 0
    assert json.loads(capsys.readouterr().out)["profile"] == "silicon"


def test_listing_without_sources_has_no_texts(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "elsewhere" / "out"
    shutil.copytree(folder, copy)
    assert execute(["csl", "listing", str(copy), "--program", "0"]) == 0
    text = capsys.readouterr().out
    assert "     42     28       21\n" in text
    assert "@fmacs" not in text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--pe", "5,5"], "the program has 2×1 PEs, from 0,0 to 1,0"),
        (["--pe", "one"], "write X,Y, as in --pe 0,0"),
        (["--program", "7"], "there is no such program; there is: 0, 1"),
        (["--program", "0", "--pe", "0,0"], "give one of them"),
        (["--profile", "fast"], "fast"),
    ],
)
def test_listing_refuses(folder, capsys, options, expected):
    assert expected in refused(capsys, "listing", folder, *options)


def test_what_is_no_program_is_said(capsys, tmp_path):
    assert "there is no folder" in refused(capsys, "listing", tmp_path / "missing")
    assert "image.json" in refused(capsys, "listing", tmp_path)


def test_a_command_line_loads_nothing_that_its_command_does_not_use():
    code = (
        "import sys; from onewafer.cli.main import execute; execute(['--version']); "
        "mine = {m for m in sys.modules if m.startswith('onewafer.') and m.count('.') == 1}; "
        "print(sorted({'numpy', 'numba', 'torch'} & set(sys.modules)), sorted(mine))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    light = [
        *("api", "cli", "errors", "files", "geometry", "options", "process", "server"),
        *("settings", "terminal", "units"),
    ]
    expected = f"[] {[f'onewafer.{name}' for name in light]}"
    assert result.stdout.splitlines()[-1] == expected


# --- routes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("color", ["4", "sum_color"])
def test_routes_are_drawn_by_number_or_name(folder, capsys, tmp_path, color):
    path = tmp_path / "r.svg"
    assert execute(["csl", "routes", str(folder), "--color", color, "-o", str(path)]) == 0
    assert capsys.readouterr().out.endswith(
        "r.svg: color 4 (sum_color); 2 PEs route it; it enters from 1 ramp; it leaves to 1 ramp\n"
    )
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<svg ")
    assert "color 4 (sum_color) of out: 2×1 PEs of wse3" in text


def test_routes_names_the_colors_and_has_a_default_file(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert execute(["csl", "routes", str(folder)]) == 0
    assert "4 (sum_color): 2 PEs route it" in capsys.readouterr().out
    assert execute(["csl", "routes", str(folder), "--color", "4"]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["routes-4.svg"]


def test_what_is_too_large_for_a_picture_is_drawn_in_part(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(csl_routes, "MAX_DRAWN", 1)
    path = tmp_path / "r.svg"
    assert execute(["csl", "routes", str(folder), "--color", "4", "-o", str(path)]) == 0
    assert "only PEs 1×1 at (0, 0) of 2×1 at (0, 0) are drawn" in capsys.readouterr().out
    whole = ["csl", "routes", str(folder), "--color", "4", "-o", str(path)]
    assert execute([*whole, "--rectangle", "1,0,1x1"]) == 0
    assert "PEs 1×1 at (1, 0)" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--color", "7"], "--color 7: no PE configures it; configured: 4 (sum_color)"),
        (["--color", "sum"], "--color sum: no PE configures it; configured: 4 (sum_color)"),
        (["--color", "4", "-o", "missing/r.svg"], "there is no directory"),
        (["--color", "4", "-o", "r.png"], "-o r.png: the picture is SVG; write r.svg"),
        (["--color", "4", "-o", "."], "that is a directory; name a file"),
        (["--color", "4", "--rectangle", "0,0,3x1"], "leaves the program, which is 2×1 at (0, 0)"),
        (["--color", "4", "--rectangle", "0,0"], "write X,Y,WxH, as in --rectangle 0,0,8x4"),
    ],
)
def test_routes_refuses(folder, capsys, options, expected):
    assert expected in refused(capsys, "routes", folder, *options)


# --- trace ---------------------------------------------------------------------------------------

SCRIPT = EXAMPLE / "run.py"
MODULE = [sys.executable, "-c", "from onewafer.cli.main import main; main()", "csl", "trace"]


def run(*arguments, cwd):
    """Run `onewafer csl trace` as a process of its own, as its script does."""
    command = [*MODULE, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_a_script_is_traced(folder, tmp_path):
    options = ["-o", "t.perfetto-trace", "-o", "sim.log"]
    result = run(*options, "--", "cs_python", SCRIPT, "--name", folder, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "SUCCESS!\n")
    assert "wrote t.perfetto-trace, " in result.stderr
    assert "218 cycles; 8 tasks, 8 DSD operations, 4 moves of wavelets" in result.stderr
    assert (tmp_path / "sim.log").read_text().startswith("@0 dimX=9, dimY=3\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sim.log", "t.perfetto-trace"]


def test_a_script_that_simulates_nothing_is_a_failure(tmp_path):
    (tmp_path / "run.py").write_text("print('no wafer')\n")
    (tmp_path / "trace.perfetto-trace").write_text("of an earlier run")
    result = run("run.py", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "no wafer\n")
    assert "onewafer: run.py: nothing was simulated, so there is no trace" in result.stderr


@pytest.mark.slow
def test_a_script_that_fails_keeps_its_exit_code_and_its_trace(folder, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        "from cerebras.sdk.runtime.sdkruntimepybind import SdkRuntime\n"
        "runner = SdkRuntime(sys.argv[1])\n"
        "runner.load()\n"
        "runner.run()\n"
        "runner.launch('axpy_sum', 3.0, nonblock=False)\n"
        "raise SystemExit(7)\n"
    )
    result = run("run.py", folder, cwd=tmp_path)
    assert result.returncode == 7
    assert "wrote trace.perfetto-trace, " in result.stderr
    assert (tmp_path / "trace.perfetto-trace").stat().st_size > 500


def test_a_folder_is_traced_and_a_trace_converted(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert execute(["csl", "trace", "-o", "all.wafer-trace", str(folder)]) == 0
    assert "only the start-up runs" in capsys.readouterr().err
    launch = ["--launch", "axpy_sum:3", "--launch", "axpy_sum:-0.5"]
    assert execute(["csl", "trace", "-o", "all.wafer-trace", *launch, str(folder)]) == 0
    assert "218 cycles; 8 tasks, 8 DSD operations" in capsys.readouterr().err
    assert execute(["csl", "trace", "-o", "sim.log", "all.wafer-trace"]) == 0
    assert (tmp_path / "sim.log").read_text().startswith("@0 dimX=9, dimY=3\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk at hand")
@pytest.mark.parametrize("launch", ["nope", "axpy_sum:1,2"])
def test_a_launch_that_cannot_be_leaves_an_earlier_trace(folder, tmp_path, monkeypatch, launch):
    monkeypatch.chdir(tmp_path)
    earlier = tmp_path / "sim.log"
    earlier.write_text("of an earlier run")
    assert execute(["csl", "trace", "-o", "sim.log", "--launch", launch, str(folder)]) == 1
    assert earlier.read_text() == "of an earlier run"


def test_a_trace_that_is_not_written_is_a_failure(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full.log").symlink_to("/dev/full")
    assert execute(["csl", "trace", "-o", "full.log", str(folder)]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    full = tmp_path / "full.log"
    assert said == f"onewafer: the trace is not written: {full}: No space left on device"
    assert list(tmp_path.iterdir()) == [full]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["commands.sh"],
            "commands.sh is not a host script: trace the one it starts, or let ONEWAFER_",
        ),
        (["--profile", "silicon", "run.py"], "--profile is for a FOLDER: a script runs with sdk"),
        (["cp", "run.py"], "cp is not a host script"),
        (["missing.py"], "there is no script, folder or trace missing.py"),
        (["cs_python"], "after cs_python comes the script, as in cs_python run.py"),
        (["-o", "t.json", "run.py"], "the ending of the name says the format"),
        (["-o", "missing/t.log", "run.py"], "there is no folder"),
        (["--launch", "main", "run.py"], "--launch is for a FOLDER"),
        (["missing.wafer-trace"], "missing.wafer-trace: No such file or directory"),
        (["--launch", "main", "missing.wafer-trace"], "it takes -o and no more"),
        (["OUT", "--name"], "a folder has no arguments"),
        (["--launch", "nothing", "OUT"], "the program exports no 'nothing'"),
        (["--launch", "axpy_sum", "OUT"], "axpy_sum"),
        (["--launch", "axpy_sum:x", "OUT"], "write the arguments as numbers, as in"),
    ],
)
def test_trace_refuses(folder, capsys, tmp_path, monkeypatch, *, arguments, expected):
    monkeypatch.chdir(tmp_path)
    shown = [str(folder) if argument == "OUT" else argument for argument in arguments]
    (tmp_path / "run.py").touch()
    assert execute(["csl", "trace", *shown]) in (1, 2)
    assert expected in capsys.readouterr().err
