"""`@get_config` and `@set_config` as programs run: both engines, and what pointers find there."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import SimulationError
from tests.csl.library.one_pe import compile_pe, device_of

ENGINES = ("reference", "fast")
RED = 3
ROUTES, SWITCH, COUNTER, LIMIT = (first + RED for first in (0x7F20, 0x7F40, 0x7F80, 0x7FA0))
MASK = 0x7F3A
LEFT_AS_IT_IS = 0x3FF
"""Bits of routes that any word may have: where wavelets go to and come from."""
NUM_WORDS = 12
DECLARED = f"""
var words: [{NUM_WORDS}]u16;
var address: u16;
const red = @get_color({RED});
comptime {{
  @set_local_color_config(red, .{{ .routes = .{{ .rx = WEST, .tx = .{{ RAMP }} }}, .filter = .{{
    .kind = .{{ .counter = true }}, .count_data = true, .limit1 = 9, .max_counter = 3 }} }});
}}
"""


def run_on_both(body, declared=DECLARED, arch="wse2"):
    """Return the words that a program leaves, the same on both engines."""
    found = []
    image = compile_pe(body, declared, arch=arch, variables={"words": "u16"})
    for engine in ENGINES:
        device = device_of(image, engine=engine)
        device.launch("run")
        found.append(device.read("words", NUM_WORDS)[0, 0].tolist())
    assert found[0] == found[1]
    return found[0]


def pointed(address):
    return f"@bitcast(*u16, @as(u16, {2 * address})).*"


@st.composite
def accesses(draw):
    """Return an address, a word to write there or None, and how the address is given."""
    address = draw(st.sampled_from([ROUTES, SWITCH, COUNTER, LIMIT, MASK]))
    limit = {ROUTES: LEFT_AS_IT_IS, SWITCH: 0x555, MASK: 63}.get(address, 0xFFFF)
    word = draw(st.none() | st.integers(0, limit))
    given_as = draw(st.sampled_from(["known", "known, unchecked", "run time", "in a range"]))
    return address, word, given_as


def with_builtins(address, word, given_as, place):
    suffix = "_unchecked" if given_as == "known, unchecked" else ""
    named = f"{address}" if given_as.startswith("known") else "address"
    before = "" if named != "address" else f"address = {address}; "
    within = f", .{{ {address - 1}, {address + 1} }}" if given_as == "in a range" else ""
    if word is None:
        return f"{before}words[{place}] = @get_config{suffix}({named}{within});"
    return f"{before}@set_config{suffix}({named}, {word}{within});"


def with_pointers(address, word, place):
    if word is None:
        return f"words[{place}] = {pointed(address)};"
    return f"{pointed(address)} = {word};"


@settings(max_examples=30)
@given(
    arch=st.sampled_from(["wse2", "wse3"]),
    script=st.lists(accesses(), min_size=1, max_size=NUM_WORDS),
)
def test_builtins_reach_what_pointers_reach(arch, script):
    builtins = (with_builtins(*access, place) for place, access in enumerate(script))
    pointers = (
        with_pointers(address, word, place) for place, (address, word, _) in enumerate(script)
    )
    expected = run_on_both("\n".join(pointers), arch=arch)
    assert run_on_both("\n".join(builtins), arch=arch) == expected


def test_words_are_read_where_they_stand():
    """A word that was read keeps its value; one that is read twice is read twice."""
    body = f"""
  const first = @get_config({MASK});
  @set_config({MASK}, 5);
  words[0] = first;
  words[1] = after_setting(@get_config({MASK}));
  words[2] = @get_config({MASK}) * 16 + next();
  words[3] = if (words[0] == 1) @get_config({MASK}) else 99;
  words[4] = @get_config({MASK}) + next() * @get_config({MASK});
"""
    declared = f"""{DECLARED}
fn after_setting(word: u16) u16 {{ @set_config({MASK}, 7); return word; }}
fn next() u16 {{ @set_config({MASK}, @get_config({MASK}) + 1); return @get_config({MASK}); }}
"""
    assert run_on_both(body, declared)[:5] == [0, 5, 7 * 16 + 8, 99, 8 + 9 * 9]


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_torn_down_colors_are_told_once_even_in_vain(arch):
    """Who looks at the word and throws it away has looked."""
    declared = f"""{DECLARED}
