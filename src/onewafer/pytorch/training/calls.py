"""One call of a module that is trained: its forward pass, its loss, its backward pass.

If another call has overwritten its activations on the wafer, the forward pass is launched again.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch.utils import _pytree as pytree

from onewafer.pytorch.captured import WaferResult
from onewafer.pytorch.host_calls import errors_of_script
from onewafer.pytorch.host_outputs import HostOutputs
from onewafer.pytorch.programs import count_samples
from onewafer.pytorch.training.places import version_of
from onewafer.pytorch.training.redrawing import Redrawing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping, Sequence

    from numpy.typing import NDArray

    from onewafer.execution import Arrays
    from onewafer.graph import Tensor
    from onewafer.pytorch.captured import Capture, CapturedCall
    from onewafer.pytorch.lowering import Layout
    from onewafer.pytorch.training.accumulation import Accumulation
    from onewafer.pytorch.training.losses import Loss
    from onewafer.pytorch.training.optimizers import Step
    from onewafer.pytorch.training.programs import TrainingProgram

    Array = NDArray[Any]
    Gradients = Sequence[torch.Tensor | None]


_LOSSES_ON_HOST = "taking losses: a result has had gradients besides those of its first loss"
_ONE_DIRECTION = 1 - 1e-10
"""The least cosine of vectors that are proportional but for the roundings of f32."""


class Programs(Protocol):
    """The programs of the module that is called."""

    name: str
    """The class of the module."""
    takes_losses: bool
    """True if the wafer takes losses; False once a script added up several for one result."""

    def usual_program(self, call: TrainingCall) -> TrainingProgram:
        """Return the program for a call of which only the forward pass is known."""
        ...

    def program(
        self, call: TrainingCall, loss: Loss | None, seeded: tuple[str, ...] | None = None
    ) -> TrainingProgram:
        """Return the program for a call and its loss; without one, it takes gradients of outputs.

        These are the `seeded` outputs; None: those at which backward passes usually begin. Raises
        UnsupportedOperationError if the wafer can have no such program.
        """
        ...

    @property
    def programs(self) -> Collection[TrainingProgram]:
        """All programs of the module."""
        ...

    def usual_loss_of(self, call: TrainingCall) -> Loss | None:
        """Return the loss that usually follows; None for several launches: the host takes it."""
        ...

    def note_loss(self, loss: Loss | None) -> None:
        """Note the loss that a call was followed by; None: one that the wafer does not know."""

    def note_other_gradients(self) -> None:
        """Note that the gradients of a call's results were not those of its loss alone.

        From now on the wafer is given these gradients, and takes no loss in vain.
        """

    def note_place(self, call: TrainingCall, program: TrainingProgram) -> None:
        """Note the program that has the gradients of a call's parameters."""


@dataclass(frozen=True, slots=True)
class TakenLoss:
    """A loss that a script has taken of a call."""

    loss: Loss
    layout: Layout
    """The layout of the tensor that it was taken of, in the output."""
    target: torch.Tensor
    weights: torch.Tensor | None = None
    """The weights of classes or features."""

    @property
    def given(self) -> Sequence[torch.Tensor]:
        """Arguments of the script besides the result."""
        return (self.target,) if self.weights is None else (self.target, self.weights)


