"""DSD operations: operands, start and duration (M13, M30–M37)."""

from __future__ import annotations

from onewafer.image import (
    DSD_NUMBER_MASK,
    DSD_OPERATIONS,
    IN_MAP,
    RESULT_SHIFT,
    SAVES_ADDRESS,
    DsdKind,
    DsdOperation,
    OperandMode,
)
from onewafer.simulator.arithmetic.outputs import (
    ADVANCES,
    DATA_BITS,
    HAS_INDEX,
    IS_CONTROL,
    NUM_PACKED,
    TAKES_CONTROL,
    UNMARKS,
)
from onewafer.simulator.arithmetic.undefined import FIRST_CARRY
from onewafer.simulator.fast.kernels.compute_element.exceptions import (
    RAISING_BITS,
    kind_of,
)
from onewafer.simulator.fast.kernels.compute_element.packing import fits_packed, has_packed
from onewafer.simulator.fast.kernels.compute_element.rings import length_place
from onewafer.simulator.fast.kernels.fabric.fifo import to_signed
from onewafer.simulator.fast.kernels.fabric.queues import color_now, home_of_dsd
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import Arrays, int64

ENDLESS = 0x7FFF
"""Extent of a fabric DSD that never ends."""
_MAIN_RANK = 1

_REGISTER, _POINTER = int(OperandMode.REGISTER), int(OperandMode.POINTER)
_DSR_DEST = int(OperandMode.DSR_DEST)
_FABIN, _FABOUT = int(DsdKind.FABIN), int(DsdKind.FABOUT)
_MEM4D, _FIFO = int(DsdKind.MEM4D), int(DsdKind.FIFO)

_WIDTHS: dict[str | None, int] = {None: 0, "u16": 2, "f16": 2, "u32": 4, "f32": 4}
_DEST_BYTES = tuple(_WIDTHS[DSD_OPERATIONS[operation].dest] for operation in DsdOperation)
_SRC0_BYTES = tuple(_WIDTHS[DSD_OPERATIONS[operation].src0] for operation in DsdOperation)
_SRC1_BYTES = tuple(_WIDTHS[DSD_OPERATIONS[operation].src1] for operation in DsdOperation)


# --- operands ------------------------------------------------------------------------------------


@kernel
def set_operand(s: Arrays, pe: int, encoded: int, num_bytes: int, op: int, at: int) -> int:
    """Copy an operand into columns `at` … of an operation; return its extent, or NONE (M37)."""
    mode = encoded >> 16
    index = encoded & 0xFFFF
    s.arena[op + at + f.OPERAND_STEP] = 1
    s.arena[op + at + f.OPERAND_BYTES] = num_bytes
    s.arena[op + at + f.OPERAND_KIND] = f.SCALAR
    s.arena[op + at + f.OPERAND_BASE] = 0
    if mode == _REGISTER or mode == _POINTER:
        s.arena[op + at + f.OPERAND_BASE] = to_signed(int64(s.registers[pe, index]))
        if mode == _POINTER:
            s.arena[op + at + f.OPERAND_KIND] = f.POINTER
        return f.NONE
    if mode == 0:
        return f.NONE
    low = int64(s.dsrs[pe, mode - _DSR_DEST, index, 0])
    high = int64(s.dsrs[pe, mode - _DSR_DEST, index, 1])
    return set_vector(s, pe, low, high, num_bytes, op, at)


