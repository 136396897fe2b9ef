"""The operations of a model in a recording, in the words of the script.

In: a mesh program, and its closed form. Out: an operation of the recording for each operation of
the graph in each launch, with its line of the script; names of tensors; and the way to read the
step of each PE.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onewafer.execution.sampling import see_words
from onewafer.graph import ScriptName, layer_parts
from onewafer.mesh import Arena, steps, steps_of_words
from onewafer.recording import Operation

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from onewafer.graph import Operation as GraphOperation
    from onewafer.host import Whereabouts
    from onewafer.mesh import Estimator, MeshProgram, Step

    Key = tuple[str, int]
    """A launch, and the index of an operation of the graph."""

_NOT_SEEN = -1
"""Number of the step of a PE that begins or ends a launch."""
_UNKNOWN = ScriptName()
_ARGUMENTS = ("args_", "kwargs_")
"""Inputs that are named by their places among arguments."""
_GRADIENT = ".gradient"
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def see_steps(program: MeshProgram, position: str) -> Whereabouts:
    """Return how a sampler reads the step of each PE; `position` is the variable that has it."""
    numbers = {key: 2 * index for index, key in enumerate(_keys(program))}

    def number(step: Step | None) -> int:
        return _NOT_SEEN if step is None else numbers[_key(step)] + step.is_collective

    return see_words(position, list(map(number, steps_of_words(program))))


def _key(step: Step) -> Key:
    return step.entry, step.source


def _keys(program: MeshProgram) -> tuple[Key, ...]:
    """Return the operations in the order in which launches do them."""
    return tuple(dict.fromkeys(map(_key, steps(program))))


@dataclass(slots=True)
class _Tally:
    """The steps of a launch for an operation of the graph, repetitions included."""

    indices: list[int] = field(default_factory=list[int])
    """Indices of the mesh operations."""
    work_cycles: int = 0
    collective_cycles: int = 0


def _tallies(program: MeshProgram, estimator: Estimator) -> Mapping[Key, _Tally]:
    """Return the steps and cycles of each operation, by the closed form of a whole launch."""
    whole, known = program.whole_launch(), steps(program)
    tallies: dict[Key, _Tally] = {}
    for entry in program.entries:
        stretch = program.stretch(entry)
        costs = estimator.estimate(replace(whole, entry=entry)).operations
        for index, cost in zip(range(*stretch.indices(len(known))), costs, strict=True):
            tally = tallies.setdefault(_key(known[index]), _Tally())
            tally.indices.append(index)
            if known[index].is_collective:
                tally.collective_cycles += cost.cycles
            else:
                tally.work_cycles += cost.cycles
    return tallies


class DescribedProgram:
    """Names, lines and operations of a program in the words of its script."""

    def __init__(self, program: MeshProgram) -> None:
        self._program, graph = program, program.graph
        num_of_model = None
        if program.training is not None:
            num_of_model = next(iter(program.training.entries.values()))
        of_model = graph.operations[:num_of_model]
        self._of_model = {*(o.result.name for o in of_model), *(p.name for p in graph.parameters)}
        self._names = {name: known.name for name, known in graph.script_names.items() if known.name}
        inputs = [tensor.name for tensor in graph.inputs if tensor.name.startswith(_ARGUMENTS)]
        for number, name in enumerate(inputs, 1):
            self._names[name] = f"input {number}" if len(inputs) > 1 else "input"
        self._parts = dict[str, str]()
        self._callers = dict[str, str]()
        """Parameter → the result of the operation that reads it first."""
        for operation, part in zip(graph.operations, layer_parts(graph), strict=True):
            for name in (*operation.parameter_operands, operation.result.name):
                self._parts.setdefault(name, str(part))
                self._callers.setdefault(name, operation.result.name)

    def part_of(self, name: str) -> str:
        """Return the part of the layer that first reads a parameter, or gives a result."""
        return self._parts.get(name, "")

    def name_of(self, name: str) -> str:
        """Return the script's name of a tensor, with its role if it has one: `0.weight, gradient`.

        A result has its name in the graph.
        """
        base = _base(name, self._names)
        beside = name.removeprefix(base).replace(".", " ").replace("_", " ").strip()
        return ", ".join(filter(None, (self._names.get(base, base), beside)))

    def texts(self) -> dict[str, str]:
        """Return the texts of the files that operations come from, by path."""
        known = self._program.graph.script_names.values()
        files = {_shown(name.source).rpartition(":")[0] for name in known if name.source}
        texts: dict[str, str] = {}
        for file in sorted(files):
            with suppress(OSError):
                texts[file] = Path(file).read_text(encoding="utf-8", errors="replace")
        return texts

    def operations(self, estimator: Estimator) -> tuple[Operation, ...]:
        """Return the operations of the model, in the order of its launches."""
        return tuple(
            self._operation(key, tally) for key, tally in _tallies(self._program, estimator).items()
        )

    def _operation(self, key: Key, tally: _Tally) -> Operation:
        program, (launch, source) = self._program, key
        training, operation = program.training, program.graph.operations[source]
        if training is not None and launch not in training.entries:  # of an optimizer
            kind, layer, part, line, shape = program.operations[tally.indices[0]], "", "", "", ()
        else:
            kind, name, shape = operation, operation.result.name, operation.result.shape
            layer, part, line = self._layer(operation), self._part(name), self._line(name)
        return Operation(
            name=_CAPITAL.sub(" ", type(kind).__name__).lower(),
            layer=layer,
            launch=launch,
            part=part or "other",
            source=line,
            shape=shape,
            work_cycles=tally.work_cycles,
            collective_cycles=tally.collective_cycles,
            rounds=len({program.sources[index] for index in tally.indices}),
            activation_bytes=self._activation_bytes(source),
        )

    def _layer(self, operation: GraphOperation) -> str:
        """Return the path of the layer whose parameter an operation reads, or gives a gradient."""
        names = self._program.graph.script_names
        found = (*operation.parameter_operands, _base(operation.result.name, self._names))
        known = (names.get(name, _UNKNOWN).name for name in found)
        return next((name.rpartition(".")[0] for name in known if name), "")

    def _part(self, result: str) -> str:
        """Return the part of a result, or of the tensor whose gradient it is."""
        base = _base(result.removesuffix(_GRADIENT), self._of_model)
        is_gradient = result.endswith(_GRADIENT) and base in self._of_model
        return self._parts[base if is_gradient else result]

    def _line(self, result: str) -> str:
        """Return the line of the script of a result, or of the tensor whose gradient it is."""
        names, base = self._program.graph.script_names, _base(result, self._of_model)
        asked = (result, base, self._callers.get(base, ""))
        found = (names.get(name, _UNKNOWN).source for name in asked)
        return _shown(next(filter(None, found), ""))

    def _activation_bytes(self, source: int) -> int:
        in_use = self._program.activations_in_use[source : source + 1]
        return sum(in_use) * self._program.element_type(Arena.ACTIVATIONS).itemsize


def _base(name: str, known: Collection[str]) -> str:
    """Return the longest known prefix of a name that ends before a point; else the name."""
    begin = name
    while begin and begin not in known:
        begin = begin.rpartition(".")[0]
    return begin or name


def _shown(source: str) -> str:
    """Return a line of a script, its path relative to the current folder if it is inside."""
    here = f"{Path.cwd()}/"
    return source.removeprefix(here)
