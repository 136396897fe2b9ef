"""Names of models: what the catalogue has, and what it says to a name that it has not."""

from __future__ import annotations

import pytest

from onewafer.errors import ConfigurationError
from onewafer.perf import find_model, known_models


def test_every_entry_is_complete():
    for name, entry in known_models().items():
        assert name == entry.name == name.lower()
        assert entry.source.startswith("https://"), name
        assert entry.num_weights > 0
        assert entry.published_weights


def test_names_are_found_in_any_case():
    assert find_model("Llama-3.1-8B") is known_models()["llama-3.1-8b"]


def test_a_wrong_name_is_told_the_nearest_ones():
    with pytest.raises(ConfigurationError, match=r"'llama3.1-8b'.*did you mean llama-3.1-8b"):
        find_model("llama3.1-8b")
    with pytest.raises(ConfigurationError, match=r"choose from .*llama-3.1-8b"):
        find_model("zzz")


def test_counts_of_weights_are_the_published_ones():
    units = {"M": 1e6, "B": 1e9}
    for entry in known_models().values():
        published = float(entry.published_weights[:-1]) * units[entry.published_weights[-1]]
        assert entry.num_weights == pytest.approx(published, rel=0.02), entry.name
