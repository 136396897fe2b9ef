"""The API in cells of a notebook: tables, errors, progress, and an interrupt."""

import textwrap

import pytest

pytestmark = pytest.mark.notebook
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

PROGRAM = """
import onewafer
PE = '''
param memcpy_params: comptime_struct;
const system = @import_module("<memcpy/memcpy>", memcpy_params);
fn run() void { while (true) {} }
fn stop() void { system.unblock_cmd_stream(); }
comptime { @export_symbol(run); @export_symbol(stop); }
'''
LAYOUT = '''
const memcpy = @import_module("<memcpy/get_params>", .{ .width = 1, .height = 1 });
layout {
  @set_rectangle(1, 1);
  @set_tile_code(0, 0, "pe.csl", .{ .memcpy_params = memcpy.get_params(0) });
  @export_name("run", fn()void);
  @export_name("stop", fn()void);
}
'''
sources = {"layout.csl": LAYOUT, "pe.csl": PE}
program = onewafer.compile_csl("layout.csl", sources=sources)
runner = onewafer.load(program, engine="reference")
"""
WAFER = """
import onewafer, torch
model = torch.nn.Linear(3, 2)
with onewafer.wafer(fidelity="model") as wafer, torch.no_grad():
    model(torch.ones(1, 3))
wafer.report
"""


def run_cells(*cells):
    """Run cells in a kernel; return the outputs of each, errors included."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell).strip()) for cell in cells]
    )
    nbclient.NotebookClient(notebook, timeout=60, allow_errors=True).execute()
    return [cell.outputs for cell in notebook.cells]


def test_a_report_is_a_table_of_the_notebook():
    ((*_, shown),) = run_cells(WAFER)
    assert shown.output_type == "execute_result"
    assert "calls on the wafer" in shown.data["text/html"]
    assert "how sure" in shown.data["text/plain"]
    assert "calls on the wafer" not in shown.data["text/plain"]


def test_errors_are_those_of_the_commands_without_our_frames():
    program = PROGRAM + 'wrong = sources | {"pe.csl": "export var x: u16 = y;"}'
    _, (compile_error,), (call_error,), (argument_error,) = run_cells(
        program,
        'onewafer.compile_csl("layout.csl", sources=wrong)',
        'runner.launch("go")',
        'onewafer.compile_csl("x.csl", arch="wse9")',
    )
    text = "\n".join(compile_error.traceback)
    assert "error[unknown-name]: `y` is not declared" in text
    assert "--> pe.csl:1:21" in text
    for error in (compile_error, call_error, argument_error):
        text = "\n".join(error.traceback)
        assert "onewafer/" not in text
        assert "line 1" in text
    assert "HostError: the program exports no 'go'" in "\n".join(call_error.traceback)
    assert "there is no machine 'wse9'; the catalog has" in "\n".join(argument_error.traceback)


# Jupyter's interrupt is a SIGINT to the kernel.
INTERRUPTED = """
import os, signal, threading
threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT)).start()
runner.launch("run")
"""


def test_an_interrupt_ends_a_launch_with_one_sentence_and_the_kernel_goes_on(monkeypatch):
    monkeypatch.setenv("ONEWAFER_CHECKPOINT_DIR", "off")
    _, interrupted, (after,) = run_cells(PROGRAM, INTERRUPTED, "runner.cycle > 0, 1 + 1")
    *lines, error = interrupted
    assert error.ename == "KeyboardInterrupt"
    assert error.traceback[0].startswith("interrupted in the launch of 'run' at cycle ")
    assert len(error.traceback) == 1
    assert [line.data["text/plain"] for line in lines] == [""]  # the progress line, which is gone
    assert after.data["text/plain"] == "(True, 2)"
