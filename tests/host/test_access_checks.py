"""Checked accesses: what leaves its variable, and unwritten memory, stops with names and lines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import CheckpointError, SimulationError
from onewafer.host import Device
from onewafer.image import INSTRUCTIONS, Opcode, ScalarType
from onewafer.simulator import Checking, Machine
from onewafer.simulator.reference.compute_element import checked
from tests.csl.library.one_pe import compile_pe
from tests.simulator.assembly import WSE2, Kernel, boot

BOUNDS = Checking(bounds=True)
READS = Checking(uninitialised=True)
BOTH = Checking(bounds=True, uninitialised=True)
VARIABLES = """
var before: [4]i16 = @constants([4]i16, 1);
var x: [8]i16 = @constants([8]i16, 2);
var behind: [4]i16 = @constants([4]i16, 3);
var n: u16 = 8;
var sum: i16 = 0;
fn get(p: [*]i16, i: u16) i16 { return p[i]; }
const pair = struct { low: i16, high: i16 };
var pairs: [2]pair = @zeros([2]pair);
"""


def run(body, declarations=VARIABLES, *, checking=BOUNDS, variables=None, arch="wse2", before=None):
    """Run a function; return the device."""
    image = compile_pe(body, declarations, variables=variables, arch=arch)
    device = Device(image, WSE2, engine="reference", checking=checking)
    device.load()
    if before is not None:
        before(device)
    device.launch("run")
    return device


def failure(*arguments, **options):
    """Run a function that fails; return the message."""
    with pytest.raises(SimulationError) as caught:
        run(*arguments, **options)
    assert caught.value.place is not None
    return str(caught.value)


OUTSIDE = [
    (
        "sum = x[n];",
        "an access to 2 B at element 8 of 'x' is outside of it: it has 8 elements of i16",
    ),
    ("x[n + 2] = 5;", "at element 10 of 'x'"),
    ("x[n - 9] = 5;", "at element -1 of 'x'"),
    ("var i: u16 = n; sum = x[i - 20];", "at element -12 of 'x'"),
    ("sum = get(&x, n);", "at element 8 of 'x'"),
    ("sum = get(@ptrcast([*]i16, &x[4]), 4);", "at element 8 of 'x'"),
    (
        (
            "const d = @get_dsd(mem1d_dsd, .{ .base_address = &x, .extent = 8 }); "
            "@mov16(@increment_dsd_offset(d, @as(i16, n) - 4, i16), d);"
        ),
        "at element 8 of 'x'",
    ),
    (
        (
            "var d = @get_dsd(mem1d_dsd, .{ .base_address = &x, .extent = 4 }); "
            "d = @set_dsd_length(d, n + 1); @mov16(d, 7);"
        ),
        "at element 8 of 'x'",
    ),
    (
        (
            "var d = @get_dsd(mem1d_dsd, .{ .base_address = &before, .extent = 4 }); "
            "d = @set_dsd_stride(@set_dsd_base_addr(d, &x), 3); @mov16(d, 7);"
        ),
        "at element 9 of 'x'",
    ),
    ("pairs[n >> 2].low = 1;", "at element 4 of 'pairs' is outside of it: it has 4 elements"),
    (
        "const p = &pairs[1]; const q = @ptrcast([*]pair, p); q[n >> 3].high = 1;",
        "at element 5 of 'pairs'",
    ),
    (
        (
            "const d = @get_dsd(mem4d_dsd, .{ .tensor_access = |i, j|{2, 2} -> x[4 * i + j] }); "
            "@mov16(@increment_dsd_offset(d, @as(i16, n) - 4, i16), 7);"
        ),
        "at element 8 of 'x'",
    ),
]


BOXES = """
const box = struct { before: i16, a: [4]i16, b: [3]i16, behind: i16 };
var s: box = @zeros(box);
var boxes: [2]box = @zeros([2]box);
var p: *[4]i16 = &s.a;
var d = @get_dsd(mem1d_dsd, .{ .base_address = &s.a, .extent = 2 });
var n: u16 = 4;
var sum: i16 = 0;
fn get(p: [*]i16, i: u16) i16 { return p[i]; }
fn whole(p: *box, i: u16) i16 { return p.*.a[i]; }
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "sum = s.a[n];",
            "an access to 2 B at element 4 of 's.a' is outside of it: it has 4 elements of i16",
        ),
        ("s.b[n - 1] = 1;", "at element 3 of 's.b'"),
        ("s.a[n - 5] = 1;", "at element -1 of 's.a'"),
        ("sum = boxes[1].a[n];", "at element 4 of 'boxes[1].a'"),
        ("sum = get(&s.a, n);", "at element 4 of 's.a'"),
        ("sum = get(&s.b, n - 1);", "at element 3 of 's.b'"),
        ("sum = get(@ptrcast([*]i16, &s.b[1]), n - 2);", "at element 3 of 's.b'"),
        ("sum = p.*[n];", "at element 4 of 's.a'"),
        ("const q = &s.a; sum = q.*[n];", "at element 4 of 's.a'"),
        ("@mov16(@increment_dsd_offset(d, @as(i16, n) - 1, i16), 1);", "at element 4 of 's.a'"),
        ("d = @set_dsd_base_addr(d, &s.b); @mov16(@set_dsd_length(d, n), 1);", "3 of 's.b'"),
        (
            (
                "@mov16(@increment_dsd_offset(@get_dsd(mem1d_dsd, "
                ".{ .tensor_access = |i|{4} -> s.a[i] }), @as(i16, n) - 2, i16), 1);"
            ),
            "at element 4 of 's.a'",
        ),
        ("sum = whole(&s, n + 4);", "of 's' is outside of it"),
    ],
)
def test_what_leaves_an_array_in_a_struct_is_found(body, message):
    assert message in failure(body, BOXES)
    run(body, BOXES, checking=Checking())


