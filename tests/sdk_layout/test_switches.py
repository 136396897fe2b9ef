"""Switches at ports: one stream is dealt out to a column of PEs, and their results are gathered."""

import numpy as np
import pytest

from onewafer.host import IntVector, SdkRuntime, SdkTarget
from onewafer.sdk_layout import Edge, Route, RoutingPosition, SdkLayout, get_edge_routing

BATCH = 4
DEALER = """
param batch: u16; param num_batches: u16; param rx: color; param tx: color;
const control = @import_module("<control>");
const in_queue = @get_input_queue(2);
const out_queue = @get_output_queue(3);
const in = @get_dsd(fabin_dsd, .{ .fabric_color = rx, .extent = batch, .input_queue = in_queue });
const out = @get_dsd(fabout_dsd, .{
  .fabric_color = tx, .extent = batch, .output_queue = out_queue,
});
const command = @get_dsd(fabout_dsd, .{
  .fabric_color = tx, .extent = 1, .output_queue = out_queue, .control = true,
});
const deal_id = @get_local_task_id(10);
const turn_id = @get_local_task_id(11);
var dealt: u16 = 0;
task deal() void {
  if (dealt < num_batches) {
    @mov32(out, in, .{ .async = true, .activate = turn_id });
  }
}
task turn() void {
  dealt += 1;
  @mov32(command, control.encode_single_payload(control.opcode.SWITCH_ADV, true, {}, 0));
  @activate(deal_id);
}
comptime {
  @bind_local_task(deal, deal_id);
  @bind_local_task(turn, turn_id);
  @activate(deal_id);
  @initialize_queue(in_queue, .{ .color = rx });
  if (@is_arch("wse3")) { @initialize_queue(out_queue, .{ .color = tx }); }
}
"""
WORKER = """
param batch: u16; param rx: color; param tx: color;
const control = @import_module("<control>");
const in_queue = @get_input_queue(2);
const out_queue = @get_output_queue(3);
export var factors = @zeros([batch]f32);
const factors_dsd = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{batch} -> factors[i] });
const in = @get_dsd(fabin_dsd, .{ .fabric_color = rx, .extent = batch, .input_queue = in_queue });
const out = @get_dsd(fabout_dsd, .{
  .fabric_color = tx, .extent = batch, .output_queue = out_queue,
});
const command = @get_dsd(fabout_dsd, .{
  .fabric_color = tx, .extent = 1, .output_queue = out_queue, .control = true,
});
const work_id = @get_local_task_id(10);
const turn_id = @get_local_task_id(11);
task work() void { @fmuls(out, in, factors_dsd, .{ .async = true, .activate = turn_id }); }
task turn() void {
  @mov32(command, control.encode_single_payload(control.opcode.SWITCH_ADV, true, {}, 0));
}
comptime {
  @bind_local_task(work, work_id);
  @bind_local_task(turn, turn_id);
  @activate(work_id);
  @initialize_queue(in_queue, .{ .color = rx });
  if (@is_arch("wse3")) { @initialize_queue(out_queue, .{ .color = tx }); }
}
"""


def route(came, goes):
    return RoutingPosition().set_input([came]).set_output([goes])


def to(*sides):
    return [RoutingPosition().set_output([side]) for side in sides]


def come(*sides):
    return [RoutingPosition().set_input([side]) for side in sides]


def add_dealer(layout, num_batches):
    dealer = layout.create_code_region("dealer.csl", "dealer", 1, 1)
    dealer.set_param_all("batch", BATCH)
    dealer.set_param_all("num_batches", num_batches)
    rx, tx = dealer.color("rx"), dealer.color("tx")
    dealer.set_param_all(rx)
    dealer.set_param_all(tx)
    size = BATCH * num_batches
    entry = dealer.create_input_port(rx, Edge.LEFT, to(Route.RAMP), size)
    return dealer, entry, dealer.create_output_port(tx, Edge.RIGHT, come(Route.RAMP), size)


def add_workers(layout, num_workers, factors):
    workers = layout.create_code_region("worker.csl", "workers", 1, num_workers)
    workers.set_param_all("batch", BATCH)
    workers.set_symbol_all("factors", factors, BATCH, num_workers)
    rx, tx = workers.color("rx"), workers.color("tx")
    workers.set_param_all(rx)
    workers.set_param_all(tx)
    own, on = route(Route.NORTH, Route.RAMP), route(Route.NORTH, Route.SOUTH)
    workers.paint_all(rx, [own, on], [get_edge_routing(Edge.BOTTOM, [own])])
    send, pass_on = route(Route.RAMP, Route.NORTH), route(Route.SOUTH, Route.NORTH)
    workers.paint_all(tx, [send, pass_on], [get_edge_routing(Edge.BOTTOM, [send])])
    size = BATCH * num_workers
    sides = [Route.RAMP, Route.SOUTH] if num_workers > 1 else [Route.RAMP]
    entry = workers.create_input_port(rx, Edge.TOP, to(*sides), size)
    return workers, entry, workers.create_output_port(tx, Edge.TOP, come(*sides), size)


@pytest.mark.parametrize("target", SdkTarget)
@pytest.mark.parametrize("num_workers", [1, 3])
def test_a_stream_is_dealt_out_and_gathered(tmp_path, monkeypatch, target, num_workers):
    """Both ports of the workers are at one PE and face one side: a link goes both ways."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dealer.csl").write_text(DEALER)
    (tmp_path / "worker.csl").write_text(WORKER)
    size = BATCH * num_workers
    x = np.arange(size, dtype=np.float32) + 1
    factors = np.arange(size, dtype=np.float32)[::-1].copy()
    layout = SdkLayout(target)
    dealer, entry, dealt = add_dealer(layout, num_workers)
    workers, taken, gathered = add_workers(layout, num_workers, factors)
    dealer.place(1, 0)
    workers.place(4, 2)
    layout.connect(dealt, taken)
    source = layout.create_input_stream(entry)
    sink = layout.create_output_stream(gathered, IntVector(0, 4))
    with SdkRuntime(layout.compile("out"), memcpy_required=False) as runtime:
        result = np.zeros(size, np.float32)
        runtime.send(source, x, nonblock=True)
        runtime.receive(sink, result, size)
    np.testing.assert_array_equal(result, x * factors)
