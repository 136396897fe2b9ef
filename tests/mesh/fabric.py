"""Run a mesh program on the simulated wafer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onewafer.csl import CompileOptions, MemoryFiles
from onewafer.host import Device
from onewafer.mesh import emit, estimate
from onewafer.mesh.blocks import INFER
from onewafer.mesh.emit_csl import SLOTS
from onewafer.mesh.reference import MeshEvaluator
from onewafer.simulator import DEFAULT_ENGINE
from tests.compiled_once import compile_once
from tests.mesh.strategies import assert_same_bits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.image import WaferImage
    from onewafer.mesh import EmittedProgram, Launch, MeshProgram

    Arrays = Mapping[str, NDArray[Any]]


MOST_TURNS = 2
"""Cycles by which a launch may differ from the one before it."""


@dataclass(frozen=True, slots=True)
class FabricRun:
    """What the wafer gave."""

    outputs: dict[str, NDArray[Any]]
    cycles: int


def compile_emitted(emitted: EmittedProgram, architecture: Architecture) -> WaferImage:
    """Compile the text of a mesh program."""
    options = CompileOptions(
        entry=emitted.entry,
        architecture=architecture,
        params=emitted.params,
        by_function=emitted.by_function,
    )
    return compile_once(options, MemoryFiles(emitted.files))


def run_launches(
    program: MeshProgram,
    architecture: Architecture,
    parameters: Arrays,
    launches: Sequence[tuple[Arrays, Launch]],
    *,
    engine: str = DEFAULT_ENGINE,
    prepare: Callable[[Device], None] = lambda _: None,
    change: Callable[[EmittedProgram], EmittedProgram] = lambda emitted: emitted,
) -> list[FabricRun]:
    """Compile, load, copy parameters in; then launch one after the other on a sequence."""
    emitted = change(emit(program, architecture))
    device = Device(compile_emitted(emitted, architecture), architecture, engine=engine)
    device.load()
    prepare(device)
    for placement, blocks in emitted.pack_parameters(parameters):
        device.write(placement.symbol, blocks)
    runs: list[FabricRun] = []
    for inputs, launch in launches:
        for name, placement in emitted.inputs.items():
            if placement.placement.is_of(launch.entry):
                device.write(placement.symbol, placement.pack(inputs[name]))
        if emitted.has_slots:
            device.write(SLOTS, emitted.slots(launch))
        report = device.launch(launch.entry, *emitted.arguments(launch))
        outputs = {
            name: placement.unpack(device.read(placement.symbol, placement.num_elements))
            for name, placement in emitted.outputs.items()
            if placement.placement.is_of(launch.entry)
        }
        runs.append(FabricRun(outputs, report.cycles))
    return runs


def run_on_fabric(
    program: MeshProgram,
    architecture: Architecture,
    inputs: Arrays,
    parameters: Arrays,
    *,
    engine: str = DEFAULT_ENGINE,
    prepare: Callable[[Device], None] = lambda _: None,
    change: Callable[[EmittedProgram], EmittedProgram] = lambda emitted: emitted,
) -> FabricRun:
    """Compile, load, copy in, launch twice, copy out; the second run must equal the first.

    Whose turn it is where two colors come to a ramp at once stays from launch to launch (M54).
    """
    emitted = change(emit(program, architecture))
    device = Device(compile_emitted(emitted, architecture), architecture, engine=engine)
    device.load()
    prepare(device)
    for placement, blocks in emitted.pack_parameters(parameters):
        device.write(placement.symbol, blocks)
    runs: list[FabricRun] = []
    for _ in range(2):
        for name, placement in emitted.inputs.items():
            device.write(placement.symbol, placement.pack(inputs[name]))
        report = device.launch(INFER)
        outputs = {
            name: placement.unpack(device.read(placement.symbol, placement.num_elements))
            for name, placement in emitted.outputs.items()
        }
        runs.append(FabricRun(outputs, report.cycles))
    first, second = runs
    assert abs(first.cycles - second.cycles) <= MOST_TURNS
    for name, value in first.outputs.items():
        assert value.tobytes() == second.outputs[name].tobytes()
    return first


def check_launches(
    program: MeshProgram,
    architecture: Architecture,
    parameters: Arrays,
    launches: Sequence[tuple[Arrays, Launch]],
    *,
    tolerance: float = 0.1,
    slack: int = 0,
) -> list[FabricRun]:
    """Run launches; compare values with NumPy bit by bit, and cycles with the closed form.

    Cycles may differ by a share of them, `tolerance`, or by `slack`, whatever is more.
    """
    evaluator = MeshEvaluator(program, parameters)
    runs = run_launches(program, architecture, parameters, launches)
    for run, (inputs, launch) in zip(runs, launches, strict=True):
        expected = evaluator.run(inputs, launch)
        assert expected.keys() == run.outputs.keys()
        for name, value in expected.items():
            assert_same_bits(run.outputs[name], value)
        cycles = estimate(program, architecture, launch).cycles
        assert abs(cycles - run.cycles) <= max(tolerance * run.cycles, slack), launch.entry
    return runs
