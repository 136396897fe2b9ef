"""Training loops of many kinds; each returns the numbers that a script would see."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tests.pytorch.training.clipping_loops import CLIPPING_LOOPS
from tests.pytorch.training.dropout_loops import DROPOUT_LOOPS
from tests.pytorch.training.loss_loops import LOSS_LOOPS
from tests.pytorch.training.picture_loops import PICTURE_LOOPS

if TYPE_CHECKING:
    from collections.abc import Callable

    Loop = Callable[[], list[torch.Tensor]]


def perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))


def batch(rows: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(rows, 6), torch.randint(4, (rows,))


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Return copies of parameters, and of what an optimizer keeps of them."""
    kept = [value for state in optimizer.state.values() for value in state.values()]
    tensors = [*model.parameters(), *(value for value in kept if isinstance(value, torch.Tensor))]
    return [tensor.detach().clone() for tensor in tensors]


def loop(
    *,
    make=perceptron,
    optimizer=lambda p: torch.optim.AdamW(p, lr=0.01),
    accumulate=1,
    clip=False,
    evaluates=False,
    retains=False,
    edits=False,
    hooks=False,
    schedules=False,
    steps=4,
) -> Loop:
    """Return a loop with options."""

    def run() -> list[torch.Tensor]:
        model, seen = make(), list[torch.Tensor]()
        if hooks:
            model[2].weight.register_hook(lambda gradient: gradient * 0.5)
            model[0].weight.register_post_accumulate_grad_hook(
                lambda parameter: seen.append(parameter.grad.sum())
            )
        steps_of = optimizer(model.parameters())
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(steps_of, 10) if schedules else None
        for index in range(steps):
            for _ in range(accumulate):
                x, y = batch(5 - (index == steps - 1))
                loss = functional.cross_entropy(model(x), y) / accumulate
                loss.backward(retain_graph=retains)
                if retains:
                    loss.backward()
                seen.append(loss.detach())
            seen += [p.grad.clone() for p in model.parameters() if p.grad is not None]
            if clip:
                seen.append(nn.utils.clip_grad_norm_(model.parameters(), 0.1))
            steps_of.step()
            steps_of.zero_grad(set_to_none=index % 2 == 0)
            if schedule is not None:
                schedule.step()
            if edits:
                with torch.no_grad():
                    model[0].weight.mul_(0.9)
                model[2].bias.data += 0.1
            if evaluates:
                model.eval()
                with torch.no_grad():
                    seen.append(model(x).sum())
                model.train()
        return [*seen, *state_of(model, steps_of)]

    return run


def frozen() -> nn.Sequential:
    model = perceptron()
    model[0].requires_grad_(requires_grad=False)
    return model


class Tied(nn.Module):
    """One weight in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).relu())


def saved_and_loaded() -> list[torch.Tensor]:
    model = perceptron()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    x, y = batch()

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    first, file = step(), io.BytesIO()
    torch.save((model.state_dict(), optimizer.state_dict()), file)
    second = step()
    file.seek(0)
    of_model, of_optimizer = torch.load(file)
    model.load_state_dict(of_model)
    optimizer.load_state_dict(of_optimizer)
    again = step()
    assert torch.equal(second, again)
    return [first, second, *state_of(model, optimizer)]


def scaled() -> list[torch.Tensor]:
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for _ in range(3):
        x, y = batch()
        loss = functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    return state_of(model, optimizer)


def twice_differentiated() -> list[torch.Tensor]:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    x = torch.randn(2, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    ((slope.norm() - 1) ** 2).backward()
    return [slope.detach(), x.grad, *(p.grad for p in model.parameters() if p.grad is not None)]


def loss_twice_differentiated() -> list[torch.Tensor]:
    model = perceptron()
    x, y = batch()
    loss = functional.cross_entropy(model(x), y)
    slopes = torch.autograd.grad(loss, [*model.parameters()], create_graph=True)
    sum(slope.pow(2).sum() for slope in slopes).backward()
    return [loss.detach(), *(p.grad for p in model.parameters())]


def own_loss() -> list[torch.Tensor]:
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (model(batch()[0]).softmax(-1) ** 2).sum().backward()
        optimizer.step()
    return state_of(model, optimizer)


def two_losses() -> list[torch.Tensor]:
    model = perceptron()
    x, y = batch()
    logits = model(x)
    logits.retain_grad()
    loss = functional.cross_entropy(logits, y) + 0.1 * functional.mse_loss(logits, torch.ones(5, 4))
    loss.backward()
    return [loss.detach(), logits.grad, *(p.grad for p in model.parameters())]


def with_closure() -> list[torch.Tensor]:
    return asked(lambda parameters: torch.optim.LBFGS(parameters, max_iter=3))


def asked(make: Callable[..., torch.optim.Optimizer]) -> list[torch.Tensor]:
    """Take a step of an optimizer that asks for the loss itself."""
    model = nn.Linear(4, 1)
    optimizer = make(model.parameters())
    x, y = torch.randn(5, 4), torch.randn(5, 1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return [model.weight.detach().clone()]


def adversaries() -> list[torch.Tensor]:
    """Two modules, of which one gets the other's result; two forward passes before a backward."""
    maker, judge = nn.Linear(4, 4), nn.Linear(4, 1)
    of_maker = torch.optim.Adam(maker.parameters())
    of_judge = torch.optim.Adam(judge.parameters())
    for _ in range(2):
        fake = maker(torch.randn(5, 4))
        of_judge.zero_grad()
        (judge(torch.randn(5, 4)).mean() - judge(fake.detach()).mean()).backward()
        of_judge.step()
        of_maker.zero_grad()
        (-judge(fake).mean()).backward()
        of_maker.step()
    return [*state_of(maker, of_maker), *state_of(judge, of_judge)]


