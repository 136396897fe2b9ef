"""The libraries of a few functions each, on the reference engine."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import CompileError, SimulationError
from tests.csl.library.kernel import apply
from tests.csl.library.one_pe import compile_pe, device_of


def words_of(body, declarations="", *, num_words=8, arch="wse2"):
    """Run `body` and return what it left in `words`, u32."""
    declared = f"{declarations}\nvar words: [{num_words}]u32;\n"
    device = device_of(compile_pe(body, declared, arch=arch, variables={"words": "u32"}))
    device.launch("run")
    return device.read("words", num_words).reshape(-1).tolist()


NORTH, SOUTH, EAST, WEST, RAMP = "NORTH", "SOUTH", "EAST", "WEST", "RAMP"


@pytest.mark.parametrize(
    ("function", "images"),
    [
        ("flip", [SOUTH, NORTH, WEST, EAST, RAMP]),
        ("flip_vertical", [SOUTH, NORTH, EAST, WEST, RAMP]),
        ("flip_horizontal", [NORTH, SOUTH, WEST, EAST, RAMP]),
        ("rotate_clockwise", [EAST, WEST, SOUTH, NORTH, RAMP]),
        ("rotate_counterclockwise", [WEST, EAST, NORTH, SOUTH, RAMP]),
    ],
)
def test_directions(function, images):
    pairs = list(zip([NORTH, SOUTH, EAST, WEST, RAMP], images, strict=True))
    checks = "".join(
        f"@comptime_assert(turn.{function}({before}) == {after});\n" for before, after in pairs
    )
    body = "".join(
        f"from = {before}; if (turn.{function}(from) == {after}) words[{i}] = 1;\n"
        for i, (before, after) in enumerate(pairs)
    )
    declared = f"""
const turn = @import_module("<directions>");
var from: direction = RAMP;
comptime {{ {checks} }}
"""
    assert words_of(body, declared)[:5] == [1] * 5


def test_directions_are_bits_of_the_register_of_a_route():
    """Bits 0 to 4 say where to, bits 5 to 9 where from, as in `<tile_config>`."""
    declared = """
const sides = @import_module("<directions>");
const io = @import_module("<tile_config>").color_config.fabric_io;
fn bit(of: io) u16 { return @as(u16, 1) << @get_int(of); }
comptime {
  @comptime_assert(sides.TX_RAMP == bit(io.TX_RAMP) and sides.RX_RAMP == bit(io.RX_RAMP));
  @comptime_assert(sides.dirToTxBits(SOUTH) == bit(io.TX_SOUTH));
}
var from: direction = NORTH;
"""
    body = "words[0] = @as(u32, sides.dirToRxBits(from) == bit(io.RX_NORTH));"
    assert words_of(body, declared)[0] == 1


def test_random_numbers_in_powers_of_two_and_from_seeds():
    body = """
  random.set_global_prng_seed(7); words[0] = random.random_pow_u32(32);
  words[1] = random.random_pow_u32(3); words[2] = random.random_pow_u32(0);
  random.set_global_prng_seed(8); words[3] = random.random_pow_u32(32);
  random.set_global_prng_seed(7); words[4] = random.random_pow_u32(32);
  random.set_global_prng_seed(0); words[5] = random.random_pow_u32(32);
"""
    words = words_of(body, 'const random = @import_module("<random>", .{ .prng_id = 1 });')
    assert words[0] == words[4] != words[3]
    assert words[1] < 8
    assert words[2] == 0
    assert words[5] != 0


def test_normal_numbers_have_the_moments_of_the_distribution():
    draws, _ = apply("random.random_normal_f32()", np.zeros(4096, np.float32))
    x = draws.astype(np.float64)
    assert abs(x.mean()) < 0.05
    assert abs(x.var() - 1) < 0.07
    assert abs((x**3).mean()) < 0.15
    assert abs((x**4).mean() - 3) < 0.4


def test_f16_stays_below_the_upper_bound():
    draws, _ = apply("@as(f32, random.random_f16(2.0, 2.01))", np.zeros(4096, np.float32))
    assert set(draws) == set(np.arange(2, np.float16(2.01), 2**-9, dtype=np.float32))


@pytest.mark.parametrize(("num_commands", "is_accepted"), [(0, True), (8, True), (9, False)])
def test_a_control_wavelet_has_eight_commands(num_commands, is_accepted):
    declared = f"""
