"""Whole training steps: losses and parameters against PyTorch, NumPy against the fabric."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from onewafer.arch import load_architecture
from onewafer.errors import TooLargeError, UnsupportedOperationError
from onewafer.graph import CrossEntropy, DataType, Reduction, Tensor, derive_gradients
from onewafer.mesh import shard, shard_training
from onewafer.mesh.blocks import Launch
from onewafer.mesh.bounds import ErrorBounds
from onewafer.mesh.budget import verify
from onewafer.mesh.kinds import REPEAT
from onewafer.mesh.optimizers import Adam, AdamW, Sgd
from onewafer.mesh.reference import MeshEvaluator
from onewafer.mesh.schedule import schedule_parts
from tests.mesh.fabric import check_launches
from tests.mesh.strategies import mlp, random_arrays

WSE3 = load_architecture("wse3")
ROWS, IGNORED = 5, -1
STEPS = 4
OPTIMIZERS = {
    "descent": (torch.optim.SGD, Sgd(lr=0.1, weight_decay=0.05)),
    "ascent": (torch.optim.SGD, Sgd(lr=0.1, maximize=True)),
    "momentum": (torch.optim.SGD, Sgd(lr=0.1, momentum=0.9, dampening=0.3)),
    "nesterov": (torch.optim.SGD, Sgd(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)),
    "adam": (torch.optim.Adam, Adam(lr=0.01, weight_decay=0.1, eps=1e-5)),
    "adamw": (torch.optim.AdamW, AdamW(lr=0.02, betas=(0.8, 0.99), maximize=True)),
}


def launch(entry: str) -> Launch:
    return replace(Launch.at(0, 0), entry=entry)


def with_loss(sizes, **options):
    """Return the gradients of a perceptron with a cross entropy, and the operations before it."""
    graph = mlp(sizes, batch=ROWS)
    (logits,) = graph.outputs
    rows = ROWS if options.get("reduction") is Reduction.NONE else 1
    loss = Tensor("loss", (rows, 1), DataType.F32)
    operation = CrossEntropy(loss, logits, "targets", **({"ignored": IGNORED} | options))
    targets = Tensor("targets", (ROWS, 1), DataType.I32)
    whole = replace(
        graph,
        inputs=(*graph.inputs, targets),
        operations=(*graph.operations, operation),
        outputs=(logits, "loss"),
    )
    wanted = [tensor.name for tensor in graph.parameters]
    return derive_gradients(whole, wanted, outputs=["loss"]), len(graph.operations)


def batches(sizes, count: int):
    """Return inputs of forward, loss and backward for several steps; one row does not count."""
    generator = np.random.default_rng(3)
    for _ in range(count):
        targets = generator.integers(0, sizes[-1], (ROWS, 1)).astype(np.int32)
        targets[1] = IGNORED
        yield {
            "x": generator.standard_normal((ROWS, sizes[0])).astype(np.float32),
            "targets": targets,
            "loss.seed": np.ones((1, 1), np.float32),
        }


def launches_of(optimizer, sizes):
    """Return the launches of several steps, with what the host writes before each."""
    for index, batch in enumerate(batches(sizes, STEPS), start=1):
        inputs = {**batch, "step_numbers": optimizer.numbers(index)}
        for entry in ("clear", "forward", "loss", "backward", "update"):
            yield inputs, launch(entry)


def pytorchs(kind, optimizer, sizes, parameters):
    """Return the losses and the parameters of the same steps in PyTorch, in float64."""
    tensors = {
        name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for name, value in parameters.items()
    }
    steps = kind(tensors.values(), **asdict(optimizer))
    losses = []
    for batch in batches(sizes, STEPS):
        x = torch.from_numpy(batch["x"]).double()
        for layer in range(len(sizes) - 1):
            x = functional.linear(x, tensors[f"{layer}.weight"], tensors[f"{layer}.bias"])
            x = x if layer == len(sizes) - 2 else x.relu()
        targets = torch.from_numpy(batch["targets"][:, 0].astype(np.int64))
        loss = functional.cross_entropy(x, targets, ignore_index=IGNORED)
        steps.zero_grad()
        loss.backward()
        steps.step()
        losses.append(loss.item())
    return losses, {name: tensor.detach().numpy() for name, tensor in tensors.items()}


@pytest.mark.parametrize(("kind", "optimizer"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_losses_and_parameters_are_pytorchs(kind, optimizer):
    sizes = [6, 7, 4]
    gradients, number = with_loss(sizes)
    program = shard_training(
        gradients,
        width=3,
        height=2,
        architecture=WSE3,
        num_model=number,
        optimizer=optimizer.step,
    )
    parameters = random_arrays(gradients.graph.parameters, 2)
    evaluator, found, last = MeshEvaluator(program, parameters), [], {}
    for inputs, where in launches_of(optimizer, sizes):
        outputs = evaluator.run(inputs, where)
        found += [outputs["loss"].item()] if where.entry == "loss" else []
        last = outputs
    losses, expected = pytorchs(kind, optimizer, sizes, parameters)
    np.testing.assert_allclose(found, losses, rtol=2e-6)
    for name, value in expected.items():
        np.testing.assert_allclose(last[name], value, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("options", [{}, {"smoothing": 0.2}, {"reduction": Reduction.SUM}], ids=str)
def test_losses_of_steps_are_within_their_bounds(options):
    """From the parameters of each step: those of the wafer, and PyTorch's in f32."""
    sizes, optimizer = [6, 7, 4], Sgd(lr=0.5, momentum=0.9)
    gradients, number = with_loss(sizes, **options)
    place = {"width": 3, "height": 2, "architecture": WSE3}
    kinds = {"num_model": number, "optimizer": optimizer.step}
    program = shard_training(gradients, **place, **kinds)
    operations = gradients.graph.operations[: gradients.num_forward]
    inputs = gradients.graph.inputs[:2]
    forward = replace(gradients.graph, inputs=inputs, operations=operations, outputs=("loss",))
    alone = shard(forward, **place)
    parameters = random_arrays(gradients.graph.parameters, 2)
    evaluator = MeshEvaluator(program, parameters)
    for values, where in launches_of(optimizer, sizes):
        outputs = evaluator.run(values, where)
        if where.entry == "loss":
            bounded = ErrorBounds(alone, parameters).run(values)["loss"]
            assert bounded.error.max() < 1e-4 * np.abs(bounded.exact).max()
            x = torch.from_numpy(values["x"])
            for layer in range(2):
                names = f"{layer}.weight", f"{layer}.bias"
                x = functional.linear(x, *(torch.from_numpy(parameters[name]) for name in names))
                x = x.relu() if layer == 0 else x
            targets = torch.from_numpy(values["targets"][:, 0].astype(np.int64))
            smoothing, reduction = options.get("smoothing", 0), options.get("reduction", "mean")
            theirs = functional.cross_entropy(
                x, targets, ignore_index=IGNORED, label_smoothing=smoothing, reduction=reduction
            )
            for loss in (outputs["loss"].item(), theirs.item()):
                assert abs(loss - bounded.exact.item()) <= bounded.error.item()
        elif where.entry == "update":
            parameters = {name: np.array(outputs[name]) for name in parameters}


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
@pytest.mark.parametrize("optimizer", [OPTIMIZERS["nesterov"][1], OPTIMIZERS["adamw"][1]])
@pytest.mark.parametrize("rectangle", [(1, 1), (4, 3)])
@pytest.mark.alternate(4)
def test_steps_on_the_fabric(optimizer, rectangle, arch):
    """Two chunks of parameters on a PE, and PEs without a class."""
    sizes, architecture = [9, 10, 5], load_architecture(arch)
    gradients, number = with_loss(sizes)
    width, height = rectangle
    program = shard_training(
        gradients,
        width=width,
        height=height,
        architecture=architecture,
        num_model=number,
        optimizer=optimizer.step,
    )
    parameters = random_arrays(gradients.graph.parameters, 2)
    launches = [*launches_of(optimizer, sizes)][:10]
    check_launches(program, architecture, parameters, launches, slack=100)


