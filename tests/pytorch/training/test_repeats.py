"""Steps that are repeated: values are plain Python's, and all counts those of followed steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on
from onewafer.pytorch.training.known import KnownModule
from onewafer.pytorch.training.repeats import Repeats
from tests.pytorch.training.loops import batch, perceptron, state_of

STEPS = 9


class Loop:
    """A training loop of some steps, in which something else happens at some of them."""

    least_repeated = 2

    def __init__(self) -> None:
        self.model = perceptron()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.seen: list[torch.Tensor] = []

    def run(self) -> list[torch.Tensor]:
        for index in range(STEPS):
            self.take(index)
        return [*self.seen, *state_of(self.model, self.optimizer)]

    def take(self, index: int) -> None:
        del index
        self.step(*batch())

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), y)
        loss.backward()
        self.before_step()
        self.optimizer.step()
        self.seen.append(loss.detach())

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, y)

    def before_step(self) -> None:
        pass


class Clipped(Loop):
    def before_step(self) -> None:
        self.seen.append(nn.utils.clip_grad_norm_(self.model.parameters(), 0.1))


class Inside(Loop):
    """A model that returns its loss beside its logits."""

    def __init__(self) -> None:
        super().__init__()
        inner, optimizer = self.model, self.optimizer

        class WithLoss(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner, self.dropout = inner, nn.Dropout(0.2)

            def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
                logits = self.dropout(self.inner(x))
                return {"logits": logits, "loss": functional.cross_entropy(logits, y)}

        self.whole, self.optimizer = WithLoss(), optimizer

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        found = self.whole(x, y=y)
        found["loss"].backward()
        self.optimizer.step()
        self.seen += [found["loss"].detach(), found["logits"].detach()]


class Evaluated(Loop):
    def take(self, index: int) -> None:
        super().take(index)
        if index % 4 == 3:
            with torch.no_grad():
                self.seen.append(self.model.eval()(batch()[0]))
            self.model.train()


class Edited(Loop):
    """Edits that PyTorch counts, and one that it does not."""

    def take(self, index: int) -> None:
        super().take(index)
        if index == 4:
            self.model[0].weight.data[0, 0] += 1
        if index == 6:
            with torch.no_grad():
                self.model[2].bias.mul_(0.5)


class OddRows(Loop):
    def take(self, index: int) -> None:
        self.step(*batch(5 - index % 2))


class Accumulated(Loop):
    """A second backward pass before a step, once the step is known."""

    def before_step(self) -> None:
        if len(self.seen) == 5:
            x, y = batch()
            self.loss(self.model(x), y).backward()


class Parts(Loop):
    """Passes that add up gradients before each step; once one more of them."""

    def take(self, index: int) -> None:
        self.optimizer.zero_grad()
        for part in range(3 + (index == 6)):
            x, y = batch(5 - part % 2)
            loss = self.loss(self.model(x), y) / 3
            loss.backward()
            self.seen.append(loss.detach())
            self.between(index, part)
        self.before_step()
        self.optimizer.step()

    def between(self, index: int, part: int) -> None:
        pass


class PartsZeroed(Parts):
    """Gradients that are dropped between the two passes of the first part."""

    def take(self, index: int) -> None:
        for part in range(2):
            x, y = batch()
            loss = self.loss(self.model(x), y) / 2
            if not part:
                self.optimizer.zero_grad(set_to_none=index % 2 == 0)
            loss.backward()
            self.seen.append(loss.detach())
        self.optimizer.step()


class PartsClipped(Parts):
    def before_step(self) -> None:
        self.seen.append(nn.utils.clip_grad_norm_(self.model.parameters(), 0.1))


class PartsEvaluated(Parts):
    def between(self, index: int, part: int) -> None:
        if index > 4 and part == index % 3:
            with torch.no_grad():
                self.seen.append(self.model(batch()[0]))


class PartsChanged(Parts):
    """A gradient that is changed between passes, once they are known."""

    def between(self, index: int, part: int) -> None:
        if index == 6 and part == 1:
            self.model[2].bias.grad.mul_(0.5)


class TwoOptimizers(Loop):
    """An optimizer for each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.optimizer = torch.optim.AdamW(self.model[0].parameters(), lr=0.01)
        self.other = torch.optim.SGD(self.model[2].parameters(), lr=0.1, momentum=0.9)

    def before_step(self) -> None:
        self.other.step()
        self.other.zero_grad()


