"""The layout of the fast engine's records.

What the loop touches for every wavelet lies in one array of 32-bit words, the *arena*: a block for
each PE, in it a header, the DSD operations, the FIFOs and the routes. A thing is
known by its offset in the arena; 0 means none. All the rest is in int64 matrices, one row a
thing: `pes`, `fifos`, `operations` and the tables of the programs; there −1 means none.

Cycles in all records are relative to `clock[BASE]`, which moves on in long runs (see `epoch`), so
that they fit into 32 bits.
"""

from __future__ import annotations

from onewafer.image import NUM_COLORS

NEVER = 1 << 62
"""A cycle that does not come."""
FAR = (1 << 31) - 1
"""In the arena: a cycle that does not come, or that only the heap of far wakes knows."""
LONG_AGO = -(1 << 30)
"""In the arena: a cycle so long ago that nothing depends on which."""
NOT_YET = LONG_AGO - 1
"""In the arena, as the cycle of the last time: never so far."""
NONE = -1

LINE_WORDS = 16
"""Words of a cache line."""

# --- clock: what belongs to the whole machine; each share of the PEs has its own, see `sharing` ---

MAX_PHASES = 3
"""Phases of a window, in each of which shares cannot meet."""
(
    BASE,  # what has to be added to the cycles in records
    REBASE_AT,  # when the base moves on
    NOW,  # the last window that was looked at began then
    LAST_END,  # when the last thing noted so far is over (M80)
    IS_RECORDING,
    IS_STRICT,  # an operation that is issued on a busy microthread is a fault (M38)
    NUM_EVENTS,
    BUDGET,  # units and instructions to look at before `run_cycles` returns
    SHARE,  # number of the share
    NUM_SHARES,
    NUM_PHASES,
    WRITTEN_SLOTS,  # bit set: slots of the wheel in whose lists the share has put PEs
    MANY_PES,  # windows with so many PEs are worth several threads
    HELP_AFTER,  # so many PEs in such windows are worth calling the threads
    HEAP_STARTS,  # three columns, by phase: the place in `heap` before the first one
    HEAP_SIZES,
    HEAP_FIRSTS,  # the earliest cycle that a heap knows, or NEVER
    FAULT,  # of the unit that is looked at
    FAULT_PE,
    FAULT_PC,
    FAULT_CYCLE,
    FAULT_DETAIL,
    FAULT_OTHER,
    FAILURE,  # the earliest fault so far, in six columns like those before
) = (*range(14), 14, 17, 20, *range(23, 30))
NUM_FAULT_FIELDS = FAILURE - FAULT
FAILURE_PE = FAILURE + FAULT_PE - FAULT
FAILURE_CYCLE = FAILURE + FAULT_CYCLE - FAULT
NUM_CLOCK_FIELDS = FAILURE + NUM_FAULT_FIELDS
"""Behind them are counts of operations that were issued on a busy microthread: `CODE_BUSY`."""
BUSY_TIMES, BUSY_FIRST, NUM_BUSY_FIELDS = range(3)
"""How often, and `FAR` less the first PE on which it happened; 0: on none."""

(
    NO_FAULT,
    MEMORY_FAULT,  # detail: address; other: bytes
    TRAP_FAULT,  # detail: message number
    CALL_FAULT,
    EMPTY_DSR_FAULT,
    QUEUE_FAULT,  # detail: descriptor number
    READER_FAULT,  # detail: operation that reads; other: row of the FIFO
    WRITER_FAULT,  # detail: operation that writes; other: row of the FIFO
    CONTROL_FAULT,  # detail: entry; other: color
    WIDTH_FAULT,  # detail: bytes of the elements in the ring; other: of the operation
    TAKER_FAULT,  # detail: operation that takes; other: number of the ring
    FILLER_FAULT,  # detail: operation that puts in; other: number of the ring
    BUSY_FAULT,  # detail: operation that still runs on the microthread
    BIND_FAULT,  # detail: register of the queue; other: obstacle << 8 | color
    LACK_FAULT,  # detail: number of the ring; other: it is empty
    EXCEPTION_FAULT,  # detail: exceptions that are not masked
    PACKING_FAULT,
) = range(17)

