"""Convolutions, pools and batch norms of PyTorch: as graphs, on the wafer, and what is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Add,
    AddBias,
    Convolution,
    DataType,
    DepthwiseConvolution,
    Evaluator,
    GlobalAveragePool,
    GroupNorm,
    LayerNorm,
    Linear,
    MaxPool,
    Relu,
    ScaleFeatureMaps,
    ScaleFeatures,
    ScalePixels,
    ShiftPixels,
    Window,
    num_samples,
)
from onewafer.mesh import estimate
from onewafer.pytorch import Fidelity, Session, WaferOptions, capture, intercept_calls

SAMPLES = 2


def with_random_norms(module):
    """Give batch norms statistics and weights that matter; evaluate from now on."""
    for each in module.modules():
        if isinstance(each, nn.modules.batchnorm._BatchNorm) and each.running_mean is not None:
            each.running_mean.normal_()
            each.running_var.uniform_(0.5, 2.0)
            if each.affine:
                nn.init.normal_(each.weight)
                nn.init.normal_(each.bias)
    return module.eval()


def captured(module, *shape):
    """Return the graph that a module becomes, which computes what PyTorch does."""
    torch.manual_seed(len(shape))
    with_random_norms(module)
    x = torch.randn(shape)
    with torch.no_grad():
        call, expected = capture(module, (x,), {}), module(x)
    parameters = {name: tensor.detach().numpy() for name, tensor in call.parameters.items()}
    outputs = Evaluator(call.graph, parameters).run(
        {name: tensor.numpy() for name, tensor in call.inputs.items()}
    )
    torch.testing.assert_close(call.restore(outputs), expected, rtol=1e-5, atol=1e-5)
    return call.graph


def kinds(graph):
    return [type(operation) for operation in graph.operations]


class Function(nn.Module):
    def __init__(self, function, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.function = function

    def forward(self, x):
        return self.function(x, *self.layers)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)},
        {"padding": "same", "dilation": 2},
        {"padding": "valid", "bias": False},
    ],
)
def test_convolutions(options):
    graph = captured(nn.Conv2d(3, 4, (3, 2), **options), SAMPLES, 3, 7, 6)
    assert kinds(graph) == [Convolution, AddBias][: 1 + options.get("bias", True)]
    assert num_samples(graph) == SAMPLES
    assert graph.inputs[0].shape == (SAMPLES * 42, 3)


def test_one_feature_map_without_a_batch():
    captured(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 2)), 3, 6, 6)


@pytest.mark.parametrize("shape", [(SAMPLES, 3, 9), (3, 9)])
def test_convolutions_in_one_dimension(shape):
    graph = captured(nn.Conv1d(3, 4, 3, padding=2, dilation=2), *shape)
    (convolution, _) = graph.operations
    assert convolution.window == Window(1, 9, 1, 3, left=2, right=2, dilation_x=2)


def test_features_each_by_itself():
    graph = captured(nn.Conv2d(4, 4, 3, groups=4, padding=1), SAMPLES, 4, 5, 5)
    assert kinds(graph) == [DepthwiseConvolution, AddBias]


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 6, 3, groups=2), nn.Conv1d(4, 8, 3, groups=4)])
def test_features_in_groups_are_multiplied_by_zero_across_them(layer):
    shape = (SAMPLES, 4, 5, 5)[: len(layer.weight.shape)]
    graph = captured(layer, *shape)
    assert kinds(graph) == [Convolution, AddBias]
    with torch.no_grad():
        call = capture(layer.eval(), (torch.zeros(shape),), {})
    name = next(o.weight for o in call.graph.operations if isinstance(o, Convolution))
    zeros = (call.parameters[name] == 0).sum()
    assert zeros == call.parameters[name].numel() - layer.weight.numel()


class Scaled(nn.Module):
    """Numbers that are learned for each feature, as in LayerScale and in affine layers."""

    def __init__(self, function, features):
        super().__init__()
        torch.manual_seed(5)
        self.layer = nn.Conv2d(3, features, 2)
        self.factors = nn.Parameter(torch.randn(features))
        self.shifts = nn.Parameter(torch.randn(features, 1, 1))
        self.function = function

    def forward(self, x):
        return self.function(self, self.layer(x))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda m, x: x * m.factors.reshape(1, -1, 1, 1), [ScaleFeatures]),
        (lambda m, x: m.shifts * x, [ScaleFeatures]),
        (lambda m, x: x + m.shifts, [AddBias]),
        (lambda m, x: (x.permute(0, 2, 3, 1) * m.factors).permute(0, 3, 1, 2), [ScaleFeatures]),
        (lambda m, x: torch.addcmul(m.shifts, m.shifts, x), [ScaleFeatures, AddBias]),
    ],
)
def test_numbers_learned_for_each_feature(function, expected):
    graph = captured(Scaled(function, 4), SAMPLES, 3, 5, 4)
    assert kinds(graph)[2:] == expected


def test_positions_and_pixels_of_other_feature_maps_are_refused_with_a_reason():
    """A launch is one number of positions; the rows of a smaller feature map are others."""

    def function(x, layer):
        rows = layer(x).flatten(2).transpose(1, 2).unsqueeze(1)
        return functional.scaled_dot_product_attention(rows, rows, rows)

    with (
        torch.no_grad(),
        pytest.raises(UnsupportedOperationError, match="covers 16 tokens, and the inputs have 25"),
    ):
        capture(Function(function, nn.Conv2d(3, 4, 2)).eval(), (torch.randn(1, 3, 5, 5),), {})


def test_one_tap_is_linear_unless_it_leaves_pixels_out():
    layers = nn.Conv2d(3, 5, 2), nn.Conv2d(5, 4, 1), nn.Conv2d(4, 3, 1, stride=2)
    graph = captured(nn.Sequential(*layers), SAMPLES, 3, 6, 6)
    assert kinds(graph)[::2] == [Convolution, Linear, Convolution]


def test_patches_of_several_images_and_then_maps():
    """The stem of many models cuts the image; what follows is a convolution of the patches."""
    graph = captured(nn.Sequential(nn.Conv2d(3, 6, 2, 2), nn.Conv2d(6, 4, 3)), SAMPLES, 3, 8, 8)
    assert kinds(graph) == [Linear, AddBias, Convolution, AddBias]
    assert graph.inputs[0].shape == (SAMPLES * 16, 12)
    graph = captured(nn.Conv1d(3, 4, 2, 2), SAMPLES, 3, 8)
    assert kinds(graph) == [Linear, AddBias]


@pytest.mark.parametrize(
    ("pool", "kind"),
    [
        (nn.MaxPool2d(2), MaxPool),
        (nn.MaxPool2d(3, 2, 1), MaxPool),
        (nn.MaxPool2d(3, 2, ceil_mode=True), MaxPool),
        (nn.MaxPool2d(2, 1, dilation=2), MaxPool),
        (nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False), DepthwiseConvolution),
        (nn.AvgPool2d((3, 2), 2, (1, 0)), DepthwiseConvolution),
        (nn.AvgPool2d(8), GlobalAveragePool),
        (nn.AvgPool2d(8, divisor_override=3), DepthwiseConvolution),
        (nn.AdaptiveAvgPool2d(1), GlobalAveragePool),
        (nn.AdaptiveAvgPool2d((4, 2)), DepthwiseConvolution),
    ],
)
def test_pools(pool, kind):
    graph = captured(pool, SAMPLES, 3, 8, 8)
    assert kinds(graph) == [kind]


@pytest.mark.parametrize("side", [1, 3])
def test_an_average_counts_what_all_windows_have(side):
    """Also where each of them ends beyond the map, as behind the last map of a residual network."""
    pool = nn.AvgPool2d(side + 1, ceil_mode=True, count_include_pad=False)
    assert kinds(captured(pool, SAMPLES, 3, side, side)) == [DepthwiseConvolution]


@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    sides=st.tuples(st.integers(3, 6), st.integers(3, 6)),
    options=st.fixed_dictionaries(
        {
            "ceil_mode": st.booleans(),
            "count_include_pad": st.booleans(),
            "divisor_override": st.sampled_from([None, None, 3, -2]),
        }
    ),
)
@example(kernel=(3, 3), stride=2, padding=1, sides=(5, 6), options={"count_include_pad": False})
@example(kernel=(3, 2), stride=2, padding=1, sides=(6, 6), options={"ceil_mode": True})
@settings(max_examples=10, deadline=None)
def test_averages_divide_by_what_pytorch_counts(kernel, stride, padding, sides, options):
    """Windows reach over margins, and with `ceil_mode` over what is behind them."""
    pads = tuple(min(padding, size // 2) for size in kernel)
    graph = captured(nn.AvgPool2d(kernel, stride, pads, **options), SAMPLES, 3, *sides)
    assert {*kinds(graph)} <= {DepthwiseConvolution, ScalePixels, GlobalAveragePool}


def test_an_average_over_a_line_leaves_margins_out():
    pool = nn.AvgPool1d(3, 2, 1, ceil_mode=True, count_include_pad=False)
    assert kinds(captured(pool, SAMPLES, 3, 8)) == [DepthwiseConvolution, ScalePixels]


@pytest.mark.parametrize(("kernel", "sides"), [(2, (3, 4)), (1, (5,))])
def test_a_layer_norm_of_whole_maps(kernel, sides):
    layer = nn.Conv2d(3, 4, kernel) if len(sides) > 1 else nn.Conv1d(3, 4, kernel)
    norm = nn.LayerNorm([4, *(side - kernel + 1 for side in sides)])
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    graph = captured(nn.Sequential(layer, norm), SAMPLES, 3, *sides)
    assert kinds(graph)[-3:] == [GroupNorm, ScalePixels, ShiftPixels]


@pytest.mark.parametrize(
    ("pool", "kind"),
    [
        (nn.MaxPool1d(3, 2), MaxPool),
        (nn.AvgPool1d(2), DepthwiseConvolution),
        (nn.AdaptiveAvgPool1d(1), GlobalAveragePool),
    ],
)
def test_pools_in_one_dimension(pool, kind):
    assert kinds(captured(pool, SAMPLES, 3, 8)) == [kind]


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (nn.BatchNorm2d(4), (SAMPLES, 4, 3, 2)),
        (nn.BatchNorm2d(4, affine=False), (SAMPLES, 4, 3, 2)),
        (nn.BatchNorm1d(4), (SAMPLES, 4, 3)),
        (nn.BatchNorm1d(4, eps=0.1), (SAMPLES, 4)),
    ],
)
def test_batch_norms(norm, shape):
    assert kinds(captured(norm, *shape)) == [ScaleFeatures, AddBias]


@pytest.mark.parametrize(
    "function",
    [
        lambda x, layer: layer(x).mean((2, 3)),
        lambda x, layer: layer(x).mean([-1, -2], keepdim=True),
        lambda x, layer: layer(x).flatten(2).mean(2),
        lambda x, layer: layer(x).flatten(2).transpose(1, 2).mean(1),
    ],
)
def test_means_over_pixels(function):
    graph = captured(Function(function, nn.Conv2d(3, 4, 2)), SAMPLES, 3, 5, 4)
    assert kinds(graph)[2:] == [GlobalAveragePool]


@pytest.mark.parametrize("samples", [1, SAMPLES])
@pytest.mark.alternate
def test_gates_over_all_pixels(samples):
    """As in squeeze-and-excitation: features are weighed by what all pixels say together."""

    def function(x, layer, first, second):
        maps = layer(x)
        gate = second(first(maps.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return gate * maps

    layers = nn.Conv2d(3, 4, 2), nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
    graph = captured(Function(function, *layers), samples, 3, 5, 4)
    assert kinds(graph)[-1] is ScaleFeatureMaps
    session = Session(WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(2, 2)))
    model, x = Function(function, *layers).eval(), torch.randn(samples, 3, 5, 4)
    with torch.no_grad(), intercept_calls(session):
        result = model(x)
    assert not session.ledger.fallbacks
    with torch.no_grad():
        torch.testing.assert_close(result, model(x), rtol=1e-5, atol=1e-5)


def test_means_over_one_pixel_are_that_place():
    graph = captured(
        Function(lambda x, layer: layer(x).mean((2, 3)), nn.Conv2d(3, 4, 2)), 2, 3, 2, 2
    )
    assert kinds(graph) == [Convolution, AddBias]


def test_means_over_rows_of_one_sequence():
    graph = captured(Function(lambda x, layer: layer(x).mean(1), nn.Linear(6, 4)), 1, 5, 6)
    assert kinds(graph) == [Linear, AddBias, GlobalAveragePool]


@pytest.mark.parametrize(
    "flatten",
    [
        lambda maps: maps.flatten(1),
        lambda maps: maps.permute(0, 2, 3, 1).flatten(1),
        lambda maps: maps.transpose(2, 3).reshape(SAMPLES, -1),
    ],
)
def test_a_linear_layer_on_flattened_feature_maps_is_a_kernel_as_large_as_they_are(flatten):
    layers = nn.Conv2d(3, 4, 2), nn.Linear(4 * 12, 5)
    model = Function(lambda x, layer, head: head(flatten(layer(x)).relu()), *layers)
    graph = captured(model, SAMPLES, 3, 5, 4)
    *_, relu, head, _ = graph.operations
    assert isinstance(relu, Relu)
    assert head.window == Window(1, 12, 1, 12)
    assert graph.outputs == (graph.operations[-1].result.name,)


def test_features_last_between_convolutions():
    """As in ConvNeXt: a norm and a linear layer over the features of each pixel."""

    def function(x, depthwise, norm, linear):
        inner = linear(norm(depthwise(x).permute(0, 2, 3, 1)))
        return x + inner.permute(0, 3, 1, 2)

    layers = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.LayerNorm(4), nn.Linear(4, 4)
    stem = nn.Conv2d(3, 4, 2)
    graph = captured(nn.Sequential(stem, Function(function, *layers)), SAMPLES, 3, 5, 5)
    assert [kind for kind in kinds(graph) if kind is not AddBias] == [
        *(Convolution, DepthwiseConvolution, LayerNorm, Linear, Add)
    ]


@pytest.mark.parametrize(
    ("function", "operations"),
    [
        (lambda x: functional.pad(x, (0, 0, 0, 0)), []),
        (lambda x: functional.pad(x, (1, 2, 0, 3)), [DepthwiseConvolution]),
        (lambda x: functional.pad(x, (0, 0, 0, 0, 2, 1)), [Linear]),
        (nn.ZeroPad2d((1, 0, 2, 1)), [DepthwiseConvolution]),
        (lambda x: functional.pad(x, (1, 1, 1, 1, 0, 2)), [DepthwiseConvolution, Linear]),
        (lambda x: x[:, :, ::2, 1::3], [DepthwiseConvolution] * 2),
        (
            lambda x: functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1)),
            [DepthwiseConvolution, DepthwiseConvolution, Linear],
        ),
    ],
)  # fmt: skip
def test_zeros_beside_feature_maps_and_pixels_left_out(function, operations):
    layer = nn.Conv2d(2, 4, 1, bias=False)
    graph = captured(Function(lambda x, a: function(a(x)), layer), SAMPLES, 2, 6, 6)
    assert kinds(graph) == [Linear, *operations]


def test_an_argument_that_is_alike_for_all_samples_is_sent_for_each():
    layer = nn.Linear(3, 4)
    module = Function(lambda pair, layer: layer(pair[0]).relu() + pair[1], layer)
    pair = torch.randn(SAMPLES, 5, 3), torch.randn(5, 4)
    with torch.no_grad():
        call, expected = capture(module, (pair,), {}), module(pair)
    parameters = {name: tensor.detach().numpy() for name, tensor in call.parameters.items()}
    inputs = {name: tensor.numpy() for name, tensor in call.inputs.items()}
    assert {rows.shape for rows in inputs.values()} == {(SAMPLES * 5, 3), (SAMPLES * 5, 4)}
    outputs = Evaluator(call.graph, parameters).run(inputs)
    torch.testing.assert_close(call.restore(outputs), expected, rtol=1e-5, atol=1e-5)


def test_what_was_rearranged_and_copied_before_is_sent_as_rows():
    def patches(x, layer):
        cut = x.reshape(-1, 2, 3, 2, 3, 2).permute(0, 2, 4, 3, 5, 1).contiguous()
        return layer(cut.view(-1, 9, 8))

    graph = captured(Function(patches, nn.Linear(8, 4)), SAMPLES, 2, 6, 6)
    assert graph.inputs[0].shape == (SAMPLES * 9, 8)


# --- what is refused -----------------------------------------------------------------------------


def padded(margins, **options):
    """Return a module that puts margins around what a convolution gives."""
    layer = nn.Conv2d(3, 3, 1)
    return Function(lambda x, layer: functional.pad(layer(x), margins, **options), layer)


@pytest.mark.parametrize(
    ("module", "shape", "reason"),
    [
        (padded((1, 1, 1, 1), mode="reflect"), (1, 3, 4, 4), "anything but zeros"),
        (padded((1, 1), value=1.0), (1, 3, 4, 4), "anything but zeros"),
        (padded((1, -1)), (1, 3, 4, 4), "padding is supported of feature maps"),
        (nn.LayerNorm([5, 6]), (1, 4, 5, 6), "all but the samples of feature maps"),
        (
            nn.Sequential(nn.Linear(6, 6), nn.LayerNorm([5, 6])),
            (1, 5, 6),
            "all but the samples of feature maps",
        ),
        (nn.AdaptiveAvgPool2d(2), (1, 4, 5, 6), r"pooling \(5, 6\) pixels to \(2, 2\)"),
        (
            Function(lambda x, layer: layer(layer(x).transpose(0, 1)), nn.Conv2d(2, 2, 2)),
            (2, 2, 5, 5),
            "a transpose",
        ),
        (
            Function(lambda x, layer: layer(layer(x).reshape(4, 2, 4, 2)), nn.Conv2d(2, 2, 2)),
            (2, 2, 5, 5),
            "a transpose",
        ),
        (
            Function(lambda x, a: functional.conv2d(a(x), a(x)), nn.Conv2d(3, 3, 2)),
            (3, 3, 4, 4),
            "its weight is computed by the module",
        ),
    ],
)  # fmt: skip
def test_what_has_no_form_says_why(module, shape, reason):
    with torch.no_grad(), pytest.raises(UnsupportedOperationError, match=reason):
        capture(module.eval(), (torch.randn(shape),), {})


# --- on the wafer --------------------------------------------------------------------------------


class LeNet(nn.Module):
    """What newcomers try first."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 6, 3)
        self.hidden = nn.Linear(6 * 4, 12)
        self.head = nn.Linear(12, 10)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.first(x)), 2)
        x = functional.max_pool2d(functional.relu(self.second(x)), 2)
        return self.head(functional.relu(self.hidden(torch.flatten(x, 1))))


