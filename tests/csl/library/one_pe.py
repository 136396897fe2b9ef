"""Programs of a row of PEs that run one function, for tests of libraries without oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.host import NO_LIMITS, Device
from onewafer.image import ScalarType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.host import RunLimits
    from onewafer.image import WaferImage

LAYOUT = """
const memcpy = @import_module("<memcpy/get_params>", .{ .width = WIDTH, .height = 1 });
layout {
  @set_rectangle(WIDTH, 1);
  for (@range(u16, WIDTH)) |x| {
    @set_tile_code(x, 0, "pe.csl", .{ .memcpy_params = memcpy.get_params(x) });
  }
  @export_name("run", fn()void);
EXPORTS}
"""
PROGRAM = """
param memcpy_params: comptime_struct;
const system = @import_module("<memcpy/memcpy>", memcpy_params);
DECLARATIONS
fn run() void {
  BODY
  system.unblock_cmd_stream();
}
comptime {
  @export_symbol(run);
EXPORTS}
"""


def compile_pe(
    body: str,
    declarations: str = "",
    *,
    arch: str = "wse2",
    width: int = 1,
    variables: Mapping[str, str] | None = None,
    half: ScalarType = ScalarType.F16,
) -> WaferImage:
    """Return the image of PEs that run `body`.

    `variables` are exported: the name of an array of the program, and its element type. `half` is
    the 16-bit float of the program.
    """
    names = "".join(
        f'  @export_name("{name}", [*]{element}, true);\n'
        for name, element in (variables or {}).items()
    )
    pointers = "".join(
        f"var {name}_pointer: [*]{element} = &{name};\n"
        for name, element in (variables or {}).items()
    )
    symbols = "".join(f'  @export_symbol({name}_pointer, "{name}");\n' for name in variables or {})
    layout = LAYOUT.replace("WIDTH", str(width)).replace("EXPORTS", names)
    program = PROGRAM.replace("DECLARATIONS", declarations + pointers).replace("BODY", body)
    files = MemoryFiles({"layout.csl": layout, "pe.csl": program.replace("EXPORTS", symbols)})
    machine = load_architecture(arch)
    options = CompileOptions(entry="layout.csl", architecture=machine, half=half)
    return compile_program(options, files)


def device_of(
    image: WaferImage, *, engine: str = "reference", limits: RunLimits = NO_LIMITS
) -> Device:
    """Return a machine with the image loaded."""
    device = Device(image, load_architecture(image.arch), engine=engine, limits=limits)
    device.load()
    return device
