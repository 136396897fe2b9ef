"""Comptime values, and the one wrapper for values that exist only at run time.

    Value := Scalar | Text | TypeValue | Void | Undefined | Struct | Array | FunctionValue
           | FunctionAddress | ModuleValue | Pointer | Variable | Range | Dsd | Dsr | Runtime

A `Scalar` may be *tainted*: it then stands for one number at the first PE of an instance and for a
function of the PE's params at all others. Reading it in a way that decides what the program is
(`force`) is written down in the instance's `Decisions`; PEs for which a decision would come out
differently get an instance of their own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onewafer.csl import ir
    from onewafer.csl.sema.modules import Module
    from onewafer.csl.syntax import ast
    from onewafer.diagnostics import Span
    from onewafer.image import DsdDescriptor

Number = int | float


@dataclass(frozen=True, slots=True)
class Decision:
    """Something that was decided by params that differ between PEs."""

    evaluate: Callable[[Sequence[Number]], Number]
    value: Number
    params: tuple[str, ...]
    reason: str
    span: Span | None


@dataclass(slots=True)
class Decisions:
    """The decisions that made one instance, in order."""

    entries: list[Decision] = field(default_factory=list["Decision"])
    _seen: dict[tuple[int, str], Taint] = field(default_factory=dict[tuple[int, str], "Taint"])
    """The decisions, in order. They keep the taints alive, so that an id stays one taint's."""

    def add(self, taint: Taint, value: Number, reason: str, span: Span | None) -> None:
        """Note that `taint` has to have this `value` at every PE of the instance."""
        key = (id(taint), reason)
        if key not in self._seen:
            self._seen[key] = taint
            self.entries.append(Decision(taint.evaluate, value, taint.params, reason, span))

    @property
    def mark(self) -> tuple[int, int]:
        """How much was decided until now; give it to `forget_since` to go back."""
        return len(self.entries), len(self._seen)

    def forget_since(self, mark: tuple[int, int]) -> None:
        """Discard the decisions made since `mark`, even those that have been moved elsewhere."""
        num_entries, num_seen = mark
        del self.entries[num_entries:]
        while len(self._seen) > num_seen:
            self._seen.popitem()


@dataclass(frozen=True, slots=True, eq=False)
class Taint:
    """How a scalar follows from the params of a PE."""

    evaluate: Callable[[Sequence[Number]], Number]
    params: tuple[str, ...]
    decisions: Decisions


@dataclass(slots=True, eq=False)
class Scalar:
    """A number, truth value, id, direction or enum value. Never changed (not frozen: speed)."""

    type: t.Type
    value: Number
    taint: Taint | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A comptime_string: bytes, which mostly are UTF-8."""

    value: str
    """The bytes decoded; those that are no UTF-8 are surrogates (PEP 383)."""

    @classmethod
    def of(cls, octets: bytes) -> Text:
        """Return the string of these bytes."""
        return cls(octets.decode("utf-8", "surrogateescape"))

    @property
    def octets(self) -> bytes:
        """The bytes."""
        try:
            return self.value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # JSON files may have other surrogates
            return self.value.encode("utf-8", "surrogatepass")

    @property
    def shown(self) -> str:
        r"""As text that can be printed: bytes that are no UTF-8 are `\xff`, say."""
        return self.octets.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value."""

    type: t.Type


@dataclass(frozen=True, slots=True)
class Void:
    """`{}`."""


@dataclass(frozen=True, slots=True)
class Undefined:
    """`undefined`: any value of any type."""


