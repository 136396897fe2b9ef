"""Training steps of sequences that take several launches: NumPy, fabric, closed form; float64."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.graph import (
    Evaluator,
    Reduction,
    Slot,
    evaluate_graph,
    recompute,
)
from onewafer.mesh import shard_training
from onewafer.mesh.optimizers import AdamW
from onewafer.mesh.reference import MeshEvaluator
from tests.mesh.attention.test_drops import with_draws
from tests.mesh.attention.test_factors import dropped, with_factors
from tests.mesh.drawing import seeded
from tests.mesh.dropout.test_dropout_in_programs import with_dropouts
from tests.mesh.fabric import check_launches
from tests.mesh.gradients.test_transformers import derived, inputs_of, reach_of_roundings
from tests.mesh.models import Decoder
from tests.mesh.strategies import assert_same_bits, random_arrays

WSE3 = load_architecture("wse3")


@dataclass(frozen=True)
class Tiled:
    """A decoder with the sum of its losses, whose sequence takes launches of equally many rows."""

    decoder: Decoder
    rows: int
    seed: int = 0
    drops: str = ""
    """What it drops: elements and attention weights, `drawn` by PEs, or such weights, `given`."""
    cuts: int = 0
    """How much is computed again at a time; 0: nothing is."""

    @property
    def gradients(self):
        """The gradients of a launch."""
        return self._derived(self.rows)[0]

    @property
    def number(self) -> int:
        """Operations of the model."""
        return self._derived(self.rows)[1]

    @property
    def whole(self):
        """The gradients of a launch of the whole sequence."""
        return self._derived(self.decoder.rows)[0]

    def _derived(self, rows: int):
        graph = self._graph
        found = derived(self.decoder, graph=graph, reduction=Reduction.SUM, rows=rows)
        return recompute(*found, cuts=self.cuts) if self.cuts else found

    @property
    def _graph(self):
        graph = self.decoder.graph
        if self.drops == "given":
            return with_factors(graph)
        return with_dropouts(with_draws(graph)) if self.drops == "drawn" else graph

    @property
    def inputs(self):
        """The inputs of a launch of the whole sequence."""
        more = {"step_numbers": AdamW().numbers(1)}
        more |= seeded(self.seed) if self.drops == "drawn" else dropped(self._graph, self.seed)
        return inputs_of(self.decoder, self.seed) | more

    def tiles(self):
        """Yield the inputs of each launch, and its slot."""
        inputs, rows = self.inputs, self.rows
        for first in range(0, self.decoder.rows, rows):
            names = [name for name in inputs if name in {"ids", "targets"} or "factors" in name]
            part = {name: inputs[name][first : first + rows] for name in names}
            yield inputs | part, Slot(0, first, rows)

    def program(self, width: int, height: int, architecture=WSE3):
        """Return the program that trains with such launches."""
        return shard_training(
            self.gradients,
            width=width,
            height=height,
            architecture=architecture,
            num_model=self.number,
            optimizer=AdamW().step,
            context=self.decoder.rows,
        )

    def pass_of(self, program):
        """Yield the inputs and launches of a forward and backward pass over the sequence."""

        def launch(entry, slot):
            return replace(program.whole_launch(), entry=entry, slots=(slot,))

        tiles = [*self.tiles()]
        for inputs, slot in tiles:
            yield inputs, launch("forward", slot)
        yield tiles[-1][0], launch("clear_carried", tiles[-1][1])
        for inputs, slot in reversed(tiles):
            for entry in ("forward", "loss", "backward"):
                yield inputs, launch(entry, slot)


@st.composite
def tiled(draw) -> Tiled:
    """Draw a decoder, and the rows of its launches."""
    launches, rows = draw(
        st.sampled_from([(n, r) for n in range(2, 9) for r in range(1, 9 // n + 1)])
    )
    has_rotary = draw(st.booleans())
    heads, kv_heads = draw(st.sampled_from([(4, 2), (4, 4), (2, 1)]))
    decoder = Decoder(
        rows=launches * rows,
        layers=draw(st.integers(1, 2)),
        heads=heads,
        kv_heads=kv_heads,
        has_rotary=has_rotary,
        rank=draw(st.sampled_from([0, 3])),
        has_head_norms=has_rotary and draw(st.booleans()),
    )
    seed, cuts = draw(st.integers(0, 99)), draw(st.integers(0, 2))
    return Tiled(decoder, rows, seed, draw(st.sampled_from(["", "drawn", "given"])), cuts)


@given(tiled())
def test_launches_of_some_rows_give_the_gradients_of_the_whole_sequence(tiled):
    """As the host evaluates graphs, in float64; what an earlier pass has left does not matter.

    What is drawn does not depend on the rows of a launch.
    """
    parameters = random_arrays(tiled.whole.graph.parameters, 2)
    exact = evaluate_graph(tiled.whole.graph, tiled.inputs, parameters)
    evaluator, tiles = Evaluator(tiled.gradients.graph, parameters), [*tiled.tiles()]
    for _ in range(2):
        for inputs, slot in tiles:
            evaluator.run_slots(inputs, (slot,))
        found = [evaluator.run_slots(inputs, (slot,)) for inputs, slot in reversed(tiles)]
        for name, result in tiled.gradients.by_name.items():
            total = sum(outputs[result] for outputs in found)
            expected = exact[tiled.whole.by_name[name]]
            np.testing.assert_allclose(total, expected, rtol=1e-9, atol=1e-11)


def check_sums(tiled, parameters, found):
    """Compare gradients with those of the whole sequence in float64, as for whole launches.

    One that is almost 0 is as far off as what cancels in it is rounded.
    """
    wide = {name: value.astype(np.float64) for name, value in parameters.items()}
    whole, results = tiled.whole, tiled.gradients.by_name
    exact = evaluate_graph(whole.graph, tiled.inputs, wide)
    sizes = {name: np.abs(exact[result]).max() for name, result in whole.by_name.items()}
    errors = {n: np.abs(found[results[n]] - exact[r]).max() for n, r in whole.by_name.items()}
    floor = 1e-6 * max(sizes.values())
    steep = [name for name, error in errors.items() if error > 2e-5 * sizes[name] + floor]
    if steep:
        reach = reach_of_roundings(whole, tiled.inputs, wide, exact)
        assert all(errors[name] <= reach[whole.by_name[name]] for name in steep)


@given(tiled(), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=12)
def test_gradients_of_a_program_are_those_of_the_whole_sequence(tiled, width, height):
    """A second pass finds what the first one has left."""
    program = tiled.program(width, height)
    parameters = random_arrays(tiled.gradients.graph.parameters, 2)
    evaluator, outputs = MeshEvaluator(program, parameters), {}
    for _ in range(2):
        evaluator.run(tiled.inputs, replace(program.whole_launch(), entry="clear"))
        for inputs, launch in tiled.pass_of(program):
            outputs |= evaluator.run(inputs, launch)
        check_sums(tiled, parameters, outputs)


@pytest.mark.parametrize("cuts", [1, 2])
def test_layers_that_are_computed_again_give_the_same_bits(cuts):
    """They have the keys and values that the forward passes have kept."""
    kept = Tiled(Decoder(rows=6, layers=3), 2, drops="drawn")
    again = replace(kept, cuts=cuts)
    assert again.gradients.originals
    parameters = random_arrays(kept.gradients.graph.parameters, 2)
    found = []
    for tiled in (kept, again):
        program, outputs = tiled.program(3, 2), {}
        evaluator = MeshEvaluator(program, parameters)
        evaluator.run(tiled.inputs, replace(program.whole_launch(), entry="clear"))
        for inputs, launch in tiled.pass_of(program):
            outputs |= evaluator.run(inputs, launch)
        found.append(outputs)
    for name, value in found[0].items():
        assert_same_bits(found[1][name], value)


CASES = {
    "one PE": (Tiled(Decoder(rows=4, layers=2), 2), (1, 1), "wse3"),
    "grouped queries, parts of heads": (Tiled(Decoder(rows=6), 2), (2, 3), "wse2"),
    "learned positions": (
        Tiled(Decoder(rows=6, layers=2, kv_heads=4, has_rotary=False), 3),
        (2, 2),
        "wse3",
    ),
    "a head on two PEs, more rows of PEs than positions": (
        Tiled(Decoder(rows=3, has_head_norms=True), 1),
        (3, 4),
        "wse3",
    ),
    "dropouts that are drawn, launches that begin with odd rows": (
        Tiled(Decoder(rows=6), 3, drops="drawn"),
        (2, 3),
        "wse3",
    ),
    "layers that are computed again, a loop": (
        Tiled(Decoder(rows=4, layers=3), 2, cuts=2, drops="drawn"),
        (2, 2),
        "wse3",
    ),
    "a dropout that the host draws": (
        Tiled(Decoder(rows=6, kv_heads=4), 3, drops="given"),
        (3, 2),
        "wse2",
    ),
}


@pytest.mark.parametrize(("tiled", "rectangle", "arch"), CASES.values(), ids=CASES)
@pytest.mark.alternate(7)
def test_a_step_on_the_fabric(tiled, rectangle, arch):
    architecture = load_architecture(arch)
    program = tiled.program(*rectangle, architecture)
    parameters = random_arrays(tiled.gradients.graph.parameters, 2)
    single = (replace(program.whole_launch(), entry=entry) for entry in ("clear", "update"))
    clear, update = ((tiled.inputs, launch) for launch in single)
    launches = [clear, *tiled.pass_of(program), update]
    runs = check_launches(program, architecture, parameters, launches, tolerance=0.1, slack=200)
    check_sums(tiled, parameters, runs[-2].outputs)
