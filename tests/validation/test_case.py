"""The arithmetic of a comparison."""

import pytest

from onewafer.validation import Case, Kind, Point, Target, run_case


class FakeBench:
    largest_work = 100


def case(points, *, target=None, measure=lambda _bench, size: float(size)):
    return Case(
        name="made-up",
        machine="wse3",
        profile="sdk",
        quantity="a number",
        unit="cycles",
        rule="taken from the air",
        target=target or Target(relative=0.04, absolute=8),
        source="nobody",
        kind=Kind.VALIDATION,
        basis="none",
        measure=measure,
        points=points,
    )


@pytest.mark.parametrize(
    ("target", "ours", "theirs", "is_hit"),
    [
        (Target(relative=0.1), 110, 100, True),
        (Target(relative=0.1), 90, 100, True),
        (Target(relative=0.1), 110.2, 100, False),
        (Target(absolute=8), 18, 10, True),
        (Target(absolute=8), 18.5, 10, False),
        (Target(relative=0.04, absolute=8), 17, 10, True),
        (Target(relative=0.04, absolute=8), 1039, 1000, True),
        (Target(relative=0.04, absolute=8), 1041, 1000, False),
        (Target(relative=0.04, absolute=8), 959, 1000, False),
        (Target(), 10, 10, True),
        (Target(), 10.001, 10, False),
        (Target(absolute=0.1), 0.3, 0.1 + 0.1, True),
    ],
)
def test_target(target, ours, theirs, is_hit):
    assert target.allows(ours, theirs) is is_hit


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target(relative=0.04, absolute=8), "max(4 %, 8)"),
        (Target(relative=0.1), "10 %"),
        (Target(absolute=0.0005), "0.0005"),
        (Target(), "exact"),
    ],
)
def test_target_in_words(target, text):
    assert str(target) == text


def test_points_keep_their_order_and_errors_their_sign():
    result = run_case(case((Point("a", 100, (90,)), Point("b", 100, (102,)))), FakeBench())
    assert [(r.point.label, r.difference, r.is_hit) for r in result.results] == [
        ("a", -10, False),
        ("b", 2, True),
    ]
    assert result.results[0].error == pytest.approx(-0.1)
    assert (result.num_hits, result.is_hit) == (1, False)


def test_worst_point_is_a_miss_before_a_larger_error_within_the_target():
    points = (Point("small", 4, (8,)), Point("large", 1000, (1100,)), Point("good", 10, (10,)))
    result = run_case(case(points), FakeBench())
    assert result.worst.point.label == "large"
    assert result.worst.error < result.results[0].error


def test_points_too_large_for_the_engine_are_skipped_and_known():
    points = (Point("fits", 1, (1,), work=100), Point("large", 2, (2,), work=101))
    result = run_case(case(points), FakeBench())
    assert [r.point.label for r in result.results] == ["fits"]
    assert [point.label for point in result.skipped] == ["large"]
    assert result.is_hit
