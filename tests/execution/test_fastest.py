"""The fastest rectangle of the wafer, held against placements on every rectangle of a grid."""

from collections import Counter
from dataclasses import replace

import pytest

from onewafer.errors import TooLargeError
from onewafer.execution import (
    Fidelity,
    Loader,
    Trained,
    WaferOptions,
    Wanted,
    place,
    place_training,
)
from onewafer.execution.records import PhaseRecord
from onewafer.execution.report import find_fastest
from onewafer.graph import (
    AddBias,
    Convolution,
    DataType,
    GlobalAveragePool,
    Graph,
    Tensor,
    Window,
    derive_gradients,
)
from onewafer.mesh import CLIPPING, largest_rectangle
from tests.mesh.strategies import mlp

OPTIONS = WaferOptions(fidelity=Fidelity.MODEL)


def fastest_of(place_on):
    """Return the record of a placed program, and the fastest rectangle for all its entries."""
    loader = Loader(OPTIONS)
    placed = place_on(loader.architecture, OPTIONS)
    program = loader.load(Wanted(placed, "net"))
    whole = placed.program.whole_launch()
    entries = [entry for entry in placed.program.entries if entry not in CLIPPING]
    phases = [PhaseRecord(launches=Counter([replace(whole, entry=entry)])) for entry in entries]
    return program.record, find_fastest(program.record, phases)


def fewest_cycles(place_on, architecture):
    """Return the cycles of each rectangle whose sides are powers of two, or the wafer's."""
    widest, highest = largest_rectangle(architecture)
    found = {}
    for width in [*(1 << power for power in range(widest.bit_length())), widest]:
        for height in [*(1 << power for power in range(highest.bit_length())), highest]:
            try:
                placed = place_on(architecture, replace(OPTIONS, rectangle=(width, height)))
            except TooLargeError:
                continue
            found[width, height] = min(one.cycles for one in placed.candidates if one.cycles)
    return found


def pictures(samples):
    """Return a convolution with its gradients."""
    shape, pixels = (samples * 16, 8), 16
    x, y, z = (Tensor(name, shape, DataType.F32) for name in "xyz")
    w, b = Tensor("w", (9, 8, 8), DataType.F32), Tensor("b", (8,), DataType.F32)
    operations = (
        *(
            Convolution(y, "x", "w", Window(4, 4, 3, 3, top=1, left=1, bottom=1, right=1)),
            AddBias(z, "y", "b"),
        ),
        GlobalAveragePool(Tensor("p", (samples, 8), DataType.F32), "z", pixels),
    )
    return derive_gradients(Graph("net", (x,), (w, b), operations, ("p",)), ["w"])


def training(gradients):
    return lambda *on: place_training(gradients, Trained(3), *on)


@pytest.mark.parametrize(
    "place_on",
    [
        pytest.param(lambda *on: place(mlp([64, 32, 10], batch=64), *on), id="perceptron"),
        pytest.param(lambda *on: place(mlp([512, 512], batch=4), *on), id="wide"),
        pytest.param(training(pictures(4)), id="pictures"),
    ],
)
@pytest.mark.alternate(3)
def test_it_is_the_fastest_of_the_whole_grid(place_on):
    record, fastest = fastest_of(place_on)
    grid = fewest_cycles(place_on, record.architecture)
    here = record.program.width, record.program.height

    assert grid[fastest.width, fastest.height] == min(grid.values()) < grid[here]
    assert fastest.speedup == grid[here] / min(grid.values())
