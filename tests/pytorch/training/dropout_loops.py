"""Training loops with dropout: what they draw, and what they draw afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable


class OnAView(nn.Module):
    """Dropout of the argument, and of a tensor whose elements lie in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.dropout(x, 0.25, training=self.training)
        hidden = self.first(x).tanh()
        functional.dropout(hidden, 0.5)  # drawn, and of no use
        turned = hidden.view(-1, 4, 2).transpose(1, 2)
        dropped = nn.functional.dropout(turned, 0.5).transpose(1, 2).reshape(-1, 8)
        return self.second(dropped)


def perceptron(share: float = 0.3, *, in_place: bool = False) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 9),
        nn.ReLU(),
        nn.Dropout(share),
        nn.Linear(9, 4),
        nn.Dropout(share, inplace=in_place),
    )


def loop(
    make: Callable[[], nn.Module], *, retains: bool = False, evaluates: bool = False
) -> Callable[[], list[torch.Tensor]]:
    """Return a loop whose batches are drawn in each step."""

    def run() -> list[torch.Tensor]:
        model = make()
        optimizer, seen = torch.optim.SGD(model.parameters(), 0.1), list[torch.Tensor]()
        for rows in (5, 5, 4):
            x, y = torch.randn(rows, 6), torch.randint(4, (rows,))
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward(retain_graph=retains)
            if retains:
                other = functional.cross_entropy(model(x), y)
                loss.backward()
                other.backward()
            optimizer.step()
            seen.append(loss.detach())
            if evaluates:
                model.eval()
                with torch.no_grad():
                    seen.append(model(x))
                model.train()
        return [*seen, torch.rand(3), *(p.detach().clone() for p in model.parameters())]

    return run


def twice_differentiated_with_dropout() -> list[torch.Tensor]:
    model, x = perceptron(), torch.randn(3, 6, requires_grad=True)
    (slope,) = torch.autograd.grad(model(x).tanh().sum(), x, create_graph=True)
    slope.pow(2).sum().backward()
    return [slope.detach(), x.grad, torch.rand(3)]


DROPOUT_LOOPS = {
    "dropout": loop(perceptron),
    "dropout_retained": loop(perceptron, retains=True),
    "dropout_in_place": loop(lambda: perceptron(in_place=True)),
    "dropout_behind_relu_in_place": loop(
        lambda: nn.Sequential(
            nn.Linear(6, 9), nn.ReLU(inplace=True), nn.Dropout(0.4), nn.Linear(9, 4)
        )
    ),
    "dropout_of_all": loop(lambda: perceptron(1.0)),
    "dropout_of_views": loop(OnAView),
    "dropout_and_evaluation": loop(lambda: perceptron()[:4], evaluates=True),
    "dropout_twice_differentiated": twice_differentiated_with_dropout,
}
