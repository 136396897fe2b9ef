"""Training loops that clip gradients in many ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import clip_grad

if TYPE_CHECKING:
    from collections.abc import Callable

    Clip = Callable[[nn.Module], torch.Tensor | None]


class Summed(nn.Module):
    """A layer whose weight is a sum of two parameters, and one as usual."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.more = (nn.Parameter(torch.randn(5, 6) / 6) for _ in range(2))
        self.last = nn.Linear(5, 4)

    def forward(self, x):
        return self.last(functional.linear(x, self.weight + self.more).sigmoid())


def two_modules() -> nn.Module:
    return nn.ModuleList([nn.Linear(6, 5), nn.Sequential(nn.Sigmoid(), nn.Linear(5, 4))])


def loop(
    clip: Clip, *, accumulate: int = 1, make: Callable[[], nn.Module] = two_modules
) -> Callable[[], list[torch.Tensor]]:
    """Return a loop that clips the gradients of modules before a step."""

    def run() -> list[torch.Tensor]:
        model = make()
        optimizer, seen = torch.optim.AdamW(model.parameters(), lr=0.01), list[torch.Tensor]()
        for index in range(3):
            for _ in range(accumulate):
                x, y = torch.randn(5, 6), torch.randint(4, (5,))
                rows = model[1](model[0](x)) if isinstance(model, nn.ModuleList) else model(x)
                loss = functional.cross_entropy(rows, y)
                loss.backward()
            seen.append(loss.detach())
            norm = clip(model)
            seen += [] if norm is None else [norm]
            seen += [parameter.grad.clone() for parameter in model.parameters()]
            optimizer.step()
            optimizer.zero_grad(set_to_none=index == 0)
        return [*seen, *(parameter.detach().clone() for parameter in model.parameters())]

    return run


def some_only(model: nn.Module) -> torch.Tensor:
    return nn.utils.clip_grad_norm_([model[0].weight, model[1][1].bias], 0.1)


def refused_as_infinite(model: nn.Module) -> torch.Tensor:
    """Return what is wrong with gradients that are no numbers, which stay as they are."""
    whole = model[0].bias.grad.clone()
    model[0].bias.grad[0] = torch.nan
    with pytest.raises(RuntimeError, match="non-finite"):
        nn.utils.clip_grad_norm_(model.parameters(), 0.1, error_if_nonfinite=True)
    model[0].bias.grad = whole
    return nn.utils.clip_grad_norm_(parameters=model.parameters(), max_norm=0.1)


def clipped_in_two_calls(model: nn.Module) -> torch.Tensor:
    """Return the norm that a library takes first, and clips by then."""
    norm = nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()])
    nn.utils.clip_grads_with_norm_(model.parameters(), 0.1, norm)
    return norm


CLIPPING_LOOPS = {
    "clipped_in_two_calls": loop(clipped_in_two_calls),
    "norm_clipped": loop(lambda model: nn.utils.clip_grad_norm_(model.parameters(), 0.1)),
    "norm_below": loop(lambda model: clip_grad.clip_grad_norm_(model.parameters(), 1e3)),
    "value_clipped": loop(
        lambda model: nn.utils.clip_grad_value_(model.parameters(), 0.02), accumulate=2
    ),
    "one_clipped": loop(lambda model: nn.utils.clip_grad_norm_(model[0].weight, 0.1)),
    "some_clipped": loop(some_only),
    "largest_clipped": loop(
        lambda model: nn.utils.clip_grad_norm_([*model.parameters()], 0.05, norm_type=float("inf"))
    ),
    "sum_clipped": loop(
        lambda model: nn.utils.clip_grad_norm_(model.parameters(), 0.1), make=Summed
    ),
    "no_number_clipped": loop(refused_as_infinite),
}