def test_what_stays_in_an_array_in_a_struct_is_none():
    body = """
    s.a[n - 1] = 1; s.b[n - 2] = 2; s.before = 3; boxes[n / 4] = s; boxes[0].b[n - 4] = 4;
    const q = &s; q.*.b[n - 3] = 5; sum = whole(&s, n - 1); sum += get(&s.a, 2);
    @mov16(@increment_dsd_offset(d, 2, i16), 1);
    """
    run(body, BOXES, checking=BOTH)


WIDE = """
const entry = struct { name: u16, values: [2]i64 };
var totals: [3]u64;
var entries: [2]entry;
var n: u16 = 4;
fn last(of: [3]u64, i: u16) u64 { return of[i]; }
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "totals[n] = 1;",
            "element 4 of 'totals' is outside of it: it has 3 elements of 64 bits",
        ),
        ("entries[1].values[n >> 1] = 1;", "element 2 of 'entries[1].values'"),
        ("totals = @zeros([3]u64); totals[1] = last(totals, n);", "element 4 of 'run.argument'"),
        ("totals[0] = totals[2];", "element 2 of 'totals' is read before it was written"),
        ("totals[0] = @as(u64, entries[0].values[1] + 1);", "element 1 of 'entries[0].values'"),
    ],
)
def test_numbers_of_two_words_are_elements(body, message):
    assert message in failure(body, WIDE, checking=BOTH)


@pytest.mark.parametrize(("body", "message"), OUTSIDE)
def test_what_leaves_its_variable_is_found(body, message):
    text = failure(body)
    assert message in text
    assert text.splitlines()[-1].startswith("  at pe.csl:")
    run(body, checking=Checking())  # by default what lies behind is touched


def test_checked_programs_run_on_the_reference_engine():
    image = compile_pe("", VARIABLES)
    machine = Machine(image, WSE2, engine="fast", checking=BOUNDS)
    assert machine.engine == "reference"
    assert "looks at each access" in machine.engine_note
    assert Machine(image, WSE2, engine="reference", checking=BOUNDS).engine_note is None


def test_a_global_dsd_keeps_to_its_array():
    """Its base moves from launch to launch; the array that it is of stays."""
    declarations = f"""{VARIABLES}
    var d = @get_dsd(mem1d_dsd, .{{ .base_address = &x, .extent = 4 }});
    """
    body = "@mov16(d, 7); d = @increment_dsd_offset(d, 4, i16);"
    image = compile_pe(body, declarations)
    device = Device(image, WSE2, engine="reference", checking=BOTH)
    device.load()
    device.launch("run")
    device.launch("run")
    with pytest.raises(SimulationError, match="at element 8 of 'x'"):
        device.launch("run")


def test_a_saved_address_keeps_to_its_array():
    body = """
    const dest = @get_dsr(dsr_dest, 1);
    const d = @get_dsd(mem1d_dsd, .{ .base_address = &x, .extent = 4 });
    @load_to_dsr(dest, d, .{ .save_address = true });
    @mov16(dest, 1); @mov16(dest, 2); @mov16(dest, 3);
    """
    assert "at element 8 of 'x'" in failure(body)


def test_map_loops_are_checked():
    body = """
    const d = @get_dsd(mem1d_dsd, .{ .base_address = &x, .extent = 4 });
    @map(twice, d, @increment_dsd_offset(d, @as(i16, n) - 3, i16));
    """
    declarations = f"{VARIABLES}\nfn twice(v: i16) i16 {{ return v + v; }}"
    assert "at element 8 of 'x'" in failure(body, declarations)


def test_pointers_in_memory_lead_to_their_variable():
    declarations = f"{VARIABLES}\nvar p: [*]i16 = &x; var q: [*]i16 = &before;"
    assert "at element 9 of 'x'" in failure("sum = p[n + 1];", declarations)
    assert "at element 8 of 'x'" in failure("q = p; sum = q[n];", declarations)


def test_a_write_beside_a_pointer_leaves_it_alone():
    declarations = f"{VARIABLES}\nvar p: [*]i16 = &x; var beside: u16 = 0;"
    assert "at element 8 of 'x'" in failure("p = &x; beside = 1; sum = p[n];", declarations)


def test_a_pointer_that_the_host_wrote_is_another_one():
    def repoint(device):
        (program,) = device.image.programs
        place = {symbol.name: symbol.address for symbol in program.symbols}
        memory = device.machine.memory[0]
        memory[place["p"] : place["p"] + 2].view("<u2")[0] = place["before"]

    declarations = f"{VARIABLES}\nvar p: [*]i16 = &x;"
    body = "if (n == 0) { p = &before; } sum = p[n - 7];"
    run(body, declarations, before=repoint)
    assert "at element 8 of 'x'" in failure(body.replace("- 7", ""), declarations)


@settings(max_examples=25)
@given(
    length=st.integers(1, 9),
    extent=st.integers(1, 12),
    stride=st.integers(-3, 3),
    offset=st.integers(-4, 12),
)
def test_the_first_element_outside_is_found(length, extent, stride, offset):
    """The oracle is the list of the elements."""
    declarations = f"""
    var before: [40]i16 = @zeros([40]i16);
    var y: [{length}]i16 = @zeros([{length}]i16);
    var behind: [40]i16 = @zeros([40]i16);
    var offset: i16 = {offset};
    var stride: i8 = {stride};
    """
    body = f"""
    before[0] = 1; behind[0] = 1;
    var d = @get_dsd(mem1d_dsd, .{{ .base_address = &y, .extent = {extent} }});
    @mov16(@increment_dsd_offset(@set_dsd_stride(d, stride), offset, i16), 3);
    """
    elements = [offset + k * stride for k in range(extent)]
    outside = [element for element in elements if not 0 <= element < length]
    if outside:
        assert f"at element {outside[0]} of 'y'" in failure(body, declarations)
    else:
        run(body, declarations)


UNDEFINED = """
var a: [4]i16;
var b: i16 = undefined;
var c: [4]i16 = @zeros([4]i16);
var sum: i16 = 0;
const point = struct { x: i16, y: [2]i16 };
var p: point;
var ps: [2]point;
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sum = a[2];", "element 2 of 'a' is read before it was written"),
        ("a[0] = 1; a[1] = 1; sum = a[1] + a[3];", "element 3 of 'a' is read"),
        ("sum = b;", "'b' is read before it was written"),
        ("p.y[1] = 2; sum = p.y[1] + p.x;", "'p.x' is read"),
        (
            "const q = &ps[1]; q.*.x = 2; sum = ps[1].x + q.*.y[1];",
            "element 1 of 'ps[1].y' is read",
        ),
        ("var local: [3]i16; local[1] = 4; sum = local[1] + local[2];", "element 2 of 'run.local'"),
        (
            (
                "@add16(@get_dsd(mem1d_dsd, .{ .base_address = &c, .extent = 4 }), "
                " @get_dsd(mem1d_dsd, .{ .base_address = &a, .extent = 4 }), 1);"
            ),
            "element 0 of 'a' is read",
        ),
    ],
)
def test_a_read_of_what_nobody_wrote_is_found(body, message):
    text = failure(body, UNDEFINED, checking=READS)
    assert message in text
    assert "\n  at pe.csl:" in text
    run(body, UNDEFINED, checking=BOUNDS)


