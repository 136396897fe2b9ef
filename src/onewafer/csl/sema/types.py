"""The types of CSL, as comptime values.

    Type := Integer | Float | Simple | Array | Pointer | Function | Enum | Struct | Packed
          | StructName, which stands only behind pointers, for a struct that leads to itself

`Simple` covers everything that is told apart by its name alone: `bool`, `void`, the comptime-only
types, the opaque ids (`color`, `input_queue` …), `direction`, DSDs and DSRs. Types are compared by
value. `str(type)` is the CSL spelling.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.image import ScalarType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True, slots=True)
class IntegerType:
    """A sized integer."""

    bits: int
    is_signed: bool

    @property
    def minimum(self) -> int:
        """Smallest value."""
        return -(1 << self.bits >> 1) if self.is_signed else 0

    @property
    def maximum(self) -> int:
        """Largest value."""
        return max((1 << self.bits >> self.is_signed) - 1, 0)

    def wrap(self, value: int) -> int:
        """Reduce modulo the width, as the machine does on overflow."""
        value &= (1 << self.bits) - 1
        return value - (1 << self.bits) if self.is_signed and value << 1 >> self.bits else value

    def __str__(self) -> str:
        """Return `i16`, `u32`, …."""
        return f"{'i' if self.is_signed else 'u'}{self.bits}"


@dataclass(frozen=True, slots=True)
class FloatType:
    """`f16`, `f32`, (is_brain) `bf16`, the upper half of an `f32`, or `cb16`.

    A program has one of those of 16 bits at run time.
    """

    bits: int
    is_brain: bool = False
    is_cerebras: bool = False
    """`cb16`: 6 bits of exponent, 9 of mantissa."""

    def __str__(self) -> str:
        """Return the spelling."""
        return (
            f"cb{self.bits}" if self.is_cerebras else f"{'b' if self.is_brain else ''}f{self.bits}"
        )


@dataclass(frozen=True, slots=True)
class SimpleType:
    """A type that is its name."""

    name: str

    def __str__(self) -> str:
        """Return the spelling."""
        return self.name


@dataclass(frozen=True, slots=True)
class ArrayType:
    """`[d0, d1, …]element`, row-major."""

    dimensions: tuple[int, ...]
    element: Type

    @property
    def num_elements(self) -> int:
        """Product of the dimensions."""
        return prod(self.dimensions)

    def __str__(self) -> str:
        """Return the spelling."""
        return f"[{', '.join(map(str, self.dimensions))}]{self.element}"


@dataclass(slots=True)
class StructName:
    """The name of a struct type for pointers in it, and from then on for all pointers to it.

    So types stay trees: what compares, hashes or prints one ends at the name.
    """

    name: str = field(compare=False)
    key: tuple[object, object]
    """The `struct { … }` and its module: names of one key are of one type."""
    type: StructType | PackedType | None = field(default=None, compare=False, repr=False)
    """None: it is being made."""

    def __hash__(self) -> int:
        """Return the hash of the key."""
        return hash(self.key)

    def __str__(self) -> str:
        """Return the spelling."""
        return self.name

    def give_to(self, type_: StructType | PackedType) -> None:
        """Let a type that was just made be the one of this name."""
        self.type = type_
        object.__setattr__(type_, "name", self)


@dataclass(frozen=True, slots=True)
class PointerType:
    """`*pointee`, `*const pointee` or (is_many) `[*]pointee`."""

    written: Type
    """The pointee; struct types that lead to themselves are names in it."""
    is_const: bool = False
    is_many: bool = False

    __match_args__ = ("pointee", "is_const", "is_many")

    def __post_init__(self) -> None:
        """Put in the names."""
        object.__setattr__(self, "written", _with_names(self.written))

    @property
    def pointee(self) -> Type:
        """The pointer's target type."""
        return _without_names(self.written)

    def __str__(self) -> str:
        """Return the spelling."""
        return f"{'[*]' if self.is_many else '*'}{'const ' if self.is_const else ''}{self.written}"


