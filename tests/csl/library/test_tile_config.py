"""`<tile_config>`: what changes the configuration of a PE."""

from __future__ import annotations

import pytest

from onewafer.errors import CompileError, SimulationError
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


MASKED = """
const control = @import_module("<control>");
const iq = @get_input_queue(2);
const oq = @get_output_queue(2);
const to = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{2} -> kept[i] });
var kept: [2]u32;
const in = @get_dsd(fabin_dsd, .{ .fabric_color = red, .extent = 1, .input_queue = iq,
                                  .control_transform = true });
const out = @get_dsd(fabout_dsd, .{ .fabric_color = red, .extent = 1, .output_queue = oq,
                                    .control = true });
comptime {
  @set_local_color_config(red, .{ .routes = .{ .rx = RAMP, .tx = RAMP } });
  @initialize_queue(iq, .{ .color = red });
  if (@is_arch("wse3")) @initialize_queue(oq, .{ .color = red });
  config.control_transform.set_mask(2);
}
"""


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_mask_of_kept_control_wavelets(arch):
    receive = """
  @mov32(out, control.encode_control_task_payload(@get_control_task_id(40)), .{ .async = true });
  @mov32(@set_dsd_length(@increment_dsd_offset(to, %d, u32), 1), in);
"""
    body = (
        f"{receive % 0} words[0] = 33; config.control_transform.set_mask(words[0]); {receive % 1}"
    )
    image = compile_pe(body, IMPORT + MASKED, arch=arch, variables={"kept": "u32"})
    device = device_of(image)
    device.launch("run")
    entries = [int(word) >> 16 & 0x3F for word in device.read("kept", 2)[0, 0]]
    assert entries == [40 ^ 2, 40 ^ 33]


def test_exceptions_stop_a_program():
    divide = "f = 1.0 / g;"
    declared = IMPORT + "const e = config.exceptions; var f: f32 = 0.0; var g: f32 = 0.0;"
    body = f"""
  {divide}
  e.set_exception_mask(e.FP_OVERFLOW & e.FP_INVALID);
  {divide}
  e.set_exception_mask(e.FP_DIV_BY_0 & e.FP_INEXACT);
  {divide}
"""
    device = device_of(compile_pe(body, declared, arch="wse3"))
    with pytest.raises(SimulationError, match="FP_DIV_BY_0") as error:
        device.launch("run")
    assert str(error.value).count("pe.csl") == 1


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_words_of_a_pe_are_set_from_the_start(engine):
    """Exceptions, and the color of an output queue."""
    declared = (
        IMPORT
        + """
const oq = @get_output_queue(4);
const e = config.exceptions;
var f: f32 = 0.0;
comptime {
  e.set_exception_mask(e.FP_DIV_BY_0 & e.FP_OVERFLOW);
  config.output_queue_config.encode_output_queue(oq, red);
}
"""
    )
    image = compile_pe("f = 1.0 / f;", declared, arch="wse3")
    (program,) = image.programs
    assert [(q.queue, q.color) for q in program.queues if not q.is_input] == [(4, 3)]
    with pytest.raises(SimulationError, match="FP_DIV_BY_0"):
        device_of(image, engine=engine).launch("run")


FILTERED = """
const filters = config.filters;
const filter = @get_filter_id(red);
var counts: [8]u32;
comptime {
  @set_local_color_config(red, .{ .routes = .{ .rx = RAMP, .tx = RAMP }, .filter = .{
    .kind = .{ .counter = true }, .count_data = true, .limit1 = 9, .max_counter = 3 } });
}
"""


