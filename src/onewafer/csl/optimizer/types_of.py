"""The type of the value of an expression."""

from __future__ import annotations

from onewafer.csl import ir
from onewafer.image import Opcode, ScalarType

_COMPARISONS = range(Opcode.EQUAL, Opcode.LESS_EQUAL + 1)


def type_of(expression: ir.Expression) -> ir.ValueType:
    """Return the type of a value."""
    match expression:
        case ir.Immediate(type=type_) | ir.Load(type=type_) | ir.Select(type=type_):
            return type_
        case ir.Unary(type=type_) | ir.Join(type=type_):
            return type_
        case ir.Binary(opcode=opcode, type=type_):
            return ScalarType.BOOL if opcode in _COMPARISONS else type_
        case ir.ReadLocal(local=local):
            return local.type
        case ir.Convert(target=target):
            return target
        case ir.Call(function=function) if function.result is not None:
            return function.result
        case ir.MakeDsd() | ir.UpdateDsd():
            return ir.DSD
        case _:
            return ScalarType.U16