@dataclass(frozen=True, slots=True)
class FunctionType:
    """`fn (parameters) result`, `task (parameters) void`; None: `anytype`."""

    parameters: tuple[Type | None, ...]
    result: Type
    is_task: bool = False

    def __str__(self) -> str:
        """Return the spelling."""
        parameters = ", ".join("anytype" if p is None else str(p) for p in self.parameters)
        return f"{'task' if self.is_task else 'fn'} ({parameters}) {self.result}"


@dataclass(frozen=True, slots=True, eq=False)
class EnumType:
    """`enum(base) { … }`; every `enum` expression makes a type of its own."""

    base: IntegerType
    members: Mapping[str, int]

    def __str__(self) -> str:
        """Return the spelling."""
        return f"enum({self.base}) {{ {', '.join(self.members)} }}"


@dataclass(frozen=True, slots=True)
class _Layout:
    """Offsets of the fields of a struct."""

    offsets: tuple[int, ...]
    num_bytes: int
    alignment: int


@dataclass(frozen=True, slots=True)
class StructType:
    """A struct, or (names None) a tuple."""

    names: tuple[str, ...] | None
    fields: tuple[Type, ...]
    origin: object | None = None
    """The `struct { … }` that made it, by identity; None: it is anonymous."""
    is_union: bool = False
    """Whether all fields of a value but one are undefined."""
    qualifier: str = ""
    """`packed` or `extern`."""
    name: StructName | None = field(default=None, init=False, repr=False, compare=False)
    """The key by which pointers to it are compared, if it contains one; else None."""
    _layout: _Layout | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def layout(self) -> _Layout:
        """Offsets of the fields in PE memory, computed once."""
        if self._layout is None:
            object.__setattr__(self, "_layout", _lay_out(self))
        assert self._layout is not None
        return self._layout

    @property
    def is_overlaid(self) -> bool:
        """Whether all fields begin at the same byte: an `extern union`."""
        return self.is_union and self.qualifier == "extern"

    def __str__(self) -> str:
        """Return the spelling."""
        if self.origin is not None:
            pairs = list(zip(self.names or (), self.fields, strict=True))
            kind = f"{self.qualifier} {'union' if self.is_union else 'struct'}".strip()
            if not pairs:
                return f"{kind} {{}}"
            return f"{kind} {{ {', '.join(f'{n}: {t}' for n, t in pairs)} }}"
        if self.names is None:
            return f".{{ {', '.join(map(str, self.fields))} }}"
        fields = (f".{n}: {t}" for n, t in zip(self.names, self.fields, strict=True))
        return f".{{ {', '.join(fields)} }}"


@dataclass(frozen=True, slots=True)
class PackedType:
    """A `packed struct`, `packed union` or `extern union`: fields that are bits of an integer."""

    names: tuple[str, ...]
    fields: tuple[Type, ...]
    origin: object
    """The expression that made it, by identity."""
    is_union: bool
    """All fields begin at the lowest bit; else each follows the one before."""
    qualifier: str
    name: StructName | None = field(default=None, init=False, repr=False, compare=False)
    """See `StructType`."""

    @property
    def bits(self) -> int:
        """Width of the integer behind it; of an `extern union` whole bytes."""
        if self.qualifier == "extern":
            return max((8 * num_bytes(field) for field in self.fields), default=0)
        widths = [field_bits(field) or 0 for field in self.fields]
        return max(widths, default=0) if self.is_union else sum(widths)

    @property
    def backing(self) -> IntegerType:
        """The integer behind it."""
        return IntegerType(self.bits, is_signed=False)

    def offset(self, index: int) -> int:
        """Return the lowest bit of a field."""
        return 0 if self.is_union else sum(field_bits(f) or 0 for f in self.fields[:index])

    @property
    def kind(self) -> str:
        """The words in front of its fields."""
        return f"{self.qualifier} {'union' if self.is_union else 'struct'}"

    def __str__(self) -> str:
        """Return the spelling."""
        fields = (f"{n}: {t}" for n, t in zip(self.names, self.fields, strict=True))
        return f"{self.kind} {{ {', '.join(fields)} }}"


