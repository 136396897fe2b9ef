"""The layout of the fast engine's records: column numbers of its int64 matrices.

One row is one thing. Columns hold numbers, cycles, or row numbers in another matrix (−1: none).
"""

from __future__ import annotations

from onewafer.image import NUM_COLORS

NEVER = 1 << 62
"""A cycle that does not come."""

NONE = -1

# --- clock: one row of what belongs to the whole machine -----------------------------------------

(
    NOW,  # the last cycle that was looked at
    EPOCH_END,  # the wheel holds the units that are woken before this cycle
    LAST_END,  # when the last thing noted so far is over (M80)
    IS_RECORDING,
    NUM_EVENTS,
    NUM_MOVES,
    BUDGET,  # units and instructions to look at before `run_cycles` returns
    FAULT,  # of the unit that is looked at
    FAULT_PE,
    FAULT_PC,
    FAULT_CYCLE,
    FAULT_DETAIL,
    FAULT_OTHER,
    FAILURE,  # the earliest fault so far, in six columns like those before
) = range(14)
NUM_FAULT_FIELDS = FAILURE - FAULT
FAILURE_PE = FAILURE + FAULT_PE - FAULT
FAILURE_CYCLE = FAILURE + FAULT_CYCLE - FAULT
NUM_CLOCK_FIELDS = FAILURE + NUM_FAULT_FIELDS

(
    NO_FAULT,
    MEMORY_FAULT,  # detail: address; other: bytes
    TRAP_FAULT,  # detail: message number
    CALL_FAULT,
    EMPTY_DSR_FAULT,
    QUEUE_FAULT,  # detail: descriptor number
    READER_FAULT,  # detail: operation that reads; other: channel
    WRITER_FAULT,  # detail: operation that writes; other: source
) = range(8)

# --- PEs: compute element and router -------------------------------------------------------------

(
    PE_MAIN,  # state of the main thread, below
    PE_PC,
    PE_RETURN_DEPTH,
    PE_MAIN_FREE,  # when the picker may act again
    PE_MAIN_NEXT,  # when the next instruction issues
    PE_LIMIT,  # the main thread may run up to this cycle
    PE_LAST_PICKED,
    PE_STALLED_SINCE,
    PE_COUNTER_HELD,
    PE_COUNTER_START,  # NEVER: the counter is stopped
    PE_PROGRAM,  # row of the programs
    PE_PATCHES,  # first row of the PE's own immediates
    PE_OPERATIONS,  # first row of the PE's operations; the main thread's is the last
    PE_NUM_OPERATIONS,
    PE_CHANNELS,
    PE_SOURCES,
    PE_BULK,  # operation that has the data path to itself
    PE_BULK_SINCE,
    PE_NUM_LIVE,
    PE_PATH_FREE,
    PE_ACTIVE,  # first row of the router's list of sources with a wavelet
    PE_NUM_ACTIVE,
    PE_X,
    PE_Y,
    PE_MAIN_CYCLES,
    PE_PATH_CYCLES,
    PE_INSTRUCTIONS,
    PE_ELEMENTS,
    PE_TASK_STARTS,
    PE_TO_RAMP,
    PE_STALLS,  # seven columns, by StallReason
) = range(31)
NUM_PE_FIELDS = 40

IDLE, RUNNING, WAITING, STALLED = range(4)
"""States of a main thread."""

# --- links: four rows a PE, by direction ---------------------------------------------------------

LINK_FREE, LINK_WAVELETS, LINK_DEPARTURES = range(3)
"""The last `link_window_words` departures follow."""

# --- sources: what waits for a router ------------------------------------------------------------

(
    SOURCE_PE,
    SOURCE_PORT,
    SOURCE_NUMBER,  # of an output queue
    SOURCE_ROUTE,  # of a link buffer; ANY_COLOR: each wavelet has its own
    SOURCE_RING,  # first row of its ring
    SOURCE_CAPACITY,
    SOURCE_HEAD,
    SOURCE_COUNT,
    SOURCE_LAST_MOVE,
    SOURCE_REASON,
    SOURCE_COUNTED_TO,
    SOURCE_WAITING_SINCE,
    SOURCE_POSITION,  # in the router's list
    SOURCE_IS_AWAITED,  # the sender, or the compute element, waits for a place
    SOURCE_SENDER,  # link buffer: PE of the router before it
    SOURCE_USED,  # places that are taken as far as the sender knows
    SOURCE_RELEASE_HEAD,
    SOURCE_NUM_RELEASES,
    SOURCE_WRITER,  # output queue: live operation that writes to it
    NUM_SOURCE_FIELDS,
) = range(20)

ANY_COLOR = -2
HOST_QUEUE = 1 << 16
"""Number of the queue that `inject` fills: served after the queues of the PE (M54)."""

# --- rings: the wavelets of sources and channels, and the credits on their way back --------------

RING_READY, RING_WORD, RING_COLOR, RING_RELEASE, NUM_RING_FIELDS = range(5)

# --- channels: what waits for a compute element --------------------------------------------------

