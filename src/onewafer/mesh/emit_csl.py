"""Write a mesh program as CSL: three generated texts, and kernels of a fixed library.

    layout.csl   the rectangle, one program a role, the names the host may use   (generated)
    model.csl    element type, schedule, memory, exported tensors                (generated)
    pe.csl       the state machine, with an arm for each kind of steps           (generated)
    routes.csl, matmul.csl, collectives.csl, …                                   (kernels)

Everything that grows with the model is data (the schedule and the arenas); code depends on the
kinds of steps only (`state_machine`). Parameters never appear in the text: the host copies them to
the exported symbols, which are pointers into the arenas.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from onewafer.geometry import Rectangle
from onewafer.graph import DataType
from onewafer.mesh import layout
from onewafer.mesh.banks import PERIOD_BYTES
from onewafer.mesh.blocks import Arena, Axis, Distribution, Role
from onewafer.mesh.budget import verify
from onewafer.mesh.kernel_library import imported_kernels
from onewafer.mesh.schedule import build_schedule, first_words, kinds_of
from onewafer.mesh.state_machine import write_state_machine

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.mesh.blocks import Launch, Placement
    from onewafer.mesh.program import MeshProgram

POSITION = "entry"
"""A variable of every PE: the number of schedule words read so far."""
KEPT = "model.state"
"""A variable of every PE: the arena that is kept between launches, if the program has one."""

SLOTS = "launch_slots"
"""Symbol of a program that keeps several sequences: the slots of a launch."""

_LAYOUT = """\
// {title}

param width: u16;
param height: u16;
param middle_x: u16;
param middle_y: u16;
param section_x: u16;
param section_y: u16;
param head_axis: u16;
param head_pes: u16;
param num_heads: u16;

const memcpy = @import_module("<memcpy/get_params>", .{{ .width = width, .height = height }});
const routes = @import_module("routes.csl", .{{
  .width = width, .height = height, .middle_x = middle_x, .middle_y = middle_y,
  .section_x = section_x, .section_y = section_y,
  .head_axis = head_axis, .head_pes = head_pes, .num_heads = num_heads }});

layout {{
  @set_rectangle(width, height);
  for (@range(u16, height)) |y| {{
    for (@range(u16, width)) |x| {{
      @set_tile_code(x, y, "pe.csl", .{{
        .memcpy_params = memcpy.get_params(x),
        .x_role = routes.x_role(x),
        .y_role = routes.y_role(y),
        .head_role = routes.head_role(x, y),
      }});
      routes.connect_pe(x, y);
    }}
  }}
{exports}
{entries}
}}
"""

_MODEL = """\
// {title}

const element = {element};

// Coordinates of the last PE, of the first group of samples if there are several.
const last_x: u16 = {last_x};
const last_y: u16 = {last_y};
const has_sample_groups = {has_sample_groups};

// Whether rows are consecutive tokens: a launch says where they begin and how many they are.
const is_sequence = {is_sequence};
// Whether something is kept from launch to launch.
const has_state = {has_state};

// The axis along which PEs have features of one head: 0 is x, 1 is y.
const head_axis: u16 = {head_axis};

// kind, result, left, right, n, rows, columns, inner, and more for some kinds (see pe.csl)
const schedule = [{schedule_words}]u16{{
{schedule}
}};

{arenas}

// What the host may read and write.
{pointers}

