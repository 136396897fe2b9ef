"""What programs that draw what a dropout keeps have to do, wherever the dropout is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.arch import load_architecture
from onewafer.graph import SEEDS, evaluate_graph, recompute
from onewafer.mesh import shard_training
from onewafer.mesh.reference import MeshEvaluator
from tests.mesh.fabric import check_launches
from tests.mesh.gradients.test_transformers import check_gradients, derived, inputs_of
from tests.mesh.models import Decoder
from tests.mesh.strategies import assert_same_bits, random_arrays

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.graph import Graph

WSE3 = load_architecture("wse3")
ENTRIES = ("clear", "forward", "loss", "backward")


def seeded(seed: int, *, draws: bool = True) -> dict[str, np.ndarray]:
    """Return the seeds of a launch."""
    words = np.random.default_rng(seed).integers(-(1 << 31), 1 << 31, (1, 3))
    words[0, 2] = draws
    return {SEEDS: words.astype(np.int32)}


def run(program, inputs, parameters):
    """Return what the NumPy reader gives in all entries."""
    evaluator, found = MeshEvaluator(program, parameters), {}
    for entry in ENTRIES:
        found |= evaluator.run(inputs, replace(program.whole_launch(), entry=entry))
    return found


def trained(
    decoder: Decoder,
    rectangle: tuple[int, int],
    with_draws: Callable[[Graph], Graph],
    architecture=WSE3,
):
    """Return a program that trains a decoder that draws, its gradients and its inputs."""
    gradients, number = derived(decoder, graph=with_draws(decoder.graph))
    width, height = rectangle
    program = shard_training(
        gradients, width=width, height=height, architecture=architecture, num_model=number
    )
    return program, gradients, inputs_of(decoder) | seeded(5)


def check_on_the_fabric(decoder, rectangle, with_draws, architecture):
    """Simulate a step, and an evaluation, which takes what its closed form says."""
    program, gradients, inputs = trained(decoder, rectangle, with_draws, architecture)
    parameters = random_arrays(gradients.graph.parameters, 2)
    launches = [(inputs, replace(program.whole_launch(), entry=entry)) for entry in ENTRIES]
    kept = inputs | seeded(5, draws=False)
    evaluation = replace(program.whole_launch(), entry="forward", is_evaluation=True)
    launches.append((kept, evaluation))
    runs = check_launches(program, architecture, parameters, launches, tolerance=0.07, slack=200)
    check_gradients(gradients, inputs, parameters, runs[-2].outputs)
    assert runs[-1].cycles < runs[1].cycles


def check_against_float64(decoder, rectangle, with_draws, seed):
    """The backward pass drops what the forward pass has dropped: a graph draws once."""
    program, gradients, inputs = trained(decoder, rectangle, with_draws)
    inputs |= seeded(seed)
    parameters = random_arrays(gradients.graph.parameters, seed)
    found = run(program, inputs, parameters)
    wide = {name: value.astype(np.float64) for name, value in parameters.items()}
    exact = evaluate_graph(gradients.graph, inputs, wide)
    largest = {name: np.abs(exact[name]).max() for name in gradients.by_name.values()}
    for name, value in largest.items():
        error = np.abs(found[name] - exact[name]).max()
        assert error <= 2e-5 * value + 2e-6 * max(largest.values())


def check_evaluation(with_draws):
    """A launch that is an evaluation gives what a program gives that draws nothing."""
    decoder = Decoder()
    program, gradients, inputs = trained(decoder, (3, 2), with_draws)
    parameters = random_arrays(gradients.graph.parameters, 2)
    found = run(program, inputs | seeded(5, draws=False), parameters)
    plain, number = derived(decoder)
    other = shard_training(plain, width=3, height=2, architecture=WSE3, num_model=number)
    for name, value in run(other, inputs_of(decoder), parameters).items():
        np.testing.assert_array_equal(found[name], value)


def check_computed_again(with_draws, kind, cuts):
    """Layers that are computed again keep the same; operations of the kind are among them."""
    decoder = Decoder(layers=3)
    kept, number = derived(decoder, graph=with_draws(decoder.graph))
    again, more = recompute(kept, number, cuts=cuts)
    computed = {one.result.name for one in again.graph.operations if isinstance(one, kind)}
    assert computed & again.originals.keys()
    inputs, parameters = inputs_of(decoder) | seeded(5), random_arrays(kept.graph.parameters, 2)
    found = [
        run(
            shard_training(one, width=3, height=2, architecture=WSE3, num_model=count),
            inputs,
            parameters,
        )
        for one, count in ((kept, number), (again, more))
    ]
    for name, value in found[0].items():
        assert_same_bits(found[1][name], value)