Type = (
    IntegerType
    | FloatType
    | SimpleType
    | ArrayType
    | PointerType
    | FunctionType
    | EnumType
    | StructType
    | PackedType
    | StructName
)

I8: Final = IntegerType(8, is_signed=True)
I16: Final = IntegerType(16, is_signed=True)
I32: Final = IntegerType(32, is_signed=True)
I64: Final = IntegerType(64, is_signed=True)
U8: Final = IntegerType(8, is_signed=False)
U16: Final = IntegerType(16, is_signed=False)
U32: Final = IntegerType(32, is_signed=False)
U64: Final = IntegerType(64, is_signed=False)
F16: Final = FloatType(16)
F32: Final = FloatType(32)
BF16: Final = FloatType(16, is_brain=True)
CB16: Final = FloatType(16, is_cerebras=True)
BOOL: Final = SimpleType("bool")
VOID: Final = SimpleType("void")
COMPTIME_INT: Final = SimpleType("comptime_int")
COMPTIME_FLOAT: Final = SimpleType("comptime_float")
COMPTIME_STRING: Final = SimpleType("comptime_string")
COMPTIME_STRUCT: Final = SimpleType("comptime_struct")
TYPE: Final = SimpleType("type")
MODULE: Final = SimpleType("imported_module")
RANGE: Final = SimpleType("range")
UNDEFINED: Final = SimpleType("undefined")
ANYTYPE: Final = SimpleType("anytype")
ANYOPAQUE: Final = SimpleType("anyopaque")
"""The target type of a pointer to any type; it has no values."""
DIRECTION: Final = SimpleType("direction")
COLOR: Final = SimpleType("color")
LOCAL_TASK_ID: Final = SimpleType("local_task_id")
DATA_TASK_ID: Final = SimpleType("data_task_id")
CONTROL_TASK_ID: Final = SimpleType("control_task_id")
INPUT_QUEUE: Final = SimpleType("input_queue")
OUTPUT_QUEUE: Final = SimpleType("output_queue")
UT_ID: Final = SimpleType("ut_id")
MEM1D_DSD: Final = SimpleType("mem1d_dsd")
MEM4D_DSD: Final = SimpleType("mem4d_dsd")
CIRCBUF_DSD: Final = SimpleType("circbuf_dsd")
FABIN_DSD: Final = SimpleType("fabin_dsd")
FABOUT_DSD: Final = SimpleType("fabout_dsd")
FIFO: Final = SimpleType("fifo")
"""The type of `@allocate_fifo`'s result; it has no name in the language."""
DSR_DEST: Final = SimpleType("dsr_dest")
DSR_SRC0: Final = SimpleType("dsr_src0")
DSR_SRC1: Final = SimpleType("dsr_src1")
DSR_FIFO_DEST: Final = SimpleType("dsr_fifo_dest")
DSR_FIFO_SRC1: Final = SimpleType("dsr_fifo_src1")
XDSR: Final = SimpleType("xdsr")
SR: Final = SimpleType("sr")

IDS: Final = frozenset(
    (COLOR, LOCAL_TASK_ID, DATA_TASK_ID, CONTROL_TASK_ID, INPUT_QUEUE, OUTPUT_QUEUE, UT_ID)
)
DSDS: Final = frozenset((MEM1D_DSD, MEM4D_DSD, CIRCBUF_DSD, FABIN_DSD, FABOUT_DSD, FIFO))
FIFO_DSRS: Final[Mapping[Type, SimpleType]] = {DSR_FIFO_DEST: DSR_DEST, DSR_FIFO_SRC1: DSR_SRC1}
"""Registers that are known to hold a FIFO → the same registers without that knowledge."""
DSRS: Final = frozenset((DSR_DEST, DSR_SRC0, DSR_SRC1, *FIFO_DSRS))
REGISTERS: Final = DSRS | {XDSR, SR}
COMPTIME_ONLY: Final = frozenset(
    (
        COMPTIME_INT,
        COMPTIME_FLOAT,
        COMPTIME_STRING,
        COMPTIME_STRUCT,
        TYPE,
        MODULE,
        RANGE,
        ANYTYPE,
        *REGISTERS,
    )
)

