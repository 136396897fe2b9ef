"""Code: variables, expressions, statements and functions, which contain each other.

    statement  := SetLocal | Store | Evaluate | If | Loop | Labelled | Map | Break | Continue
                | Return | TailCall | DsdStatement | LoadDsr | Activate | SetBlocked
                | UnblockCommandStream | SetFifoLength | Timestamp | TimestampControl | Trap | Print
    expression := Immediate | Join | ReadLocal | AddressOf | Load | Unary | Binary | Convert
                | Select | Call | MakeDsd | UpdateDsd | Coordinate

Wide integers have only the operations that take a few instructions on their words: no product or
quotient, no shift by a count that is not an `Immediate`, no conversion from or to floats.

Arrays, and locals whose address is taken, are `Global`s: no function is entered again before it
is left, so a frame is static. Names of `Local`, `Global` and `Function` are for people; identity is
the object. Only `codegen` makes a `TailCall`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from onewafer.csl.ir.types import NumberType, ValueType, WideType, node

if TYPE_CHECKING:
    from onewafer.diagnostics import Span
    from onewafer.image import (
        DsdConfig,
        DsdDescriptor,
        DsdOperation,
        Opcode,
        OperandMode,
        PrintForm,
        ScalarType,
    )


@node
class Local:
    """A variable that lives in registers."""

    name: str
    type: ValueType


@dataclass(frozen=True, slots=True)
class PerPe:
    """Index of a value that differs between the PEs of this instance (`InstanceIr.per_pe`)."""

    index: int


@dataclass(frozen=True, slots=True)
class Datum:
    """One initialised scalar of a global. `word` is canonical (see `ScalarType`)."""

    offset: int
    """Bytes from the start of the global."""
    element: ScalarType
    word: int
    per_pe: PerPe | None = None


@dataclass(frozen=True, slots=True)
class DsdDatum:
    """An initial DSD value of a global."""

    offset: int
    dsd: MakeDsd
    """All operands are `Immediate` or `AddressOf`."""


@dataclass(frozen=True, slots=True)
class AddressDatum:
    """An initial pointer of a global."""

    offset: int
    target: AddressOf


@dataclass(frozen=True, slots=True)
class Part:
    """A field of a variable of structs, `.x` or `[2].y`."""

    name: str
    offset: int
    """Bytes from the start of the variable."""
    num_bytes: int
    element: ScalarType | None
    is_wide: bool
    """Each two elements are one number."""


@dataclass(slots=True, eq=False)
class Global:
    """A variable in PE memory; it may be filled in until the instance is complete."""

    name: str
    num_bytes: int
    alignment: int
    element: ScalarType | None
    span: Span | None
    data: list[Datum | DsdDatum | AddressDatum] = field(
        default_factory=list["Datum | DsdDatum | AddressDatum"]
    )
    is_exported: bool = False
    """`export var`: the host may read and write it at any time."""
    is_undefined: bool = False
    """Declared without a value, or with `undefined`."""
    is_wide: bool = False
    """Each two elements are one number."""
    section: str = ""
    """Its `linksection`."""
    is_local: bool = False
    """True if it belongs to a function, and only while that runs."""
    parts: tuple[Part, ...] = ()
    """Fields with symbols, if it is a variable of structs."""


# --- expressions ---------------------------------------------------------------------------------


@node
class Immediate:
    """A constant; with `per_pe`, `word` is only the value at the instance's first PE."""

    type: ScalarType
    word: int
    per_pe: PerPe | None = None


@node
class Join:
    """A wide integer of two words (U32)."""

    type: WideType
    low: Expression
    high: Expression


@node
class ReadLocal:
    """The value of a local."""

    local: Local


@node
class AddressOf:
    """Byte address of a global plus a constant (U16)."""

    variable: Global
    offset: int = 0
    array: tuple[int, int] | None = None
    """Offset and bytes of the accessed array in a struct; None: the whole variable."""


@node
class Load:
    """The value in memory at `address + offset`."""

    type: ValueType
    address: Expression
    offset: int = 0
    is_volatile: bool = False
    """A read has side effects: the load is neither moved, repeated nor removed."""


@node
class Unary:
    """NEG or NOT."""

    opcode: Opcode
    type: NumberType
    operand: Expression


@node
class Binary:
    """ADD … LESS_EQUAL in `type`; comparisons give BOOL."""

    opcode: Opcode
    type: NumberType
    left: Expression
    right: Expression


@node
class Convert:
    """A number converted to another type, as by `@as`."""

    source: NumberType
    target: NumberType
    operand: Expression


@node
class Select:
    """`if` as a value, also `and`/`or`; only one branch is evaluated."""

    type: ValueType
    condition: Expression
    then: Expression
    otherwise: Expression


@node
class Call:
    """A call; as an expression only if the function returns a value."""

    function: Function
    arguments: tuple[Expression, ...]


@node
class MakeDsd:
    """`@get_dsd` with a descriptor and its run-time fields."""

    descriptor: DsdDescriptor
    base: Expression
    extent: Expression
    stride: Expression
    span: Span | None = None


class DsdUpdate(Enum):
    """The field that `UpdateDsd` changes."""

    BASE = "base"
    LENGTH = "length"
    STRIDE = "stride"
    ADVANCE = "advance"


@node
class UpdateDsd:
    """`@set_dsd_base_addr`, `@set_dsd_length`, `@set_dsd_stride`, `@increment_dsd_offset`."""

    update: DsdUpdate
    dsd: Expression
    value: Expression
    element_bytes: int = 0
    """ADVANCE only."""


