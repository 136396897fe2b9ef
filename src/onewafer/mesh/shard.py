"""Cut a graph into a mesh program: `graph` → `mesh`.

Three decisions are made here: the layout of each tensor (`orientation`); the place of each block in
PE memory (`lowering.builder`: first fit over the lifetimes of activations, in the banks that
`lowering.phases` chooses; element-wise operations work in place of an operand that is not read
again); and the order of operations (that of the graph, each lowered by a class of its family).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError, UnsupportedOperationError
from onewafer.graph import (
    Attention,
    DataType,
    FirstRow,
    RowAt,
    num_samples,
    position_tables,
    verify_graph,
    with_part_of_samples,
    with_sequences,
)
from onewafer.mesh.lowering.builder import LEAST_JOINING, Builder
from onewafer.mesh.lowering.catalog import blamed_on, lowering_of
from onewafer.mesh.lowering.optimizer import (
    append_clearing,
    append_clearing_of_carried,
    append_clipping,
    append_optimizer,
)
from onewafer.mesh.lowering.phases import Needs
from onewafer.mesh.lowering.training import Training
from onewafer.mesh.lowering.uses import Uses
from onewafer.mesh.orientation import Orientations
from onewafer.mesh.sample_groups.sums import add_up_gradients, begin_gradients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.arch import Architecture
    from onewafer.graph import Gradients, Graph
    from onewafer.mesh.lowering.training import Update
    from onewafer.mesh.optimizers import StepOperation
    from onewafer.mesh.program import MeshProgram


MAX_POSITIONS = 0xFFFF
"""The most positions that a word of a launch can count."""


def shard(
    graph: Graph,
    *,
    width: int,
    height: int,
    architecture: Architecture,
    context: int | None = None,
    sequences: int = 1,
    usual_rows: int | None = None,
    least_joining: int = LEAST_JOINING,
) -> MeshProgram:
    """Return the mesh program of a graph on a rectangle of PEs.

    `context` is the largest number of positions of a sequence, for which causal attention has a
    cache. By default it is the length of the tables of positions, or else the rows of a launch.
    Each of `sequences` has such a cache, and a launch may have rows of all of them. `usual_rows` is
    the usual number of a sequence's rows in a launch, for which the middles of the axes are chosen
    (`lowering.middles`); by default 1 for a program that caches keys and values, and all rows for
    any other. On axes of at least `least_joining` PEs, several linear layers with several rows in
    f32 are reduced together.

    Raises GraphError for a graph that is not well formed, UnsupportedOperationError for an
    operation without a lowering, ConfigurationError for a rectangle that the wafer has no room for,
    a context longer than a table of positions, or usual rows that no launch can have. `verify`
    checks whether the program fits the memory of a PE.
    """
    return Cutter(graph, sequences=sequences).cut(
        width=width,
        height=height,
        architecture=architecture,
        context=context,
        usual_rows=usual_rows,
        least_joining=least_joining,
    )


def shard_training(
    gradients: Gradients,
    *,
    width: int,
    height: int,
    architecture: Architecture,
    num_model: int | None = None,
    optimizer: type[StepOperation] | None = None,
    updates: Sequence[Update] = (),
    context: int | None = None,
    sample_groups: int = 1,
) -> MeshProgram:
    """Return the program of a graph with its gradients, in entries that are launched one by one.

    They are `forward`, `loss` and `backward`: the model is the first `num_model` operations, the
    loss those after it; by default all are the model, and there is no loss. A launch of `backward`
    adds to the gradients of the parameters, which are its outputs; it belongs to the forward pass
    launched last, and `clear` sets them to 0. `updates` are the steps of optimizers, each with
    other parameters and an entry: `update`, `update_2` and so on. Its outputs are its parameters
    and their states; its input is the numbers of each group of parameters. An `optimizer` stands
    for one update, in which all parameters are one group. `sum_gradients` returns the sum of the
    squares of all gradients; `scale_gradients` multiplies them by an input, and `clamp_gradients`
    bounds them by one.

    If rows are tokens of a sequence, a launch has all of them unless the `context`, the positions
    of a sequence, is longer: then `forward` launches follow each other from its first rows on and
    cache keys and values. `backward` launches go back from its last rows, each after a `forward`
    launch of the same rows, and carry gradients of keys and values; `clear_carried` precedes the
    first of them.

    With several `sample_groups`, a power of two that divides the samples, the rectangle consists of
    as many groups of PE rows, one below the other, each with its part of the samples and all
    parameters; a group has a power of two of rows. What is computed over all samples, such as the
    statistics of a batch norm, is summed over groups.

    Raises as `shard` does, and UnsupportedOperationError for a graph in f16, or for samples that
    cannot be divided among the groups.
    """
    if gradients.graph.dtype is not DataType.F32:
        raise UnsupportedOperationError(
            f"training in {gradients.graph.dtype} is not supported on the wafer; use f32"
        )
    number = gradients.num_forward if num_model is None else num_model
    training = Training.of(gradients, number)
    if optimizer is not None:
        updates = ((optimizer, (tuple(training.outputs.values()),)),)
    training = replace(training, updates=updates)
    rows = gradients.graph.inputs[0].shape[0] if gradients.graph.is_sequence else None
    cutter = Cutter(gradients.graph, training=training, sample_groups=sample_groups)
    return cutter.cut(
        width=width,
        height=height,
        architecture=architecture,
        context=rows if context is None else context,
        usual_rows=rows,
    )


class Cutter:
    """A graph that is cut for several rectangles, with everything that they share computed once.

    Raises GraphError for a graph that is not well formed.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        sequences: int = 1,
        training: Training | None = None,
        sample_groups: int = 1,
    ) -> None:
        """Take a graph, the number of cached sequences, the training, and the sample groups."""
        verify_graph(graph, seeds=training.seeds if training else ())
        self._whole = graph if sample_groups > 1 else None
        self._sample_groups = sample_groups
        if sample_groups > 1:
            graph = _of_group(graph, sample_groups)
        if sequences > 1:
            _check_slots(graph)
            graph = with_sequences(graph, sequences)
        self._sequences = sequences
        self._graph = graph
        self._training = training
        self._shortest_table = _shortest_table(graph)
        self._most_positions = most_positions(graph)
        self._keeps = any(
            isinstance(item, Attention) and item.is_causal for item in graph.operations
        )

    def cut(
        self,
        *,
        width: int,
        height: int,
        architecture: Architecture,
        context: int | None = None,
        usual_rows: int | None = None,
        least_joining: int = LEAST_JOINING,
    ) -> MeshProgram:
        """Return the mesh program on a rectangle of PEs, as `shard` does."""
        check_rectangle(width, height, architecture)
        height = self._rows_of_group(height)
        layouts = self._orientations.cut(width, height)
        positions = self._choose_context(context)
        self._check_rows(usual_rows, positions)
        builder = Builder(
            self._uses,
            (width, height),
            layouts,
            positions,
            sequences=self._sequences,
            usual_rows=usual_rows,
            least_joining=least_joining,
            training=self._training,
            whole=self._whole,
        )
        self._append_operations(builder)
        return builder.build()

    def _rows_of_group(self, height: int) -> int:
        """Return the PE rows of a sample group, which must be a power of two."""
        rows, left = divmod(height, self._sample_groups)
        if self._sample_groups > 1 and (left or rows.bit_count() != 1):
            raise UnsupportedOperationError(
                f"{height} rows of PEs are not {self._sample_groups} groups of a power of two each"
            )
        return rows

    def _append_operations(self, builder: Builder) -> None:
        """Lower the graph: first what runs once a launch, then operation after operation."""
        for index, operation in enumerate(self._graph.operations):
            builder.begin(index)
            with blamed_on(operation):
                lowering_of(operation).prepare(operation, builder)
        builder.end_preparation()
        training = self._training
        first, last = training.backward if training else (-1, -1)
        for index, operation in enumerate(self._graph.operations):
            builder.begin(index)
            if index == first:
                begin_gradients(builder)
            with blamed_on(operation):
                lowering_of(operation).lower(operation, builder)
            if index == last:
                add_up_gradients(builder)
            builder.end()
        if training is not None and training.updates:
            for index, (step, groups) in enumerate(training.updates):
                append_optimizer(builder, step, groups, index=index)
            append_clipping(builder, training.outputs.values())
        if training is not None and training.outputs:
            append_clearing(builder)
        if builder.trains_in_tiles:
            append_clearing_of_carried(builder)

    @cached_property
    def _orientations(self) -> Orientations:
        return Orientations(self._graph)

    @cached_property
    def _uses(self) -> Uses:
        return Uses(
            self._graph,
            {
                operation.result.name: Needs(
                    works_in_place=lowering_of(operation).works_in_place,
                    pair=lowering_of(operation).pair(operation),
                    scalars=lowering_of(operation).scalars(operation),
                )
                for operation in self._graph.operations
            },
        )

    def _check_rows(self, usual: int | None, positions: int | None) -> None:
        """Refuse usual rows that no launch can have."""
        if usual is None or not self._uses.is_sequence:
            return
        rows = self._graph.inputs[0].shape[0]
        most = rows if positions is None else min(rows, positions)
        least = rows if self._graph.has_feature_maps else 1
        if not least <= usual <= most:
            raise ConfigurationError(
                f"launches of {usual} rows are not possible for {self._graph.name!r}: they have "
                f"{least} to {most}"
            )

    def _choose_context(self, wanted: int | None) -> int | None:
        """Return the largest number of positions of a sequence; None: no limit."""
        graph, shortest, most = self._graph, self._shortest_table, self._most_positions
        if not self._uses.is_sequence:
            return None
        if wanted is None:
            rows = graph.inputs[0].shape[0]
            return most if shortest is not None else rows if self._keeps else None
        if not 1 <= wanted <= most:
            limit = f"{shortest!r} has {most} positions" if shortest else f"positions end at {most}"
            raise ConfigurationError(
                f"a context of {wanted} positions is not possible for {graph.name!r}: {limit}; "
                f"use 1 to {most}"
            )
        return wanted