# --- arena: the header of a PE's block -----------------------------------------------------------

(
    BLOCK_PE,  # row of the PE in the matrices
    BLOCK_ELEMENT_WAKE,  # when the compute element is looked at
    BLOCK_ROUTER_WAKE,  # when the router is looked at
    BLOCK_ATTENTION,  # when main thread, picker, or the end of an operation are looked at
    BLOCK_SLOTS,  # bit set: slots of the wheel in which the PE stands; first list << LIST_SHIFT
    BLOCK_LIVE,  # bit set: live operations
    BLOCK_ARMED,  # bit set: live operations that the data path may serve
    BLOCK_LONE,  # operation that goes ahead of the clock
    BLOCK_PATH_FREE,
    BLOCK_ACTIVE,  # bit set: groups of sources with a wavelet
    BLOCK_IS_CONTENDED,  # bit 0: two sources of the router may need one port; the flags below
    BLOCK_OPERATIONS,  # first operation; the main thread's is the last
    BLOCK_ELEMENTS,
    BLOCK_PATH_CYCLES,
    BLOCK_NUM_SOURCES,
    BLOCK_SOURCES,  # the sources of the router, and a place for the host's queue
) = range(16)
HAS_REGISTERS, HAS_QUEUES, IS_ASKED = 2, 4, 8
"""Bits of `BLOCK_IS_CONTENDED`: the program may write registers of the router; registers of the
queues; and it has asked a queue to tell when it is empty."""
LIST_SHIFT = 16
SOURCE_GROUPS = 31
"""Sources i, i + 31, … share a bit of `BLOCK_ACTIVE`; few PEs have that many."""

# --- arena: FIFOs --------------------------------------------------------------------------------

(
    FIFO_HEAD,  # number of the oldest wavelet
    FIFO_TAIL,  # number of the next wavelet
    FIFO_OWNER,  # block of the PE that takes wavelets out
    FIFO_SHAPE,  # capacity << 16 | log2 of the places of the ring << 8 | group; the flags below
    FIFO_STATE,  # what its oldest wavelet waits for, and who waits for a place
    FIFO_ROUTE,  # of a source; NO_ROUTE, or ANY_COLOR: each wavelet has its own
    FIFO_LAST_MOVE,  # of a source
    FIFO_ROW,  # in the matrix
    FIFO_RING,  # pairs: from when a wavelet can be taken (after that: when it was), and its word
) = range(9)
FIFO_READER = FIFO_ROUTE
"""A field of channels: the live operation that reads it."""
FIFO_STARTS_TASK = FIFO_LAST_MOVE
"""A field of channels: it has a data task."""
NO_ROUTE, ANY_COLOR = 0, -1
"""The tags of a source with any color follow its ring, one word each: color, and `CONTROL_TAG`."""
COLOR_MASK, CONTROL_TAG, ADVANCE_TAG = 0xFF, 0x100, 0x200
"""Parts of a tag. Buffers and channels of switched colors have tags too, without the color; there
the tag of a slot is 0 unless a marked wavelet is in it, so that data can move without a look at
tags."""
MARK_TAGS = CONTROL_TAG | ADVANCE_TAG
"""The marks in a tag: a wavelet with one of them may advance a switch."""
HOLDS_MARKED, HAS_TAGS = 1 << 13, 1 << 14
"""Bits of the shape: one of its wavelets is marked; its wavelets have tags."""
REASON_MASK, IS_AWAITED = 15, 16
"""State: stall reason + 1; a sender waits for a free slot."""

# --- arena: routes of one color at one PE --------------------------------------------------------

