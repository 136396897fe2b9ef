"""Searches that look at few rectangles: what they find is right for these, and found fast."""

import pytest

from onewafer.perf.wafer import layout_search, pipeline, search, serving


@pytest.fixture(autouse=True)
def few_rectangles(monkeypatch, request):
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(search, "NUM_FIRST", 4)
        monkeypatch.setattr(pipeline, "NUM_FIRST", 4)
        monkeypatch.setattr(search, "_NUM_FIRST_OF_FEATURE_MAPS", 4)
        monkeypatch.setattr(pipeline, "_NUM_FIRST_OF_FEATURE_MAPS", 4)
        monkeypatch.setattr(pipeline, "_NUM_AGAIN", 2)
        monkeypatch.setattr(pipeline, "_MOST_ROUNDS", 1)
        monkeypatch.setattr(pipeline, "_GROUPS", (1, 2))
        monkeypatch.setattr(layout_search, "_MOST_CLOSE", 0)
        monkeypatch.setattr(serving, "_CLOSE", 0)
