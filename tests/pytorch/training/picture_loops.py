"""Training loops of networks on pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = 3


def loop(
    make: Callable[[], nn.Module], *, loss=functional.cross_entropy, optimizer=torch.optim.AdamW
) -> Callable[[], list[torch.Tensor]]:
    """Return a loop whose last batch has fewer pictures, with a look at a test set in between."""

    def run() -> list[torch.Tensor]:
        model, seen = make(), list[torch.Tensor]()
        steps = optimizer(model.parameters(), lr=0.05)
        for samples in (4, 4, 3):
            x, y = torch.randn(samples, 2, 6, 6), torch.randint(CLASSES, (samples,))
            steps.zero_grad()
            found = loss(model(x), y)
            found.backward()
            steps.step()
            model.eval()
            with torch.no_grad():
                seen += [found.detach(), model(x).sum()]
            model.train()
        kept = [value for state in steps.state.values() for value in state.values()]
        return [*seen, *(t.detach().clone() for t in (*model.state_dict().values(), *kept))]

    return run


class Residual(nn.Module):
    """What a block computes is added to its input."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x + self.layers(x))


def plain() -> nn.Module:
    """Layers as those of PyTorch's example of MNIST."""
    return nn.Sequential(
        *(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2)),
        *(nn.ReLU(), nn.Flatten(), nn.Linear(16, CLASSES), nn.LogSoftmax(-1)),
    )


def residual() -> nn.Module:
    """A block with a stride before it, and means over windows and over all pixels."""
    block = Residual(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1))
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False), block, nn.AvgPool2d(2, stride=1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES)),
    )


def odd_residual() -> nn.Module:
    """A block of one convolution: its result lies along the other axis than its input."""
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, stride=2, padding=1), Residual(nn.Conv2d(4, 4, 3, padding=1))),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES)),
    )


def normalised() -> nn.Module:
    """Norms over a batch, of which one keeps no running statistics."""
    block = Residual(
        *(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, momentum=0.3), nn.ReLU()),
        *(
            nn.Conv2d(4, 4, 1, bias=False),
            nn.BatchNorm2d(4, track_running_stats=False, affine=False),
        ),
    )
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), block),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES)),
    )


def grouped() -> nn.Module:
    """Norms of each sample, of groups of features and of each, and a depthwise convolution."""
    block = Residual(
        *(nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.GroupNorm(2, 6), nn.SiLU()),
        *(nn.Conv2d(6, 6, 1, bias=False), nn.InstanceNorm2d(6)),
    )
    return nn.Sequential(
        *(nn.Conv2d(2, 6, 3, stride=2, padding=1, bias=False), nn.GroupNorm(3, 6), nn.ReLU()),
        *(block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, CLASSES)),
    )


def normalised_whole() -> nn.Module:
    """A norm of all features and pixels of a sample, and means over fewer pixels at borders."""
    pools = nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.AvgPool2d(2, divisor_override=3)
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.LayerNorm([4, 6, 6]), nn.ReLU(), pools[0]),
        *(nn.Conv2d(4, 4, 1), nn.LayerNorm([4, 3, 3], bias=False), nn.ReLU(), pools[1]),
        *(nn.Flatten(), nn.Linear(4, CLASSES)),
    )


class Thinned(nn.Module):
    """A shortcut of each second pixel, with features of zeros on both sides."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 4, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))


def thinned() -> nn.Module:
    """A shortcut as the paper on residual networks has it for CIFAR, behind a convolution."""
    return nn.Sequential(
        *(nn.ZeroPad2d((0, 1, 1, 0)), nn.Conv2d(2, 2, 2, bias=False), nn.ReLU(), Thinned()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES)),
    )


def cumulative() -> nn.Module:
    """A norm whose running statistics are means over all batches: their share is a number.

    No bias before it: its gradient is 0 but for roundings, which Adam divides by their root.
    """
    norm = nn.BatchNorm2d(4, momentum=None)
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False), norm, nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES)),
    )


class NormalisedTwice(nn.Module):
    """A norm that a call comes to twice, so that its running statistics change twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(functional.relu(self.norm(self.first(x)))))


def normalised_twice() -> list[torch.Tensor]:
    model, x = NormalisedTwice(), torch.randn(4, 6)
    functional.cross_entropy(model(x), torch.randint(CLASSES, (4,))).backward()
    return [*(p.grad for p in model.parameters()), *model.buffers()]


def normalised_twice_differentiated() -> list[torch.Tensor]:
    """Return gradients of a penalty on gradients; another batch comes before its backward pass."""
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, CLASSES))
    x = torch.randn(4, 6, requires_grad=True)
    (slope,) = torch.autograd.grad(model(x).pow(2).sum(), x, create_graph=True)
    (slope.pow(2).sum() + model(torch.randn(4, 6)).sum()).backward()
    return [x.grad, *(p.grad for p in model.parameters()), *model.buffers()]


class Variational(nn.Module):
    """Layers as those of PyTorch's example of a VAE, which draws numbers in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.mean, self.spread = nn.Linear(6, 5), nn.Linear(5, 2), nn.Linear(5, 2)
        self.third, self.last = nn.Linear(2, 5), nn.Linear(5, 6)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        hidden = functional.relu(self.first(x.view(-1, 6)))
        mean, spread = self.mean(hidden), self.spread(hidden)
        deviation = torch.exp(0.5 * spread)
        code = mean + torch.randn_like(deviation) * deviation
        return torch.sigmoid(self.last(functional.relu(self.third(code)))), mean, spread


def variational() -> list[torch.Tensor]:
    """A loss of three results; numbers drawn in between are PyTorch's."""
    model, seen = Variational(), list[torch.Tensor]()
    steps = torch.optim.Adam(model.parameters(), lr=0.01)
    for rows in (4, 3):
        x = torch.rand(rows, 1, 2, 3)
        steps.zero_grad()
        found, mean, spread = model(x)
        likelihood = functional.binary_cross_entropy(found, x.view(-1, 6), reduction="sum")
        loss = likelihood - 0.5 * torch.sum(1 + spread - mean.pow(2) - spread.exp())
        loss.backward()
        steps.step()
        seen += [loss.detach(), torch.rand(1)]
    return [*seen, *(parameter.detach().clone() for parameter in model.parameters())]


PICTURE_LOOPS = {
    "pictures": loop(
        plain,
        loss=functional.nll_loss,
        optimizer=lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9),
    ),
    "residual": loop(residual),
    "odd_residual": loop(odd_residual),
    "normalised": loop(normalised),
    "grouped": loop(grouped),
    "cumulative": loop(cumulative),
    "thinned": loop(thinned),
    "normalised_whole": loop(normalised_whole),
    "normalised_twice": normalised_twice,
    "normalised_twice_differentiated": normalised_twice_differentiated,
    "variational": variational,
}
