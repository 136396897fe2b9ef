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
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


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
    """A type that is told apart by its name alone."""

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
    """The name of a struct type that contains pointers to itself; pointers to it hold the name.

    So types stay trees: comparing, hashing or printing one ends at the name.
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
        """Set the type that the name stands for, once it is made."""
        self.type = type_
        object.__setattr__(type_, "name", self)


@dataclass(frozen=True, slots=True)
class PointerType:
    """`*pointee`, `*const pointee` or (is_many) `[*]pointee`."""

    written: Type
    """The pointee, in which a struct type that leads to itself is its `StructName`."""
    is_const: bool = False
    is_many: bool = False

    __match_args__ = ("pointee", "is_const", "is_many")

    def __post_init__(self) -> None:
        """Replace struct types that lead to themselves by their names."""
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
class Layout:
    """Offsets of the fields of a struct, its size and alignment."""

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
    """True if all fields of a value but one are undefined."""
    qualifier: str = ""
    """`packed` or `extern`."""
    name: StructName | None = field(default=None, init=False, repr=False, compare=False)
    """Its name, if it leads to itself by a pointer; pointers to it compare by the name."""
    known_layout: Layout | None = field(default=None, init=False, repr=False, compare=False)
    """The result of `layout_of`, kept."""

    @property
    def is_overlaid(self) -> bool:
        """True if all fields begin at the same byte: an `extern union`."""
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


def _with_names(type_: Type) -> Type:
    """Return a type with struct types that lead to themselves replaced by their names."""
    match type_:
        case StructType(name=name) | PackedType(name=name):
            return type_ if name is None else name
        case ArrayType() | FunctionType():
            return _parts_replaced(type_, _with_names)
        case _:
            return type_


def _without_names(type_: Type) -> Type:
    """Undo `_with_names`."""
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
