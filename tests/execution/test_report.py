"""Tables of what programs cost."""

from dataclasses import replace

import pytest
from rich.console import Group

from onewafer.execution import Fidelity, Loader, Phase, WaferOptions, Wanted, place
from onewafer.execution.report import (
    LaunchOrigins,
    SimulationReport,
    energy_of,
    find_limit,
    render_phases,
    render_placement,
    render_programs,
    show_wrong_values,
)
from onewafer.execution.report.simulation_words import show_fabric_values
from onewafer.graph import LayerPart
from tests.execution.program_reports import DECODE, MODEL, PROGRAM, part, shown
from tests.mesh.strategies import mlp


def test_the_energy_of_some_pes_is_their_share_of_the_system_s_power():
    loader = Loader(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(4, 2)))
    placed = place(mlp([6, 5, 3]), loader.architecture, loader.options)
    record = loader.load(Wanted(placed, "perceptron")).record
    share = 8 / (762 * 1172)

    energy = energy_of(record, 850e6)  # one second; PEs that were not observed count as busy

    assert energy.system == "CS-3"
    assert energy.joules_of_pes == pytest.approx(share * 23_000)
    assert energy.joules == pytest.approx(16_100 + share * (23_000 - 16_100))


def test_a_machine_without_a_known_power_has_no_energy():
    loader = Loader(WaferOptions(arch="toy", fidelity=Fidelity.MODEL))
    placed = place(mlp([6, 5, 3]), loader.architecture, loader.options)

    assert energy_of(loader.load(Wanted(placed, "perceptron")).record, 1e6) is None


def test_the_limit_is_what_most_cycles_go_to():
    limit = find_limit([DECODE])
    shares = limit.arithmetic, limit.messages, limit.control
    assert shares == pytest.approx((0.75, 0.225, 0.025))
    assert (limit.part, limit.busy) == (LayerPart.ATTENTION, 0.9)
    of_both = find_limit([DECODE, replace(DECODE, cycles=3 * DECODE.cycles, busy_pe_fraction=0.5)])
    assert of_both.busy == pytest.approx(0.6)
    unmeasured = find_limit([DECODE, replace(DECODE, busy_pe_fraction=None)])
    assert unmeasured.busy is None
    assert unmeasured.arithmetic == pytest.approx(31_500 / 40_800)  # in closed form


def both(program):
    return Group(render_programs([program]), render_phases(program))


def test_values_without_a_distance_are_equal():
    simulation = SimulationReport(
        origins=LaunchOrigins(simulated=2, known=0, derived=0, closed_form=0),
        lowest_ratio=1.0,
        largest_ratio=1.0,
        depends_on=(),
        compared=2,
        other_bits=0,
        beyond_bound=0,
        distance=0.0,
        not_simulated=None,
    )
    bits = "bit for bit as NumPy computes them, in 2 launches"
    assert show_fabric_values(simulation) == f"{bits}; equal to PyTorch's"
    near = replace(simulation, distance=7e-7)
    assert show_fabric_values(near) == f"{bits}; at most 7e-07 from PyTorch's"
    assert show_wrong_values(near) is None
    wrong = replace(simulation, other_bits=1)
    assert show_fabric_values(wrong) == show_wrong_values(wrong)
    assert show_wrong_values(wrong).startswith("WRONG, please report it: of 2 launches, 1 with")


def test_unknown_figures_leave_no_row():
    modelled = replace(PROGRAM, tile_programs=None, wavelet_hops_per_launch=None)
    text = shown(render_programs([modelled]))
    assert "tile programs" not in text
    assert "wavelet-hops" not in text
    assert "cycles a launch" in text


PHASES = """\
┌───────────────────┬────────────────────────────┬────────────────────────────┐
│ costs of a token  │                    prefill │                     decode │
├───────────────────┼────────────────────────────┼────────────────────────────┤
│ tokens            │            1,234 in 1 call │             14 in 14 calls │
│ cycles            │                      9,000 │                     40,000 │
│ closed form       │              8,910 (-1.0%) │             40,800 (+2.0%) │
│ time              │                    47.1 µs │                    47.1 µs │
│ tokens/s, 850 MHz │                     94,444 │                     21,250 │
│ PEs busy          │                      90.0% │                      90.0% │
│ links busy        │                       0.3% │                       0.3% │
├───────────────────┼────────────────────────────┼────────────────────────────┤
│ cycles by part    │  measured      closed form │  measured      closed form │
│ attention         │    20,000 222%      21,000 │    20,000  50%      21,000 │
│ MLP               │    10,000 111%      10,500 │    10,000  25%      10,500 │
│ collectives       │     9,000 100%       8,300 │     9,000  22%       8,300 │
│ start and end     │     1,000  11%       1,000 │     1,000   2%       1,000 │
│   of them idle    │       900  10%           – │     4,000  10%           – │
└───────────────────┴────────────────────────────┴────────────────────────────┘
measured: the mean over PEs, from about 64 samples a launch; idle: counters;
closed form: of the PE that is last (docs/explanation/costs.md)
"""


