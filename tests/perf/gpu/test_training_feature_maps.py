"""Training of models on feature maps: kernels from the graph and its rules of gradients."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import ConfigurationError
from onewafer.graph import (
    Add,
    AddBias,
    Attention,
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    LayerNorm,
    Linear,
    MaxPool,
    Multiply,
    Opaque,
    Relu,
    ScaleFeatures,
    Segment,
    Window,
    derive_gradients,
)
from onewafer.perf import Answer, Refusal, Train, compare, known_error
from onewafer.perf.compare import CompareOptions
from onewafer.perf.gpu import PinnedPlan, TrainingOptions, estimate_training
from onewafer.perf.gpu.kernels import NumberFormat
from onewafer.perf.gpu.sharding import Attend, Sweep
from onewafer.perf.gpu.training_map_kernels import WeightedMaps, trained_piece
from onewafer.perf.jobs import Precision
from onewafer.perf.kept_activations import Recompute
from onewafer.perf.published import published_figures
from onewafer.perf.training_work import AttentionPairs, model_flop_per_token, training_pieces
from tests.perf.feature_map_models import block, graph_of, small_network, tensor, window

NETWORK = small_network()


def piece(*operations, parameters=(), inputs=None, is_first=False, outputs=None):
    graph = graph_of(*operations, parameters=parameters, inputs=inputs, outputs=outputs)
    return trained_piece(Segment(graph, 1), is_first=is_first)


def train(batch):
    return Train(tokens=batch * 1024, sequence=1024, batch=batch)


def answer(batch, system, options=None, model=NETWORK) -> Answer:
    result = estimate_training(model, train(batch), system, options)
    assert isinstance(result, Answer), result
    return result


# --- kernels ----------------------------------------------------------------------------------

sizes = st.integers(1, 5)


@given(
    st.builds(
        Window,
        height=st.integers(5, 9),
        width=st.integers(5, 9),
        kernel_height=sizes,
        kernel_width=sizes,
        stride_y=st.integers(1, 3),
        stride_x=st.integers(1, 3),
        top=st.integers(0, 2),
        right=st.integers(0, 2),
    ),
    sizes,
    sizes,
    st.integers(1, 40),
)
def test_the_three_products_of_a_convolution_have_the_flop_of_the_rules(w, outputs, inputs, n):
    taps, rows = w.num_taps, w.num_result_pixels
    operation = Convolution(tensor("c", rows, outputs), "x", "w", w)
    graph = graph_of(
        operation,
        parameters=(tensor("w", taps, outputs, inputs),),
        inputs=(tensor("x", w.num_pixels, inputs),),
    )
    one = trained_piece(Segment(graph, 1))
    found = derive_gradients(graph, ["x", "w"]).graph
    kernels = [part.kernel(n, NumberFormat.BF16) for part in (*one.forward, *one.backward)]

    assert sorted(2 * k.rows * k.outputs * k.depth for k in kernels) == pytest.approx(
        sorted(n * op.count_flop(found.by_name) for op in found.operations)
    )
    read = min(w.num_pixels, rows * taps) * inputs
    assert [k.elements for k in kernels] == [
        n * (read + rows * outputs) + taps * outputs * inputs,
        n * (w.num_pixels * inputs + rows * outputs) + taps * outputs * inputs,
        n * (read + rows * outputs) + taps * outputs * inputs,
    ]
    assert [k.is_dense for k in kernels] == [taps == 1] * 3


def test_a_residual_block_has_norms_that_read_twice_and_a_sum_of_two_gradients():
    pixels, features = 64, 8
    maps = pixels * features
    one = piece(
        Convolution(tensor("c", pixels, features), "x", "w", window(8)),
        BatchNorm(tensor("n", pixels, features), "c", "scale", "shift", 1e-5),
        Relu(tensor("r", pixels, features), "n"),
        Linear(tensor("p", pixels, features), "r", "v"),
        BatchNorm(tensor("m", pixels, features), "p", "scale2", "shift2", 1e-5),
        Add(tensor("a", pixels, features), "m", "x"),
        Relu(tensor("y", pixels, features), "a"),
        parameters=(
            tensor("w", 9, features, features),
            tensor("scale", features),
            tensor("shift", features),
            tensor("v", features, features),
            tensor("scale2", features),
            tensor("shift2", features),
        ),
        inputs=(tensor("x", pixels, features),),
    )
    products = [part for part in one.forward if isinstance(part, WeightedMaps)]
    sweeps = [part for part in one.forward if isinstance(part, Sweep)]

    assert [(p.rows, p.outputs, p.depth, p.elements) for p in products] == [
        (64, 8, 72, 2 * maps),
        (64, 8, 8, 2 * maps),
    ]
    # p twice and x, y written; c twice, r written
    assert [s.elements for s in sweeps] == [3 * maps, 4 * maps]
    backward = [type(part).__name__ + f" {part.elements // maps}" for part in one.backward]
    assert backward == [
        "Sweep 8",  # twice p, x and the gradient of y; those of p and of x written
        "WeightedMaps 2",
        "WeightedMaps 2",
        "Sweep 5",  # twice c and the gradient of r; that of c written
        "WeightedMaps 3",  # the gradient of x is added to that of the shortcut
        "WeightedMaps 2",
    ]
    assert one.kept_elements == 4 * maps  # x, c, r, p
    assert one.num_weights == 10 * 64 + 4 * 8


def test_what_a_model_begins_with_needs_no_gradient():
    operations = (Convolution(tensor("c", 64, 8), "x", "w", window(8)),)
    given_ = {"parameters": (tensor("w", 9, 8, 4),), "inputs": (tensor("x", 64, 4),)}
    first, later = (piece(*operations, **given_, is_first=flag) for flag in (True, False))

    assert [part.adds_samples for part in first.backward] == [True]
    assert {part.adds_samples for part in later.backward} == {True, False}


def test_a_bias_is_added_by_the_product_and_an_activation_by_a_kernel_of_its_own():
    one = piece(
        Linear(tensor("p", 64, 8), "x", "w"),
        AddBias(tensor("b", 64, 8), "p", "shift"),
        Relu(tensor("r", 64, 8), "b"),
        parameters=(tensor("w", 8, 4), tensor("shift", 8)),
        inputs=(tensor("x", 64, 4),),
    )
    product, sweep = one.forward

    assert isinstance(product, WeightedMaps)
    assert sweep.elements == 2 * 512
    # the gradient of r and r, that of b; the gradient of the shift comes with that of the weight
    assert [type(part).__name__ for part in one.backward] == ["Sweep", *["WeightedMaps"] * 2]
    assert one.backward[0].elements == 3 * 512


def test_pools_and_other_sweeps_read_what_their_rules_read():
    one = piece(
        MaxPool(tensor("m", 16, 4), "x", window(8, kernel=2, stride=2)),
        DepthwiseConvolution(tensor("d", 16, 4), "m", "taps", window(4)),
        LayerNorm(tensor("l", 16, 4), "d", "scale", "shift", 1e-5),
        GlobalAveragePool(tensor("mean", 1, 4), "l", 16),
        parameters=(tensor("taps", 9, 4), tensor("scale", 4), tensor("shift", 4)),
        inputs=(tensor("x", 64, 4),),
    )

    assert [(part.name, part.elements) for part in one.backward] == [
        ("pools", 4 + 64),  # the gradient of the mean, repeated
        ("norms and activations", 3 * 64),
        ("depthwise convolutions", 2 * 64),
        ("depthwise convolutions", 2 * 64),
        ("pools", 2 * 64 + 2 * 256),  # the gradient and the maxima; the input and its gradient
    ]
    assert one.kept_elements == 256 + 64 + 64  # x, m, d


def test_factors_of_a_product_are_both_kept_and_both_get_gradients():
    one = piece(
        Relu(tensor("l", 16, 4), "x"),
        Multiply(tensor("m", 16, 4), "l", "x"),
        inputs=(tensor("x", 16, 4),),
    )
    (sweep,) = one.backward

    assert sweep.elements == 3 * 64  # x and the gradient; the gradient of x


def test_attention_is_a_multiple_of_its_forward_pass_and_keeps_four_maps():
    one = piece(
        Attention(tensor("a", 16, 8), "x", "x", "x", 2, 2, 1.0, is_causal=False),
        inputs=(tensor("x", 16, 8),),
    )

    assert one.forward == one.backward
    assert isinstance(one.backward[0], Attend)
    assert one.kept_elements == 2 * 128 + 2 * 2 * 16  # x, the result, logarithms of sums


def test_an_operation_without_a_rule_is_named():
    with pytest.raises(ConfigurationError, match=r"no equations for its training: Opaque"):
        piece(
            Opaque(tensor("o", 64, 4), "aten.hardtanh", ("x",), (), 1.0, keeps_rows=True),
            inputs=(tensor("x", 64, 4),),
        )


# --- the model --------------------------------------------------------------------------------


def test_scales_and_shifts_behind_convolutions_are_norms_over_the_batch_in_training():
    graph = graph_of(
        Convolution(tensor("c", 64, 8), "x", "w", window(8)),
        ScaleFeatures(tensor("s", 64, 8), "c", "scale"),
        AddBias(tensor("b", 64, 8), "s", "shift"),
        Relu(tensor("r", 64, 8), "b"),
        ScaleFeatures(tensor("gate", 64, 8), "r", "factors"),
        parameters=(
            tensor("w", 9, 8, 4),
            tensor("scale", 8),
            tensor("shift", 8),
            tensor("factors", 8),
        ),
        inputs=(tensor("x", 64, 4),),
    )
    model = replace(NETWORK, segments=(Segment(graph, 1),), fixed_tokens=64)
    (trained,) = training_pieces(model, 64)

    assert [type(op).__name__ for op in trained.graph.operations] == [
        "Convolution",
        "BatchNorm",
        "Relu",
        "ScaleFeatures",
    ]
    assert trained.graph.parameters == graph.parameters


def test_model_flop_are_those_of_the_products_three_times():
    forward = sum(
        segment.repeats
        * sum(op.count_product_flop(segment.graph.by_name) for op in segment.graph.operations)
        for segment in NETWORK.segments
    )

    assert model_flop_per_token(NETWORK, 1024, AttentionPairs.ALL) == 3 * forward / 1024


# --- steps ------------------------------------------------------------------------------------


def test_a_step_has_all_samples_of_a_gpu_at_once():
    one = answer(48, "h100")

    assert one.choice.text == "micro-batches of 48"
    assert {item.name for item in one.breakdown.items} == {
        "convolutions",
        "head",
        "loss",
        "optimizer",
        "other operations",
        "pools",
    }


def test_replicas_share_the_batch_and_add_their_gradients():
    eight, alone = answer(64, "h100x8"), answer(8, "h100")
    added = {i.name: i.seconds for i in eight.breakdown.items}.pop("data parallelism")

    assert eight.choice.text == "8 replicas, micro-batches of 8"
    assert eight.breakdown.seconds < alone.breakdown.seconds + added


def test_a_batch_that_does_not_fit_is_cut_or_computed_again():
    wide = small_network(side=32, features=512)
    found = answer(1 << 17, "h100", model=wide)

    assert found.choice.text != f"micro-batches of {1 << 17}"
    assert found.memory.weight_bytes + found.memory.other_bytes <= found.memory.available_bytes
    again = answer(8, "h100", TrainingOptions(plan=PinnedPlan(recompute=Recompute.FULL)))
    assert again.memory.other_bytes < answer(8, "h100").memory.other_bytes
    assert again.breakdown.seconds > answer(8, "h100").breakdown.seconds


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (TrainingOptions(plan=PinnedPlan(tensor=2)), "which GPUs do not share"),
        (TrainingOptions(plan=PinnedPlan(recompute=Recompute.SELECTIVE)), "all is computed again"),
        (TrainingOptions(precision=Precision.FP8), "feature maps in fp8 is not modelled"),
    ],
)
def test_what_there_are_no_equations_for_is_refused(options, reason):
    refusal = estimate_training(NETWORK, train(8), "h100x2", options)

    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason


def test_a_wafer_streams_no_feature_maps_and_the_other_systems_are_shown():
    wafer, gpu = compare(NETWORK, train(8), ["cs3", "h100"], CompareOptions()).results

    assert "no equations of weights that are streamed" in wafer.reason
    assert isinstance(gpu, Answer)


def test_errors_are_those_of_runs_on_feature_maps():
    found = known_error(NETWORK, train(8), "h100")

    assert found.count == len(published_figures("gpu_training_samples"))


batches = st.integers(1, 300)


@given(batches, batches)
def test_more_samples_never_take_less_time(first, second):
    few, many = sorted((first, second))
    times = [answer(n, "h100").breakdown.seconds for n in (few, many)]

    assert times[0] <= times[1] * (1 + 1e-9)


def test_blocks_of_a_network_are_pieces_like_any_other():
    graph = block(8, 4)
    one = trained_piece(Segment(graph, 3))

    assert one.num_weights == 9 * 16 + 16
    assert one.input_elements == one.result_elements == 64 * 4
