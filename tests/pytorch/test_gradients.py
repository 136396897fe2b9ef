"""Gradients of captured models: the graph's, in float64, against those of PyTorch's autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils import _pytree as pytree

from onewafer.graph import derive_gradients, evaluate_graph, verify_graph
from onewafer.pytorch import capture
from tests.pytorch.lowering.models import build
from tests.pytorch.lowering.test_feature_maps import LeNet, ResNet, with_random_norms

EXACT, OF_TABLES = 1e-12, 1e-6
"""Relative errors: of float64, and of models with constants (angles, folded norms) of float32."""


class Character(nn.Module):
    """A character model in the style of makemore: a plain transformer without dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(11, 12), nn.Embedding(8, 12)
        self.norms = nn.ModuleList(nn.LayerNorm(12) for _ in range(3))
        self.heads, self.joined = nn.Linear(12, 36), nn.Linear(12, 12)
        self.wide, self.narrow = nn.Linear(12, 24), nn.Linear(24, 12)
        self.head = nn.Linear(12, 11, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        batch, rows = ids.shape
        x = self.tokens(ids) + self.places(torch.arange(rows))
        split = self.heads(self.norms[0](x)).split(12, dim=2)
        q, k, v = (part.view(batch, rows, 3, 4).transpose(1, 2) for part in split)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.joined(mixed.transpose(1, 2).reshape(batch, rows, 12))
        hidden = functional.gelu(self.wide(self.norms[1](x)), approximate="tanh")
        return self.head(self.norms[2](x + self.narrow(hidden)))


def language_model(family: str) -> nn.Module:
    model = build(family)
    model.config.use_cache = False
    return model


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def ids(rows: int) -> torch.Tensor:
    return torch.randint(0, 11, (1, rows), generator=torch.Generator().manual_seed(3))


def rows(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


MODELS = {
    "perceptron": (perceptron, rows(4, 8), EXACT),
    "character": (Character, ids(6), EXACT),
    "gpt2": (lambda: language_model("gpt2"), ids(5), OF_TABLES),
    "llama": (lambda: language_model("llama"), ids(5), OF_TABLES),
    "lenet": (LeNet, rows(2, 1, 12, 12), EXACT),
    "resnet": (lambda: with_random_norms(ResNet()), rows(2, 3, 8, 8), OF_TABLES),
}


def logits(result: object) -> torch.Tensor:
    return result if isinstance(result, torch.Tensor) else result.logits


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def gradients_of_graph(call, seed):
    """Return the graph's gradients of the tensors that it calls parameters, for a tensor `seed`."""
    result = next(each for each in call.results if hasattr(each, "layout"))
    shape = call.graph.tensor(result.name).shape
    flat = np.zeros(np.prod(shape))
    flat[result.layout.take(np.arange(flat.size).reshape(shape))] = array(seed)
    wanted = [name for name, tensor in call.parameters.items() if tensor.requires_grad]
    derived = derive_gradients(call.graph, wanted, outputs=[result.name])
    verify_graph(derived.graph, seeds=derived.seeds.values())
    values = {name: array(tensor) for name, tensor in {**call.inputs, **call.parameters}.items()}
    values[derived.seeds[result.name]] = flat.reshape(shape)
    found = evaluate_graph(derived.graph, values, values)
    return {name: found[gradient] for name, gradient in derived.by_name.items()}


@pytest.mark.alternate
@pytest.mark.parametrize(("build_model", "x", "error"), MODELS.values(), ids=MODELS)
def test_gradients_of_models_are_pytorchs(build_model, x, error):
    """PyTorch carries the gradients of the graph's parameters on to those of the module."""
    torch.manual_seed(0)
    model = build_model().eval()
    with torch.no_grad():
        captured = capture(model, (x,), {})
    model.double()
    x = x.double() if x.is_floating_point() else x
    result = logits(model(x))
    seed = torch.randn(result.shape, generator=torch.Generator().manual_seed(5)).double()
    result.backward(seed)
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    call = captured.capture.bind(pytree.tree_leaves(((x,), {})))
    gradients = gradients_of_graph(call, seed)
    tensors = [call.parameters[name] for name in gradients]
    torch.autograd.backward(
        tensors,
        [torch.from_numpy(g).to(t.dtype) for g, t in zip(gradients.values(), tensors, strict=True)],
    )
    assert expected
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, parameter in model.named_parameters():
        if name in expected:
            scale = expected[name].abs().max() + 1e-6 * largest
            assert parameter.grad is not None, name
            assert (parameter.grad - expected[name]).abs().max() <= error * scale, name
