"""A traced run writes its files whatever its end is, and is the same run."""

import errno
import gc
from types import SimpleNamespace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.errors import ConfigurationError, DeadlockError, TraceError
from onewafer.host import Device, RunLimits, convert_trace
from onewafer.host.runs.print_log import LogFile, PrintLog
from onewafer.host.runs.tracing import needed_detail
from onewafer.image import DsdOperation, ScalarType
from onewafer.settings import LOG_PARTS
from onewafer.trace import Detail
from onewafer.trace.formats import TraceWriter, binary, read_trace
from tests.csl.library.one_pe import compile_pe
from tests.image.builder import make_image
from tests.simulator.assembly import WSE2, WSE3, Kernel, eastward, sender


class Listener:
    """Keeps what is said."""

    interval_seconds = float("inf")

    def __init__(self):
        self.said = []

    def say(self, line):
        self.said.append(line)

    def show(self, progress):
        raise AssertionError(progress)

    def done(self):
        pass


def streaming(num_sent=8, num_received=8):
    """Return an image that moves numbers to the east; with fewer sent than received it hangs."""
    kernel = Kernel("east.csl")
    base = kernel.data("received", ScalarType.U32, num_elements=num_received)
    kernel.function("main")
    vector = kernel.vector(base, num_received)
    kernel.operate(DsdOperation.MOV32, vector, src1=kernel.incoming(3, num_received))
    placed = {(0, 0): sender(3, num_sent), (1, 0): kernel.finish()}
    return make_image(WSE3, placed, width=2, routes=eastward(3, 0, 1))


def traced(image, *files, engine="reference"):
    listener = Listener()
    limits = RunLimits(observer=listener)
    device = Device(image, WSE3, engine=engine, limits=limits, trace_files=files)
    device.load()
    return device, listener


def test_stop_writes_every_file(tmp_path):
    files = [tmp_path / name for name in ("a.perfetto-trace", "b.log", "c.wafer-trace")]
    device, listener = traced(streaming(), *files, engine="fast")
    assert "the reference engine alone tells" in listener.said[0]
    report = device.launch("main")
    device.stop()
    assert sorted(tmp_path.iterdir()) == files
    assert [line.split(",")[0] for line in listener.said[1:4]] == [
        "wrote a.perfetto-trace",
        "wrote b.log",
        "wrote c.wafer-trace",
    ]
    trace = read_trace(files[2])
    assert (trace.end_cycle, trace.ended_well, trace.is_whole) == (device.machine.cycle, True, True)
    plain = Device(streaming(), WSE3, engine="reference")
    plain.load()
    assert plain.launch("main") == report
    np.testing.assert_array_equal(plain.machine.memory, device.machine.memory)


@pytest.mark.parametrize(
    ("parts", "present", "absent"),
    [
        (["inst_trace"], ["[EX OP]"], ["wavelet", "landing", "stall"]),
        (
            ["landing"],
            ["landing C3 from link W,", "wavelet C3"],
            ["[EX OP]", "OUT_Q", "Not enough"],
        ),
        (["router"], ["Writing wavelet C3", "wavelet C3"], ["[EX OP]", "from link", "Not enough"]),
        (["stalls"], ["Not enough wavelets (0/1) for SRC1 with C3"], ["[EX OP]", "landing"]),
        (LOG_PARTS, ["[EX OP]", "from link", "Writing wavelet", "Not enough"], []),
    ],
)
def test_sim_log_has_the_kinds_of_lines_that_were_asked_for(
    tmp_path, monkeypatch, parts, present, absent
):
    monkeypatch.chdir(tmp_path)
    device = Device(streaming(), WSE3, engine="reference", log_parts=parts)
    device.load()
    device.launch("main")
    device.stop()
    text = (tmp_path / "sim.log").read_text()
    assert text.startswith("@0 dimX=")
    assert [word for word in present if word not in text] == []
    assert [word for word in absent if word in text] == []


