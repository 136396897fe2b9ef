"""`<tile_config>`: what the machine has works, what it has not is refused where it is called."""

from __future__ import annotations

import pytest

from onewafer.errors import CompileError
from tests.csl.library.one_pe import compile_pe, device_of

IMPORT = """
const config = @import_module("<tile_config>");
const red = @get_color(3);
const id = @get_local_task_id(9);
task nothing() void {}
var words: [8]u16;
"""


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_constants_and_coordinates(arch):
    declared = (
        IMPORT
        + f"""
comptime {{
  @bind_local_task(nothing, id);
  config.task_priority.set_task_priority(id);
  config.main_thread_priority.update_main_thread_priority(config.main_thread_priority.level.HIGH);
  @comptime_assert(@is_arch(config.target_name) and @strlen("{arch}") == 4);
}}
"""
    )
    body = """
  words[0] = config.get_fabric_coord(config.fabric_coord.X);
  words[1] = config.get_fabric_coord(config.fabric_coord.Y);
  words[2] = config.color_config.get_color_config_addr(red);
  words[3] = @get_int(config.teardown.get_task_id());
  words[4] = config.word_size;
  words[5] = @as(u16, config.teardown.is_pending(8, red));
  config.task_priority.clear_task_priority(id);
"""
    device = device_of(compile_pe(body, declared, arch=arch, width=2, variables={"words": "u16"}))
    device.launch("run")
    assert device.read("words", 6)[0, 1].tolist() == [1, 0, 0x7F23, 29, 2, 1]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("config.teardown.exit(red)", "teardown.exit"),
        (
            "config.color_config.reset_routes(red, .{ .tx = NORTH, .rx = EAST })",
            "color_config.reset_routes",
        ),
        ("config.switch_config.set_rx_switch_pos1(red, WEST)", "switch_config.set_rx_switch_pos1"),
        ("config.filters.set_counter(1, 0)", "filters.set_counter"),
        ("config.exceptions.set_exception_mask(1)", "exceptions.set_exception_mask"),
        ("config.control_transform.set_mask(2)", "control_transform.set_mask"),
        ("words[0] = config.input_queue_status.get_raw()", "output_queue_status.get_raw"),
        ("words[0] = config.queue_flush.iq_status()", "queue_flush.iq_status"),
    ],
)
def test_what_the_machine_lacks_is_refused(call, name):
    with pytest.raises(CompileError, match=f"{name} is not supported yet"):
        compile_pe(f"{call};", IMPORT)
