"""Groups of PEs with samples of their own: NumPy against the fabric, closed form and float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import TooLargeError, UnsupportedOperationError
from onewafer.graph import (
    AddBias,
    BatchMean,
    BatchNorm,
    BatchVariance,
    Convolution,
    CrossEntropy,
    DataType,
    DepthwiseConvolution,
    Dropout,
    ElementLoss,
    GlobalAveragePool,
    Graph,
    GroupNorm,
    Linear,
    LogSoftmax,
    LossFunction,
    MaxPool,
    Multiply,
    NegativeLogLikelihood,
    Reduction,
    Relu,
    Tensor,
    Window,
    derive_gradients,
    evaluate_graph,
    with_part_of_samples,
)
from onewafer.mesh import shard_training
from onewafer.mesh.blocks import Arena, Axis, Distribution, Launch, Role
from onewafer.mesh.optimizers import Sgd
from onewafer.mesh.reference import MeshEvaluator
from tests.mesh.fabric import check_launches
from tests.mesh.strategies import random_arrays

WSE3 = load_architecture("wse3")
SAMPLES, PIXELS, CLASSES = 8, 4, 4
OPTIMIZER = Sgd(lr=0.1)
STATISTICS = ("mean", "variance")
IGNORED = -100


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, DataType.F32)


def pictures(samples: int = SAMPLES) -> Graph:
    """Two convolutions with norms over the batch, and scores of classes for each picture."""
    window = Window(2, 2, 3, 3, top=1, left=1, bottom=1, right=1)
    parameters = (
        *(tensor("w1", 9, 5, 2), tensor("v1", 5), tensor("b1", 5)),
        *(tensor("w2", 9, 3, 5), tensor("v2", 3), tensor("b2", 3)),
        *(tensor("w3", CLASSES, 3), tensor("b3", CLASSES)),
    )
    wide = [tensor(name, samples * PIXELS, 5) for name in ("c1", "n1", "r1")]
    narrow = [tensor(name, samples * PIXELS, 3) for name in ("c2", "n2")]
    operations = (
        Convolution(wide[0], "x", "w1", window),
        BatchMean(tensor("mean", 1, 5), "c1"),
        BatchVariance(tensor("variance", 1, 5), "c1"),
        BatchNorm(wide[1], "c1", "v1", "b1", 1e-5),
        Relu(wide[2], "n1"),
        Convolution(narrow[0], "r1", "w2", window),
        BatchNorm(narrow[1], "c2", "v2", "b2", 1e-3),
        GlobalAveragePool(tensor("pooled", samples, 3), "n2", PIXELS),
        Linear(tensor("scores", samples, CLASSES), "pooled", "w3"),
        AddBias(tensor("out", samples, CLASSES), "scores", "b3"),
    )
    inputs = (tensor("x", samples * PIXELS, 2),)
    return Graph("pictures", inputs, parameters, operations, (*STATISTICS, "out"))


def plain_pictures(samples: int = SAMPLES) -> Graph:
    """Layers that join no samples, with factors of a dropout and a last layer over all pixels."""
    window = Window(2, 2, 3, 3, top=1, left=1, bottom=1, right=1)
    parameters = (
        *(tensor("w1", 9, 6, 2), tensor("b1", 6), tensor("d", 9, 6), tensor("v1", 6)),
        *(tensor("c1", 6), tensor("w3", PIXELS, CLASSES, 6), tensor("b3", CLASSES)),
    )
    maps = [tensor(f"m{index}", samples * PIXELS, 6) for index in range(7)]
    operations = (
        Convolution(maps[0], "x", "w1", window),
        AddBias(maps[1], "m0", "b1"),
        Relu(maps[2], "m1"),
        MaxPool(maps[3], "m2", window),
        DepthwiseConvolution(maps[4], "m3", "d", window),
        GroupNorm(maps[5], "m4", "v1", "c1", PIXELS, 2, 1e-3),
        Multiply(maps[6], "m5", "kept"),
        Convolution(tensor("scores", samples, CLASSES), "m6", "w3", Window(2, 2, 2, 2)),
        AddBias(tensor("out", samples, CLASSES), "scores", "b3"),
    )
    inputs = tensor("x", samples * PIXELS, 2), tensor("kept", samples * PIXELS, 6)
    return Graph("plain", inputs, parameters, operations, ("out",))


def cross_entropy(graph: Graph, reduction: Reduction = Reduction.MEAN, **options: object) -> Graph:
    """Return a model with a cross entropy behind it."""
    loss = CrossEntropy(tensor("loss", 1, 1), "out", "targets", reduction=reduction, **options)
    targets = Tensor("targets", (SAMPLES, 1), DataType.I32)
    return with_loss(graph, targets, loss)


def weighted(graph: Graph) -> Graph:
    """Return a model with a cross entropy that has weights of classes behind it."""
    graph = replace(graph, parameters=(*graph.parameters, tensor("weights", CLASSES)))
    return cross_entropy(graph, weights="weights", smoothing=0.1)


def likelihood(graph: Graph) -> Graph:
    """Return a model with logarithms of shares, and their loss, behind it."""
    logarithms = LogSoftmax(tensor("logarithms", SAMPLES, CLASSES), "out")
    graph = replace(graph, operations=(*graph.operations, logarithms))
    loss = NegativeLogLikelihood(tensor("loss", 1, 1), "logarithms", "targets")
    return with_loss(graph, Tensor("targets", (SAMPLES, 1), DataType.I32), loss)


def squares(graph: Graph) -> Graph:
    """Return a model with the mean of squared differences behind it."""
    loss = ElementLoss(tensor("loss", 1, 1), "out", "wanted", LossFunction.SQUARE)
    return with_loss(graph, tensor("wanted", SAMPLES, CLASSES), loss)


def of_scores(graph: Graph) -> Graph:
    """Return a model that is given the gradient of its scores."""
    return graph


def with_loss(graph, targets, loss):
    return replace(
        graph,
        inputs=(*graph.inputs, targets),
        operations=(*graph.operations, loss),
        outputs=(*graph.outputs, "loss"),
    )


class Trained:
    """A model with a loss in groups of samples."""

    def __init__(self, add_loss, width: int, height: int, groups: int, *, build=pictures) -> None:
        model = build()
        whole = add_loss(model)
        names = [one.result.name for one in whole.operations]
        num_model = names.index("loss") if "loss" in names else len(names)
        wanted = ["x", *(one.name for one in model.parameters)]
        self.outputs, self.last = whole.outputs, whole.outputs[-1]
        self.gradients = derive_gradients(whole, wanted, outputs=[self.last])
        self.program = shard_training(
            self.gradients,
            width=width,
            height=height,
            architecture=WSE3,
            num_model=num_model,
            updates=((OPTIMIZER.step, (wanted[1:],)),),
            sample_groups=groups,
        )
        self.parameters = random_arrays(whole.parameters, 2)
        if "weights" in self.parameters:
            self.parameters["weights"] = np.abs(self.parameters["weights"])
        self.inputs = random_arrays(
            [one for one in self.gradients.graph.inputs if one.dtype is DataType.F32], 1
        )
        if self.last == "loss":
            (seed,) = self.gradients.seeds.values()
            self.inputs[seed] = np.full((1, 1), 0.7, np.float32)
        targets = np.array([0, 3, IGNORED, 2, 1, 1, IGNORED, 3], np.int32)
        self.inputs |= {"targets": targets[:, np.newaxis], "step_numbers": OPTIMIZER.numbers(0)}

    def launches(self, *entries: str):
        """Return launches of entries."""
        return [(self.inputs, replace(Launch.at(0, 0), entry=entry)) for entry in entries]

    def check(self, first: dict, second: dict) -> None:
        """Compare what two steps gave, without a clearing in between, with float64."""
        exact = evaluate_graph(
            self.gradients.graph,
            {name: _exact(array) for name, array in (self.inputs | self.parameters).items()},
            {name: _exact(array) for name, array in self.parameters.items()},
        )
        resident = {self.gradients.by_name[name] for name in self.gradients.by_name if name != "x"}
        for name in (*self.outputs, *self.gradients.by_name.values()):
            scale = np.abs(exact[name]).max() + 1
            assert np.abs(first[name] - exact[name]).max() <= 3e-6 * scale, name
            again = 2 * exact[name] if name in resident else exact[name]
            assert np.abs(second[name] - again).max() <= 6e-6 * scale, name


def _exact(array):
    return array.astype(np.float64) if array.dtype == np.float32 else array


def entries_of(add_loss) -> tuple[str, ...]:
    """Return the entries of a step's passes."""
    return ("forward", "backward") if add_loss is of_scores else ("forward", "loss", "backward")


