"""The registers of a PE's queues: their colors, and reports of empty queues (M134–M137)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from onewafer.errors import SimulationError
from onewafer.image import NUM_COLORS, TEARDOWN_TASK, DsdKind
from onewafer.simulator.arithmetic.queue_words import (
    ALL_QUEUES,
    ALL_QUEUES_REGISTER,
    GOES_TO_HOST,
    HAS_NO_COLOR,
    HOLDS_WAVELETS,
    INPUT_QUEUE_REGISTER,
    IS_FILTERED,
    IS_TAKEN,
    IS_USED,
    NO_COLOR,
    NO_OBSTACLE,
    NUM_QUEUES,
    OUTPUT_QUEUE_REGISTER,
    STATUS,
    asked_of,
    color_in,
    flushes_word,
    has_filter_in,
    queue_register_at,
    queue_word,
    with_flushed,
    written_flushes,
)
from onewafer.simulator.arithmetic.registers import NO_REGISTER, kind_of, number_of
from onewafer.simulator.protocol.messages import cannot_bind
from onewafer.simulator.reference.fabric.units import Unit
from onewafer.simulator.state.loading import color_now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onewafer.image import DsdDescriptor, TileProgram
    from onewafer.simulator.reference.fabric.buffers import Channel, OutputQueue
    from onewafer.simulator.reference.fabric.router import Router
    from onewafer.simulator.reference.fabric.units import Schedule
    from onewafer.simulator.state.schema import MachineState


class Owner(Unit, Protocol):
    """The compute element whose queues these are."""

    index: int
    program: TileProgram
    router: Router
    channels: dict[int, Channel]
    queues: list[OutputQueue]

    def activate_all(self, tasks: int) -> None:
        """Make all tasks of a bit set pending (M113)."""
        ...


def queue_registers_of(
    element: Owner, state: MachineState, agenda: Schedule
) -> QueueRegisters | None:
    """Return the registers of an element's queues, if its program accesses them."""
    return QueueRegisters(element, state, agenda) if element.program.reaches_queues else None


