"""Texts of `--dump-after`: the result of each stage, for people."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, cast

import numpy as np

from onewafer.csl import ir
from onewafer.csl.codegen.object_code import Condition, Instruction, Label, Register
from onewafer.diagnostics import Span
from onewafer.geometry import Direction
from onewafer.image import (
    INSTRUCTIONS,
    NO_ROUTE,
    NUM_COLORS,
    ColorConfig,
    Opcode,
    ScalarType,
    WaferImage,
    listing,
)
from onewafer.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.csl.codegen import MemoryPlan, ObjectProgram

INDENT = "  "


# --- typed IR -----------------------------------------------------------------------


def program(whole: ir.ProgramIr) -> str:
    """Return the typed IR of every instance."""
    lines: list[str] = []
    for instance in whole.instances:
        lines.append(f"instance {instance.name}, {len(instance.pes)} PEs")
        lines += [
            f"{INDENT}global {variable.name}: {format_bytes(variable.num_bytes)}"
            for variable in instance.globals
        ]
        for function in instance.functions:
            parameters = ", ".join(f"{p.name}: {_type_name(p.type)}" for p in function.parameters)
            result = "void" if function.result is None else _type_name(function.result)
            lines.append(f"{INDENT}fn {function.name}({parameters}) {result}")
            for statement in function.body:
                lines += _tree(statement, 2)
    return "\n".join(lines) + "\n"


def _type_name(type_: ir.ValueType) -> str:
    return type_.name.lower()


def _tree(node: object, depth: int, label: str = "") -> Iterator[str]:
    """Yield a dataclass as an indented tree: scalars on its own line, nodes below it."""
    head = INDENT * depth + label + type(node).__name__
    below: list[tuple[str, object]] = []
    for name, value in _fields(node):
        match value:
            case tuple() if any(map(_is_tree, cast("tuple[object, ...]", value))):
                below += [(f"{name}: ", item) for item in cast("tuple[object, ...]", value)]
            case _ if _is_tree(value):
                below.append((f"{name}: ", value))
            case _:
                head += f" {name}={_atom(value)}"
    yield head
    for name, value in below:
        yield from _tree(value, depth + 1, name)


def _fields(node: object) -> Iterator[tuple[str, object]]:
    if is_dataclass(node):
        for field in fields(node):
            value = getattr(node, field.name)
            if field.name != "span" and value is not None and value != ():
                yield field.name, value


def _is_tree(value: object) -> bool:
    return is_dataclass(value) and not isinstance(
        value, Span | ir.Local | ir.Global | ir.Function | ir.PerPe
    )


def _atom(value: object) -> str:
    match value:
        case ir.Local() | ir.Global() | ir.Function():
            return value.name
        case ir.PerPe(index=index):
            return f"per_pe[{index}]"
        case Enum():
            return value.name
        case _:
            return repr(value)


# --- layout --------------------------------------------------------------------------------------


def layout(whole: ir.ProgramIr) -> str:
    """Return the rectangle, the program of each PE, and the routes."""
    lines = [f"rectangle {whole.width}×{whole.height}"]
    lines += [f"export {export.name}: {export.kind.name.lower()}" for export in whole.exports]
    for instance in whole.instances:
        places = " ".join(f"({x},{y})" for x, y in instance.pes)
        lines.append(f"{instance.name}: {places}")
    for color in range(NUM_COLORS):
        configs = whole.config_of_color[:, :, color]
        for y, x in np.argwhere(configs != NO_ROUTE).tolist():
            config = whole.color_configs[int(configs[y, x])]
            lines.append(f"color {color} at ({x}, {y}): {_route(config)}")
    return "\n".join(lines) + "\n"


def _route(config: ColorConfig) -> str:
    positions = [
        "invalid" if p is None else f"{_directions(p.rx)} → {_directions(p.tx)}"
        for p in config.positions
    ]
    return "; ".join(positions)


def _directions(mask: int) -> str:
    return ", ".join(d.name for d in Direction if mask >> d & 1) or "nowhere"


# --- object code, memory, image ------------------------------------------------------------------


def object_code(objects: ObjectProgram) -> str:
    """Return the instructions of an instance with symbolic operands."""
    lines = [f"object code of {objects.instance.name}"]
    for function in objects.functions:
        lines.append(f"{function.function.name}:  {function.num_slots} registers")
        numbers: dict[Label, int] = {}
        for item in function.items:
            match item:
                case Label():
                    lines.append(f".{numbers.setdefault(item, len(numbers))}:")
                case Instruction():
                    lines.append(INDENT + _instruction(item, numbers))
    return "\n".join(lines) + "\n"


def _instruction(item: Instruction, labels: dict[Label, int]) -> str:
    kind = ""
    if item.opcode is Opcode.DSD:
        kind = f".{item.type}"
    elif item.type:
        kind = f".{ScalarType(item.type).name.lower()}"
    names = INSTRUCTIONS[item.opcode].operands.split()
    if item.has_immediate:
        names[names.index("rb")] = "aux" if item.opcode is Opcode.STORE else "imm"
    operands = [_operand(getattr(item, name), labels) for name in names]
    return f"{_condition(item)}{item.opcode.name.lower()}{kind} {', '.join(operands)}".rstrip()


def _condition(item: Instruction) -> str:
    """Return `f.3 ? ` or `!f.3 ? ` (M153)."""
    match item.rc:
        case Condition(register=register, is_set=is_set):
            return f"{'' if is_set else '!'}{_operand(register, {})} ? "
        case _:
            return ""


def _operand(value: object, labels: dict[Label, int]) -> str:
    match value:
        case Label():
            return f".{labels.setdefault(value, len(labels))}"
        case Register(function=None):
            return "zero"
        case Register(function=ir.Function() as function, slot=slot):
            return f"{function.name}.{slot}"
        case ir.Function():
            return value.name
        case int() | None:
            return str(value)
        case _:
            inner = ", ".join(
                _atom(v) if isinstance(v, Enum | ir.Global) else _operand(v, labels)
                for _, v in _fields(value)
            )
            return f"{type(value).__name__}({inner})"


def memory_plan(objects: ObjectProgram, plan: MemoryPlan) -> str:
    """Return the sections and the address of every variable."""
    lines = [f"memory of {objects.instance.name}: {plan.num_registers} registers"]
    for section in plan.sections:
        size = format_bytes(section.num_bytes)
        lines.append(f"{INDENT}{section.address:#06x} {section.kind.name.lower()} {size}")
    for variable, address in sorted(plan.addresses.items(), key=lambda item: item[1]):
        size = format_bytes(variable.num_bytes)
        lines.append(f"{INDENT}{address:#06x} {plan.names[variable]} {size}")
    return "\n".join(lines) + "\n"


def image(whole: WaferImage) -> str:
    """Return the listing of every tile program."""
    return "\n".join(listing(tile) for tile in whole.programs)
