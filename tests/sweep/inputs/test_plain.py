"""Values of a study: numbers, switches and texts."""

import pytest

from onewafer.errors import ConfigurationError
from onewafer.options import RunOptions
from onewafer.sweep.inputs.plain import as_plain, parse_option


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


def test_whole_numbers_are_those_that_toml_and_parquet_hold():
    assert [as_plain("params.n", value) for value in (-(1 << 63), True)] == [-(1 << 63), True]
    for value in (1 << 63, -(1 << 63) - 1):
        with pytest.raises(ConfigurationError, match=r"params\.n: a whole number has 64"):
            as_plain("params.n", value)
