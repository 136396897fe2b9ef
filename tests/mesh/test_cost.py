from __future__ import annotations

import pytest

from onewafer.arch import load_architecture
from onewafer.graph import FLOATING
from onewafer.mesh import cost, estimate, shard
from tests.mesh.strategies import mlp


def cycles(sizes, width, height, **options):
    architecture = load_architecture("wse3")
    program = shard(mlp(sizes, **options), width=width, height=height, architecture=architecture)
    return estimate(program, architecture).cycles


@pytest.mark.parametrize("dtype", FLOATING)
def test_more_work_takes_longer(dtype):
    assert cycles([64, 64], 2, 2, dtype=dtype) < cycles([128, 128], 2, 2, dtype=dtype)
    assert cycles([64, 64], 2, 2, dtype=dtype) < cycles([64, 64], 2, 2, dtype=dtype, batch=2)
    assert cycles([64] * 4, 2, 2, dtype=dtype) < cycles([64] * 12, 2, 2, dtype=dtype)


def test_more_pes_pay_until_the_fabric_costs_more_than_it_saves():
    times = [cycles([256, 256], side, side) for side in (1, 4, 16, 64, 750)]
    assert times[0] > times[1] > times[2] > times[3] < times[4]


def test_parts_add_up():
    architecture = load_architecture("wse2")
    program = shard(mlp([8] * 9), width=2, height=2, architecture=architecture)
    result = estimate(program, architecture)
    assert len(result.operations) == len(program.operations)
    parts = sum(operation.cycles for operation in result.operations)
    assert result.cycles == result.launch_cycles + parts + result.control_cycles


def test_layers_that_repeat_are_counted_once(monkeypatch):
    """A token of a deep model must not wait for the closed form of every layer."""
    counted = []

    def count(self, skew, timing):
        counted.append(self)
        return after(self, skew, timing)

    after = cost.Work.after
    monkeypatch.setattr(cost.Work, "after", count)
    architecture, numbers = load_architecture("wse3"), []
    for layers in (8, 40):
        counted.clear()
        program = shard(mlp([8] * (layers + 1)), width=2, height=2, architecture=architecture)
        estimate(program, architecture)
        numbers.append(len(counted))
    assert numbers[0] == numbers[1]
