"""FLOP are counted as PyTorch's own counter does, which sees one thread and slows down all."""

import os
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode, flop_registry, register_flop_formula

from onewafer.pytorch import capture
from onewafer.pytorch.flop import counting_flop, go_on, pause
from tests.pytorch.lowering.models import build

IMAGES, ROWS, TOKENS = torch.ones(2, 3, 8, 8), torch.ones(5, 6), torch.ones(2, 7, 16)


def backward(result):
    result.sum().backward()


COMPUTATIONS = {
    "linear": lambda: nn.Linear(6, 4)(ROWS),
    "a vector": lambda: nn.Linear(6, 4)(ROWS[0]),
    "training": lambda: backward(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))(ROWS)),
    "convolution": lambda: backward(nn.Conv2d(3, 4, 3, padding=1)(IMAGES)),
    "groups": lambda: backward(nn.Conv2d(3, 6, 3, groups=3)(IMAGES)),
    "transposed": lambda: backward(nn.ConvTranspose2d(3, 4, 3)(IMAGES)),
    "encoder": lambda: backward(nn.TransformerEncoderLayer(16, 2, 32)(TOKENS)),  # dropout: products
    "einsum": lambda: torch.einsum("bij,bkj->bik", TOKENS, TOKENS),
    "out": lambda: torch.mm(ROWS, ROWS.T, out=torch.empty(5, 5)),
    "vmap": lambda: torch.vmap(lambda row: ROWS @ row)(ROWS),
    "bfloat16": lambda: nn.Linear(6, 4).bfloat16()(ROWS.bfloat16()),
    "nothing": lambda: (ROWS * 2 + 1).relu().sum(),
}


def count(compute):
    found = []
    with counting_flop(found.append):
        compute()
    return sum(found)


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_the_count_is_that_of_pytorch_s_counter(name):
    with FlopCounterMode(display=False) as expected:
        COMPUTATIONS[name]()
    assert count(COMPUTATIONS[name]) == expected.get_total_flops()
    assert (expected.get_total_flops() > 0) == (name != "nothing")


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients_change_nothing(mode):
    with mode():
        assert count(COMPUTATIONS["linear"]) == 2 * 5 * 6 * 4


def test_attention_counts_alike_whatever_kernel_computes_it():
    query = torch.ones(1, 2, 7, 8)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        by_products = count(lambda: functional.scaled_dot_product_attention(query, query, query))
    fused = count(lambda: functional.scaled_dot_product_attention(query, query, query))
    assert by_products == fused == 2 * 2 * 7 * 7 * (8 + 8)


def test_other_threads_count_and_forked_processes_do_not():
    def compute():
        thread = threading.Thread(target=lambda: ROWS @ ROWS.T)
        thread.start()
        thread.join()
        child = os.fork()
        if child == 0:
            ROWS @ ROWS.T
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

    assert count(compute) == 2 * 5 * 5 * 6


def test_tracing_computes_nothing():
    model = nn.Linear(6, 4)
    assert count(lambda: capture(model, (ROWS,), {})) == 0
    assert count(lambda: nn.Linear(6, 4, device="meta")(ROWS.to("meta"))) == 0


def test_the_innermost_block_counts_and_afterwards_none():
    outer, inner = [], []
    with counting_flop(outer.append):
        with counting_flop(inner.append):
            ROWS @ ROWS.T
        ROWS @ ROWS.T
    ROWS @ ROWS.T
    assert outer == inner == [2 * 5 * 5 * 6]


def test_errors_are_those_of_pytorch():
    def fail():
        ROWS @ ROWS

    with pytest.raises(RuntimeError) as expected:
        fail()
    with pytest.raises(RuntimeError) as found:
        count(fail)
    assert str(found.value) == str(expected.value)


class LowRank(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(6, 2)), nn.Parameter(torch.ones(2, 4))

    def forward(self, x):
        return x @ (self.a @ self.b)


