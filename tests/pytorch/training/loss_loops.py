"""Training loops with losses of many kinds, inside and outside of the module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    Step = Callable[[nn.Module], torch.Tensor]


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return rows, their classes, and what three features of each should be."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, 5, generator=generator)
    return x, torch.randint(0, 3, (6,), generator=generator), torch.rand(6, 3, generator=generator)


X, CLASSES, WANTED = batch()
WEIGHTS = torch.tensor([1.0, 2.0, 0.5])
SHARES = WANTED / WANTED.sum(-1, keepdim=True)


def loop(make: Callable[[], nn.Module], step: Step) -> Callable[[], list[torch.Tensor]]:
    """Return a loop that takes a loss of a model in every step."""

    def run() -> list[torch.Tensor]:
        model = make()
        optimizer, seen = torch.optim.SGD(model.parameters(), lr=0.1), list[torch.Tensor]()
        for _ in range(3):
            optimizer.zero_grad()
            loss = step(model)
            loss.backward()
            optimizer.step()
            seen.append(loss.detach())
        return [*seen, *(parameter.detach().clone() for parameter in model.parameters())]

    return run


def perceptron(
    activation: nn.Module, *last: nn.Module, features: int = 3
) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(5, 7), activation, nn.Linear(7, features), *last)


class WithLoss(nn.Module):
    """A module that returns its result and its loss, as models with labels do."""

    def __init__(self, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.loss = nn.Linear(5, 7), nn.Linear(7, 3), loss

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.second(torch.tanh(self.first(x)))
        return logits, self.loss(logits, labels)


class Detaching(nn.Module):
    """A module through a part of which no gradient goes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        return self.second(hidden.relu() + hidden.detach())