def test_weights_of_alike_layers_are_stepped_in_rounds():
    """Biases between them have other numbers; gradients and moments lie as the weights do."""
    gradients, number = with_loss([3, 3, 3, 3])
    weights = [f"{layer}.weight" for layer in range(3)]
    groups = (weights, [name for name in gradients.by_name if name not in weights])
    program = shard_training(
        gradients,
        width=1,
        height=1,
        architecture=WSE3,
        num_model=number,
        updates=[(Sgd(momentum=0.9).step, groups)],
    )
    steps = schedule_parts(program)["update"]
    assert [entry.n for entry in steps if entry.kind is REPEAT] == [2, 2]
    numbers = np.concatenate([Sgd(lr=lr, momentum=0.9).numbers(1) for lr in (0.5, 0.25)], axis=1)
    (batch,) = batches([3, 3], 1)
    entries = ("forward", "loss", "backward", "update")
    launches = [({**batch, "step_numbers": numbers}, launch(entry)) for entry in entries]
    parameters = random_arrays(gradients.graph.parameters, 2)
    check_launches(program, WSE3, parameters, launches, slack=100)


def test_a_mean_over_no_rows_is_not_a_number():
    gradients, number = with_loss([3, 4])
    program = shard_training(gradients, width=2, height=1, architecture=WSE3, num_model=number)
    evaluator = MeshEvaluator(program, random_arrays(gradients.graph.parameters, 2))
    (batch,) = batches([3, 4], 1)
    batch["targets"][:] = IGNORED
    evaluator.run(batch, launch("forward"))
    assert np.isnan(evaluator.run(batch, launch("loss"))["loss"]).all()


