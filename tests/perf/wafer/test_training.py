"""Training on wafers: terms against hand-made cases, and what must hold of any step."""

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import ConfigurationError
from onewafer.graph import DataType, LayerPart
from onewafer.perf import Answer, Precision, Refusal, Train
from onewafer.perf.gpt import GptShape, gpt_model
from onewafer.perf.wafer import WaferOptions, machine
from onewafer.perf.wafer.system import Machine
from onewafer.perf.wafer.training import estimate_training
from onewafer.perf.wafer.training_products import Products, Strips, strips_of
from onewafer.perf.wafer.training_step import PieceTime, Round, StreamedTraining
from onewafer.perf.wafer.training_validation import validate_training
from tests.perf.dense_model import Sizes, dense_model

_SHAPE = GptShape(layers=24, hidden=2048, heads=16, vocabulary=32_000, positions=8192)
_MODEL = gpt_model("gpt", _SHAPE)
_MACHINE = machine("cs3", WaferOptions())
_STRIPS = tuple(strips_of(_MACHINE.architecture))
_ROUNDS = st.builds(
    Round,
    sequences=st.integers(1, 8),
    rounds=st.integers(1, 4),
    strips=st.sampled_from([one for one in _STRIPS if one.block <= 64]),
    interval=st.sampled_from([1, 3]),
)


def _job(*, batch: int = 16, sequence: int = 2048) -> Train:
    return Train(tokens=1e9, sequence=sequence, batch=batch)


def _case(used: Machine = _MACHINE, *, density: float = 1.0) -> StreamedTraining:
    return StreamedTraining(_MODEL, _job(), used, WaferOptions(density=density))


def _with_edge(factor: float) -> Machine:
    architecture = _MACHINE.architecture
    edge = architecture.io_bytes_per_second * factor
    return replace(_MACHINE, architecture=replace(architecture, io_bytes_per_second=edge))


def _answer(system: str = "cs3", *, batch: int = 16, options: WaferOptions | None = None) -> Answer:
    found = estimate_training(_MODEL, _job(batch=batch), system, options)
    assert isinstance(found, Answer)
    return found


def test_products_take_a_multiply_add_for_each_row_weight_and_token() -> None:
    """mesh/kernels/matmul.csl: a map loop over features, a vector of outputs in each round."""
    timing = _MACHINE.architecture.timing
    strips = Strips(width=128, count=1170, block=64)
    rounds = 8 * 16  # 2,048 features over 128 PEs
    vector = math.ceil(64 / timing.elements_per_cycle["fmachs"])
    a_round = timing.instruction_cycles["map_step"] + vector

    cost = Products(_MACHINE.architecture, DataType.F16).cost(2048, 640, strips=strips, rows=8)

    assert cost is not None
    assert 1 <= cost.product_cycles / (10 * rounds * a_round) < 1.15  # starts of rows and kernels
    assert cost.num_bytes > 2 * 16 * 64 * 2


def test_the_backward_pass_has_twice_the_products() -> None:
    piece = PieceTime(
        products={LayerPart.MLP: 6.0},
        sums=1.0,
        attention=4.0,
        elementwise=3.0,
        receiving=0.5,
        gradient_sums=0.25,
        stream=9.0,
        looked_up=2.0,
        fewest=1.0,
    )

    assert piece.forward == 6 + 1 + 4 + 3 + 0.5
    assert piece.backward == 2 * 7 + 2.5 * 4 + 5 + 0.5 + 0.25


def test_strips_fill_the_wafer() -> None:
    whole = 755 * 1170

    assert {strips.width for strips in _STRIPS} == {755, 377, 188, 94, 47, 23}
    assert all(0.97 * whole < strips.num_pes <= whole for strips in _STRIPS)


@given(candidate=_ROUNDS)
def test_a_step_is_what_each_layer_waits_for_longest(candidate: Round) -> None:
    case = _case()
    pieces = case.piece_times(candidate)
    again = 1 if candidate.interval == 1 else 2
    expected = 0.0
    for piece, count in pieces:
        forward, backward = piece.forward, piece.backward
        expected += count * max(forward, piece.stream)
        if again == 1:
            expected += count * max(forward + backward, piece.stream)
        else:
            expected += count * (max(forward, piece.stream) + max(backward, piece.stream))
        expected += count * 2 * piece.looked_up
    once = pieces[1][0].stream + 2 * 11e-6

    seconds = candidate.rounds * expected + once
    assert case.breakdown(candidate).seconds == pytest.approx(seconds, rel=1e-9)


@given(candidate=_ROUNDS, factor=st.sampled_from([2.0, 10.0]))
def test_a_wider_edge_is_never_slower(candidate: Round, factor: float) -> None:
    slow, fast = _case().seconds(candidate), _case(_with_edge(factor)).seconds(candidate)

    assert fast <= slow