COPIES = """
const point = struct { x: i16, y: [2]i16, z: u8, w: i32 };
var p: point;
var q: point;
var ps: [2]point;
var sum: i32 = 0;
fn same(v: point) point { return v; }
fn copied(to: *point, from: *const point) void { to.* = from.*; }
"""
PLACES = ("p", "q", "ps[0]", "ps[1]")
FIELDS = {".x": "'{}.x'", ".y[0]": "element 0 of '{}.y'", ".y[1]": "element 1 of '{}.y'",
          ".z": "'{}.z'", ".w": "'{}.w'"}  # fmt: skip
FORMS = (
    "{to} = {of};",
    "{{ const l = {of}; {to} = l; }}",
    "{to} = same({of});",
    "copied(&{to}, &{of});",
)
ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(PLACES), st.sampled_from([*FIELDS])),
    st.tuples(st.sampled_from(FORMS), st.sampled_from(PLACES), st.sampled_from(PLACES)),
    st.tuples(st.just("use"), st.sampled_from(PLACES), st.sampled_from([*FIELDS])),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ACTIONS, min_size=1, max_size=12))
def test_a_copy_has_what_was_written_and_no_more(actions):
    """M14: copies of a half-written struct are fine, and a use of what is missing in one is not."""
    written = {place: set() for place in PLACES}
    body, fault = [], None
    for action, place, other in actions:
        match action:
            case "write":
                body.append(f"{place}{other} = 1;")
                written[place].add(other)
            case "use":
                body.append(f"sum += @as(i32, {place}{other});")
                if other not in written[place] and fault is None:
                    fault = FIELDS[other].format(place)
            case form:
                body.append(form.format(to=place, of=other))
                written[place] = set(written[other])
    if fault is None:
        run("\n".join(body), COPIES, checking=READS)
    else:
        assert f"{fault} is read" in failure("\n".join(body), COPIES, checking=READS)