def test_filter_as_it_counts_half_wavelets():
    """4 wavelets pass and 6 are dropped; the counter is that of the state."""
    body = """
  counts[0] = filters.get_pass_count(filter);
  counts[1] = filters.get_drop_count(filter);
  filters.set_counter(filter, 5);
  counts[2] = filters.get_counter_value(filter);
  @assert(filters.get_state(filter) == filters.counter_filter_state.DROP);
  filters.set_state(filter, filters.counter_filter_state.PASS);
  counts[3] = filters.get_counter_value(filter);
  filters.set_pass_count(filter, 3);
  counts[4] = filters.get_pass_count(filter) << 16 | filters.get_drop_count(filter);
  filters.set_drop_count(filter, 8);
  counts[5] = filters.get_pass_count(filter) << 16 | filters.get_drop_count(filter);
  filters.set_counter_value(filter, 2);
  counts[6] = filters.get_counter_value(filter);
  filters.set_max_counter(filter, 9);
  counts[7] = filters.get_drop_count(filter);
"""
    device = device_of(
        compile_pe(body, IMPORT + FILTERED, arch="wse3", variables={"counts": "u32"})
    )
    device.launch("run")
    found = device.read("counts", 8)[0, 0].tolist()
    assert found == [8, 12, 2, 2, 4 << 16 | 12, 4 << 16 | 8, 2, 0]


def test_half_wavelets_are_those_of_the_wse3():
    assert compile_pe("filters.set_max_counter(filter, 2);", IMPORT + FILTERED, arch="wse2")
    with pytest.raises(CompileError, match="set_pass_count is of the WSE-3"):
        compile_pe("filters.set_pass_count(filter, 2);", IMPORT + FILTERED, arch="wse2")


def _read_and_write(arch, *calls, config):
    """Return the two words of `red` after each of some calls."""
    body = "".join(
        f"""
  {call};
  words[{2 * i}] = word(config.color_config.get_color_config_addr(red));
  words[{2 * i + 1}] = word(config.switch_config.get_switch_config_addr(red, ring_mode));
"""
        for i, call in enumerate(calls)
    )
    declared = f"""{IMPORT}
const colors = config.color_config;
const switches = config.switch_config;
const ring_mode = switches.ring_mode;
fn word(address: u16) u16 {{
  return @bitcast(*u16, address * 2).*;
}}
comptime {{
  @set_local_color_config(red, {config});
}}
"""
    image = compile_pe(body, declared, arch=arch, variables={"words": "u16"})
    device = device_of(image)
    device.launch("run")
    return device.read("words", 8)[0, 0].tolist()[: 2 * len(calls)]


WEST_BIT, EAST_BIT, SOUTH_BIT, NORTH_BIT, RAMP_BIT = (1 << i for i in range(5))
TORN = 1 << 14
NOT_VALID = 0x555


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_routes_are_read_and_written(arch):
    plain = ".{ .routes = .{ .rx = WEST, .tx = .{ RAMP } } }"
    words = _read_and_write(
        arch,
        "words[7] = 0",
        "colors.reset_routes(red, .{ .tx = [2]direction{RAMP, NORTH}, .rx = [1]direction{RAMP} })",
        "colors.clear_io_direction(colors.get_color_config_addr(red), colors.fabric_io.TX_NORTH)",
        "colors.toggle_io_direction(red, colors.fabric_io.RX_RAMP)",
        config=plain,
    )
    assert words[::2] == [
        WEST_BIT << 5 | RAMP_BIT,
        RAMP_BIT << 5 | RAMP_BIT | NORTH_BIT,
        RAMP_BIT << 5 | RAMP_BIT,
        RAMP_BIT,
    ]
    assert words[1] == NOT_VALID


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_switches_are_read_and_written(arch):
    config = """.{ .routes = .{ .rx = WEST, .tx = .{ RAMP } }, .teardown = true, .switches = .{
      .pos1 = .{ .rx = EAST }, .pos2 = .{ .tx = NORTH }, .current_switch_pos = 1,
      .ring_mode = true, .pop_mode = .{ .pop_on_advance = true } } }"""
    words = _read_and_write(
        arch,
        "switches.set_pop_mode(red, switches.pop_mode.ALWAYS_POP)",
        "switches.clear_current_position(red)",
        "switches.set_invalid_for_all_switch_positions(red)",
        "switches.set_tx_switch_pos3(red, SOUTH)",
        config=config,
    )
    routes = WEST_BIT << 5 | RAMP_BIT | 1 << 12 | TORN
    east, north, ring = 8 | 1, 3, 1 << 12
    kept = 5 << 8 | 5 << 4 | 8 | 5
    assert words == [
        *(routes, 5 << 8 | north << 4 | east | ring | 1 << 13),
        *(routes, 5 << 8 | north << 4 | east | ring),
        *(routes, kept | ring),
        *(routes, kept & ~0xF00 | 2 << 8 | ring),
    ]


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
@pytest.mark.parametrize("position", [1, 2, 3])
def test_every_position_has_two_sides_to_set(position, arch):
    """By the function of its own, and by that of all positions; `c` is a color or its address."""
    pos = f"switches.switch_pos.POS{position}"
    words = _read_and_write(
        arch,
        f"switches.set_rx_switch_pos{position}(red, SOUTH)",
        f"switches.set_tx_switch_pos{position}(switches.get_color_config_addr(red), NORTH)",
        f"switches.set_switch_pos({pos}, red, RAMP, switches.switch_select.INPUT)",
        f"switches.set_current_switch_position(red, {position})",
        config=".{ .routes = .{ .rx = WEST, .tx = .{ RAMP } } }",
    )
    shift = 4 * (position - 1)
    others = NOT_VALID & ~(15 << shift)
    south, north, ramp = 8 | 2, 3, 8 | 4
    expected = [others | side << shift for side in (south, north, ramp, ramp)]
    assert words[1::2] == [*expected[:3], expected[3] | position << 13]


