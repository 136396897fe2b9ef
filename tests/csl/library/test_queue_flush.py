"""`@queue_flush` and what goes with it: queues that serve one color after another, in CSL."""

from __future__ import annotations

import pytest

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.errors import CompileError, SimulationError
from tests.csl.library.one_pe import compile_pe, device_of

LAYOUT = """
param rounds: u16;
const memcpy = @import_module("<memcpy/get_params>", .{ .width = 2, .height = 1 });
layout {
  @set_rectangle(2, 1);
  for (@range(u16, 2)) |x| {
    @set_tile_code(x, 0, if (x == 0) "sender.csl" else "receiver.csl",
                   .{ .memcpy_params = memcpy.get_params(x), .rounds = rounds });
  }
  @export_name("run", fn()void);
  @export_name("low", [*]u32, true);
  @export_name("high", [*]u32, true);
}
"""
SENDER = """
param memcpy_params: comptime_struct;
param rounds: u16;
const system = @import_module("<memcpy/memcpy>", memcpy_params);
const config = @import_module("<tile_config>");
const colors = [2]color{ @get_color(10), @get_color(12) };
const oq = @get_output_queue(3);
var low = [12]u32{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };
var high = [12]u32{ 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81 };
var low_pointer: [*]u32 = &low;
var high_pointer: [*]u32 = &high;
const low_dsd = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{12} -> low[i] });
const high_dsd = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{12} -> high[i] });
const out = @get_dsd(fabout_dsd, .{ .extent = 12, .output_queue = oq });
const sent_id = @get_local_task_id(9);
var part: u16 = 0; // even: the low words, odd: the high ones

fn send() void {
  if ((part & 1) == 0) {
    @mov32(out, low_dsd, .{ .async = true, .activate = sent });
  } else {
    @mov32(out, high_dsd, .{ .async = true, .activate = sent });
  }
}

task sent() void {
  part += 1;
  @queue_flush(oq); // the operation is over, the queue is not empty yet
}

fn turn() void {
  config.output_queue_config.encode_output_queue(oq, if ((part & 1) == 0) @as(u16, 10) else 12);
  config.queue_flush.exit(oq);
  if (part < 2 * rounds) {
    send();
  } else {
    system.unblock_cmd_stream();
  }
}

fn run() void {
  part = 0;
  send();
}

comptime {
  @initialize_queue(oq, .{ .color = colors[0] });
  @set_empty_queue_handler(turn, oq);
  @bind_local_task(sent, sent_id);
  for (colors) |c| {
    @set_local_color_config(c, .{ .routes = .{ .rx = .{ RAMP }, .tx = .{ EAST } } });
  }
  @export_symbol(run);
  @export_symbol(low_pointer, "low");
  @export_symbol(high_pointer, "high");
}
"""
RECEIVER = """
param memcpy_params: comptime_struct;
param rounds: u16;
const system = @import_module("<memcpy/memcpy>", memcpy_params);
const config = @import_module("<tile_config>");
const colors = [2]color{ @get_color(10), @get_color(12) };
const iq = @get_input_queue(3);
var low: [12]u32;
var high: [12]u32;
var low_pointer: [*]u32 = &low;
var high_pointer: [*]u32 = &high;
const low_dsd = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{12} -> low[i] });
const high_dsd = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{2} -> high[i] });
const whole = @get_dsd(fabin_dsd, .{ .extent = 12, .input_queue = iq });
const filtered = @get_dsd(fabin_dsd, .{ .extent = 2, .input_queue = iq });
var left: u16 = 0;

fn run() void {
  left = rounds;
  @add32(low_dsd, low_dsd, whole, .{ .async = true, .activate = got_low });
}

task got_low() void {
  config.input_queue_config.encode_input_queue(iq, colors[1], true);
  @add32(high_dsd, high_dsd, filtered, .{ .async = true, .activate = got_high });
}

task got_high() void {
  config.input_queue_config.encode_input_queue(iq, colors[0], false);
  left -= 1;
  if (left > 0) {
    @add32(low_dsd, low_dsd, whole, .{ .async = true, .activate = got_low });
  } else {
    system.unblock_cmd_stream();
  }
}

comptime {
  @initialize_queue(iq, .{ .color = colors[0] });
  @bind_local_task(got_low, @get_local_task_id(13));
  @bind_local_task(got_high, @get_local_task_id(14));
  const routes = .{ .rx = .{ WEST }, .tx = .{ RAMP } };
  @set_local_color_config(colors[0], .{ .routes = routes });
  @set_local_color_config(colors[1], .{ .routes = routes, .filter = .{
    .kind = .{ .counter = true }, .count_data = true, .count_control = false,
    .init_counter = 0, .max_counter = 1, .limit1 = 11 } }); // the first 2 of 12
  @export_symbol(run);
  @export_symbol(low_pointer, "low");
  @export_symbol(high_pointer, "high");
}
""".replace("@add32(low_dsd, low_dsd, whole", "@mov32(low_dsd, whole").replace(
    "@add32(high_dsd, high_dsd, filtered", "@mov32(high_dsd, filtered"
)