(
    ROUTE_PORTS,  # that a wavelet needs; `RAMP_INPUT` if it comes from the compute element
    ROUTE_NUM_TARGETS,
    ROUTE_TARGETS,  # FIFOs: buffers behind links in the order of directions, then the channel
) = range(3)
ROUTE_DIRECTIONS = ROUTE_TARGETS + 5
"""The targets, three bits each."""
ROUTE_SWITCH = ROUTE_TARGETS + 4
"""The row of the switch, if the route is switched."""
NUM_ROUTE_WORDS = 8
RAMP_INPUT = 1 << 5
"""Bit of the ramp's way in, beside the bits of the five output ports."""
ALL_PORTS = (RAMP_INPUT << 1) - 1
IS_SWITCHED = 1 << 6
"""A bit of the ports: the route is that of a switch."""
IS_SETTLED = 1 << 7
"""A bit of the ports: until the switch advances, data goes as by a route without one
(`switch_routes`)."""
RECEIVE_SHIFT = 8
"""Position, in the ports of a settled route, of the directions from which wavelets may come."""

# --- arena: operations, one for each thread that a program uses ----------------------------------

(
    OP_KIND,  # and `CHECKED`
    OP_STEPS,  # it executes element by element (bit 0), and has a ring or marked input (bit 1)
    OP_NEXT,
    OP_LENGTH,
    OP_IS_ENDLESS,
    OP_ELEMENT_CYCLES,
    OP_LAST_SERVED,
    OP_REASON,
    OP_DEST,
    OP_SRC0,
    OP_SRC1,
    OP_SCALAR,
    OP_ACCUMULATOR,  # offset of the operand that takes the running result
    OP_RANK,
    OP_HAS_STARTED,
    OP_FINISH,
    OP_REMAINING,
    OP_CONFIG,  # row of the configs; −1: synchronous
    OP_PC,
    OP_ROW,  # in the matrix
) = (*range(8), 8, 13, 18, *range(23, 32))
NUM_OP_WORDS = 32
MAIN_THREAD = 8

(
    OPERAND_KIND,
    OPERAND_BASE,  # value, address, or FIFO
    OPERAND_STEP,  # bytes; BLOCK: elements skipped (M124); fabric: flags, see `arithmetic.outputs`
    OPERAND_BYTES,
    OPERAND_DSD,  # row of the descriptors (color of fabric output)
) = range(5)

SCALAR, POINTER, VECTOR, BLOCK, INPUT, OUTPUT, RING = range(7)
"""Kinds of operands."""
STEPWISE, WATCHED, PACKED = 1, 2, 4
"""Bits of `OP_STEPS`."""

# --- arena: words on their way to SRAM, before the operations of a PE, see `staging` --------------

STAGE_FIRST = 0
"""Number of the first element that waits to be written, + 1; 0: none does. Its word follows, and
those of the elements behind it."""
NUM_STAGE_WORDS = LINE_WORDS

# --- PEs -----------------------------------------------------------------------------------------

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
    PE_NUM_OPERATIONS,
    PE_CHANNELS,  # its first channel in the arena
    PE_OUTPUTS,  # its first output queue in the arena
    PE_BULK,  # operation that has the data path to itself
    PE_BULK_SINCE,
    PE_X,
    PE_Y,
    PE_MAIN_CYCLES,
    PE_INSTRUCTIONS,
    PE_TASK_STARTS,
    PE_ELEMENTS,  # what is not counted in the block any more
    PE_PATH_CYCLES,
    PE_RINGS,  # its first row in `rings`
    PE_STALLS,  # nine columns, by StallReason
    PE_WRITE_CYCLE,  # in which a register of the router was written that has it not yet, or NEVER
    PE_WRITE_REGISTER,
    PE_WRITE_WORD,
) = (*range(26), 34, 35, 36)
NUM_PE_FIELDS = 40

IDLE, RUNNING, WAITING, STALLED = range(4)
"""States of a main thread."""

# --- links: four rows a PE, by direction; used if a link is slower than one wavelet a cycle ------

LINK_FREE, LINK_WAVELETS, LINK_DEPARTURES = range(3)
"""The last `link_window_words` departures follow."""

# --- FIFOs: output queues and link buffers of each PE (sources), channels, and host queues -------

(
    FIFOS_OFFSET,
    FIFOS_PE,
    FIFOS_COLOR,
    FIFOS_NUMBER,  # of the queue
    FIFOS_PORT,
    FIFOS_SENDER,  # link buffer: PE of the router before it
    FIFOS_WRITER,  # output queue: live operation that writes to it
    FIFOS_WAITING_SINCE,
    FIFOS_PUSHED,  # wavelets that the tail does not count any more
    NUM_FIFO_FIELDS,
) = range(10)
HOST_QUEUE = 1 << 16
"""Number of the queue that `inject` fills, see `snapshot.HOST_QUEUE`."""

