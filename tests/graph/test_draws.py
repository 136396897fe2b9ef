"""What a dropout keeps: shares, and what is drawn beside, below, for another number or key.

Each statistic is a number of standard deviations, of 24 draws of 128 × 256 elements: with fixed
keys these are counts, not chances.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import HostError
from onewafer.graph import (
    SEEDS,
    DataType,
    Draw,
    Dropout,
    Graph,
    Multiply,
    Tensor,
    derive_gradients,
    draw_bits,
    draw_factors,
    evaluate_graph,
    without_factors,
)

ROWS, FEATURES, DRAWS = 128, 256, 24
X = Tensor("x", (ROWS, FEATURES), DataType.F32)


def seeds(first: int, second: int, *, draws: int = 1) -> np.ndarray:
    return np.array([[first, second, draws]], np.int32)


def bits(key: np.ndarray, number: int = 3) -> np.ndarray:
    return draw_bits(key, number, np.arange(ROWS)[:, np.newaxis], np.arange(FEATURES))


def deviations(share: float) -> dict[str, np.ndarray]:
    """Return statistics of draws by name, in standard deviations."""
    generator = np.random.default_rng(0)
    threshold = Draw.threshold_of(share)
    exact = threshold / (1 << 15)
    variance = exact * (1 - exact)
    found: dict[str, list[float]] = {}

    def together(name: str, *factors: np.ndarray) -> None:
        product = np.prod(np.stack([factor - exact for factor in factors]), axis=0)
        scale = variance ** (len(factors) / 2) * np.sqrt(product.size)
        found.setdefault(name, []).append(product.sum() / scale)

    for draw in range(DRAWS):
        key = generator.integers(-(1 << 31), 1 << 31, (1, 3))
        other = key.copy()
        other[0, draw % 2] ^= 1 << draw
        kept, renumbered, rekeyed = (
            one < threshold for one in (bits(key), bits(key, 4), bits(other))
        )
        together("share", kept)
        together("next row", kept[1:], kept[:-1])
        together("next feature", kept[:, 1:], kept[:, :-1])
        together("row after the next", kept[2:], kept[:-2])
        together("squares", kept[1:, 1:], kept[:-1, :-1], kept[1:, :-1], kept[:-1, 1:])
        together("number", kept, renumbered)
        together("a bit of the key", kept, rekeyed)
        for name, axis in (("rows", 1), ("features", 0)):
            counts, size = kept.sum(axis=axis), kept.shape[axis]
            chi = ((counts - size * exact) ** 2).sum() / (size * variance)
            freedom = len(counts)
            found.setdefault(name, []).append((chi - freedom) / np.sqrt(2 * freedom))
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_elements_are_kept_as_often_as_they_should_and_independently(share):
    for name, values in deviations(share).items():
        assert np.abs(values).max() < 4, name
        assert 0.6 < np.sqrt(np.mean(values**2)) < 1.45, name


def test_the_statistics_tell_too_few_rounds(monkeypatch):
    monkeypatch.setattr("onewafer.graph.draws.ROUNDS", 4)
    assert max(np.abs(values).max() for values in deviations(0.5).values()) > 4


def test_an_element_has_its_bits_wherever_it_is_drawn():
    key, whole = seeds(5, -7), bits(seeds(5, -7))
    rows, features = np.array([[3], [100]]), np.array([200, 9])
    assert np.array_equal(draw_bits(key, 3, rows, features), whole[rows, features])
    assert int(whole.max()) < 1 << 15


@given(st.floats(0, 1))
def test_the_mean_is_the_input(share):
    threshold = Draw.threshold_of(share)
    draw = Draw(0, threshold, 1)
    kept = 1 - threshold / (1 << 15)
    assert abs(kept - (1 - share)) <= 2.0**-16
    assert draw.factor * kept == pytest.approx(float(kept > 0), rel=1e-7)


def graph(*operations, inputs=(X,)) -> Graph:
    return Graph("dropped", inputs, (), operations, (operations[-1].result.name,))


def named(name: str) -> Tensor:
    return Tensor(name, X.shape, X.dtype)


def test_gradients_are_dropped_as_values_are():
    dropout = Dropout(named("r"), "x", 2, Draw.threshold_of(0.25))
    gradients = derive_gradients(graph(dropout), ["x"])
    values = {"x": np.ones(X.shape), "r.seed": np.full(X.shape, 2.0), SEEDS: seeds(1, 2)}
    found = evaluate_graph(gradients.graph, values, {})
    assert np.array_equal(found[gradients.by_name["x"]], 2 * found["r"])
    assert np.array_equal(found["r"] > 0, bits(seeds(1, 2), 2) >= dropout.threshold)
    kept = evaluate_graph(graph(dropout), {"x": np.ones(X.shape), SEEDS: seeds(1, 2, draws=0)}, {})
    assert (kept["r"] == 1).all()
    with pytest.raises(HostError, match="the input 'dropout_seeds' is missing"):
        evaluate_graph(graph(dropout), {"x": np.ones(X.shape)}, {})


def test_factors_that_are_inputs_can_be_drawn_instead_and_are_not_there_in_an_evaluation():
    factors = Tensor("f", X.shape, X.dtype)
    given = graph(
        Multiply(named("r"), "x", "f"), Multiply(named("s"), "r", "r"), inputs=(X, factors)
    )
    drawn = draw_factors(given, {"other": 5, "f": 9})
    assert drawn == graph(Dropout(named("r"), "x", 1, 9), Multiply(named("s"), "r", "r"))
    assert without_factors(drawn, ()) == graph(Multiply(named("s"), "x", "x"))
