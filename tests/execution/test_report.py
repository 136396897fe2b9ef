"""Tables of what programs cost."""

from dataclasses import replace

from rich.console import Group

from onewafer.execution import Phase
from onewafer.execution.report import (
    LaunchOrigins,
    SimulationReport,
    render_phases,
    render_placement,
    render_programs,
)
from onewafer.execution.report.simulation_words import show_fabric_values
from onewafer.graph import LayerPart
from tests.execution.program_reports import DECODE, MODEL, PROGRAM, part, shown


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
    assert show_fabric_values(simulation) == "reader's bits in 2 launches, equal to PyTorch's"
    near = replace(simulation, distance=7e-7)
    assert show_fabric_values(near) == "reader's bits in 2 launches, 7e-07 from PyTorch"


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
