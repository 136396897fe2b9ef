"""Comptime values, the one wrapper for values that exist only at run time, and modules.

    Value := Scalar | Text | TypeValue | Void | Undefined | Struct | Array | FunctionValue
           | FunctionAddress | ModuleValue | Pointer | Variable | Range | Dsd | Dsr | Runtime

Functions and modules are values, and a module gives values to names. `Module` and `Program` are the
interfaces of a module and its program for values and evaluators; `modules` implements them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from onewafer.csl.sema import types as t
from onewafer.csl.sema.session.scalars import Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onewafer.csl import ir
    from onewafer.csl.sema.faults import Fault
    from onewafer.csl.sema.session import Session, SourceCode
    from onewafer.csl.sema.session.contracts import Where
    from onewafer.csl.syntax import ast
    from onewafer.diagnostics import Span
    from onewafer.image import DsdDescriptor


@dataclass(frozen=True, slots=True)
class Text:
    """A comptime_string: bytes, which mostly are UTF-8."""

    value: str
    """The bytes decoded as UTF-8, invalid ones as surrogates (PEP 383)."""

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
        r"""Printable text, with invalid UTF-8 bytes as escapes such as `\xff`."""
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
    """None: an anonymous struct, not in memory; its type follows from the fields."""
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
    """An array value. Only a `var`, which has a list of its own, changes it."""

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
    """True if an `extern` declaration names it: it is then called at run time only."""


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
    """Its global, made when reachable code uses the variable."""
    is_undefined: bool = False
    """True if it is declared without a value; `initial` is then zeros."""
    section: str = ""
    """Its `linksection`."""
    is_local: bool = False
    """True if it is declared in a function, or made for one."""
    at: Pointer | Runtime | None = None
    """The address of the whole of which it is a part; None: it has its own memory."""
    offset: int = 0
    """Bytes from `at` to the variable."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """The address of a variable, or of a part `offset` bytes into it."""

    type: t.PointerType
    variable: Variable
    offset: int = 0
    array: tuple[int, int] | None = None
    """Offset and bytes of the array into which it points; None: see `reach`."""

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
    """True for a memory DSD with `.wavelet_index_offset`: `.index` of an operation moves it."""


@dataclass(frozen=True, slots=True)
class Dsr:
    """A data structure register, or an `xdsr` or `sr`."""

    type: t.SimpleType
    index: int


@dataclass(frozen=True, slots=True, eq=False)
class Runtime:
    """A value that only the running program knows."""

    type: t.Type
    expression: ir.Expression
    descriptor: DsdDescriptor | None = None
    """The kind, color and queue of a DSD, where they are known."""


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


class Module(Protocol):
    """One instance of a file: names, and the values that they stand for."""

    session: Session
    code: SourceCode
    params: Mapping[str, Value]
    name: str
    """Prefix of the symbols; empty for the entry of a program."""
    importer: Module | None
    """The module that imported it; None for the entry of a program."""

    @property
    def context(self) -> Program:
        """The owner of the module."""
        ...

    @property
    def path(self) -> str:
        """Path of the file."""
        ...

    @property
    def memo_key(self) -> object:
        """A key that is equal for modules whose pure functions give equal results."""
        ...

    @property
    def defining(self) -> str:
        """The name of the global whose value is being evaluated; empty: none."""
        ...

    def read(self, name: str, span: Span) -> Value:
        """Return the value of a top-level name; of a run-time variable, its `Variable`."""
        ...

    def read_pointee(self, name: str, span: Span) -> Value:
        """Return the target of a pointer type; for a struct type being made, a stand-in by name."""
        ...

    def read_lvalue(self, name: str, span: Span) -> Value:
        """Return the value of a top-level name of which an address is taken."""
        ...

    def early_lvalue(self, name: str) -> Variable | None:
        """Return the variable of a name whose own initial value takes its address."""
        ...

    def read_in_memory(self, declaration: ast.Variable, span: Span) -> Value:
        """Return the value of a global; of an exported constant, its variable in memory."""
        ...

    def materialize(self, name: str, span: Span) -> Variable:
        """Return the variable of a top-level name; a constant gets one."""
        ...

    def evaluate_type(self, node: ast.Expression) -> t.Type:
        """Evaluate a type expression in the module's scope."""
        ...

    def function_type(self, declaration: ast.Function) -> t.FunctionType:
        """Return the type of a function; parameters whose type depends on others are `anytype`."""
        ...

    def qualify(self, name: str) -> str:
        """Return the symbol name of a declaration."""
        ...

    def symbol(self, declaration: ast.Variable | ast.Function) -> str:
        """Return the name of a declaration in the image: its `linkname`, if it has one."""
        ...

    def external_name(self, declaration: ast.Variable | ast.Function) -> str:
        """Return the name by which other modules know a variable or function."""
        ...


class Program(Protocol):
    """The owner of modules: the layout program, or the program of an instance."""

    kind: Where
    is_layout: bool
    modules: list[Module]
    """The modules made so far, in order."""

    @property
    def has_read_program(self) -> bool:
        """True if values may depend on coordinates of a PE or colors of queues, besides params."""
        ...

    def report(self, fault: Fault) -> None:
        """Hand a fault to the sink with the locations that led here."""
        ...

    def import_module(self, importer: Module, path: str, params: Value, span: Span) -> Module:
        """Make a new instance of a file; its roots run later."""
        ...

    def library_function(self, importer: Module, path: str, name: str, span: Span) -> FunctionValue:
        """Return a function of a library module that the program need not import."""
        ...
