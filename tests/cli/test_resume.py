"""`onewafer resume` as a user meets it: what was stopped ends as if it had not been."""

import json
import subprocess
import sys

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.cli.main import execute
from onewafer.host import Device
from onewafer.image import Opcode, ScalarType
from onewafer.recording import RecordingFile, Window
from tests.image.builder import ProgramBuilder, make_image

NUMBER = 9_000


def counting():
    """Return an image whose `main` counts down and then writes 7 to `answer`."""
    architecture = load_architecture("wse3")
    builder = ProgramBuilder("count.csl")
    address = builder.data("answer", ScalarType.U32, num_elements=1)
    builder.function("main")
    count, one = builder.register(), builder.immediate(ScalarType.U32, 1)
    builder.emit(Opcode.LOAD_IMMEDIATE, ScalarType.U32, rd=count, imm=NUMBER)
    builder.label("again")
    builder.emit(Opcode.SUB, ScalarType.U32, rd=count, ra=count, rb=one)
    builder.emit(Opcode.BRANCH_NONZERO, ra=count, imm="again")
    place = builder.immediate(ScalarType.U16, address)
    seven = builder.immediate(ScalarType.U32, 7)
    builder.emit(Opcode.STORE, ScalarType.U32, ra=place, rb=seven)
    builder.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    builder.emit(Opcode.RETURN)
    return make_image(architecture, builder.build(), width=3, height=2), architecture


@pytest.fixture
def plain():
    """Return the end cycle of a run that was not stopped."""
    image, architecture = counting()
    device = Device(image, architecture, engine="reference")
    device.load()
    return device.launch("main").end_cycle


@pytest.fixture
def checkpoint(tmp_path):
    """Return a checkpoint from the middle of the launch."""
    image, architecture = counting()
    device = Device(image, architecture, engine="reference")
    device.load()
    device.settle()
    device.machine.launch("main")
    device.machine.run(max_cycles=1_000)
    path = tmp_path / "middle.checkpoint"
    device.machine.save_checkpoint(path, what="the launch of 'main'")
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_it_ends_as_if_it_had_not_been_stopped(checkpoint, plain, engine, capsys):
    symbols, record = checkpoint.with_name("out.npz"), checkpoint.with_name("out.json")
    recording = checkpoint.with_name("run.parquet")
    options = ["--engine", engine, "--symbols", str(symbols), "--json", str(record)]
    options += ["--record", str(recording), "--sample-every", "1000"]
    assert execute(["resume", str(checkpoint), *options]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"going on at cycle 1,000 in the launch of 'main', on the {engine} engine"
    assert out[1] == f"at rest at cycle {plain:,}, after {plain - 1_000:,} more"
    assert out[2].split() == ["instructions", f"{6 * (2 * NUMBER + 7):,}"]
    assert out[-1] == f"wrote {symbols}: answer"
    np.testing.assert_array_equal(np.load(symbols)["answer"], np.full((2, 3, 1), 7))
    fields = json.loads(record.read_text())
    assert (fields["engine"], fields["start_cycle"], fields["end_cycle"]) == (engine, 1_000, plain)
    file = RecordingFile(recording)
    assert (file.header.title, file.header.ending, file.header.cycles) == ("middle", "", plain)
    assert int(file.column("instructions").sum()) == 6 * (2 * NUMBER + 7)
    assert file.header.windows[0] == Window(1000, 2000)
    assert file.header.windows[-1].end_cycle == plain


def test_a_limit_stops_it(checkpoint, capsys):
    assert execute(["resume", str(checkpoint), "--engine=reference", "--max-cycles", "100"]) == 1
    assert "is not over after 100 cycles" in capsys.readouterr().err


def test_ctrl_c_leaves_the_next_checkpoint(checkpoint):
    code = (
        "import os, signal, sys\n"
        "from onewafer.host.runs.progress import Reporter\n"
        "Reporter.look = lambda self: os.kill(os.getpid(), signal.SIGINT)\n"
        "from onewafer.cli.main import execute\n"
        f"sys.exit(execute(['resume', {str(checkpoint)!r}, '--engine=reference']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkpoint.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    message = done.stderr.strip().splitlines()
    assert message[0].startswith("interrupted in the launch of 'main' at cycle ")
    assert message[1].startswith("`onewafer resume cycle-")
    assert "Traceback" not in done.stderr
    assert len([*checkpoint.parent.glob("cycle-*.checkpoint")]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "onewafer: nowhere: No such file or directory"),
        (["."], 1, "onewafer: .: Is a directory"),
        (["x"], 1, "onewafer: x: this is not a whole checkpoint"),
        (["x", "--engine", "quick"], 2, "--engine quick: there is no such engine"),
        (["x", "--symbols", "."], 2, "onewafer: --symbols .: that is a directory; name a file"),
        (["x", "--symbols", "/proc/x"], 2, "--symbols /proc/x: it cannot be written: "),
        (["x", "--json", "no/where"], 2, "--json no/where: there is no directory "),
        (["x", "--max-cycles", "0"], 2, "--max-cycles 0: write a whole number of at least 1"),
        ([], 2, "Missing argument"),
    ],
)
def test_user_errors_are_one_message(arguments, code, message, capsys, folder):
    (folder / "x").write_text("text")
    assert execute(["resume", *arguments]) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_what_a_checkpoint_says_moves_no_cursor(tmp_path, capsys):
    """The text is in the file, which may be from anywhere."""
    image, architecture = counting()
    device = Device(image, architecture, engine="reference")
    device.load()
    device.settle()
    path = tmp_path / "evil.checkpoint"
    device.machine.save_checkpoint(path, what="\x1b[2J\x1b]0;owned\x07")
    assert execute(["resume", "--engine=reference", str(path)]) == 0
    assert "in \\x1b[2J\\x1b]0;owned\\x07, on" in capsys.readouterr().out
