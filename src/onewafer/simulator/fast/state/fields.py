"""The layout of the fast engine's records.

State that the loop accesses for every wavelet lies in one array of 32-bit words, the *arena*: a
block for each PE, with a header, the DSD operations, the FIFOs and the routes. An object is
identified by its offset in the arena; 0 means none. Other state is in int64 matrices, one row an
object: `pes`, `fifos`, `operations` and the tables of the programs; there −1 means none.

Cycles in all records are relative to `clock[BASE]`, which advances in long runs (see `epoch`), so
that they fit into 32 bits.
"""

from __future__ import annotations

from onewafer.image import NUM_COLORS
from onewafer.simulator.fast.state.record import Holds, Record
from onewafer.simulator.state.statistics import StallReason

NEVER = 1 << 62
"""A cycle that is never reached."""
FAR = (1 << 31) - 1
"""In the arena: a cycle that is never reached, or whose value only the heap holds."""
LONG_AGO = -(1 << 30)
"""In the arena: a cycle so long ago that its exact value does not matter."""
NOT_YET = LONG_AGO - 1
"""In the arena, as a cycle of the last event: there was none yet."""
NONE = -1

LINE_WORDS = 16
"""Words of a cache line."""
NUM_PORTS = 5
"""Ways out of a router: four links and the ramp."""

# --- clock: what belongs to the whole machine; each share of the PEs has its own, see `sharing` ---

MAX_PHASES = 3
"""Phases of a window; in one phase, shares never access the same PE."""
_clock = Record()
BASE = _clock.field()  # what has to be added to the cycles in records
REBASE_AT = _clock.field()  # when the base moves on
NOW = _clock.field(holds=Holds.CYCLE)  # the last window that was looked at began then
LAST_END = _clock.field(holds=Holds.CYCLE)  # when the last thing noted so far is over (M80)
IS_RECORDING = _clock.field()
IS_STRICT = _clock.field()  # an operation that is issued on a busy microthread is a fault (M38)
NUM_EVENTS = _clock.field()
BUDGET = _clock.field()  # units and instructions to look at before `run_cycles` returns
SHARE = _clock.field()  # number of the share
NUM_SHARES = _clock.field()
NUM_PHASES = _clock.field()
WRITTEN_SLOTS = _clock.field()  # bit set: slots of the wheel in whose lists the share has put PEs
MANY_PES = _clock.field()  # windows with so many PEs are worth several threads
HELP_AFTER = _clock.field()  # so many PEs in such windows are worth calling the threads
HEAP_STARTS = _clock.field(MAX_PHASES)  # by phase: the place in `heap` before the first one
HEAP_SIZES = _clock.field(MAX_PHASES)
HEAP_FIRSTS = _clock.field(MAX_PHASES)  # the earliest cycle that a heap knows, or NEVER
FAULT = _clock.field()  # of the unit that is looked at
FAULT_PE = _clock.field()
FAULT_PC = _clock.field()
FAULT_CYCLE = _clock.field(holds=Holds.CYCLE)
FAULT_DETAIL = _clock.field()
FAULT_OTHER = _clock.field()
NUM_FAULT_FIELDS = _clock.size - FAULT
FAILURE = _clock.field(NUM_FAULT_FIELDS)  # the earliest fault so far, in columns like those before
FAILURE_PE = FAILURE + FAULT_PE - FAULT
FAILURE_CYCLE = FAILURE + FAULT_CYCLE - FAULT
CLOCK_CYCLES = (*_clock.cycles, FAILURE_CYCLE)
NUM_CLOCK_FIELDS = _clock.size
"""Counts of findings follow: `CODE_FINDINGS`."""
FINDING_TIMES, FINDING_FIRST, NUM_FINDING_FIELDS = range(3)
"""Number of times, and `FIRST_FINDING` minus cycle · PEs + PE where it happened first; 0: never."""
FIRST_FINDING = 1 << 62

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