def test_a_norm_on_the_fabric():
    """Features lie along y, over the two PEs of each group, and then along x."""
    rows = [tensor(name, SAMPLES, 3) for name in ("x", "y", "n", "z")]
    parameters = tensor("w", 3, 3), tensor("v", 3), tensor("b", 3), tensor("u", 3, 3)
    operations = (
        Linear(rows[1], "x", "w"),
        BatchNorm(rows[2], "y", "v", "b", 1e-5),
        Linear(rows[3], "n", "u"),
    )
    graph = Graph("norm", (rows[0],), parameters, operations, ("z",))
    gradients = derive_gradients(graph, ["x", *(one.name for one in parameters)])
    program = shard_training(gradients, width=1, height=4, architecture=WSE3, sample_groups=2)
    arrays, inputs = random_arrays(parameters, 2), random_arrays(gradients.graph.inputs, 1)
    launches = [
        (inputs, replace(Launch.at(0, 0), entry=entry)) for entry in ("forward", "backward")
    ]
    first, second = check_launches(program, WSE3, arrays, launches, slack=100)
    found = first.outputs | second.outputs
    exact = evaluate_graph(gradients.graph, inputs | arrays, arrays)
    for name in ("z", *gradients.by_name.values()):
        assert np.abs(found[name] - exact[name]).max() <= 3e-6 * (np.abs(exact[name]).max() + 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "add_loss", "width", "height", "groups"),
    [
        (pictures, cross_entropy, 2, 4, 2),
        (pictures, weighted, 3, 8, 8),
        (pictures, likelihood, 1, 8, 2),
        (pictures, squares, 2, 64, 8),
        (plain_pictures, likelihood, 1, 64, 8),
        (plain_pictures, of_scores, 3, 8, 4),
        (plain_pictures, squares, 2, 8, 1),
    ],
)
def test_steps_on_the_fabric(build, add_loss, width, height, groups):
    """On 64 rows of PEs, chains have sections, and scores of classes lie along each axis once."""
    trained = Trained(add_loss, width, height, groups, build=build)
    step = entries_of(add_loss)
    entries = (*step, *step, "sum_gradients", "update", "clear", *step)
    runs = check_launches(
        trained.program, WSE3, trained.parameters, trained.launches(*entries), slack=100
    )
    first, second = runs[: len(step)], runs[len(step) : 2 * len(step)]
    trained.check(
        *({k: v for run in some for k, v in run.outputs.items()} for some in (first, second))
    )


