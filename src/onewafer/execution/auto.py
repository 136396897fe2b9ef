"""Fidelity `auto`: the host computes values, the fabric tells the cycles of a few launches.

In: the launches of a program, one after the other, and a budget of PE-cycles. Out: which of them
are simulated, and what all of them cost (`LaunchTimes`). A simulated launch begins with what the
program would remember by then: the NumPy reader makes the launches before it again, and its
blocks of keys and values are put on the wafer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import (
    ConfigurationError,
    LongRunError,
    OnewaferError,
    UnsupportedOperationError,
)
from onewafer.execution.agreement import (
    Agreement,
    distance_from_host,
    has_same_bits,
    is_beyond_bound,
)
from onewafer.execution.executable import FabricExecutor, count_bytes, expect_memory
from onewafer.execution.launch_files import ImageFigures, LaunchFile, SimulatedLaunch
from onewafer.execution.launch_times import LaunchTimes, Origin
from onewafer.execution.sequence_rows import SequenceRows
from onewafer.mesh import MeshEvaluator, emit
from onewafer.simulator import NotEnoughMemoryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.execution.activity import PeMemory
    from onewafer.execution.arrays import Arrays
    from onewafer.execution.executable import Simulation
    from onewafer.graph import DataType
    from onewafer.host import RunObserver
    from onewafer.mesh import Launch, MeshProgram


@dataclass(slots=True)
class Meter:
    """PE-cycles that a run has simulated: cycles times PEs of the rectangle."""

    pe_cycles: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """PE-cycles that a run may simulate."""

    limit: int
    meter: Meter = field(default_factory=Meter)

    @property
    def left(self) -> int:
        """PE-cycles that launches may still take."""
        return max(0, self.limit - self.meter.pe_cycles)


@dataclass(frozen=True, slots=True)
class NotSimulated:
    """Why the first launch of some shape was not simulated."""

    reason: str
    launch: Launch | None = None
    needed_budget: int | None = None
    """With which it would have been simulated; None: the budget is not the reason."""


@dataclass(slots=True)
class AutoExecutor:
    """A program of which the first launch of each shape is simulated, within a budget."""

    program: MeshProgram
    architecture: Architecture
    simulation: Simulation
    budget: Budget
    host_stores: DataType
    """The type of the host's results, which decides whether a bound holds."""
    times: LaunchTimes = field(init=False)
    memory: PeMemory = field(init=False)
    """Memory of the fullest PE; in closed form until an image is known."""
    num_tile_programs: int | None = None
    agreement: Agreement = field(default_factory=Agreement)
    not_simulated: NotSimulated | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    _parameters: dict[str, NDArray[Any]] = field(default_factory=dict[str, "NDArray[Any]"])
    _unsent: dict[str, NDArray[Any]] = field(default_factory=dict[str, "NDArray[Any]"])
    """Parameters that are not on the simulated wafer."""
    _sequence: SequenceRows = field(init=False)
    _is_refused: bool = False
    """Whether the program cannot be emitted or compiled."""
    _too_long: list[Launch] = field(default_factory=list["Launch"])
    """Launches that took more cycles than the limits allow."""
    _file: LaunchFile | None = None
    """None: earlier runs have not been asked yet."""
    _fabric: FabricExecutor | None = None
    _reader: MeshEvaluator | None = None
    """None: parameters have changed since."""

    def __post_init__(self) -> None:
        """Begin with nothing simulated."""
        self.times = LaunchTimes(self.program, self.architecture)
        self.memory = expect_memory(self.program, self.architecture)
        self._sequence = SequenceRows(self.program)

    @property
    def engine(self) -> str | None:
        """Which engine simulates; None: nothing was simulated."""
        return self.simulation.engine if self._fabric is not None else None

    @property
    def is_compiled(self) -> bool:
        """Whether there is a simulated wafer with the program."""
        return self._fabric is not None

    def send(self, parameters: Arrays) -> None:
        """Take parameters; they come to the simulated wafer with the next simulated launch."""
        self._parameters |= parameters
        self._unsent |= parameters
        self._reader = None
        self.bytes_in += count_bytes(self.program, parameters)

    def note(self, inputs: Arrays, launch: Launch | None) -> None:
        """Hear of a launch, before anything else is asked about it."""
        self._sequence.note(inputs, launch)
        self.bytes_in += count_bytes(self.program, inputs)
        outputs = (self.program.graph.tensor(name) for name in self.program.graph.outputs)
        self.bytes_out += sum(tensor.num_bytes for tensor in outputs)

    def find(self, launch: Launch | None) -> Origin:
        """Return where the cycles of a launch come from; SIMULATED: `simulate` must follow."""
        if not self.times.is_due(launch):
            return Origin.DERIVED
        if self._take_known(launch):
            return Origin.KNOWN
        if self._may_simulate(launch):
            return Origin.SIMULATED
        return self._without_simulation(launch)

    def compile(self) -> bool:
        """Compile the program, if that was not done; return whether it can be simulated."""
        if self._fabric is not None:
            return True
        try:
            self._fabric = FabricExecutor(self.program, self.architecture, self.simulation)
        except (ConfigurationError, NotEnoughMemoryError, UnsupportedOperationError) as error:
            self._refuse(error)
            return False
        self._note_figures(ImageFigures(self._fabric.memory, len(self._fabric.image.programs)))
        return True

    def give_up(self, launch: Launch | None) -> Origin:
        """Return the origin of the cycles of a launch that could not be compiled."""
        return self._without_simulation(launch)

    def simulate(
        self, inputs: Arrays, launch: Launch | None, *, host: Arrays, observer: RunObserver | None
    ) -> Arrays | None:
        """Run a launch on the fabric, compare it, and return the fabric's outputs.

        Return None, and expect no further launch as long as this, if it takes more cycles than the
        limits allow, although the closed form is below them.
        """
        fabric, file = self._fabric, self._file
        assert fabric is not None, "`compile` came before"  # invariant
        assert file is not None, "`find` came before"  # invariant
        where = launch or self.program.whole_launch()
        reader = self._prepare(fabric, where)
        with np.errstate(all="ignore"):  # infinities and NaNs come and go as on the wafer
            expected = reader.run(inputs, where)
        try:
            outputs, activity = fabric.run(inputs, observer, launch)
        except LongRunError:
            self._break_off(fabric, where)
            return None
        self.budget.meter.pe_cycles += activity.cycles * self._num_pes
        num_rows = where.num_rows if self.program.sequence_rows else None
        agreement = self._compare(inputs, outputs, expected, host, num_rows)
        self._take(launch, SimulatedLaunch(activity, agreement))
        if all(np.isfinite(array[:num_rows]).all() for array in outputs.values()):
            # What is not finite is simulated again by the next run, which then says so, too.
            figures = ImageFigures(self.memory, len(fabric.image.programs))
            file.keep(where, SimulatedLaunch(activity, agreement), figures)
        return outputs

    @property
    def _num_pes(self) -> int:
        return self.program.width * self.program.height

    def _take_known(self, launch: Launch | None) -> bool:
        """Take a launch that an earlier run simulated, if there was one."""
        if self._file is None and not self._is_refused:
            try:
                emitted = emit(self.program, self.architecture)
            except UnsupportedOperationError as error:
                self._refuse(error)
                return False
            self._file = LaunchFile.of(emitted, self.architecture)
        file = self._file
        where = launch or self.program.whole_launch()
        known = None if file is None else file.launches.get(where)
        if file is None or known is None or file.figures is None:
            return False
        self._note_figures(file.figures)
        self._take(launch, known)
        return True

    def _may_simulate(self, launch: Launch | None) -> bool:
        """Tell whether a launch fits in the budget and the limits; note why if it does not."""
        if self._is_refused:
            return False
        cycles, most = self.times.expect(launch), self.simulation.limits.max_cycles
        if self._is_too_long(launch or self.program.whole_launch()):
            return False
        if most is not None and cycles > most:
            reason = f"a launch takes about {cycles:,} cycles, and at most {most:,} are allowed"
            self.not_simulated = self.not_simulated or NotSimulated(reason)
            return False
        needed = cycles * self._num_pes
        if needed <= self.budget.left:
            return True
        reason = f"a launch takes about {needed:,} PE-cycles, and {self.budget.left:,} are left"
        self.not_simulated = self.not_simulated or NotSimulated(
            reason, launch, self.budget.meter.pe_cycles + needed
        )
        return False

    def _is_too_long(self, launch: Launch) -> bool:
        """Tell whether a launch of no more rows, at no later position, took too many cycles."""
        return any(
            known.num_rows <= launch.num_rows and known.start <= launch.start
            for known in self._too_long
        )

    def _break_off(self, fabric: FabricExecutor, launch: Launch) -> None:
        """Note a launch that took more cycles than the limits allow, and begin afresh."""
        most = self.simulation.limits.max_cycles
        assert most is not None, "nothing else breaks a launch off"  # invariant
        self._too_long.append(launch)
        self.budget.meter.pe_cycles += most * self._num_pes
        expected = self.times.expect(launch)
        reason = (
            f"a launch takes more than the {most:,} cycles that are allowed (--max-cycles); "
            f"{expected:,} were expected"
        )
        self.not_simulated = self.not_simulated or NotSimulated(reason)
        fabric.restart()
        self._unsent |= self._parameters

    def _refuse(self, error: OnewaferError) -> None:
        self._is_refused = True
        self.not_simulated = NotSimulated(str(error))

    def _without_simulation(self, launch: Launch | None) -> Origin:
        return Origin.DERIVED if self.times.has_shape(launch) else Origin.CLOSED_FORM

    def _prepare(self, fabric: FabricExecutor, launch: Launch) -> MeshEvaluator:
        """Put parameters and what is remembered on the wafer; return a reader with the same."""
        fabric.send(self._unsent)
        self._unsent.clear()
        if self._reader is None:
            self._reader = MeshEvaluator(self.program, self._parameters)
        with np.errstate(all="ignore"):
            for inputs, before in self._sequence.launches_before(launch.start):
                self._reader.run(inputs, before)
        kept = self._reader.kept()
        if kept is not None:
            fabric.put_kept(kept)
        return self._reader

    def _compare(
        self, inputs: Arrays, fabric: Arrays, reader: Arrays, host: Arrays, num_rows: int | None
    ) -> Agreement:
        is_beyond = self.host_stores is self.program.dtype and is_beyond_bound(
            self.program, inputs, self._parameters, fabric=fabric, host=host
        )
        return Agreement(
            launches=1,
            other_bits=int(not has_same_bits(fabric, reader, num_rows)),
            distance=distance_from_host(fabric, host),
            beyond_bound=int(is_beyond),
        )

    def _take(self, launch: Launch | None, found: SimulatedLaunch) -> None:
        self.times.add(launch, found.activity)
        self.agreement += found.agreement

    def _note_figures(self, figures: ImageFigures) -> None:
        self.memory, self.num_tile_programs = figures.memory, figures.num_tile_programs