@kernel
def set_vector(s: Arrays, pe: int, low: int, high: int, num_bytes: int, op: int, at: int) -> int:
    """Set an operand from the two words of a DSD value; return its extent, or NONE."""
    program = s.pes[pe, f.PE_PROGRAM]
    number = high >> 16 & DSD_NUMBER_MASK
    if number >= s.programs[program, f.PROGRAM_NUM_DSDS]:
        if not s.clock[f.FAULT]:
            s.clock[f.FAULT] = f.EMPTY_DSR_FAULT
        return 0
    dsd = s.programs[program, f.PROGRAM_DSDS] + number
    kind = s.dsds[dsd, f.DSD_KIND]
    color = s.dsds[dsd, f.DSD_COLOR]
    extent = low >> 16
    s.arena[op + at + f.OPERAND_DSD] = dsd
    if kind == _FABIN or kind == _FABOUT:
        home = color
        if s.programs[program, f.PROGRAM_HAS_QUEUES]:
            color = color_now(s, pe, dsd, kind == _FABIN)
            home = home_of_dsd(s, pe, dsd, color) if kind == _FABIN else color
        if color < 0:
            if not s.clock[f.FAULT]:
                s.clock[f.FAULT] = f.QUEUE_FAULT
                s.clock[f.FAULT_DETAIL] = number
            return 0
        if kind == _FABIN:
            offset = s.programs[program, f.PROGRAM_COLORS + home]
            s.arena[op + at + f.OPERAND_KIND] = f.INPUT
            s.arena[op + at + f.OPERAND_STEP] = s.dsds[dsd, f.DSD_FLAGS]
            s.arena[op + at + f.OPERAND_BASE] = s.pes[pe, f.PE_CHANNELS] + offset
        else:
            offset = s.programs[program, f.PROGRAM_QUEUES + s.dsds[dsd, f.DSD_QUEUE]]
            s.arena[op + at + f.OPERAND_KIND] = f.OUTPUT
            s.arena[op + at + f.OPERAND_BASE] = s.pes[pe, f.PE_OUTPUTS] + offset
            mark = s.dsds[dsd, f.DSD_IS_CONTROL]
            s.arena[op + at + f.OPERAND_DSD] = color | f.CONTROL_TAG if mark else color
            flags = s.dsds[dsd, f.DSD_FLAGS] & ~IS_CONTROL
            index = (low & DATA_BITS) << 16 if flags & HAS_INDEX else 0
            s.arena[op + at + f.OPERAND_STEP] = to_signed(flags | index)
        return extent
    if kind == _FIFO:
        s.arena[op + at + f.OPERAND_KIND] = f.RING
        fifo = s.dsds[dsd, f.DSD_NUM_LOOPS]
        s.arena[op + at + f.OPERAND_BASE] = s.pes[pe, f.PE_RINGS] + fifo
        length = int64(s.fifo_lengths[pe, length_place(fifo, at == f.OP_DEST)])
        return length if length else f.NONE
    s.arena[op + at + f.OPERAND_BASE] = low & 0xFFFF
    if kind == _MEM4D:
        s.arena[op + at + f.OPERAND_KIND] = f.BLOCK
        s.arena[op + at + f.OPERAND_STEP] = high & 0xFFFF
    else:
        stride = ((high & 0xFFFF) ^ 0x8000) - 0x8000
        s.arena[op + at + f.OPERAND_KIND] = f.VECTOR
        s.arena[op + at + f.OPERAND_STEP] = stride * num_bytes
    return extent


@kernel
def take_operands(s: Arrays, pe: int, code: int, kind: int, op: int) -> int:
    """Set the operands of an operation; return its length (M35, M37).

    An operation without elements has no operands: it neither waits for others nor blocks them.
    """
    dest = set_operand(s, pe, s.code[code, f.CODE_RD], _DEST_BYTES[kind], op, f.OP_DEST)
    src0 = set_operand(s, pe, s.code[code, f.CODE_RA], _SRC0_BYTES[kind], op, f.OP_SRC0)
    src1 = set_operand(s, pe, s.code[code, f.CODE_RB], _SRC1_BYTES[kind], op, f.OP_SRC1)
    length = src0 if src0 >= 0 else src1 if src1 >= 0 else dest if dest >= 0 else 1
    if length == 0:
        for at in (f.OP_DEST, f.OP_SRC0, f.OP_SRC1):
            s.arena[op + at + f.OPERAND_KIND] = f.SCALAR
            s.arena[op + at + f.OPERAND_BASE] = 0
    return length