@settings(deadline=None, max_examples=20)
@given(
    build=st.sampled_from([pictures, plain_pictures]),
    add_loss=st.sampled_from(
        [
            cross_entropy,
            lambda graph: cross_entropy(graph, Reduction.SUM),
            weighted,
            likelihood,
            squares,
            of_scores,
        ]
    ),
    width=st.integers(1, 3),
    rows=st.sampled_from([1, 2, 4, 8]),
    groups=st.sampled_from([1, 2, 4, 8]),
)
def test_groups_give_the_gradients_of_the_whole_batch(build, add_loss, width, rows, groups):
    """Replicas of parameters and gradients agree in every bit, too."""
    trained = Trained(add_loss, width, rows * groups, groups, build=build)
    evaluator = MeshEvaluator(trained.program, trained.parameters)
    steps = []
    for _ in range(2):
        outputs = {}
        for inputs, launch in trained.launches(*entries_of(add_loss)):
            outputs |= evaluator.run(inputs, launch)
        steps.append(outputs)
    trained.check(*steps)
    evaluator.run(*trained.launches("update")[0])
    for placement in trained.program.with_role(Role.PARAMETER):
        over = {placement.rows, placement.columns}
        for arena in (Arena.PARAMETERS, Arena.GRADIENTS):
            block = replace(placement.block, arena=arena)
            bits = evaluator.read(block).view(np.uint32).reshape(groups, rows, width, -1)
            assert (bits == bits[:1]).all()
            assert Distribution.BLOCKED_Y in over or (bits == bits[:, :1]).all()
            assert Distribution.BLOCKED_X in over or (bits == bits[:, :, :1]).all()


@pytest.mark.parametrize("samples", [2, 4])
def test_a_group_has_the_graph_of_its_samples(samples):
    gradients, of_group = (
        derive_gradients(pictures(count), ["x", "w1"], outputs=["out"])
        for count in (SAMPLES, samples)
    )
    assert with_part_of_samples(gradients.graph, samples) == of_group.graph


def test_samples_and_rows_of_pes_must_be_divisible():
    gradients = derive_gradients(pictures(6), ["w1"], outputs=["out"])
    with pytest.raises(UnsupportedOperationError, match="cannot have its 6 samples on 4 groups"):
        shard_training(gradients, width=1, height=4, architecture=WSE3, sample_groups=4)
    for height in (3, 6):
        with pytest.raises(UnsupportedOperationError, match=f"{height} rows of PEs are not 2 gro"):
            shard_training(gradients, width=1, height=height, architecture=WSE3, sample_groups=2)


def test_numbers_that_pes_draw_are_refused():
    x, y = tensor("x", 4, 3), tensor("y", 4, 3)
    dropout = Dropout(y, "x", 0, 1 << 14)
    gradients = derive_gradients(Graph("dropout", (x,), (), (dropout,), ("y",)), ["x"])
    with pytest.raises(TooLargeError, match="groups of samples would draw the same numbers"):
        shard_training(gradients, width=1, height=2, architecture=WSE3, sample_groups=2)


def test_a_program_knows_the_whole_and_a_group():
    program = Trained(cross_entropy, 2, 8, 2).program
    assert (program.size(Axis.Y), program.extent(Axis.Y)) == (4, 8)
    roles = Role.OUTPUT, Role.INPUT, Role.PARAMETER
    placed = {item.name: item for role in roles for item in program.with_role(role)}
    assert placed["x"].is_cut
    assert placed["x"].of_group.shape == (SAMPLES * PIXELS // 2, 2)
    assert placed["w1"].num_bytes == 2 * 4 * 9 * 5 * 2
    assert placed["mean"].num_bytes == 4 * 5