const control = @import_module("<control>");
const opcodes = @constants([{num_commands}]control.opcode, control.opcode.SWITCH_ADV);
const ignores = @constants([{num_commands}]bool, true);
"""
    body = f"words[0] = control.encode_payload({num_commands}, opcodes, ignores, true, {{}});"
    if not is_accepted:
        with pytest.raises(CompileError, match="at most 8 commands \\(`MAX_CMDS`\\)"):
            words_of(body, declared)
        return
    (word,) = words_of(body, declared)[:1]
    commands = [(word >> 22 | word << 10) >> 3 * k & 3 for k in range(2)]
    assert commands == [int(k < num_commands) for k in range(2)]


def test_timers_measure_apart():
    body = """
  timer.start(0);
  timer.start(2);
  for (@range(u16, 50)) |_| {}
  timer.stop(2);
  for (@range(u16, 50)) |_| {}
  timer.stop(0);
  var time: timer.timerType;
  timer.elapsed(0, &time);
  words[0] = @as(u32, time[0]) | (@as(u32, time[1]) << 16);
  timer.elapsed(2, &time);
  words[1] = @as(u32, time[0]);
  words[2] = @as(u32, time[2]);
  timer.stops[1, 0] = 5; timer.stops[1, 1] = 1; timer.starts[1, 0] = 7;
  timer.elapsed(1, &time);
  words[3] = @as(u32, time[0]);
  words[4] = @as(u32, time[1]);
  clock.get_perf_cntr(&time, 0);
  words[5] = @as(u32, time[0]);
"""
    declared = """
const timer = @import_module("<timer>", .{ .timerCount = 3 });
const clock = @import_module("<time>");
"""
    long, short, high, low, carry, counted = words_of(body, declared)[:6]
    assert 0 < short < long < 2 * short + 500
    assert (high, low, carry, counted) == (0, 0xFFFE, 0, 0)


def test_arena_gives_what_it_has():
    body = """
  const first = mem.malloc(f32, 3);
  const second = mem.malloc_u16(2);
  first[0] = 1.0; first[1] = 2.0; first[2] = 3.0;
  second[0] = 7; second[1] = 8;
  words[0] = @bitcast(u32, first[2]);
  words[1] = @as(u32, second[1]);
  words[2] = @as(u32, @bitcast(u16, second)) - @as(u32, @bitcast(u16, first));
  words[3] = @as(u32, mem.has_enough_words(2)) | (@as(u32, mem.has_enough_words(3)) << 1);
  words[4] = @as(u32, mem.has_enough_double_words(1));
  words[4] |= (@as(u32, mem.has_enough_space(u32, 2)) << 1);
  mem.free();
  words[5] = @as(u32, mem.has_enough_double_words(5));
  words[6] = @as(u32, @bitcast(u16, mem.malloc_i32(1))) - @as(u32, @bitcast(u16, first));
"""
    declared = 'const mem = @import_module("<malloc>", .{ .buffer_num_words = 10 });'
    assert words_of(body, declared)[:7] == [0x40400000, 8, 12, 1, 1, 1, 0]


def test_arena_may_assert():
    declared = (
        'const mem = @import_module("<malloc>", .{ .buffer_num_words = 10, '
        ".asserts_enabled = true });"
    )
    with pytest.raises(SimulationError, match="<malloc> has no such space"):
        words_of("const p = mem.malloc(u32, 6); p[0] = 1;", declared)
    with pytest.raises(CompileError, match="<malloc> has space for types of 16 and 32 bits"):
        words_of("const p = mem.malloc(u8, 6); p[0] = 1;", declared)


def test_strings_are_made_while_compiling():
    checks = """
  const a = s.fmt("{d}, {{{s}}}: {d}", .{ 70, "key", -1 });
  @comptime_assert(@strlen(a) == 14);
  @comptime_assert(@get_array(a)[4] == 123);
  @comptime_assert(@get_array(s.comptime_int_to_string(0))[0] == 48);
