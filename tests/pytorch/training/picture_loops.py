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


PICTURE_LOOPS = {
    "pictures": loop(
        plain,
        loss=functional.nll_loss,
        optimizer=lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9),
    ),
    "residual": loop(residual),
    "normalised": loop(normalised),
}