def _of_group(graph: Graph, groups: int) -> Graph:
    """Return the graph of one of several sample groups; refuse samples that do not divide."""
    samples = num_samples(graph)
    if graph.is_sequence or samples % groups or groups.bit_count() != 1:
        raise UnsupportedOperationError(
            f"{graph.name} cannot have its {samples} samples on {groups} groups of PEs"
        )
    return with_part_of_samples(graph, samples // groups)


def _check_slots(graph: Graph) -> None:
    """Refuse a graph whose launches cannot have rows of several sequences."""
    attentions = [item for item in graph.operations if isinstance(item, Attention)]
    if not attentions:
        reason = "it has no attention to earlier tokens, whose keys and values would be kept"
    elif not all(item.is_causal for item in attentions):
        reason = "its attention is not causal: each token attends to all rows of a launch"
    elif any(isinstance(item, FirstRow) for item in graph.operations):
        reason = "it takes the first token of a sequence, which is in an earlier launch"
    elif any(isinstance(item, RowAt) for item in graph.operations):
        reason = "it takes a token that an argument names, which may be in an earlier launch"
    else:
        return
    raise UnsupportedOperationError(
        f"{graph.name} cannot work on several sequences at a time: {reason}"
    )


def most_positions(graph: Graph) -> int:
    """Return the most positions that the tables of a graph and the words of a launch allow."""
    shortest = _shortest_table(graph)
    length = MAX_POSITIONS if shortest is None else graph.tensor(shortest).shape[0]
    return min(length, MAX_POSITIONS)


def _shortest_table(graph: Graph) -> str | None:
    """Return the table with the fewest positions."""
    tables = position_tables(graph)
    return min(tables, key=lambda name: graph.tensor(name).shape[0], default=None)


def largest_rectangle(architecture: Architecture) -> tuple[int, int]:
    """Return the (width, height) of the PEs that memcpy leaves to a program."""
    width = architecture.fabric_width - architecture.margin_west - architecture.margin_east
    height = architecture.fabric_height - architecture.margin_north - architecture.margin_south
    return width, height


def check_rectangle(width: int, height: int, architecture: Architecture) -> None:
    """Raise ConfigurationError for a rectangle of PEs that a machine does not have."""
    widest, highest = largest_rectangle(architecture)
    if not (1 <= width <= widest and 1 <= height <= highest):
        raise ConfigurationError(
            f"a rectangle of {width}×{height} PEs is not available on {architecture.title}: "
            f"width must be 1–{widest}, height 1–{highest}"
        )
