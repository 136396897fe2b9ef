"""The dense table: interning, places, and what may not be set."""

import numpy as np
import pytest

from onewafer.csl.layout import ColorTable
from onewafer.diagnostics import DiagnosticSink, SourceFile, Span
from onewafer.image.route import NO_ROUTE, ColorConfig, SwitchPosition

SOURCE = SourceFile("layout.csl", "first\nsecond\n")
FIRST = Span(SOURCE, 0, 5)
SECOND = Span(SOURCE, 6, 12)


def config(rx, tx):
    return ColorConfig((SwitchPosition(rx, tx),))


@pytest.fixture
def sink():
    return DiagnosticSink()


def test_equal_configs_share_one_number(sink):
    table = ColorTable(3, 2)
    table.set(0, 0, 5, config(1, 2), span=FIRST, sink=sink)
    table.set(2, 1, 23, config(1, 2), span=SECOND, sink=sink)
    table.set(1, 0, 0, config(2, 1), span=FIRST, sink=sink)
    expected = np.full((2, 3, 24), NO_ROUTE, dtype=np.int16)
    expected[0, 0, 5] = expected[1, 2, 23] = 0
    expected[0, 1, 0] = 1
    np.testing.assert_array_equal(table.routes, expected)
    assert table.routes.dtype == np.int16
    assert table.configs == (config(1, 2), config(2, 1))
    assert sink.diagnostics == []


def test_the_table_knows_where_a_color_was_configured(sink):
    table = ColorTable(2, 2)
    table.set(1, 0, 3, config(1, 2), span=SECOND, sink=sink)
    assert table.span_at(1, 0, 3) == SECOND
    assert table.span_at(0, 1, 3) is None


def test_a_second_configuration_shows_both_places_and_changes_nothing(sink):
    table = ColorTable(2, 2)
    table.set(1, 0, 3, config(1, 2), span=FIRST, sink=sink)
    table.set(1, 0, 3, config(2, 1), span=SECOND, sink=sink)
    (finding,) = sink.diagnostics
    assert finding.code == "duplicate-color-config"
    assert finding.message == "color 3 is configured twice at PE (1, 0)"
    assert finding.primary is not None
    assert finding.primary.span == SECOND
    assert [a.span for a in finding.secondary] == [FIRST]
    assert table.configs == (config(1, 2),)


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (0, -1), (2, 0), (0, 3)])
def test_a_pe_outside_of_the_rectangle_is_refused(sink, x, y):
    table = ColorTable(2, 3)
    table.set(x, y, 0, config(1, 2), span=FIRST, sink=sink)
    (finding,) = sink.diagnostics
    assert finding.code == "pe-outside-rectangle"
    assert f"PE ({x}, {y})" in finding.message
    assert (table.routes == NO_ROUTE).all()


def test_more_configs_than_the_image_can_number(sink):
    table = ColorTable(200, 200)
    for index in range(200 * 200):
        position = SwitchPosition(index, 0)
        y, x = divmod(index, 200)
        table.set(x, y, 0, ColorConfig((position,)), span=FIRST, sink=sink)
    assert [d.code for d in sink.diagnostics] == ["too-many-color-configs"]