@kernel
def stride_of(s: Arrays, op: int, at: int) -> int:
    """Return the stride of an operand in elements; 1 for operands without a stride."""
    kind = s.arena[op + at + f.OPERAND_KIND]
    if (kind != f.VECTOR and kind != f.BLOCK) or s.arena[op + at + f.OPERAND_BYTES] == 0:
        return 1
    return abs(step_of(s, op, at)) // s.arena[op + at + f.OPERAND_BYTES]


@kernel
def step_of(s: Arrays, op: int, at: int) -> int:
    """Return the step between elements in bytes, for a MEM4D that of the innermost loop."""
    if s.arena[op + at + f.OPERAND_KIND] == f.BLOCK:
        dsd = s.arena[op + at + f.OPERAND_DSD]
        return s.dsds[dsd, f.DSD_STRIDE] * s.arena[op + at + f.OPERAND_BYTES]
    return int64(s.arena[op + at + f.OPERAND_STEP])


# --- issue ---------------------------------------------------------------------------------------


@kernel
def setup_cycles(s: Arrays, is_fabric: bool, has_scalar: bool) -> int:
    """Return the cycles from the issue of an operation to its first element (M30)."""
    scalar = s.timing[f.T_SCALAR_SETUP] if has_scalar else 0
    return scalar + (s.timing[f.T_FABRIC_SETUP] if is_fabric else s.timing[f.T_MEMORY_SETUP])


@shared
def prepare(s: Arrays, pe: int, code: int, config: int, op: int, cycle: int) -> None:
    """Fill an operation from the instruction in row `code` that issues in `cycle` (M30–M37)."""
    kind: int = s.code[code, f.CODE_TYPE]
    checked = s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_CHECKED]
    s.arena[op + f.OP_KIND] = kind | checked * (RAISING_BITS >> kind & 1)
    s.arena[op + f.OP_CONFIG] = config
    s.arena[op + f.OP_RANK] = _MAIN_RANK if config < 0 else s.configs[config, f.CONFIG_RANK]
    s.arena[op + f.OP_PC] = s.pes[pe, f.PE_PC] - 1
    length = take_operands(s, pe, code, kind, op)
    is_fabric = (
        s.arena[op + f.OP_SRC0 + f.OPERAND_KIND] == f.INPUT
        or s.arena[op + f.OP_SRC1 + f.OPERAND_KIND] == f.INPUT
        or s.arena[op + f.OP_DEST + f.OPERAND_KIND] == f.OUTPUT
    )
    has_ring = (
        s.arena[op + f.OP_SRC0 + f.OPERAND_KIND] == f.RING
        or s.arena[op + f.OP_SRC1 + f.OPERAND_KIND] == f.RING
        or s.arena[op + f.OP_DEST + f.OPERAND_KIND] == f.RING
    )
    is_watched = has_ring or takes_control(s, op) or marks_wavelets(s, op) or minds_control(s, op)
    packed = 0
    if is_fabric and has_packed(s, op):
        is_watched, packed = True, f.PACKED
        if not fits_packed(s, op) and not s.clock[f.FAULT]:
            s.clock[f.FAULT] = f.PACKING_FAULT
    is_reduction = s.arena[op + f.OP_DEST + f.OPERAND_KIND] == f.POINTER and length > 1
    s.arena[op + f.OP_LENGTH] = length
    steps = f.STEPWISE if is_fabric or has_ring else 0
    s.arena[op + f.OP_STEPS] = steps | packed | f.WATCHED if is_watched else steps
    s.arena[op + f.OP_IS_ENDLESS] = 1 if is_fabric and length == ENDLESS else 0
    s.arena[op + f.OP_ACCUMULATOR] = 0
    if is_reduction and _SRC0_BYTES[kind]:
        if s.arena[op + f.OP_SRC0 + f.OPERAND_KIND] == f.SCALAR:
            s.arena[op + f.OP_ACCUMULATOR] = f.OP_SRC0
        elif s.arena[op + f.OP_SRC1 + f.OPERAND_KIND] == f.SCALAR:
            s.arena[op + f.OP_ACCUMULATOR] = f.OP_SRC1
    s.arena[op + f.OP_NEXT] = 0
    s.arena[op + f.OP_HAS_STARTED] = 0
    s.arena[op + f.OP_LAST_SERVED] = f.NOT_YET
    s.arena[op + f.OP_FINISH] = f.FAR
    s.arena[op + f.OP_REASON] = f.NONE
    row = s.arena[op + f.OP_ROW]
    s.operations[row, f.OPS_WAITING_SINCE] = cycle
    scalar = s.code[code, f.CODE_RC]
    has_scalar = scalar >> 16 == _REGISTER
    word = int64(s.registers[pe, scalar & 0xFFFF]) if has_scalar else FIRST_CARRY
    s.arena[op + f.OP_SCALAR] = to_signed(word)
    is_prepared = s.code[code, f.CODE_AUX] == IN_MAP and steps == 0
    set_result(s, pe, s.arena[op + f.OP_PC], 1)
    setup = 0 if is_prepared else setup_cycles(s, is_fabric, has_scalar)
    dispatch = s.timing[f.T_DISPATCH] if config >= 0 else 0
    s.operations[row, f.OPS_START] = cycle + dispatch + setup
    s.operations[row, f.OPS_RESUME] = 0 if is_prepared else s.timing[f.T_RESUME]
    set_duration(s, op, is_reduction)
    hold_back(s, pe, op)
    if config < 0:
        note_result(s, pe, op)
    if not s.clock[f.FAULT]:
        save_addresses(s, pe, code, kind, length)