"""
    declared = f'const s = @import_module("<string>");\ncomptime {{ {checks} }}\n'
    words_of("", declared)


def test_a_string_shows_in_messages():
    declared = (
        'const s = @import_module("<string>");\n'
        'comptime { @comptime_assert(false, s.fmt("pe {d}: {s}", .{ -12, "no" })); }'
    )
    with pytest.raises(CompileError, match=re.escape("pe -12: no")):
        words_of("", declared)


@pytest.mark.parametrize(
    ("type_", "kinds", "bits"),
    [
        ("u3", {"is_unsigned_int", "is_numeric"}, 3),
        ("u16", {"is_unsigned_int", "is_numeric"}, 16),
        ("i32", {"is_signed_int", "is_signed", "is_numeric"}, 32),
        ("f16", {"is_float", "is_float16", "is_enabled_float", "is_signed", "is_numeric"}, 16),
        ("bf16", {"is_float", "is_float16", "is_signed", "is_numeric"}, 16),
        ("f32", {"is_float", "is_enabled_float", "is_signed", "is_numeric"}, 32),
        ("mem4d_dsd", {"is_dsd"}, 64),
        ("dsr_src0", {"is_dsr"}, None),
        ("bool", set[str](), None),
        ("[3]i16", set[str](), 48),
        ("struct { a: u16, b: f32 }", set[str](), 64),
    ],
)
def test_types_say_what_they_are(type_, kinds, bits):
    questions = (
        *("is_unsigned_int", "is_signed_int", "is_float", "is_float16", "is_enabled_float"),
        *("is_signed", "is_numeric", "is_dsd", "is_dsr"),
    )
    checks = [f"types.{q}({type_}) == {'true' if q in kinds else 'false'}" for q in questions]
    if bits is not None:
        sizes = (("bit", bits), ("byte", -(-bits // 8)), ("word", -(-bits // 16)))
        checks += [f"types.{unit}_size_of({type_}) == {size}" for unit, size in sizes]
    body = "".join(f"@comptime_assert({check});" for check in checks)
    assert words_of(body, 'const types = @import_module("<types>");') == [0] * 8


@given(x=st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_halves_of_integers(x):
    body = f"v = {x}; words[0] = du.hi16(v); words[1] = du.lo16(v);"
    declared = 'const du = @import_module("<data_utils>"); var v: u32;'
    whole = f"@comptime_assert(du.hi32({x} << 16) == {x >> 16});"
    low = f"@comptime_assert(du.lo32({x} << 16) == {x << 16 & 0xFFFF_FFFF});"
    assert words_of(f"{body}{whole}{low}", declared)[:2] == [x >> 16, x & 0xFFFF]


def test_a_size_of_what_has_none_is_refused():
    with pytest.raises(CompileError, match="has no size at run time"):
        words_of(
            "@comptime_assert(types.byte_size_of(comptime_int) == 0);",
            'const types = @import_module("<types>");',
        )


@pytest.mark.parametrize("arch", ["wse2", "wse3", "toy"])
def test_each_generator_of_a_pe_goes_on_for_itself(arch):
    """`@set_active_prng` counts modulo `num_prngs`, and generator 0 is active at first."""
    count = load_architecture(arch).num_prngs
    draws = [0, 0, 1, count + 1, 65535, 0, count]
    body = "words[0] = @random16();\n" + "".join(
        f"id = {prng_id}; @set_active_prng(id); words[{i}] = @random16();\n"
        for i, prng_id in enumerate(draws)
        if i
    )
    words = words_of(body, "var id: u16 = 0;", arch=arch)
    sequence = words[:2] + words[5:7]
    assert sequence[0] == 0xBEEF
    assert len({*sequence}) == len(sequence)
    assert words[2:4] == sequence[:2]
    assert words[4] == sequence[0]


def test_a_library_draws_from_the_generator_it_names():
    """Whichever is active; `@random16` shares it when that is the active one."""
    declared = """
const zero = @import_module("<random>");
const one = @import_module("<random>", .{ .prng_id = 1 });
const other = @import_module("<random>", .{ .prng_id = 5 });
"""
    body = """
  one.set_global_prng_seed(7); words[0] = @random16(); words[1] = one.random_u16();
  @set_active_prng(1); words[2] = @random16(); words[3] = other.random_u16();
  one.set_global_prng_seed(7); words[4] = other.random_u16(); words[5] = @random16();
  zero.set_global_prng_seed(7); words[6] = zero.random_u16(); words[7] = @random16();
"""
    words = words_of(body, declared)
    assert words[0] == 0xBEEF
    assert len({*words[:4]}) == len(words[:4])
    assert words[4:6] == words[1:3]
    assert words[6] == words[1]
    assert words[7] == words[3]
