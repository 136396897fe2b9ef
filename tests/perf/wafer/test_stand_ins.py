"""What the mesh has no form of is estimated by what has one, and marked; or else refused."""

from dataclasses import replace

import pytest

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Attention,
    DataType,
    Experts,
    Graph,
    Linear,
    Multiply,
    Opaque,
    Segment,
    Tensor,
    TopIndices,
)
from onewafer.perf import Decode, Refusal
from onewafer.perf.wafer import WaferOptions, estimate, machine
from onewafer.perf.wafer.region import Regions
from onewafer.perf.wafer.stand_ins import with_stand_ins
from onewafer.perf.wafer.workload import Load
from tests.perf.dense_model import Sizes, dense_model
from tests.perf.wafer.models import llama

FEATURES, HIDDEN, NUM_EXPERTS, PER_ROW = 64, 32, 8, 2


def tensor(name, *shape):
    return Tensor(name, shape, DataType.F32)


def segment_of(*operations, parameters=(), output=None):
    graph = Graph(
        "layer",
        (tensor("x", 1, FEATURES),),
        parameters,
        operations,
        (output or operations[-1].result.name,),
    )
    return Segment(graph, 1)


def experts_segment(*, matrices=3):
    router = tensor("router", NUM_EXPERTS, FEATURES)
    weights = tuple(
        tensor(f"experts.{index}", NUM_EXPERTS, HIDDEN, FEATURES) for index in range(matrices)
    )
    return segment_of(
        Linear(tensor("scores", 1, NUM_EXPERTS), "x", "router"),
        Opaque(tensor("choice", 1, PER_ROW), "aten.topk", ("scores",), (), 1.0, keeps_rows=True),
        Experts(
            tensor("y", 1, FEATURES),
            "x",
            "choice",
            tuple(weight.name for weight in weights),
            NUM_EXPERTS,
            PER_ROW,
            HIDDEN,
        ),
        parameters=(router, *weights),
    )


@pytest.mark.parametrize(("matrices", "products"), [(3, 4), (2, 3)])
def test_experts_are_the_products_that_a_row_meets_and_the_bytes_of_all(matrices, products):
    piece = with_stand_ins(experts_segment(matrices=matrices))
    linear = [op for op in piece.graph.operations if isinstance(op, Linear)]
    multiplied = sum(
        piece.graph.tensor(op.weight).num_elements for op in linear if op.result.name != "scores"
    )
    stored = sum(
        t.num_elements * piece.stored.get(t.name, 1.0)
        for t in piece.graph.parameters
        if t.name != "router"
    )

    assert len(linear) == products
    assert multiplied == matrices * PER_ROW * HIDDEN * FEATURES
    assert stored == pytest.approx(matrices * NUM_EXPERTS * HIDDEN * FEATURES)
    assert any(isinstance(op, Multiply) for op in piece.graph.operations) == (matrices == 3)
    assert "scores" not in piece.estimated
    assert piece.graph.outputs == ("y",)


def test_views_are_nothing_and_passes_are_scales():
    given = tensor("y", 1, FEATURES)
    view = Opaque(
        tensor("v", 1, FEATURES), "aten.view", ("x",), (), 0.0, keeps_rows=True, is_view=True
    )
    piece = with_stand_ins(
        segment_of(view, Opaque(given, "aten.erf", ("v",), (), 1.0, keeps_rows=True))
    )

    (only,) = piece.graph.operations
    assert (only.input, only.result.name) == ("x", "y")
    assert piece.estimated == {"y"}


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ("net.py:7: `x.cumsum(0)`: over rows", "net.py:7: `x.cumsum(0)`: over rows"),
        ("", "`aten.cumsum` is not supported on the wafer"),
    ],
)
def test_other_rows_than_those_given_have_no_stand_in(refusal, said):
    other = tensor("y", 7, FEATURES)
    cumsum = Opaque(other, "aten.cumsum", ("x",), (), 1.0, keeps_rows=False, refusal=refusal)

    with pytest.raises(UnsupportedOperationError) as error:
        with_stand_ins(segment_of(cumsum))

    assert str(error.value) == said