@node
class Coordinate:
    """Program-relative x (axis 0) or y (axis 1) of the PE (U16)."""

    axis: int


Expression = (
    Immediate
    | Join
    | ReadLocal
    | AddressOf
    | Load
    | Unary
    | Binary
    | Convert
    | Select
    | Call
    | MakeDsd
    | UpdateDsd
    | Coordinate
)


# --- statements ----------------------------------------------------------------------------------


@node
class SetLocal:
    """`local = value`."""

    local: Local
    value: Expression
    span: Span | None = None


@node
class Store:
    """`memory[address + offset] = value`."""

    type: ValueType
    address: Expression
    offset: int
    value: Expression
    span: Span | None = None


@node
class Evaluate:
    """A call for its effect."""

    call: Call
    span: Span | None = None


@node
class If:
    """Two-way branch."""

    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]
    span: Span | None = None


@node
class Loop:
    """`while (condition) { body; step }`; `continue` goes to `step`."""

    condition: Expression
    body: tuple[Statement, ...]
    step: tuple[Statement, ...]
    span: Span | None = None


@node
class MapStream:
    """A DSD of `@map`, and the local that holds its current element."""

    dsd: Expression
    local: Local
    type: ScalarType


@node
class Map:
    """`@map`: for each element of the shortest DSD, read the inputs, run the body, write."""

    inputs: tuple[MapStream, ...]
    output: MapStream | None
    body: tuple[Statement, ...]
    span: Span | None = None

    @property
    def streams(self) -> tuple[MapStream, ...]:
        """The inputs, then the output."""
        return self.inputs if self.output is None else (*self.inputs, self.output)


@node
class Labelled:
    """A block that `Break` can leave; `levels` of jumps count loops and these blocks together."""

    body: tuple[Statement, ...]
    span: Span | None = None
    is_unrolled: bool = False
    """It is an unrolled loop: constants and descriptors are loaded once, before it."""


@node
class Break:
    """Leave a loop or `Labelled`: the innermost one, or that many further out."""

    levels: int = 0


@node
class Continue:
    """Go to the step of a loop: of the innermost one, or that many loops and blocks further out."""

    levels: int = 0


@node
class Return:
    """Leave the function or task."""

    value: Expression | None
    span: Span | None = None


@node
class TailCall:
    """Jump to a function whose result becomes the result of this function."""

    call: Call
    span: Span | None = None


@node
class Dsr:
    """An explicit data structure register."""

    file: OperandMode
    """DSR_DEST, DSR_SRC0 or DSR_SRC1."""
    index: int


@node
class Scalar:
    """A scalar source operand."""

    value: Expression


@node
class ScalarDestination:
    """A scalar destination in memory."""

    address: Expression


@node
class Vector:
    """A DSD operand; codegen picks the DSR."""

    dsd: Expression


DsdOperand = Dsr | Scalar | ScalarDestination | Vector


@node
class DsdStatement:
    """A DSD operation."""

    operation: DsdOperation
    dest: DsdOperand | None
    """None: the result is discarded."""
    src0: DsdOperand | None
    src1: DsdOperand | None
    scalar: Expression | None
    config: DsdConfig | None
    """None: synchronous."""
    span: Span | None = None
    result: Local | None = None
    """The local that gets the return value of the operation (M116)."""


@node
class LoadDsr:
    """`@load_to_dsr`."""

    dsr: Dsr
    dsd: Expression
    span: Span | None = None
    saves_address: bool = False
    """The register keeps its position: the next operation goes on after the elements used."""


@node
class Activate:
    """`@activate(local task)`."""

    task_id: int
    span: Span | None = None


@node
class SetFifoLength:
    """`@set_fifo_read_length` / `@set_fifo_write_length`; `fifo` as in `DsdDescriptor`."""

    fifo: int
    is_written: bool
    length: Expression
    span: Span | None = None


@node
class SetBlocked:
    """`@block` / `@unblock`; `channel` as `image.channel()` encodes it."""

    channel: int
    is_blocked: bool
    span: Span | None = None


@node
class UnblockCommandStream:
    """`<memcpy/memcpy>.unblock_cmd_stream()`."""

    span: Span | None = None


@node
class Timestamp:
    """Store the cycle counter at an address, or the cycle since the program was loaded."""

    address: Expression
    since_loading: bool = False
    span: Span | None = None


@node
class TimestampControl:
    """`mode` as the instruction's: 0 stop, 1 reset and start, 2 reset."""

    mode: int
    span: Span | None = None


@node
class Trap:
    """Stop with `message` if `condition` is false."""

    condition: Expression
    message: str
    span: Span | None = None


@node
class Print:
    """Print a value (`value` of `type`) on the host or, without one, `text`."""

    form: PrintForm
    type: ScalarType
    value: Expression | None
    text: str = ""
    span: Span | None = None


Statement = (
    SetLocal
    | Store
    | Evaluate
    | If
    | Loop
    | Labelled
    | Map
    | Break
    | Continue
    | Return
    | TailCall
    | DsdStatement
    | LoadDsr
    | Activate
    | SetBlocked
    | SetFifoLength
    | UnblockCommandStream
    | Timestamp
    | TimestampControl
    | Trap
    | Print
)


# --- functions -----------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Function:
    """A function or task; `body` is filled once analysed (so that calls can refer to it first)."""

    name: str
    parameters: tuple[Local, ...]
    result: ValueType | None
    body: tuple[Statement, ...] = ()
    span: Span | None = None
    is_inline: bool = False
    """`inline fn`: expanded where it is called."""
    has_stored_result: bool = False
    """Its result is a struct or an array: the caller copies it out of memory."""
