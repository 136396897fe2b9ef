"""`<collectives_2d>`: every PE has what NumPy gives, for any sizes, roots, order, delays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.errors import CompileError, OnewaferError
from onewafer.host import Device
from tests.csl.library.collectives import (
    MAX_ENTRIES,
    NUM_WORDS,
    OPERATIONS,
    Entry,
    device_of,
    numpy_result,
)

SHAPES = ((5, 3), (1, 4), (2, 1))


def entries(num_pes, num_entries):
    entry = st.builds(
        Entry,
        st.integers(0, len(OPERATIONS) - 1),
        st.integers(0, num_pes - 1),
        st.integers(0, 3) | st.integers(0, NUM_WORDS // num_pes),
    )
    return st.lists(entry, min_size=num_entries, max_size=num_entries).map(tuple)


@st.composite
def programs(draw):
    width, height = draw(st.sampled_from(SHAPES))
    num_entries = draw(st.integers(1, MAX_ENTRIES))
    return (
        (width, height),
        draw(entries(width, num_entries)),
        draw(entries(height, num_entries)),
        draw(st.integers(0, 1 << 32)),
    )


def table_of(schedule, rng, shape, longest_delay):
    """The schedule as every PE has it, each with delays of its own: [height, width, 4 entries]."""
    width, height = shape
    rows = np.zeros((height, width, MAX_ENTRIES, 4), np.uint16)
    for i, step in enumerate(schedule):
        rows[:, :, i, :3] = step.operation, step.root, step.num_words
    shape = rows.shape[:3]
    rows[:, :, :, 3] = rng.integers(0, longest_delay + 1, shape) * rng.integers(0, 2, shape)
    return rows.reshape(height, width, -1)


def run_schedules(device, shape, schedules, rng, longest_delay=60):
    """Run schedules of x and y; return what was sent, both buffers after it, and the cycles."""
    width, height = shape
    sent = {}
    for axis, schedule in schedules.items():
        words = rng.integers(-99, 99, (height, width, NUM_WORDS)).astype(np.float32)
        sent[axis] = words.view(np.uint32)
        device.write(f"{axis}_from", sent[axis])
        device.write(f"{axis}_to", np.zeros_like(sent[axis]))
        device.write(f"{axis}_schedule", table_of(schedule, rng, shape, longest_delay))
    cycles = device.launch("run", len(schedules["x"])).cycles
    found = {
        axis: [device.read(f"{axis}_{end}", NUM_WORDS).view(np.uint32) for end in ("from", "to")]
        for axis in schedules
    }
    return sent, found, cycles


@pytest.mark.parametrize("architecture", ["wse2", "wse3"])
@given(program=programs())
@settings(max_examples=20)
@pytest.mark.alternate
def test_schedules_equal_numpy(architecture, program):
    shape, x_schedule, y_schedule, seed = program
    device = device_of(architecture, *shape)
    schedules = {"x": x_schedule, "y": y_schedule}
    sent, found, _ = run_schedules(device, shape, schedules, np.random.default_rng(seed))
    for axis, schedule in schedules.items():
        lines = [w if axis == "x" else w.swapaxes(0, 1) for w in (sent[axis], *found[axis])]
        expected = numpy_result(schedule, lines[0])
        np.testing.assert_array_equal(lines[1], expected[0])
        np.testing.assert_array_equal(lines[2], expected[1])


def test_data_flow_and_do_not_wait_for_whole_buffers():
    # Cycles for each word more, 5 PEs, root at the end: a broadcast goes on in blocks of 64 words.
    device, rng = device_of("wse2", 5, 3), np.random.default_rng(0)
    words = {"broadcast": 6, "scatter": 5, "gather": 5, "reduce_fadds": 1.3}
    for operation, cycles_a_word in enumerate(words.values()):
        cycles = []
        for n in (1, 80):
            schedules = {"x": (Entry(operation, 0, n),), "y": (Entry(0, 0, 0),)}
            cycles.append(run_schedules(device, (5, 3), schedules, rng, longest_delay=0)[2])
        assert cycles[1] - cycles[0] <= 79 * cycles_a_word + 40, operation


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ("mpi.broadcast(3, &words, 1, done_id)", "the root of a collective is no PE of its axis"),
        (
            "mpi.broadcast(0, &words, 1, done_id); mpi.broadcast(0, &words, 1, done_id)",
            "a collective of this axis is still under way",
        ),
    ],
)
def test_wrong_calls_are_refused(call, complaint):
    with pytest.raises(OnewaferError, match=complaint):
        one_axis_device("wse2", call).launch("run")


def one_axis_device(architecture, call, colors=(0, 1)):
    """A row of three PEs that have no second axis, with one call in `run`."""
    layout = """
const memcpy = @import_module("<memcpy/get_params>", .{ .width = 3, .height = 1 });
const c2d = @import_module("<collectives_2d/params>");
layout {
  @set_rectangle(3, 1);
  for (@range(u16, 3)) |x| {
    @set_tile_code(x, 0, "pe.csl", .{
      .memcpy_params = memcpy.get_params(x),
      .c2d_params = c2d.get_params(x, 0, .{
        .x_colors = .{ @get_color(COLOR_0), @get_color(COLOR_1) },
        .x_entrypoints = .{ @get_local_task_id(10), @get_local_task_id(11) } }) });
  }
  @export_name("run", fn()void);
}
"""
    program = """
param memcpy_params: comptime_struct;
param c2d_params: comptime_struct;
const system = @import_module("<memcpy/memcpy>", memcpy_params);
const mpi = @import_module("<collectives_2d/pe>", .{
  .dim_params = c2d_params.x, .queues = [2]u16{ 2, 4 }, .dest_dsr_ids = [1]u16{ 1 },
  .src0_dsr_ids = [1]u16{ 1 }, .src1_dsr_ids = [1]u16{ 1 } });
const done_id = @get_local_task_id(14);
var words: [10]u32;
task done() void { system.unblock_cmd_stream(); }
fn run() void { CALL; }
comptime { @bind_local_task(done, done_id); @export_symbol(run); }
"""
    for number, color in enumerate(colors):
        layout = layout.replace(f"COLOR_{number}", str(color))
    files = MemoryFiles({"layout.csl": layout, "pe.csl": program.replace("CALL", call)})
    machine = load_architecture(architecture)
    device = Device(
        compile_program(CompileOptions(entry="layout.csl", architecture=machine), files), machine
    )
    device.load()
    return device


def test_an_axis_may_be_alone():
    one_axis_device("wse3", "mpi.init(); mpi.broadcast(1, &words, 10, done_id)").launch("run")


def test_colors_of_wse3_must_be_switchable():
    with pytest.raises(CompileError, match="switch"):
        one_axis_device("wse3", "mpi.broadcast(1, &words, 10, done_id)", colors=(10, 11))