class TrainingCall:
    """A call whose result needs a gradient."""

    def __init__(
        self, trained: Programs, call: CapturedCall, compute: Callable[..., object]
    ) -> None:
        """Take the call, and the function that computes it from its leaves on the host."""
        self.trained = trained
        self.call = call
        self.num_rows = count_samples(call)
        """Tokens or samples."""
        self.compute_graph = compute
        """The function that computes the call on the host from the leaves of its arguments."""
        self.loss: TakenLoss | None = None
        self.program: TrainingProgram | None = None
        """The program that it was launched on last."""
        self._compared: TrainingProgram | None = None
        """The program that its loss was launched on last."""
        self._has_gone_back = False
        self._watched: tuple[LossOfCall, torch.Tensor] | None = None
        """The loss that the host has taken, and the tensor that it was taken of."""
        self.steps: tuple[Step, ...] | None = None
        """The steps that its optimizers will take; None: not asked for yet."""
        self._handed: tuple[torch.Tensor, int, float] | None = None
        """The gradient of an output by the loss, its version, and the gradient of the loss."""
        self.bound: Mapping[str, torch.Tensor] = {**call.inputs, **call.parameters}
        """The operands of the graph, as the script has them."""
        self.wanted = tuple(name for name, tensor in self.bound.items() if tensor.requires_grad)
        self._again: CapturedCall | None = None
        """The call with copies of operands that the script may change; None: none were made."""

    def cut(self, capture: Capture) -> None:
        """Split the call into the launches of another capture."""
        self.call = replace(self.call, capture=capture)

    # --- values of the host --------------------------------------------------------------------

    def compute(self, leaves: Sequence[object]) -> tuple[torch.Tensor, ...]:
        """Return the results that the wafer has, computed by the host."""
        with errors_of_script():
            result = self.compute_graph(*leaves)
        found = cast("list[object]", pytree.tree_leaves(result))
        tensors: dict[str, torch.Tensor] = {}
        for leaf, place in zip(found, self.call.results, strict=True):
            if isinstance(place, WaferResult) and isinstance(leaf, torch.Tensor):
                tensors.setdefault(place.name, leaf)
        return (*tensors.values(),)

    def compute_again(self, leaves: Sequence[object]) -> tuple[torch.Tensor, ...]:
        """Compute the same results once more, without any other effect."""
        with self._drawing_again(), self._leaving_buffers():
            return self.compute(leaves)

    @contextmanager
    def _drawing_again(self) -> Generator[None]:
        """Draw the numbers of the call again inside, and restore the generator afterwards."""
        drawn, generator = self.call.drawn, torch.default_generator
        if drawn is None:
            yield
            return
        state = generator.get_state()
        generator.set_state(drawn.before)
        try:
            with Redrawing(self.call) if drawn.seeds is not None else nullcontext():
                yield
        finally:
            generator.set_state(state)

    @contextmanager
    def _leaving_buffers(self) -> Generator[None]:
        """Restore the buffers that a call writes: it has written them before."""
        buffers = [(write.buffer, write.buffer.clone()) for write in self.call.written]
        try:
            yield
        finally:
            for buffer, before in buffers:
                buffer.data.copy_(before)  # `.data`: it is no edit of an operand

    # --- launches ------------------------------------------------------------------------------

    @property
    def places(self) -> dict[str, WaferResult]:
        """The results that the wafer has, by their names, each once, in their order."""
        places: dict[str, WaferResult] = {}
        for place in self.call.results:
            if isinstance(place, WaferResult):
                places.setdefault(place.name, place)
        return places

    def output_of(self, name: str) -> tuple[Tensor, Layout]:
        """Return an output of the graph, and how the script's tensor lies in it."""
        return self.call.graph.tensor(name), self.places[name].layout

    def are_differentiable(self) -> list[bool]:
        """Tell for each result whether it depends on an operand that gets a gradient."""
        found = {*self.wanted}
        for operation in self.call.graph.operations:
            operands = (*operation.activation_operands, *operation.parameter_operands)
            if operation.result.is_floating and not found.isdisjoint(operands):
                found.add(operation.result.name)
        return [name in found for name in self.places]

    def usually_seeded(self) -> tuple[str, ...]:
        """Return the outputs at which backward passes begin: losses, or all if there is none."""
        differentiable = zip(self.places, self.are_differentiable(), strict=True)
        found = [name for name, is_one in differentiable if is_one]
        operations = self.call.graph.operations
        joined = {op.result.name for op in operations if op.joins_rows and op.result.shape[0] == 1}
        return (*(name for name in found if name in joined),) or (*found,)

    def operands_of_backward(self) -> list[torch.Tensor]:
        """Return the operands of the graph that its backward pass reads, and copy the others.

        Autograd sees when one of the former changes; the script may change the latter, and the
        forward pass may have to be launched again.
        """
        assert self.program is not None, "it was launched"  # invariant
        read = self.program.operands_of_backward
        call = self.call
        inputs, parameters = ({**given} for given in (call.inputs, call.parameters))
        for given in (inputs, parameters):
            given.update({n: t.detach().clone() for n, t in given.items() if n not in read})
        self._again = replace(call, inputs=inputs, parameters=parameters)
        return [tensor for name, tensor in self.bound.items() if name in read]

    def launch(self) -> tuple[torch.Tensor, ...]:
        """Launch the forward pass, with the loss that usually follows; return its results."""
        program = self.trained.usual_program(self)
        with program.loaded.alone():
            outputs = self.call.join(self._hold(program))
        if self.call.drawn is not None:
            torch.default_generator.set_state(self.call.drawn.after)
        for write in self.call.written:
            write.take_place(outputs)
        return tuple(place.build(outputs[name]) for name, place in self.places.items())

    def account(self, values: Sequence[torch.Tensor]) -> None:
        """Account for the forward pass that the host has computed, unless that was done."""
        if self.program is None:
            program = self.trained.program(self, self.trained.usual_loss_of(self))
            with program.loaded.alone():
                self._hold(program, values)

    def take_loss(
        self,
        taken: TakenLoss,
        value: torch.Tensor | None = None,
        values: Sequence[torch.Tensor] = (),
    ) -> float | None:
        """Launch a loss of the call; return it, None if it is the host's `value`.

        Raises UnsupportedOperationError, and has changed nothing, if the wafer has none.
        """
        program = self.trained.program(self, taken.loss)
        host: Arrays = {}
        if value is not None:
            host = {taken.loss.result: value.detach().reshape(1, 1).numpy(force=True)}
        targets = partial(self._targets, taken, program)
        with program.loaded.alone():
            stored = taken.loss.store(taken.weights)
            program.loaded.keep(stored)  # not simulated without its parameters
            self._hold(program, values)
            found = program.loss(targets, lambda: host, rows=self.num_rows, before=self._compared)
        self._compared = program
        self.loss = taken
        self.trained.note_loss(taken.loss)
        return found

    def watch(self, loss: LossOfCall, value: torch.Tensor) -> None:
        """Note the loss that the host has taken of a value: backward passes should begin there."""
        self._watched = loss, value.detach()

    def hand_on(self, gradient: torch.Tensor, seed: float) -> None:
        """Note the gradient of an output that the loss gives for its own gradient, the `seed`."""
        self._handed = gradient, version_of(gradient), seed

    def backward(
        self,
        gradients: Gradients,
        adding: Accumulation,
        *,
        values: Sequence[torch.Tensor] = (),
        flop: int | None = None,
    ) -> dict[str, Array]:
        """Launch the backward pass; return the gradients of inputs and parameters by name.

        If the pass is `adding`, those of parameters are sums with the gradients before. `flop` is
        the work of the host for the same pass: then it has the gradients, and the `values` of the
        forward pass if that was not launched yet.
        """
        seed = self._seed(gradients, is_sure=flop is not None)
        taken = self.loss if seed is not None else None
        if self.loss is None:
            self.trained.note_loss(None)
        elif taken is None:
            self.trained.note_other_gradients()
        if taken is None:
            program = self.trained.program(self, None, self._seeded(gradients))
            if (
                self.call.capture.sequences > 1
                and not program.seeds.keys() <= self.call.capture.joined.keys()
            ):
                program.loaded.note_on_host("taking the loss of a batch of several launches")
            if not self.trained.takes_losses:
                program.loaded.note_on_host(_LOSSES_ON_HOST)
        else:
            program = self.trained.program(self, taken.loss)
        with program.loaded.alone():
            is_again = self.program is not None and self.call.capture.sequences > 1
            if not program.holds(self) and not is_again:
                if taken is not None:
                    program.loaded.keep(taken.loss.store(taken.weights))
                self._hold(program, values)
                if taken is not None:
                    targets = partial(self._targets, taken, program)
                    program.loss(targets, dict, rows=self.num_rows, before=self._compared)
                    self._compared = program
            if taken is None:
                seeds = self._seeds(program, gradients)
            else:
                (name,) = program.seeds.values()
                seeds = [{name: np.full((1, 1), seed, np.float32)}]
            bound = {n: tensor for n, tensor in self.call.parameters.items() if n in self.wanted}
            adds, again = adding.begin(bound, program), self._again or self.call
            found = program.backward(self, again, seeds, wanted=self.wanted, adds=adds, flop=flop)
        self._has_gone_back = True
        self.trained.note_place(self, program)
        rows = {name: len(tensor) for name, tensor in self.call.inputs.items()}
        return {
            name: found[result][: rows.get(name)]  # without those that pad a launch
            for name, result in program.by_name.items()
            if result in found
        }

    def _targets(self, taken: TakenLoss, program: TrainingProgram) -> Array:
        return taken.loss.targets(taken.target, program.plan.rows, taken.layout)

    def _hold(self, program: TrainingProgram, values: Sequence[torch.Tensor] = ()) -> Arrays:
        """Launch the forward pass, unless the program still has the activations of this call."""
        if program.holds(self):
            return {}
        host = HostOutputs(self.call, self._restored(values)) if values else None
        outputs = program.forward(
            self,
            self._again or self.call,
            host.samples if host else lambda _first, _count: {},
            before=program if self._has_gone_back else self.program,
        )
        self.program = program
        return outputs

    def _restored(self, values: Sequence[torch.Tensor]) -> object:
        by_name = dict(zip(self.places, values, strict=True))
        return [
            by_name[place.name] if isinstance(place, WaferResult) else None
            for place in self.call.results
        ]

    def _seed(self, gradients: Gradients, *, is_sure: bool) -> float | None:
        """Return the gradient of the loss if all others follow from it; else None."""
        if self.loss is None:
            return None
        if is_sure:
            return 1.0 if self._is_of_loss(gradients) else None  # any seed takes as long
        if self._handed is None:
            return None
        gradient, version, seed = self._handed
        given = [found for found in gradients if found is not None]
        if len(given) != 1 or not _has_elements_of(given[0], gradient):
            return None
        return seed if version_of(gradient) == version else None

    def _is_of_loss(self, gradients: Gradients) -> bool:
        """Tell whether gradients come from the loss that the host has taken, and from no other."""
        if self._watched is None:
            return True
        loss, value = self._watched
        given = [found for found in gradients if found is not None]
        if len(given) != 1:
            return False
        if given[0].numel() != value.numel():
            return True  # it is of a part of the result
        with torch.inference_mode(mode=False), torch.enable_grad():
            inner = value.clone().requires_grad_()
            alone = loss.differentiate(inner, torch.ones(()), create_graph=False)
        return _are_proportional(given[0].numpy(force=True), alone.numpy(force=True))

    def _seeded(self, gradients: Gradients) -> tuple[str, ...] | None:
        """Return the outputs that have gradients; None: the usual ones do, and no others."""
        pairs = zip(self.places, gradients, strict=True)
        given = (*(name for name, gradient in pairs if gradient is not None),)
        usual = self.usually_seeded()
        return None if {*given} <= {*usual} else (*dict.fromkeys((*usual, *given)),)

    def _seeds(self, program: TrainingProgram, gradients: Gradients) -> Sequence[Arrays]:
        """Return the gradients of the outputs as launches take them, for each part of the call."""
        by_output = dict(zip(self.places, gradients, strict=True))
        launches = self.call.capture.sequences
        seeds: list[dict[str, Array]] = [{} for _ in range(launches)]
        for output, seed in program.seeds.items():
            is_joined = output in self.call.capture.joined
            rows, features = self.call.graph.tensor(output).shape
            array = np.zeros((rows if is_joined else launches * rows, features), np.float32)
            gradient = by_output.get(output)
            if gradient is not None:
                places = self.places[output].layout.take(np.arange(array.size).reshape(array.shape))
                found = gradient.detach().numpy(force=True)
                np.add.at(array.reshape(-1), places.reshape(-1), found.reshape(-1))
            with np.errstate(all="ignore"):  # no row may count
                array /= np.float32(self.call.loss_divisor(output))
            parts = [array] * launches if is_joined else np.split(array, launches)
            padding = program.plan.graph.tensor(output).shape[0] - rows
            for given, part in zip(seeds, parts, strict=True):
                given[seed] = np.pad(part, ((0, padding), (0, 0)))
        return seeds


