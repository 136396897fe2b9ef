"""Published figures of serving: read, computed by their rule, near."""

import pytest

from onewafer.perf.gpu.aiconfigurator import is_installed
from onewafer.perf.gpu.figures import figure_results
from onewafer.perf.published import Role, published_figures
from tests.perf.dense_model import LLAMA_70B, dense_model


def test_figures_are_validation_and_say_what_they_are_of():
    for figure in published_figures("gpu_inference"):
        assert figure.role is Role.VALIDATION
        assert figure.quantity == "tokens_per_second"
        assert figure.conditions["job"] == "serve"


@pytest.mark.skipif(not is_installed(), reason="needs aiconfigurator-core and pyarrow")
def test_comparable_figures_are_hit():
    results = figure_results(lambda name: dense_model(name, LLAMA_70B))
    comparable = [row for row in results if row.ours is not None]

    assert len(comparable) == 4
    assert all(row.is_hit and row.is_validation for row in comparable)
    assert all(row.finding for row in results)
