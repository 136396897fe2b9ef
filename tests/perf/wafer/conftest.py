"""Searches that look at few rectangles: what they find is right for these, and found fast."""

import pytest

from onewafer.perf.wafer import search


@pytest.fixture(autouse=True)
def few_rectangles(monkeypatch, request):
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(search, "NUM_RECTANGLES", 4)
        monkeypatch.setattr(search, "_MOST_ROUNDS", 0)
        monkeypatch.setattr(search, "_GROUPS", (1, 2))
