"""Which launches are simulated, and how their values compare with those of the host."""

from dataclasses import replace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.errors import UnsupportedOperationError
from onewafer.execution import auto, launch_files
from onewafer.execution.activity import Activity
from onewafer.execution.auto import AutoExecutor, Budget, Meter
from onewafer.execution.executable import Simulation
from onewafer.execution.launch_times import LaunchTimes, Origin
from onewafer.execution.sampling import PurposeSampler
from onewafer.graph import DataType, Evaluator
from onewafer.host import RunLimits
from onewafer.mesh import Launch, MeshEvaluator, shard, shard_training
from tests.execution.test_training_program import gradients, inputs_of
from tests.mesh.models import llama
from tests.mesh.strategies import mlp, random_arrays

WSE3 = load_architecture("wse3")


@pytest.fixture(autouse=True)
def no_files(monkeypatch):
    """No launch is known from earlier runs, and none is kept."""
    monkeypatch.setattr(launch_files.LaunchFile, "of", lambda *_: launch_files.LaunchFile(None))


def build_executor(limits=RunLimits()):  # noqa: B008  # frozen
    program = shard(mlp([6, 5, 3]), width=2, height=2, architecture=WSE3)
    return AutoExecutor(program, WSE3, Simulation(limits=limits), Budget(10**9), DataType.F32)


def simulate(host_error):
    """Simulate one launch of a perceptron, of which the host has other values by an error."""
    graph = mlp([6, 5, 3])
    program = shard(graph, width=2, height=2, architecture=WSE3)
    executor = AutoExecutor(program, WSE3, Simulation(), Budget(10**9), DataType.F32)
    parameters, inputs = random_arrays(graph.parameters, 0), random_arrays(graph.inputs, 1)
    executor.send(parameters)
    values = Evaluator(graph, parameters, dtype=np.float32).run(inputs)
    host = {name: array + host_error for name, array in values.items()}
    assert executor.run(inputs, host=lambda: host).origin is Origin.SIMULATED
    return executor.figures.agreement


def test_values_of_the_host_beyond_the_bound_of_rounding_are_counted():
    assert simulate(host_error=0.0).beyond_bound == 0
    assert simulate(host_error=1e-3).beyond_bound == 1


def test_bits_that_the_reader_has_not_are_counted(monkeypatch):
    class Mistaken(MeshEvaluator):
        def run(self, inputs, launch=None):
            return {name: array * 2 for name, array in super().run(inputs, launch).items()}

    assert simulate(host_error=0.0).other_bits == 0
    monkeypatch.setattr("onewafer.execution.auto.MeshEvaluator", Mistaken)
    assert simulate(host_error=0.0).other_bits == 1


def test_a_launch_that_is_too_long_keeps_no_shorter_one_from_being_simulated(monkeypatch):
    monkeypatch.setattr(LaunchTimes, "expect", lambda _, launch: 50 * launch.num_rows)
    executor = build_executor(RunLimits(max_cycles=100))
    assert executor.find(Launch.at(0, 4)) is Origin.CLOSED_FORM
    assert executor.find(Launch.at(4, 1)) is Origin.SIMULATED


def test_a_program_that_cannot_be_emitted_is_emitted_once(monkeypatch):
    emitted = []

    def refuse(program, _):
        emitted.append(program)
        raise UnsupportedOperationError("no")

    monkeypatch.setattr(auto, "emit", refuse)
    executor = build_executor()
    assert [executor.find(None) for _ in range(3)] == [Origin.CLOSED_FORM] * 3
    assert len(emitted) == 1


def test_a_run_compiles_a_program_for_each_share_of_the_budget():
    graph, meter = mlp([6, 5, 3]), Meter()

    def run(limit):
        program = shard(graph, width=2, height=2, architecture=WSE3)
        executor = AutoExecutor(program, WSE3, Simulation(), Budget(limit, meter), DataType.F32)
        executor.send(random_arrays(graph.parameters, 0))
        return executor.run(random_arrays(graph.inputs, 1)).origin, executor.figures.not_simulated

    assert run(10**6)[0] is Origin.SIMULATED
    origin, missed = run(10**6)
    assert origin is Origin.CLOSED_FORM
    assert missed.reason == "1 program was compiled for simulations before it"
    assert run(missed.needed_budget)[0] is Origin.SIMULATED


def test_an_interrupted_launch_ends_before_the_next_one_finds_its_memory(monkeypatch):
    """Else it writes keys and values of its own tokens over those of the next ones."""
    graph = llama(rows=4, layers=1)
    program = shard(graph, width=2, height=2, architecture=WSE3)
    executor = AutoExecutor(program, WSE3, Simulation(), Budget(10**9), DataType.F32)
    executor.send(random_arrays(graph.parameters, 0))
    prompt = Launch.at(0, 4)

    def run(*tokens, launch):
        inputs = {"ids": np.array(tokens, np.int32)[:, np.newaxis]}
        return executor.run(inputs, launch).origin

    def interrupt(_self, _machine):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PurposeSampler, "look", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(1, 2, 3, 4, launch=prompt)
    executor.times.add(prompt, Activity(cycles=executor.expect(prompt)))  # as if it were known
    assert run(5, 6, 7, 8, launch=prompt) is Origin.DERIVED
    assert run(9, 0, 0, 0, launch=Launch.at(4, 1)) is Origin.SIMULATED
    assert executor.figures.agreement.other_bits == 0


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_loss_is_held_against_the_host_s_where_its_forward_pass_was_simulated(is_whole):
    (joined, number), inputs = gradients(), inputs_of(1)
    program = shard_training(joined, width=1, height=1, architecture=WSE3, num_model=number)
    executor = AutoExecutor(program, WSE3, Simulation(), Budget(10**9), DataType.F32)
    forward, loss = (replace(program.whole_launch(), entry=name) for name in ("forward", "loss"))
    executor.send(random_arrays(joined.graph.parameters, 1))
    if not is_whole:
        executor.budget = Budget(executor.expect(forward) - 1)
    assert (executor.run({"x": inputs["x"]}, forward).origin is Origin.SIMULATED) is is_whole
    executor.budget = Budget(10**9)
    host = {"loss": np.full((1, 1), 1.0, np.float32)}
    targets = {"targets": inputs["targets"]}
    assert executor.run(targets, loss, host=lambda: host).origin is Origin.SIMULATED
    assert (executor.figures.agreement.distance is not None) is is_whole
