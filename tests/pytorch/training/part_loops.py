"""Training steps of modules that the wafer refuses as a whole, since it has no sine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    Tensors = list[torch.Tensor]

CLASSES = torch.tensor([0, 3, 1])


class Refused(nn.Module):
    """A module whose code is a function of it and of its argument."""

    def __init__(self, code: Callable[..., torch.Tensor], **inner: nn.Module) -> None:
        super().__init__()
        self.code = code
        for name, module in inner.items():
            setattr(self, name, module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.code(self, x)


def curved() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 5), nn.GELU())


def positive() -> nn.Sequential:
    """Autograd keeps the positive elements and not the argument, which may change then."""
    return nn.Sequential(nn.ReLU(), nn.Linear(6, 6))


def in_a_row(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.b(torch.sin(m.a(torch.sin(x))))


def chain(**changes: nn.Module) -> Refused:
    return Refused(in_a_row, **{"a": curved(), "b": nn.Linear(5, 4), **changes})


def gradients(model: nn.Module, *others: torch.Tensor) -> Tensors:
    found = [tensor.grad for tensor in (*model.parameters(), *others)]
    return [gradient.clone() for gradient in found if gradient is not None]


def steps(
    model: nn.Module,
    *,
    shape: tuple[int, ...] = (3, 6),
    loss: Callable[[torch.Tensor], torch.Tensor] = lambda y: (y.cos() ** 2).sum(),
    clips: bool = False,
) -> Tensors:
    """Return losses, gradients and parameters of three steps, one with fewer rows."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, seen = torch.optim.SGD(trained, 0.1, momentum=0.9), []
    for _ in range(2):
        x = torch.randn(shape).requires_grad_()
        value = loss(model(x))
        optimizer.zero_grad()
        value.backward()
        seen += [value.detach(), *gradients(model, x)]
        if clips:
            seen.append(nn.utils.clip_grad_norm_(trained, 0.1))
        optimizer.step()
    return [*seen, *(parameter.detach().clone() for parameter in model.parameters())]


def changed_results() -> Tensors:
    def code(m: Any, x: torch.Tensor) -> torch.Tensor:
        y = m.a(torch.sin(x))
        y += x
        return m.b(y.relu_()).mul_(2)

    return steps(Refused(code, a=nn.Linear(6, 6), b=nn.Linear(6, 4)))


def _change_argument(m: Any, x: torch.Tensor) -> torch.Tensor:
    hidden = torch.sin(x)
    y = m.a(hidden)
    hidden.add_(1)
    return m.b(y) * hidden


def changed_argument() -> Tensors:
    return steps(Refused(_change_argument, a=positive(), b=nn.Linear(6, 6)))


def changed_argument_that_is_kept() -> Tensors:
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        steps(Refused(_change_argument, a=nn.Linear(6, 6), b=nn.Linear(6, 6)))
    return []


def three_times() -> Tensors:
    def code(m: Any, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = m.a(torch.sin(x))
        return m.b(x)

    return steps(Refused(code, a=positive(), b=nn.Linear(6, 4)))


def tied() -> Tensors:
    first, second = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
    second.weight = first.weight
    return steps(chain(a=first, b=second))


def picture() -> Tensors:
    def code(m: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(m.last(m.ramp(m.norm(m.first(x))))).flatten(1)

    model = Refused(
        code,
        first=nn.Conv2d(2, 4, 3, padding=1, bias=False),
        norm=nn.BatchNorm2d(4),
        ramp=nn.ReLU(inplace=True),
        last=nn.Conv2d(4, 3, 1),
    )
    return steps(model, shape=(2, 2, 4, 4))


def dropout() -> Tensors:
    def code(m: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(m.b(functional.dropout(torch.sin(m.a(x)), 0.2)))

    first = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.3))
    second = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 4))
    return [*steps(Refused(code, a=first, b=second)), torch.rand(1)]


