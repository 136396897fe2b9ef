"""Every rule of the route checks, on small rectangles drawn by hand and on generated ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.csl.layout import ColorTable, check_routes
from onewafer.diagnostics import CODES, DiagnosticSink, Severity, SourceFile, Span
from onewafer.geometry import Direction
from onewafer.image.route import ColorConfig, SwitchPosition

SOURCE = SourceFile("layout.csl", "x" * 1000)
W, E, S, N, R = (1 << d for d in Direction)


def position(rx, tx):
    return SwitchPosition(rx, tx)


def check(width, height, configs):
    """Check `{(x, y): config or (rx, tx)}` of color 3; every PE is a statement of its own."""
    table = ColorTable(width, height)
    sink = DiagnosticSink()
    for index, ((x, y), config) in enumerate(configs.items()):
        if not isinstance(config, ColorConfig):
            config = ColorConfig((position(*config),))  # noqa: PLW2901  # short for the usual case
        table.set(x, y, 3, config, span=Span(SOURCE, index, index + 1), sink=sink)
    check_routes(table, sink)
    return sink.diagnostics


def codes(width, height, configs):
    return [d.code for d in check(width, height, configs)]


def test_an_empty_table_is_correct():
    assert codes(2, 2, {}) == []


def test_a_row_that_forwards_and_delivers_is_correct():
    assert codes(3, 1, {(0, 0): (R, E), (1, 0): (W, E | R), (2, 0): (W, R)}) == []


def test_a_loop_back_to_the_own_ramp_is_correct():
    assert codes(1, 1, {(0, 0): (R, R)}) == []


@pytest.mark.parametrize("direction", [W, E, S, N])
def test_a_route_over_the_rim(direction):
    (finding,) = check(1, 1, {(0, 0): (R, direction)})
    assert finding.code == "route-leaves-rectangle"
    assert finding.message.endswith(Direction(direction.bit_length() - 1).name)


def test_y_grows_south():
    assert codes(1, 2, {(0, 0): (R, S), (0, 1): (N, R)}) == []
    assert "route-leaves-rectangle" in codes(1, 2, {(0, 0): (R, N), (0, 1): (S, R)})


def test_a_neighbour_that_does_not_know_the_color():
    (finding,) = check(2, 1, {(0, 0): (R, E)})
    assert finding.code == "route-not-accepted"
    assert finding.message == (
        "color 3 goes EAST from PE (0, 0) to PE (1, 0), which does not receive it from WEST"
    )


def test_a_neighbour_that_receives_from_elsewhere_is_shown():
    findings = check(2, 1, {(0, 0): (R, E), (1, 0): (R, R)})
    assert [d.code for d in findings] == ["route-not-accepted"]
    assert [str(a.span) for a in findings[0].secondary] == ["layout.csl:1:2"]


def test_a_receiver_without_sender():
    findings = check(2, 1, {(1, 0): (W, R), (0, 0): (N, R)})
    assert [d.code for d in findings] == ["route-without-sender"] * 2
    assert "PE (0, 0) never sends it there" in findings[0].message
    assert "no PE is there" in findings[1].message


def test_two_drivers():
    (finding,) = check(2, 1, {(0, 0): (R, E), (1, 0): (W | R, R)})
    assert finding.code == "two-drivers"
    assert finding.message == (
        "color 3 has two drivers at PE (1, 0): it receives from WEST and RAMP at once"
    )


def test_switch_positions_take_turns():
    turns = ColorConfig((position(W, E), position(R, E)))
    assert codes(3, 1, {(0, 0): (R, E), (1, 0): turns, (2, 0): (W, R)}) == []


def test_any_position_may_receive():
    sender = ColorConfig((position(R, R), None, position(R, E)))
    receiver = ColorConfig((position(R, R), position(W, R)))
    assert codes(2, 1, {(0, 0): sender, (1, 0): receiver}) == []


def test_a_color_that_starts_torn_down_has_no_neighbours_to_compare():
    torn_down = ColorConfig((position(W, E),), teardown=True)
    assert codes(3, 1, {(1, 0): torn_down}) == []
    assert codes(3, 1, {(0, 0): (R, E), (1, 0): torn_down, (2, 0): (W, R)}) == []


def test_one_statement_gives_one_finding():
    table = ColorTable(4, 3)
    sink = DiagnosticSink()
    span = Span(SOURCE, 0, 5)
    for y in range(3):
        for x in range(4):
            config = ColorConfig((position(R, E),))
            table.set(x, y, 7, config, span=span, sink=sink)
    check_routes(table, sink)
    assert [d.message for d in sink.diagnostics] == [
        "color 7 leaves the program's 4×3 rectangle at PE (3, 0) and 2 other PEs, going EAST",
        (
            "color 7 goes EAST from PE (0, 0) and 8 other PEs to PE (1, 0), which does not "
            "receive it from WEST"
        ),
    ]


def test_a_rim_of_a_pattern_is_a_finding_of_its_own():
    pattern = ColorConfig((position(R, E),))
    table = ColorTable(4, 1)
    sink = DiagnosticSink()
    for x in (1, 3):
        table.set(x, 0, 3, pattern, span=Span(SOURCE, 0, 5), sink=sink)
    for x in (0, 2):
        table.set(x, 0, 3, ColorConfig((position(W, R),)), span=Span(SOURCE, 6, 9), sink=sink)
    check_routes(table, sink)
    assert [d.code for d in sink.diagnostics] == ["route-without-sender", "route-leaves-rectangle"]


def test_a_position_of_a_switch_that_leaves_is_said():
    switched = ColorConfig((position(R, E), position(R, W)))
    assert codes(2, 1, {(0, 0): (E, R), (1, 0): switched}) == ["route-leaves-rectangle"]


def test_a_position_of_a_switch_with_two_drivers_is_said():
    switched = ColorConfig((position(R, R), position(R | W, R)))
    assert codes(2, 1, {(0, 0): (R, E), (1, 0): switched}) == ["two-drivers"]


def expected(width, height, routes):
    """State the rules again, a PE at a time."""
    found = set()
    for (x, y), (rx, tx) in routes.items():
        if rx.bit_count() > 1:
            found.add(("two-drivers", x, y))
        for direction in (Direction.WEST, Direction.EAST, Direction.SOUTH, Direction.NORTH):
            dx, dy = direction.step
            inside = 0 <= x + dx < width and 0 <= y + dy < height
            other_rx, other_tx = routes.get((x + dx, y + dy), (0, 0))
            back = 1 << direction.opposite
            if tx & (1 << direction) and not inside:
                found.add(("route-leaves-rectangle", x, y))
            if tx & (1 << direction) and inside and not other_rx & back:
                found.add(("route-not-accepted", x, y))
            if rx & (1 << direction) and not other_tx & back:
                found.add(("route-without-sender", x, y))
    return found


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 2), st.integers(0, 1)),
        st.tuples(st.integers(1, 31), st.integers(1, 31)),
    )
)
@settings(max_examples=200, deadline=None)
def test_the_array_rules_are_the_rules(routes):
    pes = list(routes)
    found = set()
    for finding in check(3, 2, routes):
        assert finding.code in CODES
        assert finding.severity is Severity.WARNING
        assert finding.primary is not None
        found.add((finding.code, *pes[finding.primary.span.start]))
    assert found == expected(3, 2, routes)


def test_a_neighbour_that_swaps_takes_the_color_as_the_other_of_its_pair():
    """M59: PE 1 knows color 2 alone, as which color 3 comes in."""
    table, sink = ColorTable(2, 1), DiagnosticSink()
    swapping = ColorConfig((position(W, R),), swap_mask=W | E)
    table.set(0, 0, 3, ColorConfig((position(R, E),)), span=Span(SOURCE, 0, 1), sink=sink)
    table.set(1, 0, 2, swapping, span=Span(SOURCE, 1, 2), sink=sink)
    check_routes(table, sink)
    assert sink.diagnostics == []