@kernel
def hold_back(s: Arrays, pe: int, op: int) -> None:
    """Delay an operation until it can read the result of the last one (M152)."""
    readable = s.pes[pe, f.PE_RESULT_END] + s.pes[pe, f.PE_RESULT_WAIT]
    row = s.arena[op + f.OP_ROW]
    if readable > s.operations[row, f.OPS_START] and (
        reads_result(s, pe, op, f.OP_SRC0) or reads_result(s, pe, op, f.OP_SRC1)
    ):
        s.operations[row, f.OPS_START] = readable


@kernel
def reads_result(s: Arrays, pe: int, op: int, at: int) -> bool:
    """Tell whether a source overlaps the result of the last operation."""
    if not is_in_memory(s, op, at):
        return False
    first, last = bytes_of(s, op, at)
    return first <= s.pes[pe, f.PE_RESULT_LAST] and s.pes[pe, f.PE_RESULT_FIRST] <= last


@kernel
def note_result(s: Arrays, pe: int, op: int) -> None:
    """Note the result's address range of a synchronous operation short enough to matter."""
    cycles = s.arena[op + f.OP_REMAINING]
    if s.arena[op + f.OP_STEPS]:
        cycles = s.arena[op + f.OP_LENGTH] * s.arena[op + f.OP_ELEMENT_CYCLES]
    wait = s.timing[f.T_RESULT] - cycles
    if wait <= 0 or not is_in_memory(s, op, f.OP_DEST):
        s.pes[pe, f.PE_RESULT_WAIT] = 0
        return
    first, last = bytes_of(s, op, f.OP_DEST)
    s.pes[pe, f.PE_RESULT_WAIT] = wait
    s.pes[pe, f.PE_RESULT_FIRST] = first
    s.pes[pe, f.PE_RESULT_LAST] = last


@kernel
def is_in_memory(s: Arrays, op: int, at: int) -> bool:
    """Tell whether an operand lies in memory."""
    kind = s.arena[op + at + f.OPERAND_KIND]
    return kind == f.VECTOR or kind == f.BLOCK or kind == f.POINTER