def regression() -> list[torch.Tensor]:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    criterion, seen = nn.MSELoss(), []
    for rows in (6, 6, 3):
        x = torch.randn(rows, 3)
        loss = criterion(model(x), x[:, :2] * 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.detach())
    return [*seen, *state_of(model, optimizer)]


def curve() -> list[torch.Tensor]:
    """A result of one dimension, whose rows are all compared."""
    model, seen = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0, 1)), []
    x = torch.linspace(-1, 1, 9)
    inputs = x.unsqueeze(-1).pow(torch.tensor([1, 2, 3]))
    for _ in range(3):
        loss = nn.MSELoss(reduction="sum")(model(inputs), x.sin())
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(0.1 * parameter.grad)
        seen.append(loss.detach())
    return seen


def groups() -> list[torch.Tensor]:
    model = perceptron()
    halves = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.5}]
    optimizer = torch.optim.SGD(halves, lr=0.1, weight_decay=0.01)
    criterion = nn.CrossEntropyLoss(ignore_index=2, reduction="sum")
    for _ in range(3):
        x, y = batch()
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] *= 0.5
    return state_of(model, optimizer)


def two_optimizers() -> list[torch.Tensor]:
    """An optimizer for each layer, of other classes, one of which steps every other time."""
    model = perceptron()
    first = torch.optim.AdamW(model[0].parameters(), lr=0.01)
    second = torch.optim.SGD(model[2].parameters(), lr=0.1, momentum=0.9)
    for index in range(4):
        x, y = batch()
        functional.cross_entropy(model(x), y).backward()
        second.step()
        second.zero_grad()
        if index % 2:
            first.step()
            first.zero_grad()
    return [*state_of(model, first), *state_of(model, second)]


def one_of_two_optimizers() -> list[torch.Tensor]:
    """The wafer has steps of one of two classes."""
    model = perceptron()
    able = torch.optim.SGD(model[0].parameters(), lr=0.1)
    other = torch.optim.Adagrad(model[2].parameters(), lr=0.1)
    for _ in range(3):
        x, y = batch()
        able.zero_grad()
        other.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        able.step()
        other.step()
    return state_of(model, able)


def another_optimizer() -> list[torch.Tensor]:
    model = perceptron()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
    for _ in range(3):
        x, y = batch()
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return state_of(model, optimizer)


def checkpointed() -> list[torch.Tensor]:
    model = perceptron()
    x, y = batch()
    functional.cross_entropy(checkpoint(model, x, use_reentrant=False), y).backward()
    return [p.grad for p in model.parameters()]


def without_backward() -> list[torch.Tensor]:
    model = perceptron()
    return [model(batch()[0]).detach() for _ in range(3)]


def edited_between() -> list[torch.Tensor]:
    """An edit between the passes is PyTorch's error."""
    model = perceptron()
    x, y = batch()
    loss = functional.cross_entropy(model(x), y)
    with torch.no_grad():
        model[2].weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    return [loss.detach(), model[2].weight.detach()]


def freed_graph() -> list[torch.Tensor]:
    model = perceptron()
    x, y = batch()
    loss = functional.cross_entropy(model(x), y)
    loss.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()
    return [p.grad for p in model.parameters()]


def new_optimizer() -> list[torch.Tensor]:
    """An optimizer of another class, in the middle of a run."""
    model, seen = perceptron(), []
    for kind in (torch.optim.SGD, torch.optim.Adam):
        optimizer = kind(model.parameters(), lr=0.1)
        for _ in range(2):
            x, y = batch()
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(loss.detach())
    return [*seen, *state_of(model, optimizer)]


LOOPS: dict[str, Loop] = {
    "plain": loop(),
    "accumulate_and_clip": loop(accumulate=2, clip=True),
    "evaluate": loop(evaluates=True),
    "frozen": loop(make=frozen),
    "tied": loop(make=lambda: nn.Sequential(Tied())),
    "retain": loop(retains=True),
    "edit": loop(edits=True),
    "hooks": loop(hooks=True),
    "schedule": loop(schedules=True),
    "amsgrad": loop(optimizer=lambda p: torch.optim.Adam(p, amsgrad=True)),
    "maximize": loop(optimizer=lambda p: torch.optim.SGD(p, 0.1, maximize=True)),
    "momentum": loop(optimizer=lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, dampening=0.1)),
    "saved_and_loaded": saved_and_loaded,
    "scaled": scaled,
    "twice_differentiated": twice_differentiated,
    "loss_twice_differentiated": loss_twice_differentiated,
    "own_loss": own_loss,
    "two_losses": two_losses,
    "with_closure": with_closure,
    "asked": lambda: asked(lambda parameters: torch.optim.SGD(parameters, lr=0.1)),
    "adversaries": adversaries,
    "regression": regression,
    "curve": curve,
    "groups": groups,
    "another_optimizer": another_optimizer,
    "two_optimizers": two_optimizers,
    "one_of_two_optimizers": one_of_two_optimizers,
    "checkpointed": checkpointed,
    "without_backward": without_backward,
    "edited_between": edited_between,
    "freed_graph": freed_graph,
    "new_optimizer": new_optimizer,
    **LOSS_LOOPS,
    **CLIPPING_LOOPS,
    **DROPOUT_LOOPS,
    **PICTURE_LOOPS,
}
