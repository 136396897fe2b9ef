"""The syntax tree of one CSL file.

In: nothing. Out: what `parser` builds and `sema` reads. Unknown at this point: names, types and
values; nothing is looked up, and every literal is still its text's value.

    file      := topdecl*
    topdecl   := Param | Variable | Function | ComptimeBlock | LayoutBlock
    statement := Variable | Assign | If | While | For | Switch | Break | Continue | Return
               | Block | ComptimeBlock | ExpressionStatement
    expression := IntegerLiteral | FloatLiteral | StringLiteral | BoolLiteral | Name | Unary
               | Binary | Call | BuiltinCall | Member | Dereference | Index | IfExpression
               | SwitchExpression | BlockExpression | StructLiteral | TupleLiteral | VoidLiteral
               | TypedStruct | StructType | ArrayLiteral | ArrayType | PointerType | FunctionType
               | EnumType | TensorAccess | ComptimeExpression | ErrorExpression

Types are expressions (`*T`, `[n]T`, `fn (T) R`, names). Nodes compare by identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.diagnostics import SourceFile, Span


class BinaryOperator(StrEnum):
    """Infix operators, by their spelling."""

    OR = "or"
    AND = "and"
    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    GREATER = ">"
    LESS_EQUAL = "<="
    GREATER_EQUAL = ">="
    BIT_OR = "|"
    BIT_XOR = "^"
    BIT_AND = "&"
    SHIFT_LEFT = "<<"
    SHIFT_RIGHT = ">>"
    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"
    REMAINDER = "%"


class UnaryOperator(StrEnum):
    """Prefix operators, by their spelling."""

    NEGATE = "-"
    NOT = "!"
    COMPLEMENT = "~"
    ADDRESS_OF = "&"


class Storage(Enum):
    """Storage class of a top-level declaration."""

    DEFAULT = "default"
    EXPORT = "export"
    EXTERN = "extern"
    INLINE = "inline"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """Anything with a place in the source."""

    span: Span


# --- expressions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class IntegerLiteral(Node):
    """`12`, `0x1f`, `0b101`, `0o17`, `'c'`."""

    value: int


@dataclass(frozen=True, slots=True, eq=False)
class FloatLiteral(Node):
    """`1.5`, `1.0e-3`."""

    value: float


@dataclass(frozen=True, slots=True, eq=False)
class StringLiteral(Node):
    """`"text"`, escapes resolved."""

    value: str
    """The decoded bytes of the literal; bytes that are not UTF-8 become surrogates (PEP 383)."""


@dataclass(frozen=True, slots=True, eq=False)
class BoolLiteral(Node):
    """`true`, `false`."""

    value: bool


@dataclass(frozen=True, slots=True, eq=False)
class VoidLiteral(Node):
    """`{}`."""


@dataclass(frozen=True, slots=True, eq=False)
class Name(Node):
    """An identifier, also `undefined`, type names and directions (predeclared, not keywords)."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Unary(Node):
    """`operator operand`."""

    operator: UnaryOperator
    operand: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Binary(Node):
    """`left operator right`."""

    operator: BinaryOperator
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Call(Node):
    """`callee(arguments)`."""

    callee: Expression
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, eq=False)
class BuiltinCall(Node):
    """`@name(arguments)`; `name` is without the `@`."""

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Member(Node):
    """`base.name`."""

    base: Expression
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Dereference(Node):
    """`base.*`."""

    base: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Index(Node):
    """`base[i, j]`."""

    base: Expression
    indices: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, eq=False)
class IfExpression(Node):
    """`if (condition) then else otherwise`; a chain may lack the last `else`."""

    condition: Expression
    then: Expression
    otherwise: Expression | None


@dataclass(frozen=True, slots=True, eq=False)
class SwitchExpressionArm(Node):
    """`patterns => value`; no patterns: `else`."""

    patterns: tuple[Expression, ...]
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class SwitchExpression(Node):
    """`switch (scrutinee) { arms }` as a value."""

    scrutinee: Expression
    arms: tuple[SwitchExpressionArm, ...]


@dataclass(frozen=True, slots=True, eq=False)
class BlockExpression(Node):
    """`label: { … break :label value; }` as a value."""

    block: Block


