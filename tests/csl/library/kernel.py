"""Running one function of a library over many numbers on the simulated machine."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.host import Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 4096
WSE2 = load_architecture("wse2")
LAYOUT = """
const memcpy = @import_module("<memcpy/get_params>", .{ .width = 1, .height = 1 });
layout {
  @set_rectangle(1, 1);
  @set_tile_code(0, 0, "pe.csl", .{ .memcpy_params = memcpy.get_params(0) });
  @export_name("x", [*]T, true);
  @export_name("y", [*]U, true);
  @export_name("apply", fn()void);
}
"""
PROGRAM = """
param memcpy_params: comptime_struct;
const system = @import_module("<memcpy/memcpy>", memcpy_params);
const math = @import_module("<math>");
const random = @import_module("<random>");
var x: [CHUNK]T;
var y: [CHUNK]U;
var x_pointer: [*]T = &x;
var y_pointer: [*]U = &y;
fn apply() void {
  for (@range(u16, CHUNK)) |i| {
    y[i] = EXPRESSION;
  }
  system.unblock_cmd_stream();
}
comptime {
  @export_symbol(x_pointer, "x");
  @export_symbol(y_pointer, "y");
  @export_symbol(apply);
}
"""


@cache
def _device(expression: str, source: str, target: str) -> Device:
    def text(template: str) -> str:
        named = template.replace("CHUNK", str(CHUNK)).replace("EXPRESSION", expression)
        return named.replace("]T", f"]{source}").replace("]U", f"]{target}")

    files = MemoryFiles({"layout.csl": text(LAYOUT), "pe.csl": text(PROGRAM)})
    device = Device(
        compile_program(CompileOptions(entry="layout.csl", architecture=WSE2), files), WSE2
    )
    device.load()
    return device


def apply(
    expression: str, x: NDArray[np.generic], target: str | None = None
) -> tuple[NDArray[np.generic], float]:
    """Return `expression` of each `x[i]` (f16 or f32; [n]) and the cycles an element.

    The cycles are those of the loop and the call together.
    """
    source = {"float16": "f16", "float32": "f32"}[x.dtype.name]
    device = _device(expression, source, target or source)
    padded = np.zeros(-(-len(x) // CHUNK) * CHUNK, x.dtype)
    padded[: len(x)] = x
    results, cycles = [], 0
    for block in padded.reshape(-1, 1, 1, CHUNK):
        device.write("x", block)
        cycles += device.launch("apply").cycles
        results.append(device.read("y", CHUNK).reshape(-1))
    return np.concatenate(results)[: len(x)], cycles / len(padded)
