"""CSL files of a relay and of what stands before and behind it."""

import pytest

SENDER = """
param size: u16; param tx: color;
const queue = @get_output_queue(2);
export var data = @zeros([4]u32);
const source = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> data[i] });
const out = @get_dsd(fabout_dsd, .{ .fabric_color = tx, .extent = size, .output_queue = queue });
task main() void { @mov32(out, source, .{ .async = true }); }
comptime {
  const id = @get_local_task_id(10);
  @bind_local_task(main, id);
  @activate(id);
  @initialize_queue(queue, .{ .color = tx });
}
"""
RECEIVER = """
param size: u16; param rx: color;
const queue = @get_input_queue(2);
export var data: [4]u32;
const target = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> data[i] });
const in = @get_dsd(fabin_dsd, .{ .fabric_color = rx, .extent = size, .input_queue = queue });
task main() void { @mov32(target, in, .{ .async = true }); }
comptime {
  const id = @get_local_task_id(10);
  @bind_local_task(main, id);
  @activate(id);
  @initialize_queue(queue, .{ .color = rx });
}
"""
SCALE = """
param size: u16; param factor: f32; param rx: color; param tx: color;
const in_queue = @get_input_queue(2);
const out_queue = @get_output_queue(3);
const in = @get_dsd(fabin_dsd, .{ .fabric_color = rx, .extent = size, .input_queue = in_queue });
const out = @get_dsd(fabout_dsd, .{
  .fabric_color = tx, .extent = size, .output_queue = out_queue,
});
task main() void { @fmuls(out, in, factor, .{ .async = true }); }
comptime {
  const id = @get_local_task_id(10);
  @bind_local_task(main, id);
  @activate(id);
  @initialize_queue(in_queue, .{ .color = rx });
  @initialize_queue(out_queue, .{ .color = tx });
}
"""


@pytest.fixture
def csl(tmp_path, monkeypatch):
    """Work in a folder with these CSL files."""
    for name, text in (("sender", SENDER), ("receiver", RECEIVER), ("scale", SCALE)):
        (tmp_path / f"{name}.csl").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path
