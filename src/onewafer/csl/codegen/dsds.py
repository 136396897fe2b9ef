"""DSDs as pairs of words: the constant fields, and instructions that set the other fields."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from onewafer.csl import ir
from onewafer.csl.codegen.linear import Linear, linearize
from onewafer.csl.codegen.object_code import (
    Address,
    Constant,
    DescriptorTable,
    DsdBaseWord,
    DsdShapeWord,
    Words,
    to_constant,
)
from onewafer.csl.ir import walk
from onewafer.errors import InternalError
from onewafer.image import Opcode, ScalarType

_ADVANCE_SCALES: Final = (1, 2, 4)
"""Element sizes that a DSD can be advanced by."""
OPCODE_OF_UPDATE: Final = {
    ir.DsdUpdate.BASE: Opcode.DSD_SET_BASE,
    ir.DsdUpdate.LENGTH: Opcode.DSD_SET_LENGTH,
    ir.DsdUpdate.STRIDE: Opcode.DSD_SET_STRIDE,
    ir.DsdUpdate.ADVANCE: Opcode.DSD_ADVANCE,
}


@dataclass(frozen=True, slots=True)
class DsdStep:
    """An instruction that puts a run-time value into a DSD."""

    opcode: Opcode
    value: ir.Expression
    scale: int = 0


def take_apart(make: ir.MakeDsd, descriptors: DescriptorTable) -> tuple[Words, list[DsdStep]]:
    """Split a DSD into its constant words and the instructions that set the other fields."""
    steps: list[DsdStep] = []
    base = _known_base(make.base)
    if base is None:
        linear = linearize(make.base)
        base = linear.constant if isinstance(linear.constant, Address) else Constant(0)
        steps += _base_steps(make.base, linear)
    extent = stride = Constant(0)
    if isinstance(make.extent, ir.Immediate):
        extent = to_constant(make.extent)
    else:
        steps.append(DsdStep(Opcode.DSD_SET_LENGTH, make.extent))
    if isinstance(make.stride, ir.Immediate):
        stride = to_constant(make.stride)
    else:
        steps.append(DsdStep(Opcode.DSD_SET_STRIDE, make.stride))
    shape = DsdShapeWord(stride, descriptors.number(make.descriptor))
    return (DsdBaseWord(base, extent), shape), steps


def _base_steps(base: ir.Expression, linear: Linear) -> list[DsdStep]:
    if linear.variable is None:
        return [DsdStep(Opcode.DSD_SET_BASE, base)]
    steps: list[DsdStep] = []
    for term in linear.terms:
        if term.coefficient in _ADVANCE_SCALES:
            steps.append(DsdStep(Opcode.DSD_ADVANCE, term.value, term.coefficient))
        else:
            factor = ir.Immediate(ScalarType.U16, term.coefficient & 0xFFFF)
            product = ir.Binary(Opcode.MUL, ScalarType.U16, term.value, factor)
            steps.append(DsdStep(Opcode.DSD_ADVANCE, product, 1))
    return steps


def known_dsd(
    dsd: ir.MakeDsd, descriptors: DescriptorTable
) -> tuple[DsdBaseWord, DsdShapeWord] | None:
    """Return the two words of a DSD, or None if a field is computed at run time."""
    match dsd:
        case ir.MakeDsd(
            descriptor=descriptor,
            base=base,
            extent=ir.Immediate() as extent,
            stride=ir.Immediate() as stride,
        ) if (known := _known_base(base)) is not None:
            number = descriptors.number(descriptor)
            return (
                DsdBaseWord(known, to_constant(extent)),
                DsdShapeWord(to_constant(stride), number),
            )
        case _:
            return None


def initial_dsd(dsd: ir.MakeDsd, descriptors: DescriptorTable) -> Words:
    """Return the two words of a DSD in initial data, which is always known."""
    words = known_dsd(dsd, descriptors)
    if words is None:
        raise InternalError("an initial DSD has a field that is computed at run time")
    return words


def _known_base(base: ir.Expression) -> Constant | Address | None:
    match base:
        case ir.Immediate():
            return to_constant(base)
        case _:
            linear = linearize(base)
            if linear.terms:
                return None
            constant = linear.constant
            return Constant(constant & 0xFFFF) if isinstance(constant, int) else constant


def fold_updates(dsd: ir.Expression) -> ir.Expression:
    """Turn updates of a `MakeDsd` into a `MakeDsd` with other fields."""
    match dsd:
        case ir.UpdateDsd(update=update, dsd=inner, value=value, element_bytes=element_bytes):
            make = fold_updates(inner)
            if not isinstance(make, ir.MakeDsd):
                return dsd
            if not all(walk.commute(value, later) for later in (make.extent, make.stride)):
                return dsd
            match update:
                case ir.DsdUpdate.BASE if not walk.has_effect(make.base):
                    return replace(make, base=value)
                case ir.DsdUpdate.LENGTH if not walk.has_effect(make.extent):
                    return replace(make, extent=value)
                case ir.DsdUpdate.STRIDE if not walk.has_effect(make.stride):
                    return replace(make, stride=value)
                case ir.DsdUpdate.ADVANCE:
                    size = ir.Immediate(ScalarType.U16, element_bytes)
                    step = ir.Binary(Opcode.MUL, ScalarType.U16, value, size)
                    base = ir.Binary(Opcode.ADD, ScalarType.U16, make.base, step)
                    return replace(make, base=base)
                case _:
                    return dsd
        case _:
            return dsd
