"""Programs on a row of PEs that are joined by `collectives.csl`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.host import Device
from onewafer.mesh.kernel_library import kernel_library

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.arch import Architecture

_LAYOUT = """
param width: u16;
param middle: u16;
param section: u16;
const memcpy = @import_module("<memcpy/get_params>", .{{ .width = width, .height = 1 }});
const routes = @import_module("routes.csl", .{{
  .width = width, .height = 1, .middle_x = middle, .section_x = section }});
layout {{
  @set_rectangle(width, 1);
  for (@range(u16, width)) |x| {{
    @set_tile_code(x, 0, "row.csl", .{{
      .memcpy_params = memcpy.get_params(x), .role = routes.x_role(x) }});
    routes.connect_pe(x, 0);
  }}
{exports}
}}
"""
_ROW = """
param memcpy_params: comptime_struct;
param role: comptime_struct;
const sys_mod = @import_module("<memcpy/memcpy>", memcpy_params);
const next_id = @get_local_task_id(10);
const row = @import_module("collectives.csl", @concat_structs(role, .{
  .chain_queue = @get_input_queue(2),
  .multicast_queue = @get_input_queue(3),
  .send_queue = @get_output_queue(2),
  .chain_done = next_id,
  .done = next_id,
}));
BODY
comptime { @bind_local_task(next, next_id); }
"""


def load_row(
    architecture: Architecture,
    width: int,
    exports: Mapping[str, str],
    body: str,
    *,
    middle: int = 0,
    section: int = 0,
) -> Device:
    """Compile and load `body` on `width` PEs: collectives are `row`, and then task `next` runs.

    Chains end at `middle`, and at leaders of so many PEs on the way.

    `exports` are the names that the body exports, with their types.
    """
    lines = [
        f'  @export_name("{name}", {kind}{"" if kind.startswith("fn") else ", true"});'
        for name, kind in exports.items()
    ]
    files = {
        **kernel_library(),
        "layout.csl": _LAYOUT.format(exports="\n".join(lines)),
        "row.csl": _ROW.replace("BODY", body),
    }
    params = {"width": str(width), "middle": str(middle), "section": str(section)}
    options = CompileOptions(entry="layout.csl", architecture=architecture, params=params)
    device = Device(compile_program(options, MemoryFiles(files)), architecture)
    device.load()
    return device