_block = Record()
BLOCK_PE = _block.field()  # row of the PE in the matrices
BLOCK_ELEMENT_WAKE = _block.field(holds=Holds.CYCLE)  # when the compute element is looked at
BLOCK_ROUTER_WAKE = _block.field(holds=Holds.CYCLE)  # when the router is looked at
BLOCK_ATTENTION = _block.field(holds=Holds.CYCLE)
"""Next visit to the main thread, the picker, or the end of an operation."""
BLOCK_SLOTS = _block.field()
"""Bit set: slots of the wheel that hold the PE; its first list << `LIST_SHIFT`."""
BLOCK_LIVE = _block.field()  # bit set: live operations
BLOCK_ARMED = _block.field()  # bit set: live operations that the data path may serve
BLOCK_LONE = _block.field()  # operation that goes ahead of the clock
BLOCK_PATH_FREE = _block.field(holds=Holds.END, keeps="path_free_at")
BLOCK_ACTIVE = _block.field()  # bit set: groups of sources with a wavelet
BLOCK_IS_CONTENDED = _block.field()
"""Bit 0: two sources of the router may need one port; and the flags below."""
BLOCK_OPERATIONS = _block.field()  # first operation; the main thread's is the last
BLOCK_ELEMENTS = _block.field()
BLOCK_PATH_CYCLES = _block.field()
BLOCK_NUM_SOURCES = _block.field()
BLOCK_SOURCES = _block.size
"""The sources of the router, and places for the host's queues, follow."""
BLOCK_CYCLES, BLOCK_KEPT = _block.cycles, _block.kept
HAS_REGISTERS, HAS_QUEUES, IS_ASKED = 2, 4, 8
"""Bits of `BLOCK_IS_CONTENDED`: the program may write registers of the router; registers of the
queues; and it has asked a queue to report when it is empty."""
LIST_SHIFT = 16
SOURCE_GROUPS = 31
"""Sources i, i + 31, … share a bit of `BLOCK_ACTIVE`; few PEs have that many."""

# --- arena: FIFOs --------------------------------------------------------------------------------

_fifo = Record()
FIFO_HEAD = _fifo.field()  # number of the oldest wavelet
FIFO_TAIL = _fifo.field()  # number of the next wavelet
FIFO_OWNER = _fifo.field()  # block of the PE that takes wavelets out
FIFO_SHAPE = _fifo.field()
"""Capacity << 16 | log2 of the places of the ring << 8 | group; the flags below."""
FIFO_STATE = _fifo.field()  # what its oldest wavelet waits for, and who waits for a place
FIFO_ROUTE = _fifo.field()  # of a source; NO_ROUTE, or ANY_COLOR: each wavelet has its own
FIFO_LAST_MOVE = _fifo.field()  # of a source
FIFO_ROW = _fifo.field()  # in the matrix
FIFO_RING = _fifo.size
"""Pairs follow: the cycle from which a wavelet can be taken (later: when it was), and its word."""
FIFO_READER = FIFO_ROUTE
"""A field of channels: the live operation that reads it."""
FIFO_STARTS_TASK = FIFO_LAST_MOVE
"""A field of channels: it has a data task."""
NO_ROUTE, ANY_COLOR = 0, -1
"""The tags of a source with any color follow its ring, one word each: color, and `CONTROL_TAG`."""
COLOR_MASK, CONTROL_TAG, ADVANCE_TAG = 0xFF, 0x100, 0x200
"""Parts of a tag. Buffers and channels of switched colors have tags too, without the color; there
the tag of a slot is 0 unless a marked wavelet is in it, so that data can move without reading
tags."""
MARK_TAGS = CONTROL_TAG | ADVANCE_TAG
"""The marks in a tag: a wavelet with one of them may advance a switch."""
HOLDS_MARKED, HAS_TAGS = 1 << 13, 1 << 14
"""Bits of the shape: one of its wavelets is marked; its wavelets have tags."""
REASON_MASK, IS_AWAITED = 15, 16
"""State: stall reason + 1; a sender waits for a free slot."""

# --- arena: routes of one color at one PE --------------------------------------------------------

_route = Record()
ROUTE_PORTS = _route.field()
"""The ports that a wavelet needs; `RAMP_INPUT` if it comes from the compute element."""
ROUTE_NUM_TARGETS = _route.field()
ROUTE_TARGETS = _route.field(NUM_PORTS)
"""FIFOs: buffers behind links in the order of directions, then the channel."""
ROUTE_SWITCH = ROUTE_TARGETS + NUM_PORTS - 1
"""The row of the switch, if the route is switched."""
ROUTE_DIRECTIONS = _route.field()
"""The targets, three bits each."""
NUM_ROUTE_WORDS = _route.size
RAMP_INPUT = 1 << NUM_PORTS
"""Bit of the ramp as an input, beside the bits of the five output ports."""
ALL_PORTS = (RAMP_INPUT << 1) - 1
IS_SWITCHED = 1 << 6
"""A bit of the ports: the route is defined by a switch."""
IS_SETTLED = 1 << 7
"""A bit of the ports: until the switch advances, data goes as by a route without one
(`switch_routes`)."""
RECEIVE_SHIFT = 8
"""Position, in the ports of a settled route, of the directions from which wavelets may come."""

