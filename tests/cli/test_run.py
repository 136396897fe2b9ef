"""`onewafer run` as a user meets it: options, messages, exit codes, files."""

import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap

import pytest

import onewafer.pytorch
from onewafer import __version__
from onewafer.cli import run as command
from onewafer.cli.csl import cslc
from onewafer.cli.main import execute
from onewafer.errors import InternalError, RecordingError
from onewafer.execution import launch_files
from onewafer.pytorch.report import building, summary

SCRIPT = """
    import sys
    import torch
    from torch import nn

    print("script", sys.argv[1:])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Softmax(-1), nn.Linear(5, 3))
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, torch.clone):  # for the host only
        model(torch.ones(2, 6)).sum().backward()
    with torch.no_grad():
        print(tuple(model(torch.ones(2, 6)).shape))
        torch.nn.Softshrink()(torch.ones(2))
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return str(path)


def test_a_system_stands_for_its_wafer(script, tmp_path, capsys):
    report = tmp_path / "report.json"
    options = ["--arch", "cs2", "--fidelity", "model", "--rectangle", "2x3", "--json", str(report)]
    assert execute(["run", *options, script]) == 0

    assert capsys.readouterr().err.startswith(
        "onewafer: --arch cs2: its wafer is simulated, wse2\n"
    )
    assert json.loads(report.read_text())["programs"][0]["arch"] == "wse2"


def test_report_follows_the_script_s_output(script, tmp_path, capsys):
    report = tmp_path / "report.json"
    options = ["--fidelity", "model", "--rectangle", "2x3", "--clock", "1GHz"]
    assert execute(["run", *options, "--json", str(report), script, "--arch", "mine"]) == 0
    out, err = capsys.readouterr()
    assert out == "script ['--arch', 'mine']\n(2, 3)\n"
    assert "PEs used     6 of 883,350 (0.0007%): 2×3, as you asked." in err
    assert "1 × Sequential, script.py:10: the result needs a gradient" in err
    assert "1 call without FLOP (Softshrink)" in err
    assert "calls on the wafer" not in err  # no tables
    fields = json.loads(report.read_text())
    assert fields["format"] == "onewafer-report-4"
    assert (fields["wafer_calls"], fields["compilations"], fields["recompilations"]) == (1, 1, 0)
    (program,) = fields["programs"]
    assert (program["arch"], program["profile"]) == ("wse3", "sdk")
    assert (program["width"], program["height"], program["clock_hertz"]) == (2, 3, 1e9)
    assert program["seconds_per_launch"] == program["cycles"] / 1e9
    assert fields["work"]["seconds"] == program["seconds_per_launch"]
    assert fields["work"]["fastest"]["speedup"] >= 1
    assert [cause["module"] for cause in fields["host"]] == [None, "Sequential", "Softshrink"]
    assert sorted(tmp_path.iterdir()) == [report, tmp_path / "script.py"]


def test_fabric_report_has_every_figure(script, tmp_path, capsys):
    report = tmp_path / "report.json"
    options = ["--verbose", "--fidelity", "fabric", "--rectangle", "2x2", "--json", str(report)]
    assert execute(["run", *options, script]) == 0
    err = capsys.readouterr().err
    for row in (
        "tile programs",
        "SRAM, fullest PE",
        "  code, runtime",
        "  weights",
        "  activations",
        "  buffers",
        "cycles a launch",
        "cycles a sample",
        "wavelet-hops",
        "PEs busy",
        "links busy",
        "all bytes in",
        "all bytes out",
        "on the host",
    ):
        assert row in err
    (program,) = json.loads(report.read_text())["programs"]
    assert [name for name, value in program.items() if value is None] == [
        "cache", "not_finite", "simulation", "step"
    ]  # fmt: skip
    (phase,) = program["phases"]
    assert phase["phase"] == "batch"
    assert all(None not in part.values() for part in phase["parts"] if part["part"])
    measured = sum(part["cycles_per_row"] for part in phase["parts"])
    assert measured == pytest.approx(phase["cycles_per_row"])
    expected = sum(part["expected_cycles_per_row"] for part in phase["parts"])
    assert expected == pytest.approx(phase["expected_cycles_per_row"])
    assert expected == pytest.approx(measured, rel=0.1)


def test_the_placement_is_explained_when_asked_and_always_in_json(script, tmp_path, capsys):
    report = tmp_path / "report.json"
    options = ["--fidelity", "model", "--json", str(report)]
    assert execute(["run", *options, script]) == 0
    assert "placement of" not in capsys.readouterr().err
    assert execute(["run", *options, "--explain-placement", script]) == 0
    err = capsys.readouterr().err
    assert err.index("on the host") < err.index("placement of Sequential")
    assert "chosen" in err
    (program,) = json.loads(report.read_text())["programs"]
    placement = program["placement"]
    assert len(placement["candidates"]) == 16
    assert {tensor["axis"] for tensor in placement["tensors"]} == {"x", "y"}
    assert not placement["is_pinned"]


@pytest.mark.parametrize("fidelity", ["auto", "fabric"])
@pytest.mark.slow
def test_cslc_compiles_the_csl_of_a_run(script, tmp_path, capsys, monkeypatch, fidelity):
    monkeypatch.setattr(launch_files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    options = ["--fidelity", fidelity, "--rectangle", "2x3"]
    written = []
    for folder in ("first", "again"):  # again: `auto` knows the launch, and compiles nothing
        report = tmp_path / f"{folder}.json"
        arguments = ["--csl", folder, "--json", str(report), script]
        assert execute(["run", *options, *arguments]) == 0
        (program,) = (tmp_path / folder).iterdir()
        written.append({path.name: path.read_text() for path in program.iterdir()})
    assert program == tmp_path / "again" / "Sequential"
    assert written[0] == written[1]
    (simulated,) = json.loads(report.read_text())["programs"]
    if fidelity == "auto":
        origins = simulated["simulation"]["origins"]
        assert (origins["simulated"], origins["known"]) == (0, 1)

    what, command_line = written[0]["layout.csl"].splitlines()[:2]
    assert what == "// Sequential, 2 rows on 2×3 PEs. In this folder:"
    name, *arguments = shlex.split(command_line.removeprefix("//"))
    monkeypatch.chdir(program)
    capsys.readouterr()
    assert (name, cslc.execute(arguments)) == ("cslc", 0)
    num_programs = simulated["tile_programs"]
    assert f"2×3 PEs of wse3, {num_programs} tile programs" in capsys.readouterr().out


HOSTILE = """
    import torch

    class Net(torch.nn.Module):
        def forward(self, x):
            return torch.cumsum([x, x][0][:100:2], 0)  # see [/docs]

    with torch.no_grad():
        Net()(torch.ones(2, 2))
