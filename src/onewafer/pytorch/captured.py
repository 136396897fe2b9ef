"""A captured call: a graph, the tensors that it is bound to, and how results go back.

A `Capture` holds for many calls. `bind` joins it with the tensors of one, which is a launch, or
several: a sequence each, or a part of the batch, or some rows of a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from onewafer.graph import SEEDS, draw_factors, num_samples, with_samples
from onewafer.pytorch.lowering import DRAWN, Decision, Drawn, DropoutFactors, External, Layout
from onewafer.pytorch.lowering.joined import cut_batch, cut_sequence
from onewafer.pytorch.refusals import are_unchanged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from onewafer.errors import SourceLine, UnsupportedOperationError
    from onewafer.graph import Graph
    from onewafer.pytorch.lowering import RandomInput
    from onewafer.pytorch.lowering.joined import JoinedLoss
    from onewafer.pytorch.lowering.lines import Trace
    from onewafer.pytorch.written import BoundWrite, Written


@dataclass(frozen=True, slots=True)
class WaferResult:
    """A tensor of the module's result that the wafer computes."""

    name: str
    """An output of the graph."""
    layout: Layout
    """Element of the tensor → element of the output."""
    dtype: torch.dtype
    device: torch.device

    def build(self, output: NDArray[np.floating[Any]]) -> torch.Tensor:
        """Return the tensor for an output of shape (rows, features)."""
        values = torch.tensor(self.layout.take(output))
        return torch.empty(values.shape, dtype=self.dtype, device=self.device).copy_(values)


@dataclass(frozen=True, slots=True)
class HostResult:
    """A part of the module's result that needs no computation: an argument or a constant."""

    value: object