class Block(nn.Module):
    """Two convolutions and a residual connection, as in ResNet."""

    def __init__(self, features, out, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(features, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.short = nn.Sequential()
        if stride > 1 or features != out:
            self.short.append(nn.Conv2d(features, out, 1, stride, bias=False))
            self.short.append(nn.BatchNorm2d(out))

    def forward(self, x):
        return functional.relu(self.body(x) + self.short(x), inplace=True)


class ResNet(nn.Module):
    """A stem, two blocks, a mean over pixels, a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 5, 2, 2, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.blocks = nn.Sequential(Block(4, 4, 1), Block(4, 6, 2))
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = self.pool(functional.relu(self.norm(self.stem(x))))
        return self.head(self.blocks(x).mean((2, 3)))


MODELS = {
    "LeNet": (LeNet, (3, 1, 14, 14)),
    "ResNet": (ResNet, (2, 3, 16, 16)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("build", "shape"), MODELS.values(), ids=MODELS)
@pytest.mark.alternate(4)
def test_models_run_on_the_fabric(build, shape, dtype):
    torch.manual_seed(1)
    model, x = with_random_norms(build()).to(dtype), torch.randn(shape, dtype=dtype)
    session = Session(WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(3, 2)))
    with torch.no_grad():
        expected = model.float()(x.float())
        model.to(dtype)
        with intercept_calls(session):
            result = model(x)
    assert not session.ledger.fallbacks
    (record,) = session.ledger.programs
    assert (record.launches, record.samples) == (shape[0], shape[0])
    expected_cycles = estimate(record.program, session.architecture).cycles
    assert abs(record.activity.cycles / record.launches / expected_cycles - 1) < 0.1
    assert result.dtype is dtype
    tolerance = 1e-5 if dtype is torch.float32 else 2e-2
    scale = expected.abs().max()
    assert (result.float() - expected).abs().max() <= tolerance * scale


def test_small_feature_maps_share_a_launch():
    model, x = nn.Conv1d(3, 4, 3, padding=1).eval(), torch.randn(5, 3, 8)
    session = Session(WaferOptions(fidelity=Fidelity.MODEL, max_batch=17))
    with torch.no_grad(), intercept_calls(session):
        result = model(x)
    (record,) = session.ledger.programs
    assert num_samples(record.program.graph) == 2
    assert (record.launches, record.samples) == (3, 5)
    with torch.no_grad():
        torch.testing.assert_close(result, model(x), rtol=1e-5, atol=1e-5)


def test_another_batch_needs_no_other_program():
    model = LeNet().eval()
    session = Session(WaferOptions(fidelity=Fidelity.MODEL))
    with torch.no_grad(), intercept_calls(session):
        for samples in (1, 2, 3):
            model(torch.randn(samples, 1, 14, 14))
    assert len(session.ledger.programs) == 1
    assert session.ledger.programs[0].launches == 6


def test_statistics_that_change_are_sent_again():
    model = nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4)).eval()
    session = Session(WaferOptions(fidelity=Fidelity.MODEL))
    x = torch.randn(1, 3, 4, 4)
    with torch.no_grad(), intercept_calls(session):
        model(x)
        model[1].running_var.fill_(4.0)
        result = model(x)
    with torch.no_grad():
        torch.testing.assert_close(result, model(x), rtol=1e-5, atol=1e-5)
    assert session.ledger.programs[0].parameters_resent > 0


def test_the_wafer_converts_to_its_own_format():
    model, x = with_random_norms(ResNet()), torch.randn(1, 3, 16, 16)
    session = Session(WaferOptions(fidelity=Fidelity.MODEL, dtype=DataType.F16))
    with torch.no_grad():
        expected = model(x)
        with intercept_calls(session):
            result = model(x)
    assert not session.ledger.fallbacks
    assert (result - expected).abs().max() <= 2e-2 * expected.abs().max()