# --- arena: operations, one for each thread that a program uses ----------------------------------

(
    OPERAND_KIND,
    OPERAND_BASE,  # value, address, or FIFO
    OPERAND_STEP,  # bytes; BLOCK: elements skipped (M124); fabric: flags, see `arithmetic.outputs`
    OPERAND_BYTES,
    OPERAND_DSD,  # row of the descriptors (color of fabric output)
    NUM_OPERAND_WORDS,
) = range(6)

_op = Record()
OP_KIND = _op.field()  # and `CHECKED`
OP_STEPS = _op.field()  # how it executes: the bits below
OP_NEXT = _op.field(keeps="next_element")
OP_LENGTH = _op.field(keeps="length")
OP_IS_ENDLESS = _op.field()
OP_ELEMENT_CYCLES = _op.field(keeps="element_cycles")
OP_LAST_SERVED = _op.field(holds=Holds.LAST_TIME, keeps="last_served")
OP_REASON = _op.field(keeps="reason")
OP_DEST = _op.field(NUM_OPERAND_WORDS)
OP_SRC0 = _op.field(NUM_OPERAND_WORDS)
OP_SRC1 = _op.field(NUM_OPERAND_WORDS)
OP_SCALAR = _op.field(holds=Holds.WORD, keeps="scalar")
OP_ACCUMULATOR = _op.field()  # offset of the operand that takes the running result
OP_RANK = _op.field()
OP_HAS_STARTED = _op.field(keeps="has_started")
OP_FINISH = _op.field(holds=Holds.END, keeps="finish_at")
OP_REMAINING = _op.field(keeps="remaining")
OP_CONFIG = _op.field()  # row of the configs; −1: synchronous
OP_PC = _op.field(keeps="pc")
OP_ROW = _op.field()  # in the matrix
OP_CYCLES, OP_KEPT = _op.cycles, _op.kept
NUM_OP_WORDS = _op.padded(LINE_WORDS)

SCALAR, POINTER, VECTOR, BLOCK, INPUT, OUTPUT, RING = range(7)
"""Kinds of operands."""
STEPWISE, WATCHED, PACKED = 1, 2, 4
"""Bits of `OP_STEPS`."""

# --- arena: words on their way to SRAM, before the operations of a PE, see `staging` --------------

STAGE_FIRST = 0
"""Number of the first buffered element, + 1; 0: none. Its word follows, and the words of later
elements."""
NUM_STAGE_WORDS = LINE_WORDS

# --- PEs -----------------------------------------------------------------------------------------

