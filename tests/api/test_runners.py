"""`onewafer.load`: a program on a simulated wafer in a few calls."""

import json
from pathlib import Path

import numpy as np
import pytest

import onewafer
from onewafer.errors import ConfigurationError, DeadlockError, HostError

EXAMPLE = Path(__file__).parents[2] / "examples" / "csl" / "axpy-sum"


@pytest.fixture(scope="module")
def program():
    return onewafer.compile_csl(EXAMPLE / "layout.csl", params={"block_size": 4})


@pytest.fixture
def runner(program):
    with onewafer.load(program, engine="reference") as runner:
        yield runner


def test_a_program_runs_in_a_few_lines(program):
    x, y = np.arange(4, dtype=np.float32), np.ones((1, 2, 4), np.float32)
    with onewafer.load(program, engine="reference") as runner:
        runner.write("x", x)
        runner.write("y", y)
        launch = runner.launch("axpy_sum", 3.0)
        assert np.array_equal(runner.read("y"), np.broadcast_to(3 * x + 1, (1, 2, 4)))
        assert runner.read("total", at=(1, 0)) == [44]
    report = runner.report
    assert (report.arch, report.engine, report.launches) == ("wse3", "reference", (launch,))
    assert (report.cycles, report.bytes_in, report.bytes_out) == (launch.cycles, 48, 36)
    with pytest.raises(HostError, match="the device is stopped"):
        runner.launch("axpy_sum", 3.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (2, [2, 2, 2, 2]),
        ([1, 2], [1, 2, 0, 0]),
        ([0.5] * 4, [0.5] * 4),
        (np.float32(3), [3, 3, 3, 3]),
    ],
)
def test_numbers_and_lists_become_the_variable_s_elements(runner, values, expected):
    runner.write("x", values)
    assert np.array_equal(runner.read("x"), np.broadcast_to(expected, (1, 2, 4)))


def test_one_pe_and_rectangles_are_named_by_their_place(runner):
    runner.write("x", [1, 2, 3, 4], at=(1, 0))
    runner.write("y", 5, at=(0, 0, 1, 1))
    assert runner.read("x", at=(1, 0)).tolist() == [1, 2, 3, 4]
    assert runner.read("x", 2, at=(0, 0, 2, 1)).tolist() == [[[0, 0], [1, 2]]]
    assert runner.read("y").tolist() == [[[5] * 4, [0] * 4]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.write("x", np.ones(4)), r"'x' holds float32, the array float64: pass array\."),
        (lambda r: r.write("x", ["a"]), "'x' holds float32, the values are <?U1|str"),
        (lambda r: r.write("z", 1), "the program exports no 'z'"),
        (lambda r: r.write("total", 1), "'total' is read-only for the host"),
        (lambda r: r.write("x", [1] * 5), "'x' has room for 16 bytes"),
        (lambda r: r.read("x", at=(2, 0)), "leaves the program"),
        (lambda r: r.read("x", at=1), r"at=1: write \(x, y\)"),
        (lambda r: r.launch("axpy_sum"), "axpy_sum"),
    ],
)
def test_wrong_calls_say_what_is_wrong(runner, call, message):
    with pytest.raises(HostError, match=message):
        call(runner)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "slow"}, "engine='slow': there is no such engine; choose from fast, reference"),
        ({"max_cycles": 0}, "max_cycles=0: write a whole number of at least 1"),
        ({"threads": "two"}, "threads='two': write a whole number of at least 1"),
        ({"check": "all-of-it"}, "check='all-of-it': there is no check 'all-of-it'; choose from "),
        ({"trace": "run.pdf"}, r"trace run\.pdf: the ending of the name says the format"),
    ],
)
def test_wrong_options_are_named(program, options, message):
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        onewafer.load(program, **options)


def test_a_folder_is_loaded_too(program, tmp_path):
    folder = program.save(tmp_path / "out")
    assert onewafer.load(folder, engine="reference").cycle == 0
    with pytest.raises(HostError, match="there is no folder"):
        onewafer.load(tmp_path / "nowhere")


def test_report_is_there_after_an_error_and_the_error_is_the_block_s(program):
    runner = onewafer.load(program, engine="reference")
    runner.launch("axpy_sum", 1.0)
    with pytest.raises(ZeroDivisionError), runner:
        _ = 1 / 0
    assert len(runner.report.launches) == 1


def test_report_in_all_its_forms(program):
    pandas = pytest.importorskip("pandas")
    runner = onewafer.load(program, engine="reference")
    for a in (1.0, 2.0):
        runner.launch("axpy_sum", a)
    report = runner.report
    frame = report.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["cycles"].tolist() == [launch.cycles for launch in report.launches]
    assert frame["function"].tolist() == ["axpy_sum"] * 2
    assert frame["seconds"][1] == report.launches[1].cycles / report.clock_hertz
    assert frame["microseconds"].tolist() == (1e6 * frame["seconds"]).tolist()
    assert json.loads(report.to_json())["launches"][1]["end_cycle"] == report.cycles
    assert f"{report.cycles:,} cycles since it was loaded" in str(report)
    assert "axpy_sum" in report._repr_html_()
    assert runner._repr_html_() == report._repr_html_()
    assert repr(runner).startswith("<Runner: 2×1 PEs of wse3, cycle ")


def test_frames_without_pandas_say_how_to_get_it(runner, monkeypatch):
    monkeypatch.setattr("onewafer.terminal.frames.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="pip install pandas"):
        runner.report.to_pandas()


PRINTS = """
const prt = @import_module("<simprint>");
const memcpy = @import_module("<memcpy/get_params>", .{ .width = 1, .height = 1 });
layout {
  @set_rectangle(1, 1);
  @set_tile_code(0, 0, "pe.csl", .{ .memcpy_params = memcpy.get_params(0) });
  @export_name("run", fn()void);
}
"""
PE = """
param memcpy_params: comptime_struct;
const system = @import_module("<memcpy/memcpy>", memcpy_params);
const prt = @import_module("<simprint>");
fn run() void { prt.print_string("hello [/docs]\\n"); BODY }
comptime { @export_symbol(run); }
"""


def one_pe(body):
    sources = {"layout.csl": PRINTS, "pe.csl": PE.replace("BODY", body)}
    return onewafer.compile_csl("layout.csl", sources=sources)


def test_what_a_program_prints_comes_to_stdout(capsys):
    with onewafer.load(one_pe("system.unblock_cmd_stream();"), engine="reference") as runner:
        runner.launch("run")
    assert capsys.readouterr().out.endswith(" hello [/docs]\n")


def test_a_program_that_hangs_is_an_error_and_what_it_printed_is_shown(capsys):
    runner = onewafer.load(one_pe(""), engine="reference")
    with pytest.raises(DeadlockError, match="the command stream was not unblocked"), runner:
        runner.launch("run")
    assert "hello" in capsys.readouterr().out
    assert runner.report.launches == ()