"""


def test_source_lines_are_no_markup(tmp_path, capsys):
    path = tmp_path / "[red]script.py"
    path.write_text(textwrap.dedent(HOSTILE))
    assert execute(["run", "--fidelity", "model", str(path)]) == 0
    err = " ".join(capsys.readouterr().err.split())
    assert "`torch.cumsum([x, x][0][:100:2], 0)`" in err
    assert "[red]script.py:9" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "[/docs] :100: \x1b[31m.py"],
        ["compare", "[/docs] :100: \x1b[31m"],
        ["bench", "--only", "[/docs] :100: \x1b[31m"],
        ["resume", "[/docs] :100: \x1b[31m"],
        ["csl", "listing", "[/docs] :100: \x1b[31m"],
        ["validate", "fabric", "--only", "[/docs] :100: \x1b[31m"],
        ["validate", "perf", "--only", "[/docs] :100: \x1b[31m"],
    ],
)
def test_what_the_user_writes_is_quoted_as_it_stands(arguments, capsys):
    assert execute(arguments) in (1, 2)
    err = capsys.readouterr().err
    assert "[/docs] :100:" in err
    assert "\x1b" not in err


def test_quiet_is_quiet(script, capsys):
    assert execute(["run", "--quiet", "--fidelity", "model", script]) == 0
    assert capsys.readouterr().err == ""


def test_script_that_raises_keeps_its_traceback_code_and_report(tmp_path, capsys):
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT) + "raise ValueError('mine')\n")
    report = tmp_path / "report.json"
    assert execute(["run", "--fidelity", "model", "--json", str(report), str(path)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n")
    assert err.index("ValueError: mine") < err.index("onewafer report")
    assert json.loads(report.read_text())["wafer_calls"] == 1


@pytest.mark.parametrize(
    ("ending", "code", "ended"),
    [
        ("os.kill(os.getpid(), signal.SIGINT)", 130, "Ctrl-C"),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143, "SIGTERM"),
        ("raise ValueError", 1, "ValueError"),
        ("sys.exit(7)", 7, None),
    ],
)
def test_what_is_known_is_told_however_a_script_ends(ending, code, ended, tmp_path, capsys):
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT) + f"import os, signal\n{ending}\nprint('not here')")
    report = tmp_path / "report.json"
    assert execute(["run", "--fidelity", "model", "--json", str(report), str(path)]) == code
    out, err = capsys.readouterr()
    assert "not here" not in out
    assert "how sure" in err
    assert ("The run ended early" in err) == (ended is not None)
    fields = json.loads(report.read_text())
    assert (fields["wafer_calls"], fields["ended"]) == (1, ended)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


WORKERS = """
    import multiprocessing, os, sys, torch
    from torch import nn

    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU())

    def work(number):
        with torch.no_grad():
            for _ in range(number):
                model(torch.ones(2, 6))

    def work_and_die(number):
        work(number)
        os._exit(3)

    fork = multiprocessing.get_context("fork")
    for target in (work, work_and_die):
        process = fork.Process(target=target, args=(5,), name=target.__name__)
        process.start()
        process.join()
    if os.fork() == 0:
        work(7)
        sys.exit(4)
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
    work(1)
