"""Programs of one PE whose one task starts by itself, and what is in their variables at the end."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.simulator import Machine

if TYPE_CHECKING:
    from collections.abc import Mapping

LAYOUT = 'layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl", .{}); }'
START = """
comptime {
  @bind_local_task(main, @get_local_task_id(26));
  @activate(@get_local_task_id(26));
}
"""


def run_program(source: str, engine: str, names: tuple[str, ...]) -> dict[str, list[int]]:
    """Run a program of one PE and return arrays of `u32`, by name."""
    architecture = load_architecture("wse3")
    options = CompileOptions(entry="layout.csl", architecture=architecture, uses_memcpy=False)
    image = compile_program(options, MemoryFiles({"layout.csl": LAYOUT, "pe.csl": source}))
    machine = Machine(image, architecture, engine=engine)
    machine.run(max_cycles=1_000_000)
    found: dict[str, list[int]] = {}
    for name in names:
        symbol = machine.symbol(0, 0, name)
        payload = machine.peek(0, 0, symbol.address, symbol.num_bytes)
        found[name] = list(struct.unpack(f"<{symbol.num_bytes // 4}I", payload))
    return found


def assert_leaves(source: str, expected: Mapping[str, list[int]]) -> None:
    """Check what both engines leave in arrays of `u32`, by name."""
    for engine in ("reference", "fast"):
        assert run_program(source, engine, tuple(expected)) == expected, source