def test_sim_log_beside_a_trace_has_its_own_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = tmp_path / "whole.log"
    device = Device(
        streaming(), WSE3, engine="reference", trace_files=[whole], log_parts=["landing"]
    )
    device.load()
    device.launch("main")
    device.stop()
    assert "[EX OP]" in whole.read_text()
    assert "[EX OP]" not in (tmp_path / "sim.log").read_text()


def test_a_run_that_hangs_is_traced_up_to_there(tmp_path):
    path = tmp_path / "t.wafer-trace"
    device, listener = traced(streaming(num_sent=5), path)
    with pytest.raises(DeadlockError) as caught:
        device.launch("main")
    cycle = device.machine.cycle
    del device, caught
    gc.collect()
    trace = read_trace(path)
    assert (trace.end_cycle, trace.ended_well) == (cycle, False)
    assert "wait: input empty C3" in listener.said[-1]
    assert "1 never ended" in listener.said[-1]


def test_the_end_can_be_asked_for_and_comes_once(tmp_path):
    path = tmp_path / "t.pftrace"
    device, listener = traced(streaming(), path)
    device.settle()
    device.end()
    num_said = len(listener.said)
    path.unlink()
    device.stop()
    assert not path.exists()
    assert len(listener.said) == num_said


def test_what_cannot_be_written_is_said_at_once(tmp_path):
    device = Device(streaming(), WSE3, trace_files=[tmp_path / "missing" / "t.log"])
    with pytest.raises(ConfigurationError, match=r"t\.log: the trace cannot be written: No such"):
        device.load()


def test_events_that_cannot_be_kept_are_said_at_once(tmp_path, monkeypatch):
    def new_sibling(path, _):
        return path.parent / "missing" / path.name

    monkeypatch.setattr("onewafer.host.runs.tracing.new_sibling", new_sibling)
    device = Device(streaming(), WSE3, trace_files=[tmp_path / "t.log"])
    with pytest.raises(ConfigurationError, match="the trace cannot be written: No such file"):
        device.load()


def test_every_file_is_tried_before_the_run(tmp_path):
    files = [tmp_path / "t.log", tmp_path / "missing" / "u.log"]
    device = Device(streaming(), WSE3, trace_files=files)
    with pytest.raises(ConfigurationError, match=r"u\.log: the trace cannot be written: No such"):
        device.load()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_at_the_end_is_said(tmp_path, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "t.perfetto-trace"
    device, _ = traced(streaming(), path)
    path.mkdir()
    device.stop()
    said = capsys.readouterr().err
    assert said == f"onewafer: the trace is not written: {path}: Is a directory\n"
    assert list(folder.iterdir()) == [path]
    assert device.has_lost_trace


def disk_full(*_arguments, **_options):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("when", ["header", "chunk", "end"])
def test_a_disk_that_is_full_ends_the_trace_and_not_the_run(tmp_path, capsys, monkeypatch, when):
    """Nor does closing the file raise, which writes what is left in its buffer once more."""
    path = tmp_path / "t.wafer-trace"
    monkeypatch.setattr(binary, "_CHUNK_EVENTS", 10 if when == "chunk" else 1000)
    if when == "header":
        monkeypatch.setattr(TraceWriter, "_write", disk_full)
        device = Device(streaming(), WSE3, trace_files=[path])
        with pytest.raises(ConfigurationError, match=r"cannot be written: No space left on device"):
            device.load()
    else:
        device, listener = traced(streaming(), path)
        recording = device._recording
        close = recording._file.close

        def close_badly():
            close()
            disk_full()

        monkeypatch.setattr(TraceWriter, "_write", disk_full)
        recording._file = SimpleNamespace(close=close_badly)
        report = device.launch("main")
        device.stop()
        assert report.cycles > 0
        assert capsys.readouterr().err == (
            f"onewafer: the trace is not written: {path}: No space left on device\n"
        )
        assert device.has_lost_trace
        assert not any(line.startswith("wrote") for line in listener.said)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["t.log", "t.perfetto-trace", "t.wafer-trace"])
