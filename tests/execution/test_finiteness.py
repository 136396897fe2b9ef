"""Where an infinity comes from, in a program that keeps several sequences."""

from __future__ import annotations

import numpy as np

from onewafer.arch import load_architecture
from onewafer.execution.finiteness import FinitenessCheck
from onewafer.graph import DataType, Slot
from onewafer.mesh import Launch, MeshEvaluator, shard
from tests.mesh.models import llama
from tests.mesh.test_sequences import arrays_of

GRAPH = llama(rows=4, positions=8, layers=1, dtype=DataType.F16)
PROGRAM = shard(
    GRAPH, width=2, height=2, architecture=load_architecture("wse3"), context=8, sequences=3
)
LAUNCHES = (
    ([5, 2, 4, 3], (Slot(0, 0, 3), Slot(2, 0, 1))),
    ([1, 1], (Slot(1, 0, 2),)),
    ([6, 2, 2], (Slot(1, 0, 1), Slot(0, 3, 2))),  # the second sequence begins anew
    ([3, 4], (Slot(0, 5, 1), Slot(1, 1, 1))),
)


def find_origin(parameters):
    """Return what is said of the last launch: it goes on with sequences of the others."""
    said = []
    check = FinitenessCheck(PROGRAM, DataType.F32, said.append)
    reader = MeshEvaluator(PROGRAM, parameters)
    check.send(parameters)
    for tokens, slots in LAUNCHES:
        inputs, launch = {"ids": np.zeros((4, 1), np.int32)}, Launch(slots)
        inputs["ids"][: len(tokens), 0] = tokens
        with np.errstate(all="ignore"):
            outputs = reader.run(inputs, launch)
        check.look(inputs, launch, outputs if slots == LAUNCHES[-1][1] else {})
    return said


def test_launches_of_all_sequences_are_made_again():
    parameters = {name: array.astype(np.float16) for name, array in arrays_of(GRAPH, 0).items()}
    assert find_origin(parameters) == []
    for name in ("0.up.weight", "0.down.weight"):
        parameters[name] = parameters[name] * np.float16(3000)
    (found,) = find_origin(parameters)
    assert found.startswith("an infinity arises on the wafer first in Linear with 0.down.weight")
