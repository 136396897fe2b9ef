"""Gradients on feature maps: NumPy against the fabric, the closed form and float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.errors import TooLargeError
from onewafer.graph import (
    Activation,
    ActivationFunction,
    Add,
    AddBias,
    BatchNorm,
    Convolution,
    DataType,
    DepthwiseConvolution,
    GlobalAveragePool,
    Graph,
    MaxPool,
    Relu,
    Tensor,
    Window,
    derive_gradients,
    evaluate_graph,
)
from onewafer.mesh import shard_training
from onewafer.mesh.blocks import Launch
from onewafer.mesh.feature_maps import AddTapProducts
from onewafer.mesh.reference import MeshEvaluator
from tests.mesh.fabric import check_launches
from tests.mesh.feature_maps.test_feature_maps import WINDOWS, convolution, depthwise, max_pool
from tests.mesh.strategies import random_arrays

WSE3 = load_architecture("wse3")
FORWARD, BACKWARD = (replace(Launch.at(0, 0), entry=name) for name in ("forward", "backward"))
SAMPLES = 2
BUILDS = {"convolution": convolution, "depthwise": depthwise, "max pool": max_pool}
RULES = [
    pytest.param(window, build, id=f"{kind}, {name}")
    for name, window in WINDOWS.items()
    for kind, build in BUILDS.items()
    if (kind, name) != ("max pool", "wide margins")
]


def trained(graph, wanted, width: int = 3, height: int = 2):
    """Return a program with the gradients that are wanted, and the values of its tensors."""
    gradients = derive_gradients(graph, wanted)
    program = shard_training(gradients, width=width, height=height, architecture=WSE3)
    parameters = random_arrays(graph.parameters, 2)
    return gradients, program, random_arrays(gradients.graph.inputs, 1), parameters


def check_values(gradients, values, found):
    exact = evaluate_graph(gradients.graph, values, values)
    for result in gradients.by_name.values():
        scale = np.abs(exact[result]).max() + 1e-3
        assert np.abs(found[result] - exact[result]).max() <= 2e-6 * scale


@pytest.mark.parametrize(("window", "build"), RULES)
def test_gradients_are_those_in_float64(window, build):
    graph = build(window)
    wanted = ["x"] if build is max_pool else ["x", "w"]
    gradients, program, inputs, parameters = trained(graph, wanted)
    evaluator = MeshEvaluator(program, parameters)
    evaluator.run(inputs, FORWARD)
    check_values(gradients, inputs | parameters, evaluator.run(inputs, BACKWARD))


class Layers:
    """A graph that grows by a layer at a time."""

    def __init__(self, window: Window, features: int) -> None:
        rows = SAMPLES * window.num_pixels
        self.inputs = (Tensor("x", (rows, features), DataType.F32),)
        self.parameters, self.operations, self.last = [], [], self.inputs[0]

    def add(self, kind, shape, *shapes, **numbers):
        """Add an operation with parameters of some shapes."""
        index = len(self.operations)
        named = [Tensor(f"p{index}_{i}", each, DataType.F32) for i, each in enumerate(shapes)]
        result = Tensor(f"r{index}", shape, DataType.F32)
        names = [tensor.name for tensor in named]
        self.parameters += named
        self.operations.append(kind(result, self.last.name, *names, **numbers))
        self.last = result

    def convolve(self, window: Window, features: int, kind=Relu, **numbers):
        """Add a convolution with a bias, and a function."""
        shape, inner = (SAMPLES * window.num_result_pixels, features), self.last.shape[1]
        self.add(Convolution, shape, (window.num_taps, features, inner), window=window)
        self.add(AddBias, shape, (features,))
        self.add(kind, shape, **numbers)

    @property
    def graph(self) -> Graph:
        """The graph so far."""
        outputs = (self.last.name,)
        return Graph("maps", self.inputs, (*self.parameters,), (*self.operations,), outputs)


def small_network():
    """Convolutions, also with dilation, and all pools; no number of features divides."""
    window = Window(7, 6, 3, 3, top=1, left=1, bottom=1, right=1)
    layers = Layers(window, 3)
    layers.convolve(window, 5, Activation, function=ActivationFunction.SIGMOID)
    pool = Window(7, 6, 2, 2, stride_y=2, stride_x=2, top=1)
    layers.add(MaxPool, (SAMPLES * pool.num_result_pixels, 5), window=pool)
    layers.convolve(Window(4, 3, 2, 2, dilation_x=2, right=2), 7)
    taps = Window(3, 3, 2, 2)
    pixels = taps.num_result_pixels
    layers.add(DepthwiseConvolution, (SAMPLES * pixels, 7), (4, 7), window=taps)
    layers.add(GlobalAveragePool, (SAMPLES, 7), rows=pixels)
    return layers.graph, [t.name for t in (*layers.inputs, *layers.parameters)]


@pytest.mark.parametrize("rectangle", [(3, 2), pytest.param((1, 1), marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_small_network_on_the_fabric(rectangle):
    gradients, program, inputs, parameters = trained(*small_network(), *rectangle)
    launches = [(inputs, FORWARD), (inputs, BACKWARD)]
    _, backward = check_launches(program, WSE3, parameters, launches)
    check_values(gradients, inputs | parameters, backward.outputs)


SAME = Window(4, 3, 3, 3, top=1, left=1, bottom=1, right=1)
"""As many pixels as before."""
ENDS = {
    "relu": (Relu, (), {}),
    "sigmoid": (Activation, (), {"function": ActivationFunction.SIGMOID}),
    "max pool": (MaxPool, (), {"window": SAME}),
    "batch norm": (BatchNorm, ((5,), (5,)), {"epsilon": 1e-3}),
}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("kind", "shapes", "numbers"), ENDS.values(), ids=ENDS)
def test_a_branch_whose_gradient_lies_across_it(kind, shapes, numbers, count):
    """A sum lies as its left operand does, and so does its gradient, which both operands have."""
    layers = Layers(SAME, 5)
    shape = layers.last.shape
    for _ in range(count):
        layers.convolve(SAME, 5)
    layers.add(kind, shape, *shapes, **numbers)
    layers.add(lambda result, right: Add(result, "x", right), shape)
    layers.convolve(SAME, 4)
    graph = layers.graph
    wanted = ["x", *(tensor.name for tensor in graph.parameters)]
    gradients, program, inputs, parameters = trained(graph, wanted)
    evaluator = MeshEvaluator(program, parameters)
    evaluator.run(inputs, FORWARD)
    check_values(gradients, inputs | parameters, evaluator.run(inputs, BACKWARD))


def test_a_weight_of_two_convolutions_has_one_place():
    layers = Layers(SAME, 5)
    layers.convolve(SAME, 5)
    layers.add(Convolution, layers.last.shape, weight=layers.parameters[0].name, window=SAME)
    gradients, program, inputs, parameters = trained(layers.graph, ["x", "p0_0"])
    evaluator = MeshEvaluator(program, parameters)
    evaluator.run(inputs, FORWARD)
    check_values(gradients, inputs | parameters, evaluator.run(inputs, BACKWARD))


def test_what_is_behind_the_features_of_an_input_learns_nothing():
    """σ(0) is 0.5 there."""
    _, program, inputs, parameters = trained(*small_network())
    evaluator, found = MeshEvaluator(program, parameters), []
    evaluator.run(inputs, FORWARD)

    def look(step, memories):
        operation = program.operations[program.stretch("backward")][step]
        if isinstance(operation, AddTapProducts) and operation.features == 5:
            shape = operation.window.num_taps, operation.input.columns, operation.gradient.columns
            found.append(memories.view(operation.result, *shape).copy())

    evaluator.run(inputs, BACKWARD, look)
    learnt = found[-1].any(axis=(1, 2, 4))  # by PE along y, and row of the weight
    assert learnt.reshape(-1).tolist() == [True] * 5 + [False]


def test_a_gradient_goes_to_the_first_of_equal_maxima():
    """Where −0 equals +0, and each pixel is in several windows."""
    window = Window(1, 4, 1, 3)
    gradients, program, inputs, _ = trained(max_pool(window, samples=1, features=1), ["x"], 1, 1)
    inputs["x"][:, 0] = [-0.0, 0.0, 0.0, -1.0]
    inputs["y.seed"][:, 0] = [2.0, 3.0]
    evaluator = MeshEvaluator(program, {})
    evaluator.run(inputs, FORWARD)
    found = evaluator.run(inputs, BACKWARD)[gradients.by_name["x"]]
    np.testing.assert_array_equal(found[:, 0], [2, 3, 0, 0])


def test_pools_with_long_lines_are_refused():
    graph = max_pool(Window(1, 70, 1, 2), features=1)
    with pytest.raises(TooLargeError, match="a result of 69 pixels in a line is not supported"):
        trained(graph, ["x"])
