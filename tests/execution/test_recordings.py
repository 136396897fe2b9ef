"""Recordings of programs that execution runs: tensors, sources, a file for each program."""

from dataclasses import replace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.execution import Fidelity, Recordings, Simulation
from onewafer.execution.executable import build_executor
from onewafer.execution.recorded_operations import DescribedProgram
from onewafer.graph import DataType, ScriptName
from onewafer.host import RecordingOptions
from onewafer.mesh import Arena, Estimator, shard
from onewafer.recording import WINDOW_STEP, RecordingFile, column_of_step, column_of_window
from tests.mesh.strategies import mlp

WSE3 = load_architecture("wse3")


def test_each_program_has_a_file_that_says_where_its_tensors_lie(tmp_path):
    said = []
    recordings = Recordings(tmp_path / "run.parquet", said.append, RecordingOptions(20))
    simulation = Simulation("reference", recordings=recordings)
    for width in (2, 1):
        program = shard(
            mlp([3, 2], batch=1, dtype=DataType.F32), width=width, height=1, architecture=WSE3
        )
        executor = build_executor(program, WSE3, Fidelity.FABRIC, simulation)
        executor.send({"0.weight": np.ones((2, 3), np.float32), "0.bias": np.ones(2, np.float32)})
        (name,) = (item.name for item in program.graph.inputs)
        executor.run({name: np.ones((1, 3), np.float32)})
    recordings.finish()
    first, second = map(RecordingFile, recordings.files)
    header = first.header
    weight = next(tensor for tensor in header.tensors if tensor.name == "0.weight")

    assert [file.name for file in recordings.files] == ["run.parquet", "run-2.parquet"]
    assert len(said) == 2
    assert (header.ending, [launch.name for launch in header.launches]) == ("", ["infer"])
    assert (weight.role, weight.part, weight.shape) == ("parameter", "MLP", (2, 3))
    assert header.splits[weight.columns].blocks == (((0, 2),), ((2, 3),))
    assert header.splits[weight.columns].axis == "x"
    assert {"pe.csl", "matmul.csl"} <= set(first.sources)
    assert second.header.width == 1
    assert {"MLP", "begin and end"} <= set(header.parts)
    steps = [
        first.column(column_of_window(number, WINDOW_STEP)) for number in range(len(header.windows))
    ]
    seen = {header.part_of_step[number + 1] for number in np.unique(steps)}
    assert "MLP" in seen


def test_operations_have_their_lines_layers_and_the_cycles_that_were_seen(tmp_path):
    names = {
        "0.weight": ScriptName("fc1.weight"),
        "0.product": ScriptName(source="model.py:9"),
    }
    graph = replace(mlp([8, 8], batch=4, dtype=DataType.F32), script_names=names)
    program = shard(graph, width=2, height=1, architecture=WSE3)
    recordings = Recordings(tmp_path / "run.parquet", print, RecordingOptions(8))
    executor = build_executor(program, WSE3, Fidelity.FABRIC, Simulation(recordings=recordings))
    sent = {item.name: item.shape for item in graph.parameters}
    executor.send({name: np.ones(shape, np.float32) for name, shape in sent.items()})
    launched = executor.run({item.name: np.ones(item.shape, np.float32) for item in graph.inputs})
    del executor  # as a script lets its model go before its share of the FLOP is known
    recordings.finish(flop_share=0.25)
    file = RecordingFile(tmp_path / "run.parquet")
    linear, *_ = operations = file.header.operations

    assert (linear.title, linear.launch, linear.source) == ("linear, fc1", "infer", "model.py:9")
    assert linear.shape == (4, 8)
    assert file.header.flop_share == 0.25
    elapsed = dict(file.header.step_cycles)
    assert elapsed[0] > 0
    assert set(elapsed) <= set(range(2 * len(operations)))
    assert sum(elapsed.values()) <= file.header.cycles
    assert dict(file.header.memory)["weights"] == program.arena_bytes(Arena.PARAMETERS)
    assert file.header.tensors[0].name == "fc1.weight"
    in_use = program.arena_bytes(Arena.ACTIVATIONS)
    assert 0 < max(operation.activation_bytes for operation in operations) <= in_use
    closed_form = sum(one.work_cycles + one.collective_cycles for one in operations)
    assert closed_form == pytest.approx(launched.activity.cycles, rel=0.1)
    seen = [file.column(column_of_step(step)).mean() for step in (0, 1)]
    assert seen == pytest.approx([linear.work_cycles, linear.collective_cycles], rel=0.2, abs=20)


def test_layers_that_repeat_are_one_operation_with_the_cycles_of_all():
    program = shard(mlp([4] * 9, dtype=DataType.F32), width=2, height=2, architecture=WSE3)
    estimator = Estimator(program, WSE3)
    operations = DescribedProgram(program).operations(estimator)

    assert len(operations) < len(program.graph.operations)
    assert sum(operation.rounds for operation in operations) == len(program.graph.operations)
    cycles = sum(one.work_cycles + one.collective_cycles for one in operations)
    assert cycles == sum(one.cycles for one in estimator.estimate().operations)