def test_a_disk_that_is_full_at_the_end_leaves_nothing_half(tmp_path, capsys, monkeypatch, name):
    path = tmp_path / name
    path.write_text("of a run before")
    device, _ = traced(streaming(), path)
    monkeypatch.setattr("onewafer.host.runs.tracing.write_sim_log", disk_full)
    monkeypatch.setattr("onewafer.host.runs.tracing.write_perfetto", disk_full)
    monkeypatch.setattr("onewafer.host.runs.tracing.shutil.copyfile", disk_full)
    device.stop()
    said = capsys.readouterr().err
    assert said == f"onewafer: the trace is not written: {path}: No space left on device\n"
    assert [p.read_text() for p in tmp_path.iterdir()] == ["of a run before"]


def test_two_runs_into_one_file_do_not_meet(tmp_path):
    path = tmp_path / "t.wafer-trace"
    first, _ = traced(streaming(), path)
    second, _ = traced(streaming(), path)
    first.launch("main")
    first.stop()
    cycles = read_trace(path).end_cycle
    assert cycles == first.machine.cycle
    second.stop()
    assert read_trace(path).end_cycle == second.machine.cycle < cycles
    assert list(tmp_path.iterdir()) == [path]


def test_a_process_that_is_killed_leaves_a_trace_to_convert(tmp_path):
    device, _ = traced(streaming(), tmp_path / "t.log")
    device.launch("main")
    (left,) = tmp_path.iterdir()
    assert left.suffix == ".wafer-trace"
    lines = list(convert_trace(left, [tmp_path / "u.perfetto-trace"]))
    assert "has no end: the process was killed" in lines[0]


def test_a_trace_becomes_other_formats(tmp_path):
    path = tmp_path / "t.wafer-trace"
    device, _ = traced(streaming(), path, tmp_path / "first.log")
    device.launch("main")
    device.stop()
    other = [tmp_path / "u.log", tmp_path / "u.perfetto-trace"]
    lines = list(convert_trace(path, other))
    assert lines[0].startswith("wrote u.log")
    assert (tmp_path / "u.log").read_bytes() == (tmp_path / "first.log").read_bytes()
    path.write_bytes(path.read_bytes()[:-1])
    assert "has no end" in next(convert_trace(path, other))
    causes = tmp_path / "causes.wafer-trace"
    assert needed_detail([tmp_path / "u.perfetto-trace"]) is Detail.CAUSES
    assert needed_detail([causes]) is Detail.INSTRUCTIONS
    with pytest.raises(TraceError):
        list(convert_trace(tmp_path / "u.log", [causes]))


def test_the_header_names_what_the_program_has(tmp_path):
    path = tmp_path / "t.wafer-trace"
    device, _ = traced(streaming(), path)
    device.stop()
    header = read_trace(path).header
    assert header.program(1, 0).name == "east.csl"
    assert header.program(1, 0).labels == {0: "main"}
    assert header.arch == load_architecture("wse3").name
    assert header.color(3) == "C3"


def test_a_sim_log_has_what_the_program_prints(tmp_path):
    body = """
  prt.print_u16_decimal(42); prt.print_string(" is printed\\nand this later");
"""
    image = compile_pe(body, 'const prt = @import_module("<simprint>");')
    path = tmp_path / "sim.log"
    log = PrintLog(image, LogFile(path))  # writes first, what the trace then has too
    limits = RunLimits(log=log)
    device = Device(image, WSE2, engine="reference", limits=limits, trace_files=[path])
    device.load()
    device.launch("run")
    device.stop()
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("@0 dimX=")
    printed = [line for line in lines if line.endswith(("42 is printed", "and this later"))]
    assert [line.split(" ", 1)[1] for line in printed] == ["42 is printed", "and this later"]
    assert printed[1].startswith(f"@{device.machine.cycle} ")
    assert any("[EX OP]" in line for line in lines)
