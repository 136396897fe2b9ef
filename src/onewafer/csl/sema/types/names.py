"""The types that have a name of their own, and sets of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl.sema.types.kinds import FloatType, IntegerType, SimpleType, Type

if TYPE_CHECKING:
    from collections.abc import Mapping

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
"""The 16-bit floats; a program uses one of them at run time."""

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
"""Names of types that the language declares."""


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