HALVES: Final = (F16, BF16, CB16)
"""The 16-bit floats, one of which a program has at run time."""

PREDECLARED: Final[Mapping[str, Type]] = {
    str(t): t
    for t in (
        *(I8, I16, I32, I64, U8, U16, U32, U64, F16, F32, BF16, CB16, BOOL, VOID),
        *(COMPTIME_INT, COMPTIME_FLOAT, COMPTIME_STRING, COMPTIME_STRUCT, TYPE, ANYTYPE),
        *(DIRECTION, COLOR, LOCAL_TASK_ID, DATA_TASK_ID, CONTROL_TASK_ID),
        *(INPUT_QUEUE, OUTPUT_QUEUE, UT_ID, MEM1D_DSD, MEM4D_DSD, FABIN_DSD, FABOUT_DSD),
        *(CIRCBUF_DSD, DSR_DEST, DSR_SRC0, DSR_SRC1, XDSR, SR, MODULE, ANYOPAQUE),
        *FIFO_DSRS,
    )
}
"""Type names that need no declaration."""

MAX_BITS: Final = (1 << 24) - 1
"""Most bits of an integer type."""
POINTER_BITS: Final = 16
WORD_BITS: Final = 32
WORD_MASK: Final = (1 << WORD_BITS) - 1
"""Mask of a register."""
MAX_RUN_TIME_BITS: Final = 2 * WORD_BITS
"""Most bits of an integer type that exists at run time."""


def any_width(name: str) -> IntegerType | None:
    """Return the integer type that a name like `u3` or `i24` means; None: it means none."""
    sign, digits = name[:1], name[1:]
    if sign not in ("i", "u") or not digits.isdecimal() or (digits[0] == "0" and digits != "0"):
        return None
    bits = int(digits)
    return IntegerType(bits, is_signed=sign == "i") if bits <= MAX_BITS else None


def _with_names(type_: Type) -> Type:
    """Return what a pointer keeps of the type that it leads to."""
    match type_:
        case StructType(name=name) | PackedType(name=name):
            return type_ if name is None else name
        case ArrayType() | FunctionType():
            return _parts_replaced(type_, _with_names)
        case _:
            return type_


def _without_names(type_: Type) -> Type:
    """Return a pointer's target type with only the properties that the pointer keeps."""
    match type_:
        case StructName(type=found):
            return type_ if found is None else found
        case ArrayType() | FunctionType():
            return _parts_replaced(type_, _without_names)
        case _:
            return type_


def _parts_replaced(type_: ArrayType | FunctionType, replace: Callable[[Type], Type]) -> Type:
    match type_:
        case ArrayType(dimensions, element):
            other = replace(element)
            return type_ if other is element else ArrayType(dimensions, other)
        case FunctionType(parameters, result, is_task):
            others = tuple(part and replace(part) for part in parameters)
            returned = replace(result)
            is_same = returned is result and all(map(operator.is_, others, parameters))
            return type_ if is_same else FunctionType(others, returned, is_task)


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
"""Bytes in memory, and whether it is signed → how such an integer sits in a register.

The question is asked of every expression: its key is cheaper to make than a type is.
"""


def scalar_type(type_: Type) -> ScalarType | None:
    """Return how a value of `type_` sits in one register; None: it does not."""
    match type_:
        case IntegerType(bits, is_signed) if 0 < bits <= WORD_BITS:
            return _INTEGERS[num_bytes(type_), is_signed]
        case PointerType():
            return ScalarType.U16
        case EnumType(base):
            return scalar_type(base)
        case PackedType():
            return scalar_type(type_.backing)
        case ArrayType() | StructType() | FunctionType():
            return None
        case _:
            return _SCALARS.get(type_)


