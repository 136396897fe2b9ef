"""Samples and tokens that change places, as in PyTorch's own attention of several sequences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import Attention, Evaluator, Linear
from onewafer.pytorch import Fidelity, Session, WaferOptions, capture, run_on

SAMPLES, TOKENS, FEATURES = 3, 4, 8
CAUSAL = nn.Transformer.generate_square_subsequent_mask(TOKENS)
PADDED = torch.zeros(SAMPLES, TOKENS, dtype=torch.bool)
PADDED[1, 2:] = True


class Attending(nn.Module):
    """Attention to itself, as blocks of vision transformers call it; its weights are not read."""

    def __init__(self, *, needs_weights: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(FEATURES, 2, batch_first=True)
        self.needs_weights = needs_weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.attention(x, x, x, need_weights=self.needs_weights)[0]


class Decoding(nn.Module):
    """A layer that attends to another sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(FEATURES, FEATURES)
        self.layer = nn.TransformerDecoderLayer(FEATURES, 2, 12, dropout=0.0, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        read = self.read(x)
        return self.layer(torch.relu(read), read)


class Turning(nn.Module):
    """A layer of rows in another order than those of the argument, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, 6), nn.Linear(3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        turned = torch.relu(self.first(x)).permute(1, 0, 2)
        return self.second(turned[..., 2:5]).transpose(0, 1)


def encoder(*, norm_first: bool = False) -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        FEATURES, 2, 12, dropout=0.0, batch_first=True, norm_first=norm_first
    )
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


MODULES = {
    "attention": (lambda: Attending(needs_weights=False), {}),
    "attention_with_weights": (lambda: Attending(needs_weights=True), {}),
    "encoder": (encoder, {}),
    "encoder_norm_first": (lambda: encoder(norm_first=True), {}),
    "encoder_padded": (encoder, {"src_key_padding_mask": PADDED}),
    "encoder_causal": (encoder, {"mask": CAUSAL, "is_causal": True}),
    "decoder": (Decoding, {}),
    "turned": (Turning, {}),
}


def build(name: str) -> tuple[nn.Module, torch.Tensor, dict[str, object]]:
    """Return a module that trains, so without PyTorch's fast path, and its arguments."""
    make, kwargs = MODULES[name]
    torch.manual_seed(0)
    return make(), torch.randn(SAMPLES, TOKENS, FEATURES), kwargs


@pytest.mark.parametrize("name", MODULES)
def test_the_graph_computes_what_pytorch_does(name):
    module, x, kwargs = build(name)
    with torch.no_grad():
        call = capture(module, (x,), kwargs)
        expected = module.double()(x.double(), **kwargs)
    parts = []
    for part in call.split():
        parameters = {n: tensor.detach().double().numpy() for n, tensor in part.parameters.items()}
        inputs = {n: tensor.numpy() for n, tensor in part.inputs.items()}
        parts.append(Evaluator(part.graph, parameters).run(inputs))
    found = call.restore({n: np.concatenate([part[n] for part in parts]) for n in parts[0]})
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    kinds = [type(operation) for operation in call.graph.operations]
    assert Linear in kinds
    assert (Attention in kinds) is (name != "turned")
    assert len(call.inputs) == 1  # one order is sent, not each that the module looks at


def test_rows_that_begin_in_another_order_are_refused_with_a_remedy():
    layer = nn.TransformerEncoderLayer(FEATURES, 2, 12, dropout=0.0)
    with pytest.raises(UnsupportedOperationError, match="batch_first=True"), torch.no_grad():
        capture(layer, (torch.randn(TOKENS, SAMPLES, FEATURES),), {})


def train(name: str, options: WaferOptions | None):
    """Return losses and parameters of some steps, and the report."""
    module, x, kwargs = build(name)
    session = Session(options or WaferOptions())
    with run_on(session) if options else torch.enable_grad():
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        seen = []
        for _ in range(2):
            optimizer.zero_grad()
            loss = module(x, **kwargs).square().mean()
            loss.backward()
            optimizer.step()
            seen.append(loss.detach())
    return [*seen, *(parameter.detach() for parameter in module.parameters())], session


@pytest.mark.parametrize(
    "name",
    [n if n == "encoder_padded" else pytest.param(n, marks=pytest.mark.slow) for n in MODULES],
)
@pytest.mark.slow
def test_they_train_on_the_fabric(name):
    plain, _ = train(name, None)
    found, session = train(name, WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(2, 2)))
    for one, other in zip(plain, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=2e-6)
    report = session.report(is_over=True)
    assert report.flop.share == 1
    assert not report.host
