"""`cs_python` is Python."""

import json
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import onewafer
from onewafer.arch import load_architecture
from onewafer.image import Opcode, SourceLocation, save
from tests.cli.running.test_process import INTERRUPTED_IMPORT
from tests.image.builder import ProgramBuilder, make_image

MODULE = [sys.executable, "-m", "onewafer.cli.csl.cs_python"]


def run(*arguments, cwd):
    return subprocess.run(
        [*MODULE, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_script_sees_what_python_gives_it(tmp_path):
    (tmp_path / "neighbour.py").write_text("WORD = 'beside'\n")
    (tmp_path / "run.py").write_text(
        "import sys, neighbour, cerebras.sdk.sdk_utils\n"
        "print(__name__, sys.argv, neighbour.WORD, sys.path[0])\n"
        "print(sys.executable)\n"
    )
    result = run("run.py", "--name", "out dir", cwd=tmp_path)
    assert result.stderr == ""
    first, second = result.stdout.splitlines()
    assert first == f"__main__ ['run.py', '--name', 'out dir'] beside {tmp_path.resolve()}"
    assert second == sys.executable


@pytest.mark.parametrize("module", ["numpy", "onewafer.host.sdk.runtime"])
def test_a_ctrl_c_during_the_imports_of_a_script_is_one_line(module, tmp_path):
    script = (
        f"{INTERRUPTED_IMPORT.format(module=module)}import cerebras.sdk.runtime.sdkruntimepybind"
    )
    (tmp_path / "run.py").write_text(script)
    result = run("run.py", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (-signal.SIGINT, "\ncs_python: interrupted\n")


def test_without_a_script_it_says_how_it_is_used(tmp_path):
    result = run(cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: cs_python [options] script.py")
    assert run("-", cwd=tmp_path).stdout == ""  # the script is the input, and empty


def test_a_script_gets_what_the_environment_gives_to_a_container(tmp_path, monkeypatch):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "beyond.py").write_text("WORD = 'found'\n")
    (tmp_path / "run.py").write_text(
        "import os, beyond, onewafer\n"
        "print(beyond.WORD, os.environ['NROW'], 'SINGULARITYENV_NROW' in os.environ)\n"
    )
    monkeypatch.setenv("SINGULARITYENV_NROW", "3")
    monkeypatch.setenv("SINGULARITYENV_PYTHONPATH", str(tmp_path / "more"))
    result = run("run.py", cwd=tmp_path)
    assert (result.stdout, result.stderr) == ("found 3 False\n", "")


def test_exit_codes_and_tracebacks_are_pythons(tmp_path):
    (tmp_path / "run.py").write_text("raise SystemExit(7)\n")
    assert run("run.py", cwd=tmp_path).returncode == 7
    (tmp_path / "run.py").write_text("def f():\n    raise ValueError('mine')\n\nf()\n")
    ours = run("run.py", cwd=tmp_path)
    plain = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ours.returncode, ours.stderr) == (plain.returncode, plain.stderr)
    assert "ValueError: mine" in ours.stderr
    assert run("missing.py", cwd=tmp_path).returncode == 2


@pytest.mark.skipif(
    not (Path(sysconfig.get_path("scripts")) / "cs_python").exists(),
    reason="onewafer is not installed",
)
def test_the_installed_command_finds_its_own_python(tmp_path):
    (tmp_path / "run.py").write_text("import onewafer; print(onewafer.__version__)\n")
    command = Path(sysconfig.get_path("scripts")) / "cs_python"
    result = subprocess.run(
        [str(command), "run.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == onewafer.__version__


SCRIPT = """
import os, signal
from cerebras.sdk.runtime.sdkruntimepybind import SdkRuntime

def work():
    with SdkRuntime("out") as runtime:
        runtime.{call}

work()
"""


@pytest.fixture
def endless(tmp_path):
    """Return a folder with a program that never ends in `out`."""
    builder = ProgramBuilder("loop.csl")
    builder.function("main")
    builder.label("again")
    builder.emit(Opcode.JUMP, imm="again", location=SourceLocation("loop.csl", 7, 3))
    (tmp_path / "out").mkdir()
    image = make_image(load_architecture("wse3"), builder.build(), uses_memcpy=True)
    save(image, tmp_path / "out")
    return tmp_path


def traceback_lines(result):
    """Return what was said, without what whoever compiles the kernels says before."""
    said = result.stderr.splitlines()
    return [line for line in said if not line.startswith("onewafer: compiling")]


@pytest.mark.slow
def test_our_errors_show_only_the_frames_of_the_script(endless):
    (endless / "run.py").write_text(SCRIPT.format(call="get_id('nope')"))
    result = run("run.py", cwd=endless)
    assert result.returncode == 1
    lines = traceback_lines(result)
    assert lines[0] == "Traceback (most recent call last):"
    assert [line.split(",")[1] for line in lines if line.startswith("  File")] == [
        " line 9",
        " line 7",
    ]
    assert lines[-1].startswith("onewafer.errors.HostError: the program exports no 'nope'")
    plain = subprocess.run(
        [sys.executable, "run.py"], cwd=endless, capture_output=True, text=True, check=False
    )
    assert str(Path("onewafer", "host")) in plain.stderr, "without cs_python, our frames, too"
    assert plain.stderr.splitlines()[-1] == lines[-1]


@pytest.mark.slow
def test_what_led_to_our_error_is_in_its_message_only(endless):
    (endless / "out" / "arrays.npz").unlink()
    (endless / "run.py").write_text(SCRIPT.format(call="stop()"))
    lines = run("run.py", cwd=endless).stderr.splitlines()
    assert [line.split(",")[1] for line in lines if line.startswith("  File")] == [
        " line 9",
        " line 6",
    ]
    assert lines[-1].startswith("onewafer.errors.ImageError: out/arrays.npz: No such file")


def test_errors_of_the_script_keep_every_frame(endless):
    (endless / "run.py").write_text(SCRIPT.format(call="launch(1 / 0)"))
    ours = run("run.py", cwd=endless)
    plain = subprocess.run(
        [sys.executable, "run.py"], cwd=endless, capture_output=True, text=True, check=False
    )
    assert traceback_lines(ours) == traceback_lines(plain)
    assert "ZeroDivisionError" in ours.stderr


@pytest.mark.slow
def test_an_endless_program_ends_at_the_limit(endless, monkeypatch):
    monkeypatch.setenv("ONEWAFER_MAX_CYCLES", "5000")
    (endless / "run.py").write_text(SCRIPT.format(call="launch('main')"))
    result = run("run.py", cwd=endless)
    assert result.returncode == 1
    assert "not over after 5,000 cycles" in result.stderr
    assert "PE (0, 0) at loop.csl:7:3" in result.stderr
    monkeypatch.setenv("ONEWAFER_MAX_CYCLES", "many")
    assert "ONEWAFER_MAX_CYCLES='many': give a whole number" in run("run.py", cwd=endless).stderr


LONG = """
import os, signal
from cerebras.sdk.runtime.sdkruntimepybind import SdkRuntime
from onewafer.host.runs.progress import Reporter

# The signal comes when the run is looked at, so that the test needs no clock.
Reporter.look = lambda self: os.kill(os.getpid(), signal.{signal})
with SdkRuntime("out") as runtime:
    runtime.launch("main")
"""


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.alternate
def test_ctrl_c_is_a_sentence_and_a_checkpoint(endless, engine):
    (endless / "run.py").write_text(LONG.format(signal="SIGINT"))
    result = run("--engine", engine, "run.py", cwd=endless)
    assert result.returncode == -signal.SIGINT  # what a shell calls 130
    (checkpoint,) = endless.glob("*.checkpoint")
    cycle = int(checkpoint.stem.removeprefix("cycle-"))
    place = "1 PE works: PE (0, 0) at loop.csl:7:3"
    assert result.stderr.splitlines()[-2:] == [
        f"interrupted in the launch of 'main' at cycle {cycle:,}: {place}",
        f"`onewafer resume {checkpoint.name}` goes on from there",
    ]


SECOND = """
from onewafer.simulator.state import checkpoint
checkpoint._write_blocks = lambda *_: os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once_and_leaves_nothing(endless):
    script = LONG.format(signal="SIGINT").replace("\nwith", f"{SECOND}\nwith")
    (endless / "run.py").write_text(script)
    before = {*endless.iterdir()}
    result = run("--engine=reference", "run.py", cwd=endless)
    assert result.returncode == -signal.SIGINT
    lines = result.stderr.splitlines()
    assert lines[-1] == "KeyboardInterrupt"
    assert all("run.py" in line for line in lines if line.startswith("  File"))
    assert {*endless.iterdir()} == before


@pytest.mark.slow
def test_sigterm_leaves_a_checkpoint_too(endless):
    (endless / "run.py").write_text(LONG.format(signal="SIGTERM"))
    result = run("--engine=reference", "run.py", cwd=endless)
    assert result.returncode == 128 + signal.SIGTERM
    assert "interrupted in the launch of 'main' at cycle" in result.stderr
    assert "Traceback" not in result.stderr
    assert len([*endless.glob("*.checkpoint")]) == 1


@pytest.mark.slow
def test_checkpoints_go_where_the_command_line_said(endless):
    (endless / "folder").mkdir()
    (endless / "elsewhere").mkdir()
    script = LONG.format(signal="SIGINT").replace('"out"', '"../out"')
    (endless / "run.py").write_text(f"import os\nos.chdir('elsewhere')\n{script}")
    run("--engine=reference", "--checkpoint-dir", "folder", "run.py", cwd=endless)
    assert [path.parent.name for path in endless.rglob("*.checkpoint")] == ["folder"]


@pytest.mark.slow
def test_checkpoints_can_be_off(endless):
    (endless / "run.py").write_text(LONG.format(signal="SIGINT"))
    options = ("--engine=reference", "--checkpoint-dir", "off")
    result = run(*options, "run.py", cwd=endless)
    assert "no checkpoint was written: no folder is set (ONEWAFER_CHECKPOINT_DIR" in result.stderr
    assert not [*endless.glob("*.checkpoint")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "quick"], "--engine='quick': there is no such engine; choose from fast"),
        (["--engine"], "--engine has no value; write --engine VALUE"),
        (["--max-cycles=many"], "--max-cycles='many': give a whole number of at least 1"),
        (["--checkpoint-dir", "nowhere"], "--checkpoint-dir='nowhere': there is no such folder"),
        (["--sample-every=9"], "--sample-every is for a run that is recorded"),
        (["--live"], "--live is for a run that is recorded"),
    ],
)
def test_wrong_options_are_one_message(tmp_path, options, message):
    (tmp_path / "run.py").write_text("print('ran')\n")
    script = ["run.py"] if len(options) > 1 or "=" in options[0] else []
    result = run(*options, *script, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith(f"cs_python: {message}")
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_options_are_ours_only_before_the_script(tmp_path):
    (tmp_path / "run.py").write_text(
        "import os, sys; print(sys.argv, os.environ['ONEWAFER_ENGINE'])"
    )
    result = run("--engine", "reference", "-X", "utf8", "run.py", "--engine", "mine", cwd=tmp_path)
    assert result.stdout.strip() == "['run.py', '--engine', 'mine'] reference"


@pytest.mark.parametrize(
    ("option", "advice"),
    [("--enigne=fast", "did you mean --engine?"), ("--wafer", "`cs_python --help` lists them")],
)
def test_an_option_of_nobody_is_refused(tmp_path, option, advice):
    result = run(option, "run.py", cwd=tmp_path)
    name = option.partition("=")[0]
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"cs_python: there is no option {name}; {advice}\n"


def test_options_of_python_are_handed_on(tmp_path):
    assert run("--version", cwd=tmp_path).stdout.startswith("Python 3")
    assert run("-c", "print(5)", cwd=tmp_path).stdout == "5\n"


def test_help(tmp_path):
    result = run("--help", cwd=tmp_path)
    assert result.stdout == run("--onewafer-help", cwd=tmp_path).stdout
    assert result.returncode == 0
    assert "--engine NAME" in result.stdout


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.slow
def test_the_record_says_which_engine_ran(endless, engine):
    (endless / "run.py").write_text(SCRIPT.format(call="stop()"))
    assert run("--engine", engine, "run.py", cwd=endless).returncode == 0
    assert json.loads((endless / "out" / "simulation.json").read_text())["engine"] == engine


def test_nobody_imports_what_a_short_run_never_needs():
    code = (
        "import sys, cerebras.sdk.runtime.sdkruntimepybind\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'rich', 'torch', 'typer', 'matplotlib', 'pandas'}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


STRICT = """
import os
from onewafer.settings import Settings
print(Settings.from_environment().is_strict, os.environ.get("ONEWAFER_PROGRESS"))
"""


def test_a_tile_program_is_no_host_program(tmp_path):
    (tmp_path / "pe.csl").write_text("fn main() void {}\n")
    result = run("pe.csl", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("cs_python: pe.csl is not a host program: compile it with cslc")


def test_strict_and_no_progress_have_no_value(tmp_path):
    (tmp_path / "run.py").write_text(STRICT)
    assert run("--strict", "--no-progress", "run.py", cwd=tmp_path).stdout == "True off\n"
    assert run("run.py", cwd=tmp_path).stdout == "False None\n"
    assert run("--strict=1", "run.py", cwd=tmp_path).returncode == 2
