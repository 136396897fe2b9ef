"""The task picker of one PE: the choice of the next task (M60, M62, M65, M96, M142)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from onewafer.arch import DataTaskKey
from onewafer.errors import Place, SimulationError
from onewafer.image import TaskKind
from onewafer.simulator.arithmetic.control import control_task_of, entry_of, is_control
from onewafer.simulator.protocol.messages import unbound_control_task
from onewafer.simulator.reference.fabric.units import Unit

if TYPE_CHECKING:
    from onewafer.image import Symbol, Task
    from onewafer.simulator.reference.compute_element.element_program import ElementProgram
    from onewafer.simulator.reference.fabric.buffers import Channel
    from onewafer.simulator.reference.fabric.units import Schedule
    from onewafer.simulator.state.schema import MachineState

LAUNCH_ID = 31
"""The picker's number for a launched function: after every task id (M62)."""
CONTROL_TASK_ID = 64
"""Added to the id of a control task in events."""
_NUM_PICKER_IDS = 32


@dataclass(frozen=True, slots=True)
class Ready:
    """A task that could start now."""

    number: int
    """Number of the task in the picker's order (M62)."""
    entry: int
    task: Task | None
    """None: the launched function."""
    channel: Channel | None = None
    """The channel in which its wavelet waits."""

    @property
    def event_id(self) -> int:
        """Its name in events."""
        if self.task is not None and self.task.kind is TaskKind.CONTROL:
            return CONTROL_TASK_ID + self.task.task_id
        return self.number


class Owner(Unit, Protocol):
    """The compute element whose tasks are picked."""

    x: int
    y: int
    index: int
    channels: dict[int, Channel]
    pending_launch: tuple[Symbol, tuple[int, ...]] | None


class Picker:
    """Chooses ready tasks in round-robin order."""

    __slots__ = ("_agenda", "_key", "_owner", "_state", "_tables", "last_picked")

    def __init__(
        self,
        owner: Owner,
        tables: ElementProgram,
        state: MachineState,
        agenda: Schedule,
        key: DataTaskKey,
    ) -> None:
        """Start before the first number; `key` numbers the tasks of wavelets."""
        self._owner = owner
        self._tables = tables
        self._state = state
        self._agenda = agenda
        self._key = key
        self.last_picked = _NUM_PICKER_IDS - 1

    def choose(self, cycle: int) -> Ready | None:
        """Return the next task in round-robin order; None: no task is ready."""
        ready = self._ready_tasks(cycle)
        if not ready:
            return None
        chosen = self._rotated(min(ready, key=self._order))
        self.last_picked = chosen.number
        return chosen

    def _rotated(self, chosen: Ready) -> Ready:
        """Count the start of a data task; return its rotation partner if that is next (M142).

        The partner takes the wavelet of the start, as it would take a control wavelet: public texts
        only say that it starts instead.
        """
        pair = self._tables.rotations.get(chosen.task)
        if pair is None:
            return chosen
        number, limit, alternate = pair
        counts = self._state.rotation_counts[self._owner.index]
        if counts[number] < limit:
            counts[number] += 1
            return chosen
        counts[number] = 0
        return replace(chosen, entry=alternate.entry, task=alternate)

    def _order(self, ready: Ready) -> tuple[int, bool]:
        """Return a task's round-robin position; a local task precedes an equal number."""
        distance = (ready.number - self.last_picked - 1) % _NUM_PICKER_IDS
        return distance, ready.channel is not None

    def _ready_tasks(self, cycle: int) -> list[Ready]:
        """Return the tasks that could start now."""
        owner, state = self._owner, self._state
        runnable = int(state.pending_tasks[owner.index] & ~state.blocked_tasks[owner.index])
        ready = [
            Ready(task_id, task.entry, task)
            for task_id, task in self._tables.local_tasks.items()
            if runnable >> task_id & 1
        ]
        for channel in owner.channels.values():
            task = self._task_of_wavelet(channel, cycle)
            if task is not None:
                ready.append(Ready(self._picker_number(channel), task.entry, task, channel))
        if owner.pending_launch is not None:
            ready.append(Ready(LAUNCH_ID, owner.pending_launch[0].address, None))
        return ready

    def _picker_number(self, channel: Channel) -> int:
        return channel.color if self._key is DataTaskKey.COLOR else channel.queue

    def _task_of_wavelet(self, channel: Channel, cycle: int) -> Task | None:
        """Return the task that the first wavelet of a channel starts now (M60, M65, M96)."""
        is_blocked = int(self._state.blocked_colors[self._owner.index]) >> channel.home & 1
        if is_blocked or not channel.words or channel.reader is not None:
            return None
        readable, word = channel.words[0]
        tables = self._tables
        if is_control(word):
            if not tables.control_tasks:
                return None
        elif channel.home not in tables.data_task_of_color:
            return None
        if readable > cycle:
            self._agenda.schedule(self._owner, readable)
            return None
        if not is_control(word):
            return tables.data_task_of_color[channel.home]
        entry = control_task_of(entry_of(word), tables.control_offsets.get(channel.queue, 0))
        task = tables.control_tasks.get(entry)
        if task is None:
            message = unbound_control_task(entry, channel.color)
            raise SimulationError(message, Place(self._owner.x, self._owner.y, cycle))
        return task