def without_gradient() -> Tensors:
    def code(m: Any, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = m.a(torch.sin(x))
        return m.b(torch.sin(wanted + x))

    return steps(Refused(code, a=nn.Linear(6, 6), b=nn.Linear(6, 4)))


def frozen() -> Tensors:
    return steps(chain(a=curved().requires_grad_(requires_grad=False)))


def frozen_first() -> Tensors:
    def code(m: Any, x: torch.Tensor) -> torch.Tensor:
        return m.b(torch.sin(m.a(x.detach())))

    first = curved().requires_grad_(requires_grad=False)
    return steps(Refused(code, a=first, b=nn.Linear(5, 4)))


def many_results() -> Tensors:
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> tuple[object, ...]:
            y = self.linear(x)
            return y[:, :2], y.relu(), x, None, 3

    def code(m: Any, x: torch.Tensor) -> torch.Tensor:
        first, second, same, _, number = m.a(torch.sin(x))
        return m.b(torch.sin(same)).sum() + first.sin().sum() + second.square().sum() * number

    model = Refused(code, a=Several(), b=nn.Linear(6, 4))
    return steps(model, loss=lambda y: y)


def loss_inside() -> Tensors:
    def code(m: Any, x: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(in_a_row(m, x), CLASSES)

    return steps(Refused(code, a=curved(), b=nn.Linear(5, 4)), loss=lambda y: y)


def loss_outside() -> Tensors:
    return steps(chain(), loss=lambda y: functional.cross_entropy(y, CLASSES))


def own_function() -> Tensors:
    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            return gradient * (x > 0) * 0.5

    return steps(Refused(lambda m, x: m.b(Half.apply(m.a(x)).sin()), a=curved(), b=nn.Linear(5, 4)))


def hooked(kind: str) -> Callable[[], Tensors]:
    """Return steps with hooks of one kind on the whole, on a part, and inside one."""

    def run() -> Tensors:
        model, seen = chain(b=nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 4))), []

        def note(_: nn.Module, *given: object) -> None:
            tensors = (one for each in given for one in (each if type(each) is tuple else [each]))
            seen.extend(one.detach().clone() for one in tensors if isinstance(one, torch.Tensor))

        for module in (model, model.b, model.b[0]):
            getattr(module, kind)(note)
        return [*steps(model), *seen]

    return run


def checkpointed(*, is_reentrant: bool, share: float = 0.0) -> Callable[[], Tensors]:
    """Return steps of which a part is computed again in the backward pass."""

    def code(m: Any, x: torch.Tensor) -> torch.Tensor:
        def again(x: torch.Tensor) -> torch.Tensor:
            return torch.sin(m.a(torch.sin(x)))

        return torch.sin(m.b(checkpoint(again, x, use_reentrant=is_reentrant)))

    def run() -> Tensors:
        first = nn.Sequential(curved(), nn.Dropout(share))
        return [*steps(Refused(code, a=first, b=nn.Linear(5, 4))), torch.rand(1)]

    return run


def retained() -> Tensors:
    def code(m: Any, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.sin(x)
        y = m.a(hidden)
        hidden.add_(1)
        return m.b(y) * hidden

    model = Refused(code, a=positive(), b=nn.Linear(6, 6))
    x = torch.randn(3, 6, requires_grad=True)
    value = model(x).sum()
    value.backward(retain_graph=True)
    value.backward()
    return gradients(model, x)


def two_forwards() -> Tensors:
    """Two calls before the backward passes, between which a bias changes, which none reads."""
    first = curved()
    first[0].weight.requires_grad_(requires_grad=False)
    model = Refused(lambda m, x: torch.sin(m.a(torch.sin(x))), a=first)
    one, other = model(torch.randn(3, 6)).sum(), model(torch.randn(3, 6)).sum()
    with torch.no_grad():
        first[0].bias.add_(1)
    one.backward()
    found = gradients(model)
    other.backward()
    return [*found, *gradients(model)]


def some_gradients() -> Tensors:
    model, x = chain(), torch.randn(3, 6, requires_grad=True)
    y = model(x)
    every = torch.autograd.grad(y[:, 0].sum(), [*model.parameters()], retain_graph=True)
    return [*every, *torch.autograd.grad(y[:, 1].sum(), [model.a[0].weight, x])]


def after_an_error() -> Tensors:
    def code(m: Any, x: torch.Tensor) -> torch.Tensor:
        m.a(torch.sin(x))
        raise KeyError

    try:
        Refused(code, a=curved())(torch.randn(3, 6))
    except KeyError:
        return steps(chain())
    return []


PART_LOOPS: dict[str, Callable[[], Tensors]] = {
    "chain": lambda: steps(chain(), clips=True),
    **{
        loop.__name__: loop
        for loop in (
            *(changed_results, changed_argument, changed_argument_that_is_kept, three_times),
            *(tied, picture, dropout, without_gradient, frozen, frozen_first, many_results),
            *(loss_inside, loss_outside, own_function, retained, two_forwards),
            *(some_gradients, after_an_error),
        )
    },
    "full_hooks": hooked("register_full_backward_hook"),
    "old_hooks": hooked("register_backward_hook"),
    "forward_hooks": hooked("register_forward_hook"),
    "checkpointed": checkpointed(is_reentrant=False),
    "checkpointed_with_dropout": checkpointed(is_reentrant=False, share=0.3),
    "checkpointed_anew": checkpointed(is_reentrant=True),
}