def test_a_missing_copy_says_what_it_is_a_copy_of():
    text = failure("p.x = 1; q = p; ps[1] = q; sum += ps[1].w;", COPIES, checking=READS)
    assert "'ps[1].w' is read, a copy of unwritten 'p.w'" in text
    spread = "fn spread() void { for (@range(u16, 20)) |i| { ps[i & 1].x = 1; } }"
    for field in ("w", "x"):
        body = f"sum = @as(i32, p.{field}); spread(); sum += 1;"
        text = failure(body, COPIES + spread, checking=READS)
        assert f"'sum' is read, a copy of unwritten 'p.{field}'" in text


@pytest.mark.parametrize(
    "use",
    [
        "if (p.x > 0) { sum = 1; }",
        "if (p.z != 0) { sum = 1; }",
        "ps[@as(u16, p.z)].x = 1;",
        "@mov16(@get_dsd(mem1d_dsd, .{ .base_address = &q.y, .extent = 2 }), p.x);",
        (
            "@mov16(@get_dsd(mem1d_dsd, .{ .base_address = &q.y, .extent = 1 }), "
            "@get_dsd(mem1d_dsd, .{ .base_address = &p.y, .extent = 1 }));"
        ),
    ],
)
def test_every_use_of_what_is_missing_is_found(use):
    assert "is read before it was written" in failure(use, COPIES, checking=READS)


def test_what_host_and_program_wrote_may_be_read():
    body = "b = 7; sum = a[0] + a[3] + b + c[1];"

    def write(device):
        device.write("a", np.zeros((1, 1, 4), np.int16))  # as the memory is: only telling helps

    run(body, UNDEFINED, checking=BOTH, variables={"a": "i16"}, before=write)
    text = failure(body, UNDEFINED, checking=BOTH, variables={"a": "i16"})
    assert "element 0 of 'a' is read" in text


def test_checked_runs_have_the_same_results_and_cycles():
    body = """
    const d = @get_dsd(mem1d_dsd, .{ .base_address = &x, .extent = 8 });
    @add16(d, d, 3);
    for (@range(u16, 8)) |i| { sum += x[i]; x[7 - i] = get(&before, i % 4) + sum; }
    """
    image = compile_pe(body, VARIABLES, variables={"x": "i16"})
    outcomes = []
    for checking in (Checking(), BOTH):
        device = Device(image, WSE2, engine="reference", checking=checking)
        device.load()
        report = device.launch("run")
        outcomes.append((report.cycles, device.read("x", 8).tolist()))
    assert outcomes[0] == outcomes[1]


def test_programs_by_hand_are_checked_as_far_as_is_known():
    kernel = Kernel()
    kernel.data("x", ScalarType.U16, [1, 2])
    kernel.function("main")
    far = kernel.immediate(ScalarType.U16, 0x400)
    kernel.emit(Opcode.LOAD, ScalarType.U16, rd=kernel.register(), ra=far)
    machine = boot(kernel.finish()).machine
    checked = Machine(machine.image, machine.architecture, checking=BOUNDS)
    checked.launch("main")
    with pytest.raises(
        SimulationError, match="0x0400 is in no variable: it is 764 B behind the end"
    ):
        checked.run()


def test_every_instruction_that_writes_a_register_says_what_becomes_of_its_origin():
    writes = {opcode for opcode, row in INSTRUCTIONS.items() if "rd" in row.operands.split()}
    assert writes - {Opcode.DSD} <= set(checked.MAKERS)  # its `rd` is an operand


def test_a_checkpoint_knows_nothing_of_accesses(tmp_path):
    device = run("", checking=BOTH)
    device.machine.save_checkpoint(tmp_path / "c")
    with pytest.raises(CheckpointError, match="only checked from the start of a run"):
        Machine.from_checkpoint(tmp_path / "c", checking=READS)