"""


def test_calls_in_worker_processes_are_counted_and_named(tmp_path):
    path, report, said = tmp_path / "script.py", tmp_path / "report.json", tmp_path / "said"
    path.write_text(textwrap.dedent(WORKERS))
    child = os.fork()  # the script forks, too, and its children come back to here
    if child == 0:
        for descriptor in (1, 2):
            os.dup2(os.open(said, os.O_CREAT | os.O_WRONLY | os.O_APPEND), descriptor)
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        os._exit(execute(["run", "--fidelity", "model", "--json", str(report), str(path)]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    fields = json.loads(report.read_text())
    found = {(entry["process"], entry["calls"]) for entry in fields["workers"]}
    assert found == {("work", 5), ("work_and_die", 5), ("os.fork", 7)}
    assert fields["wafer_calls"] == 1
    text = " ".join(said.read_text().split())
    assert text.startswith("4 ")
    assert text.count("onewafer report") == 1
    assert "17 × Sequential, on the host, FLOP not counted, in 3 worker processes" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.py"], "onewafer: there is no script nowhere.py\n"),
        (["."], "onewafer: . is a directory; name the script in it\n"),
        (["--arch", "wse9", "x.py"], "there is no machine 'wse9'; the catalog has: toy"),
        (["--rectangle", "big", "x.py"], "write WIDTHxHEIGHT in PEs, e.g. 8x4"),
        (["--against", "h100y8", "x.py"], "there is no system 'h100y8'; nearest: h100, h200."),
        (["--against", "", "x.py"], "no system is named; write"),
        (["--against", "h100x8", "x.py"], "there is no step or pass to compare with h100x8"),
        (["--json", "no/where.json", "x.py"], "there is no directory"),
        (["--json", ".", "x.py"], "that is a directory; name a file"),
        (["--json", "/proc/x.json", "x.py"], "--json /proc/x.json: it cannot be written: "),
        (["--csl", ".", "x.py"], "it holds files; name another folder, or empty this one\n"),
        (["--csl", "x.py", "x.py"], "x.py: that is a file; name a folder\n"),
        (["--csl", "no/where", "x.py"], "no/where: there is no folder "),
        (["--csl", "/proc/x", "x.py"], "CSL cannot be written to /proc/x: "),
        (
            ["--context", "64", "--rows-per-launch", "100", "x.py"],
            "--rows-per-launch 100: write 1 to 64 tokens, those of a sequence (--context 64)",
        ),
        (["--recktangle", "2x2", "x.py"], "No such option: --recktangle"),
        ([], "Missing argument"),
    ],
)
def test_user_errors_are_one_message(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.py").touch()
    assert execute(["run", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_refusal_that_is_an_error_is_said_after_the_report(tmp_path, capsys):
    path = tmp_path / "script.py"
    path.write_text(
        "import torch\nwith torch.no_grad():\n    torch.nn.Linear(900, 900)(torch.ones(1, 900))\n"
    )
    assert execute(["run", "--strict", "--rectangle", "1x1", str(path)]) == 2
    err = capsys.readouterr().err
    assert "The run ended early (option strict); this is what is known so far." in err
    message, place = err.splitlines()[-2:]
    assert message.startswith("onewafer: the wafer cannot run Linear, and strict makes that an err")
    assert place == f"  in {path}, line 3"
    assert "Traceback" not in err


def test_missing_torch_is_a_sentence(script, capsys, monkeypatch):
    monkeypatch.setattr("onewafer.api.torch_presence.find_spec", lambda _name: None)
    assert execute(["run", script]) == 2
    assert "pip install 'onewafer[torch]'" in capsys.readouterr().err


def test_bug_of_ours_is_said_to_be_one(script, capsys, monkeypatch):
    def broken(*_args, **_kwargs):
        raise KeyError("lost")

    monkeypatch.setattr(command, "_run", broken)
    assert execute(["run", script]) == 70
    assert "internal error: KeyError: 'lost'" in capsys.readouterr().err


def test_interrupt_has_its_own_code(script, monkeypatch):
    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_run", interrupted)
    assert execute(["run", script]) == 130


def test_version_and_help(capsys):
    assert execute(["--version"]) == 0
    assert capsys.readouterr().out == f"onewafer {__version__}\n"
    assert execute(["run", "--help"]) == 0
    assert "report goes to stderr" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--version"], ["run", "nowhere.py"]])
def test_command_line_does_not_load_torch(arguments):
    code = (
        "import sys; from onewafer.cli.main import execute; "
        f"execute({arguments}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.slow
def test_the_report_says_which_engine_ran(script, tmp_path, capsys, engine):
    report = tmp_path / "report.json"
    options = ["--fidelity", "fabric", "--engine", engine, "--rectangle", "2x2", "--verbose"]
    assert execute(["run", *options, "--json", str(report), script]) == 0
    assert json.loads(report.read_text())["programs"][0]["engine"] == engine
    assert f"│ engine                │ {engine}" in capsys.readouterr().err


def test_a_launch_can_be_bounded(script, capsys, monkeypatch):
    options = ["--fidelity=fabric", "--engine=reference", "--rectangle", "2x2"]
    assert execute(["run", *options, "--max-cycles", "50", script]) == 1
    message = "is not over after 50 cycles, the limit that was set (--max-cycles, "
    assert message in capsys.readouterr().err
    monkeypatch.setenv("ONEWAFER_MAX_CYCLES", "60")
    assert execute(["run", *options, script]) == 1
    assert "is not over after 60 cycles" in capsys.readouterr().err


def test_an_unknown_engine_is_refused_before_torch_is_loaded(script, capsys):
    assert execute(["run", "--engine", "quick", script]) == 2
    err = capsys.readouterr().err
    assert err == (
        "onewafer: --engine quick: there is no such engine; choose from fast, reference\n"
    )


@pytest.mark.slow
def test_a_run_is_recorded_also_where_its_launches_are_known(script, tmp_path, capsys):
    file = tmp_path / "run.parquet"
    options = ["--rectangle", "2x2", "--engine", "reference", "--record", str(file), "--quiet"]
    assert execute(["run", *options, script]) == 0
    file.unlink()
    assert execute(["run", *options, script]) == 0
    assert f"onewafer: wrote {file}, " in capsys.readouterr().err
    assert file.exists()


@pytest.mark.parametrize("options", [["--live"], ["--sample-every", "9"]])
def test_what_is_asked_of_a_recording_needs_one(script, capsys, options):
    assert execute(["run", *options, str(script)]) == 2
    assert f"{options[0]} is for a run that is recorded" in capsys.readouterr().err


def test_a_run_without_simulation_has_no_recording(script, tmp_path, capsys):
    file = tmp_path / "run.parquet"
    options = ["--fidelity", "model", "--record", str(file)]
    assert execute(["run", *options, script]) == RecordingError.exit_code
    assert "nothing was simulated, so there is no recording" in capsys.readouterr().err
    assert not file.exists()


FAILING = {
    "values": (building, "report_causes"),
    "words": (summary, "describe_share"),
    "JSON": (onewafer.pytorch, "to_json"),
}
"""Stages of making a report → where the error of ours is."""


def fail(*_args, **_options):
    """Fail as code of ours does with an error that was not foreseen."""
    return list[int]()[17]


@pytest.mark.parametrize("stage", FAILING)
def test_a_report_that_fails_leaves_the_script_its_result(
    script, tmp_path, capsys, monkeypatch, stage
):
    monkeypatch.setenv("ONEWAFER_RAISE_OWN_ERRORS", "0")
    monkeypatch.setenv("ONEWAFER_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(*FAILING[stage], fail)
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT) + "sys.exit(3)\n")
    options = ["--fidelity", "fabric", "--rectangle", "1x1"]

    assert execute(["run", *options, script]) == 3

    out, err = capsys.readouterr()
    assert out == "script []\n(2, 3)\n"
    (kept,) = (tmp_path / "errors").iterdir()
    assert "onewafer: the report could not be made: a bug of onewafer, please report it (" in err
    assert f"kept in {kept})" in err
    monkeypatch.setenv("ONEWAFER_RAISE_OWN_ERRORS", "1")
    assert execute(["run", *options, script]) == InternalError.exit_code