@dataclass(frozen=True, slots=True)
class LossOfCall:
    """A loss that a script takes of a result."""

    call: TrainingCall
    taken: TakenLoss
    on_host: Callable[[torch.Tensor], torch.Tensor]
    """Computes the loss on the host."""
    source: torch.Tensor | None = None
    """The result of the call, if the loss function got its log-softmax instead."""

    def differentiate(
        self, value: torch.Tensor, seed: torch.Tensor, *, create_graph: bool
    ) -> torch.Tensor:
        """Return the gradient of the result, computed by the host, from that of the loss."""
        loss = self.on_host(value)
        (found,) = torch.autograd.grad(loss, value, seed, create_graph=create_graph)
        return found


def _are_proportional(one: Array, other: Array) -> bool:
    """Tell whether an array is another one but for a factor, and for roundings."""
    first, second = one.reshape(-1).astype(np.float64), other.reshape(-1).astype(np.float64)
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    is_known = bool(np.isfinite(lengths)) and bool(first.any())
    return not is_known or abs(float(first @ second)) > _ONE_DIRECTION * lengths


def _has_elements_of(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Tell whether two tensors are views of the same elements, in the same order."""
    is_same = one.data_ptr() == other.data_ptr() and one.numel() == other.numel()
    return is_same and one.is_contiguous() and other.is_contiguous()
