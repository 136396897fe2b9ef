"""Attention to latent vectors is made of attention and products: what each of them is, by hand."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Activation,
    ActivationFunction,
    Attention,
    DataType,
    Experts,
    Linear,
    Opaque,
    RmsNorm,
    Tensor,
)
from onewafer.perf import Answer, Decode, Prefill, Refusal, Serve
from onewafer.perf.wafer import Mode, WaferOptions, estimate, machine
from onewafer.perf.wafer.latent import LatentForm, latent_forms, without_latent_attention
from onewafer.perf.wafer.region import Regions
from onewafer.perf.wafer.stand_ins import with_stand_ins
from onewafer.perf.wafer.workload import Load
from tests.perf.dense_model import Sizes
from tests.perf.wafer.latent_models import DEEPSEEK_V3, LatentSizes, latent_model
from tests.perf.wafer.models import llama

SIZES = Sizes(layers=3, hidden=16, heads=1, kv_heads=1, features=16, inner=24, vocabulary=32)
MIXTURE = Sizes(
    layers=1,
    hidden=7168,
    heads=1,
    kv_heads=1,
    features=7168,
    inner=2048,
    vocabulary=1024,
    experts=224,
)
"""Layers almost as large as those of DeepSeek-V3."""
SMALL = latent_model(SIZES)
"""4 heads of 6 + 2 and 4 features, latent vectors of 8 + 2."""
LAYER = SMALL.segments[1].graph
OPTIONS = WaferOptions()
CHIP = machine("cs3", OPTIONS)


def regions_of(model, *, rows=1, position=0, capacity=16, form=None, sequences=1):
    load = Load(
        rows=rows,
        position=position,
        capacity=capacity,
        sequences=sequences,
        form=form or LatentForm(),
    )
    return Regions(model, load, machine=CHIP, options=OPTIONS)


def products_of(rewritten):
    """Return outputs, inputs and stored elements of each product that stands for others."""
    weights = {tensor.name: tensor for tensor in rewritten.parameters}
    return {
        operation.result.name: (
            *weights[operation.weight].shape,
            round(weights[operation.weight].num_elements * rewritten.stored[operation.weight]),
        )
        for operation in rewritten.graph.operations
        if isinstance(operation, Linear) and operation.weight in weights
    }


def test_absorbed_queries_meet_copies_of_the_latent_vectors():
    found = without_latent_attention(LAYER, LatentForm(2))
    (attention,) = (op for op in found.graph.operations if isinstance(op, Attention))

    assert not any(isinstance(op, Opaque) for op in found.graph.operations)
    assert (attention.heads, attention.kv_heads) == (4, 2)
    assert attention.key == attention.value
    assert attention.result.shape == (1, 4 * 10)
    assert products_of(found) == {
        "a.copies": (2 * 10, 16, 2 * 10 * 16),
        "aq": (4 * 10, 4 * 8, 4 * 6 * 8),
        "av": (4 * 4, 4 * 10, 4 * 4 * 8),
    }
    assert found.head_products == {"aq.weights": 4, "av.weights": 4}
    assert found.kept_share == 1 / 2
    assert found.passing_share == 0


def test_expanded_heads_have_keys_and_values_of_their_own():
    """The mean of a key of 6 + 2 and a value of 4 features is 6."""
    found = without_latent_attention(LAYER, LatentForm(2, is_expanded=True))
    (attention,) = (op for op in found.graph.operations if isinstance(op, Attention))

    assert (attention.heads, attention.kv_heads) == (4, 4)
    assert products_of(found) == {
        "a.query": (4 * 6, 12, 4 * 8 * 12),
        "a.key": (4 * 6, 8, 4 * (6 + 4) * 8 // 2),
        "a.value": (4 * 6, 8, 4 * (6 + 4) * 8 // 2),
        "o": (16, 4 * 6, 16 * 4 * 4),
    }
    assert found.kept_share == pytest.approx(2 * 10 / (2 * 4 * 6))  # copies of what is kept
    assert found.passing_share == 1


@pytest.mark.parametrize("is_expanded", [False, True])
def test_all_weights_are_stored_once_but_those_of_copies(is_expanded):
    form = LatentForm(2, is_expanded=is_expanded)
    piece = with_stand_ins(SMALL.segments[1], form)
    stored = sum(t.num_elements * piece.stored.get(t.name, 1.0) for t in piece.graph.parameters)
    given = sum(tensor.num_elements for tensor in LAYER.parameters)

    assert stored == pytest.approx(given + (0 if is_expanded else 10 * 16))


def test_products_of_heads_take_what_meets_of_their_features():
    """On 2 × 2 PEs 32 queries lie on 2 PEs, 16 each; a column meets those of one head in four."""
    regions = regions_of(SMALL)
    measured = regions._programs.measure(((1, 1),), (2, 2))
    names = [op.result.name for op in regions.pieces[1].graph.operations]
    (product,) = (
        operation
        for operation, source in zip(
            measured._program.operations, measured._program.sources, strict=True
        )
        if names[source] == "aq" and operation.kind.name.startswith("matmul")
    )

    assert product.weight.rows == 16 // 4


@pytest.mark.parametrize(("group", "columns"), [(4, 10 // 2 + 1), (2, 20 // 2), (1, 40 // 2)])
def test_a_pe_keeps_its_features_of_the_copies_once(group, columns):
    """Each of 2 PEs has 8 of 16 positions, of 2 bytes a feature; features go in pairs."""
    regions = regions_of(SMALL, form=LatentForm(group))

    assert regions.bytes(((1, 1),), (2, 2)).cache == columns * 8 * 2


def test_expanded_keys_are_there_for_one_sequence_and_latent_vectors_for_all():
    kept, passing = [], []
    for sequences in (1, 3):
        form = LatentForm(4, is_expanded=True)
        found = regions_of(SMALL, form=form, sequences=sequences).bytes(((1, 1),), (2, 2))
        kept.append(found.cache)
        passing.append(found.other)

    # keys and values: 24 features on 2 PEs, 8 positions, 2 bytes each; 10 of 48 are kept
    assert kept == [pytest.approx(n * 2 * 12 * 8 * 2 * 10 / 48, abs=1) for n in (1, 3)]
    assert passing[0] == passing[1]


def test_latent_vectors_that_no_products_make_are_refused_by_name():
    operations = tuple(
        Opaque(op.result, "aten.exp", ("h1",), (), 1.0, keeps_rows=True)
        if op.result.name == "c"
        else op
        for op in LAYER.operations
    )

    with pytest.raises(UnsupportedOperationError, match=r"defines 'a': its latent vectors"):
        without_latent_attention(replace(LAYER, operations=operations), LatentForm())


def test_other_models_have_one_form():
    assert latent_forms(llama(), Prefill(tokens=8)) == (LatentForm(),)
    assert all(not form.is_expanded for form in latent_forms(SMALL, Decode(context=8)))
    assert any(form.is_expanded for form in latent_forms(SMALL, Prefill(tokens=8)))


@pytest.mark.parametrize(
    ("job", "mode"),
    [
        (Decode(context=64), Mode.PIPELINE),
        (Decode(context=64, batch=3), Mode.WHOLE),
        (Decode(context=64), Mode.STREAMING),
        (Prefill(tokens=32), Mode.PIPELINE),
        (Serve(concurrency=2, prompt=16, answer=8), Mode.PIPELINE),
    ],
)
@pytest.mark.alternate(5)
def test_every_job_has_an_answer_that_adds_up_and_is_marked(job, mode):
    answer = estimate(SMALL, job, "cs3", WaferOptions(mode=mode))

    assert isinstance(answer, Answer)
    seconds = answer.ttft_seconds if isinstance(job, Prefill) else answer.tpot_seconds
    assert answer.breakdown.seconds == pytest.approx(seconds)
    assert answer.breakdown.cross_checked_fraction < 0.9
    assert any("latent vectors is estimated" in note for note in answer.notes)


@settings(max_examples=25, deadline=None)
@given(
    sides=st.tuples(st.integers(2, 12), st.integers(2, 12)),
    latent=st.builds(
        LatentSizes,
        heads=st.sampled_from([2, 4, 6]),
        plain=st.integers(1, 9),
        rotated=st.sampled_from([2, 4]),
        values=st.integers(1, 9),
        latent=st.sampled_from([4, 8, 10]),
        query_rank=st.none() | st.integers(1, 20),
    ),
    form=st.builds(LatentForm, st.sampled_from([1, 2, 6]), is_expanded=st.booleans()),
    numbers=st.tuples(st.integers(1, 3), st.integers(4, 90), st.integers(1, 4)),
)
def test_more_context_never_takes_less_and_no_bound_is_above_what_is_needed(
    sides, latent, form, numbers
):
    model = latent_model(SIZES, latent)
    work = ((1, 2),)
    sizes, cycles = [], []
    rows, capacity, sequences = numbers
    for context in (capacity, capacity + 40):
        regions = regions_of(
            model,
            rows=rows,
            position=context - rows,
            capacity=context,
            form=form,
            sequences=sequences,
        )
        found = regions.bytes(work, sides)
        if found is None:
            return
        assert regions.least_bytes(work, sides) <= found.total
        sizes.append(found.total)
        cycles.append(sum(regions.split(work, sides).values()))

    assert sizes[0] <= sizes[1]
    assert cycles[0] <= cycles[1]


@pytest.mark.parametrize("is_expanded", [False, True])
def test_queries_of_one_product_lie_as_keys_do_after_a_turn(is_expanded):
    model = latent_model(SIZES, LatentSizes(query_rank=None))
    form = LatentForm(2, is_expanded=is_expanded)
    found = without_latent_attention(model.segments[1].graph, form)
    (turned,) = (name for name, (_, _, held) in products_of(found).items() if held == 0)

    assert turned.endswith(".turned")
    assert regions_of(model, form=form).cost(((1, 1),), (4, 4)) is not None


def test_reading_many_tokens_is_cheaper_with_expanded_keys():
    model = latent_model(
        replace(SIZES, hidden=256, inner=256),
        LatentSizes(heads=16, plain=16, rotated=8, values=16, latent=64, query_rank=32),
    )
    absorbed, expanded = (
        regions_of(
            model,
            rows=16,
            position=200,
            capacity=256,
            form=LatentForm(8, is_expanded=is_expanded),
        ).split(((1, 1),), (24, 24))
        for is_expanded in (False, True)
    )

    assert sum(expanded.values()) < sum(absorbed.values())


def test_a_refusal_names_the_fewest_wafers_that_do():
    model = latent_model(replace(MIXTURE, layers=3), DEEPSEEK_V3)
    job, options = Decode(context=1024), WaferOptions(mode=Mode.PIPELINE)
    refusal = estimate(model, job, "cs3", options)

    assert isinstance(refusal, Refusal)
    fewest = int(refusal.reason.partition("cs3x")[2].split()[0])
    assert isinstance(estimate(model, job, f"cs3x{fewest}", options), Answer)
    assert isinstance(estimate(model, job, f"cs3x{fewest - 1}", options), Refusal)


def test_caches_that_no_wafer_holds_are_divided_among_replicas():
    model = latent_model(replace(MIXTURE, layers=1), DEEPSEEK_V3)
    job, options = Decode(context=4096, batch=512), WaferOptions(mode=Mode.PIPELINE)
    refusal = estimate(model, job, "cs3x2", options)
    count = int(refusal.reason.partition("cs3x")[2].split()[0])
    answer = estimate(model, job, f"cs3x{count}", options)

    assert "replicas of a pipeline" in refusal.reason
    assert "replicas" in answer.choice.text


def test_a_layer_of_experts_streams_through_less_than_it_has():
    """Twice a layer of 20 GB is almost what a wafer has; the experts of a row are a 28th of it."""
    model = latent_model(replace(MIXTURE, layers=2), DEEPSEEK_V3)
    answer = estimate(model, Decode(context=1024), "cs3", WaferOptions(mode=Mode.STREAMING))
    num_bytes = 2 * model.num_weights

    assert answer.tpot_seconds == pytest.approx(num_bytes / 150e9, rel=0.02)
    assert answer.memory.weight_bytes < num_bytes / 4


def test_norms_of_copies_are_those_of_one_latent_vector_each():
    found = without_latent_attention(LAYER, LatentForm(1))
    (norm,) = (
        op for op in found.graph.operations if isinstance(op, RmsNorm) and op.result.name == "a.key"
    )

    assert (norm.groups, norm.result.shape) == (4, (1, 4 * 10))


def test_a_layer_of_deepseek_v3_fits_a_wafer():
    """Weights take 27.5 of 48 KiB: larger kernels may leave no room for the model."""
    model = latent_model(replace(MIXTURE, experts=257), DEEPSEEK_V3)
    first, layer, last = model.segments
    choice = Tensor("choice", (1, 257), DataType.F16)
    chosen = tuple(
        new
        for op in layer.graph.operations
        for new in (
            (Activation(choice, "scores", ActivationFunction.SIGMOID), replace(op, choice="choice"))
            if isinstance(op, Experts)
            else (op,)
        )
    )
    segments = (first, replace(layer, graph=replace(layer.graph, operations=chosen)), last)
    regions = regions_of(replace(model, segments=segments), position=4095, capacity=4096)

    assert regions.cost(((1, 1),), (755, 1170)) is not None
