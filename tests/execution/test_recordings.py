"""Recordings of programs that execution runs: tensors, sources, a file for each program."""

import numpy as np

from onewafer.arch import load_architecture
from onewafer.execution import Fidelity, Recordings, Simulation
from onewafer.execution.executable import build_executor
from onewafer.graph import DataType
from onewafer.host import RecordingOptions
from onewafer.mesh import shard
from onewafer.recording import WINDOW_PART, RecordingFile, column_of_window
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
    parts = [
        first.column(column_of_window(number, WINDOW_PART)) for number in range(len(header.windows))
    ]
    seen = {header.parts[number] for number in np.unique(parts)}
    assert "MLP" in seen