# --- operations ----------------------------------------------------------------------------------

(
    OPS_OFFSET,
    OPS_THREAD,
    OPS_START,
    OPS_WAITING_SINCE,
    OPS_RESUME,  # cycles from the end to the main thread's next instruction
    NUM_OPERATION_FIELDS,
) = range(6)

# --- switches: of one color at one PE, where a color is switched anywhere -------------------------

(
    SWITCH_POSITION,
    SWITCH_COUNTER,  # of a counter filter
    SWITCH_PASSING,  # of a counter filter: how many counts pass
    SWITCH_IS_TORN,
    SWITCH_OLD_POSITION,  # four columns: as of the start of the cycle of the last change
    SWITCH_CHANGED,  # the cycle of the last change
    SWITCH_NUM_POSITIONS,
    SWITCH_IS_RING,
    SWITCH_POPS,  # bit set: opcodes after which the list of commands moves up
    SWITCH_FILTER,
    SWITCH_MINIMUM,
    SWITCH_MAXIMUM,
    SWITCH_LIMIT,
    SWITCH_THEN,  # what comes after the limit, as `arithmetic.filters` has it
    SWITCH_COUNTS_DATA,
    SWITCH_COUNTS_CONTROL,
    SWITCH_FILTERS_CONTROL,
    SWITCH_CHANNEL,  # 0: no queue of the PE takes the color
    SWITCH_BUFFERS,  # behind the four links; 0: the link leaves the rectangle
    SWITCH_SETS,  # receive (NONE: not valid) and transmit of each position
    SWITCH_PE,
    SWITCH_COLOR,
    SWITCH_WAYS,  # four columns, by position: as `arithmetic.registers` has them
    SWITCH_SWAPS,  # bit set: links behind which the color is another
    SWITCH_POP_MODE,
    SWITCH_LINK_ROUTE,  # of wavelets from links, and from the PE; `NO_ROUTE`: there is none
    SWITCH_RAMP_ROUTE,
    NUM_SWITCH_FIELDS,
) = (*range(5), *range(8, 22), 25, 33, 34, 35, *range(39, 44))
NO_FILTER, RANGE_FILTER, COUNTER_FILTER = range(3)

# --- rings: the FIFOs that programs allocate in their memory --------------------------------------

(
    RINGS_ADDRESS,
    RINGS_BYTES,
    RINGS_PUSH,  # task to activate, or NO_TASK
    RINGS_POP,
    RINGS_EMPTY_ACTION,
    RINGS_FULL_ACTION,
    RINGS_HEAD,
    RINGS_COUNT,
    RINGS_WIDTH,
    RINGS_FOUND_EMPTY,  # an operation found no element, and none was put in since
    RINGS_FOUND_FULL,
    RINGS_READER,  # live operation, 0: none
    RINGS_WRITER,
    NUM_RING_FIELDS,
) = range(14)

# --- programs and their tables -------------------------------------------------------------------

(
    PROGRAM_CODE,  # first row in the code
    PROGRAM_DSDS,
    PROGRAM_NUM_DSDS,
    PROGRAM_CONFIGS,
    PROGRAM_TASKS,  # 32 rows, by task id
    PROGRAM_LOCAL_TASKS,  # bit set of task ids
    PROGRAM_DATA_TASKS,  # bit set of task ids
    PROGRAM_CONTROL_TASKS,  # 64 rows of tasks, by entry; NONE: it has no control task
    PROGRAM_NUM_CHANNELS,
    PROGRAM_CHANNELS,  # first row in the channels of programs
    PROGRAM_IS_WOKEN,  # wavelets start tasks: data tasks, or that of teardown and queues
    PROGRAM_HAS_REGISTERS,  # its loads and stores may go to registers of the router
    PROGRAM_HAS_QUEUES,  # and to those of its queues
    PROGRAM_CHECKED,  # `CHECKED` if floating point exceptions may stop it, else 0
    PROGRAM_HALF,  # its 16-bit float, a `ScalarType`
    PROGRAM_QUEUES,  # (+ output queue) distance of its source from the PE's first
) = range(16)
MAX_QUEUES = 16
PROGRAM_INPUTS = PROGRAM_QUEUES + MAX_QUEUES
"""(+ input queue) the color it is bound to as the program is loaded."""
PROGRAM_COLORS = PROGRAM_INPUTS + MAX_QUEUES
"""(+ color) distance of its channel from the PE's first."""
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
    CODE_BUSY,  # DSD operation with a microthread: where in the clock its waits for it are counted
    NUM_CODE_FIELDS,
) = range(12)
CHECKED = 1 << 8
"""A bit of an opcode, and of the kind of a live operation: it may raise an exception that stops the
program (M147)."""
KIND_MASK = CHECKED - 1
"""Mask of an operation's kind."""

