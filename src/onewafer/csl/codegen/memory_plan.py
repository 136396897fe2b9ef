"""The memory map of a PE: RUNTIME, CODE, DATA, STACK, in this order.

In: the object code of an instance. Out: addresses, or the diagnostic `program-too-large`. Sections
with an address lie there, and the other variables around them; the STACK is then before
the DATA.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from onewafer.csl.codegen.call_graph import FIRST_REGISTER, place_frames
from onewafer.csl.codegen.object_code import Instruction
from onewafer.diagnostics import Annotation, Diagnostic, DiagnosticSink
from onewafer.image import REGISTER_BYTES, Section, SectionKind
from onewafer.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.arch import Architecture
    from onewafer.csl import ir
    from onewafer.csl.codegen.object_code import ObjectFunction, ObjectProgram

SECTION_ALIGNMENT: Final = 4
NUM_SYMBOLS_SHOWN: Final = 5
NUM_PES_SHOWN: Final = 3
_TOO_LARGE: Final = "program-too-large"


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Addresses of one instance, in bytes, and its registers."""

    sections: tuple[Section, ...]
    addresses: dict[ir.Global, int]
    data: Section
    names: dict[ir.Global | ir.Function, str]
    """Unique symbol names."""
    frames: dict[ir.Function, int]
    """First register of each frame."""
    num_registers: int
    """Including register 0."""


def plan_memory(
    program: ObjectProgram,
    architecture: Architecture,
    *,
    uses_memcpy: bool,
    sink: DiagnosticSink,
    section_addresses: Mapping[str, int] | None = None,
) -> MemoryPlan:
    """Give every variable its address; report a program that is too large for a PE.

    `section_addresses` maps names of `linksection`s to byte addresses.
    """
    frames = place_frames(program, sink)
    ends = [frames[f.function] + f.num_slots for f in program.functions]
    num_registers = max([FIRST_REGISTER, *ends])

    runtime = Section(SectionKind.RUNTIME, 0, architecture.runtime_bytes if uses_memcpy else 0)
    code_bytes = sum(code_size(f) for f in program.functions)
    code = Section(SectionKind.CODE, _align(runtime.num_bytes), code_bytes)
    variables = _in_order(program.instance.globals)
    fixed = _place_sections(variables, section_addresses or {})
    stack_bytes = num_registers * REGISTER_BYTES
    if fixed:
        stack = Section(SectionKind.STACK, _align(_end(code)), stack_bytes)
        addresses, data = _place_variables(variables, fixed, _end(stack))
    else:
        addresses, data = _place_variables(variables, fixed, _end(code))
        stack = Section(SectionKind.STACK, _align(_end(data)), stack_bytes)

    sections = (runtime, code, data, stack)
    plan = MemoryPlan(
        sections=tuple(s for s in sections if s.num_bytes),
        addresses=addresses,
        data=data,
        names=_unique_names(program.instance),
        frames=frames,
        num_registers=num_registers,
    )
    if fixed:
        _check_sections(plan, fixed, _end(stack), sink)
        _check_starts(plan, fixed, section_addresses or {}, sink)
    if max(map(_end, sections)) > architecture.memory_bytes:
        sink.report(_too_large(program, plan, architecture))
    return plan


def fits(program: ObjectProgram, architecture: Architecture, *, uses_memcpy: bool) -> bool:
    """Tell whether a program fits in the memory of a PE, without regard to section addresses."""
    sink = DiagnosticSink()
    plan_memory(program, architecture, uses_memcpy=uses_memcpy, sink=sink)
    return all(finding.code != _TOO_LARGE for finding in sink.diagnostics)


def _end(section: Section) -> int:
    return section.address + section.num_bytes


def _place_sections(
    variables: list[ir.Global], section_addresses: Mapping[str, int]
) -> dict[ir.Global, int]:
    """Return the addresses of the variables in sections with a given address."""
    found: dict[ir.Global, int] = {}
    for name, start in sorted(section_addresses.items(), key=itemgetter(1)):
        top = start
        for variable in variables:
            if variable.section == name:
                found[variable] = _align(top, variable.alignment)
                top = found[variable] + variable.num_bytes
    return found


def _place_variables(
    variables: list[ir.Global], fixed: dict[ir.Global, int], top: int
) -> tuple[dict[ir.Global, int], Section]:
    """Return the addresses of all variables, and the DATA section.

    Variables without an address in `fixed` lie from `top` on.
    """
    ranges = sorted((start, start + v.num_bytes) for v, start in fixed.items())
    start = _align(top, max([SECTION_ALIGNMENT, *(v.alignment for v in variables)]))
    addresses, top = dict(fixed), start
    for variable in variables:
        if variable in fixed:
            continue
        address = _align(top, variable.alignment)
        for first, end in ranges:
            if address < end and first < address + variable.num_bytes:
                address = _align(end, variable.alignment)
        addresses[variable] = address
        top = address + variable.num_bytes
    end = max([top, *(end for _, end in ranges)])
    start = min([start, *addresses.values()])
    return addresses, Section(SectionKind.DATA, start, end - start)