_pe = Record()
PE_MAIN = _pe.field(keeps="main_thread")  # state of the main thread, below
PE_PC = _pe.field()
PE_RETURN_DEPTH = _pe.field()
PE_MAIN_FREE = _pe.field(holds=Holds.CYCLE, keeps="main_free")  # when the picker may act again
PE_MAIN_NEXT = _pe.field(holds=Holds.CYCLE, keeps="main_next")  # when the next instruction issues
PE_LIMIT = _pe.field()  # the main thread may run up to this cycle
PE_LAST_PICKED = _pe.field(keeps="last_picked")
PE_STALLED_SINCE = _pe.field(holds=Holds.CYCLE, keeps="stalled_since")
PE_RESULT_END = _pe.field(holds=Holds.CYCLE, keeps="result_end")
"""End of the last synchronous operation; the delay of an operation that reads its result (M152);
first and last byte of the result."""
PE_RESULT_WAIT = _pe.field(keeps="result_wait")
PE_RESULT_FIRST = _pe.field(keeps="result_first")
PE_RESULT_LAST = _pe.field(keeps="result_last")
PE_COUNTER_HELD = _pe.field(keeps="counter_held")
PE_COUNTER_START = _pe.field(
    holds=Holds.START, keeps="counter_started_at"
)  # NEVER: the counter is stopped
PE_PROGRAM = _pe.field()  # row of the programs
PE_PATCHES = _pe.field()  # first row of the PE's own immediates
PE_NUM_OPERATIONS = _pe.field()
PE_CHANNELS = _pe.field()  # its first channel in the arena
PE_OUTPUTS = _pe.field()  # its first output queue in the arena
PE_BULK = _pe.field()  # operation that has the data path to itself
PE_BULK_SINCE = _pe.field(holds=Holds.CYCLE, keeps="bulk_since")
PE_X = _pe.field()
PE_Y = _pe.field()
PE_MAIN_CYCLES = _pe.field(keeps="main_thread_cycles")
PE_INSTRUCTIONS = _pe.field(keeps="instructions")
PE_TASK_STARTS = _pe.field(keeps="task_starts")
PE_ELEMENTS = _pe.field(keeps="dsd_elements")  # what is not counted in the block any more
PE_PATH_CYCLES = _pe.field(keeps="data_path_cycles")
PE_RINGS = _pe.field()  # its first row in `rings`
PE_STALLS = _pe.field(len(StallReason))  # by reason
PE_WRITE_CYCLE = _pe.field(holds=Holds.CYCLE)
"""The cycle of a pending write to a register of the router, or NEVER."""
PE_WRITE_REGISTER = _pe.field()
PE_WRITE_WORD = _pe.field()
PE_HAS_FAILED = _pe.field()  # in this run
PE_CYCLES, PE_KEPT = _pe.cycles, _pe.kept
NUM_PE_FIELDS = _pe.padded(LINE_WORDS // 2)

IDLE, RUNNING, WAITING, STALLED = range(4)
"""States of a main thread."""

# --- links: four rows a PE, by direction; used if a link is slower than one wavelet a cycle ------

_link = Record()
LINK_FREE = _link.field(holds=Holds.CYCLE)
LINK_WAVELETS = _link.field()
LINK_CYCLES = _link.cycles
LINK_DEPARTURES = _link.size
"""The cycles of the last `link_window_words` departures follow."""

# --- FIFOs: output queues and link buffers of each PE (sources), channels, and host queues -------

_fifos = Record()
FIFOS_OFFSET = _fifos.field()
FIFOS_PE = _fifos.field()
FIFOS_COLOR = _fifos.field()
FIFOS_NUMBER = _fifos.field()  # of the queue
FIFOS_PORT = _fifos.field()
FIFOS_SENDER = _fifos.field()  # link buffer: PE of the router before it
FIFOS_WRITER = _fifos.field()  # output queue: live operation that writes to it
FIFOS_WAITING_SINCE = _fifos.field(holds=Holds.CYCLE)
FIFOS_PUSHED = _fifos.field()  # wavelets that the tail does not count any more
FIFOS_CYCLES = _fifos.cycles
NUM_FIFO_FIELDS = _fifos.size
HOST_QUEUE = 1 << 16
"""Number of the queue that `inject` fills, see `snapshot.HOST_QUEUE`."""

# --- operations ----------------------------------------------------------------------------------

_ops = Record()
OPS_OFFSET = _ops.field()
OPS_THREAD = _ops.field()
OPS_START = _ops.field(holds=Holds.CYCLE, keeps="start")
OPS_WAITING_SINCE = _ops.field(holds=Holds.CYCLE, keeps="waiting_since")
OPS_RESUME = _ops.field()  # cycles from the end to the main thread's next instruction
OPS_CYCLES, OPS_KEPT = _ops.cycles, _ops.kept
NUM_OPERATION_FIELDS = _ops.size

# --- switches: of one color at one PE, where a color is switched anywhere -------------------------

_switch = Record()
SWITCH_POSITION = _switch.field(keeps="position")
SWITCH_COUNTER = _switch.field(keeps="counter")  # of a counter filter
SWITCH_PASSING = _switch.field(keeps="passing")  # of a counter filter: how many counts pass
SWITCH_IS_TORN = _switch.field(keeps="is_torn_down")
NUM_OLD_FIELDS = _switch.size
SWITCH_OLD_POSITION = _switch.field(NUM_OLD_FIELDS)
"""The previous columns as of the start of the cycle of the last change."""
SWITCH_CHANGED = _switch.field(holds=Holds.CYCLE)  # the cycle of the last change
SWITCH_NUM_POSITIONS = _switch.field()
SWITCH_IS_RING = _switch.field(keeps="is_ring")
SWITCH_POPS = _switch.field()  # bit set: opcodes after which the list of commands moves up
SWITCH_FILTER = _switch.field()
SWITCH_MINIMUM = _switch.field()
SWITCH_MAXIMUM = _switch.field()
SWITCH_LIMIT = _switch.field(keeps="limit")
SWITCH_THEN = _switch.field(
    keeps="then"
)  # what comes after the limit, as `arithmetic.filters` has it
SWITCH_COUNTS_DATA = _switch.field()
SWITCH_COUNTS_CONTROL = _switch.field()
SWITCH_FILTERS_CONTROL = _switch.field()
SWITCH_CHANNEL = _switch.field()  # 0: no queue of the PE takes the color
SWITCH_BUFFERS = _switch.field(4)  # behind the four links; 0: the link leaves the rectangle
SWITCH_SETS = _switch.field(8)  # receive (NONE: not valid) and transmit of each position
SWITCH_PE = _switch.field()
SWITCH_COLOR = _switch.field()
SWITCH_WAYS = _switch.field(4, keeps="way")  # by position: as `arithmetic.registers` has them
SWITCH_SWAPS = _switch.field()  # bit set: links behind which the color is another
SWITCH_POP_MODE = _switch.field(keeps="pop_mode")
SWITCH_LINK_ROUTE = _switch.field()  # of wavelets from links; `NO_ROUTE`: there is none
SWITCH_RAMP_ROUTE = _switch.field()  # likewise, of those from the PE
SWITCH_CYCLES, SWITCH_KEPT = _switch.cycles, _switch.kept
NUM_SWITCH_FIELDS = _switch.size
NO_FILTER, RANGE_FILTER, COUNTER_FILTER = range(3)

# --- rings: the FIFOs that programs allocate in their memory --------------------------------------

_ring = Record()
RINGS_ADDRESS = _ring.field()
RINGS_BYTES = _ring.field()
RINGS_PUSH = _ring.field()  # task to activate, or NO_TASK
RINGS_POP = _ring.field()
RINGS_EMPTY_ACTION = _ring.field()
RINGS_FULL_ACTION = _ring.field()
RINGS_HEAD = _ring.field(keeps="head")
RINGS_COUNT = _ring.field(keeps="count")
RINGS_WIDTH = _ring.field(keeps="width")
RINGS_FOUND_EMPTY = _ring.field(
    keeps="found_empty"
)  # an operation found no element, and none was put in since
RINGS_FOUND_FULL = _ring.field(keeps="found_full")
RINGS_READER = _ring.field()  # live operation, 0: none
RINGS_WRITER = _ring.field()
RINGS_KEPT = _ring.kept
NUM_RING_FIELDS = _ring.size

# --- programs and their tables -------------------------------------------------------------------

MAX_QUEUES = 16
_program = Record()
PROGRAM_CODE = _program.field()  # first row in the code
PROGRAM_DSDS = _program.field()
PROGRAM_NUM_DSDS = _program.field()
PROGRAM_CONFIGS = _program.field()
PROGRAM_TASKS = _program.field()  # 32 rows, by task id
PROGRAM_LOCAL_TASKS = _program.field()  # bit set of task ids
PROGRAM_DATA_TASKS = _program.field()  # bit set of task ids
PROGRAM_CONTROL_TASKS = _program.field()  # 64 rows of tasks, by entry; NONE: it has no control task
PROGRAM_NUM_CHANNELS = _program.field()
PROGRAM_CHANNELS = _program.field()  # first row in the channels of programs
PROGRAM_IS_WOKEN = _program.field()
"""Wavelets may start tasks: data tasks, or the tasks of teardowns and queues."""
PROGRAM_HAS_REGISTERS = _program.field()  # its loads and stores may go to registers of the router
PROGRAM_HAS_QUEUES = _program.field()  # and to those of its queues
PROGRAM_CHECKED = _program.field()  # `CHECKED` if floating point exceptions may stop it, else 0
PROGRAM_HALF = _program.field()  # its 16-bit float, a `ScalarType`
PROGRAM_QUEUES = _program.field(MAX_QUEUES)
"""For each output queue, offset of its source from the PE's first one."""
PROGRAM_INPUTS = _program.field(MAX_QUEUES)
"""For each input queue, its color at load."""
PROGRAM_COLORS = _program.field(NUM_COLORS)
"""For each color, offset of its channel from the PE's first one."""
NUM_PROGRAM_FIELDS = _program.size

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
    CODE_FINDINGS,  # activation or DSD operation: place of its counts in the clock
    NUM_CODE_FIELDS,
) = range(12)
CHECKED = 1 << 8
"""A bit of an opcode, and of the kind of a live operation: it may raise an exception that stops the
program (M147)."""
CONDITIONAL = 1 << 9
"""A bit of an opcode: the instruction has a condition in `CODE_RC` (M153)."""
KIND_MASK = CHECKED - 1
"""Mask of an operation's kind."""

