"""What a module call becomes as a graph, and what is refused with which reason."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import Add, AddBias, DataType, Linear, Relu
from onewafer.pytorch import capture


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6, bias=False)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x):
        hidden = self.activation(self.first(x))
        return hidden + self.second(hidden)


def kinds(graph):
    return [type(operation) for operation in graph.operations]


def captured(module, *args, **kwargs):
    with torch.no_grad():
        return capture(module.eval(), args, kwargs)


def test_tensors_have_the_names_and_lines_of_the_script():
    graph = captured(Residual(), torch.zeros(2, 6)).graph
    lines = Path(__file__).read_text().splitlines()
    known = graph.script_names

    assert {known[tensor.name].name for tensor in graph.parameters} == {
        *("first.weight", "first.bias", "second.weight")
    }
    for operation in graph.operations:
        file, _, number = known[operation.result.name].source.rpartition(":")
        assert file == __file__
        expected = "self.second" if isinstance(operation, Add) else "self."
        assert expected in lines[int(number) - 1]
    outside = captured(nn.Sequential(nn.Linear(6, 6)), torch.zeros(2, 6)).graph
    _, _, number = outside.script_names[outside.operations[0].result.name].source.rpartition(":")
    assert "capture(module.eval()" in lines[int(number) - 1]


def test_mlp_becomes_linear_bias_relu():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 3))
    call = captured(model, torch.zeros(4, 3, 2, 2))
    assert kinds(call.graph) == [Linear, AddBias, Relu, Linear, AddBias]
    (source,) = call.graph.inputs
    assert source.shape == (4, 12)
    assert {t.shape for t in call.graph.parameters} == {(5, 12), (5,), (3, 5), (3,)}
    assert all(t.dtype is DataType.F32 for t in call.graph.tensors)


def test_residual_and_in_place_relu():
    call = captured(Residual(), torch.zeros(2, 6))
    assert kinds(call.graph) == [Linear, AddBias, Relu, Linear, Add]
    relu = call.graph.operations[2].result.name
    assert call.graph.operations[4].left == relu


def test_parameters_are_the_tensors_of_the_module():
    model = nn.Linear(3, 2)
    call = captured(model, torch.zeros(1, 3))
    pointers = {tensor.data_ptr() for tensor in call.parameters.values()}
    assert pointers == {model.weight.data_ptr(), model.bias.data_ptr()}


@pytest.mark.parametrize("shape", [(7,), (2, 7), (2, 3, 7)])
def test_leading_dimensions_are_rows_and_come_back(shape):
    call = captured(nn.Linear(7, 4), torch.zeros(shape))
    rows = int(np.prod(shape[:-1]))
    assert call.rows == rows
    name = call.graph.outputs[0]
    result = call.restore({name: np.ones((rows, 4), np.float32)})
    assert result.shape == (*shape[:-1], 4)


def test_structures_constants_and_keywords_come_back():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, batch, *, scale=None):
            return {"y": self.layer(batch["x"]).unsqueeze(1), "n": 5, "x": batch["x"], "s": scale}

    x = torch.zeros(4, 3)
    call = captured(Model(), {"x": x}, scale="none")
    result = call.restore({call.graph.outputs[0]: np.ones((4, 2), np.float16)})
    assert set(result) == {"y", "n", "x", "s"}
    assert result["y"].shape == (4, 1, 2)
    assert result["y"].dtype is torch.float32
    assert (result["n"], result["s"]) == (5, "none")
    assert result["x"] is x


def test_functional_linear_with_a_buffer_and_a_bias_added_by_hand():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weight", torch.ones(2, 3))
            self.shift = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return self.shift + nn.functional.linear(x, self.weight)

    assert kinds(captured(Model(), torch.zeros(4, 3)).graph) == [Linear, AddBias]


def test_dtype_of_the_wafer_can_be_chosen():
    with torch.no_grad():
        call = capture(nn.Linear(3, 2), (torch.zeros(1, 3),), {}, dtype=DataType.F16)
    assert {t.dtype for t in call.graph.tensors} == {DataType.F16}


def test_views_that_keep_the_rows_and_conversions_to_the_same_format_cost_nothing():
    def forward(layer, x):
        return layer(layer(x.float()).view(-1, 2).view(2, 2, 4).contiguous().relu())

    call = captured(Function(forward), torch.zeros(4, 4))
    assert kinds(call.graph) == [Linear, AddBias, Relu, Linear, AddBias]


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.function = function

    def forward(self, x):
        return self.function(self.layer, x)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros(4))

    def forward(self, x):
        self.count += 1
        return self.layer(x)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (
            lambda f, x: torch.sin(f(x)),
            r"test_capture.py:\d+: `return self.func.*`: `sin` is not supported",
        ),
        (lambda f, x: f(x) + f(x)[:1], r"`add`: broadcasting \(1, 4\) to \(4, 4\)"),
        (lambda f, x: f(x) + x.sum(), "`sum` is not supported"),
        (lambda f, x: f(x) + 1.5, "`add`: adding the number 1.5 to a computed"),
        (lambda f, x: torch.add(f(x), x, alpha=2), "alpha other than 1"),
        (lambda f, x: nn.functional.linear(f(x), f(x)), "a weight that the module computes"),
        (lambda f, x: f(f(x).reshape(8, 2).t().reshape(4, 4)), "a transpose"),
        (lambda _, x: x.view(-1), "returns a view or copy of its argument"),
        (lambda _, x: x, "nothing in it is for the wafer"),
        (lambda f, x: x.relu_() if f(x) is None else f(x.relu_()), "writes its argument 'x'"),
        (
            lambda f, x: f(x) if x.sum() > 0 else x,
            "cannot capture the module: its code branches on the value of a tensor",
        ),
        (lambda f, x: f(x.half()), "converting torch.float32 to torch.float16"),
    ],
)
def test_refusals_name_the_operation_and_the_reason(function, reason):
    x = torch.ones(4, 4)
    with pytest.raises(UnsupportedOperationError, match=reason):
        captured(Function(function), x)


@pytest.mark.parametrize(
    "dropout", [nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout]
)
@pytest.mark.parametrize("inplace", [False, True])
def test_dropout_of_every_kind_is_nothing_in_eval_mode(dropout, inplace):
    model = nn.Sequential(nn.Conv2d(2, 3, 1), dropout(0.5, inplace=inplace), nn.ReLU())
    assert kinds(captured(model, torch.ones(1, 2, 4, 4)).graph) == kinds(
        captured(nn.Sequential(model[0], model[2]), torch.ones(1, 2, 4, 4)).graph
    )


def test_branches_on_values_are_refused_without_a_log_and_without_generated_lines(caplog):
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 4, batch_first=True), 1)
    generated = {}
    exec("def absolute(x):\n    return x if x.sum() > 0 else -x", generated)  # noqa: S102  # like torch.fx
    with pytest.raises(UnsupportedOperationError, match="branches on the value") as of_pytorch:
        captured(encoder, torch.ones(2, 4, 4), torch.ones(4, 4))
    with pytest.raises(UnsupportedOperationError, match="branches on the value") as of_generated:
        captured(Function(lambda f, x: f(generated["absolute"](x))), torch.ones(4, 4))
    assert "<string>" not in f"{of_pytorch.value} {of_generated.value}"
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        (torch.zeros(2, 4, dtype=torch.float64), "an argument has dtype torch.float64"),
        (torch.zeros(2, 4, dtype=torch.int64), "has dtype torch.int64; the wafer computes in"),
        (torch.zeros(0, 4), r"an argument is empty: shape \(0, 4\)"),
        (torch.zeros(2, 4).to_sparse(), "the wafer takes plain tensors"),
    ],
)
def test_arguments_that_no_wafer_takes(argument, reason):
    with pytest.raises(UnsupportedOperationError, match=reason):
        captured(nn.Linear(4, 4), argument)


def test_buffer_updates_hooks_and_training_dropout_are_refused():
    x = torch.zeros(4, 4)
    with pytest.raises(UnsupportedOperationError, match="writes its buffer 'count'"):
        captured(Counting(), x)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model[1].register_forward_hook(lambda *_: None)
    with pytest.raises(UnsupportedOperationError, match="module '1' has forward hooks"):
        captured(model, x)
    dropout = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    with torch.no_grad(), pytest.raises(UnsupportedOperationError, match=r"call model\.eval"):
        capture(dropout, (x,), {})


def test_two_inputs_with_different_batches_are_refused():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, a, b):
            return self.layer(a), self.layer(b)

    with pytest.raises(UnsupportedOperationError, match="different numbers of rows: 2 and 3"):
        captured(Two(), torch.zeros(2, 4), torch.zeros(3, 4))


def test_surroundings_that_must_see_every_operation_are_refused():
    model, x = nn.Linear(4, 4).requires_grad_(requires_grad=False), torch.zeros(4, 4)
    with torch.autocast("cpu"), pytest.raises(UnsupportedOperationError, match="autocast"):
        captured(model, x)
    with FlopCounterMode(display=False), pytest.raises(UnsupportedOperationError, match="Flop"):
        captured(model, x)

    def transformed(x):
        with pytest.raises(UnsupportedOperationError, match=r"torch\.func transform"):
            captured(model, x)
        return x

    torch.vmap(transformed)(x)


@pytest.mark.parametrize("register", ["forward_pre_hook", "forward_hook"])
def test_global_hooks_are_refused(register):
    hook = getattr(nn.modules.module, f"register_module_{register}")(lambda *_: None)
    try:
        with pytest.raises(UnsupportedOperationError, match="global forward hooks"):
            captured(nn.Linear(4, 4), torch.zeros(2, 4))
    finally:
        hook.remove()


def test_two_number_formats_are_refused_unless_one_is_chosen():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4).half()
            self.shift = nn.Parameter(torch.ones(4))

        def forward(self, x):
            return self.layer(x) + self.shift

    x = torch.zeros(2, 4).half()
    reason = r"is torch.float16 and 'p_shift' is torch.float32; choose one format with --dtype"
    with pytest.raises(UnsupportedOperationError, match=reason):
        captured(Shifted(), x)
    with torch.no_grad():
        chosen = capture(Shifted(), (x,), {}, dtype=DataType.F32)
    assert {t.dtype for t in chosen.graph.tensors} == {DataType.F32}


def test_result_that_comes_twice_is_one_tensor():
    class Twice(nn.Module):
        def forward(self, x):
            y = nn.functional.relu(x)
            return y, {"again": y}

    call = captured(Twice(), torch.zeros(2, 3))
    first, second = call.restore({call.graph.outputs[0]: np.ones((2, 3), np.float32)})
    assert second["again"] is first


@pytest.mark.parametrize("other", [torch.clone, torch.detach, lambda y: y.view(6)])
def test_views_and_copies_of_one_result_are_left_to_the_host(other):
    class Both(nn.Module):
        def forward(self, x):
            y = nn.functional.relu(x)
            return y, other(y)

    with pytest.raises(UnsupportedOperationError, match="view or copy of another of its results"):
        captured(Both(), torch.zeros(2, 3))


def test_layer_without_features_is_left_to_the_host():
    with pytest.warns(UserWarning, match="zero-element"):
        layer = nn.Linear(4, 0)
    with pytest.raises(UnsupportedOperationError, match=r"'p_weight' is empty.*\(0, 4\)"):
        captured(layer, torch.zeros(2, 4))