const control = @import_module("<control>");
const oq = @get_output_queue(2);
const out = @get_dsd(fabout_dsd, .{{ .fabric_color = blue, .extent = 1, .output_queue = oq,
                                    .control = true }});
const blue = @get_color(4);
comptime {{
  @set_local_color_config(blue, .{{ .routes = .{{ .rx = RAMP, .tx = RAMP }} }});
  if (@is_arch("wse3")) @initialize_queue(oq, .{{ .color = blue }});
}}
fn wait() void {{ for (@range(u16, 20)) |i| {{ words[11] = i; }} }}
"""
    body = """
  const tear = control.encode_single_payload(control.opcode.TEARDOWN, true, {}, 0);
  @mov32(out, tear, .{ .async = true });
  wait();
  LOOK
  words[0] = @get_config(0x7f38);
"""
    for look, told in (("", 1 << 4), ("_ = @get_config(0x7f38);", 0), ("@get_config(0x7f38);", 0)):
        assert run_on_both(body.replace("LOOK", look), declared, arch)[0] == told


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("address", "is_of_color"), [(0x7E00, False), (0x7F27, True)])
def test_address_of_run_time_without_a_register_stops(engine, address, is_of_color):
    image = compile_pe(f"address = {address}; words[0] = @get_config(address);", DECLARED)
    with pytest.raises(SimulationError, match=f"none at word address {address:#x}") as error:
        device_of(image, engine=engine).launch("run")
    assert "pe.csl" in str(error.value)
    assert ("a color has registers if" in str(error.value)) == is_of_color


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("mask", "stops"), [(0xFF7F, True), (0xFFF7, False), (0x00FF, False)])
def test_exceptions_are_unmasked_from_the_start(engine, mask, stops):
    declared = f"""{DECLARED}
var f: f32 = 0.0;
var g: f32 = 0.0;
comptime {{ @set_config(0x7f3b, {mask}); }}
"""
    image = compile_pe(
        "words[0] = @get_config(0x7f3b); f = 1.0 / g;",
        declared,
        arch="wse3",
        variables={"words": "u16"},
    )
    device = device_of(image, engine=engine)
    if stops:
        with pytest.raises(SimulationError, match="FP_DIV_BY_0"):
            device.launch("run")
    else:
        device.launch("run")
        assert device.read("words", 1)[0, 0, 0] == mask | 0xFF00


def test_output_queue_serves_the_color_of_its_word_from_the_start():
    declared = f"""{DECLARED}
const iq = @get_input_queue(2);
const oq = @get_output_queue(3);
const blue = @get_color(5);
const in = @get_dsd(fabin_dsd, .{{ .extent = 1, .input_queue = iq }});
const out = @get_dsd(fabout_dsd, .{{ .extent = 1, .output_queue = oq }});
var got: u16;
comptime {{
  @set_local_color_config(blue, .{{ .routes = .{{ .rx = RAMP, .tx = RAMP }} }});
  @initialize_queue(iq, .{{ .color = blue }});
  @initialize_queue(oq, .{{ .color = red }});
  @set_config(0x7b83, @get_config(0x7b83) + (2 << 4));
}}
"""
    body = """
  @mov16(out, 77, .{ .async = true });
  @mov16(&got, in);
  words[0] = got;
  words[1] = @get_config(0x7b83);
"""
    assert run_on_both(body, declared, "wse3")[:2] == [77, 5 << 4]


INLINE = f"""
{DECLARED}
var never: u16;
const Pair = struct {{ a: u16, b: u16 }};
inline fn set(word: u16) void {{ @set_config({MASK}, word); }}
inline fn get() u16 {{ return @get_config({MASK}); }}
fn pair() Pair {{
  const word = @get_config({MASK});
  @set_config({MASK}, word + 1);
  return .{{ .a = word, .b = @get_config({MASK}) }};
}}
"""


def test_functions_known_while_compiling_read_and_write_when_they_run():
    body = """
      words[0] = get();
      if (never != 0) { set(9); }
      words[1] = get();
      set(3);
      words[2] = get();
      const both = pair();
      words[3] = both.a;
      words[4] = both.b;
    """
    assert run_on_both(body, INLINE)[:5] == [0, 0, 3, 3, 4]