MAX_LOOPS = 4
_dsd = Record()
DSD_KIND = _dsd.field()
DSD_COLOR = _dsd.field()
DSD_QUEUE = _dsd.field()
DSD_STRIDE = _dsd.field()  # MEM4D: of the innermost loop
DSD_NUM_LOOPS = _dsd.field()  # FIFO: number of the ring
DSD_IS_CONTROL = _dsd.field()
DSD_NAMED = _dsd.field()  # the color that it names; NONE: that of its queue
DSD_FLAGS = _dsd.field()  # of fabric: as `arithmetic.outputs` has them, without an index
DSD_EXTENTS = _dsd.field(MAX_LOOPS)  # the innermost first
DSD_STRIDES = _dsd.field(MAX_LOOPS)
NUM_DSD_FIELDS = _dsd.size

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

_task = Record()
TASK_KIND = _task.field()
TASK_ENTRY = _task.field()
TASK_CHANNEL = _task.field()
TASK_COLOR = _task.field()
TASK_NUM_ARGUMENTS = _task.field()
TASK_REGISTERS = _task.field(2)  # by argument
TASK_TYPES = _task.field(2)
TASK_ROTATION = _task.field()  # of a data task: number of its rotation; NONE: it has none
TASK_LIMIT = _task.field()
TASK_ALTERNATE = _task.field()  # entry of the control task that starts in its place
NUM_TASK_FIELDS = _task.size
NO_TASK_KIND, LOCAL_TASK, DATA_TASK, CONTROL_TASK = range(4)
NUM_TASK_IDS = 32