def with_layer(model, change):
    first, layer, last = model.segments
    graph = layer.graph
    operations = tuple(change(operation) for operation in graph.operations)
    return replace(
        model, segments=(first, replace(layer, graph=replace(graph, operations=operations)), last)
    )


def test_a_window_is_counted_as_no_window_and_said_so():
    model = llama(layers=2)
    narrow = with_layer(
        model, lambda op: replace(op, window=8) if isinstance(op, Attention) else op
    )
    job = Decode(context=64)
    wide, answer = (estimate(one, job, "cs3") for one in (model, narrow))

    assert answer.tpot_seconds == wide.tpot_seconds
    assert any("attention with a window" in note for note in answer.notes)
    assert not any("attention with a window" in note for note in wide.notes)


def test_what_has_no_stand_in_is_refused_by_name():
    def change(operation):
        if operation.result.name != "act":
            return operation
        return Opaque(operation.result, "aten.roll", (), (), 1.0, keeps_rows=False)

    refusal = estimate(with_layer(llama(layers=2), change), Decode(context=8), "cs3")

    assert isinstance(refusal, Refusal)
    assert "aten.roll" in refusal.reason


def test_experts_are_answered_as_estimates():
    sizes = Sizes(
        layers=2,
        hidden=FEATURES,
        heads=4,
        kv_heads=2,
        features=FEATURES // 4,
        inner=HIDDEN,
        vocabulary=96,
        experts=NUM_EXPERTS,
        experts_per_row=PER_ROW,
    )
    mixed = dense_model("mixture", sizes, rows=1)

    answer = estimate(mixed, Decode(context=16), "cs3")

    assert any("experts are counted" in note for note in answer.notes)
    assert answer.breakdown.cross_checked_fraction < 0.95


def test_of_a_choice_what_has_a_form_is_counted_and_what_is_made_of_others_is_not():
    """Softmax keeps shapes and leads to a search; groups that are chosen first have no form."""
    router = tensor("router", NUM_EXPERTS, FEATURES)
    weights = tuple(tensor(f"experts.{index}", NUM_EXPERTS, HIDDEN, FEATURES) for index in range(3))
    segment = segment_of(
        Linear(tensor("scores", 1, NUM_EXPERTS), "x", "router"),
        Opaque(
            tensor("shares", 1, NUM_EXPERTS), "aten.softmax", ("scores",), (), 5.0, keeps_rows=True
        ),
        TopIndices(Tensor("first", (1, PER_ROW), DataType.I32), "shares", PER_ROW),
        Opaque(tensor("groups", 1, 4), "aten.amax", ("scores",), (), 1.0, keeps_rows=True),
        TopIndices(Tensor("best", (1, 1), DataType.I32), "groups", 1),
        Opaque(
            tensor("choice", 1, PER_ROW),
            "aten.gather",
            ("shares", "first"),
            (),
            0.0,
            keeps_rows=True,
        ),
        Experts(
            tensor("y", 1, FEATURES),
            "x",
            "choice",
            tuple(weight.name for weight in weights),
            NUM_EXPERTS,
            PER_ROW,
            HIDDEN,
        ),
        parameters=(router, *weights),
    )
    results = [op.result.name for op in with_stand_ins(segment).graph.operations]

    assert results[:3] == ["scores", "shares", "first"]
    assert not {"groups", "best", "choice"} & {*results}


def test_experts_are_padded_together():
    """8 experts of 32 hidden features on 7 PEs: 37 a PE, where each of 4 pairs of 64 takes 40."""
    sizes = Sizes(
        layers=1,
        hidden=FEATURES,
        heads=4,
        kv_heads=2,
        features=FEATURES // 4,
        inner=HIDDEN,
        vocabulary=96,
        experts=NUM_EXPERTS,
        experts_per_row=PER_ROW,
    )
    options = WaferOptions()
    regions = Regions(
        dense_model("mixture", sizes, rows=1),
        Load(rows=1, capacity=8),
        machine=machine("cs3", options),
        options=options,
    )
    measured = regions._programs.measure(((1, 1),), (7, 7))

    assert {weight.times for weight in measured._weights} == {1.0, 37 / 10}