class Adversaries(Loop):
    """Two models, of which one gets the other's result, and an optimizer for each.

    Calls of both come before the backward pass of either: they are followed.
    """

    least_repeated = 0

    def __init__(self) -> None:
        super().__init__()
        self.judge = nn.Linear(4, 1)
        self.of_judge = torch.optim.SGD(self.judge.parameters(), lr=0.01)

    def take(self, index: int) -> None:
        del index
        fake = self.model(batch()[0])
        self.of_judge.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(
            self.judge(fake.detach()), torch.zeros(5, 1)
        )
        loss.backward()
        self.of_judge.step()
        self.optimizer.zero_grad()
        (-self.judge(fake).mean()).backward()
        self.optimizer.step()
        self.seen.append(loss.detach())


class Observed(Loop):
    """A hook that sees a gradient which has been added, and does not change it."""

    def __init__(self) -> None:
        super().__init__()
        weight = self.model[0].weight
        weight.register_post_accumulate_grad_hook(lambda each: self.seen.append(each.grad.norm()))


class Weighed(Loop):
    """A loss of each row, and weights of rows."""

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss = functional.cross_entropy(logits, y, reduction="none")
        return (loss * torch.linspace(0.5, 1, len(y))).mean()


class WeighedByAModule(Loop):
    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (nn.CrossEntropyLoss(reduction="none")(logits, y) * y).mean()


class Zeroed(Loop):
    """Gradients that are set to 0 and added to, not made anew; once they are not 0."""

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        loss = self.loss(self.model(x), y)
        if len(self.seen) != 6:
            self.optimizer.zero_grad(set_to_none=False)
        loss.backward()
        self.optimizer.step()
        self.seen.append(loss.detach())


class ZeroedAndClipped(Clipped):
    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=False)
        loss = self.loss(self.model(x), y) / 2
        loss.backward()
        self.before_step()
        self.optimizer.step()
        self.seen.append(loss.detach())


class SparseZeros(Loop):
    """A gradient of zeros that PyTorch keeps otherwise, which becomes a usual one."""

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if len(self.seen) == 5:
            self.model[0].weight.grad = torch.zeros(5, 6).to_sparse()
        return super().loss(logits, y)


class SparseTable(Loop):
    """A table with sparse gradients, which the host keeps, before a layer that is on the wafer."""

    least_repeated = 0

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Embedding(7, 6, sparse=True), nn.Linear(6, 4))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        super().step(x[:, 0].abs().mul(3).long().clamp(max=6), y)
        self.seen.append(self.model[0].weight.grad.coalesce().values())


class Weighted(Loop):
    """Weights of classes."""

    def __init__(self) -> None:
        super().__init__()
        self.criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 0.5, 2.0, 1.5]))

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.criterion(logits, y)


class EditedWeights(Weighted):
    """A weight that is changed in a way that PyTorch does not count."""

    def take(self, index: int) -> None:
        if index == 5:
            self.criterion.weight.numpy()[1] = 3.0
        super().take(index)


class OtherWeights(Weighted):
    def take(self, index: int) -> None:
        if index == 5:
            self.criterion = nn.CrossEntropyLoss(weight=torch.tensor([0.1, 0.5, 2.0, 1.5]))
        super().take(index)


class LoadedState(Loop):
    def take(self, index: int) -> None:
        super().take(index)
        if index == 5:
            self.optimizer.load_state_dict(self.optimizer.state_dict())
            self.model.load_state_dict(self.model.state_dict())


class ChangedGradient(Loop):
    def before_step(self) -> None:
        if len(self.seen) == 5:
            self.model[2].bias.grad.mul_(0.5)


class Hooked(Loop):
    def take(self, index: int) -> None:
        if index == 5:
            self.model[2].weight.register_hook(lambda gradient: gradient * 0.5)
        super().take(index)


