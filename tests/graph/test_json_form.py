from __future__ import annotations

import json

import pytest
from hypothesis import given

from onewafer.graph import DataType, Graph, GraphError, RmsNorm, Tensor, from_json, to_json
from tests.graph.strategies import graphs, searches, sequences


@given(graphs() | sequences() | searches())
def test_round_trip(graph):
    assert from_json(to_json(graph)) == graph


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "onewafer-graph-0"}', '{"format": "onewafer-graph-2", "name": 1}'],
)
def test_text_that_is_no_graph_is_refused(text):
    with pytest.raises(GraphError, match="not a graph in the format"):
        from_json(text)


@given(graphs())
def test_unknown_operation_is_refused(graph):
    fields = json.loads(to_json(graph))
    fields["operations"].append({"kind": "Sort"})
    with pytest.raises(GraphError, match="Sort"):
        from_json(json.dumps(fields))


NORM = RmsNorm(Tensor("y", (2, 4), DataType.F32), "x", "w", 1e-6)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epsilon", "small", "'small' is not a float"),
        ("epsilon", True, "True is not a float"),
        ("groups", 1.5, "1.5 is not a int"),
        ("input", 3, "3 is not a str"),
        ("result", "y", "'y' is not a Tensor"),
    ],
)
def test_field_of_another_type_is_refused(field, value, message):
    fields = json.loads(to_json(Graph("g", (), (), (NORM,), ())))
    fields["operations"][0][field] = value
    with pytest.raises(GraphError, match=message):
        from_json(json.dumps(fields))


def test_field_with_a_default_may_be_left_out_and_others_not():
    graph = Graph("g", (), (), (NORM,), ())
    fields = json.loads(to_json(graph))
    del fields["operations"][0]["groups"]
    assert from_json(json.dumps(fields)) == graph
    del fields["operations"][0]["epsilon"]
    with pytest.raises(GraphError, match="epsilon"):
        from_json(json.dumps(fields))