class Multiplying(nn.Module):
    """A module that multiplies its loss by what a layer gives, or by another loss."""

    def __init__(self, *, by_loss: bool) -> None:
        super().__init__()
        self.first, self.second, self.factor = nn.Linear(5, 7), nn.Linear(7, 3), nn.Linear(5, 1)
        self.by_loss = by_loss

    def forward(self, x: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        loss = functional.mse_loss(self.second(torch.tanh(self.first(x))), wanted)
        factor = self.factor(x)
        if self.by_loss:
            return loss * torch.sigmoid(functional.l1_loss(factor, wanted[:, :1]))
        return loss * factor.squeeze()


def evaluated_with_labels() -> list[torch.Tensor]:
    """Return losses of batches of several sizes, with a gradient and without."""
    model, seen = WithLoss(smoothed), list[torch.Tensor]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for rows in (6, 6, 4):
        optimizer.zero_grad()
        loss = model(X[:rows], CLASSES[:rows])[1]
        loss.backward(retain_graph=True)
        loss.backward()
        optimizer.step()
        seen.append(loss.detach())
        with torch.no_grad():
            seen += model(X[:5], CLASSES[:5])
    return [*seen, *(parameter.detach().clone() for parameter in model.parameters())]


def smoothed(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits, classes, label_smoothing=0.1)


def likelihood(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    return functional.nll_loss(functional.log_softmax(logits, -1), classes)


def inside(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], labels: torch.Tensor):
    return loop(lambda: WithLoss(loss), lambda model: model(X, labels)[1])


def of(loss: nn.Module, model: Callable[[], nn.Module], labels: torch.Tensor):
    return loop(model, lambda model: loss(model(X), labels))


LOSS_LOOPS = {
    "cross_entropy_inside": inside(smoothed, CLASSES),
    "likelihood_inside": inside(likelihood, CLASSES),
    "square_inside": inside(functional.mse_loss, WANTED),
    "binary_inside": inside(functional.binary_cross_entropy_with_logits, WANTED),
    "weights": of(
        nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.2), perceptron(nn.Tanh()), CLASSES
    ),
    "magnitudes": of(nn.L1Loss(), perceptron(nn.GELU()), WANTED),
    "binary": of(nn.BCELoss(), perceptron(nn.SiLU(), nn.Sigmoid()), WANTED),
    "binary_logits": of(nn.BCEWithLogitsLoss(), perceptron(nn.Sigmoid()), WANTED),
    "smooth": of(nn.SmoothL1Loss(beta=0.3), perceptron(nn.Softplus()), WANTED),
    "smooth_of_zero": of(nn.SmoothL1Loss(beta=0.0), perceptron(nn.Softplus(2.0, 1.5)), WANTED),
    "huber": of(nn.HuberLoss("sum", delta=0.2), perceptron(nn.Softplus(-0.5)), WANTED),
    "smooth_inside": inside(
        lambda x, wanted: functional.smooth_l1_loss(x, wanted, reduction="sum", beta=0.4), WANTED
    ),
    "huber_inside": inside(lambda x, wanted: functional.huber_loss(x, wanted, delta=0.3), WANTED),
    "weighted_logits": of(
        nn.BCEWithLogitsLoss(pos_weight=WEIGHTS), perceptron(nn.ReLU()), WANTED.round()
    ),
    "weighted_logits_of_a_view": loop(
        perceptron(nn.ReLU(), features=1),
        lambda model: functional.binary_cross_entropy_with_logits(
            model(X).squeeze(), WANTED[:, 0], reduction="sum", pos_weight=torch.tensor(2.5)
        ),
    ),
    "weighted_logits_inside": inside(nn.BCEWithLogitsLoss(pos_weight=WEIGHTS), WANTED.round()),
    "weighted_logits_by_a_number": inside(
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0])), WANTED.round()
    ),
    "divergence": of(
        nn.KLDivLoss(reduction="batchmean"), perceptron(nn.ReLU(), nn.LogSoftmax(-1)), SHARES
    ),
    "divergence_of_logarithms": loop(
        perceptron(nn.Tanh(), nn.LogSoftmax(-1)),
        lambda model: functional.kl_div(model(X), SHARES.log(), reduction="sum", log_target=True),
    ),
    "divergence_inside": inside(
        lambda x, shares: functional.kl_div(x.log_softmax(-1), shares, reduction="batchmean"),
        SHARES,
    ),
    "half_inside": inside(lambda x, wanted: 0.5 * functional.mse_loss(x, wanted), WANTED),
    "loss_times_a_loss": loop(lambda: Multiplying(by_loss=True), lambda model: model(X, WANTED)),
    "loss_times_a_result": loop(
        lambda: Multiplying(by_loss=False), lambda model: model(X[:1], WANTED[:1])
    ),
    "leaky": of(nn.MSELoss(), perceptron(nn.LeakyReLU(0.1)), WANTED),
    "exponential_linear": of(nn.MSELoss(), perceptron(nn.ELU(0.7)), WANTED),
    "self_normalizing": of(nn.MSELoss(), perceptron(nn.SELU()), WANTED),
    "continuous": of(nn.MSELoss(), perceptron(nn.CELU(0.6)), WANTED),
    "bounded": of(nn.MSELoss(), perceptron(nn.ReLU6(), nn.Hardtanh(0.0, 0.4)), WANTED),
    "likelihood": of(nn.NLLLoss(), perceptron(nn.GELU("tanh"), nn.LogSoftmax(-1)), CLASSES),
    "likelihood_outside": loop(
        perceptron(nn.ReLU()),
        lambda model: functional.nll_loss(functional.log_softmax(model(X), dim=1), CLASSES),
    ),
    "loss_of_a_view": loop(
        perceptron(nn.ReLU(), features=1),
        lambda model: functional.mse_loss(model(X).squeeze(), WANTED[:, 0]),
    ),
    "evaluated_with_labels": evaluated_with_labels,
    "detached": loop(Detaching, lambda model: functional.cross_entropy(model(X), CLASSES)),
}
