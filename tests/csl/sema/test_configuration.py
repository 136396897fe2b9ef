"""`@get_config` and `@set_config`: which words there are, and which a program may name where."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl import ir
from onewafer.csl.ir import walk
from onewafer.csl.sema.builtins.config_words import config_words, words_at
from onewafer.simulator.arithmetic.exceptions import is_exceptions_register
from onewafer.simulator.arithmetic.queue_words import (
    KIND_SHIFT,
    OUTPUT_QUEUE_REGISTER,
    queue_register_at,
)
from onewafer.simulator.arithmetic.registers import NO_REGISTER, register_at
from tests.csl.sema.conftest import analyze_sources

DECLARED = """
var address: u16 = 0x7f23;
var byte: u8 = 1;
var signed: i16 = 1;
var word: u16;
"""
EVERY_ADDRESS = range(1 << 15)


def in_task(statement, arch="wse3"):
    return analyze_sources(f"{DECLARED}\nfn main() void {{ {statement} }}", arch=arch)


def at_start(statements, arch="wse3"):
    source = f"""
const oq = @get_output_queue(3);
const red = @get_color(5);
comptime {{ {statements} }}
"""
    return analyze_sources(source, arch=arch)


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_words_are_where_the_simulated_pe_has_registers(arch):
    machine = load_architecture(arch)

    def has_register(address):
        register = queue_register_at(2 * address, 2)
        if register >= 0 and register >> KIND_SHIFT == OUTPUT_QUEUE_REGISTER:
            return machine.queues_need_initialization
        is_other = register_at(2 * address, 2) != NO_REGISTER
        return register >= 0 or is_other or is_exceptions_register(2 * address, 2)

    found = [address for address in EVERY_ADDRESS if words_at(machine, address) is not None]
    assert found == [address for address in EVERY_ADDRESS if has_register(address)]


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_words_do_not_overlap_and_are_in_order(arch):
    words = config_words(load_architecture(arch))
    assert all(a.last < b.first for a, b in pairwise(words))


@given(address=st.integers(0x7B70, 0x7FFF), is_write=st.booleans(), is_checked=st.booleans())
def test_known_address_is_a_load_or_a_store_there(address, is_write, is_checked):
    suffix = "" if is_checked else "_unchecked"
    call = (
        f"@set_config{suffix}({address}, 7)"
        if is_write
        else f"word = @get_config{suffix}({address})"
    )
    result = in_task(f"{call};")
    if words_at(load_architecture("wse3"), address) is None:
        assert result.codes == ["id-out-of-range"]
        return
    (statement,) = result.function("main").body
    assert isinstance(statement, ir.Store)
    place = statement.address if is_write else statement.value.address
    assert place.word == 2 * address


@pytest.mark.parametrize(
    ("call", "queues", "exceptions"),
    [
        ("@set_config(0x7f23, 1)", False, False),
        ("@set_config(0x7b83, 0x50)", True, False),
        ("@set_config(0x7f3b, 0)", False, True),
        ("@set_config(address, 1)", True, True),
        ("@set_config(address, 1, .{ 0x7f20, 0x7f3a })", False, False),
        ("@set_config(address, 1, .{ .{ 0x7f20, 0x7f37 }, .{ 0x7b8f, 0x7b90 } })", True, False),
        ("_ = @get_config(address, .{ 0x7f3a, 0x7f3b })", False, True),
        ("_ = @get_config_unchecked(address)", True, True),
        ("@set_config_unchecked(0x7f3a, byte)", False, False),
    ],
)
def test_program_reaches_what_its_addresses_may_name(call, queues, exceptions):
    instance = in_task(f"{call};").instance
    assert instance.reaches_registers
    assert (instance.reaches_queues, instance.unmasks_exceptions) == (queues, exceptions)


@pytest.mark.parametrize(
    ("statement", "reads"),
    [
        ("_ = @get_config(0x7f38);", 1),
        ("@get_config(0x7f38);", 1),
        ("const torn = @get_config(0x7f38);", 1),
        ("const torn = @get_config(0x7f38); word = torn + torn;", 1),
        ("word = @get_config(0x7f38) * 0;", 1),
        ("if (@get_config(0x7f38) == 1) {}", 1),
        ("word = @get_config(0x7f38) + @get_config(0x7f38);", 2),
    ],
)
def test_every_read_is_made_once(statement, reads):
    body = in_task(statement).function("main").body
    found = {
        id(node)
        for inner in walk.statements(body)
        for root in walk.roots(inner)
        for node in walk.expressions(root)
        if isinstance(node, ir.Load) and node.is_volatile
    }
    assert len(found) == reads


@pytest.mark.parametrize(
    ("statement", "code", "message"),
    [
        ("word = @get_config(0x7e00);", "id-out-of-range", "has nothing at word address 0x7e00"),
        ("@set_config(24, 0);", "id-out-of-range", "nothing at word address 0x18"),
        ("@set_config(0x17f23, 0);", "value-out-of-range", "does not fit in `u16`"),
        ("@set_config(0x7f23, 0x10000);", "value-out-of-range", "the word"),
        ("@set_config(signed, 0);", "type-mismatch", "the word address"),
        ("@set_config(0x7f23, signed);", "type-mismatch", "the word"),
        ("word = @get_config(0x7f23, .{ 0x7f24, 0x7f25 });", "value-out-of-range", "in none of"),
        ("word = @get_config(address, .{ 0x7f25, 0x7f24 });", "value-out-of-range", "is empty"),
        (
            "word = @get_config(address, .{ 0x7e00, 0x7e0f });",
            "id-out-of-range",
            "0x7e00 to 0x7e0f",
        ),
        ("word = @get_config(address, .{ 0x7f20 });", "type-mismatch", "a first and a last"),
        ("word = @get_config(address, .{});", "type-mismatch", "a tuple"),
        ("word = @get_config(address, 0x7f20);", "type-mismatch", "a tuple"),
        ("word = @get_config(address, .{ 1, address });", "not-comptime", ""),
        ("word = @get_config(address, .{ .{ 0x7f20, 0x7f21 }, 1 });", "type-mismatch", "a tuple"),
        ("word = @get_config_unchecked(address, .{ 1, 2 });", "wrong-argument-count", ""),
        ("@set_config();", "wrong-argument-count", ""),
        ("const k = comptime @get_config(0x7f3a);", "wrong-context", "while compiling"),
        ("comptime { @set_config(0x7f3a, 1); }", "wrong-context", ""),
    ],
)
def test_mistake(statement, code, message):
    error = in_task(statement).error
    assert error.code == code
    assert message in error.message


def test_colors_of_queues_are_words_of_the_wse3():
    error = in_task("@set_config(0x7b83, 0x50);", arch="wse2").error
    assert error.code == "id-out-of-range"
    assert "0x7ba0–0x7ba5, 0x7f20–0x7f3b" in (error.help or "")
    assert "0x7b80–0x7b87, 0x7b90–0x7b97" in (in_task("@set_config(1, 0);").error.help or "")


@pytest.mark.parametrize(
    ("address", "arch", "is_ours"),
    [
        (0x7F23, "wse2", False),
        (0x7F23, "wse3", True),
        (0x7F43, "wse2", False),
        (0x7F63, "wse2", True),
        (0x7B83, "wse3", False),
        (0x7B93, "wse3", True),
        (0x7F3A, "wse2", True),
    ],
)
def test_addresses_that_nobody_published_are_a_warning(address, arch, is_ours):
    result = in_task(f"@set_config({address}, 0);", arch)
    assert [d.code for d in result.diagnostics] == ["undefined-result"] * is_ours


def test_words_are_set_from_the_start():
    instance = at_start("""
      @set_config(0x7f3a, 0x47);
      @set_config(0x7f3a, @get_config(0x7f3a) + 1);
      @set_config_unchecked(0x7f3b, 0x127f);
      @comptime_assert(@get_config_unchecked(0x7f3b) == 0xff7f);
      @initialize_queue(oq, .{ .color = red });
      @set_config(0x7b83, @get_config(0x7b83) + 0x20, .{ 0x7b80, 0x7b87 });
      @set_config(0x7b84, 0x30);
    """).instance
    assert instance.control_mask == 8
    assert (instance.exception_mask, instance.unmasks_exceptions) == (0xFF7F, True)
    assert [(q.queue, q.color, q.is_input) for q in instance.queues] == [
        (3, 7, False),
        (4, 3, False),
    ]
    assert not instance.reaches_queues


@pytest.mark.parametrize(
    ("statement", "code", "help_"),
    [
        ("@set_config(0x7f23, 1);", "reserved-register", "@set_local_color_config"),
        ("_ = @get_config_unchecked(0x7f43);", "reserved-register", "in a function or task"),
        ("@set_config(0x7fc3, 1);", "reserved-register", "`.filter`"),
        ("@set_config(0x7b93, 0x50);", "reserved-register", "@initialize_queue"),
        ("@set_config(0x7f38, 0);", "reserved-register", "in a task"),
        ("_ = @get_config(0x7ba4);", "reserved-register", "in a function or task"),
        ("_ = @get_config(0x7b83);", "queue-not-initialized", "@initialize_queue"),
        ("@set_config(0x7b83, 0x51);", "value-out-of-range", "<< 4"),
        ("@set_config(0x7b83, 0x180);", "id-out-of-range", ""),
        ("@set_config(0x7e00, 42);", "id-out-of-range", "0x7f20"),
        ("@set_config(0x7f3a, oq);", "type-mismatch", ""),
        ("@set_config(oq, 1);", "type-mismatch", ""),
    ],
)
def test_mistake_from_the_start(statement, code, help_):
    error = at_start(statement).error
    assert error.code == code
    assert help_ in (error.help or "")


def test_the_layout_has_no_configuration():
    source = "layout { @set_rectangle(1, 1); @set_config(0x7f3a, 1); @set_tile_code(0, 0); }"
    assert "wrong-context" in analyze_sources(source).codes
