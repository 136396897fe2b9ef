"""Errors that reports print are those of the pages of the validation."""

import figure_errors

from onewafer.perf.known_errors import _known_errors


def test_the_file_is_what_the_tool_writes_of_the_pages():
    assert figure_errors.render() == figure_errors.FILE.read_text()


def test_errors_are_read_by_machine_and_job():
    errors = _known_errors()
    assert errors["gpu", "decode"].count > 1000
    assert 0 < errors["gpu", "train"].median < errors["gpu", "train"].largest < 1
    assert errors["gpu", "train"].least_weights == 1_700_000_000
    assert errors["gpu", "decode"].least_weights == 8_030_261_248
    assert errors["simulator", "sdk"].count > 30
    assert errors["closed form", "launch"].largest < 0.02
