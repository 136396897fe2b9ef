"""Mesh programs run by the face of the package alone: arrays in, arrays and costs out."""

import subprocess
import sys

import numpy as np
import pytest

from onewafer.errors import HostError, UnsupportedOperationError
from onewafer.execution import Fidelity, Loader, Phase, WaferOptions, Wanted, place
from onewafer.graph import evaluate_graph
from tests.mesh.strategies import mlp, random_arrays

GRAPH = mlp([6, 5, 3])
WEIGHTS, INPUTS = random_arrays(GRAPH.parameters, 0), random_arrays(GRAPH.inputs, 1)


def load(fidelity):
    loader = Loader(WaferOptions(fidelity=fidelity, rectangle=(2, 2)))
    placed = place(GRAPH, loader.architecture, loader.options)
    return loader, loader.load(Wanted(placed, "perceptron"))


@pytest.mark.parametrize("fidelity", [Fidelity.FABRIC, Fidelity.MODEL])
def test_a_launch_gives_values_and_what_it_cost(fidelity):
    loader, program = load(fidelity)
    assert program.keep(WEIGHTS) == WEIGHTS.keys()
    expected = program.expect()
    launched = program.launch(INPUTS)
    for name, values in evaluate_graph(GRAPH, INPUTS, WEIGHTS).items():
        np.testing.assert_allclose(launched.outputs[name], values, rtol=1e-5)
    assert launched.activity.cycles == pytest.approx(expected, rel=0.1)
    program.count_call(Phase.BATCH, [launched], rows=4, flop=100)
    (record,) = loader.ledger.programs
    assert (record.launches, record.activity, record.flop) == (1, launched.activity, 100)
    assert program.expect() == launched.activity.cycles


def test_what_has_changed_is_written_again_and_nothing_else():
    _, program = load(Fidelity.MODEL)
    names = [*WEIGHTS]
    program.keep(WEIGHTS)
    assert not program.keep({name: array.copy() for name, array in WEIGHTS.items()})
    changed = {**WEIGHTS, names[1]: -WEIGHTS[names[1]]}
    assert program.keep(changed) == {names[1]}
    before = program.launch(INPUTS).outputs
    assert program.keep(WEIGHTS) == {names[1]}
    after = program.launch(INPUTS).outputs
    assert any((before[name] != after[name]).any() for name in before)
    assert (program.record.parameters_sent, program.record.parameters_resent) == (len(names), 2)


def test_a_version_stands_for_the_bits():
    _, program = load(Fidelity.MODEL)
    versions = dict.fromkeys(WEIGHTS, 1)
    name = next(iter(WEIGHTS))
    program.keep(WEIGHTS, versions)
    changed = {**WEIGHTS, name: WEIGHTS[name] + 1}
    assert not program.keep(changed, versions)  # so its owner says
    assert program.keep(changed, versions | {name: 2}) == {name}
    assert program.keep(changed) == WEIGHTS.keys()  # nothing is known of their bits
    assert not program.keep(changed)


def test_a_tensor_that_could_not_be_written_is_written_the_next_time():
    _, program = load(Fidelity.FABRIC)
    name = next(iter(WEIGHTS))
    with pytest.raises(HostError, match="shape"):
        program.keep({**WEIGHTS, name: np.zeros((1, 1), np.float32)})
    assert program.keep(WEIGHTS) == WEIGHTS.keys()


def test_what_may_be_half_written_is_not_taken_for_what_it_was():
    _, program = load(Fidelity.FABRIC)
    first, *_, last = WEIGHTS
    program.keep(WEIGHTS)
    changed = {first: WEIGHTS[first] + 1, last: np.zeros((1, 1), np.float32)}
    with pytest.raises(HostError, match="shape"):
        program.keep({**WEIGHTS, **changed})
    assert program.keep(WEIGHTS) == changed.keys()
    assert program.record.parameters_sent == len(WEIGHTS)


SCRIPT = """
import sys
import onewafer.execution, onewafer.execution.report
assert "torch" not in sys.modules
"""


def test_a_call_that_interrupts_another_one_of_its_thread_is_refused():
    _, program = load(Fidelity.MODEL)
    with (
        program.alone(),
        pytest.raises(UnsupportedOperationError, match="a signal handler or a hook"),
        program.alone(),
    ):
        pass
    with program.alone():
        assert program.keep(WEIGHTS) == WEIGHTS.keys()


def test_it_is_loaded_without_pytorch():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