(
    DSD_KIND,
    DSD_COLOR,
    DSD_QUEUE,
    DSD_STRIDE,  # MEM4D: of the innermost loop
    DSD_NUM_LOOPS,  # FIFO: number of the ring
    DSD_IS_CONTROL,
    DSD_NAMED,  # the color that it names; NONE: that of its queue
    DSD_FLAGS,  # of fabric: as `arithmetic.outputs` has them, without an index
    DSD_EXTENTS,  # four, the innermost first
) = range(9)
DSD_STRIDES = DSD_EXTENTS + 4
NUM_DSD_FIELDS = DSD_STRIDES + 4

(
    CONFIG_SLOT,
    CONFIG_RANK,
    CONFIG_ACTIVATE,
    CONFIG_UNBLOCK,
    CONFIG_ENDS,  # a control wavelet ends the operation
    CONFIG_CONTROL_ACTIVATE,
    CONFIG_CONTROL_UNBLOCK,
    NUM_CONFIG_FIELDS,
) = range(8)

(
    TASK_KIND,
    TASK_ENTRY,
    TASK_CHANNEL,
    TASK_COLOR,
    TASK_NUM_ARGUMENTS,
    TASK_REGISTERS,
    TASK_TYPES,
    TASK_ROTATION,  # of a data task: number of its rotation; NONE: it has none
    TASK_LIMIT,
    TASK_ALTERNATE,  # entry of the control task that starts in its place
    NUM_TASK_FIELDS,
) = (*range(6), 7, 9, 10, 11, 12)
NO_TASK_KIND, LOCAL_TASK, DATA_TASK, CONTROL_TASK = range(4)
NUM_TASK_IDS = 32

WAY_CHANNEL, WAY_COLOR, WAY_NUMBER, WAY_CONTROL_OFFSET, NUM_WAY_FIELDS = range(5)
"""Channels of a program: distance from the PE's first, color, and the picker's number."""
LAUNCH_ID = 31
"""The picker's number for a launched function: after every task id (M62)."""

LAUNCH_ENTRY, LAUNCH_NUM_ARGUMENTS, LAUNCH_ARGUMENTS = range(3)
"""Pairs of register and word follow."""

# --- timing --------------------------------------------------------------------------------------

(
    T_HOP,
    T_CREDIT,
    T_RAMP,
    T_WINDOW_SHIFT,  # log2 of the cycles of a window, see `loop`
    T_HAS_LINK_WINDOW,
    T_WINDOW_WORDS,
    T_WINDOW_CYCLES,
    T_MEMORY_SETUP,
    T_FABRIC_SETUP,
    T_SCALAR_SETUP,
    T_RESUME,
    T_TASK_START,
    T_BRANCH_TAKEN,
    T_REDUCTION,  # elements, cycles
    T_CONFLICT,  # numerator, denominator
    T_RATES,
) = (*range(14), 15, 17)
"""Two columns, elements and cycles, for each `DsdOperation` follow."""

LIST_START, LIST_SHARE, LIST_PHASE, NUM_LIST_FIELDS = range(4)
"""Fields of a list of the wheel: its first slot, and the part whose PEs it holds."""

EVENT_FIELDS = 6
"""Cycle, y, x, kind, subject, value: as `trace.Event`."""