(
    CHANNEL_PE,
    CHANNEL_COLOR,
    CHANNEL_QUEUE,
    CHANNEL_RING,
    CHANNEL_CAPACITY,
    CHANNEL_HEAD,
    CHANNEL_COUNT,
    CHANNEL_READER,  # live operation that reads it
    CHANNEL_IS_AWAITED,  # the router waits for a place
    NUM_CHANNEL_FIELDS,
) = range(10)

# --- routes: of one color at one PE --------------------------------------------------------------

ROUTE_RECEIVE, ROUTE_TRANSMIT, ROUTE_IS_DEAD, ROUTE_CHANNEL, ROUTE_TARGETS = range(5)
"""The sources behind the four links follow (−1: not a target)."""
NUM_ROUTE_FIELDS = 8

# --- operations: one row for each thread that a program uses -------------------------------------

(
    OP_IS_LIVE,
    OP_THREAD,
    OP_KIND,
    OP_CONFIG,  # row of the configs; −1: synchronous
    OP_RANK,
    OP_PC,
    OP_START,
    OP_LENGTH,
    OP_NEXT,
    OP_REMAINING,
    OP_ELEMENT_CYCLES,
    OP_IS_FABRIC,
    OP_IS_ENDLESS,
    OP_HAS_STARTED,
    OP_LAST_SERVED,
    OP_FINISH,
    OP_REASON,
    OP_COUNTED_TO,
    OP_WAITING_SINCE,
    OP_SCALAR,
    OP_ACCUMULATOR,  # offset of the operand that takes the running result
    OP_DEST,
    OP_SRC0,
    OP_SRC1,
) = (*range(22), 27, 32)
NUM_OPERATION_FIELDS = 40
MAIN_THREAD = 8

(
    OPERAND_KIND,
    OPERAND_BASE,  # value, address, channel or source
    OPERAND_STEP,  # bytes
    OPERAND_BYTES,
    OPERAND_DSD,  # row of the descriptors (color of fabric output)
) = range(5)

SCALAR, POINTER, VECTOR, BLOCK, INPUT, OUTPUT = range(6)
"""Kinds of operands."""

# --- programs and their tables -------------------------------------------------------------------

(
    PROGRAM_CODE,  # first row in the code
    PROGRAM_DSDS,
    PROGRAM_NUM_DSDS,
    PROGRAM_CONFIGS,
    PROGRAM_TASKS,  # 32 rows, by task id
    PROGRAM_QUEUES,  # (+ output queue) offset of its source among the PE's
) = range(6)
MAX_QUEUES = 16
PROGRAM_INPUTS = PROGRAM_QUEUES + MAX_QUEUES
"""(+ input queue) the color it is bound to."""
PROGRAM_COLORS = PROGRAM_INPUTS + MAX_QUEUES
"""(+ color) offset of its channel among the PE's."""
NUM_PROGRAM_FIELDS = PROGRAM_COLORS + NUM_COLORS

(
    CODE_OPCODE,
    CODE_TYPE,
    CODE_RD,
    CODE_RA,
    CODE_RB,
    CODE_RC,
    CODE_IMM,
    CODE_AUX,
    CODE_PATCH,  # offset among the PE's own immediates
    CODE_CYCLES,
    NUM_CODE_FIELDS,
) = range(11)

(
    DSD_KIND,
    DSD_COLOR,
    DSD_QUEUE,
    DSD_STRIDE,  # MEM4D: of the innermost loop
    DSD_NUM_LOOPS,
    DSD_EXTENTS,  # four, the innermost first
) = range(6)
DSD_STRIDES = DSD_EXTENTS + 4
NUM_DSD_FIELDS = DSD_STRIDES + 4

CONFIG_SLOT, CONFIG_RANK, CONFIG_ACTIVATE, CONFIG_UNBLOCK, NUM_CONFIG_FIELDS = range(5)

(
    TASK_KIND,
    TASK_ENTRY,
    TASK_CHANNEL,
    TASK_COLOR,
    TASK_NUM_ARGUMENTS,
    TASK_REGISTERS,
    TASK_TYPES,
    NUM_TASK_FIELDS,
) = (*range(6), 7, 9)
NO_TASK_KIND, LOCAL_TASK, DATA_TASK = range(3)
NUM_TASK_IDS = 32
LAUNCH_ID = 31
"""The picker's number for a launched function: after every task id (M62)."""

LAUNCH_ENTRY, LAUNCH_NUM_ARGUMENTS, LAUNCH_ARGUMENTS = range(3)
"""Pairs of register and word follow."""

# --- timing --------------------------------------------------------------------------------------

(
    T_HOP,
    T_CREDIT,
    T_RAMP,
    T_WINDOW_WORDS,
    T_WINDOW_CYCLES,
    T_MEMORY_SETUP,
    T_FABRIC_SETUP,
    T_SCALAR_SETUP,
    T_RESUME,
    T_TASK_START,
    T_BRANCH_TAKEN,
    T_REDUCTION,  # elements, cycles
    T_RATES,
) = (*range(12), 13)
"""Two columns, elements and cycles, for each `DsdOperation` follow."""

EVENT_FIELDS = 6
"""Cycle, y, x, kind, subject, value: as `trace.Event`."""
