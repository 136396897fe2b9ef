"""`@map` through mem4d_dsds visits the elements that a DSD operation visits, in its order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.simulator import Machine

LAYOUT = 'layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl", .{}); }'
PROGRAM = """
var from = @zeros([64]i16);
export var moved = @zeros([81]i16);
export var mapped = @zeros([81]i16);
export var spread = @zeros([64]i16);
export var back = @zeros([64]i16);
const nested = |VARIABLES|{EXTENTS} -> from[INDEX];
const source = @get_dsd(mem4d_dsd, .{ .tensor_access = nested });
const whole = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{ROUNDS} -> moved[i] });
const other = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{ROUNDS} -> mapped[i] });
fn same(x: i16) i16 { return x; }
fn run() void {
  for (@range(i16, 64)) |i| { from[i] = i + 1; }
  @mov16(whole, source);
  @map(same, source, other);
  @mov16(@set_dsd_base_addr(source, spread), whole);
  @map(same, other, comptime @set_dsd_base_addr(source, back));
}
task start() void { run(); }
comptime { @bind_local_task(start, @get_local_task_id(9)); @activate(start); }
"""

loops = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 7)), min_size=1, max_size=4)


@settings(max_examples=12)
@given(loops)
def test_same_elements_as_an_operation(case: list[tuple[int, int]]) -> None:
    extents = [extent for extent, _ in case]
    names = "ijkl"[: len(case)]
    rounds = 1
    for extent in extents:
        rounds *= extent
    source = (
        PROGRAM.replace("VARIABLES", ", ".join(names))
        .replace("EXTENTS", ", ".join(map(str, extents)))
        .replace("INDEX", " + ".join(f"{c} * {n}" for n, (_, c) in zip(names, case, strict=True)))
        .replace("ROUNDS", str(rounds))
    )
    architecture = load_architecture("wse3")
    files = MemoryFiles({"layout.csl": LAYOUT, "pe.csl": source})
    image = compile_program(CompileOptions(entry="layout.csl", architecture=architecture), files)
    machine = Machine(image, architecture, engine="reference")
    machine.run()

    def value(name: str) -> bytes:
        symbol = machine.symbol(0, 0, name)
        return machine.peek(0, 0, symbol.address, symbol.num_bytes)

    assert value("mapped") == value("moved")
    assert value("back") == value("spread")
