"""Random programs with switches, control wavelets and tasks, filters, FIFOs and map loops.

The streams of `generation` stay; beside them are switched streams: a sender mixes data and control
wavelets, the routers of its walk have random positions, and every PE of the walk takes whatever
its router hands it, mostly with data and control tasks, so that no task waits for a count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

from hypothesis import strategies as st

from onewafer.image import (
    IN_MAP,
    NO_TASK,
    RESULT_SHIFT,
    TEARDOWN_TASK,
    ChannelKind,
    ColorConfig,
    CounterFilter,
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    FifoAction,
    FifoBuffer,
    Opcode,
    OperandMode,
    PopMode,
    RangeFilter,
    ScalarType,
    SwitchPosition,
    TaskKind,
    channel,
    fifo_length,
)
from onewafer.simulator.arithmetic.control import MEMORY_MARK
from tests.image.builder import make_image
from tests.simulator.assembly import RAMP, WSE2, Register, Vector, background, commands
from tests.simulator.generation import (
    ARCHITECTURES,
    STEPS,
    PeBuilder,
    Work,
    draw_program,
    draw_stream,
    draw_walk,
)

ENTRIES = (40, 41)
_MOVES = (DsdOperation.MOV16, DsdOperation.MOV32)
_NEVER_LEFT = 0x7FFF
_MANY_TASKS = 12
"""Local tasks of a program that shall not get more without need: ids are few."""
_ACTIONS = (
    *(FifoAction.TEST_OR_SUSPEND,) * 2,
    FifoAction.TERMINATE,
    FifoAction.SUSPEND,
    FifoAction.FAULT,
)


@dataclass(frozen=True)
class Script:
    """What the sender of a switched stream sends: words, control wavelets marked."""

    items: tuple[tuple[bool, int], ...]


@st.composite
def feature_programs(draw, builder=None, has_teardown=None):
    """Draw an architecture and an image for it; `builder` is a class like `FeatureBuilder`."""
    architecture = draw(st.sampled_from(ARCHITECTURES))
    if has_teardown is None:
        has_teardown = draw(st.integers(0, 2)) == 0
    if builder is None:
        makers = (TeardownBuilder, TeardownBuilder, QueueBuilder) if has_teardown else ()
        builder = draw(st.sampled_from(makers)) if makers else FeatureBuilder
    width, height = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    routes, work = {}, {}
    for color in range(draw(st.integers(1, 4))):
        if draw(st.integers(0, 3)) == 0:
            stream = draw_stream(draw, color, width, height, routes)
            senders, receivers = stream.senders, stream.receivers
        else:
            senders, receivers = _draw_switched(
                draw, color, width, height, routes, has_teardown=has_teardown
            )
        for pe, what in senders.items():
            work.setdefault(pe, Work()).sends.append((color, what))
        for pe, what in receivers.items():
            work.setdefault(pe, Work()).receptions.append((color, what))
    placed = {}
    for pe in ((x, y) for y in range(height) for x in range(width)):
        if pe in work or draw(st.booleans()):
            items = work.get(pe, Work())
            counting = [
                color
                for (*place, color), config in routes.items()
                if tuple(place) == pe and isinstance(config.filter, CounterFilter)
            ]
            placed[pe] = draw_program(draw, pe, items, architecture, _knowing(builder, counting))
    if not placed:
        placed[0, 0] = draw_program(draw, (0, 0), Work(), architecture, builder)
    image = make_image(architecture, placed, width=width, height=height, routes=routes)
    return architecture, image


def _knowing(builder, counting):
    """Return a maker of builders that know which colors of their PE have counter filters."""

    def make(*arguments):
        made = builder(*arguments)
        made.counting = counting
        return made

    return make


def _draw_switched(draw, color, width, height, routes, *, has_teardown):
    """Lay a switched route; return its sender and all that may receive."""
    walk, steps = draw_walk(draw, width, height)
    for i, pe in enumerate(walk):
        before = RAMP if i == 0 else steps[i - 1].opposite
        after = RAMP if i == len(walk) - 1 else steps[i]
        config = _draw_config(draw, before, after)
        if has_teardown and draw(st.integers(0, 3)) == 0:
            config = replace(config, teardown=True)
        routes[*pe, color] = config
    script = Script(tuple(draw(st.lists(_items(has_teardown), min_size=1, max_size=14))))
    receivers = {pe: None for pe in walk if draw(st.integers(0, 9))}
    return {walk[0]: script}, receivers


def _items(has_teardown):
    data = st.integers(0, 4).map(lambda i: (False, i << 16 | 7 * i + 1))
    opcode = st.sampled_from((0, 1, 1, 1, 2, 3, 3) if has_teardown else (0, 1, 1, 1, 2))
    ignore = st.sampled_from((True, True, False))
    control = st.lists(st.tuples(opcode, ignore), min_size=1, max_size=3).flatmap(
        lambda pairs: st.sampled_from(ENTRIES).map(
            lambda entry: (
                True,
                commands(*(o for o, _ in pairs), ignore=tuple(i for _, i in pairs), entry=entry),
            )
        )
    )
    return st.one_of(data, data, control)


def _draw_config(draw, before, after):
    base = SwitchPosition(1 << before, 1 << after)
    tapped = SwitchPosition(1 << before, 1 << after | 1 << RAMP)
    positions = [draw(st.sampled_from((base, tapped)))]
    for _ in range(draw(st.integers(0, 3))):
        other = 1 << draw(st.sampled_from((*STEPS, RAMP)))
        positions.append(
            draw(
                st.sampled_from(
                    (None, base, tapped, tapped, SwitchPosition(base.rx, 1 << RAMP),
                     SwitchPosition(base.rx, other), SwitchPosition(base.rx | other, base.tx))
                )
            )
        )  # fmt: skip
    valid = [i for i, position in enumerate(positions) if position is not None]
    return ColorConfig(
        tuple(positions),
        draw(st.sampled_from(valid)),
        draw(st.booleans()),
        draw(st.sampled_from(PopMode)),
        filter=draw(st.one_of(st.none(), st.none(), _ranges(), _counters())),
    )


def _ranges():
    return st.tuples(st.integers(0, 4), st.integers(0, 4)).map(lambda p: RangeFilter(*sorted(p)))


@st.composite
def _counters(draw):
    counts = (draw(st.integers(0, most)) for most in (2, 3, 3))
    flags = (draw(st.booleans()) for _ in range(2))
    if draw(st.booleans()):
        return CounterFilter(*counts, *flags, draw(st.booleans()))
    second = draw(st.none() | st.integers(0, 3))
    return CounterFilter(*counts, *flags, is_sparse=True, second_limit=second)


class FeatureBuilder(PeBuilder):
    """Appends pieces with the features as well."""

    def __init__(self, draw, kernel, architecture):
        super().__init__(draw, kernel, architecture)
        self.has_control_tasks = False

    def _touch_threads(self):
        """Block and unblock microthreads (M146); mostly all are let go in the end."""
        kernel, draw = self.kernel, self.draw
        if not self.architecture.names_microthreads or draw(st.integers(0, 3)):
            return
        threads = draw(st.lists(st.integers(0, 7), min_size=1, max_size=4))
        for number in threads:
            opcode = draw(st.sampled_from((Opcode.BLOCK, Opcode.BLOCK, Opcode.UNBLOCK)))
            kernel.emit(opcode, imm=channel(ChannelKind.MICROTHREAD, number))
        kernel.spin(draw(st.integers(0, 12)))
        for number in range(8) if draw(st.integers(0, 4)) else threads[1:]:
            kernel.emit(Opcode.UNBLOCK, imm=channel(ChannelKind.MICROTHREAD, number))

    def send(self, item):
        """Send a script, word by word."""
        self._touch_threads()
        queue, (color, what) = item
        if not isinstance(what, Script):
            super().send(item)
            return
        kernel = self.kernel
        for is_control, group in groupby(what.items, key=itemgetter(0)):
            words = [word for _, word in group]
            if self.draw(st.booleans()):
                self._send_at_once(queue, color, words, is_control=is_control)
                continue
            for word in words:
                target = kernel.outgoing(color, 1, queue=queue, is_control=is_control)
                source = Register(kernel.immediate(ScalarType.U32, word))
                kernel.operate(DsdOperation.MOV32, target, src1=source)
                if self.draw(st.integers(0, 4)) == 0:
                    kernel.spin(self.draw(st.integers(0, 12)))

    def _send_at_once(self, queue, color, words, *, is_control):
        """Send words one a cycle."""
        kernel = self.kernel
        base = kernel.data(f"words{kernel.pc}", ScalarType.U32, words)
        target = kernel.outgoing(color, len(words), queue=queue, is_control=is_control)
        if not is_control and self.draw(st.booleans()):
            target = self._special_output(queue, color, len(words))
            if self.draw(st.booleans()):
                marked = commands(1, ignore=self.draw(st.booleans()), entry=40) | MEMORY_MARK
                base = kernel.data(f"marked{kernel.pc}", ScalarType.U32, [*words[:-1], marked])
        source = kernel.vector(base, len(words))
        kernel.operate(DsdOperation.MOV32, target, src1=source)

    def _special_output(self, queue, color, extent):
        """Return a destination that has an index, or clears what it sent (M46, M47)."""
        has_index, clears = self.draw(st.booleans()), self.draw(st.sampled_from((-1, 0, 1, 1)))
        keeps_control, advances_switch = self.draw(st.booleans()), self.draw(st.booleans())
        number = self.kernel.dsd(
            DsdDescriptor(
                DsdKind.FABOUT,
                color,
                queue,
                has_index=has_index,
                clears=clears,
                keeps_control=keeps_control,
                advances_switch=advances_switch,
            )
        )
        index = self.draw(st.sampled_from((0, 1, 3, 0xFFFF)))
        return Vector(self.kernel.dsd_value(number, base=index, extent=extent, stride=0))

    def receive(self, item):
        """Take what comes: data tasks, control tasks, or an operation for some words."""
        self._touch_threads()
        queue, (color, count) = item
        if count is not None:
            super().receive(item)
            return
        kernel, form = self.kernel, self.draw(st.integers(0, 5))
        if form == 0:
            self._receive_some(queue, color)
            if self.draw(st.booleans()):
                self._unblock(queue, color)
        elif form == 1:
            kernel.queue(queue, color=color, is_input=True)
            self._unblock(queue, color)
        else:
            self.data_task(queue, color)
        self.has_control_tasks = self.draw(st.integers(0, 4)) > 0

    def _receive_some(self, queue, color):
        """Take some wavelets, or drop them, in one of the ways to meet control wavelets."""
        kernel, way = self.kernel, self.draw(st.integers(0, 4))
        source = kernel.incoming(color, self.draw(st.integers(1, 6)), queue=queue)
        if way > 2:
            number = kernel.dsd(
                DsdDescriptor(
                    DsdKind.FABIN, color, queue, keeps_control=way == 3, drops_data=way == 4
                )
            )
            extent = self.draw(st.integers(1, 4))
            source = Vector(kernel.dsd_value(number, extent=extent, stride=0))
        config = background(queue, **self._control_options())
        target = None if way == 4 else kernel.vector(self.memory, 6)
        kernel.operate(DsdOperation.MOV32, target, src1=source, config=config)

    def _control_options(self):
        """Return what control wavelets do to an operation: mostly they end it."""
        if self.draw(st.integers(0, 3)) == 0 or len(self.tasks) > _MANY_TASKS:
            return {}
        tasks = [
            self.local_task(is_blocked=False) if self.draw(st.booleans()) else NO_TASK
            for _ in range(2)
        ]
        return {"activate": tasks[0], "ends_on_control": True, "control_activate": tasks[1]}

    def _unblock(self, queue, color):
        is_color = self.architecture is WSE2
        kind = ChannelKind.COLOR if is_color else ChannelKind.INPUT_QUEUE
        self.kernel.unblock_channel(channel(kind, color if is_color else queue))

    def compute(self, item):
        """Use a FIFO, a map loop or a register that saves its address, or what others do."""
        match self.draw(st.integers(0, 5)):
            case 0:
                self._fifo()
            case 1:
                self._map()
            case 2:
                self._walk()
            case _:
                super().compute(item)

    def _fifo(self):
        """Fill and empty a FIFO, each in the foreground or on a microthread."""
        kernel, draw = self.kernel, self.draw
        num_bytes = draw(st.sampled_from((4, 6, 12, 32)))
        ring = kernel.data(f"ring{kernel.pc}", ScalarType.U32, num_elements=8)
        tasks = [
            self.local_task(is_blocked=False) if draw(st.booleans()) else NO_TASK for _ in range(2)
        ]
        actions = [draw(st.sampled_from(_ACTIONS)) for _ in range(2)]
        number = kernel.fifo(FifoBuffer(ring, num_bytes, *tasks, *actions))
        descriptor = kernel.dsd(DsdDescriptor(DsdKind.FIFO, fifo=number))
        fifo = Vector(kernel.dsd_value(descriptor, extent=0, stride=0))
        operation = draw(st.sampled_from(_MOVES))
        kinds = (operation, operation if draw(st.integers(0, 5)) else DsdOperation.MOV16)
        for is_filling, kind in zip(draw(st.permutations((True, False))), kinds, strict=True):
            if draw(st.booleans()):
                length = kernel.immediate(ScalarType.U16, draw(st.integers(0, 12)))
                which = fifo_length(number, is_written=draw(st.booleans()))
                kernel.emit(Opcode.FIFO_SET_LENGTH, ra=length, imm=which)
            vector = kernel.vector(self.memory, draw(st.integers(0, 12)))
            if is_filling:
                if draw(st.booleans()) and kind is DsdOperation.MOV16:
                    kernel.operate(DsdOperation.ADDC16, fifo, vector, vector, config=self.config())
                else:
                    self._move(kind, fifo, vector)
            else:
                self._move(kind, vector, fifo)

    def _move(self, kind, dest, source):
        """Move elements, and log the result of an operation in the foreground (M116)."""
        kernel, config = self.kernel, self.config()
        if config is not None:
            kernel.operate(kind, dest, src1=source, config=config)
            return
        result = kernel.register()
        rd, ra, rb = kernel.load(dest, None, source)
        kernel.emit(Opcode.DSD, kind, rd=rd, ra=ra, rb=rb, imm=-1, aux=result << RESULT_SHIFT)
        kernel.log_register(result)

    def _map(self):
        """Walk through memory in a map loop, with or without an operation inside."""
        kernel, draw = self.kernel, self.draw
        kind = draw(st.sampled_from((ScalarType.I16, ScalarType.U32, ScalarType.F32)))
        dsd = kernel.dsd(DsdDescriptor(DsdKind.MEM1D))
        stride = draw(st.sampled_from((1, 2, -1, 0)))
        read = kernel.dsd_value(dsd, base=self.memory + 64, extent=9, stride=stride)
        write = kernel.dsd_value(dsd, base=self.memory + 256, extent=9)
        value, count = kernel.register(), kernel.immediate(ScalarType.U16, draw(st.integers(0, 9)))
        operands = None
        if draw(st.booleans()):
            vector = kernel.vector(self.memory, draw(st.integers(1, 20)))
            operands = kernel.load(vector, vector, vector)
        label = f"map{kernel.pc}"
        kernel.emit(Opcode.MAP_BEGIN, ra=count, imm=f"{label}end")
        kernel.label(label)
        kernel.emit(Opcode.MAP_READ, kind, rd=value, ra=read)
        if operands is not None:
            rd, ra, rb = operands
            is_in_map = IN_MAP * draw(st.integers(0, 1))
            kernel.emit(Opcode.DSD, DsdOperation.FADDS, rd=rd, ra=ra, rb=rb, imm=-1, aux=is_in_map)
        kernel.emit(Opcode.ADD, kind, rd=value, ra=value, rb=value)
        kernel.emit(Opcode.MAP_WRITE, kind, ra=write, rb=value)
        kernel.emit(Opcode.MAP_STEP, ra=count, imm=label)
        kernel.label(f"{label}end")

    def _walk(self):
        """Let operations go on where the last one stopped."""
        kernel, draw = self.kernel, self.draw
        dsd, length = kernel.dsd(DsdDescriptor(DsdKind.MEM1D)), draw(st.integers(1, 9))
        rd = kernel.dsr_load_constant(
            OperandMode.DSR_DEST, 15, dsd, base=self.result, extent=length, stride=0
        )
        rb = kernel.dsr_load_constant(
            OperandMode.DSR_SRC1, 15, dsd, base=self.memory, extent=length,
            stride=draw(st.sampled_from((1, 2))), saves_address=True,
        )  # fmt: skip
        for _ in range(draw(st.integers(1, 3))):
            kernel.operate_loaded(draw(st.sampled_from(_MOVES)), rd, 0, rb, config=self.config())

    def finish(self):
        """Append the control tasks."""
        kernel = self.kernel
        bound = ENTRIES if self.draw(st.integers(0, 5)) else ENTRIES[:1]
        if self.has_control_tasks:
            # They lie before the end of the program, where nothing runs into them.
            skip = f"skip{kernel.pc}"
            kernel.emit(Opcode.JUMP, imm=skip)
            for entry in bound:
                register = kernel.register()
                kernel.label(f"control{entry}")
                kernel.log(entry)
                kernel.log_register(register)
                kernel.emit(Opcode.END_TASK)
                kernel.task(
                    TaskKind.CONTROL,
                    entry,
                    f"control{entry}",
                    argument_registers=(register,),
                    argument_types=(ScalarType.U16,),
                )
            kernel.label(skip)
        return super().finish()


ROUTES, POSITIONS, SIDES, PENDING = 2 * 0x7F20, 2 * 0x7F40, 2 * 0x7F60, 2 * 0x7F38
FILTERS = tuple(2 * word for word in (0x7F80, 0x7FA0, 0x7FC0, 0x7FE0))
_NOT_TORN = 0xBFFF


class TeardownBuilder(FeatureBuilder):
    """Reads and writes registers of the router besides, and lets torn down colors go."""

    counting = ()
    """Colors whose filters of this PE count."""

    def __init__(self, draw, kernel, architecture):
        super().__init__(draw, kernel, architecture)
        if draw(st.integers(0, 9)):
            kernel.reach_registers()

    def compute(self, item):
        """Touch the router, or do what others do."""
        if self.draw(st.integers(0, 2)):
            self._touch()
        else:
            super().compute(item)

    def _touch(self):
        kernel, draw = self.kernel, self.draw
        color = draw(st.sampled_from((0, 0, 0, 1, 1, 2, 3)))
        if self.counting and draw(st.booleans()):
            color = draw(st.sampled_from(self.counting))
            kind = draw(st.sampled_from(FILTERS))
        else:
            kind = draw(st.sampled_from((ROUTES, ROUTES, POSITIONS, POSITIONS, SIDES, PENDING)))
        address = kind + 2 * (color % 2 if kind == PENDING else color)
        if draw(st.integers(0, 12)) == 0:
            kernel.spin(draw(st.integers(0, 12)))
        match draw(st.integers(0, 3)):
            case 0:
                word = kernel.register()
                type_ = draw(st.sampled_from((ScalarType.U16, ScalarType.I16)))
                kernel.emit(Opcode.LOAD, type_, rd=word, ra=0, imm=address)
                kernel.log_register(word)
            case 1 | 2:
                word = kernel.immediate(ScalarType.U16, self._word(kind))
                kernel.emit(Opcode.STORE, ScalarType.U16, ra=0, rb=word, imm=address)
            case _:
                self._update(address, draw(st.integers(0, 0xFFFF)))

    def _word(self, kind):
        draw = self.draw
        if kind == ROUTES:
            receive = 1 << draw(st.sampled_from((*STEPS, RAMP)))
            transmit = 1 << draw(st.sampled_from((*STEPS, RAMP, RAMP)))
            if draw(st.booleans()):
                transmit |= 1 << RAMP
            torn = draw(st.sampled_from((0, 0, 0, 1)))
            return transmit | receive << 5 | draw(st.integers(0, 3)) << 12 | torn << 14
        if kind in FILTERS:
            return draw(st.sampled_from((0, 1, 2, 3, 0xFFFF)))
        return draw(st.integers(0, 0xFFFF))

    def _update(self, address, mask):
        """Clear bits of a register."""
        kernel = self.kernel
        word, kept = kernel.register(), kernel.immediate(ScalarType.U16, mask)
        kernel.emit(Opcode.LOAD, ScalarType.U16, rd=word, ra=0, imm=address)
        kernel.emit(Opcode.AND, ScalarType.U16, rd=word, ra=word, rb=kept)
        kernel.emit(Opcode.STORE, ScalarType.U16, ra=0, rb=word, imm=address)

    def task_body(self):
        """Let torn down colors go."""
        for color in range(self.draw(st.integers(0, 4))):
            if self.draw(st.integers(0, 3)):
                self._update(ROUTES + 2 * color, _NOT_TORN)

    def finish(self):
        """Append the task that is told of teardowns."""
        kernel, draw = self.kernel, self.draw
        if draw(st.integers(0, 4)):
            skip = f"skip{kernel.pc}"
            kernel.emit(Opcode.JUMP, imm=skip)
            kernel.label("teardown")
            word = kernel.register()
            kernel.emit(Opcode.LOAD, ScalarType.U16, rd=word, ra=0, imm=PENDING)
            kernel.log_register(word)
            self.task_body()
            kernel.emit(Opcode.END_TASK)
            kernel.task(TaskKind.LOCAL, TEARDOWN_TASK, "teardown")
            kernel.label(skip)
        return super().finish()


def teardown_programs():
    """Draw programs that tear colors down and touch their routers, all of them."""
    return feature_programs(builder=TeardownBuilder, has_teardown=True)


_OUTPUT_QUEUES, _INPUT_QUEUES = 2 * 0x7B80, 2 * 0x7B90
_FLUSHED, _ASKED, _STATUS = (2 * (0x7BA0 + first) for first in (0, 2, 4))
_HAS_FILTER = 1


class QueueBuilder(TeardownBuilder):
    """Binds queues to other colors besides, and asks them to tell when they are empty."""

    def __init__(self, draw, kernel, architecture):
        super().__init__(draw, kernel, architecture)
        if draw(st.sampled_from((True,) * 40 + (False,))):
            kernel.reach_queues()
        kernel.names_colors = architecture is WSE2 or draw(st.integers(0, 5)) == 0
        self.bound = {}
        """First color by (registers of the side, queue)."""

    def send(self, item):
        """Send, and perhaps give the queue another color when it is empty."""
        super().send(item)
        self.bound.setdefault((_OUTPUT_QUEUES, item[0]), item[1][0])
        self._perhaps_bind()

    def receive(self, item):
        """Receive, and perhaps give the queue another color when it is empty."""
        super().receive(item)
        self.bound.setdefault((_INPUT_QUEUES, item[0]), item[1][0])
        self._perhaps_bind()

    def compute(self, item):
        """Touch the queues, or do what programs without registers do."""
        if self.draw(st.booleans()):
            self._touch_queues()
        else:
            FeatureBuilder.compute(self, item)

    def _perhaps_bind(self):
        if self.draw(st.booleans()):
            self._touch_queues()

    def _touch_queues(self):
        kernel, draw = self.kernel, self.draw
        side = 2 * draw(st.integers(0, 1))
        queues = draw(st.sampled_from((0xFF, 1 << 2, 1 << 3, 1 << 2 | 1 << 3)))
        match draw(st.integers(0, 5)):
            case 0:
                word = kernel.register()
                address = draw(st.sampled_from((_FLUSHED, _ASKED, _STATUS))) + side
                kernel.emit(Opcode.LOAD, ScalarType.U16, rd=word, ra=0, imm=address)
                kernel.log_register(word)
            case 1:
                self._write(draw(st.sampled_from((_ASKED, _FLUSHED, _STATUS))) + side, queues)
            case 2:
                self._write(_ASKED + side, queues)
            case _:
                self._bind()

    def _bind(self):
        """Bind a queue to a color, mostly only if it is empty."""
        kernel, draw = self.kernel, self.draw
        known = sorted(self.bound) if self.architecture is not WSE2 else []
        if not known:
            return
        first, queue = draw(st.sampled_from(known))
        color = draw(st.sampled_from((*range(5), *range(5), *range(5), 27)))
        has_filter = _HAS_FILTER if draw(st.integers(0, 9)) else 0
        skip = f"bound{kernel.pc}"
        if draw(st.sampled_from((True,) * 12 + (False,))):
            status, bit = kernel.register(), kernel.immediate(ScalarType.U16, 1 << queue)
            address = _STATUS + 2 * (first == _OUTPUT_QUEUES)
            kernel.emit(Opcode.LOAD, ScalarType.U16, rd=status, ra=0, imm=address)
            kernel.emit(Opcode.AND, ScalarType.U16, rd=status, ra=status, rb=bit)
            kernel.emit(Opcode.BRANCH_ZERO, ra=status, imm=skip)
        self._write(first + 2 * queue, color << 4 | has_filter)
        kernel.label(skip)

    def _write(self, address, value):
        kernel = self.kernel
        word = kernel.immediate(ScalarType.U16, value)
        kernel.emit(Opcode.STORE, ScalarType.U16, ra=0, rb=word, imm=address)

    def finish(self):
        """Mostly ask queues at the end, where the main thread is idle when they tell."""
        kernel, draw = self.kernel, self.draw
        outputs = [(queue, color) for (side, queue), color in self.bound.items()
                   if side == _OUTPUT_QUEUES]  # fmt: skip
        if outputs and draw(st.integers(0, 3)):
            queue, color = draw(st.sampled_from(outputs))
            count = draw(st.integers(1, 20))
            target = kernel.outgoing(color, count, queue=queue)
            source = kernel.vector(self.memory, count)
            config = background(draw(st.integers(0, 5)))
            kernel.operate(DsdOperation.MOV32, target, src1=source, config=config)
            kernel.spin(draw(st.integers(0, 9)))
            self._write(_ASKED + 2, 1 << queue)
        if draw(st.booleans()):
            self._write(_ASKED, 0xFF)
        return super().finish()

    def task_body(self):
        """Look who has told, and bind a queue."""
        kernel, draw = self.kernel, self.draw
        for side in (0, 2):
            word = kernel.register()
            kernel.emit(Opcode.LOAD, ScalarType.U16, rd=word, ra=0, imm=_FLUSHED + side)
            kernel.log_register(word)
        if draw(st.booleans()):
            self._bind()
        if draw(st.integers(0, 3)):
            self._write(_FLUSHED + 2 * draw(st.integers(0, 1)), 0xFF)
        if draw(st.integers(0, 3)) == 0:
            self._write(_ASKED + 2 * draw(st.integers(0, 1)), 1 << 2)


def queue_programs():
    """Draw programs that bind queues to other colors, all of them."""
    return feature_programs(builder=QueueBuilder, has_teardown=False)
