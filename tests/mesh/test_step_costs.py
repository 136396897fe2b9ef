"""What kernels cost under a timing: read once as numbers, or text by text for each program."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.graph import DataType
from onewafer.mesh.attention import Score
from onewafer.mesh.blocks import RowKind
from onewafer.mesh.elementwise import AddBias
from onewafer.mesh.kernel_costs import VectorOperation, kernel_costs, product
from onewafer.mesh.norms import Normalize, SumGroups
from onewafer.mesh.step_costs import step_costs
from tests.mesh.test_kinds import ALL_KINDS

MACHINES = [
    load_architecture(name, profile=profile)
    for name, profile in (("wse3", "silicon"), ("wse3", "sdk"), ("wse2", "sdk"))
]
values = st.one_of(st.integers(0, 5), st.integers(0, 2000))
sizes_of_pes = st.one_of(values, st.lists(values, min_size=3, max_size=3).map(np.array))


def each_operation(counts, timing, sizes):
    """Add up the instructions one by one, as `kernel_costs` describes them."""
    cycles = 0
    for name, count in counts.items():
        fixed = {
            "branch_taken": timing.branch_taken_cycles,
            "map_begin": timing.map_begin_cycles,
            **timing.instruction_cycles,
        }
        cycles = cycles + count * (fixed[name] if name in fixed else vector(name, timing, sizes))
    return cycles


def vector(name, timing, sizes):
    """Return the cycles of one DSD operation."""
    operation = VectorOperation.parse(name)
    stride = int(np.max(product(operation.stride, sizes)))
    rate = Fraction(timing.elements_per_cycle[operation.name])
    rate = max(Fraction(1), rate / stride) if rate > 1 and stride > 1 else rate
    lengths = np.atleast_1d(product(operation.length, sizes)).tolist()
    busy = [-(-length // rate) for length in lengths]
    if operation.is_reduction:
        slower = min(rate, timing.reduction_elements_per_cycle)
        busy = [
            -(-length // slower) if length > 1 else usual
            for length, usual in zip(lengths, busy, strict=True)
        ]
    has_scalar = operation.name in {"fmach", "fmacs", "fmachs"}
    around = timing.memory_setup_cycles + timing.scalar_setup_cycles * has_scalar
    around += timing.resume_cycles
    return np.array(busy, np.int64) + (0 if operation.is_mapped else around)


@pytest.mark.parametrize("architecture", MACHINES, ids=lambda machine: machine.title)
@given(
    data=st.data(),
    dtype=st.sampled_from([DataType.F16, DataType.F32]),
    rows=st.sampled_from(RowKind),
)
def test_numbers_are_those_of_the_texts(architecture, data, dtype, rows):
    assume(dtype is DataType.F32 or rows is not RowKind.GROUPED)  # groups are of programs in f32
    timing, kernels = architecture.timing, kernel_costs(dtype, rows=rows)
    kind = data.draw(st.sampled_from([kind for kind in ALL_KINDS if kind.name in kernels.kinds]))
    texts = kernels.of(kind)
    names = {
        name
        for counts in texts.values()
        for text in counts
        if "(" in text
        for part in (VectorOperation.parse(text).length, VectorOperation.parse(text).stride)
        for name in part.split("*")
    }
    names |= {name for rounds in texts for name in rounds.split("*")}
    sizes = {name: data.draw(sizes_of_pes) for name in sorted(names) if not name.isdigit()}

    read = step_costs(timing, dtype, rows=rows).of(kind)

    for (rounds, cycles), (text, counts) in zip(read, texts.items(), strict=True):
        assert np.all(rounds.of(sizes) == product(text, sizes))
        assert np.all(cycles.of(sizes) == each_operation(counts, timing, sizes))


def test_costs_of_one_machine_are_read_once():
    first, second = (
        step_costs(MACHINES[0].timing, DataType.F16, rows=RowKind.SEQUENCE) for _ in range(2)
    )
    other = step_costs(MACHINES[1].timing, DataType.F16, rows=RowKind.SEQUENCE)
    assert first is second
    assert other is not first


@given(
    data=st.data(),
    kind=st.sampled_from([*SumGroups.kinds, *Normalize.kinds, *AddBias.kinds, Score.kinds[0]]),
)
def test_what_is_kept_of_steps_is_what_they_cost(data, kind):
    costs = step_costs(MACHINES[0].timing, DataType.F16, rows=RowKind.SEQUENCE)
    names = {name for part in rounds_and_lengths(costs, kind) for name in part}
    numbers = {name: st.integers(0, 3) for name in sorted(names)}
    row = st.lists(st.integers(0, 3), min_size=2, max_size=2).map(lambda row: np.array([row]))
    arrays = dict.fromkeys(sorted(names), row)

    for sizes in (numbers, numbers, arrays, arrays):
        drawn = data.draw(st.fixed_dictionaries(sizes))
        each = [rounds.of(drawn) * of_round.of(drawn) for rounds, of_round in costs.of(kind)]
        total = sum(part if isinstance(part, int) else part.sum(axis=0) for part in each)
        for _ in range(2):
            assert np.array_equal(costs.cycles(kind, drawn), total)


def rounds_and_lengths(costs, kind):
    """Yield the names of sizes that a kind asks for."""
    for rounds, of_round in costs.of(kind):
        yield rounds.names
        for _, busy in of_round.busy:
            yield busy.length.names
            yield busy.stride.names
