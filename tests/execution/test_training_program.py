"""A resident program that trains: its entries, the tensors that stay, what is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onewafer.execution import Fidelity, Loader, Trained, WaferOptions, Wanted, place_training
from onewafer.execution.launch_times import Origin
from onewafer.execution.records import Phase
from onewafer.execution.report import report_program
from onewafer.graph import CrossEntropy, DataType, Tensor, derive_gradients
from onewafer.mesh import training_bytes
from onewafer.mesh.optimizers import AdamW
from tests.mesh.strategies import assert_same_bits, mlp, random_arrays

ROWS, CLASSES = 4, 3
OPTIMIZER = AdamW(lr=0.1)
ENTRIES = {
    "clear": (),
    "forward": ("x",),
    "loss": ("targets",),
    "backward": ("loss.seed",),
    "update": ("step_numbers",),
}


def gradients():
    """Return those of a perceptron with a cross entropy, and the operations of the model."""
    graph = mlp([5, 6, CLASSES], batch=ROWS)
    (logits,) = graph.outputs
    loss = CrossEntropy(Tensor("loss", (1, 1), DataType.F32), logits, "targets")
    whole = replace(
        graph,
        inputs=(*graph.inputs, Tensor("targets", (ROWS, 1), DataType.I32)),
        operations=(*graph.operations, loss),
        outputs=(logits, "loss"),
    )
    wanted = [tensor.name for tensor in graph.parameters]
    return derive_gradients(whole, wanted, outputs=["loss"]), len(graph.operations)


def load(fidelity, rectangle=(2, 1)):
    """Return a loaded program with parameters, and these."""
    joined, number = gradients()
    names = tuple(joined.by_name)
    loader = Loader(WaferOptions(fidelity=fidelity, rectangle=rectangle))
    trained = Trained(number, ((OPTIMIZER.step, (names,)),))
    placed = place_training(joined, trained, loader.architecture, loader.options)
    program = loader.load(Wanted(placed, "perceptron"))
    parameters = random_arrays(joined.graph.parameters, 1)
    program.keep(parameters)
    return program, parameters


def inputs_of(step: int):
    """Return what the host writes in a step."""
    generator = np.random.default_rng(step)
    return {
        "x": generator.standard_normal((ROWS, 5)).astype(np.float32),
        "targets": generator.integers(0, CLASSES, (ROWS, 1)).astype(np.int32),
        "loss.seed": np.ones((1, 1), np.float32),
        "step_numbers": OPTIMIZER.numbers(step),
    }


def launch(program, entry, inputs):
    """Launch one entry."""
    where = replace(program.record.program.whole_launch(), entry=entry)
    return program.launch({name: inputs[name] for name in ENTRIES[entry]}, where)


def take_step(program, step):
    """Return the launches of a step."""
    inputs = inputs_of(step)
    return {entry: launch(program, entry, inputs) for entry in ENTRIES}


def test_each_entry_gives_its_outputs_only():
    program, _ = load(Fidelity.FABRIC)
    found = {name: set(done.outputs) for name, done in take_step(program, 1).items()}
    names = ("0.weight", "0.bias", "1.weight", "1.bias")
    kept = {f"{n}.{arena}" for n in names for arena in ("first_moments", "second_moments")}
    assert found["clear"] == set()
    assert found["forward"] == {"1.sum"}
    assert found["loss"] == {"loss"}
    assert found["backward"] == {f"{name}.gradient" for name in names}
    assert found["update"] == {*names, *kept}


def test_what_stays_on_the_wafer_is_neither_sent_nor_counted():
    program, _ = load(Fidelity.FABRIC, rectangle=(1, 1))
    before = program.record.figures
    updated = take_step(program, 1)["update"].outputs
    after = program.record.figures
    assert after.bytes_out - before.bytes_out == 4 * (ROWS * CLASSES + 1)  # logits and the loss
    program.adopt(updated)
    parameters = {name: updated[name] for name in ("0.weight", "0.bias", "1.weight", "1.bias")}
    assert program.keep(parameters) == frozenset()
    parameters["1.bias"] = parameters["1.bias"] + 1
    assert program.keep(parameters) == {"1.bias"}


def test_gradients_and_moments_can_be_written():
    """A step with them is the step that comes after those that have made them."""
    program, _ = load(Fidelity.FABRIC)
    first = take_step(program, 1)
    inputs = inputs_of(2)
    for entry in ("clear", "forward", "loss"):
        launch(program, entry, inputs)
    slopes = launch(program, "backward", inputs).outputs
    expected = launch(program, "update", inputs).outputs
    other, _ = load(Fidelity.FABRIC)
    other.keep({**first["update"].outputs, **slopes})
    found = launch(other, "update", inputs).outputs
    for name, array in expected.items():
        assert_same_bits(found[name], array)


def test_what_an_interrupted_step_may_have_changed_is_sent_again(monkeypatch):
    program, parameters = load(Fidelity.FABRIC)
    inputs = inputs_of(1)
    for entry in ("clear", "forward", "loss", "backward"):
        launch(program, entry, inputs)
    run = program._executor.run

    def interrupted(*args, **options):
        run(*args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(program._executor, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launch(program, "update", inputs)
    assert program.keep(parameters) == parameters.keys()


def test_auto_simulates_each_entry_once(monkeypatch, tmp_path):
    monkeypatch.setenv("ONEWAFER_CACHE_DIR", str(tmp_path))
    program, _ = load(Fidelity.AUTO)
    assert program.leaves_values_to_host
    first, second = take_step(program, 1), take_step(program, 2)
    assert {done.origin for done in first.values()} == {Origin.SIMULATED}
    assert {done.origin for done in second.values()} == {Origin.DERIVED}
    assert program.record.figures.agreement.launches == len(ENTRIES)
    assert program.record.figures.agreement.other_bits == 0
    for name in ENTRIES:
        assert first[name].activity.cycles == second[name].activity.cycles


def test_model_leaves_the_values_to_the_host():
    program, _ = load(Fidelity.MODEL)
    done = take_step(program, 1)
    assert program.leaves_values_to_host
    assert not any(launched.outputs for launched in done.values())
    assert all(launched.activity.cycles > 0 for launched in done.values())


@pytest.mark.parametrize("fidelity", [Fidelity.MODEL, Fidelity.FABRIC])
def test_the_report_has_a_phase_for_each_entry(fidelity):
    program, _ = load(fidelity)
    done = take_step(program, 1)
    phases = {
        Phase.FORWARD: ("forward",),
        Phase.LOSS: ("loss",),
        Phase.BACKWARD: ("clear", "backward"),
        Phase.UPDATE: ("update",),
    }
    for phase, entries in phases.items():
        program.count_call(phase, [done[entry] for entry in entries], rows=ROWS, flop=0)
    report = report_program(program.record)
    assert [found.phase for found in report.phases] == [*phases]
    assert report.calls == 1
    assert report.samples == ROWS
    assert report.memory.training_bytes == training_bytes(program.record.program)
    for found, entries in zip(report.phases, phases.values(), strict=True):
        assert found.cycles == sum(done[entry].activity.cycles for entry in entries)
        assert abs(found.expected_error) <= 0.1
        if fidelity is Fidelity.FABRIC:  # also of a launch that follows one with idle PEs
            assert 0 < found.busy_pe_fraction <= 1