@kernel
def bytes_of(s: Arrays, op: int, at: int) -> tuple[int, int]:
    """Return the first and last byte of an operand in memory; of one element, for a block."""
    base = int64(s.arena[op + at + f.OPERAND_BASE])
    other = base
    if s.arena[op + at + f.OPERAND_KIND] == f.VECTOR:
        other += int64(s.arena[op + at + f.OPERAND_STEP]) * (s.arena[op + f.OP_LENGTH] - 1)
    return min(base, other), max(base, other) + s.arena[op + at + f.OPERAND_BYTES] - 1


@kernel
def set_result(s: Arrays, pe: int, pc: int, word: int) -> None:
    """Set the register that gets the result of the operation at `pc`, if there is one (M116)."""
    row = s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_CODE] + pc
    register = s.code[row, f.CODE_AUX] >> RESULT_SHIFT
    if register:
        s.registers[pe, register] = word


@kernel
def takes_control(s: Arrays, op: int) -> bool:
    """Tell whether a source takes control wavelets as elements (M48, M99)."""
    for at in (f.OP_SRC0, f.OP_SRC1):
        flags = s.arena[op + at + f.OPERAND_STEP]
        if s.arena[op + at + f.OPERAND_KIND] == f.INPUT and flags & TAKES_CONTROL:
            return True
    return False


@kernel
def ends_on_control(s: Arrays, op: int) -> bool:
    """Tell whether a control wavelet ends an operation (M98)."""
    config = s.arena[op + f.OP_CONFIG]
    return config != f.NONE and s.configs[config, f.CONFIG_ENDS] != 0


@kernel
def minds_control(s: Arrays, op: int) -> bool:
    """Tell whether a control wavelet may affect an operation other than as an element."""
    if not ends_on_control(s, op):
        return False
    return has_tagged_input(s, op, f.OP_SRC0) or has_tagged_input(s, op, f.OP_SRC1)


@kernel
def marks_wavelets(s: Arrays, op: int) -> bool:
    """Tell whether an operation may send marked wavelets (M48, M49)."""
    flags = s.arena[op + f.OP_DEST + f.OPERAND_STEP]
    is_output = s.arena[op + f.OP_DEST + f.OPERAND_KIND] == f.OUTPUT
    return is_output and flags & (UNMARKS | ADVANCES) != 0


@kernel
def has_tagged_input(s: Arrays, op: int, at: int) -> bool:
    """Tell whether the channel of an operand may have control wavelets."""
    if s.arena[op + at + f.OPERAND_KIND] != f.INPUT:
        return False
    return s.arena[s.arena[op + at + f.OPERAND_BASE] + f.FIFO_SHAPE] & f.HAS_TAGS != 0


@kernel
def save_addresses(s: Arrays, pe: int, code: int, kind: int, length: int) -> None:
    """Advance each register of an operation that saves its address, once (M123)."""
    rd, ra, rb = s.code[code, f.CODE_RD], s.code[code, f.CODE_RA], s.code[code, f.CODE_RB]
    save_address(s, pe, rd, length, _DEST_BYTES[kind])
    if ra != rd:
        save_address(s, pe, ra, length, _SRC0_BYTES[kind])
    if rb != rd and rb != ra:
        save_address(s, pe, rb, length, _SRC1_BYTES[kind])


@kernel
def save_address(s: Arrays, pe: int, encoded: int, length: int, num_bytes: int) -> None:
    """Advance a DSR that saves its address past an operation's elements (M123, M124)."""
    mode = encoded >> 16
    if mode == 0 or mode == _REGISTER or mode == _POINTER:
        return
    index = encoded & 0xFFFF
    low = int64(s.dsrs[pe, mode - _DSR_DEST, index, 0])
    high = int64(s.dsrs[pe, mode - _DSR_DEST, index, 1])
    if not high & SAVES_ADDRESS:
        return
    dsd = s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_DSDS] + (high >> 16 & DSD_NUMBER_MASK)
    stride = ((high & 0xFFFF) ^ 0x8000) - 0x8000
    if s.dsds[dsd, f.DSD_KIND] == _MEM4D:
        last = s.dsds[dsd, f.DSD_NUM_LOOPS] - 1
        inside = int64(1)
        for loop in range(last):
            inside *= s.dsds[dsd, f.DSD_EXTENTS + loop]
        if inside == 0:
            return
        start = (high & 0xFFFF) + length
        stride = int64(s.dsds[dsd, f.DSD_STRIDES + last])
        length = start // inside
        high = high & ~0xFFFF | start % inside
        s.dsrs[pe, mode - _DSR_DEST, index, 1] = high
    base = (low + stride * length * num_bytes) & 0xFFFF
    s.dsrs[pe, mode - _DSR_DEST, index, 0] = low & 0xFFFF_0000 | base