class HookedResult(Loop):
    """A hook of a result that changes its gradient, and makes tensors that no CPU has."""

    def make_elsewhere(self) -> None:
        nowhere = torch.zeros(3, device="meta") + 1
        self.seen.append(torch.tensor(nowhere.is_meta))
        rows = torch.arange(2).expand(2, 2)
        made = torch.sparse_coo_tensor(rows, torch.ones(2), check_invariants=False)
        self.seen.append(made.to_dense())

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        def hook(gradient: torch.Tensor) -> torch.Tensor:
            self.make_elsewhere()
            return gradient * 0.5

        if len(self.seen) > 4:
            logits.register_hook(hook)
        return super().loss(logits, y)


class HookedNode(HookedResult):
    """A hook of a node of the graph of a loss, which no register of PyTorch knows."""

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss = Loop.loss(self, logits, y)
        if len(self.seen) > 4:
            loss.grad_fn.register_hook(lambda _inputs, _outputs: self.make_elsewhere())
        return loss


class CallInHook(Loop):
    """A hook of a node that calls the model in the middle of a backward pass."""

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss = super().loss(logits, y)
        if len(self.seen) == 5:
            loss.grad_fn.register_hook(lambda *_: self.seen.append(self.model(torch.ones(5, 6))))
        return loss


class StepInHook(Loop):
    """A hook of the node that adds a gradient, which takes a step before the pass is over."""

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        if len(self.seen) == 5:
            bias = self.model[2].bias
            self.node = bias.expand_as(bias).grad_fn.next_functions[0][0]
            hook = self.node.register_hook(lambda *_: self.optimizer.step())
        super().step(x, y)
        if len(self.seen) == 6:
            hook.remove()


class LateHook(Loop):
    """A hook of a module that comes when its calls are repeated, and goes again."""

    def take(self, index: int) -> None:
        if index != 5:
            super().take(index)
            return
        hook = self.model[1].register_forward_hook(lambda _module, _args, out: out * 0.5)
        super().take(index)
        hook.remove()


class OtherAttribute(Loop):
    """An attribute that the code of a module reads."""

    def __init__(self) -> None:
        super().__init__()
        inner = self.model

        class Scaled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner, self.scale, self.calls = inner, 1.0, [0]

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                self.calls.append(len(x))
                self.calls.pop(0)
                self.last = self.scale + 1
                return self.inner(x) * self.scale

        self.whole = Scaled()

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.whole.last, self.whole.calls = 0.0, [0]
        if len(self.seen) > 15:
            self.whole.scale = 2.0
        self.optimizer.zero_grad()
        loss = self.loss(self.whole(x), y)
        loss.backward()
        self.optimizer.step()
        self.seen += [loss.detach(), torch.tensor([self.whole.last, *self.whole.calls])]


class InferenceMode(Loop):
    """Backward passes in inference mode, where no changes of the gradients are counted."""

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        for number in (2 * len(self.seen), 2 * len(self.seen) + 1):
            loss = self.loss(self.model(x), y)
            with torch.inference_mode(mode=number in {1, 9, 12, 13}):
                loss.backward()
        self.optimizer.step()
        self.seen.append(loss.detach())