@given(candidate=_ROUNDS)
def test_sparser_weights_are_never_slower(candidate: Round) -> None:
    assert _case(density=0.25).seconds(candidate) <= _case().seconds(candidate)


@given(candidate=_ROUNDS)
def test_more_sequences_take_longer_but_less_each(candidate: Round) -> None:
    twice = replace(candidate, sequences=2 * candidate.sequences)
    one, two = _case().seconds(candidate), _case().seconds(twice)

    assert one <= two <= 2 * one * (1 + 1e-9)


def test_keys_values_and_scores_go_over_links() -> None:
    """A key and a value pass every strip of a sequence; scores go to a head's first PE and back."""
    strips = next(one for one in _STRIPS if one.width == 188 and one.block == 64)
    few = Round(sequences=1, rounds=1, strips=strips, interval=1)
    slow = replace(
        _MACHINE.architecture,
        timing=replace(_MACHINE.architecture.timing, link_window_cycles=18, link_window_words=8),
    )
    layers = (
        case.piece_times(few)[1][0]
        for case in (_case(), _case(replace(_MACHINE, architecture=slow)))
    )
    usual, late = (layer.attention for layer in layers)
    words = 2048 * 2 * 2048 / 2 / 188 + 2 * 1 * 2049 / 2  # a row a strip
    cycles = words * (18 - 9) / 8

    assert late - usual == pytest.approx(_MACHINE.seconds(cycles), rel=1e-6)


@given(candidate=_ROUNDS)
def test_no_kernels_are_faster_than_the_data_path(candidate: Round) -> None:
    assert _case().fewest_seconds(candidate) < _case().seconds(candidate)


def test_streaming_is_hidden_from_as_many_sequences_as_it_says() -> None:
    case = _case(_with_edge(0.02))
    strips = next(one for one in _STRIPS if one.width == 188 and one.block == 64)
    few = Round(sequences=1, rounds=1, strips=strips, interval=1)
    enough = case.hidden_from(replace(few, sequences=64))
    assert enough is not None

    late, timely = (
        case.breakdown(replace(few, sequences=count)).by(lambda item: item.name)
        for count in (1, 2 * enough)
    )
    assert late["weights from outside"] > 0
    assert "weights from outside" not in timely


def test_rates_times_and_energy_agree_with_each_other() -> None:
    answer = _answer()

    assert answer.tokens_per_second == pytest.approx(16 * 2048 / answer.breakdown.seconds)
    assert answer.total_seconds == pytest.approx(1e9 / answer.tokens_per_second)
    assert answer.joules_per_token == pytest.approx(23_000 / answer.tokens_per_second)
    assert answer.mfu is not None
    assert 0 < answer.mfu < 1
    assert 0 < answer.breakdown.cross_checked_fraction < 1
    assert answer.memory.used_bytes <= answer.memory.available_bytes


def test_wafers_share_a_batch_and_are_almost_as_many_times_as_fast() -> None:
    one, sixteen = _answer("cs3", batch=8), _answer("cs3x16", batch=128)

    assert 15 < sixteen.tokens_per_second / one.tokens_per_second <= 16
    assert sixteen.num_devices == 16


def test_fp32_is_slower_and_a_faster_clock_faster() -> None:
    half = _answer().tokens_per_second

    assert _answer(options=WaferOptions(precision=Precision.FP32)).tokens_per_second < half
    assert _answer(options=WaferOptions(clock_hertz=1.1e9)).tokens_per_second > half


def test_a_batch_that_wafers_cannot_share_names_the_nearest() -> None:
    found = estimate_training(_MODEL, _job(batch=100), "cs3x64")

    assert isinstance(found, Refusal)
    assert "write --batch 64 or 128" in found.reason


def test_a_batch_below_the_wafers_names_the_smallest() -> None:
    found = estimate_training(_MODEL, _job(batch=3), "cs3x64")

    assert isinstance(found, Refusal)
    assert found.reason.endswith("write --batch 64")


def test_a_sequence_that_does_not_fit_names_the_longest_that_does() -> None:
    shape = GptShape(layers=96, hidden=12288, heads=96, vocabulary=50_000, positions=262_144)
    model = gpt_model("gpt-3", shape)

    def train(sequence: int) -> Answer | Refusal:
        return estimate_training(model, Train(tokens=1e9, sequence=sequence, batch=1), "cs3")

    found = train(262_144)

    assert isinstance(found, Refusal)
    named = re.search(r"sequences of ([\d,]+) tokens have room", found.reason)
    assert named
    fits = int(named.group(1).replace(",", ""))
    assert isinstance(train(fits), Answer)
    assert isinstance(train(2 * fits), Refusal)


