"""`<message_passing>`: what is sent comes, whoever sends it to whom."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program, run_stages
from onewafer.diagnostics import DiagnosticSink
from onewafer.errors import CompileError, SimulationError
from onewafer.host import Device

WSE3 = load_architecture("wse3")
WIDTH, HEIGHT, MOST = 3, 2, 32
LAYOUT = """
const memcpy = @import_module("<memcpy/get_params>", .{ .width = WIDTH, .height = HEIGHT });
layout {
  @set_rectangle(WIDTH, HEIGHT);
  for (@range(u16, WIDTH)) |x| {
    for (@range(u16, HEIGHT)) |y| {
      @set_tile_code(x, y, "pe.csl", .{ .memcpy_params = memcpy.get_params(x) });
    }
  }
  @export_name("plan", [*]u16, true);
  @export_name("data", [*]TYPE, true);
  @export_name("got", [*]TYPE, true);
  @export_name("run", fn()void);
}
"""
# `plan`: column, row, length of the message to send (0: none), number of messages to receive
PROGRAM = """
param memcpy_params: comptime_struct;
const system = @import_module("<memcpy/memcpy>", memcpy_params);
const mp = @import_module("<message_passing>", .{
  .enable_asserts = true, .input_queue_id = 2, .output_queue_id = 3 });
const sent_id = @get_local_task_id(10);
const got_id = @get_local_task_id(11);
var plan: [4]u16;
var data: [32]TYPE;
var got: [6 * 32]TYPE;
var plan_pointer: [*]u16 = &plan;
var data_pointer: [*]TYPE = &data;
var got_pointer: [*]TYPE = &got;
var rest: u16;