@dataclass(frozen=True, slots=True, eq=False)
class StructField(Node):
    """`.name = value` of a struct literal."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class StructLiteral(Node):
    """`.{ .a = 1, .b = 2 }`; `.{}` is a StructLiteral without fields."""

    fields: tuple[StructField, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TupleLiteral(Node):
    """`.{ 1, 2 }`."""

    elements: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TypedStruct(Node):
    """`T{ .a = 1, .b = 2 }`."""

    type: Expression
    literal: StructLiteral


@dataclass(frozen=True, slots=True, eq=False)
class StructType(Node):
    """`struct { a: T, b: U }`; every such expression makes a new type."""

    fields: tuple[StructTypeField, ...]
    is_union: bool = False
    """`union { … }`: a value holds one of the fields at a time."""
    qualifier: str = ""
    """`extern` or `packed`, if that stands before it."""


@dataclass(frozen=True, slots=True, eq=False)
class StructTypeField(Node):
    """`name: type` of a struct type."""

    name: str
    type: Expression


@dataclass(frozen=True, slots=True, eq=False)
class ArrayType(Node):
    """`[d0, d1]T`."""

    dimensions: tuple[Expression, ...]
    element: Expression


@dataclass(frozen=True, slots=True, eq=False)
class ArrayLiteral(Node):
    """`[n]T{ e, … }`."""

    type: ArrayType
    elements: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PointerType(Node):
    """`*T`, `*const T`, `[*]T`."""

    pointee: Expression
    is_const: bool
    is_many: bool


@dataclass(frozen=True, slots=True, eq=False)
class FunctionType(Node):
    """`fn (T, …) R`, `task () void`."""

    parameters: tuple[Expression, ...]
    result: Expression
    is_task: bool


@dataclass(frozen=True, slots=True, eq=False)
class EnumMember(Node):
    """`A` or `A = value`."""

    name: str
    value: Expression | None


@dataclass(frozen=True, slots=True, eq=False)
class EnumType(Node):
    """`enum(T) { A, B = 3 }`; without a T it is `u16`."""

    base: Expression
    members: tuple[EnumMember, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TensorAccess(Node):
    """`|i, j|{n, m} -> array[index, …]`."""

    variables: tuple[Name, ...]
    extents: tuple[Expression, ...]
    access: Expression


@dataclass(frozen=True, slots=True, eq=False)
class ComptimeExpression(Node):
    """`comptime operand`."""

    operand: Expression


@dataclass(frozen=True, slots=True, eq=False)
class ErrorExpression(Node):
    """Stands where the parser already reported an error."""


Expression = (
    IntegerLiteral
    | FloatLiteral
    | StringLiteral
    | BoolLiteral
    | VoidLiteral
    | Name
    | Unary
    | Binary
    | Call
    | BuiltinCall
    | Member
    | Dereference
    | Index
    | IfExpression
    | SwitchExpression
    | BlockExpression
    | StructLiteral
    | TupleLiteral
    | TypedStruct
    | StructType
    | ArrayType
    | ArrayLiteral
    | PointerType
    | FunctionType
    | EnumType
    | TensorAccess
    | ComptimeExpression
    | ErrorExpression
)


# --- statements ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Variable(Node):
    """`const`/`var` at top level or in a block; `name_span` is the identifier's place."""

    name: str
    name_span: Span
    is_const: bool
    type: Expression | None
    initializer: Expression | None
    storage: Storage = Storage.DEFAULT
    alignment: Expression | None = None
    link_section: Expression | None = None
    link_name: Expression | None = None
    is_comptime: bool = False
    """`comptime var` in a function body."""


@dataclass(frozen=True, slots=True, eq=False)
class Assign(Node):
    """`target = value`, or `target op= value` with `operator`."""

    target: Expression
    operator: BinaryOperator | None
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class If(Node):
    """`if (condition) then else otherwise` as a statement."""

    condition: Expression
    then: Statement
    otherwise: Statement | None


@dataclass(frozen=True, slots=True, eq=False)
class While(Node):
    """`label: while (condition) : (step) body`."""

    condition: Expression
    step: Statement | None
    body: Block
    label: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class For(Node):
    """`label: inline for (iterable) |element, index| body`; captures may be `_`."""

    iterable: Expression
    element: Name
    index: Name | None
    body: Block
    label: str | None = None
    is_inline: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class SwitchArm(Node):
    """`patterns => body`; no patterns: `else`."""

    patterns: tuple[Expression, ...]
    body: Statement


@dataclass(frozen=True, slots=True, eq=False)
class Switch(Node):
    """`switch (scrutinee) { arms }` as a statement."""

    scrutinee: Expression
    arms: tuple[SwitchArm, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Break(Node):
    """`break;`, `break :label;`, `break :label value;`."""

    label: str | None = None
    value: Expression | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Continue(Node):
    """`continue;`, `continue :label;`."""

    label: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Return(Node):
    """`return value;`."""

    value: Expression | None


@dataclass(frozen=True, slots=True, eq=False)
class Block(Node):
    """`{ statements }`, `label: { statements }`."""

    statements: tuple[Statement, ...]
    label: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ComptimeBlock(Node):
    """`comptime { … }` at top level or inside a function."""

    body: Block


@dataclass(frozen=True, slots=True, eq=False)
class ExpressionStatement(Node):
    """`expression;`."""

    expression: Expression


Statement = (
    Variable
    | Assign
    | If
    | While
    | For
    | Switch
    | Break
    | Continue
    | Return
    | Block
    | ComptimeBlock
    | ExpressionStatement
)


# --- top level -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Param(Node):
    """`param name: type = default;`."""

    name: str
    name_span: Span
    type: Expression | None
    default: Expression | None


@dataclass(frozen=True, slots=True, eq=False)
class Parameter(Node):
    """One parameter of a function or task; type `None` stands for `anytype`."""

    name: str
    type: Expression | None
    is_comptime: bool


@dataclass(frozen=True, slots=True, eq=False)
class Function(Node):
    """`fn` or `task`."""

    name: str
    name_span: Span
    parameters: tuple[Parameter, ...]
    result: Expression
    body: Block
    """Empty if it is `extern`."""
    is_task: bool
    storage: Storage = Storage.DEFAULT
    link_name: Expression | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LayoutBlock(Node):
    """`layout { … }`."""

    body: Block


TopDeclaration = Param | Variable | Function | ComptimeBlock | LayoutBlock


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """A parsed file."""

    source: SourceFile
    declarations: tuple[TopDeclaration, ...]