@dataclass(slots=True, eq=False)
class Struct:
    """A struct, or (names None) a tuple. Fields may be `Runtime` in run-time code.

    One in memory has an address, and a `Variable` for each field that is not known.
    """

    names: tuple[str, ...] | None
    fields: tuple[Value, ...]
    type: t.StructType | t.PackedType | None = None
    """None: it is anonymous, and no variable; its type follows from the fields."""
    address: Pointer | Runtime | None = None
    """The address of a struct in memory; None: it is a value only."""

    def with_fields(self, fields: tuple[Value, ...]) -> Struct:
        """Return a value of the same type with other fields."""
        return Struct(self.names, fields, self.type)

    def get(self, name: str) -> Value | None:
        """Return a field's value; None: there is no such field."""
        if self.names is None or name not in self.names:
            return None
        return self.fields[self.names.index(name)]

    def items(self) -> Iterator[tuple[str, Value]]:
        """Yield the named fields in order; a tuple has none."""
        return iter(zip(self.names or (), self.fields, strict=False))


@dataclass(slots=True, eq=False)
class Array:
    """An array value. A `var` owns its list; all other holders never change it."""

    type: t.ArrayType
    elements: list[Value]

    def copy(self) -> Array:
        """Return an array with a list of its own."""
        return Array(self.type, list(self.elements))


@dataclass(frozen=True, slots=True)
class FunctionValue:
    """A function or task of a module."""

    module: Module
    declaration: ast.Function
    is_extern: bool = field(default=False, compare=False)
    """Named by an `extern` declaration: called at run time only, and the same function."""


@dataclass(frozen=True, slots=True)
class FunctionAddress:
    """A known `*const fn (…) R`."""

    type: t.PointerType
    function: FunctionValue


@dataclass(frozen=True, slots=True)
class ModuleValue:
    """The value of `@import_module`."""

    module: Module