fn run() void {
  mp.init();
  rest = 1 + plan[3];
  if (plan[3] > 0) mp.recv_message(&got, .{ .activate = got_id });
  if (plan[2] > 0) {
    mp.send_message(plan[0], plan[1], &data, plan[2], .{ .unblock = sent_id });
    @activate(sent_id);
  } else {
    end();
  }
}
fn end() void {
  rest -= 1;
  if (rest == 0) system.unblock_cmd_stream();
}
task sent() void {
  end();
}
var num_got: u16 = 0;
task got_one() void {
  num_got += 1;
  if (num_got < plan[3]) {
    mp.recv_message(@ptrcast([*]TYPE, &got[num_got * 32]), .{ .activate = got_id });
  }
  end();
}
comptime {
  @bind_local_task(sent, sent_id);
  @block(sent_id);
  @bind_local_task(got_one, got_id);
  @export_symbol(plan_pointer, "plan");
  @export_symbol(data_pointer, "data");
  @export_symbol(got_pointer, "got");
  @export_symbol(run);
}
"""


def files_of(type_):
    def text(source):
        named = source.replace("TYPE", type_)
        return named.replace("WIDTH", str(WIDTH)).replace("HEIGHT", str(HEIGHT))

    return {"layout.csl": text(LAYOUT), "pe.csl": text(PROGRAM)}


@cache
def image_of(type_, *, by_name=False):
    files = files_of(type_)
    if by_name:
        files["pe.csl"] = files["pe.csl"].replace("activate = got_id", "activate = got_one")
        files["pe.csl"] = files["pe.csl"].replace("unblock = sent_id", "unblock = sent")
    options = CompileOptions(entry="layout.csl", architecture=WSE3)
    return compile_program(options, MemoryFiles(files))


def exchange(type_, targets, lengths, engine="reference", *, by_name=False):
    """Let PE i send `lengths[i]` elements to PE `targets[i]`; return what each PE got, sorted."""
    dtype = np.dtype(np.uint16 if type_ == "u16" else np.float32)
    num_pes = WIDTH * HEIGHT
    device = Device(image_of(type_, by_name=by_name), WSE3, engine=engine)
    device.load()
    plan = np.zeros((num_pes, 4), np.uint16)
    data = np.arange(num_pes * MOST, dtype=dtype).reshape(num_pes, MOST) + 1
    for pe, (target, length) in enumerate(zip(targets, lengths, strict=True)):
        plan[pe, :3] = target % WIDTH, target // WIDTH, length
        plan[target, 3] += length > 0
    device.write("plan", plan.reshape(HEIGHT, WIDTH, 4))
    device.write("data", data.reshape(HEIGHT, WIDTH, MOST))
    device.launch("run")
    got = device.read("got", 6 * MOST).reshape(num_pes, 6, MOST)
    device.stop()
    return plan, data, got


@pytest.mark.parametrize("type_", ["u16", "f32"])
@settings(max_examples=10)
@given(
    targets=st.lists(st.integers(0, 5), min_size=6, max_size=6),
    lengths=st.lists(st.integers(0, MOST), min_size=6, max_size=6),
)
def test_what_is_sent_comes_once_and_whole(type_, targets, lengths):
    plan, data, got = exchange(type_, targets, lengths)
    for target in range(6):
        expected = [
            data[pe, : lengths[pe]].tolist()
            for pe in range(6)
            if targets[pe] == target and lengths[pe]
        ]
        found = [got[target, k] for k in range(plan[target, 3])]
        assert sorted(words[words != 0].tolist() for words in found) == sorted(expected)


def test_engines_agree():
    arguments = ("f32", [5, 4, 3, 0, 0, 0], [32, 1, 5, 7, 32, 2])
    fast = exchange(*arguments, engine="fast")[2]
    np.testing.assert_array_equal(fast, exchange(*arguments)[2])


def test_a_task_after_a_message_may_be_named():
    """The task itself stands for its id, as in the settings of an operation."""
    arguments = ("u16", [5, 4, 3, 0, 0, 0], [32, 1, 5, 7, 32, 2])
    by_name = exchange(*arguments, by_name=True)[2]
    np.testing.assert_array_equal(by_name, exchange(*arguments)[2])


OF_PLACES = PROGRAM.replace(
    "var got: [6 * 32]TYPE;",
    "const is_third = mp.place == 2;\n"
    "fn marks_third() u16 { return if (is_third) 7 else 1; }\n"
    "const mark = if (is_third) marks_third() else marks_third();\n"
    "var got = @constants([6 * 32]TYPE, mark);",
)


def test_a_function_of_the_place_is_another_one_on_each_pe():
    files = files_of("u16") | {"pe.csl": OF_PLACES.replace("TYPE", "u16")}
    image = compile_program(
        CompileOptions(entry="layout.csl", architecture=WSE3), files=MemoryFiles(files)
    )
    device = Device(image, WSE3, engine="reference")
    device.load()
    assert device.read("got", 1).ravel().tolist() == [1, 1, 7, 1, 1, 1]


TO_A_DATA_TASK = """
param memcpy_params: comptime_struct;
const system = @import_module("<memcpy/memcpy>", memcpy_params);
const mp = @import_module("<message_passing>", .{ .input_queue_id = 2, .output_queue_id = 3 });
var plan: [4]u16;
var data = [4]u32{ 5, 6, 7, 8 };
var got: [8]u32;
var num_got: u16 = 0;
var plan_pointer: [*]u16 = &plan;
var data_pointer: [*]u32 = &data;
var got_pointer: [*]u32 = &got;
fn run() void {
  if (plan[2] > 0) mp.send_message(plan[0], plan[1], &data, plan[2], {});
  system.unblock_cmd_stream();
}
task take(word: u32) void {
  got[num_got] = word;
  num_got += 1;
}
comptime {
  @bind_data_task(take, @get_data_task_id(mp.mp_input_queue));
  @export_symbol(plan_pointer, "plan");
  @export_symbol(data_pointer, "data");
  @export_symbol(got_pointer, "got");
  @export_symbol(run);
}
"""


def test_a_data_task_gets_the_header_and_all_but_the_last_element():
    layout = LAYOUT.replace("WIDTH", "3").replace("HEIGHT", "2").replace("TYPE", "u32")
    files = MemoryFiles({"layout.csl": layout, "pe.csl": TO_A_DATA_TASK})
    image = compile_program(CompileOptions(entry="layout.csl", architecture=WSE3), files)
    device = Device(image, WSE3, engine="reference")
    device.load()
    plan = np.zeros((HEIGHT, WIDTH, 4), np.uint16)
    plan[0, 0, :3] = plan[1, 1, :3] = 1, 1, 4  # to PE (1, 1), which sends to itself, too
    device.write("plan", plan)
    device.launch("run")
    got = device.read("got", 8)
    device.stop()
    assert got[1, 1, [1, 2, 3, 5, 6, 7]].tolist() == [5, 6, 7, 5, 6, 7]
    assert got.sum() == got[1, 1].sum()


# PE 0 sends to PE 1. On both, a word has come for a data task that waits for the end of this.
WAITING = """
param memcpy_params: comptime_struct;
const system = @import_module("<memcpy/memcpy>", memcpy_params);
const mp = @import_module("<message_passing>", .{ .input_queue_id = 2, .output_queue_id = 3 });
const place = @import_module("<layout>");
const own_color = @get_color(5);
const iq = @get_input_queue(4);
const oq = @get_output_queue(4);
const out = @get_dsd(fabout_dsd, .{ .fabric_color = own_color, .extent = 1, .output_queue = oq });
var data = [2]f32{ 1.5, 2.5 };
var order: [4]f32;
var order_pointer: [*]f32 = &order;
var num_noted: u16 = 0;
fn note(x: f32) void {
  order[num_noted] = x;
  num_noted += 1;
}
fn run() void {
  @mov32(out, @as(u32, 7));
  if (place.get_x_coord() == 0) {
    mp.send_message(1, 0, &data, 2, .{ .unblock = WAITING });
  } else {
    mp.recv_message(@ptrcast([*]f32, &order[1]), .{ .unblock = WAITING });
  }
  note(3.0);
}
task take(word: u32) void {
  num_noted = 3;
  note(@as(f32, word));
  system.unblock_cmd_stream();
}
comptime {
  @set_local_color_config(own_color, .{ .routes = .{ .rx = RAMP, .tx = RAMP } });
  @initialize_queue(iq, .{ .color = own_color });
  @initialize_queue(oq, .{ .color = own_color });
  @bind_data_task(take, @get_data_task_id(iq));
  @block(iq);
  @export_symbol(order_pointer, "order");
  @export_symbol(run);
}
"""


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize("waiting", ["iq", "@get_data_task_id(iq)", "take"])
def test_a_queue_is_unblocked_after_a_message(waiting, engine):
    layout = LAYOUT.split('  @export_name("plan"', maxsplit=1)[0] + (
        '  @export_name("order", [*]f32, true);\n  @export_name("run", fn()void);\n}\n'
    )
    files = {
        "layout.csl": layout.replace("WIDTH", "2").replace("HEIGHT", "1"),
        "pe.csl": WAITING.replace("WAITING", waiting),
    }
    options = CompileOptions(entry="layout.csl", architecture=WSE3)
    device = Device(compile_program(options, MemoryFiles(files)), WSE3, engine=engine)
    device.load()
    device.launch("run")
    assert device.read("order", 4)[0].tolist() == [[3, 0, 0, 7], [3, 1.5, 2.5, 7]]


def test_a_message_outside_of_the_rectangle_stops_the_simulation():
    device = Device(image_of("f32"), WSE3, engine="reference")
    device.load()
    plan = np.zeros((HEIGHT, WIDTH, 4), np.uint16)
    plan[0, 0] = WIDTH, 0, 1, 0
    device.write("plan", plan)
    with pytest.raises(SimulationError, match="outside of the rectangle"):
        device.launch("run")


def test_nobody_is_warned_of_what_the_library_does():
    files = MemoryFiles(files_of("f32"))
    sink = DiagnosticSink()
    run_stages(CompileOptions(entry="layout.csl", architecture=WSE3), files, sink)
    assert sink.diagnostics == []


@pytest.mark.parametrize(
    ("after", "code"),
    [
        ("{}", None),
        (".{}", None),
        (".{ .activate = sent_id }", None),
        (".{ .unblock = mp.mp_input_queue }", None),
        (".{ .on = sent_id }", "comptime-assert"),
        (".{ .activate = sent, .unblock = sent }", "comptime-assert"),
        (".{ .unblock = sent, .on = 1 }", "comptime-assert"),
        (".{ .activate = mp.mp_input_queue }", "type-mismatch"),
        (".{ .unblock = mp.mp_output_queue }", "type-mismatch"),
        (".{ .activate = @get_local_task_id(20) }", "unbound-task"),
    ],
)
def test_what_comes_after_a_message_is_known(after, code):
    files = files_of("f32")
    files["pe.csl"] = files["pe.csl"].replace(".{ .unblock = sent_id }", after)
    sink = DiagnosticSink()
    run_stages(CompileOptions(entry="layout.csl", architecture=WSE3), MemoryFiles(files), sink)
    assert [found.code for found in sink.diagnostics] == ([code] if code else [])


def test_a_message_has_elements_of_16_or_32_bits():
    files = files_of("f32")
    files["pe.csl"] = files["pe.csl"].replace("var data: [32]f32", "var data: [32]i64")
    with pytest.raises(CompileError, match="elements of i16, u16, @fp16"):
        compile_program(CompileOptions(entry="layout.csl", architecture=WSE3), MemoryFiles(files))


def test_it_is_a_library_of_the_wse3():
    files = MemoryFiles(
        {
            "layout.csl": 'layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl", .{}); }',
            "pe.csl": 'const mp = @import_module("<message_passing>", '
            ".{ .input_queue_id = 2, .output_queue_id = 3 });",
        }
    )
    options = CompileOptions(entry="layout.csl", architecture=load_architecture("wse2"))
    with pytest.raises(CompileError, match="library of the WSE-3"):
        compile_program(options, files)
