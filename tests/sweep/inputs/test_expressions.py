"""Conditions of filters: what they may say, and what they come to."""

import pytest

from onewafer.errors import ConfigurationError
from onewafer.sweep.inputs.expressions import parse

VALUES = {"sram": 49152, "need": 40000, "batch": 4, "system": "cs3", "params.n": 3, "gone": None}


@pytest.mark.parametrize(
    ("text", "is_met"),
    [
        ("sram >= need", True),
        ("need < 40000", False),
        ("1 < batch <= 4", True),
        ("batch * 2 - 1 == 7 and not batch > 8", True),
        ("system == 'cs2' or params.n % 2 == 1", True),
        ("sram / need > 1.2", True),
        ("-batch < 0", True),
        ("gone < 5", False),
    ],
)
def test_a_condition_is_met_or_not(text, is_met):
    assert parse(text, where="filters").holds(VALUES) is is_met


@pytest.mark.parametrize(
    "text",
    [
        "sram >=",
        "__import__('os').system('true')",
        "(lambda: 1)()",
        "[sram]",
        "sram if need else 1",
        "sram ** 999999",
        "sram[0] > 1",
        "(" * 5000,
        "batch = 4",
    ],
)
def test_anything_else_is_no_condition(text):
    with pytest.raises(ConfigurationError, match=r"is no condition|characters at most"):
        parse(text, where="filters")


def test_a_text_is_no_number():
    with pytest.raises(ConfigurationError, match="'cs3' is no number"):
        parse("system * 3 > 1", where="filters").holds(VALUES)