def test_a_model_that_no_server_holds_is_refused() -> None:
    shape = GptShape(layers=1000, hidden=96_000, heads=100, vocabulary=50_000, positions=2048)

    found = estimate_training(gpt_model("huge", shape), _job(), "cs3")

    assert isinstance(found, Refusal)
    assert "the largest server has" in found.reason


def test_a_name_that_is_no_wafer_system_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no wafer system 'h100x8'"):
        estimate_training(_MODEL, _job(), "h100x8")


@pytest.mark.slow
def test_claims_are_compared_and_misses_have_a_reason() -> None:
    rows = validate_training(lambda name: gpt_model(name, replace(_SHAPE, positions=4096))).figures

    assert [row.figure.name for row in rows] == [
        "cerebras-2024-03-llama-2-70b",
        "sandia-2024-12-16-cs3",
    ]
    assert rows[1].is_hit
    assert all(row.finding and row.range for row in rows)


_MIXTURE = Sizes(
    layers=8,
    hidden=1024,
    heads=8,
    kv_heads=8,
    features=128,
    inner=512,
    vocabulary=4096,
    experts=16,
    experts_per_row=4,
)
_PLACES = next(one for one in _STRIPS if one.width == 94 and one.block == 64)


def _of_experts(sizes: Sizes, *, density: float = 1.0) -> StreamedTraining:
    model = dense_model("mixture", sizes, positions=8192)
    return StreamedTraining(model, _job(), _MACHINE, WaferOptions(density=density))


def test_every_expert_is_multiplied_by_its_share_of_the_rows() -> None:
    """16 sequences of 2,048 tokens on 9,360 strips: 1 row of each expert's 8,192 in each of them.

    Of every layer: queries, keys, values, results, scores; then gate and up, and what follows them.
    """
    candidate = Round(sequences=16, rounds=1, strips=_PLACES, interval=1)
    cost = Products(_MACHINE.architecture, DataType.F16).cost
    rows, of_expert = _PLACES.rows(16 * 2048), _PLACES.rows(16 * 2048 * 4 // 16)

    def cycles(inputs: int, outputs: int, rows: int) -> int:
        found = cost(inputs, outputs, strips=_PLACES, rows=rows)
        assert found is not None
        return found.product_cycles

    expected = 4 * cycles(1024, 1024, rows) + cycles(1024, 16, rows)
    expected += 16 * (cycles(1024, 2 * 512, of_expert) + cycles(512, 1024, of_expert))
    layer = _of_experts(_MIXTURE).piece_times(candidate)[1][0]

    assert (rows, of_expert) == (4, 1)
    assert sum(layer.products.values()) == pytest.approx(_MACHINE.seconds(expected))


def test_all_experts_come_from_outside_whoever_is_met() -> None:
    candidate = Round(sequences=16, rounds=1, strips=_PLACES, interval=1)
    few, many = (
        _of_experts(replace(_MIXTURE, experts_per_row=count)).piece_times(candidate)[1][0]
        for count in (1, 8)
    )
    weights = 4 * 1024**2 + 16 * 1024 + 2 * 1024 + 16 * 3 * 1024 * 512
    edge = 2 * weights / _MACHINE.architecture.io_bytes_per_second

    assert few.stream == many.stream == pytest.approx(edge)
    assert few.gradient_sums == many.gradient_sums
    assert few.forward < many.forward


def test_one_expert_costs_what_a_dense_layer_does_but_the_choice() -> None:
    candidate = Round(sequences=2, rounds=1, strips=_PLACES, interval=1)
    single, dense = (
        _of_experts(replace(_MIXTURE, experts=count, experts_per_row=1)).piece_times(candidate)
        for count in (1, 0)
    )
    choice = Products(_MACHINE.architecture, DataType.F16).cost(
        1024, 1, strips=_PLACES, rows=_PLACES.rows(2 * 2048)
    )
    assert choice is not None

    one, other = (sum(pieces[1][0].products.values()) for pieces in (single, dense))
    sums, others = (pieces[1][0].sums for pieces in (single, dense))
    assert one - _MACHINE.seconds(choice.product_cycles) == pytest.approx(other)
    assert sums - _MACHINE.seconds(choice.sum_cycles) == pytest.approx(others)


@given(candidate=_ROUNDS, density=st.sampled_from([0.25, 0.5]))
def test_sparser_experts_are_never_slower(candidate: Round, density: float) -> None:
    whole, sparse = _of_experts(_MIXTURE), _of_experts(_MIXTURE, density=density)

    assert sparse.seconds(candidate) <= whole.seconds(candidate)


def test_a_model_with_experts_is_trained_and_says_how_they_are_met() -> None:
    model = dense_model("mixture", _MIXTURE, positions=8192)

    found = estimate_training(model, _job(), "cs3")

    assert isinstance(found, Answer)
    assert found.memory.used_bytes <= found.memory.available_bytes
    assert any("all experts come by" in note for note in found.notes)