def fits_wavelet(type_: Type) -> bool:
    """Tell whether a task can take a value of a type out of a wavelet."""
    return scalar_type(type_) is not None and not is_narrow(type_)


def register_type(type_: Type) -> ir.NumberType | None:
    """Return how a number sits in a register, or in two; None: it does in neither."""
    match type_:
        case IntegerType(bits, is_signed) if WORD_BITS < bits <= MAX_RUN_TIME_BITS:
            return ir.WideType.I64 if is_signed else ir.WideType.U64
        case EnumType(base):
            return register_type(base)
        case PackedType():
            return register_type(type_.backing)
        case _:
            return scalar_type(type_)


def is_wide(type_: Type) -> bool:
    """Tell whether a value at run time is two words."""
    return isinstance(register_type(type_), ir.WideType)


def host_type(type_: Type) -> ScalarType | None:
    """Return the host's type of a number, words for more than 32 bits; None: it is no number."""
    held = register_type(type_)
    return ScalarType.U32 if isinstance(held, ir.WideType) else held


def is_narrow(type_: Type) -> bool:
    """Tell whether a value at run time has bits of its register or memory to spare."""
    match type_:
        case IntegerType(bits):
            return bits != 8 * num_bytes(type_)
        case EnumType(base):
            return is_narrow(base)
        case PackedType():
            return is_narrow(type_.backing)
        case _:
            return False


def half_of(scalar: ScalarType) -> FloatType:
    """Return the 16-bit float of a program from that of its instructions."""
    return next(half for half in HALVES if _SCALARS[half] is scalar)


def other_half(type_: Type, half: FloatType) -> FloatType | None:
    """Return a 16-bit float that is in `type_` and is not the one of the program, `half`."""
    match type_:
        case FloatType():
            return type_ if type_ in HALVES and type_ != half else None
        case ArrayType(_, element):
            return other_half(element, half)
        case StructType(_, fields):
            return next(filter(None, (other_half(field, half) for field in fields)), None)
        case _:
            return None


def is_comptime_only(type_: Type, half: FloatType) -> bool:
    """Tell whether no value of `type_` exists at run time, with the 16-bit float of the program."""
    match type_:
        case StructType(_, fields, origin):
            return origin is None or any(is_comptime_only(field, half) for field in fields)
        case FunctionType():
            return True
        case ArrayType(_, element):
            return is_comptime_only(element, half)
        case FloatType():
            return other_half(type_, half) is not None
        case _:
            return type_ in COMPTIME_ONLY


def can_vary(type_: Type, half: FloatType) -> bool:
    """Tell whether there are variables of `type_`: also of an anonymous struct, field by field."""
    match type_:
        case StructType(_, fields):
            return all(can_vary(field, half) for field in fields)
        case _:
            return type_ is not VOID and not is_comptime_only(type_, half)


def labels(type_: StructType) -> tuple[str, ...]:
    """Return the names of the fields; of a tuple their numbers."""
    return type_.names if type_.names is not None else tuple(map(str, range(len(type_.fields))))


def is_numeric(type_: Type) -> bool:
    """Tell whether arithmetic is defined on `type_`."""
    match type_:
        case IntegerType() | FloatType():
            return True
        case _:
            return type_ is COMPTIME_INT or type_ is COMPTIME_FLOAT


def is_integer(type_: Type) -> bool:
    """Tell whether `type_` is a sized integer or comptime_int."""
    return isinstance(type_, IntegerType) or type_ is COMPTIME_INT