@dataclass(frozen=True, slots=True)
class CapturedCall:
    """One call, ready for the wafer."""

    capture: Capture
    inputs: Mapping[str, torch.Tensor]
    """Graph input → tensor of shape (rows, features)."""
    parameters: Mapping[str, torch.Tensor]
    """Graph parameter → the tensor as the module holds it."""
    results: tuple[WaferResult | HostResult, ...]
    divisors: Mapping[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    """Output that is a loss → the script's divisor of it."""
    drawn: Drawn | None = None
    """The inputs that are random numbers."""
    written: tuple[BoundWrite, ...] = ()
    """Results that it writes into buffers of the module."""
    launch: int = 0
    """The index of its launch, where the call has several."""
    start: int = 0
    """The position of the first row, where a launch has some rows of a sequence."""

    @property
    def graph(self) -> Graph:
        """The graph for the wafer."""
        return self.capture.graph

    @property
    def rows(self) -> int:
        """Rows of the call's batch."""
        return self.graph.inputs[0].shape[0]

    @property
    def is_end_of_tiles(self) -> bool:
        """True if it is a part of a call, with the last rows of a sequence but not the first."""
        return self.start > 0 and self.start == (self.capture.tiles - 1) * self.rows

    @property
    def samples(self) -> int:
        """Samples of the call, in all its launches: feature maps, or rows; a sequence is one."""
        first, graph = self.graph.inputs[0], self.graph
        return len(self.inputs[first.name]) * num_samples(graph) // first.shape[0]

    def split(self) -> tuple[CapturedCall, ...]:
        """Return a call for each launch; only its graph, inputs and parameters have a meaning.

        The graph of the last one is for as many samples as are left.
        """
        count = self.capture.sequences
        return (self,) if count == 1 else tuple(self._part(index) for index in range(count))

    def _part(self, index: int) -> CapturedCall:
        graph = self.graph
        shapes = {tensor.name: tensor.shape for tensor in (*graph.inputs, *graph.parameters)}
        inputs = {n: _take(tensor, index, shapes[n][0]) for n, tensor in self.inputs.items()}
        parameters = {
            name: tensor
            if (*tensor.shape,) == shapes[name]
            else _take(tensor, index, shapes[name][0])
            for name, tensor in self.parameters.items()
        }
        start = index % self.capture.tiles * self.rows
        part = replace(self, inputs=inputs, parameters=parameters, launch=index, start=start)
        if part.samples == num_samples(graph):
            return part
        rest = replace(self.capture, graph=with_samples(graph, part.samples))
        return replace(part, capture=rest)

    def seeds(self) -> dict[str, NDArray[np.int32]]:
        """Return the input of its launch from which the wafer draws, if it does."""
        if self.drawn is None or self.drawn.seeds is None:
            return {}
        return {SEEDS: self.drawn.seeds_of(self.launch // self.capture.tiles)}

    @property
    def needs_gradient(self) -> bool:
        """True if autograd would record the call now, for any tensor that it reads."""
        tensors = (*self.inputs.values(), *self.parameters.values())
        return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)

    def join(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return outputs with one loss for all sequences, divided as the script does it."""
        found = dict(outputs)
        for name in (self.capture.joined.keys() | self.divisors.keys()) & found.keys():
            total = found[name].sum(axis=0, keepdims=True, dtype=np.float64)
            with np.errstate(all="ignore"):  # no row may count
                found[name] = (total / self.loss_divisor(name)).astype(found[name].dtype)
        return found

    def loss_divisor(self, name: str) -> float:
        """Return the divisor of an output's sum over all launches; 1 for most outputs."""
        how, divisor = self.capture.joined.get(name), self.divisors.get(name)
        of_mean = 1.0 if how is None else how.divisor(self.inputs, self.capture.sequences)
        return of_mean if divisor is None else of_mean * float(divisor)

    def restore(self, outputs: Mapping[str, NDArray[np.floating[Any]]]) -> object:
        """Return what the module would have returned, from `(rows, features)` outputs."""
        tensors: dict[str, torch.Tensor] = {}
        """By name: a result that the module returns twice is one tensor."""
        leaves: list[object] = []
        for result in self.results:
            match result:
                case HostResult():
                    leaves.append(result.value)
                case WaferResult(name):
                    if name not in tensors:
                        tensors[name] = result.build(outputs[name])
                    leaves.append(tensors[name])
        return pytree.tree_unflatten(leaves, self.capture.result_spec)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Capture:
    """Identity of a computation, whatever the values of its tensors; equal to itself only."""

    graph: Graph
    inputs: Mapping[str, External]
    parameters: Mapping[str, External]
    results: tuple[WaferResult | HostResult | External, ...]
    """An `External` is an argument or parameter that is returned as it is."""
    result_spec: pytree.TreeSpec
    decided: tuple[Decision, ...] = ()
    """Host tensors, as masks, for whose elements the graph was specialised."""
    on_host: tuple[str, ...] = ()
    """The work of the host on an argument before the wafer begins."""
    traces: Mapping[str, Trace] = field(default_factory=dict[str, "Trace"])
    """Result of the graph → the source of its call."""
    sequences: int = 1
    """The launches of a call: sequences, or parts of them or of its batch; the graph is for one
    launch. Inputs have the rows of all launches, one after the other, and so have parameters with
    more rows than in the graph."""
    flop: int = 0
    """FLOP of the call on the host, as `flop` counts."""
    joined: Mapping[str, JoinedLoss] = field(default_factory=dict[str, "JoinedLoss"])
    """Output that is a loss of each launch → how these are joined."""
    divisors: Mapping[str, External] = field(default_factory=dict[str, External])
    """Output that is a loss → the host's divisor of it."""
    drawn: tuple[RandomInput, ...] = ()
    """The draws of a call, in this order."""
    written: tuple[Written, ...] = ()
    """Buffers that a call writes."""
    tiles: int = 1
    """Launches of each sequence, which have equally many of its rows."""

    def bind(self, leaves: Sequence[object]) -> CapturedCall:
        """Return the call whose arguments have these leaves, of the captured shapes and types."""
        known: dict[int, torch.Tensor] = {}
        rows = {name: external.find(leaves, known) for name, external in self.inputs.items()}
        parameters = {n: external.find(leaves, known) for n, external in self.parameters.items()}
        results = tuple(
            HostResult(result.find(leaves, known)) if isinstance(result, External) else result
            for result in self.results
        )
        divisors = {name: external.find(leaves, known) for name, external in self.divisors.items()}
        drawn = Drawn.of(self.drawn) if self.drawn else None
        if drawn is not None:
            rows |= {name: factors for name, factors in drawn.inputs.items() if name in rows}
        written = tuple(write.bind(leaves, known) for write in self.written)
        return CapturedCall(self, rows, parameters, results, divisors, drawn, written)

    def cut(self, samples: int) -> Capture:
        """Return the same for launches of so many samples of the batch.

        Raises UnsupportedOperationError if samples of different launches meet.
        """
        graph, joined = cut_batch(self.graph, samples)
        launches = -(-num_samples(self.graph) // samples)
        return replace(self, graph=graph, sequences=launches, joined=joined)

    def cut_sequences(self, rows: int) -> Capture:
        """Return the same for launches of so many rows of a sequence.

        Raises UnsupportedOperationError if a row depends on more than those before it.
        """
        tiles = self.graph.inputs[0].shape[0] // rows
        graph, joined = cut_sequence(self.graph, rows)
        launches = self.sequences * tiles
        known = {**joined, **self.joined}
        return replace(self, graph=graph, sequences=launches, tiles=tiles, joined=known)

    def drawing_on_wafer(self) -> Capture:
        """Return the same with factors of dropouts that the wafer draws instead of the host."""
        given = {tensor.name for tensor in self.graph.inputs}
        dropouts = {
            one.name: one
            for one in self.drawn
            if isinstance(one, DropoutFactors) and one.name in given
        }
        if not dropouts:
            return self
        graph = draw_factors(self.graph, {n: one.threshold for n, one in dropouts.items()})
        given -= {tensor.name for tensor in graph.inputs}
        numbers = {name: number for number, name in enumerate(dropouts) if name in given}
        drawn = tuple(
            replace(one, number=numbers[one.name])
            if isinstance(one, DropoutFactors) and one.name in numbers
            else one
            for one in self.drawn
        )
        is_left = any(isinstance(one, DropoutFactors) and not one.is_on_wafer for one in drawn)
        return replace(
            self,
            graph=graph,
            inputs={n: external for n, external in self.inputs.items() if n not in given},
            drawn=drawn,
            on_host=tuple(what for what in self.on_host if is_left or what != DRAWN),
        )

    def place_of(self, error: UnsupportedOperationError) -> SourceLine | None:
        """Return the user's line that a refusal of the graph is about, if it is known."""
        trace = None if error.result is None else self.traces.get(error.result)
        return error.refusal.place or (None if trace is None else trace.line())

    def holds_for(self, leaves: Sequence[object]) -> bool:
        """Tell whether a call with these leaves has the masks that the graph was made for."""
        return are_unchanged(self.decided, leaves)


def _take(tensor: torch.Tensor, index: int, rows: int) -> torch.Tensor:
    """Return so many rows of a tensor, the `index`-th ones, or as many as are left."""
    return tensor[index * rows : (index + 1) * rows]
