from __future__ import annotations

import json

import pytest
from hypothesis import given

from onewafer.graph import GraphError, from_json, to_json
from tests.graph.strategies import graphs


@given(graphs())
def test_round_trip(graph):
    assert from_json(to_json(graph)) == graph


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "onewafer-graph-0"}', '{"format": "onewafer-graph-1", "name": 1}'],
)
def test_text_that_is_no_graph_is_refused(text):
    with pytest.raises(GraphError, match="not a graph in the format"):
        from_json(text)


@given(graphs())
def test_unknown_operation_is_refused(graph):
    fields = json.loads(to_json(graph))
    fields["operations"].append({"kind": "Softmax"})
    with pytest.raises(GraphError, match="Softmax"):
        from_json(json.dumps(fields))