class FailedCall(Loop):
    """Words, one of which does not exist, in a call that is like the others."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Embedding(7, 6), nn.Linear(6, 4))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        words = x[:, 0].abs().mul(3).long().clamp(max=6)
        super().step(words, y)
        if len(self.seen) == 5:
            with pytest.raises(IndexError):
                self.model(words + 7)


class NewParameter(Loop):
    """Another tensor in the place of a parameter, which the optimizer does not have."""

    def take(self, index: int) -> None:
        if index == 5:
            self.model[2].bias = nn.Parameter(torch.zeros(4))
        super().take(index)


class OtherStep(Loop):
    """Options that decide whether the wafer takes a step."""

    def take(self, index: int) -> None:
        self.optimizer.param_groups[0]["lr"] *= 0.9
        self.optimizer.param_groups[0]["amsgrad"] = False
        if index == 5:
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        super().take(index)


class OtherWork(Loop):
    """A penalty outside of the model, whose gradient the host computes."""

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss = super().loss(logits, y)
        if len(self.seen) < 5:
            return loss
        weight = self.model[0].weight
        return loss + (weight @ weight.T).square().mean()


class OtherLoss(Loop):
    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if len(self.seen) < 5:
            return super().loss(logits, y)
        return functional.mse_loss(logits, torch.ones_like(logits))


class TwiceDifferentiated(Loop):
    def before_step(self) -> None:
        if len(self.seen) == 5:
            x, y = batch()
            loss = self.loss(self.model(x), y)
            (slope,) = torch.autograd.grad(loss, self.model[0].weight, create_graph=True)
            slope.square().sum().backward()


class WithoutBackward(Loop):
    def take(self, index: int) -> None:
        super().take(index)
        if index == 5:
            self.seen.append(self.model(batch()[0]).detach())


class FailedBackward(Loop):
    def take(self, index: int) -> None:
        if index == 5:
            x, y = batch()
            loss = self.loss(self.model(x), y)
            with torch.no_grad():
                self.model[2].weight.add_(1)
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                loss.backward()
        super().take(index)


EXACT = (
    *(Loop, Clipped, Inside, Evaluated, Edited, OddRows, Accumulated, LoadedState),
    *(ChangedGradient, Hooked, NewParameter, OtherStep),
    *(LateHook, OtherAttribute),
    *(Zeroed, ZeroedAndClipped, Weighted, Observed, Weighed, WeighedByAModule),
    *(Parts, PartsZeroed, PartsClipped, PartsEvaluated, PartsChanged),
    *(TwoOptimizers, Adversaries, SparseZeros, InferenceMode),
)
"""Loops of which each step is counted as if it had been followed."""
UNFOLLOWED = (
    *(OtherWork, OtherLoss, TwiceDifferentiated, WithoutBackward, FailedBackward),
    *(EditedWeights, OtherWeights, HookedResult, HookedNode, FailedCall),
    *(CallInHook, SparseTable),
)
"""Loops with a step that goes on as no known one, which is followed from its loss on only."""


def run(kind: type[Loop]):
    """Return what a loop gives on the wafer, the report, and how many steps were repeated."""
    options = WaferOptions(fidelity=Fidelity.MODEL, rectangle=(2, 1), simulate_budget=0)
    session = Session(options)
    torch.manual_seed(0)
    with run_on(session):
        loop = kind()
        found = loop.run()
    return found, session.report(is_over=True), session.training.repeats.num_repeated


def without_places(report):
    """Return the causes and numbers of what the host did, without the lines."""
    return sorted((one.cause, one.reason, one.calls, one.flop) for one in report.host)


@pytest.mark.parametrize("kind", [*EXACT, *UNFOLLOWED])
@pytest.mark.alternate(4)
def test_values_are_those_of_plain_python(kind):
    torch.manual_seed(0)
    expected = kind().run()
    found, report, num_repeated = run(kind)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    assert num_repeated >= kind.least_repeated
    assert report.flop.share > 0.7


@pytest.mark.slow
def test_a_launch_with_weights_of_classes_is_simulated():
    """They are on the wafer before the forward pass, which is simulated with all parameters."""
    torch.manual_seed(0)
    expected = Weighted().run()
    session = Session(WaferOptions(fidelity=Fidelity.AUTO, rectangle=(1, 1)))
    torch.manual_seed(0)
    with run_on(session):
        found = Weighted().run()
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    assert session.report(is_over=True).flop.share == 1


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.alternate(4)
def test_counts_are_those_of_followed_steps(kind, monkeypatch):
    report = run(kind)[1]
    monkeypatch.setattr(Repeats, "find", lambda *_: None)
    followed, num_repeated = run(kind)[1:]
    assert num_repeated == 0
    assert report.programs == followed.programs
    assert replace(report, host=()) == replace(followed, host=())
    assert without_places(report) == without_places(followed)


def test_a_pass_is_counted_once_if_a_hook_has_it_followed_before_it_is_over():
    (program,) = run(StepInHook)[1].programs
    assert program.calls == STEPS


def test_a_call_in_a_hook_is_of_the_program_of_other_calls():
    assert len(run(CallInHook)[1].programs) == 1


def test_a_layer_that_a_script_has_compiled_has_the_mode_of_its_module():
    model = nn.Sequential(torch.compile(nn.Linear(2, 2), backend="eager"))
    known = KnownModule(model, ())
    assert known.is_as_it_was()
    model.eval()
    assert not known.is_as_it_was()
