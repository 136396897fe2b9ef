"""PyTorch's fused path through attention is off on the wafer, and the script does not notice."""

import io

import pytest
import torch
from torch import nn
from torch.backends import mha

from onewafer.pytorch import Fidelity, Session, WaferOptions, backend, render, run_on
from onewafer.pytorch.fused_paths import IS_OFF
from onewafer.terminal import PlainConsole

GELU = nn.functional.gelu


def session():
    return Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(2, 1), simulate_budget=0))


def encoder(*, batch_first=True, norm_first=False, nested=True, activation=GELU):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        8, 2, 12, batch_first=batch_first, norm_first=norm_first, activation=activation
    )
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested).eval()


PADDING = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
FLOAT_PADDING = torch.zeros(2, 5).masked_fill(PADDING, -torch.inf)
CAUSAL = nn.Transformer.generate_square_subsequent_mask(5)
MASKS = {
    "none": {},
    "padding": {"src_key_padding_mask": PADDING},
    "float padding": {"src_key_padding_mask": FLOAT_PADDING},
    "causal": {"mask": CAUSAL, "is_causal": True},
    "both": {"mask": CAUSAL, "src_key_padding_mask": FLOAT_PADDING},
}
"""By kind."""
REFUSED = ("float padding", "both")
"""Masks that the wafer does not take; parts of the layers are there nevertheless."""


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.alternate(3)
@pytest.mark.filterwarnings(
    "ignore:enable_nested_tensor is True", "ignore:The PyTorch API of nested"
)
def test_an_evaluation_of_a_stock_encoder_is_on_the_wafer(masks, norm_first):
    net, x, here = encoder(norm_first=norm_first), torch.randn(2, 5, 8), session()
    with torch.no_grad():
        fused = net(x, **MASKS[masks])
        with run_on(here):
            found = net(x, **MASKS[masks])
    report = here.report(is_over=True)
    assert (report.flop.share == 1) is (masks not in REFUSED)
    assert bool(report.host) is (masks in REFUSED)
    rows = ~PADDING if "src_key_padding_mask" in MASKS[masks] else torch.ones_like(PADDING)
    torch.testing.assert_close(found[rows], fused[rows])
    assert report.notes == (IS_OFF,)
    shown = io.StringIO()
    PlainConsole(file=shown, width=500).print(render(report))
    assert shown.getvalue().count(IS_OFF) == 1


@pytest.mark.parametrize(("batch_first", "nested"), [(False, True), (False, False), (True, False)])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.alternate(3)
def test_encoders_that_have_no_fused_path_are_as_they_were(batch_first, nested):
    net, x, here = encoder(batch_first=batch_first, nested=nested), torch.randn(2, 2, 8), session()
    with torch.no_grad():
        expected = net(x)
        with run_on(here):
            torch.testing.assert_close(net(x), expected)
    assert bool(here.report().notes) is batch_first, "layers have one without nested tensors, too"


def test_attention_alone_is_on_the_wafer():
    torch.manual_seed(0)
    net, x, here = (
        nn.MultiheadAttention(8, 2, batch_first=True).eval(),
        torch.randn(2, 5, 8),
        session(),
    )
    with torch.no_grad():
        expected, _ = net(x, x, x, need_weights=False)
        with run_on(here):
            torch.testing.assert_close(net(x, x, x, need_weights=False)[0], expected)
    assert here.report(is_over=True).flop.share == 1


class AroundSine(nn.Module):
    """A module that the wafer refuses, around an encoder."""

    def __init__(self):
        super().__init__()
        self.encoder = encoder()

    def forward(self, x, padding):
        return self.encoder(torch.sin(x), src_key_padding_mask=padding)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested")
def test_the_encoder_of_a_refused_module_is_a_part_on_the_wafer():
    net, x, here = AroundSine().eval(), torch.randn(2, 5, 8), session()
    with torch.no_grad():
        expected = net(x, PADDING)
        with run_on(here):
            found = net(x, PADDING)
    torch.testing.assert_close(found[~PADDING], expected[~PADDING])
    report = here.report(is_over=True)
    assert report.flop.share == 1
    assert [(calls.module, calls.whole) for calls in report.inner_calls] == [
        ("TransformerEncoder", "AroundSine")
    ]


def test_a_script_sees_what_it_has_set_itself():
    before = mha.get_fastpath_enabled
    try:
        with run_on(session()):
            assert mha.get_fastpath_enabled()
            mha.set_fastpath_enabled(False)
            assert not mha.get_fastpath_enabled()
        assert mha.get_fastpath_enabled is before
        assert not mha.get_fastpath_enabled()
        with run_on(here := session()), torch.no_grad():
            encoder()(torch.randn(2, 5, 8))
            mha.set_fastpath_enabled(True)
        assert mha.get_fastpath_enabled()
        assert here.report().notes == (), "the script itself had turned it off"
    finally:
        mha.set_fastpath_enabled(True)


@pytest.mark.filterwarnings(
    "ignore:The PyTorch API of nested", "ignore:enable_nested_tensor is True"
)
def test_nested_tensors_of_the_script_go_the_way_that_they_have():
    net = encoder()
    with torch.no_grad():
        x = torch.nested.nested_tensor([torch.randn(3, 8), torch.randn(5, 8)])
        expected = net(x)
        with run_on(here := session()):
            found = net(x)
    for one, other in zip(found.unbind(), expected.unbind(), strict=True):
        assert torch.equal(one, other)
    (cause,) = here.report(is_over=True).host
    assert "nested Tensor" in cause.reason


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The PyTorch API of nested")
def test_torchscript_reads_the_query_that_pytorch_has():
    net, x = encoder().layers[0], torch.randn(2, 5, 8)
    with torch.no_grad(), run_on(session()):
        scripted = torch.jit.script(net)
        torch.testing.assert_close(scripted(x), net(x))


def test_what_is_compiled_for_the_wafer_outside_of_blocks_has_no_fused_path_either(monkeypatch):
    registry = backend._Registry()
    monkeypatch.setattr(backend, "_REGISTRY", registry)
    monkeypatch.setattr(backend.atexit, "register", lambda _: None)
    net, x = encoder(), torch.randn(2, 5, 8)
    options = {"fidelity": "model", "rectangle": "2x1"}
    with torch.no_grad(), registry._counting:
        expected = net(x)
        compiled = torch.compile(net, backend="onewafer", options=options)
        for _ in range(2):
            torch.testing.assert_close(compiled(x), expected)
        report = registry._own.report()
        assert mha.get_fastpath_enabled()
    assert (report.wafer_calls, report.notes, report.host) == (2, (IS_OFF,), ())