CALLS = {
    "linear": (nn.Linear(6, 4), ROWS),
    "groups": (nn.Conv2d(3, 6, 3, groups=3), IMAGES),
    "dense groups": (nn.Conv2d(4, 6, 3, groups=2), torch.ones(2, 4, 8, 8)),
    "product of parameters": (LowRank(), ROWS),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_captured_call_counts_as_on_the_host(name):
    module, argument = CALLS[name]
    with torch.no_grad():
        expected = count(lambda: module(argument))
    assert capture(module, (argument,), {}).capture.flop == expected > 0


def test_captured_attention_counts_as_on_the_host():
    model = build("vit")
    argument = torch.ones(2, 3, 24, 24)
    with torch.no_grad():
        expected = count(lambda: model(argument))
    assert capture(model, (argument,), {}).capture.flop == expected


@pytest.mark.parametrize("is_dense", [False, True])
def test_a_pause_counts_nothing_and_leaves_nothing_behind(is_dense):
    """Tensors are made on the CPU meanwhile, and on any device afterwards."""
    found = []
    with counting_flop(found.append):
        before = pause(is_dense=is_dense)
        inner = pause(is_dense=is_dense)
        made = torch.arange(6.0).reshape(6, 1).requires_grad_()
        (ROWS @ made).sum().backward()
        go_on(inner)
        _ = ROWS @ made
        go_on(before)
        assert not found
        assert made.device.type == "cpu"
        assert torch.zeros(3, device="meta").is_meta
        _ = ROWS @ made
        assert sum(found) == 2 * 5 * 6


@pytest.mark.parametrize("layers", [1, 2])
def test_recurrent_layers_count(layers):
    lstm, found = torch.nn.LSTM(8, 16, num_layers=layers), []
    weights = sum(p.numel() for name, p in lstm.named_parameters() if "weight" in name)
    with counting_flop(found.append):
        result, _ = lstm(torch.randn(5, 3, 8))
        assert sum(found) == 2 * 5 * 3 * weights
        result.sum().backward()
    assert sum(found) == 3 * 2 * 5 * 3 * weights


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", ["to_sparse_coo", "to_sparse_csr"])
def test_sparse_products_count_their_non_zeros(layout):
    left, right, found = getattr(torch.eye(50), layout)(), torch.ones(50, 4), []
    with counting_flop(found.append):
        _ = left @ right
        assert sum(found) == 2 * 50 * 4
        _ = torch.addmm(torch.zeros(50, 4), left, right)
    assert sum(found) == 2 * 2 * 50 * 4


def test_products_of_small_integers_count():
    found = []
    with counting_flop(found.append):
        torch._int_mm(torch.ones(32, 16, dtype=torch.int8), torch.ones(16, 8, dtype=torch.int8))
    assert sum(found) == 2 * 32 * 16 * 8


@torch.library.custom_op("onewafer_test_flop::opaque", mutates_args=())
def opaque(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(x.numpy(force=True) @ y.numpy(force=True))


@torch.library.custom_op("onewafer_test_flop::open", mutates_args=())
def of_products(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x @ y


@torch.library.custom_op("onewafer_test_flop::nested", mutates_args=())
def nested(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return opaque(x, y)


def named(compute):
    flop, names = [], []
    with counting_flop(flop.append, names.append):
        compute()
    return sum(flop), names


def test_operations_of_other_libraries_are_named_unless_their_products_are_counted():
    assert named(lambda: opaque(ROWS, ROWS.T)) == (0, ["onewafer_test_flop::opaque"])
    assert named(lambda: of_products(ROWS, ROWS.T)) == (2 * 5 * 5 * 6, [])
    assert named(lambda: nested(ROWS, ROWS.T)) == (0, ["onewafer_test_flop::opaque"])


def test_operations_that_come_while_it_counts_are_named():
    def compute():
        for factor in (2, 3):  # a notebook's cell that is run again

            @torch.library.custom_op("onewafer_test_flop::later", mutates_args=())
            def later(x: torch.Tensor) -> torch.Tensor:
                return torch.from_numpy(x.numpy() * factor)  # noqa: B023

            assert (later(ROWS) == factor).all()

    assert named(compute) == (0, ["onewafer_test_flop::later"] * 2)
    assert (torch.ops.onewafer_test_flop.later(ROWS) == 3).all()


@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning", "ignore:.*quantiz:DeprecationWarning")
def test_quantised_products_are_named():
    linear = torch.ao.nn.quantized.dynamic.Linear(6, 4)
    assert named(lambda: linear(ROWS)) == (0, ["quantized::linear_dynamic"])


def test_a_formula_of_the_user_s_own_counts():
    operation = torch.ops.onewafer_test_flop.opaque

    @register_flop_formula(operation)
    def count(*_args, **_options):
        return 7

    try:
        assert named(lambda: opaque(ROWS, ROWS.T)) == (7, [])
    finally:
        del flop_registry[operation]