comptime {{
{exports}
}}
"""


@dataclass(frozen=True, slots=True)
class EmittedPlacement:
    """A tensor's symbol, and how a logical array becomes the blocks behind it."""

    symbol: str
    """The exported name; its array is `[height, width, num_elements]` of the storage dtype."""
    placement: Placement
    width: int
    height: int

    @property
    def num_elements(self) -> int:
        """Elements on each PE, padding included."""
        return self.placement.num_elements

    @property
    def dtype(self) -> DataType:
        """Storage type of the elements."""
        return self.placement.dtype

    @property
    def groups(self) -> tuple[Rectangle, ...]:
        """The PEs of each group of samples."""
        height = self.height // self.placement.sample_groups
        return (*(Rectangle(0, y, self.width, height) for y in range(0, self.height, height)),)

    @property
    def first_copy(self) -> Rectangle:
        """The PEs of a group that hold the first copy of every block; the others hold replicas.

        There is one group, unless rows of PEs have samples of their own.
        """
        blocked = (self.placement.rows, self.placement.columns)
        width = self.width if Distribution.BLOCKED_X in blocked else 1
        height = self.groups[0].height if Distribution.BLOCKED_Y in blocked else 1
        return Rectangle(0, 0, width, height)

    def pack(self, array: NDArray[Any], *, factors: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return blocks `[height, width, num_elements]` of a logical array (HostError: shape).

        `factors` are those of a placement that has `input_factors`.
        """
        return layout.pack(self.placement, array, self.width, self.height, factors=factors)

    def unpack(self, blocks: NDArray[Any]) -> NDArray[Any]:
        """Return the logical array of blocks `[height, width, num_elements]`."""
        return layout.unpack(self.placement, blocks, self.width, self.height)


@dataclass(frozen=True, slots=True)
class EmittedProgram:
    """CSL text of a mesh program and what the host needs to run it."""

    files: dict[str, str]
    """File name → text."""
    entry: str
    params: dict[str, str]
    """Params of the entry file."""
    position: str
    """A u16 variable of every PE: the number of schedule words read so far."""
    kept: str
    """A variable of every PE, if anything is kept between launches: all of `Arena.STATE`."""
    is_sequence: bool
    """True if the entries take the first position and the number of valid rows, both u16."""
    has_slots: bool
    """True if entries take the number of slots, not a position; the host writes `SLOTS`."""
    inputs: dict[str, EmittedPlacement]
    """Inputs that must be written before every launch: results reuse their memory."""
    parameters: dict[str, tuple[EmittedPlacement, ...]]
    """Parameters, written once at each placement; a tensor used in both orientations has two."""
    outputs: dict[str, EmittedPlacement]

    by_function: ClassVar[bool] = True
    """True if functions are optimised one by one. The closed form counts each kernel alone
    (`kernel_costs`): its code may not depend on the program's other kernels."""

    def arguments(self, launch: Launch) -> tuple[int, ...]:
        """Return the arguments of the function of a launch's entry."""
        if not self.is_sequence:
            return ()
        return (len(launch.slots) if self.has_slots else launch.start), launch.num_rows

    def slots(self, launch: Launch) -> NDArray[np.uint16]:
        """Return the words that the host writes to `SLOTS` before a launch, `[1, 1, words]`."""
        return np.array(launch.slot_words, np.uint16).reshape(1, 1, -1)

    @property
    def multiplied(self) -> frozenset[str]:
        """Parameters that packing multiplies by each other."""
        pairs = [
            (name, item.placement.input_factors)
            for name, placements in self.parameters.items()
            for item in placements
        ]
        return frozenset(name for weight, factors in pairs if factors for name in (weight, factors))

    def pack_parameters(
        self, arrays: Mapping[str, NDArray[Any]], changed: Container[str] | None = None
    ) -> Iterator[tuple[EmittedPlacement, NDArray[Any]]]:
        """Yield parameters with their blocks `[height, width, num_elements]`.

        With `changed`, yield those parameters and the ones that have them as factors; else all.
        """
        for item in itertools.chain.from_iterable(self.parameters.values()):
            name, factors = item.placement.name, item.placement.input_factors
            needed = [name] if factors is None else [name, factors]
            if changed is None or any(array in changed for array in needed):
                weight, *others = (arrays[array] for array in needed)
                yield item, item.pack(weight, factors=others[0] if others else None)


def emit(program: MeshProgram, architecture: Architecture) -> EmittedProgram:
    """Return the CSL of a mesh program; raise as `verify` does if it exceeds a budget."""
    verify(program, architecture)
    return write_text(program)


def write_text(program: MeshProgram) -> EmittedProgram:
    """Return the CSL of a mesh program that fits its budgets."""
    placements = _name_symbols(program)
    by_role = {role: [item for item in placements if item.placement.role is role] for role in Role}
    parameters: dict[str, tuple[EmittedPlacement, ...]] = {}
    for item in by_role[Role.PARAMETER]:
        name = item.placement.name
        parameters[name] = (*parameters.get(name, ()), item)
    files = {
        "layout.csl": _layout_text(program, placements),
        "model.csl": _model_text(program, placements),
        "pe.csl": write_state_machine(kinds_of(build_schedule(program)), first_words(program)),
    }
    return EmittedProgram(
        files=files | imported_kernels(files),
        entry="layout.csl",
        params={
            "width": str(program.width),
            "height": str(program.height),
            "middle_x": str(program.middle(Axis.X)),
            "middle_y": str(program.middle(Axis.Y)),
            "section_x": str(program.section_x),
            "section_y": str(program.section_y),
            "head_axis": str(_head_axis(program)),
            "head_pes": str(program.heads.num_pes if program.heads else 0),
            "num_heads": str(program.heads.num_heads if program.heads else 0),
        },
        position=POSITION,
        kept=KEPT,
        is_sequence=program.sequence_rows is not None,
        has_slots=program.sequences > 1,
        inputs={item.placement.name: item for item in by_role[Role.INPUT]},
        parameters=parameters,
        outputs={item.placement.name: item for item in by_role[Role.OUTPUT]},
    )


def _name_symbols(program: MeshProgram) -> list[EmittedPlacement]:
    """Give each placement a CSL identifier that recalls the tensor's name."""
    taken = {*program.entries}
    emitted: list[EmittedPlacement] = []
    for placement in program.placements:
        stem = f"{placement.role}_{re.sub(r'[^A-Za-z0-9]+', '_', placement.name).strip('_')}"
        symbol, copy = stem, 1
        while symbol in taken:
            copy += 1
            symbol = f"{stem}_{copy}"
        taken.add(symbol)
        emitted.append(EmittedPlacement(symbol, placement, program.width, program.height))
    return emitted


def _title(program: MeshProgram) -> str:
    name = re.sub(r"\s+", " ", program.graph.name)
    return f"{name}: {len(program.operations)} operations on {program.width}×{program.height} PEs."


def _layout_text(program: MeshProgram, placements: list[EmittedPlacement]) -> str:
    exports = [f'  @export_name("{item.symbol}", [*]{item.dtype}, true);' for item in placements]
    if program.sequences > 1:
        exports.append(f'  @export_name("{SLOTS}", [*]u16, true);')
    arguments = "u16, u16" if program.sequence_rows else ""
    entries = [f'  @export_name("{name}", fn({arguments})void);' for name in program.entries]
    return _LAYOUT.format(
        title=_title(program), exports="\n".join(exports), entries="\n".join(entries)
    )


def _model_text(program: MeshProgram, placements: list[EmittedPlacement]) -> str:
    entries = build_schedule(program)
    element = str(program.dtype)
    return _MODEL.format(
        title=_title(program),
        element=element,
        last_x=program.size(Axis.X) - 1,
        last_y=program.size(Axis.Y) - 1,
        has_sample_groups=_flag(program.sample_groups > 1),
        is_sequence=_flag(program.sequence_rows is not None),
        head_axis=_head_axis(program),
        has_state=_flag(program.arena_elements.get(Arena.STATE, 0) > 0),
        schedule_words=sum(len(entry.words) for entry in entries),
        schedule="\n".join(f"  {', '.join(map(str, entry.words))}," for entry in entries),
        arenas=_arena_text(program),
        pointers="\n".join(_pointers(program, placements)),
        exports="\n".join(_exports(program, placements)),
    )


def _pointers(program: MeshProgram, placements: list[EmittedPlacement]) -> Iterator[str]:
    for item in placements:
        block = item.placement.block
        yield (
            f"const {item.symbol}: [*]{item.dtype} = @ptrcast([*]{item.dtype}, "
            f"&{block.arena.name}[{block.offset}]);"
        )
    if program.sequences > 1:
        yield f"const {SLOTS}: [*]u16 = @ptrcast([*]u16, &{Arena.SLOTS.name}[0]);"


def _exports(program: MeshProgram, placements: list[EmittedPlacement]) -> Iterator[str]:
    for item in placements:
        yield f"  @export_symbol({item.symbol});"
    if program.sequences > 1:
        yield f"  @export_symbol({SLOTS});"


def _head_axis(program: MeshProgram) -> int:
    return int(program.heads is not None and program.heads.axis is Axis.Y)


def _flag(value: bool) -> str:  # noqa: FBT001 - what is written is the value
    return "true" if value else "false"


_ALWAYS = (Arena.PARAMETERS, Arena.ACTIVATIONS)


def _arena_text(program: MeshProgram) -> str:
    lines: list[str] = []
    if program.sequences > 1:
        lines.append(f"const num_sequences: u16 = {program.sequences};")
    for arena, elements in program.arena_elements.items():
        is_there = arena in _ALWAYS or elements > 0
        if not is_there and not (arena is Arena.ACCUMULATOR and program.dtype is DataType.F16):
            continue
        array = f"[{max(1, elements)}]{arena.element or program.dtype}"
        lines.append(f"var {arena.name} align({PERIOD_BYTES}) = @zeros({array});")
    return "\n".join(lines)
