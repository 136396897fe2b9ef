"""Flags that name a job, and prices, as `onewafer compare` takes them."""

import pytest

from onewafer.api import JobKind
from onewafer.cli.options.compare_options import choose_kind, parse_prices
from onewafer.errors import ConfigurationError


def _flags(*named):
    return {kind.value: kind in named for kind in JobKind}


@pytest.mark.parametrize("kind", JobKind)
def test_a_flag_names_its_job(kind):
    assert choose_kind(**_flags(kind)) == kind


def test_without_a_flag_the_model_decides():
    assert choose_kind(**_flags()) is None


def test_two_flags_are_two_jobs():
    with pytest.raises(ConfigurationError, match="--prefill and --train are different jobs"):
        choose_kind(**_flags(JobKind.PREFILL, JobKind.TRAIN))


@pytest.mark.parametrize("text", ["h100", "h100=", "=2", "h100=cheap"])
def test_a_price_is_a_number(text):
    with pytest.raises(ConfigurationError, match="--price"):
        parse_prices([text])
