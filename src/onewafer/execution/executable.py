"""Executors that return values: a simulated wafer, or the closed form and a host's values.

In: a verified mesh program. Out: the outputs and costs of its launches.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.execution.activity import Activity, PeMemory
from onewafer.execution.arrays import convert
from onewafer.execution.executor import (
    Figures,
    Launched,
    RepeatedLaunches,
    count_traffic,
    read_outputs,
)
from onewafer.execution.launch_times import Origin
from onewafer.execution.sampling import PurposeSampler
from onewafer.execution.watching import UNWATCHED
from onewafer.graph import Evaluator
from onewafer.host import NO_LIMITS, Device, RunLimits, addresses_of
from onewafer.image import SectionKind
from onewafer.mesh import (
    SLOTS,
    Arena,
    Estimator,
    emit,
    footprint,
    kept_bytes,
    numpy_dtype,
    training_bytes,
)
from onewafer.options import Fidelity
from onewafer.simulator import DEFAULT_ENGINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.execution.arrays import Arrays
    from onewafer.execution.executor import Executor
    from onewafer.execution.recordings import Recordings
    from onewafer.execution.watching import Watch
    from onewafer.graph import DataType, Graph
    from onewafer.host import RunObserver, RunRecorder
    from onewafer.image import TileProgram, WaferImage
    from onewafer.mesh import EmittedPlacement, Launch, MeshProgram
    from onewafer.simulator import Statistics


@dataclass(frozen=True, slots=True)
class Simulation:
    """The settings of the simulation of programs with `fabric` fidelity."""

    engine: str = DEFAULT_ENGINE
    limits: RunLimits = NO_LIMITS
    recordings: Recordings | None = None
    """The recordings of simulations; None: nothing is recorded."""


_PLAIN_SIMULATION = Simulation()


def build_executor(
    program: MeshProgram,
    architecture: Architecture,
    fidelity: Fidelity,
    simulation: Simulation = _PLAIN_SIMULATION,
) -> Executor:
    """Return an executor that returns values; for `fabric` this compiles the program."""
    if fidelity is Fidelity.FABRIC:
        return FabricExecutor(program, architecture, simulation)
    return ModelExecutor(program, architecture)


class FabricExecutor:
    """The program as CSL, compiled and loaded on a simulated wafer."""

    times = None
    leaves_values_to_host = False

    def __init__(
        self, program: MeshProgram, architecture: Architecture, simulation: Simulation
    ) -> None:
        self.program = program
        self._estimator = Estimator(program, architecture)
        self._last_cycles: dict[tuple[str, bool, tuple[int, ...]], int] = {}
        """Entry and slots' rows of a launch → cycles of the last such launch."""
        self._emitted = emit(program, architecture)
        options = CompileOptions(
            entry=self._emitted.entry,
            architecture=architecture,
            params=self._emitted.params,
            by_function=self._emitted.by_function,
        )
        self.image = compile_program(options, MemoryFiles(self._emitted.files))
        self._architecture, self._simulation = architecture, simulation
        self._memory = measure_memory(self.image, program)
        self._recorder: RunRecorder | None = None
        if simulation.recordings is not None:
            self._recorder = simulation.recordings.begin(
                program, self._emitted, self._estimator, self._memory
            )
            weakref.finalize(self, self._recorder.let_go)
        self._device = self._load()
        self._sampler = PurposeSampler(program, self.image, self._emitted.position)
        self._multiplied: dict[str, NDArray[np.floating[Any]]] = {}
        """Last values of the parameters of which only products are sent."""

    def _load(self) -> Device:
        simulation = self._simulation
        device = Device(
            self.image,
            self._architecture,
            engine=simulation.engine,
            limits=simulation.limits,
            recorder=self._recorder,
        )
        device.load()
        return device

    def restart(self) -> None:
        """Reset the wafer after a launch was broken off; all parameters have to be sent again."""
        self._device = self._load()

    def expect(self, launch: Launch | None = None) -> int:
        """Return the cycles of the last launch with as many rows, or else the closed form."""
        shape = _shape(launch or self.program.whole_launch())
        if shape not in self._last_cycles:
            self._last_cycles[shape] = self._estimator.estimate(launch).cycles
        return self._last_cycles[shape]

    @property
    def figures(self) -> Figures:
        """The known facts of the program so far."""
        device = self._device
        return Figures(
            self._memory,
            device.machine.engine,
            len(self.image.programs),
            device.bytes_in,
            device.bytes_out,
        )

    def send(self, parameters: Arrays) -> None:
        """Write parameters to the wafer, where they stay, or their gradients and moments."""
        emitted = self._emitted
        needed = emitted.multiplied
        self._multiplied |= {name: array for name, array in parameters.items() if name in needed}
        arrays = {**self._multiplied, **parameters}
        for placement, blocks in emitted.pack_parameters(arrays, parameters):
            self._write_blocks(placement, blocks)
        beside = emitted.outputs.keys() - emitted.parameters.keys()
        for name in parameters.keys() & beside:
            self._write(emitted.outputs[name], parameters[name])

    def adopt(self, parameters: Arrays) -> None:
        """Do nothing: they are on the wafer."""

    def put_kept(self, blocks: NDArray[Any]) -> None:
        """Write the state that PEs keep from launch to launch, `[height, width, elements]`.

        A launch that was interrupted is finished first, since it would overwrite the state.
        """
        self._device.settle()
        machine = self._device.machine
        addresses = addresses_of(self.image, self._emitted.kept)
        payload = np.ascontiguousarray(blocks).reshape(len(addresses), -1).view(np.uint8)
        for address in np.unique(addresses):
            pes = np.flatnonzero(addresses == address)
            columns = slice(int(address), int(address) + payload.shape[1])
            machine.memory[pes, columns] = payload[pes]
            machine.note_written(pes, columns)

    def run(
        self,
        inputs: Arrays,
        launch: Launch | None = None,
        *,
        host: Callable[[], Arrays] | None = None,
        watch: Watch = UNWATCHED,
    ) -> Launched:
        """Run one bucket of rows."""
        del host
        with watch.simulating(self.expect(launch)) as observer:
            outputs, activity = self.simulate(inputs, launch, observer)
        return Launched(launch, outputs, activity, Origin.SIMULATED)

    def repeat(self, launch: Launch) -> Launched | None:
        """Return None: every launch is run."""
        del launch

    def move(self, bytes_in: int, bytes_out: int) -> None:
        """Do nothing: every launch is run."""
        del bytes_in, bytes_out

    def simulate(
        self, inputs: Arrays, launch: Launch | None, observer: RunObserver | None
    ) -> tuple[Arrays, Activity]:
        """Return the outputs and the activity of a launch."""
        where = launch or self.program.whole_launch()
        self.program.check(where)
        for name, array in inputs.items():
            self._write(self._emitted.inputs[name], array)
        if self._emitted.has_slots:
            self._device.write(SLOTS, self._emitted.slots(where))
        machine, sampler = self._device.machine, self._sampler
        before = machine.statistics()
        sampler.begin(machine, self.expect(launch))
        report = self._device.launch(
            where.entry, *self._emitted.arguments(where), observer=observer, sampler=sampler
        )
        after = machine.statistics()
        self._last_cycles[_shape(where)] = report.cycles
        outputs = {
            name: self._read(placement)
            for name, placement in self._emitted.outputs.items()
            if placement.placement.is_of(where.entry)
        }
        activity = _difference(before, after, report.cycles)
        return outputs, replace(activity, spent=sampler.spent(report.cycles))

    def _write(self, placement: EmittedPlacement, array: NDArray[np.floating[Any]]) -> None:
        self._write_blocks(placement, placement.pack(array))

    def _write_blocks(self, placement: EmittedPlacement, blocks: NDArray[np.floating[Any]]) -> None:
        """Send every block of each group once; the wafer makes the replicas."""
        copy = placement.first_copy
        for group in placement.groups:
            rows = slice(group.y, group.y + copy.height)
            self._device.write(placement.symbol, blocks[rows, : copy.width], group)

    def _read(self, placement: EmittedPlacement) -> NDArray[np.floating[Any]]:
        """Fetch every block once; tensors that stay on the wafer are read without cost."""
        copy, num_elements = placement.first_copy, placement.num_elements
        is_copied = not placement.placement.is_resident
        read = self._device.read if is_copied else self._device.look
        groups = placement.groups
        read_groups = groups if placement.placement.is_cut else groups[:1]
        blocks = [
            np.broadcast_to(
                read(placement.symbol, num_elements, replace(copy, y=group.y)),
                (group.height, group.width, num_elements),
            )
            for group in read_groups
        ]
        if len(groups) == 1:
            return placement.unpack(blocks[0])
        return placement.unpack(np.concatenate(blocks * (len(groups) // len(blocks))))


class ModelExecutor:
    """The program in closed form: cycles by the estimate, values as a host computes them.

    Each operation is computed in f32 and its result rounded to the program's type; sums are in the
    host's order, so that values agree with `fabric` within rounding. The values of a program that
    trains are left to the host.
    """

    times = None

    def __init__(self, program: MeshProgram, architecture: Architecture) -> None:
        self.program = program
        self.leaves_values_to_host = program.trains
        self.figures = Figures(expect_memory(program, architecture))
        self._estimator = Estimator(program, architecture)
        self._repeated = RepeatedLaunches(program)
        self._cycles: dict[Launch | None, int] = {}
        """Cycles of the launches so far."""
        self._parameters: dict[str, NDArray[np.floating[Any]]] = {}
        self._evaluation: HostEvaluation | None = None
        """The evaluation of the graph; None: parameters have changed since the last run."""

    def expect(self, launch: Launch | None = None) -> int:
        """Return the cycles of a launch in closed form."""
        if launch not in self._cycles:
            self._cycles[launch] = self._estimator.estimate(launch).cycles
        return self._cycles[launch]

    def send(self, parameters: Arrays) -> None:
        """Keep parameters for the coming runs."""
        if not self.leaves_values_to_host:
            self._parameters |= parameters
            self._evaluation = None
        self._count(parameters, ())

    def adopt(self, parameters: Arrays) -> None:
        """Do nothing: the host has them."""

    def run(
        self,
        inputs: Arrays,
        launch: Launch | None = None,
        *,
        host: Callable[[], Arrays] | None = None,
        watch: Watch = UNWATCHED,
    ) -> Launched:
        """Evaluate one bucket of rows; only the cycles are known."""
        del host
        expected, where = self.expect(launch), launch or self.program.whole_launch()
        outputs: Arrays = {}
        if not self.leaves_values_to_host:
            with watch.simulating(expected):
                outputs = self._evaluate(inputs, where)
        self._count(inputs, read_outputs(self.program, where))
        return Launched(launch, outputs, Activity(cycles=expected), Origin.CLOSED_FORM)

    def repeat(self, launch: Launch) -> Launched | None:
        """Account for a launch, if its values are left to the host."""
        if not self.leaves_values_to_host:
            return None
        self.figures = self._repeated.count(self.figures, launch)
        return Launched(launch, {}, Activity(cycles=self.expect(launch)), Origin.CLOSED_FORM)

    def move(self, bytes_in: int, bytes_out: int) -> None:
        """Count the bytes that a group of launches moves."""
        self.figures = self.figures.moved(bytes_in, bytes_out)

    def _evaluate(self, inputs: Arrays, where: Launch) -> Arrays:
        self.program.check(where)
        graph = self.program.graph
        if self._evaluation is None:
            self._evaluation = HostEvaluation(graph, self._parameters, self.program.dtype)
        found = self._evaluation.run(inputs, where)
        return {n: convert(array, graph.tensor(n).dtype) for n, array in found.items()}

    def _count(self, written: Iterable[str], read: Iterable[str]) -> None:
        self.figures = count_traffic(self.figures, self.program, written, read)


def _shape(launch: Launch) -> tuple[str, bool, tuple[int, ...]]:
    """Return the entry of a launch, whether it is an evaluation, and the rows of its slots."""
    return launch.entry, launch.is_evaluation, tuple(slot.rows for slot in launch.slots)


def measure_memory(image: WaferImage, program: MeshProgram) -> PeMemory:
    """Return the memory of the PE that uses most (the first in reading order)."""
    totals = np.array([sum(s.num_bytes for s in p.sections) for p in image.programs])
    per_pe = np.where(image.program_of_pe >= 0, totals[image.program_of_pe], -1)
    y, x = (int(i) for i in np.unravel_index(np.argmax(per_pe), per_pe.shape))
    tile = image.programs[int(image.program_of_pe[y, x])]
    code = _section_bytes(tile, SectionKind.CODE) + _section_bytes(tile, SectionKind.RUNTIME)
    weights = program.arena_bytes(Arena.PARAMETERS)
    activations = program.arena_bytes(Arena.ACTIVATIONS)
    kept = kept_bytes(program)
    cache = program.arena_bytes(Arena.STATE) - kept
    training = training_bytes(program)
    rest = int(per_pe[y, x]) - code - weights - activations - cache - training - kept
    return PeMemory(x, y, code, weights, activations, cache, rest, training, kept)


def expect_memory(program: MeshProgram, architecture: Architecture) -> PeMemory:
    """Return the memory of any PE in closed form, an upper bound."""
    needed = footprint(program, architecture)
    return PeMemory(
        x=None,
        y=None,
        code_bytes=needed.runtime + needed.kernels,
        weight_bytes=needed.weights,
        activation_bytes=needed.activations,
        cache_bytes=needed.state,
        buffer_bytes=needed.buffers + needed.schedule,
        training_bytes=needed.training,
        kept_bytes=needed.kept,
    )


def _section_bytes(tile: TileProgram, kind: SectionKind) -> int:
    return sum(section.num_bytes for section in tile.sections if section.kind is kind)


def _difference(before: Statistics, after: Statistics, cycles: int) -> Activity:
    """Return the activity of a launch from the counters before and after it."""
    works = [found.main_thread_cycles + found.data_path_cycles for found in (before, after)]
    return Activity(
        cycles=cycles,
        observed_cycles=cycles,
        wavelet_hops=int(after.wavelet_hops - before.wavelet_hops),
        busy_pe_cycles=int((works[1] - works[0]).clip(max=cycles).sum()),
        link_wavelets=int(after.wavelet_hops - before.wavelet_hops),
    )


class HostEvaluation:
    """A graph with its parameters; it remembers the sequences of its launches."""

    def __init__(self, graph: Graph, parameters: Arrays, stored_as: DataType) -> None:
        """Take the parameters; results are rounded to a type."""
        self._is_sequence = graph.is_sequence
        self._evaluator = Evaluator(
            graph, parameters, dtype=np.float32, stored_as=numpy_dtype(stored_as)
        )

    def run(self, inputs: Arrays, launch: Launch) -> Arrays:
        """Return the outputs of a launch, infinities and NaNs as they come."""
        with np.errstate(all="ignore"):
            if self._is_sequence:
                return self._evaluator.run_slots(inputs, launch.slots)
            return self._evaluator.run(inputs)