def test_prefill_and_decode_of_a_language_model_are_told_apart():
    text = shown(both(MODEL), width=80)
    assert PHASES in text
    for row in (
        "│   KV cache       │ 512 B ",
        "│ KV cache a token │ 512 B, 8 B on each PE ",
        "│ context          │ 64 tokens; 496 would fit ",
        "│ all calls        │ 6 in 6 launches, 360 tokens ",
        "│ on the host      │ cutting 'pixels' into patches; adding 1 row of zeros",
    ):
        assert row in text
    for mixed in ("cycles a launch", "time a sample", "wavelet-hops"):
        assert mixed not in text


def test_tokens_of_several_sequences_share_launches():
    decode = replace(DECODE, rows=28, again=5)
    cache = replace(MODEL.cache, sequences=2)
    text = shown(both(replace(MODEL, cache=cache, phases=(MODEL.phases[0], decode))), width=80)
    assert "│ context          │ 2 sequences of 64 tokens; 496 would fit " in text
    assert "│ computed again    │                            │                   5 tokens │" in text
    assert "│ tokens a launch   │                    1,234.0 │                        2.0 │" in text


BATCH = """\
┌────────────────────┬───────────────────┐
│ costs of a sample  │             batch │
├────────────────────┼───────────────────┤
│ cycles             │            40,000 │
│ samples/s, 850 MHz │            21,250 │
├────────────────────┼───────────────────┤
│ cycles by part     │ closed form share │
│ MLP                │      40,000   98% │
│ start and end      │         800    2% │
└────────────────────┴───────────────────┘
"""


def test_closed_form_stands_alone_where_nothing_was_simulated():
    batch = replace(
        DECODE,
        phase=Phase.BATCH,
        busy_pe_fraction=None,
        busy_link_fraction=None,
        parts=(part(LayerPart.MLP, None, 40_000.0), part(None, None, 800.0)),
    )
    model = replace(PROGRAM, memory=replace(PROGRAM.memory, x=None, y=None), phases=(batch,))
    text = shown(both(model), width=80)
    assert "10,288 B (21%) in closed form" in text
    assert BATCH in text


PLACEMENT = """\
placement of Sequential
256, 128 rows a launch fit nowhere. 4×2 was chosen: of the rectangles whose PEs
have room, the one that takes fewest cycles (closed form) for a launch of 64
rows. A PE has 49,152 B. `--rectangle` pins another.
┏━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━┓
┃ rectangle ┃ bytes a PE ┃ cycles ┃ verdict               ┃
┡━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━┩
│ 1×1       │   60,000 B │      – │ 10,848 B too many     │
│ 2×2       │   20,000 B │ 15,000 │ 1.50 times the cycles │
│ 4×2       │   10,288 B │ 10,000 │ chosen                │
│ 4×4       │    9,000 B │ 10,000 │ as fast, on more PEs  │
└───────────┴────────────┴────────┴───────────────────────┘
The first tensor lies along x; every linear operation changes the axis, others
keep it, and what is added must lie alike: none had to be redistributed. To
exchange x and y, exchange the sides.
"""


def test_placement_is_explained_in_words():
    text = shown(render_placement((PROGRAM,)), width=80)
    assert text.startswith(PLACEMENT)
    assert "│ Linear     │     2 │       32 │ y     │   16 │ 2 heads interleaved │" in text
    placement = replace(PROGRAM.placement, is_pinned=True, redistributions=2)
    pinned = replace(PROGRAM, placement=placement)
    text = shown(render_placement((pinned,)), width=80)
    assert "4×2 was asked for, and fits with 64 rows a\nlaunch." in text
    assert "2 tensors had to be redistributed" in text
    assert "no program was placed" in shown(render_placement(()))


def test_one_of_a_kind_is_singular():
    one = replace(PROGRAM, bucket_rows=1, width=1, height=1, calls=1, launches=1, samples=1)
    text = shown(render_programs([one]))
    for words in ("Sequential, 1 row, f32", "1×1, 1 PE used", "1 in 1 launch, 1 sample "):
        assert words in text
