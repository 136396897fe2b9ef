"""Values of a study: numbers, switches and texts."""

import pytest

from onewafer.errors import ConfigurationError
from onewafer.options import RunOptions
from onewafer.sweep.inputs.plain import parse_option


def test_numbers_are_converted_and_texts_stay():
    assert parse_option(RunOptions, "max_batch", 8.0) == 8
    assert parse_option(RunOptions, "rectangle", " 8x4 ") == "8x4"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rectangle", [8, 4], "rectangle = .*: write a number, true, or a text"),
        ("max_batch", float("inf"), "max_batch = inf: write a whole number of at least 1"),
        ("fidelity", "exact", "fidelity = 'exact': choose from auto, fabric, model"),
    ],
)
def test_other_values_are_refused(name, value, message):
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        parse_option(RunOptions, name, value)