class QueueRegisters:
    """The registers by which a program accesses its queues."""

    __slots__ = ("_agenda", "_colors", "_element", "_state")

    def __init__(self, element: Owner, state: MachineState, agenda: Schedule) -> None:
        self._element = element
        self._state = state
        self._agenda = agenda
        self._colors = memoryview(state.queue_colors[element.index])  # pyright: ignore[reportArgumentType]  # arrays are buffers

    def at(self, address: int, num_bytes: int) -> int:
        """Return the register at an address, or `NO_REGISTER`; only bound queues have one."""
        register = queue_register_at(address, num_bytes)
        if register == NO_REGISTER or kind_of(register) == ALL_QUEUES_REGISTER:
            return register
        return NO_REGISTER if self._color_of(register) == NO_COLOR else register

    def read(self, register: int) -> int:
        """Return a register as of the start of the cycle."""
        number = number_of(register)
        match kind_of(register):
            case kind if kind == ALL_QUEUES_REGISTER and number >= STATUS:
                return self._status(is_input=number == STATUS)
            case kind if kind == ALL_QUEUES_REGISTER:
                return flushes_word(self._flushes, number)
            case kind if kind == INPUT_QUEUE_REGISTER:
                color = self._color_of(register)
                return queue_word(color, int(self._has_filter(color)))
            case _:
                return queue_word(self._color_of(register), 0)

    def write(self, register: int, word: int) -> None:
        """Set a register; instructions after this one see the color of the queue at once.

        Raises:
            SimulationError: the queue cannot be bound to the color.
        """
        if kind_of(register) == ALL_QUEUES_REGISTER:
            return
        color = color_in(word)
        obstacle = self._obstacle(register, color, has_filter=has_filter_in(word))
        if obstacle != NO_OBSTACLE:
            is_input = kind_of(register) == INPUT_QUEUE_REGISTER
            message = cannot_bind(
                obstacle, is_input=is_input, queue=number_of(register), color=color
            )
            raise SimulationError(message)
        self._colors[_place(register)] = color

    def commit(self, register: int, word: int, cycle: int) -> None:
        """Apply a register write of `cycle` for other units, after all moves (M132)."""
        if kind_of(register) == INPUT_QUEUE_REGISTER:
            self.attach()
            self._agenda.schedule(self._element.router, cycle + 1)
        elif kind_of(register) == ALL_QUEUES_REGISTER:
            self._flushes = written_flushes(self._flushes, number_of(register), word)
            self._agenda.schedule(self._element, cycle + 1)

    def attach(self) -> None:
        """Set the colors of input channels to those of their queues."""
        element = self._element
        before = element.channels
        for channel in before.values():
            color = self._colors[channel.queue] if channel.queue >= 0 else NO_COLOR
            channel.color = channel.color if color == NO_COLOR else color
        element.channels = {channel.color: channel for channel in before.values()}
        for color in before.keys() | element.channels.keys():
            switch = element.router.switches.get(color)
            if switch is not None and before.get(color) is not element.channels.get(color):
                switch.rewire()

    def color_of(self, descriptor: DsdDescriptor, at_load: int) -> int:
        """Return the color of a fabric DSD now, or `UNBOUND`."""
        return color_now(descriptor, self._colors, at_load)

    def channel_of(self, descriptor: DsdDescriptor) -> Channel | None:
        """Return the channel that a fabin DSD reads if its queue can be bound to other colors."""
        assert descriptor.kind is DsdKind.FABIN
        if self._colors[descriptor.queue] == NO_COLOR:
            return None
        return next(iter(self._channels(descriptor.queue)))

    def home_of(self, color: int) -> int | None:
        """Return the first color of the queue that serves a color for the next instruction."""
        for channel in self._element.channels.values():
            bound = self._colors[channel.queue] if channel.queue >= 0 else NO_COLOR
            if color == (channel.home if bound == NO_COLOR else bound):
                return channel.home
        return None

    # --- empty queues (M136) ---------------------------------------------------------------------

    @property
    def is_asked(self) -> bool:
        """True if a queue was asked to report when it is empty."""
        return asked_of(self._flushes) != 0

    def tell(self) -> None:
        """Report the asked queues that are empty at the start of the cycle."""
        asked = asked_of(self._flushes)
        empty = asked & self._empty_queues() if asked else 0
        if empty:
            self._flushes = with_flushed(self._flushes, empty)
            self._element.activate_all(1 << TEARDOWN_TASK)

    def look_again(self, cycle: int) -> None:
        """Schedule a visit in the next cycle if input queues have just become empty."""
        asked = asked_of(self._flushes) & ALL_QUEUES
        if asked and asked & self._empty_queues():
            self._agenda.schedule(self._element, cycle + 1)

    @property
    def _flushes(self) -> int:
        return int(self._state.queue_flushes[self._element.index])

    @_flushes.setter
    def _flushes(self, flushes: int) -> None:
        self._state.queue_flushes[self._element.index] = flushes

    def _empty_queues(self) -> int:
        """Return the bit set of the empty queues: input queues, then output queues."""
        return sum(
            1 << queue + (0 if is_input else NUM_QUEUES)
            for is_input in (True, False)
            for queue in range(NUM_QUEUES)
            if not any(q.words for q in self._queues(queue, is_input=is_input))
        )

    def _status(self, *, is_input: bool) -> int:
        shift = 0 if is_input else NUM_QUEUES
        empty = self._empty_queues() >> shift & ALL_QUEUES
        full = sum(
            1 << queue
            for queue in range(NUM_QUEUES)
            if any(len(q.words) >= q.capacity for q in self._queues(queue, is_input=is_input))
        )
        return empty | full << NUM_QUEUES

    # --- binding (M135) --------------------------------------------------------------------------

    def _obstacle(self, register: int, color: int, *, has_filter: bool) -> int:
        """Return the obstacle to a queue serving a color; none if it already does."""
        if color == self._color_of(register):
            return NO_OBSTACLE
        is_input = kind_of(register) == INPUT_QUEUE_REGISTER
        queues = [*self._queues(number_of(register), is_input=is_input)]
        if any(queue.user is not None for queue in queues):
            return IS_USED
        if any(queue.words for queue in queues):
            return HOLDS_WAVELETS
        if color >= NUM_COLORS:
            return HAS_NO_COLOR
        if kind_of(register) == OUTPUT_QUEUE_REGISTER:
            return NO_OBSTACLE
        if color in self._element.channels:
            return IS_TAKEN
        switch = self._element.router.switches.get(color)
        if switch is not None and switch.goes_to_host:
            return GOES_TO_HOST
        return IS_FILTERED if self._has_filter(color) and not has_filter else NO_OBSTACLE

    def _has_filter(self, color: int) -> bool:
        switch = self._element.router.switches.get(color)
        return switch is not None and switch.has_filter

    def _color_of(self, register: int) -> int:
        return self._colors[_place(register)]

    def _queues(self, queue: int, *, is_input: bool) -> Iterable[Channel | OutputQueue]:
        if is_input:
            yield from self._channels(queue)
        else:
            yield from (q for q in self._element.queues if q.number == queue)

    def _channels(self, queue: int) -> Iterable[Channel]:
        return (c for c in self._element.channels.values() if c.queue == queue)


def _place(register: int) -> int:
    """Return the index of a queue's color among those of a PE."""
    is_input = kind_of(register) == INPUT_QUEUE_REGISTER
    return number_of(register) + (0 if is_input else NUM_QUEUES)
