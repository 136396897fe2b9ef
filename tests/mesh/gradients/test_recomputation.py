"""Training steps of equal layers whose backward pass computes them again: same bits, one loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.graph import recompute
from onewafer.mesh import shard_training
from onewafer.mesh.blocks import Arena, Role
from onewafer.mesh.budget import footprint
from onewafer.mesh.kinds import REPEAT
from onewafer.mesh.optimizers import AdamW
from onewafer.mesh.reference import MeshEvaluator
from onewafer.mesh.schedule import schedule_parts
from tests.mesh.fabric import check_launches
from tests.mesh.gradients.test_transformers import ENTRIES, check_gradients, derived, inputs_of
from tests.mesh.models import Decoder
from tests.mesh.strategies import assert_same_bits, random_arrays

WSE3 = load_architecture("wse3")
DECODERS = {
    "rotary": Decoder(layers=4),
    "learned positions": Decoder(layers=4, kv_heads=4, has_rotary=False),
    "bidirectional": Decoder(layers=4, kv_heads=4, has_rotary=False, is_causal=False),
    "norms of heads": Decoder(layers=4, has_head_norms=True),
    "an adapter": Decoder(layers=4, rank=3),
}


def program_of(decoder, rectangle, cuts, *, frozen=("cosine", "sine"), architecture=WSE3):
    gradients, number = derived(decoder, frozen)
    if cuts:
        gradients, number = recompute(gradients, number, cuts=cuts)
    norms = [name for name in gradients.by_name if "norm" in name]
    groups = norms, [name for name in gradients.by_name if name not in norms]
    width, height = rectangle
    program = shard_training(
        gradients,
        width=width,
        height=height,
        architecture=architecture,
        num_model=number,
        updates=[(AdamW().step, groups)],
    )
    return program, gradients


def steps(program, decoder, count):
    """Return the launches of some steps, with other tokens in each."""
    for index in range(count):
        groups = AdamW(lr=0.1, weight_decay=0.0), AdamW(lr=0.01)
        numbers = np.concatenate([group.numbers(index + 1) for group in groups], axis=1)
        inputs = inputs_of(decoder, index) | {"step_numbers": numbers}
        for entry in ENTRIES:
            yield inputs, replace(program.whole_launch(), entry=entry)


@pytest.mark.parametrize("frozen", [(), ("0.norm.weight", "1.query.weight", "2.up.weight")])
@pytest.mark.parametrize("cuts", [1, 2])
@pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)
@pytest.mark.alternate(4)
def test_bits_are_those_of_a_step_that_keeps_all(decoder, cuts, frozen):
    frozen = [name for name in (*frozen, "cosine", "sine") if name in decoder.graph.by_name]
    plain, gradients = program_of(decoder, (3, 2), 0, frozen=frozen)
    again, _ = program_of(decoder, (3, 2), cuts, frozen=frozen)
    parameters = random_arrays(gradients.graph.parameters, 2)
    evaluators = [MeshEvaluator(program, parameters) for program in (plain, again)]
    for inputs, launch in steps(plain, decoder, 2):
        expected, found = (evaluator.run(inputs, launch) for evaluator in evaluators)
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            assert_same_bits(found[name], value)


@pytest.mark.parametrize("cuts", [1, 2])
def test_depth_costs_what_layers_begin_with(cuts):
    """Schedule, kernels and activations of six layers are those of five."""
    programs = [program_of(Decoder(layers=n), (3, 4), cuts)[0] for n in (5, 6)]
    fewer, more = (footprint(program, WSE3) for program in programs)
    assert (more.schedule, more.activations) == (fewer.schedule, fewer.activations)
    assert more.kernels == fewer.kernels
    keeps_all = [program_of(Decoder(layers=n), (3, 4), 0)[0] for n in (5, 6)]
    assert more.activations < footprint(keeps_all[1], WSE3).activations / 2
    homes = programs[0].with_role(Role.PARAMETER)
    assert programs[0].arena_elements[Arena.PARAMETERS] == sum(h.num_elements for h in homes)
    assert fewer.weights < footprint(keeps_all[0], WSE3).weights
    for entry in ("forward", "backward"):
        rounds = [
            [item.n for item in schedule_parts(program)[entry] if item.kind is REPEAT]
            for program in programs
        ]
        assert [max(each) + 1 for each in rounds] == [max(rounds[0]) + 1, max(rounds[0]) + 2]


@pytest.mark.parametrize(
    ("name", "rectangle", "cuts", "arch"),
    [
        ("rotary", (2, 1), 2, "wse3"),
        pytest.param("rotary", (3, 4), 1, "wse2", marks=pytest.mark.slow),
        pytest.param("learned positions", (2, 2), 1, "wse3", marks=pytest.mark.slow),
        pytest.param("bidirectional", (3, 2), 2, "wse2", marks=pytest.mark.slow),
        pytest.param("norms of heads", (2, 3), 2, "wse3", marks=pytest.mark.slow),
    ],
)
def test_steps_on_the_fabric(name, rectangle, cuts, arch):
    """A second step finds what the first one has left."""
    decoder, architecture = DECODERS[name], load_architecture(arch)
    program, gradients = program_of(decoder, rectangle, cuts, architecture=architecture)
    assert program.arena_elements[Arena.STATE] > 0
    backward = schedule_parts(program)["backward"]
    assert any(entry.kind is REPEAT and entry.n >= 2 for entry in backward)
    parameters = random_arrays(gradients.graph.parameters, 2)
    launches = [*steps(program, decoder, 2)]
    runs = check_launches(program, architecture, parameters, launches, tolerance=0.07, slack=200)
    found = runs[ENTRIES.index("backward")].outputs
    check_gradients(gradients, launches[0][0], parameters, found)