SENDER_OF_THE_WSE2 = f"""
{SENDER.split("const out", maxsplit=1)[0]}
const low_out = @get_dsd(fabout_dsd, .{{
  .extent = 12, .output_queue = oq, .fabric_color = colors[0] }});
const high_out = @get_dsd(fabout_dsd, .{{
  .extent = 12, .output_queue = oq, .fabric_color = colors[1] }});

fn run() void {{
  for (@range(u16, rounds)) |_| {{
    @mov32(low_out, low_dsd);
    @mov32(high_out, high_dsd);
  }}
  system.unblock_cmd_stream();
}}

comptime {{
  @initialize_queue(oq, .{{}});
  for (colors) |c| {{
    @set_local_color_config(c, .{{ .routes = .{{ .rx = .{{ RAMP }}, .tx = .{{ EAST }} }} }});
  }}
  @export_symbol(run);
  @export_symbol(low_pointer, "low");
  @export_symbol(high_pointer, "high");
}}
"""
"""There a DSD names the color of what it sends; input queues are as on the WSE-3."""


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize(("arch", "rounds"), [("wse3", 1), ("wse3", 3), ("wse2", 2)])
def test_one_queue_of_each_side_serves_two_colors(engine, arch, rounds):
    """Back and forth, launch after launch; a filter stands before the queue while it is bound."""
    machine = load_architecture(arch)
    sender = SENDER if arch == "wse3" else SENDER_OF_THE_WSE2
    files = MemoryFiles({"layout.csl": LAYOUT, "sender.csl": sender, "receiver.csl": RECEIVER})
    options = CompileOptions(
        entry="layout.csl", architecture=machine, params={"rounds": str(rounds)}
    )
    device = device_of(compile_program(options, files), engine=engine)
    for _ in range(2):
        device.launch("run")
        assert device.read("low", 12)[0, 1].tolist() == list(range(12))
        assert device.read("high", 12)[0, 1].tolist() == [70, 71, *[0] * 10]


DECLARED = """
const config = @import_module("<tile_config>");
const flush = @import_module("<queue_flush>");
const empty_queue = @import_module("<empty_queue>");
const iq = @get_input_queue(3);
const oq = @get_output_queue(3);
const out = @get_dsd(fabout_dsd, .{ .extent = 12, .output_queue = oq });
var order: [8]u16;
var called: u16 = 0;
fn note(number: u16) void { order[called] = number; called += 1; }
fn first() void { note(1); flush.exit(iq); }
fn second() void { note(2); flush.exit(oq); system.unblock_cmd_stream(); }
comptime {
  @initialize_queue(iq, .{ .color = @get_color(4) });
  @initialize_queue(oq, .{ .color = @get_color(4) });
}
"""


def run_pe(body, declared=DECLARED, variables=("order",)):
    """Return what a PE of the WSE-3 that goes on after `run` leaves in its variables."""
    image = compile_pe(body, declared, arch="wse3", variables=dict.fromkeys(variables, "u16"))
    device = device_of(image)
    device.launch("run")
    return [device.read(name, 8)[0, 0].tolist() for name in variables]


def test_handlers_of_input_queues_go_first():
    """Decided here: the order is not published."""
    handlers = (
        "comptime { @set_empty_queue_handler(second, oq); @set_empty_queue_handler(first, iq); }"
    )
    body = "@queue_flush(oq); @queue_flush(iq);"
    assert run_pe(body, DECLARED + handlers) == [[1, 2, 0, 0, 0, 0, 0, 0]]


def test_queue_known_at_run_time_is_flushed():
    body = "var q: output_queue = oq; @queue_flush(q); order[0] = flush.oq_status();"
    assert run_pe(body)[0][0] == 8


def test_status_of_queues():
    """A word that a PE sends to itself waits in its input queue."""
    body = """
  const input = config.input_queue_status;
  const output = config.output_queue_status;
  order[0] = input.get_raw();
  order[1] = @as(u16, input.all_empty(input.get()) and input.none_full(input.get()));
  order[2] = @as(u16, input.is_empty(input.get(), iq) and !input.is_full(input.get(), iq));
  @mov32(out, @as(u32, 7));
  while (empty_queue.is_empty(iq)) {}
  order[3] = input.get_raw();
  order[4] = @as(u16, input.all_empty(input.get()) or input.is_empty(input.get(), iq));
  order[5] = @as(u16, input.none_empty(input.get()) or input.all_full(input.get()));
  order[6] = @as(u16, output.all_empty(output.get()) and empty_queue.is_empty(oq));
"""
    declared = f"""{DECLARED.replace(".extent = 12", ".extent = 1")}
comptime {{
  @set_local_color_config(@get_color(4), .{{ .routes = .{{ .rx = RAMP, .tx = RAMP }} }});
}}
"""
    assert run_pe(body, declared)[0][:7] == [0xFF, 1, 1, 0xF7, 0, 0, 1]


@pytest.mark.parametrize(
    "call",
    [
        "config.queue_flush.exit(oq)",
        "order[0] = config.queue_flush.iq_status()",
        "config.output_queue_config.encode_output_queue(3, 4)",
    ],
)
def test_binding_is_of_the_wse3(call):
    declared = DECLARED.split("const out", maxsplit=1)[0] + "var order: [8]u16;"
    with pytest.raises(CompileError, match="is of the WSE-3"):
        compile_pe(f"{call};", declared)


def test_queue_that_is_not_empty_is_not_bound():
    """The error says how to wait for it."""
    body = "@mov32(out, @as(u32, 7)); config.output_queue_config.encode_output_queue(oq, 5);"
    declared = DECLARED.replace(".extent = 12", ".extent = 1")
    with pytest.raises(SimulationError, match="still holds wavelets; call @queue_flush"):
        run_pe(body, declared)