def num_bytes(type_: Type) -> int:
    """Return the bytes a value of a run-time type takes in PE memory (a DSD takes 8)."""
    match type_:
        case IntegerType(bits):
            return 1 << (-(-bits // 8) - 1).bit_length() if bits else 0
        case ArrayType(_, element):
            return type_.num_elements * num_bytes(element)
        case StructType():
            return type_.layout.num_bytes
        case FloatType(bits):
            return bits // 8
        case PackedType():
            return num_bytes(type_.backing)
        case _ if type_ in DSDS:
            return 8
        case _:
            held = register_type(type_)
            return held.num_bytes if held is not None else 0


def element(type_: Type) -> Type:
    """Return the type of the elements of an array; any other type itself."""
    return type_.element if isinstance(type_, ArrayType) else type_


def num_bits(type_: Type) -> int:
    """Return the bits by which a value of a run-time type is told from others."""
    match type_:
        case IntegerType(bits):
            return bits
        case EnumType(base):
            return base.bits
        case PackedType():
            return type_.bits
        case _:
            return 8 * num_bytes(type_)


def field_bits(type_: Type) -> int | None:
    """Return the bits that a field of a packed type takes; None: it cannot be one."""
    match type_:
        case IntegerType() | FloatType() | EnumType() | PackedType():
            return num_bits(type_)
        case PointerType():
            return POINTER_BITS
        case _:
            return 1 if type_ is BOOL else None


def unsigned_of(type_: Type) -> IntegerType:
    """Return the bits of a value as a field, as an unsigned integer."""
    bits = field_bits(type_)
    assert bits is not None
    return IntegerType(bits, is_signed=False)


def alignment(type_: Type) -> int:
    """Return the alignment in bytes of a value in PE memory."""
    match type_:
        case ArrayType(_, element):
            return alignment(element)
        case StructType():
            return type_.layout.alignment
        case _ if type_ in DSDS:
            return 4
        case _:
            return max(num_bytes(type_), 1)


# --- structs in memory ---------------------------------------------------------------------------


def field_offset(type_: StructType, index: int) -> int:
    """Return the bytes from the start of a struct to a field.

    Fields lie in their order, each at the next address of its alignment, as in C; variants of a
    plain `union` too, one behind the other, so that a copy of all of them is a copy of each.
    """
    return type_.layout.offsets[index]


def _lay_out(type_: StructType) -> _Layout:
    offsets: list[int] = []
    end = size = 0
    for part in type_.fields:
        offsets.append(0 if type_.is_overlaid else _aligned(end, alignment(part)))
        end = offsets[-1] + num_bytes(part)
        size = max(size, end)
    aligned = max(map(alignment, type_.fields), default=1)
    return _Layout(tuple(offsets), _aligned(size, aligned), aligned)


def leaves(type_: Type, start: int = 0) -> Iterator[tuple[int, Type]]:
    """Yield byte offset and type of all that a value in memory consists of, structs taken apart.

    An array stays whole, also one of structs.
    """
    match type_:
        case StructType(_, fields):
            for index, field in enumerate(fields):
                yield from leaves(field, start + field_offset(type_, index))
        case _:
            yield start, type_


def num_parts(type_: Type) -> int:
    """Return how many values a value consists of, with all elements of arrays."""
    match type_:
        case ArrayType(_, element):
            return type_.num_elements * num_parts(element)
        case StructType(_, fields):
            return sum(map(num_parts, fields))
        case _:
            return 1


def named_parts(type_: Type, name: str = "", start: int = 0) -> Iterator[tuple[str, int, Type]]:
    """Yield the parts of a variable that can be addressed: `.x`, `[2].y`, with offset and type."""
    match type_:
        case StructType(_, fields):
            for index, (label, field) in enumerate(zip(labels(type_), fields, strict=True)):
                offset = start + field_offset(type_, index)
                yield from named_parts(field, f"{name}.{label}", offset)
        case ArrayType(dimensions, StructType() as element):
            step = num_bytes(element)
            for number, indices in enumerate(product(*map(range, dimensions))):
                which = ", ".join(map(str, indices))
                yield from named_parts(element, f"{name}[{which}]", start + number * step)
        case _:
            yield name, start, type_


def _aligned(address: int, alignment: int) -> int:
    return -(-address // alignment) * alignment