@dataclass(slots=True, eq=False)
class Variable:
    """A run-time variable (`var`, or a `const` that needs an address) and its initial value."""

    name: str
    type: t.Type
    initial: Value
    span: Span
    is_const: bool
    is_exported: bool = False
    alignment: int | None = None
    storage: ir.Global | None = None
    """Filled when something reachable uses the variable."""
    is_undefined: bool = False
    """Declared without a value; `initial` is zeros all the same."""
    section: str = ""
    """Its `linksection`."""
    is_local: bool = False
    """Declared in a function, or made for one."""
    at: Pointer | Runtime | None = None
    """Its address if it is part of a struct; None: it lies on its own."""
    offset: int = 0
    """Bytes from there."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """The address of a variable, or of a part `offset` bytes into it."""

    type: t.PointerType
    variable: Variable
    offset: int = 0
    array: tuple[int, int] | None = None
    """Offset and bytes of the array whose elements are counted from here; None: `reach` says."""

    @property
    def reach(self) -> tuple[int, int]:
        """Bounds of element indices: offset and bytes of an array, or of the variable."""
        if self.array is not None:
            return self.array
        if isinstance(self.type.pointee, t.ArrayType):
            return self.offset, t.num_bytes(self.type.pointee)
        return 0, t.num_bytes(self.variable.type)


@dataclass(frozen=True, slots=True)
class Range:
    """The value of `@range`; bounds may be `Runtime`."""

    type: t.Type
    start: Value
    stop: Value
    step: Value


@dataclass(frozen=True, slots=True)
class Dsd:
    """A comptime-known DSD."""

    type: t.SimpleType
    descriptor: DsdDescriptor
    base: Pointer | None
    extent: Scalar
    stride: Scalar
    span: Span | None = None
    takes_index: bool = False
    """MEM: made with `.wavelet_index_offset`, so that `.index` of an operation moves its start."""


@dataclass(frozen=True, slots=True)
class Dsr:
    """A data structure register, or one of those beside them (`xdsr`, `sr`)."""

    type: t.SimpleType
    index: int


@dataclass(frozen=True, slots=True, eq=False)
class Runtime:
    """A value that only the running program knows."""

    type: t.Type
    expression: ir.Expression
    descriptor: DsdDescriptor | None = None
    """DSDs: kind, color and queue, where they are known."""


Value = (
    Scalar
    | Text
    | TypeValue
    | Void
    | Undefined
    | Struct
    | Array
    | FunctionValue
    | FunctionAddress
    | ModuleValue
    | Variable
    | Pointer
    | Range
    | Dsd
    | Dsr
    | Runtime
)

VOID_VALUE: Final = Void()
TRUE: Final = Scalar(t.BOOL, value=True)
FALSE: Final = Scalar(t.BOOL, value=False)


def boolean(value: object) -> Scalar:
    """Return the `bool` scalar of a truth value."""
    return TRUE if value else FALSE


def merge_taints(
    left: Scalar, right: Scalar, compute: Callable[[Any, Any], Number]
) -> Taint | None:
    """Return the taint of `compute(left, right)`."""
    first, second = left.taint, right.taint
    if first is None and second is None:
        return None
    if first is not None and second is not None:
        f, g = first.evaluate, second.evaluate
        params = tuple(dict.fromkeys((*first.params, *second.params)))
        return Taint(lambda row: compute(f(row), g(row)), params, first.decisions)
    if first is not None:
        f, constant = first.evaluate, right.value
        return Taint(lambda row: compute(f(row), constant), first.params, first.decisions)
    assert second is not None
    g, constant = second.evaluate, left.value
    return Taint(lambda row: compute(constant, g(row)), second.params, second.decisions)


def map_scalar(value: Scalar, type_: t.Type, compute: Callable[[Any], Number]) -> Scalar:
    """Return `compute(value)` as a scalar of `type_`, tainted as `value` is."""
    taint = value.taint
    if taint is not None:
        f = taint.evaluate
        taint = Taint(lambda row: compute(f(row)), taint.params, taint.decisions)
    return Scalar(type_, compute(value.value), taint)


def merge_scalars(
    left: Scalar, right: Scalar, type_: t.Type, compute: Callable[[Any, Any], Number]
) -> Scalar:
    """Return `compute(left, right)` as a scalar of `type_`, tainted as they are."""
    return Scalar(type_, compute(left.value, right.value), merge_taints(left, right, compute))


def type_of(value: Value) -> t.Type:
    """Return the CSL type of a value."""
    match value:
        case Scalar(type_) | Array(type_) | Pointer(type_) | Dsd(type_) | Dsr(type_):
            return type_
        case FunctionAddress(type_):
            return type_
        case Runtime(type_):
            return type_
        case Variable():
            return value.type
        case Struct(_, _, t.StructType() | t.PackedType() as type_):
            return type_
        case Struct(names, fields):
            return t.StructType(names, tuple(type_of(f) for f in fields))
        case Text():
            return t.COMPTIME_STRING
        case TypeValue():
            return t.TYPE
        case Void():
            return t.VOID
        case Undefined():
            return t.UNDEFINED
        case FunctionValue(module, declaration):
            return module.function_type(declaration)
        case ModuleValue():
            return t.MODULE
        case Range():
            return t.RANGE


def is_comptime(value: Value) -> bool:
    """Tell whether nothing of `value` has to wait for run time."""
    match value:
        case Runtime():
            return False
        case Struct(_, fields):
            return all(is_comptime(f) and not isinstance(f, Variable) for f in fields)
        case Array(_, elements):
            return all(is_comptime(e) for e in elements)
        case Range(_, start, stop, step):
            return is_comptime(start) and is_comptime(stop) and is_comptime(step)
        case _:
            return True


def force(value: Scalar, reason: str, span: Span | None) -> Number:
    """Return the number of a scalar that decides what the program is."""
    if value.taint is not None:
        value.taint.decisions.add(value.taint, value.value, reason, span)
    return value.value


def force_all(value: Value, reason: str, span: Span | None) -> Value:
    """Force every scalar inside `value` and return it without taint."""
    match value:
        case Scalar(type_, _, taint):
            return value if taint is None else Scalar(type_, force(value, reason, span))
        case Struct(_, fields):
            return value.with_fields(tuple(force_all(f, reason, span) for f in fields))
        case Array(type_, elements):
            return Array(type_, [force_all(e, reason, span) for e in elements])
        case _:
            return value


def force_arrays(value: Value, reason: str, span: Span | None) -> Value:
    """Force every scalar inside of arrays in `value`; those in structs may stay tainted."""
    match value:
        case Struct(_, fields):
            return value.with_fields(tuple(force_arrays(f, reason, span) for f in fields))
        case Scalar():
            return value
        case _:
            return force_all(value, reason, span)


def truth(value: Value, span: Span, reason: str = "condition") -> bool:
    """Return a comptime condition's truth value, which decides the branch."""
    if type(value) is Scalar and value.type is t.BOOL:
        return bool(value.value) if value.taint is None else bool(force(value, reason, span))
    if isinstance(value, Variable | Runtime) and value.type is t.BOOL:
        not_comptime(value, span)
    fail(
        "type-mismatch",
        f"a condition is of type `bool`, this is of type `{type_of(value)}`",
        span,
        help="compare it with something: `x != 0`",
    )


