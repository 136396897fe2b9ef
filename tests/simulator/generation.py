"""Random programs on small rectangles: everything that engines could disagree about, at once.

`programs()` draws an image. Streams are walks over the rectangle, each with a color of its own:
some are tapped on the way (multicast), some have a second sender (merge), some a receiver that
wants more than is sent. Each PE gets a random order of sends, receptions, relays, memory operations
and scalar code, with delays between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from onewafer.geometry import Direction
from onewafer.image import (
    ChannelKind,
    DsdOperation,
    Opcode,
    PrintForm,
    ScalarType,
    TaskKind,
    channel,
)
from onewafer.simulator import float_to_half
from tests.image.builder import make_image
from tests.simulator.assembly import (
    RAMP,
    SILICON,
    WSE2,
    WSE3,
    Kernel,
    Pointer,
    Register,
    background,
    route,
)

ARCHITECTURES = (WSE2, WSE3, SILICON)
STEPS = tuple(direction for direction in Direction if direction is not RAMP)
_QUEUES = range(2, 6)
_TWO_SOURCES = (
    DsdOperation.ADD16,
    DsdOperation.FADDH,
    DsdOperation.FADDS,
    DsdOperation.FMAXS,
    DsdOperation.ADDC16,
)
_SCALAR_OPCODES = (Opcode.ADD, Opcode.SUB, Opcode.MUL, Opcode.DIV, Opcode.LESS, Opcode.EQUAL)
_SCALAR_TYPES = (ScalarType.I16, ScalarType.U16, ScalarType.I32, ScalarType.F16, ScalarType.F32)


@dataclass
class Stream:
    """A color, who sends how much, and who reads how much."""

    color: int
    senders: dict[tuple[int, int], int] = field(default_factory=dict)
    receivers: dict[tuple[int, int], int] = field(default_factory=dict)


@dataclass
class Work:
    """What one PE has to do, in order."""

    sends: list[tuple[int, int]] = field(default_factory=list)
    receptions: list[tuple[int, int]] = field(default_factory=list)


@st.composite
def programs(draw, make=None):
    """Draw an architecture and an image for it; `make` builds the program of a PE."""
    architecture = draw(st.sampled_from(ARCHITECTURES))
    width, height = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    routes, work = {}, {}
    for color in range(draw(st.integers(1, 5))):
        stream = draw_stream(draw, color, width, height, routes)
        for pe, num_words in stream.senders.items():
            work.setdefault(pe, Work()).sends.append((color, num_words))
        for pe, num_words in stream.receivers.items():
            work.setdefault(pe, Work()).receptions.append((color, num_words))
    placed = {}
    for pe in ((x, y) for y in range(height) for x in range(width)):
        if pe in work or draw(st.booleans()):
            placed[pe] = draw_program(draw, pe, work.get(pe, Work()), architecture, make)
    if not placed:
        placed[0, 0] = draw_program(draw, (0, 0), Work(), architecture, make)
    image = make_image(architecture, placed, width=width, height=height, routes=routes)
    return architecture, image


def draw_walk(draw, width, height):
    """Return PEs, each a neighbour of the one before, and the directions between them."""
    walk = [(draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1)))]
    steps = []
    for _ in range(draw(st.integers(0, 5))):
        step = draw(st.sampled_from(STEPS))
        dx, dy = step.step
        x, y = walk[-1][0] + dx, walk[-1][1] + dy
        if 0 <= x < width and 0 <= y < height and (x, y) not in walk:
            walk.append((x, y))
            steps.append(step)
    return walk, steps


def draw_stream(draw, color, width, height, routes):
    """Lay the route of a color and return who takes part."""
    walk, steps = draw_walk(draw, width, height)
    num_words = draw(st.integers(1, 24))
    stream = Stream(color, senders={walk[0]: num_words})
    num_sent = num_words
    for i, (x, y) in enumerate(walk):
        receive = [RAMP] if i == 0 else [steps[i - 1].opposite]
        transmit = [RAMP] if i == len(walk) - 1 else [steps[i]]
        if i and RAMP not in transmit and draw(st.integers(0, 3)) == 0:
            transmit.append(RAMP)
        elif i and draw(st.integers(0, 5)) == 0:
            more = draw(st.integers(1, 10))
            receive.append(RAMP)
            stream.senders[x, y] = more
            num_sent += more
        if RAMP in transmit:
            error = draw(st.sampled_from((0,) * 12 + (1, -1)))
            stream.receivers[x, y] = max(1, num_sent + error)
        routes[x, y, color] = route(tuple(receive), *transmit)
    return stream


def draw_program(draw, pe, work, architecture, make=None):
    """Return the program of one PE: its work in any order, sync or async, and more beside it."""
    builder = (make or PeBuilder)(draw, Kernel(f"pe {pe}"), architecture)
    items = [
        *((builder.send, item) for item in zip(_QUEUES, work.sends)),  # noqa: B905
        *((builder.receive, item) for item in zip(_QUEUES, work.receptions)),  # noqa: B905
        *((builder.compute, None) for _ in range(draw(st.integers(0, 3)))),
    ]
    for act, item in draw(st.permutations(items)):
        if draw(st.booleans()):
            builder.kernel.spin(draw(st.integers(0, 30)))
        act(item)
    return builder.finish()


class PeBuilder:
    """Appends random pieces to the program of one PE."""

    def __init__(self, draw, kernel, architecture):
        self.draw = draw
        self.kernel = kernel
        self.architecture = architecture
        self.tasks = []
        self.memory = kernel.data("memory", ScalarType.U32, range(3, 163))
        self.result = kernel.data("result", ScalarType.U32, num_elements=8)
        self.clock = kernel.data("clock", ScalarType.U16, num_elements=3)
        kernel.make_log(200)
        kernel.function("main")
        if draw(st.booleans()):
            kernel.emit(Opcode.TIMESTAMP_CONTROL, imm=1)

    def send(self, item):
        """Send words from memory, a register, or as sums."""
        queue, (color, num_words) = item
        kernel = self.kernel
        target = kernel.outgoing(color, num_words, queue=queue)
        own = kernel.vector(self.memory, num_words, self.draw(st.sampled_from((1, 2, -1, 0))))
        if self.draw(st.booleans()):
            kernel.operate(DsdOperation.MOV32, target, src1=own, config=self.config())
        else:
            kind = self.draw(st.sampled_from(_TWO_SOURCES))
            kernel.operate(kind, target, own, own, config=self.config())

    def receive(self, item):
        """Receive into memory, add to memory, sum up, or start a data task for each word."""
        queue, (color, num_words) = item
        kernel, form = self.kernel, self.draw(st.integers(0, 4))
        if form == 0:
            self.data_task(queue, color)
            return
        source = kernel.incoming(color, num_words, queue=queue)
        vector = kernel.vector(self.memory, num_words)
        config = self.config()
        if form == 1:
            kernel.operate(DsdOperation.FADDS, vector, source, vector, config=config)
        elif form == 2:
            pointer = Pointer(kernel.immediate(ScalarType.U16, self.result))
            start = Register(kernel.immediate(ScalarType.U16, 7))
            kernel.operate(DsdOperation.ADD16, pointer, start, source, config=config)
        elif form == 3:
            scalar = kernel.immediate(ScalarType.F32, 1.5)
            kernel.operate(DsdOperation.FMACS, vector, vector, source, scalar, config=config)
        else:
            kernel.operate(DsdOperation.MOV32, vector, src1=source, config=config)

    def compute(self, _):
        """Do something with memory or scalars."""
        kernel, form = self.kernel, self.draw(st.integers(0, 4))
        length = self.draw(st.integers(0, 60))
        vector = kernel.vector(self.memory, length)
        if form == 0:
            kind = self.draw(st.sampled_from(_TWO_SOURCES))
            distance = self.draw(st.sampled_from((0, 2, 4, 8, 12, 16, 30)))
            other = kernel.vector(self.memory + distance, length)
            kernel.operate(kind, vector, vector, other, config=self.config())
        elif form == 1:
            block = kernel.block(self.memory, (3, 2, 2), (4, -1, 2))
            kernel.operate(DsdOperation.MOV16, vector, src1=block, config=self.config())
        elif form == 2:
            pointer = Pointer(kernel.immediate(ScalarType.U16, self.result))
            start = Register(kernel.immediate(ScalarType.F32, 2.0))
            kernel.operate(DsdOperation.FADDS, pointer, start, vector, config=self.config())
        elif form == 3:
            self._scalar()
        else:
            address = kernel.immediate(ScalarType.U16, self.clock)
            kernel.emit(Opcode.TIMESTAMP, ra=address)

    def _scalar(self):
        kernel, kind = self.kernel, self.draw(st.sampled_from(_SCALAR_TYPES))
        numbers = st.integers(-100, 100) if kind.is_float or kind.is_signed else st.integers(0, 200)
        given = [self.draw(numbers) for _ in range(2)]
        if kind.is_half:
            kind = kernel.half
            words = (float_to_half(float(number), kind) for number in given)
            a, b = (kernel.immediate(ScalarType.U16, word) for word in words)
        else:
            a, b = (kernel.immediate(kind, number) for number in given)
        result = kernel.register()
        condition = self._condition()
        opcode = self.draw(st.sampled_from(_SCALAR_OPCODES))
        kernel.emit(opcode, kind, rd=result, ra=a, rb=b, rc=condition)
        kernel.emit(Opcode.STORE, kind, imm=self.result, rb=result, rc=-condition)
        kernel.emit(Opcode.PRINT, kind, ra=result, imm=PrintForm.DECIMAL)
        kernel.log_register(result)

    def _condition(self):
        """Draw what an instruction needs for an effect: mostly nothing."""
        if self.draw(st.booleans()):
            return 0
        flag = self.kernel.immediate(ScalarType.U16, self.draw(st.integers(0, 1)))
        return flag if self.draw(st.booleans()) else -flag

    def config(self):
        """Draw how an operation runs: in the foreground, or on a microthread."""
        if self.draw(st.booleans()):
            return None
        options = {"priority": self.draw(st.integers(0, 2))}
        follow = self.draw(st.integers(0, 3))
        if follow:
            task_id = self.local_task(is_blocked=follow == 2)
            if follow == 2:
                options["unblock"] = channel(ChannelKind.LOCAL_TASK, task_id)
                for condition in (0, self._condition()):
                    self.kernel.emit(Opcode.ACTIVATE, imm=task_id, rc=condition)
            else:
                options["activate"] = task_id
        return background(self.draw(st.integers(0, 5)), **options)

    def local_task(self, *, is_blocked):
        task_id = 8 + len(self.tasks)
        self.tasks.append((task_id, self.draw(st.integers(0, 10)), is_blocked))
        return task_id

    def data_task(self, queue, color):
        """Log each wavelet of a color; its channel may be blocked until a local task runs."""
        kernel = self.kernel
        is_color = self.architecture is WSE2
        number = color if is_color else queue
        kernel.queue(queue, color=color, is_input=True)
        kind = ChannelKind.COLOR if is_color else ChannelKind.INPUT_QUEUE
        is_blocked = self.draw(st.booleans())
        if is_blocked:
            kernel.block_channel(channel(kind, number))
            kernel.emit(Opcode.UNBLOCK, imm=channel(kind, number))
        self.tasks.append((number, self.draw(st.booleans()), None))

    def finish(self):
        """Unblock the stream, end, and append the tasks."""
        kernel = self.kernel
        kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
        kernel.emit(Opcode.RETURN)
        for task_id, delay, is_blocked in self.tasks:
            label = f"task{task_id}"
            kernel.label(label)
            if is_blocked is None:
                self._finish_data_task(task_id, label, is_split=delay)
                continue
            kernel.spin(delay)
            kernel.log(task_id)
            kernel.emit(Opcode.END_TASK)
            kernel.task(TaskKind.LOCAL, task_id, label, is_blocked=is_blocked)
        return kernel.build()

    def _finish_data_task(self, task_id, label, *, is_split):
        kernel = self.kernel
        registers = (kernel.register(), kernel.register()) if is_split else (kernel.register(),)
        kernel.log_register(registers[0])
        kernel.emit(Opcode.END_TASK)
        types = (ScalarType.U16, ScalarType.I16)[: len(registers)]
        kernel.task(
            TaskKind.DATA, task_id, label, argument_registers=registers, argument_types=types
        )


_READING = (DsdOperation.MOV32, DsdOperation.FADDS, DsdOperation.FMACS)
"""Operations in which a wavelet takes less than a cycle, about one, and about two."""


@st.composite
def shared_links(draw):
    """Draw an image in which a multicast shares both its links with a stream each, on silicon.

    Every color has a buffer of its own behind a link, so that what the streams do to each other is
    in the windows of the links (M55) and in the order of service (M54) only.
    """
    words, south, east = (draw(st.integers(1, 40)) for _ in range(3))
    routes = {
        (0, 0, 3): route(RAMP, Direction.EAST),
        (1, 0, 3): route(Direction.WEST, Direction.EAST, Direction.SOUTH),
        (2, 0, 3): route(Direction.WEST, RAMP),
        (1, 1, 3): route(Direction.NORTH, RAMP),
        (1, 0, 4): route(RAMP, Direction.SOUTH),
        (1, 1, 4): route(Direction.NORTH, RAMP),
        (1, 0, 5): route(RAMP, Direction.EAST),
        (2, 0, 5): route(Direction.WEST, RAMP),
    }
    placed = {
        (0, 0): draw_streams(draw, sends=[(3, words)]),
        (1, 0): draw_streams(draw, sends=[(4, south), (5, east)]),
        (2, 0): draw_streams(draw, receptions=[(3, words), (5, east)]),
        (1, 1): draw_streams(draw, receptions=[(3, words), (4, south)]),
    }
    return SILICON, make_image(SILICON, placed, width=3, height=2, routes=routes)


def draw_streams(draw, *, sends=(), receptions=()):
    """Return a PE that sends or receives streams (color, words) at once, after some time."""
    kernel = Kernel("streams")
    streams = (*sends, *receptions)
    bases = [kernel.data(f"color {c}", ScalarType.F32, [1.0] * words) for c, words in streams]
    kernel.function("main")
    kernel.spin(draw(st.integers(0, 20)))
    for i, ((color, words), base) in enumerate(zip(streams, bases, strict=True)):
        vector, config = kernel.vector(base, words), background(1 + i)
        if sends:
            target = kernel.outgoing(color, words, queue=2 + i)
            kernel.operate(DsdOperation.MOV32, target, src1=vector, config=config)
            continue
        source = kernel.incoming(color, words, queue=2 + i)
        match draw(st.sampled_from(_READING)):
            case DsdOperation.MOV32:
                kernel.operate(DsdOperation.MOV32, vector, src1=source, config=config)
            case DsdOperation.FADDS:
                kernel.operate(DsdOperation.FADDS, vector, vector, source, config=config)
            case kind:
                half = kernel.immediate(ScalarType.F32, 0.5)
                kernel.operate(kind, vector, vector, source, half, config=config)
    return kernel.finish()
