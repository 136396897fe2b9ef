"""A traced run writes its files whatever its end is, and is the same run."""

import gc

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.errors import ConfigurationError, DeadlockError, TraceError
from onewafer.host import Device, RunLimits, convert_trace
from onewafer.host.print_log import PrintLog
from onewafer.host.tracing import needed_detail
from onewafer.image import DsdOperation, ScalarType, make_image
from onewafer.trace import Detail
from onewafer.trace.formats import read_trace
from tests.csl.library.one_pe import compile_pe
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
    device.end_trace()
    num_said = len(listener.said)
    path.unlink()
    device.stop()
    assert not path.exists()
    assert len(listener.said) == num_said


def test_what_cannot_be_written_is_said_at_once(tmp_path):
    device = Device(streaming(), WSE3, trace_files=[tmp_path / "missing" / "t.log"])
    with pytest.raises(ConfigurationError, match=r"t\.log: the trace cannot be written: No such"):
        device.load()


def test_what_cannot_be_written_at_the_end_is_said(tmp_path, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "t.perfetto-trace"
    device, _ = traced(streaming(), path)
    path.mkdir()
    device.stop()
    assert capsys.readouterr().err.startswith("onewafer: the trace is not written: ")
    assert list(folder.iterdir()) == [path]


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
    log = PrintLog(image, path)  # writes first, what the trace then has too
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