def not_comptime(value: Value, span: Span | None) -> NoReturn:
    """Fail because `value` is needed while compiling but exists at run time only."""
    match value:
        case Variable(at=Pointer(_, whole)):
            what = f"a part of the variable `{whole.name}`"
        case Variable(name):
            what = f"the variable `{name}`"
        case _:
            what = "this value"
    fail(
        "not-comptime",
        f"{what} is not known at compile time",
        span,
        help="declare it `const`, or move the use into run-time code",
    )


def key_of(value: Value) -> object:
    """Return a hashable stand-in: equal keys, same value (taint is ignored)."""
    match value:
        case Scalar(type_, number):
            # Numbers of other bits than these may be equal, or, NaN, unequal to themselves.
            bits = struct.pack("<d", number) if isinstance(number, float) else number
            return (type_, type(number), bits)
        case Struct(names, fields):
            return (names, *(key_of(f) for f in fields))
        case Array(type_, elements):
            return (type_, *(key_of(e) for e in elements))
        case Pointer(type_, variable, offset):
            return (type_, id(variable), offset)
        case FunctionValue(module, declaration):
            return (id(module), id(declaration))
        case FunctionAddress(type_, function):
            return (type_, key_of(function))
        case ModuleValue(module):
            return id(module)
        case Variable() | Runtime():
            return id(value)
        case Range(type_, start, stop, step):
            return (type_, key_of(start), key_of(stop), key_of(step))
        case Dsd():
            base = key_of(value.base) if value.base is not None else None
            return (value.type, value.descriptor, base, key_of(value.extent), key_of(value.stride))
        case Text() | TypeValue() | Void() | Undefined() | Dsr():
            return value


def is_plain(value: Value) -> bool:
    """Tell whether a value is the same in every module and PE: numbers, strings and types."""
    match value:
        case Scalar(_, _, taint):
            return taint is None
        case Struct(_, fields):
            return all(map(is_plain, fields))
        case Array(_, elements):
            return all(map(is_plain, elements))
        case Text() | TypeValue() | Void():
            return True
        case _:
            return False


def show(value: Value) -> str:
    """Return a short text of a value for messages."""
    match value:
        case Scalar(type_, number):
            match type_:
                case t.EnumType(_, members):
                    names = [n for n, v in members.items() if v == number]
                    return names[0] if names else str(number)
                case t.BOOL:
                    return "true" if number else "false"
                case t.DIRECTION:
                    return DIRECTION_NAMES[int(number)]
                case _:
                    return str(number)
        case Text():
            return f'"{value.shown}"'
        case TypeValue(type_):
            return str(type_)
        case Void():
            return "{}"
        case Struct(names, fields):
            if names is None:
                return f".{{ {', '.join(show(f) for f in fields)} }}"
            return f".{{ {', '.join(f'.{n} = {show(f)}' for n, f in value.items())} }}"
        case Array(type_, elements):
            return f"{type_}{{ {', '.join(show(e) for e in elements)} }}"
        case FunctionValue(_, declaration) | FunctionAddress(_, FunctionValue(_, declaration)):
            return declaration.name
        case _:
            return f"<{type_of(value)}>"


DIRECTION_NAMES: Final = ("WEST", "EAST", "SOUTH", "NORTH", "RAMP")
"""By `geometry.Direction` value."""