def _check_sections(
    plan: MemoryPlan, fixed: dict[ir.Global, int], top: int, sink: DiagnosticSink
) -> None:
    """Report variables whose fixed addresses overlap others, or memory below `top`."""
    taken, owner = top, "the runtime, the code and the stack"
    for variable, address in sorted(fixed.items(), key=itemgetter(1)):
        if address < taken:
            message = (
                f"`{plan.names[variable]}` must lie at {address:,} in the section "
                f"`{variable.section}`, and {owner} take the memory up to {taken:,}"
            )
            sink.report(_misplaced(variable, message, "give the section a higher address"))
        if address + variable.num_bytes > taken:
            taken, owner = address + variable.num_bytes, "the variables of sections before it"


def _check_starts(
    plan: MemoryPlan,
    fixed: dict[ir.Global, int],
    section_addresses: Mapping[str, int],
    sink: DiagnosticSink,
) -> None:
    """Report sections whose address does not fit the alignment of their first variable."""
    first = {variable.section: variable for variable in reversed(fixed)}
    for name, variable in first.items():
        start = section_addresses[name]
        if start % variable.alignment:
            message = (
                f"the section `{name}` begins at {start:,}, and its first variable "
                f"`{plan.names[variable]}` lies at multiples of {variable.alignment}"
            )
            advice = f"let it begin at {_align(start, variable.alignment):,}"
            sink.report(_misplaced(variable, message, advice))


def _misplaced(variable: ir.Global, message: str, advice: str) -> Diagnostic:
    return Diagnostic(
        "value-out-of-range",
        message,
        Annotation(variable.span) if variable.span is not None else None,
        help=f"{advice}: `--link-section-start-address-bytes={variable.section}:…`",
    )


def _in_order(variables: tuple[ir.Global, ...]) -> list[ir.Global]:
    """Return the variables in the order in which they lie in memory.

    The largest alignment first leaves no holes between variables whose size is a multiple of it.
    Variables of a module keep the order of declaration: public programs run on into the next one.
    """
    modules = {module: i for i, module in enumerate(dict.fromkeys(map(_module, variables)))}

    def place(variable: ir.Global) -> tuple[int, int, int]:
        start = 0 if variable.span is None else variable.span.start
        return -variable.alignment, modules[_module(variable)], start

    return sorted(variables, key=place)


def _module(variable: ir.Global) -> tuple[str, str]:
    """Return the key of a variable's module or function: its file and name prefix."""
    path = "" if variable.span is None else variable.span.source.path
    return path, variable.name.rpartition(".")[0]


def code_size(function: ObjectFunction) -> int:
    """Return the bytes of the instructions of a function."""
    instructions = (item for item in function.items if isinstance(item, Instruction))
    return sum(instruction.num_bytes for instruction in instructions)


def _align(address: int, alignment: int = SECTION_ALIGNMENT) -> int:
    return -(-address // alignment) * alignment


def _unique_names(instance: ir.InstanceIr) -> dict[ir.Global | ir.Function, str]:
    """Give equal names a number: the second `x` is `x.2`."""
    names: dict[ir.Global | ir.Function, str] = {}
    taken: set[str] = set()
    for thing in (*instance.globals, *instance.functions):
        name, number = thing.name, 1
        while name in taken:
            number += 1
            name = f"{thing.name}.{number}"
        taken.add(name)
        names[thing] = name
    return names


def _too_large(program: ObjectProgram, plan: MemoryPlan, architecture: Architecture) -> Diagnostic:
    end = max(section.address + section.num_bytes for section in plan.sections)
    symbols = [(v.num_bytes, plan.names[v], v.span) for v in program.instance.globals]
    symbols += [(code_size(f), f"{f.function.name}()", f.function.span) for f in program.functions]
    # Stable: of two symbols of one size, the one declared first comes first.
    symbols.sort(key=lambda symbol: -symbol[0])
    largest = next((span for _, _, span in symbols if span is not None), None)
    sections = ", ".join(
        f"{section.kind.name.lower()} {format_bytes(section.num_bytes)}"
        for section in plan.sections
    )
    shown = ", ".join(
        f"{name} {format_bytes(size)}" for size, name, _ in symbols[:NUM_SYMBOLS_SHOWN]
    )
    return Diagnostic(
        _TOO_LARGE,
        f"the program of {describe_pes(program.instance.pes)} takes {format_bytes(end)}, and a PE "
        f"has {format_bytes(architecture.memory_bytes)}",
        Annotation(largest, "the largest symbol") if largest else None,
        notes=(f"in {program.instance.name}", f"sections: {sections}", f"largest: {shown}"),
        help="spread the data over more PEs, reuse buffers, or use 16-bit elements",
    )


def describe_pes(pes: tuple[tuple[int, int], ...]) -> str:
    """Return `PE (0, 0)`, or the first few and how many more."""
    if not pes:
        return "no PE"
    shown = ", ".join(f"({x}, {y})" for x, y in pes[:NUM_PES_SHOWN])
    more = len(pes) - NUM_PES_SHOWN
    return f"PE{'s' if len(pes) > 1 else ''} {shown}" + (f" and {more} more" if more > 0 else "")