WAY_CHANNEL, WAY_COLOR, WAY_NUMBER, WAY_CONTROL_OFFSET, NUM_WAY_FIELDS = range(5)
"""Channels of a program: offset from the PE's first one, color, and the picker's number."""
LAUNCH_ID = 31
"""The picker's number for a launched function: after every task id (M62)."""

LAUNCH_ENTRY, LAUNCH_NUM_ARGUMENTS, LAUNCH_ARGUMENTS = range(3)
"""Pairs of register and word follow."""

# --- timing --------------------------------------------------------------------------------------

_timing = Record()
T_HOP = _timing.field()
T_CREDIT = _timing.field()
T_RAMP = _timing.field()
T_WINDOW_SHIFT = _timing.field()  # log2 of the cycles of a window, see `loop`
T_HAS_LINK_WINDOW = _timing.field()
T_WINDOW_WORDS = _timing.field()
T_WINDOW_CYCLES = _timing.field()
T_MEMORY_SETUP = _timing.field()
T_FABRIC_SETUP = _timing.field()
T_SCALAR_SETUP = _timing.field()
T_RESUME = _timing.field()
T_DISPATCH = _timing.field()
T_TASK_START = _timing.field()
T_BRANCH_TAKEN = _timing.field()
T_REDUCTION = _timing.field(2)  # elements, cycles
T_CONFLICT = _timing.field(2)  # numerator, denominator
T_WRAP = _timing.field()
T_RESULT = _timing.field()
T_TIMESTAMP_WAIT = _timing.field()
T_TIMESTAMP_DRAIN = _timing.field()
T_RATES = _timing.size
"""Two columns, elements and cycles, for each `DsdOperation` follow."""

LIST_START, LIST_SHARE, LIST_PHASE, NUM_LIST_FIELDS = range(4)
"""Fields of a list of the wheel: its first slot, and the part whose PEs it holds."""

EVENT_FIELDS = 6
"""Cycle, y, x, kind, subject, value: as `trace.Event`."""