@kernel
def reads_two_vectors(s: Arrays, op: int) -> bool:
    """Tell whether both sources are vectors or blocks in memory."""
    kind0 = s.arena[op + f.OP_SRC0 + f.OPERAND_KIND]
    kind1 = s.arena[op + f.OP_SRC1 + f.OPERAND_KIND]
    return (kind0 == f.VECTOR or kind0 == f.BLOCK) and (kind1 == f.VECTOR or kind1 == f.BLOCK)


@kernel
def num_wraps(s: Arrays, op: int, at: int) -> int:
    """Return the number of restarts of a memory source's innermost loop (M151)."""
    if s.arena[op + at + f.OPERAND_KIND] != f.BLOCK:
        return 0
    dsd = s.arena[op + at + f.OPERAND_DSD]
    row = s.dsds[dsd, f.DSD_EXTENTS]
    length = s.arena[op + f.OP_LENGTH]
    if s.dsds[dsd, f.DSD_NUM_LOOPS] == 1 or row == 0 or length == 0:
        return 0
    return (s.arena[op + at + f.OPERAND_STEP] % row + length - 1) // row


@kernel
def sources_conflict(s: Arrays, op: int) -> bool:
    """Tell whether two memory sources have equal strides and start in equal banks (M13)."""
    if step_of(s, op, f.OP_SRC0) != step_of(s, op, f.OP_SRC1):
        return False
    differing = s.arena[op + f.OP_SRC0 + f.OPERAND_BASE] ^ s.arena[op + f.OP_SRC1 + f.OPERAND_BASE]
    return (differing >> 2) & 3 == 0


@kernel
def set_duration(s: Arrays, op: int, is_reduction: bool) -> None:
    """Set the data path cycles of the operation and of one element (M13, M32, M33, M151)."""
    kind = kind_of(s, op)
    elements = s.timing[f.T_RATES + 2 * kind]
    cycles = s.timing[f.T_RATES + 2 * kind + 1]
    if is_reduction and s.timing[f.T_REDUCTION] * cycles < elements * s.timing[f.T_REDUCTION + 1]:
        elements = s.timing[f.T_REDUCTION]
        cycles = s.timing[f.T_REDUCTION + 1]
    stride = max(
        stride_of(s, op, f.OP_DEST), stride_of(s, op, f.OP_SRC0), stride_of(s, op, f.OP_SRC1)
    )
    if stride > 1 and elements > cycles:
        cycles *= stride
        if elements < cycles:
            elements = cycles
    wraps = int64(0)
    if reads_two_vectors(s, op):
        wraps = max(num_wraps(s, op, f.OP_SRC0), num_wraps(s, op, f.OP_SRC1))
        if sources_conflict(s, op):
            elements *= s.timing[f.T_CONFLICT + 1]
            cycles *= s.timing[f.T_CONFLICT]
    count = NUM_PACKED if s.arena[op + f.OP_STEPS] & f.PACKED else 1
    s.arena[op + f.OP_ELEMENT_CYCLES] = max(1, (count * cycles + elements - 1) // elements)
    path_cycles = (s.arena[op + f.OP_LENGTH] * cycles + elements - 1) // elements
    path_cycles += wraps * s.timing[f.T_WRAP]
    s.arena[op + f.OP_REMAINING] = max(1, path_cycles)  # also of an operation of no elements (M35)
