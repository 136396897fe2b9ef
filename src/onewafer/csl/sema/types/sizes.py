"""The sizes of values: in registers, in memory, in the integer behind a packed type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.sema.types.kinds import (
    ArrayType,
    EnumType,
    FloatType,
    FunctionType,
    IntegerType,
    Layout,
    PackedType,
    PointerType,
    StructType,
    Type,
)
from onewafer.csl.sema.types.names import (
    BF16,
    BOOL,
    CB16,
    COLOR,
    CONTROL_TASK_ID,
    DATA_TASK_ID,
    DIRECTION,
    DSDS,
    F16,
    F32,
    I8,
    I16,
    I32,
    INPUT_QUEUE,
    LOCAL_TASK_ID,
    MAX_RUN_TIME_BITS,
    OUTPUT_QUEUE,
    POINTER_BITS,
    U8,
    U16,
    U32,
    UT_ID,
    WORD_BITS,
)
from onewafer.image import ScalarType

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCALARS: Final[Mapping[Type, ScalarType]] = {
    BOOL: ScalarType.BOOL,
    I8: ScalarType.I8,
    U8: ScalarType.U8,
    I16: ScalarType.I16,
    U16: ScalarType.U16,
    I32: ScalarType.I32,
    U32: ScalarType.U32,
    F16: ScalarType.F16,
    F32: ScalarType.F32,
    BF16: ScalarType.BF16,
    CB16: ScalarType.CB16,
    DIRECTION: ScalarType.U16,
    **dict.fromkeys(
        (COLOR, LOCAL_TASK_ID, DATA_TASK_ID, CONTROL_TASK_ID, INPUT_QUEUE, OUTPUT_QUEUE, UT_ID),
        ScalarType.U16,
    ),
}
_INTEGERS: Final = {
    (type_.bits // 8, type_.is_signed): _SCALARS[type_] for type_ in (I8, U8, I16, U16, I32, U32)
}
"""(Bytes in memory, is signed) → register type of the integer; a key that is cheap to make."""


def scalar_type(type_: Type) -> ScalarType | None:
    """Return the type of the one register that holds a value; None: it takes none, or several."""
    match type_:
        case IntegerType(bits, is_signed) if 0 < bits <= WORD_BITS:
            return _INTEGERS[num_bytes(type_), is_signed]
        case PointerType():
            return ScalarType.U16
        case EnumType(base):
            return scalar_type(base)
        case PackedType():
            return scalar_type(backing(type_))
        case ArrayType() | StructType() | FunctionType():
            return None
        case _:
            return _SCALARS.get(type_)


def fits_wavelet(type_: Type) -> bool:
    """Tell whether a wavelet can carry a value of a type to a task."""
    return scalar_type(type_) is not None and not is_narrow(type_)


def register_type(type_: Type) -> ir.NumberType | None:
    """Return the type of the one register, or two, that hold a value; None: there are none."""
    match type_:
        case IntegerType(bits, is_signed) if WORD_BITS < bits <= MAX_RUN_TIME_BITS:
            return ir.WideType.I64 if is_signed else ir.WideType.U64
        case EnumType(base):
            return register_type(base)
        case PackedType():
            return register_type(backing(type_))
        case _:
            return scalar_type(type_)


def is_wide(type_: Type) -> bool:
    """Tell whether a run-time value takes two registers."""
    return isinstance(register_type(type_), ir.WideType)


def host_type(type_: Type) -> ScalarType | None:
    """Return the host's type of a number, or of the two words of a wide one; None: no number."""
    held = register_type(type_)
    return ScalarType.U32 if isinstance(held, ir.WideType) else held


def is_narrow(type_: Type) -> bool:
    """Tell whether a run-time value has fewer bits than its register or memory."""
    match type_:
        case IntegerType(bits):
            return bits != 8 * num_bytes(type_)
        case EnumType(base):
            return is_narrow(base)
        case PackedType():
            return is_narrow(backing(type_))
        case _:
            return False


def num_bytes(type_: Type) -> int:
    """Return the bytes a value of a run-time type takes in PE memory (a DSD takes 8)."""
    match type_:
        case IntegerType(bits):
            return 1 << (-(-bits // 8) - 1).bit_length() if bits else 0
        case ArrayType(_, element):
            return type_.num_elements * num_bytes(element)
        case StructType():
            return layout_of(type_).num_bytes
        case FloatType(bits):
            return bits // 8
        case PackedType():
            return num_bytes(backing(type_))
        case _ if type_ in DSDS:
            return 8
        case _:
            held = register_type(type_)
            return held.num_bytes if held is not None else 0


def num_bits(type_: Type) -> int:
    """Return the significant bits of a run-time value."""
    match type_:
        case IntegerType(bits):
            return bits
        case EnumType(base):
            return base.bits
        case PackedType():
            return packed_bits(type_)
        case _:
            return 8 * num_bytes(type_)


def field_bits(type_: Type) -> int | None:
    """Return the bits of a type as a field of a packed type; None: it cannot be one."""
    match type_:
        case IntegerType() | FloatType() | EnumType() | PackedType():
            return num_bits(type_)
        case PointerType():
            return POINTER_BITS
        case _:
            return 1 if type_ is BOOL else None


def unsigned_of(type_: Type) -> IntegerType:
    """Return the unsigned integer type with as many bits as a packed field of `type_`."""
    bits = field_bits(type_)
    assert bits is not None
    return IntegerType(bits, is_signed=False)


def alignment(type_: Type) -> int:
    """Return the alignment in bytes of a value in PE memory."""
    match type_:
        case ArrayType(_, element):
            return alignment(element)
        case StructType():
            return layout_of(type_).alignment
        case _ if type_ in DSDS:
            return 4
        case _:
            return max(num_bytes(type_), 1)


def field_offset(type_: StructType, index: int) -> int:
    """Return the bytes from the start of a struct to a field.

    Fields are laid out in order, each at the next aligned address, as in C; so are the variants of
    a plain `union`, whose copy is therefore a copy of each variant.
    """
    return layout_of(type_).offsets[index]


def layout_of(type_: StructType) -> Layout:
    """Return the offsets of the fields of a struct in PE memory, computed once."""
    if type_.known_layout is None:
        object.__setattr__(type_, "known_layout", _lay_out(type_))
    assert type_.known_layout is not None
    return type_.known_layout


def _lay_out(type_: StructType) -> Layout:
    offsets: list[int] = []
    end = size = 0
    for part in type_.fields:
        offsets.append(0 if type_.is_overlaid else _aligned(end, alignment(part)))
        end = offsets[-1] + num_bytes(part)
        size = max(size, end)
    aligned = max(map(alignment, type_.fields), default=1)
    return Layout(tuple(offsets), _aligned(size, aligned), aligned)


def _aligned(address: int, alignment: int) -> int:
    return -(-address // alignment) * alignment


# --- packed structs ------------------------------------------------------------------------------


def packed_bits(type_: PackedType) -> int:
    """Return the width of the integer behind a packed type; an `extern union` has whole bytes."""
    if type_.qualifier == "extern":
        return max((8 * num_bytes(field) for field in type_.fields), default=0)
    widths = [field_bits(field) or 0 for field in type_.fields]
    return max(widths, default=0) if type_.is_union else sum(widths)


def backing(type_: PackedType) -> IntegerType:
    """Return the integer behind a packed type."""
    return IntegerType(packed_bits(type_), is_signed=False)


def lowest_bit(type_: PackedType, index: int) -> int:
    """Return the lowest bit of a field of a packed type."""
    return 0 if type_.is_union else sum(field_bits(f) or 0 for f in type_.fields[:index])