def test_a_program_that_is_too_large_names_its_arenas_and_a_rectangle():
    gradients, number = with_loss([300, 80, 10])
    program = shard_training(
        gradients,
        width=1,
        height=1,
        architecture=WSE3,
        num_model=number,
        optimizer=Adam().step,
    )
    with pytest.raises(TooLargeError) as found:
        verify(program, WSE3)
    text = str(found.value)
    assert "weights 99,568 B" in text
    assert "gradients and moments 298,704 B" in text
    assert "use a rectangle of at least 4×4 PEs" in text


def test_groups_of_parameters_have_numbers_of_their_own():
    gradients, number = with_loss([3, 4, 2])
    groups = (["0.weight", "1.bias"], ["1.weight"])
    program = shard_training(
        gradients,
        width=2,
        height=1,
        architecture=WSE3,
        num_model=number,
        updates=[(Sgd().step, groups)],
    )
    parameters = random_arrays(gradients.graph.parameters, 2)
    evaluator = MeshEvaluator(program, parameters)
    (batch,) = batches([3, 4, 2], 1)
    for entry in ("forward", "loss"):
        evaluator.run(batch, launch(entry))
    slopes = evaluator.run(batch, launch("backward"))
    numbers = np.concatenate([Sgd(lr=rate).numbers(1) for rate in (0.5, 0.25)], axis=1)
    found = evaluator.run({"step_numbers": numbers}, launch("update"))
    assert found.keys() == {"0.weight", "1.bias", "1.weight"}
    for names, rate in zip(groups, (0.5, 0.25), strict=True):
        for name in names:
            moved = parameters[name] - rate * slopes[gradients.by_name[name]]
            np.testing.assert_allclose(found[name], moved, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": Reduction.NONE}, "a loss for each row is not supported"),
        ({"ignored": 1 << 15}, "ignore_index 32768 is not supported; it must fit 16 bits"),
    ],
)
def test_losses_without_a_kernel_are_refused(options, message):
    gradients, number = with_loss([3, 2], **options)
    with pytest.raises(UnsupportedOperationError, match=message) as found:
        shard_training(gradients, width=2, height=2, architecture=WSE3, num_model=number)
    assert found.value.result == "loss"


def test_each_of_two_optimizers_has_an_entry():
    """A step changes its own parameters only, and its numbers may be more than the first one's."""
    gradients, number = with_loss([3, 4, 2])
    second = Adam(lr=0.1), (["1.weight"], ["1.bias"])
    program = shard_training(
        gradients,
        width=2,
        height=1,
        architecture=WSE3,
        num_model=number,
        updates=[(Sgd().step, (["0.weight", "0.bias"],)), (second[0].step, second[1])],
    )
    parameters = random_arrays(gradients.graph.parameters, 2)
    (batch,) = batches([3, 4, 2], 1)
    numbers = {
        "step_numbers": Sgd(lr=0.5).numbers(1),
        "step_numbers_2": np.concatenate([second[0].numbers(1)] * 2, axis=1),
    }
    entries = ("forward", "loss", "backward", "update_2", "update", "forward")
    launches = [(batch | numbers, launch(entry)) for entry in entries]
    runs = check_launches(program, WSE3, parameters, launches, slack=100)
    by_adam, by_sgd = (run.outputs for run in runs[3:5])
    assert by_sgd.keys() == {"0.weight", "0.bias"}
    assert {"1.weight", "1.bias"} < by_adam.keys()
    slopes = runs[2].outputs
    for name in by_sgd:
        moved = parameters[name] - 0.5 * slopes[gradients.by_name[name]]
        np.testing.assert_allclose(by_sgd[name], moved, rtol=1e-6, atol=1e-7)
    for name in second[1][0]:
        moved = parameters[name] - 0.1 * np.sign(slopes[gradients.by_name[name]])  # a first step
        np.testing.assert_allclose(by_adam[name], moved, rtol=1e-4, atol=1e-5)
