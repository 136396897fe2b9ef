"""The programs of the whole wafer, small: their values are right, and a wrong one is noticed."""

import pytest

from onewafer.benchmarks.all_reduce import all_reduce
from onewafer.benchmarks.gemv import gemv
from onewafer.benchmarks.variants import Variant
from onewafer.host import Device
from onewafer.known_answers import WrongResultError

WORKLOADS = {
    "all-reduce": lambda machine, variant: all_reduce(
        7, 5, machine=machine, num_words=5, variant=variant
    ),
    "gemv": lambda machine, variant: gemv(50, 6, 7, machine=machine, variant=variant),
    "gemv of whole blocks": lambda machine, variant: gemv(
        12, 3, 4, machine=machine, variant=variant
    ),
}


def run(workload, *, num_launches=1):
    device = Device(workload.compile(), workload.architecture(), engine="reference")
    device.load()
    workload.prepare(device)
    for _ in range(num_launches):
        device.launch(workload.function)
    return device


@pytest.mark.alternate(3)
@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("machine", ["wse2", "wse3"])
@pytest.mark.parametrize("variant", Variant)
def test_values_are_those_of_numpy(name, machine, variant):
    workload = WORKLOADS[name](machine, variant)
    workload.check(run(workload, num_launches=2))


@pytest.mark.parametrize("size", [(2, 2), (2, 5), (4, 2)])
def test_the_smallest_rectangles_work(size):
    for workload in (
        all_reduce(*size, machine="wse2", num_words=1),
        gemv(9, *size, machine="wse3"),
    ):
        workload.check(run(workload))


@pytest.mark.parametrize("name", WORKLOADS)
def test_one_wrong_bit_is_noticed(name):
    workload = WORKLOADS[name]("wse3", Variant.SAME)
    device = run(workload)
    symbol = device.machine.symbol(0, 2, "sums")
    value = device.machine.peek(0, 2, symbol.address, 1)[0]
    device.machine.poke(0, 2, symbol.address, bytes([value ^ 1]))
    with pytest.raises(WrongResultError, match="NumPy computes"):
        workload.check(device)


def test_variants_differ_by_patches_not_programs():
    numbers = {}
    for variant in Variant:
        image = all_reduce(9, 8, machine="wse3", variant=variant).compile()
        numbers[variant] = len(image.programs), sum(len(p.patches) for p in image.programs)
    assert numbers[Variant.SAME] == (7, 0)
    assert numbers[Variant.BY_COLUMN][0] == numbers[Variant.BY_PE][0] == 7
    assert 0 < numbers[Variant.BY_COLUMN][1] < numbers[Variant.BY_PE][1]
