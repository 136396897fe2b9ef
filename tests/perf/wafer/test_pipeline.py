"""The search for a pipeline: it finds what a search of all rectangles finds, with few programs."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.mesh import largest_rectangle
from onewafer.perf import Prefill
from onewafer.perf.gpt import GptShape, gpt_model
from onewafer.perf.wafer import WaferOptions, estimate, machine
from onewafer.perf.wafer.pipeline import Pipelines, _front, _Slots, _Table, tilings
from onewafer.perf.wafer.programs import LoadPrograms
from onewafer.perf.wafer.region import Regions
from onewafer.perf.wafer.sketch import Sketch
from onewafer.perf.wafer.workload import Load
from tests.perf.wafer.models import llama
from tests.perf.wafer.sites import has_overlap, is_inside

POSITIVE = st.floats(1.0, 1e6)
SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))
OPTIONS = WaferOptions()


@pytest.fixture(autouse=True)
def few_rectangles():
    """Search as users do."""


# --- tables -----------------------------------------------------------------------------------


def pick(table, price, cap):
    """Return the best choice at one price, looking at one after the other."""
    under = [at for at in table.front if table.slowest[at] <= cap]
    if not under:
        return min(table.front, key=lambda at: table.slowest[at])
    return min(under, key=lambda at: table.cycles[at] + price * table.pes[at])


@given(
    choices=st.lists(st.tuples(POSITIVE, POSITIVE, POSITIVE), min_size=1, max_size=12),
    prices=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=5),
    cap=st.one_of(st.just(math.inf), POSITIVE),
)
def test_many_prices_at_once_are_each_by_itself(choices, prices, cap):
    cycles, slowest, pes = map(np.array, zip(*choices, strict=True))
    everything = np.arange(len(pes))
    table = _Table(cycles, slowest, pes, np.empty((0, 2)), everything, (0,), everything, (), ())

    assert table.pick(prices, cap).tolist() == [pick(table, price, cap) for price in prices]


@given(choices=st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=12))
def test_a_front_is_of_choices_than_which_none_is_smaller_and_as_fast(choices):
    pes, cycles = map(np.array, zip(*choices, strict=True))

    front = _front(pes, cycles).tolist()

    for at in range(len(pes)):
        is_beaten = any(pes[f] <= pes[at] and cycles[f] <= cycles[at] for f in front if f != at)
        assert is_beaten or at in front


@given(
    choices=st.dictionaries(SIDES, st.one_of(POSITIVE, st.just(math.inf)), min_size=1),
    slots=st.lists(SIDES, min_size=1, max_size=5),
)
def test_the_best_choice_in_a_slot_is_that_of_all_in_it(choices, slots):
    sides, values = np.array([*choices]), np.array([*choices.values()])

    found = _Slots.of(sides, values, 100).best_in(np.array(slots))

    for at, slot in zip(found.tolist(), slots, strict=True):
        inside = [v for one, v in choices.items() if one[0] <= slot[0] and one[1] <= slot[1]]
        least = min(inside, default=math.inf)
        assert (values[at - 100] == least) if at >= 0 else math.isinf(least)


@given(wafer=st.tuples(st.integers(1, 60), st.integers(1, 60)), count=st.integers(1, 40))
def test_so_many_slots_are_on_a_wafer(wafer, count):
    found = tilings(wafer, count)

    assert all(wafer[0] // width * (wafer[1] // height) >= count for width, height in found)
    assert found == sorted(found)
    assert [height for _, height in found] == sorted((h for _, h in found), reverse=True)
    assert found or count > min(wafer)


# --- searches ---------------------------------------------------------------------------------


def on_wafer(width, height, wafers=1):
    """Return a machine of small wafers."""
    chip = machine(f"cs3x{wafers}", OPTIONS)
    lost = [a - b for a, b in zip(fabric(chip), largest_rectangle(chip.architecture), strict=True)]
    sizes = {"fabric_width": width + lost[0], "fabric_height": height + lost[1]}
    return replace(chip, architecture=replace(chip.architecture, **sizes))


def fabric(chip):
    return chip.architecture.fabric_width, chip.architecture.fabric_height


def found_of(chip, model, load, score, *, are_all_known):
    regions = Regions(model, load, machine=chip, options=OPTIONS)
    pipelines = Pipelines(regions, chip, OPTIONS, [Sketch() for _ in model.segments])
    if are_all_known:
        for segment in pipelines._segments:
            for width, height in segment.sides.tolist():
                segment.measure((width, height))
    found = pipelines.search(score)
    num_known = sum(len(segment.known) for segment in pipelines._segments)
    return found, num_known


@pytest.mark.parametrize(
    ("sides", "wafers", "rows", "launches"),
    [((60, 96), 1, 1, 1), ((48, 48), 2, 1, 20), ((120, 80), 1, 8, 20)],
)
@pytest.mark.alternate(6)
def test_a_staged_choice_is_as_good_as_that_of_all_programs(sides, wafers, rows, launches):
    """Up to 3 %: what a sketch is wrong by, less what is found beside the choice."""
    chip = on_wafer(*sides, wafers)
    model = llama(layers=6, features=256, heads=4, kv_heads=2, inner=512, vocabulary=500)
    load = Load(rows=rows, position=20, capacity=64)

    def score(latency, period):
        return latency + (launches - 1) * period

    staged, few = found_of(chip, model, load, score, are_all_known=False)
    whole, many = found_of(chip, model, load, score, are_all_known=True)

    assert staged.seconds <= 1.03 * whole.seconds
    assert few < 0.8 * many
    sites = [stage.site for stage in staged.plan.stages]
    assert not has_overlap(sites)
    assert all(is_inside(site, largest_rectangle(chip.architecture)) for site in sites)


@pytest.mark.slow
def test_few_programs_are_built_for_a_search(monkeypatch):
    """GPT-2 on a CS-3 reads a prompt: 3,500 programs were built when all was tried alike."""
    built = []
    build = LoadPrograms._build

    def counted(*arguments):
        built.append(arguments)
        return build(*arguments)

    monkeypatch.setattr(LoadPrograms, "_build", counted)
    shape = GptShape(layers=12, hidden=768, heads=12, vocabulary=50_257, positions=1024)
    gpt2 = gpt_model("gpt2", shape)

    answer = estimate(gpt2, Prefill(tokens=1024), "cs3")

    assert answer.choice.num_considered > 10_000
    assert len(built) < 1_400
    assert answer.tokens_per_second > 205_000
