"""Fidelity `auto`: the host computes values, and a few launches are simulated for their cycles.

In: the launches of a program, one after the other, and a budget of PE-cycles. Out: the launches
that are simulated, and the costs of all (`LaunchTimes`). A simulated launch begins with the state
that the program would have by then: the NumPy reader repeats the launches before it, and its blocks
of keys and values are written to the wafer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    are_finite,
    distance_from_host,
    has_same_bits,
    is_beyond_bound,
)
from onewafer.execution.executable import FabricExecutor, expect_memory
from onewafer.execution.executor import (
    Figures,
    Launched,
    NotSimulated,
    RepeatedLaunches,
    count_traffic,
    read_outputs,
)
from onewafer.execution.launch_files import ImageFigures, LaunchFile, SimulatedLaunch
from onewafer.execution.launch_times import LaunchTimes, Origin
from onewafer.execution.sequence_rows import SequenceRows
from onewafer.execution.watching import UNWATCHED
from onewafer.mesh import MeshEvaluator, emit
from onewafer.simulator import NotEnoughMemoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.execution.arrays import Arrays
    from onewafer.execution.executable import Simulation
    from onewafer.execution.watching import Watch
    from onewafer.graph import DataType
    from onewafer.mesh import Launch, MeshProgram


@dataclass(slots=True)
class Meter:
    """The simulated launches of a run."""

    pe_cycles: int = 0
    """Cycles times PEs of the rectangle."""
    programs: int = 0
    """Programs that were compiled for simulation."""


_PE_CYCLES_OF_PROGRAM = 50_000_000
"""PE-cycles of budget per compiled program: compiling takes as long as simulating these."""


@dataclass(frozen=True, slots=True)
class Budget:
    """PE-cycles that a run may simulate."""

    limit: int
    meter: Meter = field(default_factory=Meter)

    @property
    def left(self) -> int:
        """PE-cycles that launches may still take."""
        return max(0, self.limit - self.meter.pe_cycles)

    @property
    def for_next_program(self) -> int:
        """The least limit with which one more program may be compiled."""
        return self.meter.programs * _PE_CYCLES_OF_PROGRAM


@dataclass(slots=True)
class AutoExecutor:
    """A program of which the first launch of each shape is simulated, within a budget."""

    program: MeshProgram
    architecture: Architecture
    simulation: Simulation
    budget: Budget
    host_stores: DataType
    """The type of the host's results, which decides whether an error bound applies."""
    times: LaunchTimes = field(init=False)
    figures: Figures = field(init=False)
    leaves_values_to_host = True
    _parameters: dict[str, NDArray[Any]] = field(default_factory=dict[str, "NDArray[Any]"])
    _unsent: dict[str, NDArray[Any]] = field(default_factory=dict[str, "NDArray[Any]"])
    """Parameters that are not on the simulated wafer."""
    _settled: dict[Launch, Origin] = field(default_factory=dict["Launch", Origin])
    """Launches that are not simulated → the origin of their cycles."""
    _repeated: RepeatedLaunches = field(init=False)
    _sequences: SequenceRows = field(init=False)
    _is_refused: bool = False
    """True if the program cannot be emitted or compiled."""
    _too_long: list[Launch] = field(default_factory=list["Launch"])
    """Launches that took more cycles than the limits allow."""
    _file: LaunchFile | None = None
    """Launches that earlier runs simulated; None: not read yet."""
    _fabric: FabricExecutor | None = None
    _reader: MeshEvaluator | None = None
    """The NumPy reader; None: to be made anew, since parameters have changed."""
    _has_pass: bool = False
    """True if all launches since the last one of the first entry were simulated."""

    def __post_init__(self) -> None:
        """Begin with nothing simulated."""
        self.times = LaunchTimes(self.program, self.architecture)
        self.figures = Figures(expect_memory(self.program, self.architecture))
        self._sequences = SequenceRows(self.program)
        self._repeated = RepeatedLaunches(self.program)

    def expect(self, launch: Launch | None = None) -> int:
        """Return the cycles of a launch by the best estimate so far."""
        return self.times.expect(launch)

    def send(self, parameters: Arrays) -> None:
        """Keep parameters, which the next simulated launch writes to the simulated wafer."""
        self._parameters |= parameters
        self._unsent |= parameters
        self._reader = None
        self.figures = count_traffic(self.figures, self.program, parameters, ())

    def adopt(self, parameters: Arrays) -> None:
        """Take parameters as a launch has changed them."""
        self._parameters |= parameters
        self._unsent |= parameters
        self._reader = None

    def run(
        self,
        inputs: Arrays,
        launch: Launch | None = None,
        *,
        host: Callable[[], Arrays] | None = None,
        watch: Watch = UNWATCHED,
    ) -> Launched:
        """Account for a launch; simulate it if it has to be."""
        self._note(inputs, launch)
        origin = self.find(launch)
        if origin is Origin.SIMULATED:
            fabric = self._compile(watch)
            if fabric is not None:
                values = host if self._has_what_is_read(launch) else None
                made = self._simulate(fabric, inputs, launch, host=values, watch=watch)
                if made is not None:
                    self._has_pass = self._has_what_is_read(launch)
                    return made
            origin = self._without_simulation(launch)
        self._has_pass = False
        if launch is not None and self.program.trains and origin is not Origin.KNOWN:
            self._settled[launch] = origin
        return Launched(launch, {}, self.times.activity(launch), origin)

    def _has_what_is_read(self, launch: Launch | None) -> bool:
        """Tell whether the simulated wafer has the state that the launches before this one left."""
        return launch is None or launch.entry == self.program.entries[0] or self._has_pass

    def repeat(self, launch: Launch) -> Launched | None:
        """Count a launch like an earlier one that was not simulated; return None for others.

        Only programs that train repeat launches, and each forward pass resets their state.
        """
        origin = self._settled.get(launch)
        if origin is None:
            return None
        self._has_pass = False
        self.figures = self._repeated.count(self.figures, launch)
        return Launched(launch, {}, self.times.activity(launch), origin)

    def move(self, bytes_in: int, bytes_out: int) -> None:
        """Count the bytes that a group of launches moves."""
        self.figures = self.figures.moved(bytes_in, bytes_out)

    def _note(self, inputs: Arrays, launch: Launch | None) -> None:
        """Note the input rows and the traffic of a launch, before it is counted or simulated."""
        self._sequences.note(inputs, launch)
        outputs = read_outputs(self.program, launch or self.program.whole_launch())
        self.figures = count_traffic(self.figures, self.program, inputs, outputs)

    def find(self, launch: Launch | None) -> Origin:
        """Return the origin of a launch's cycles; SIMULATED: it has to be simulated."""
        if not self.times.is_due(launch):
            return Origin.DERIVED
        if self._take_known(launch):
            return Origin.KNOWN
        if self._may_simulate(launch):
            return Origin.SIMULATED
        return self._without_simulation(launch)

    def _compile(self, watch: Watch) -> FabricExecutor | None:
        """Compile the program, once, and return it; None: it cannot be simulated."""
        if self._fabric is not None:
            return self._fabric
        try:
            with watch.compiling():
                self._fabric = FabricExecutor(self.program, self.architecture, self.simulation)
        except (ConfigurationError, NotEnoughMemoryError, UnsupportedOperationError) as error:
            self._refuse(error)
            return None
        finally:
            self.budget.meter.programs += 1
        self.figures = replace(self.figures, engine=self.simulation.engine)
        self._note_image(self._fabric.figures)
        return self._fabric

    def _simulate(
        self,
        fabric: FabricExecutor,
        inputs: Arrays,
        launch: Launch | None,
        *,
        host: Callable[[], Arrays] | None,
        watch: Watch,
    ) -> Launched | None:
        """Run a launch on the fabric, and compare its values with the reader's and the host's.

        Return None if it takes more cycles than the limits allow, although its closed form is
        below them; launches of this length or longer are not simulated from then on.
        """
        where = launch or self.program.whole_launch()
        of_host: Arrays = host() if host else {}
        with watch.simulating(self.times.expect(launch)) as observer:
            try:
                reader = self._prepare(fabric, where)
                with np.errstate(all="ignore"):  # infinities and NaNs come and go as on the wafer
                    expected = reader.run(inputs, where)
                outputs, activity = fabric.simulate(inputs, launch, observer)
            except LongRunError:
                self._break_off(fabric, where)
                return None
        self.budget.meter.pe_cycles += activity.cycles * self._num_pes
        rows = self.program.output_rows(where)
        agreement = self._compare(inputs, outputs, expected, of_host, rows)
        found = SimulatedLaunch(activity, agreement)
        self._take(launch, found)
        if are_finite(outputs, rows):
            # A launch with values that are not finite is not kept: the next run warns again.
            self._keep(where, found)
        return Launched(launch, outputs, activity, Origin.SIMULATED)

    @property
    def _num_pes(self) -> int:
        return self.program.width * self.program.height

    def _take_known(self, launch: Launch | None) -> bool:
        """Use the result of an earlier run that simulated this launch, if there is one.

        A run that is recorded simulates it again, since a recording shows the simulation.
        """
        if self._file is None and not self._is_refused:
            try:
                emitted = emit(self.program, self.architecture)
            except UnsupportedOperationError as error:
                self._refuse(error)
                return False
            self._file = LaunchFile.of(emitted, self.architecture)
        file = self._file
        where = launch or self.program.whole_launch()
        is_recorded = self.simulation.recordings is not None
        known = None if file is None or is_recorded else file.launches.get(where)
        if file is None or known is None or file.figures is None:
            return False
        self._note_image(file.figures)
        self._take(launch, known)
        return True

    def _keep(self, where: Launch, found: SimulatedLaunch) -> None:
        """Write a simulated launch to the file that later runs read."""
        file, figures = self._file, self.figures
        assert file is not None, "`find` came before"  # invariant
        assert figures.num_tile_programs is not None, "it was compiled"  # invariant
        file.keep(where, found, ImageFigures(figures.memory, figures.num_tile_programs))

    def _may_simulate(self, launch: Launch | None) -> bool:
        """Tell whether a launch fits in the budget and the limits; note why if it does not."""
        if self._is_refused:
            return False
        cycles, most = self.times.expect(launch), self.simulation.limits.max_cycles
        if self._is_too_long(launch or self.program.whole_launch()):
            return False
        if most is not None and cycles > most:
            reason = f"a launch takes about {cycles:,} cycles, and at most {most:,} are allowed"
            self._miss(NotSimulated(reason))
            return False
        needed = cycles * self._num_pes
        if needed <= self.budget.left:
            return self._may_compile(needed)
        reason = f"a launch takes about {needed:,} PE-cycles, and {self.budget.left:,} are left"
        self._miss(NotSimulated(reason, launch, self.budget.meter.pe_cycles + needed))
        return False

    def _may_compile(self, pe_cycles: int) -> bool:
        """Tell whether the budget allows compiling the program; note why if it does not."""
        budget = self.budget
        if self._fabric is not None or budget.for_next_program <= budget.limit:
            return True
        count = budget.meter.programs
        programs = "1 program was" if count == 1 else f"{count} programs were"
        reason = f"{programs} compiled for simulations before it"
        needed = max(budget.for_next_program, budget.meter.pe_cycles + pe_cycles)
        self._miss(NotSimulated(reason, needed_budget=needed, may_be_cheaper=False))
        return False

    def _miss(self, missed: NotSimulated) -> None:
        first = self.figures.not_simulated or missed
        self.figures = replace(self.figures, not_simulated=first)

    def _is_too_long(self, launch: Launch) -> bool:
        """Tell whether a launch with as few rows and positions, or fewer, took too many cycles."""
        return any(
            known.num_rows <= launch.num_rows and known.positions <= launch.positions
            for known in self._too_long
        )

    def _break_off(self, fabric: FabricExecutor, launch: Launch) -> None:
        """Note a launch that took more cycles than the limits allow, and reset the wafer."""
        most = self.simulation.limits.max_cycles
        assert most is not None, "nothing else breaks a launch off"  # invariant
        self._too_long.append(launch)
        self.budget.meter.pe_cycles += most * self._num_pes
        expected = self.times.expect(launch)
        reason = (
            f"a launch takes more than the {most:,} cycles that are allowed (--max-cycles); "
            f"{expected:,} were expected"
        )
        self._miss(NotSimulated(reason))
        fabric.restart()
        self._unsent |= self._parameters

    def _refuse(self, error: OnewaferError) -> None:
        self._is_refused = True
        self.figures = replace(self.figures, not_simulated=NotSimulated(str(error)))

    def _without_simulation(self, launch: Launch | None) -> Origin:
        return Origin.DERIVED if self.times.has_shape(launch) else Origin.CLOSED_FORM

    def _prepare(self, fabric: FabricExecutor, launch: Launch) -> MeshEvaluator:
        """Write parameters and state to the wafer; return a NumPy reader with the same state."""
        if self._reader is None:
            if self.program.trains:  # its earlier results are unknown to the reader
                fabric.restart()
                self._unsent |= self._parameters
            self._reader = MeshEvaluator(self.program, self._parameters)
        fabric.send(self._unsent)
        self._unsent.clear()
        with np.errstate(all="ignore"):
            for inputs, before in self._sequences.launches_before(launch):
                self._reader.run(inputs, before)
        kept = self._reader.kept()
        if kept is not None:
            fabric.put_kept(kept)
        for inputs, before in self._sequences.launches_left(launch):
            with np.errstate(all="ignore"):
                self._reader.run(inputs, before)
            _, activity = fabric.simulate(inputs, before, None)
            self.budget.meter.pe_cycles += activity.cycles * self._num_pes
        return self._reader

    def _compare(
        self,
        inputs: Arrays,
        fabric: Arrays,
        reader: Arrays,
        host: Arrays,
        rows: Mapping[str, int],
    ) -> Agreement:
        is_alike = self.host_stores is self.program.dtype
        has_bound = is_alike and not self.program.trains and self.program.sequence_rows is None
        is_beyond = has_bound and is_beyond_bound(
            self.program, inputs, self._parameters, fabric=fabric, host=host
        )
        return Agreement(
            launches=1,
            other_bits=int(not has_same_bits(fabric, reader, rows)),
            distance=distance_from_host(fabric, host),
            beyond_bound=int(is_beyond),
        )

    def _take(self, launch: Launch | None, found: SimulatedLaunch) -> None:
        self.times.add(launch, found.activity)
        agreement = self.figures.agreement + found.agreement
        self.figures = replace(self.figures, agreement=agreement)

    def _note_image(self, image: ImageFigures | Figures) -> None:
        memory, programs = image.memory, image.num_tile_programs
        self.figures = replace(self.figures, memory=memory, num_tile_programs=programs)
