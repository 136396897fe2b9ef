"""Programs that train one module: which there are, and their launches.

A program has the model and its gradients, and where they are known the loss that the script takes
and the step of its optimizer. What the script does can change; then the module has another program.
Tensors on the wafer are those of the host: what the host has changed is sent before a launch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.execution import Phase, Trained
from onewafer.graph import derive_gradients, num_samples, with_rows, without_factors
from onewafer.mesh import (
    BACKWARD,
    CLAMP,
    CLEAR,
    CLEAR_CARRIED,
    CLIP_BOUND,
    CLIP_FACTOR,
    FORWARD,
    LOSS,
    NORM,
    SCALE,
    SQUARES_OF_GRADIENTS,
    moment_of,
    names_of_update,
)
from onewafer.pytorch.arrays import to_numpy
from onewafer.pytorch.programs import count_samples, cut_into_buckets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from onewafer.execution import Arrays, Launched, ResidentProgram
    from onewafer.graph import Gradients, Graph
    from onewafer.mesh import Launch
    from onewafer.pytorch.captured import CapturedCall
    from onewafer.pytorch.training.losses import Loss
    from onewafer.pytorch.training.optimizers import Step

    Array = NDArray[Any]
    HostValues = Callable[[int, int], Arrays]
    """Gives the rows of the outputs that the host has: of so many samples from a first one on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a training program: everything that it is made from."""

    graph: Graph
    """The model, with the rows of a launch."""
    wanted: tuple[str, ...]
    """Parameters and inputs whose gradients it gives."""
    loss: Loss | None = None
    """The loss that gradients come from; None: those of the outputs are given."""
    steps: tuple[Step, ...] = ()
    """The steps of optimizers, each with its parameters."""
    seeded: tuple[str, ...] = ()
    """Outputs whose gradients are given; none with a loss."""
    drawn: tuple[str, ...] = ()
    """Inputs that are random factors in training, and 1 in evaluation."""
    context: int | None = None
    """Tokens of a sequence, of which a launch has some; None: it has all."""

    @property
    def rows(self) -> int:
        """Samples of a launch."""
        return num_samples(self.graph)

    @property
    def trained(self) -> Trained:
        """The facts for placing it that its graph does not have."""
        return Trained(len(self.graph.operations), self.steps, self.context)

    @property
    def tiles(self) -> int:
        """Launches of a sequence."""
        return 1 if self.context is None else self.context // self.graph.inputs[0].shape[0]

    @property
    def whole(self) -> Plan:
        """The same with launches of whole sequences."""
        if self.context is None:
            return self
        return replace(self, graph=with_rows(self.graph, self.context), context=None)

    @property
    def evaluated(self) -> Graph:
        """The model in evaluation mode, without the factors of dropouts."""
        return without_factors(self.graph, self.drawn)

    def gives_more_than(self, other: Plan) -> bool:
        """Tell whether it does all that another one does, with gradients of more."""
        return {*self.wanted} > {*other.wanted} and replace(self, wanted=other.wanted) == other

    def derive(self) -> Gradients:
        """Return the graph with its gradients; raise GraphError where there is no rule."""
        if self.loss is None:
            return derive_gradients(self.graph, self.wanted, outputs=self.seeded)
        return derive_gradients(
            self.loss.append(self.graph), self.wanted, outputs=[self.loss.result]
        )


class TrainingProgram:
    """A loaded program of a plan."""

    def __init__(self, plan: Plan, gradients: Gradients, loaded: ResidentProgram) -> None:
        self.plan = plan
        self.loaded = loaded
        self.seeds = gradients.seeds
        """Output whose gradient is given → the input for it."""
        self.by_name = gradients.by_name
        """Parameter or input → its gradient."""
        self._holder: object = None
        """The call whose activations are on the wafer, if `_serial` is the last forward pass."""
        self._serial = 0
        backward = gradients.graph.operations[gradients.num_forward :]
        self._backward_flop: dict[tuple[str, ...], float] = {}
        """Operands that get gradients → FLOP of a backward pass for each sample."""
        self.operands_of_backward = frozenset(
            name
            for operation in backward
            for name in (*operation.activation_operands, *operation.parameter_operands)
        )
        """Tensors that the backward pass reads."""
        self._launches: dict[tuple[str, int], Launch] = {}
        self.rows_since_step = 0
        """The rows of the backward passes since the last step."""
        self._steps, self._loss = 0, ""
        """The steps so far, and the last loss, as a progress line shows it."""
        self._cycles = 0
        """Cycles of all launches up to the last step."""
        stored = {tensor.name for tensor in plan.graph.parameters}
        self.parameters = frozenset(name for name in self.by_name if name in stored)
        """The parameters whose gradients it gives."""
        self._parameter_gradients = {self.by_name[name] for name in self.parameters}
        if not loaded.leaves_values_to_host:
            self._note_beginning()

    def _note_beginning(self) -> None:
        """Note that the states of optimizers on the wafer begin with 0."""
        shapes = {tensor.name: tensor.shape for tensor in self.plan.graph.parameters}
        self.loaded.adopt(
            {
                moment_of(name, arena): np.zeros(shapes[name], np.float32)
                for step, groups in self.plan.steps
                for group in groups
                for name in group
                for arena in step.arenas
            }
        )

    def launch_of(self, entry: str, start: int = 0) -> Launch:
        """Return the launch of an entry, for rows from a position on."""
        if (entry, start) not in self._launches:
            whole = self.loaded.record.program.whole_launch()
            slots = tuple(replace(slot, position=start) for slot in whole.slots)
            self._launches[entry, start] = replace(whole, entry=entry, slots=slots)
        return self._launches[entry, start]

    def holds(self, holder: object) -> bool:
        """Tell whether the activations on the wafer are those of a call."""
        return self._holder is holder and self._serial == self.loaded.num_launches(FORWARD)

    def forward(
        self,
        holder: object,
        call: CapturedCall,
        host: HostValues,
        *,
        before: TrainingProgram | None,
    ) -> Arrays:
        """Launch the forward pass of a call; return its outputs, none if the host has them.

        `before` is the program that the call was launched on before: if it is this one, the pass is
        counted as repeated; another one hands its counts of the call over to this one.
        """
        loaded, rows = self.loaded, count_samples(call)
        self._holder = None  # until it is done: it may be interrupted
        parts = call.split()
        launches: list[Launched] = []
        first = 0
        for part in parts:
            samples = num_samples(part.graph)
            launches.append(self._launch_forward(part, partial(host, first, samples)))
            first += samples
        self._holder, self._serial = holder, loaded.num_launches(FORWARD)
        self._count(Phase.FORWARD, launches, before, rows=rows, flop=call.capture.flop)
        if loaded.leaves_values_to_host:
            return {}  # of some launches, those that were simulated, there are outputs
        outputs = [launched.outputs for launched in launches]
        return {name: self._join(parts, [out[name] for out in outputs]) for name in outputs[0]}

    def _count(
        self,
        phase: Phase,
        launches: Sequence[Launched],
        before: TrainingProgram | None,
        *,
        rows: int,
        flop: int,
    ) -> None:
        """Count launches for a call; the program `before` counted the same before, if any did."""
        if before is self:
            self.loaded.record.count_again(phase, launches)
            return
        self.loaded.count_call(phase, launches, rows=rows, flop=flop)
        if before is not None:
            before.loaded.record.give_up(phase, rows, flop)

    def _join(self, parts: Sequence[CapturedCall], arrays: Sequence[Array]) -> Array:
        """Return the rows of all parts of a call, without the rows that pad launches."""
        return np.concatenate(
            [
                array
                if num_samples(part.graph) == self.plan.rows
                else array[: len(array) // self.plan.rows * num_samples(part.graph)]
                for part, array in zip(parts, arrays, strict=True)
            ]
        )

    def _launch_forward(self, part: CapturedCall, host: Callable[[], Arrays]) -> Launched:
        """Launch the forward pass of one part of a call."""

        def cut() -> Arrays:
            (bucket,) = cut_into_buckets(part, self.plan.graph)
            return {**bucket.inputs, **part.seeds()}

        self.loaded.keep({name: to_numpy(tensor) for name, tensor in part.parameters.items()})
        return self._launch(FORWARD, cut, host, start=part.start)

    def loss(
        self,
        targets: Callable[[], Array],
        host: Callable[[], Arrays],
        *,
        rows: int,
        before: TrainingProgram | None,
    ) -> float | None:
        """Launch the loss; return it, None if the host has it.

        `before` is as in `forward`.
        """
        loss = self.plan.loss
        assert loss is not None, "it is asked for the loss that it has"  # invariant
        launched = self._launch(LOSS, lambda: {loss.target: targets()}, host)
        self._count(Phase.LOSS, [launched], before, rows=rows, flop=0)
        found = launched.outputs.get(loss.result)
        shown = host().get(loss.result) if found is None else found
        self._loss = "" if shown is None else f", loss {shown.item():.4g}"
        return None if found is None else float(found.item())

    def backward(
        self,
        holder: object,
        call: CapturedCall,
        seeds: Sequence[Arrays],
        *,
        wanted: tuple[str, ...],
        adds: bool = False,
        flop: int | None = None,
    ) -> Arrays:
        """Launch the backward pass; return gradients by their names in the graph.

        The call needs the `wanted` gradients of parameters and inputs; the program may give more.
        If it `adds`, those of parameters are sums with the ones that are on the wafer.

        There are seeds for each part of the call, from the last of which it goes back to the first.
        The last one may still have its activations on the wafer; the forward pass of the others is
        launched again. `flop` is the work of the host for the same pass, if it has computed it.
        """
        is_held = self.holds(holder)
        self._holder = None  # its activations make room for gradients
        clears = CLEAR in self._entries and not adds
        launches = [self._launch(CLEAR, dict)] if clears else []
        found: list[Arrays] = []
        parts = call.split()
        for index, given in reversed([*enumerate(seeds)]):
            part = parts[index]
            if not is_held:
                self._forward_again(_up_to(index, parts))
            is_held = False
            if part.is_end_of_tiles:
                launches.append(self._launch(CLEAR_CARRIED, dict))
            launches.append(self._launch(BACKWARD, lambda given=given: given, start=part.start))
            found.append(launches[-1].outputs)
        rows = count_samples(call)
        self.rows_since_step += rows
        count = self._count_flop(call.samples, wanted) if flop is None else flop
        self.loaded.count_call(Phase.BACKWARD, launches, rows=rows, flop=count)
        resident = {n: a for n, a in found[-1].items() if n in self._parameter_gradients}
        self.loaded.adopt(resident)
        if self.loaded.leaves_values_to_host:
            return {}
        return resident | {
            name: self._join(parts, [one[name] for one in reversed(found)])
            for name in found[-1].keys() - resident.keys()
        }

    def _count_flop(self, samples: int, wanted: tuple[str, ...]) -> int:
        """Return the FLOP of a backward pass, as PyTorch would compute it."""
        if wanted not in self._backward_flop:
            plan = replace(self.plan, wanted=wanted)
            self._backward_flop[wanted] = _count_backward(plan) / (plan.rows * plan.tiles)
        return round(self._backward_flop[wanted] * samples)

    def _forward_again(self, parts: Iterable[CapturedCall]) -> None:
        """Launch the forward pass of parts of a call once more."""
        for part in parts:
            again = self._launch_forward(part, dict)
            self.loaded.record.count_again(Phase.FORWARD, [again])

    def squares(self) -> float | None:
        """Launch the sum of the squares of all gradients; return it, None if it is the host's."""
        launched = self._clip(NORM, dict)
        found = launched.outputs.get(SQUARES_OF_GRADIENTS)
        return None if found is None else float(found.item())

    def scale(self, factor: float) -> Arrays:
        """Launch the product of all gradients with a factor; return them by their names."""
        return self._clip(SCALE, lambda: {CLIP_FACTOR: _number(factor)}).outputs

    def clamp(self, bound: float) -> Arrays:
        """Launch the bounding of all gradients by ±`bound`; return them by their names."""
        return self._clip(CLAMP, lambda: {CLIP_BOUND: _number(-bound)}).outputs

    def _clip(self, entry: str, inputs: Callable[[], Arrays]) -> Launched:
        launched = self._launch(entry, inputs)
        self.loaded.count_call(Phase.CLIP, [launched], rows=max(1, self.rows_since_step), flop=0)
        self.loaded.adopt(
            {n: a for n, a in launched.outputs.items() if n in self._parameter_gradients}
        )
        return launched

    @property
    def can_clip(self) -> bool:
        """True if it has entries that clip its gradients."""
        return NORM in self._entries

    def update(self, index: int, numbers: Array) -> Arrays:
        """Launch the step with an index in the plan; return parameters and optimizer states."""
        entry, name = names_of_update(index)
        launched = self._launch(entry, lambda: {name: numbers})
        is_first, rows = self.rows_since_step > 0, max(1, self.rows_since_step)
        self.rows_since_step = 0
        self.loaded.count_call(Phase.UPDATE, [launched], rows=rows, flop=0)
        if not is_first:  # that of another optimizer, after the same passes
            return launched.outputs
        self._steps += 1
        rate = self._rate(rows)
        self.loaded.stage = f"step {self._steps + 1:,}{self._loss}{rate}"
        if self.loaded.leaves_values_to_host:  # else launches, which take longer, have shown it
            self.loaded.show_stage(lambda: f"step {self._steps:,}{self._loss}{rate}")
        return launched.outputs

    def note_steps(self, count: int) -> None:
        """Note steps that were accounted for together."""
        self._steps += count
        self._cycles = self.loaded.record.elapsed_cycles

    def describe_repeated(self, steps: int, rows: int, cycles: int, loss: float | None) -> str:
        """Return the progress of a loop whose last `steps` are not accounted for yet.

        Rows, cycles and loss are those of the last one; the loss is None if it is gone.
        """
        if loss is not None:
            self._loss = f", loss {loss:.4g}"
        return f"step {self._steps + steps:,}{self._loss}{self._rate_of(rows, cycles)}"

    def note_rows(self, rows: int, *, is_stepped: bool = False) -> None:
        """Note the rows of backward passes that were accounted for with others.

        If it `is_stepped`, a step before them was accounted for, too.
        """
        self.rows_since_step = rows + (0 if is_stepped else self.rows_since_step)

    def _rate(self, rows: int) -> str:
        """Return how fast the wafer has taken the step that ends, for a progress line."""
        elapsed = self.loaded.record.elapsed_cycles
        cycles, self._cycles = elapsed - self._cycles, elapsed
        return self._rate_of(rows, cycles)

    def _rate_of(self, rows: int, cycles: int) -> str:
        what = "tokens" if self.plan.graph.is_sequence else "samples"
        clock_hertz = self.loaded.record.clock_hertz
        return f", {rows * clock_hertz / max(1, cycles):,.0f} {what}/s"

    @property
    def _entries(self) -> tuple[str, ...]:
        return self.loaded.record.program.entries

    def _launch(
        self,
        entry: str,
        inputs: Callable[[], Arrays],
        host: Callable[[], Arrays] | None = None,
        *,
        start: int = 0,
    ) -> Launched:
        launch = self.launch_of(entry, start)
        return self.loaded.repeat(launch) or self.loaded.launch(inputs(), launch, host=host)


def _count_backward(plan: Plan) -> int:
    """Return the FLOP of a backward pass, as PyTorch would compute it for whole sequences."""
    whole = plan.whole.derive()
    operations = whole.graph.operations[whole.num_forward :]
    return sum(operation.count_product_flop(whole.graph.by_name) for operation in operations)


def _up_to(index: int, parts: Sequence[CapturedCall]) -> Sequence[CapturedCall]:
    """Return the parts of a call to launch so that the backward pass of one can follow.

    Keys and values of a sequence's earlier rows are there, unless the part has its last ones: then
    another sequence may have been launched since.
    """
    part = parts[index]
    tiles = part.start // part.rows if part.is_end_of_tiles else 0
    return parts[index - tiles : index + 1]


def _number(value: float) -> Array:
    return np.full((1, 1), value, np.float32)