@pytest.mark.parametrize("position", [1, 2, 3])
def test_every_position_of_wse3_may_have_both_sides(position):
    pos, shift = f"switches.switch_pos.POS{position}", 4 * (position - 1)
    output = f"((word(0x7f63) >> {shift}) & 15)"
    words = _read_and_write(
        "wse3",
        f"switches.set_rxtx_switch_pos{position}(red, EAST, SOUTH)",
        f"@assert({output} == 10)",
        f"switches.set_rxtx_switch_pos({pos}, red, NORTH, RAMP)",
        f"@assert({output} == 12)",
        config=".{ .routes = .{ .rx = WEST, .tx = .{ RAMP } } }",
    )
    assert [word >> shift & 15 for word in words[1::2]] == [8 | 1, 8 | 1, 8 | 3, 8 | 3]


def test_both_sides_of_a_position_are_written():
    """On WSE-3 a position may change both; setting one side again drops the other."""
    words = _read_and_write(
        "wse3",
        "switches.set_rxtx_switch_pos1(red, EAST, SOUTH)",
        "words[7] = word(0x7f63)",
        "switches.set_rx_switch_pos1(red, EAST)",
        config=".{ .routes = .{ .rx = WEST, .tx = .{ RAMP } } }",
    )
    assert [word & 15 for word in words[1::2]] == [9, 9, 9]
    with pytest.raises(CompileError, match="changes both sides on WSE-3 only"):
        compile_pe("config.switch_config.set_rxtx_switch_pos1(red, EAST, SOUTH);", IMPORT)


def test_a_color_of_wse3_is_received_from_one_direction():
    routes = ".{ .tx = RAMP, .rx = [2]direction{ EAST, WEST } }"
    with pytest.raises(CompileError, match="from one direction"):
        compile_pe(f"config.color_config.reset_routes(red, {routes});", IMPORT, arch="wse3")
    assert compile_pe(f"config.color_config.reset_routes(red, {routes});", IMPORT, arch="wse2")


def test_teardown_is_let_go():
    words = _read_and_write(
        "wse2",
        "words[7] = 0",
        "config.teardown.exit(red)",
        config=".{ .routes = .{ .rx = WEST, .tx = RAMP }, .teardown = true }",
    )
    assert [word & TORN for word in words[::2]] == [TORN, 0]


def test_only_programs_that_can_reach_registers_say_so():
    """What costs speed is not paid by the others."""
    assert not compile_pe("words[0] = 1;", IMPORT).programs[0].reaches_registers
    assert compile_pe("config.teardown.exit(red);", IMPORT).programs[0].reaches_registers
    pointer = "words[0] = @bitcast(*u16, @as(u16, 0xfe46)).*;"
    assert compile_pe(pointer, IMPORT).programs[0].reaches_registers
