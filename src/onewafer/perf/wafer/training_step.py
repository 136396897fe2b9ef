"""The time of an optimizer step on wafers to which weights are streamed.

Weights and optimizer states live outside (MemoryX). They come layer by layer through a tree
(SwarmX), which copies them to all wafers; activations stay on each wafer, gradients go back through
the tree, which adds them up. So all wafers do the same work on sequences of their own:

    round = Σ layers max(forward, weights in)
          + Σ layers max(again + backward, weights in, gradients out)
          + rows of tables for tokens in, their gradients out
    step  = rounds · round + the first layer's weights + a way down and one up the tree

The sequences of a round are limited by the memory for their backward pass: the inputs of every c-th
layer, of the c layers since, and all that one layer saves. With c = 1 each layer is recomputed
while its weights are there for the backward pass; with larger c, weights come once more.

Tokens are not sent to experts: the weights of all experts arrive, and each is multiplied by the
rows of a strip that are routed to it, tokens · k / E in all if experts and strips are chosen
equally often. The fullest strip has a whole number of rows, so that few tokens per expert cost as
much as one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, singledispatch
from typing import TYPE_CHECKING

from onewafer.graph import (
    Attention,
    DataType,
    Embedding,
    Experts,
    LayerPart,
    Linear,
    PositionEmbedding,
)
from onewafer.mesh import largest_rectangle
from onewafer.perf.breakdown import Breakdown, Item, Limit
from onewafer.perf.expert_networks import network_of
from onewafer.perf.jobs import Precision
from onewafer.perf.kept_activations import Recompute, kept_bytes
from onewafer.perf.training_work import AttentionPairs, product_flop, training_pieces
from onewafer.perf.wafer.training_products import Products, Strips, strips_of
from onewafer.perf.wafer.workload import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.graph import Graph, Operation
    from onewafer.perf.jobs import Train
    from onewafer.perf.model import Model
    from onewafer.perf.training_work import TrainingPiece
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.system import Machine
    from onewafer.perf.wafer.training_products import ProductCost

ATTENTION_BACKWARD = 2.5
"""Backward ÷ forward products of attention, scores recomputed (FlashAttention-2, arXiv 2307.08691,
section 4.1)."""
PRODUCT_BACKWARD = 2.0
ELEMENTWISE_BACKWARD = 5 / 3
"""A gate reads 2 and writes 1 forward, reads 3 and writes 2 backward."""
ROWS = "rows of tables and their gradients"
_LOOKS_UP = (Embedding, PositionEmbedding)
_WORD_BYTES = 4
"""Bytes of a wavelet."""
WEIGHTS, GRADIENTS, TREE = "weights from outside", "gradients to outside", "tree between wafers"
BACKWARD, AGAIN = "backward", "recomputation"


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceTime:
    """Seconds of one piece of a segment with all tokens of a round on a wafer."""

    products: dict[LayerPart, float]
    sums: float
    """Sums of products over the PEs of strips."""
    attention: float
    """Products of queries, keys and values, and their transfers."""
    elementwise: float
    receiving: float
    """Writing weights to memory, one 32-bit word per cycle of the data path."""
    gradient_sums: float
    """Sums of weight gradients over all strips, from one to the next."""
    stream: float
    """Streaming weights in, or gradients out: over the edge, and along the columns."""
    looked_up: float
    """Rows of tables, which stay outside, or their gradients, over the edge."""
    fewest: float
    """A lower bound: all forward products at the pace of the PEs' data path."""

    @property
    def forward(self) -> float:
        """Seconds of the forward pass."""
        products = sum(self.products.values()) + self.sums
        return products + self.attention + self.elementwise + self.receiving

    @property
    def backward(self) -> float:
        """Seconds of the backward pass, without recomputation."""
        products = sum(self.products.values()) + self.sums
        return (
            PRODUCT_BACKWARD * products
            + ATTENTION_BACKWARD * self.attention
            + ELEMENTWISE_BACKWARD * self.elementwise
            + self.receiving
            + self.gradient_sums
        )


@dataclass(frozen=True, slots=True)
class _Products:
    """Equal products of a piece."""

    inputs: int
    outputs: int
    count: int = 1
    share: Fraction = Fraction(1)
    """Share of the tokens that each expert has as rows."""

    def rows(self, tokens: int, strips: Strips) -> int:
        """Return the rows of the fullest strip."""
        return strips.rows(math.ceil(tokens * self.share))


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The division of a step's sequences into rounds on every wafer."""

    sequences: int
    """Sequences of a wafer at a time."""
    rounds: int
    strips: Strips
    interval: int
    """Layers from one saved input to the next: c."""

    @property
    def text(self) -> str:
        """The division in a few words."""
        several = f", {self.rounds:,} rounds of" if self.rounds > 1 else ","
        sequences = "1 sequence" if self.sequences == 1 else f"{self.sequences:,} sequences"
        return (
            f"weight streaming{several} {sequences} on each wafer, features over "
            f"{self.strips.width} PEs"
        )


class StreamedTraining:
    """Computes the times of steps of one model and job on wafers."""

    def __init__(self, model: Model, job: Train, machine: Machine, options: WaferOptions) -> None:
        self._job, self._machine, self._density = job, machine, options.density
        dtype = DataType.F32 if options.precision is Precision.FP32 else DataType.F16
        self._bytes = dtype.num_bytes
        self._pieces = training_pieces(model, job.sequence)
        self._parts = parts_of([piece.graph for piece in self._pieces])
        self._products = Products(machine.architecture, dtype)
        self._timed = cache(self._time)
        self.strips = tuple(strips_of(machine.architecture))

    @property
    def num_layers(self) -> int:
        """Number of pieces, between which inputs are saved."""
        return sum(piece.repeats for piece in self._pieces)

    def token_bytes(self, interval: int) -> float:
        """Return the bytes that a token of a round saves on the wafer."""
        inputs = max(piece.graph.inputs[0].shape[-1] * self._bytes for piece in self._layers)
        working = max(
            kept_bytes(piece.graph, Recompute.NONE, operand_bytes=self._bytes, copies_of_rows=0)
            for piece in self._layers
        )
        return (-(-self.num_layers // interval) + interval - 1) * inputs + working

    def best_interval(self) -> int:
        """Return the interval c at which a token saves the fewest bytes."""
        return min(range(1, self.num_layers + 1), key=self.token_bytes)

    def room(self, candidate: Round) -> float | None:
        """Return the free bytes of a PE, negative if too few; None: no program can be built."""
        tokens = candidate.sequences * self._job.sequence
        rows = candidate.strips.rows(tokens)
        needed = 0
        for products in self._kinds:
            cost = self._cost(products, tokens, candidate.strips)
            if cost is None:
                return None
            needed = max(needed, cost.num_bytes)
        kept = rows * self.token_bytes(candidate.interval) / candidate.strips.width
        return self._machine.architecture.memory_bytes - needed - kept

    def piece_times(self, candidate: Round) -> tuple[tuple[PieceTime, int], ...]:
        """Return the time of a piece of every segment, and the number of pieces."""
        tokens = candidate.sequences * self._job.sequence
        return tuple(
            (self._timed(index, candidate.strips, tokens), piece.repeats)
            for index, piece in enumerate(self._pieces)
        )

    def seconds(self, candidate: Round) -> float:
        """Return the time of a step."""
        return self.breakdown(candidate).seconds

    def breakdown(self, candidate: Round) -> Breakdown:
        """Return where the time of a step goes."""
        pieces = self.piece_times(candidate)
        items = [*self._computing(pieces), *self._waiting(pieces, candidate.interval)]
        rounds = Breakdown(tuple(items)).scaled(candidate.rounds)
        whole = rounds + Breakdown((*self._once(pieces),))
        return Breakdown(tuple(item for item in whole.items if item.seconds))

    def fewest_seconds(self, candidate: Round) -> float:
        """Return a lower bound of a step: products at the pace of the data path alone.

        Sums are in fp16, and only weights are waited for.
        """
        return candidate.rounds * sum(
            count
            * (
                max(piece.fewest, piece.stream)
                + max((1 + PRODUCT_BACKWARD) * piece.fewest, piece.stream)
            )
            for piece, count in self.piece_times(candidate)
        )

    def hidden_from(self, candidate: Round) -> int | None:
        """Return the fewest sequences of a round that hide the weights; None: no number does.

        Time grows with sequences, what is streamed does not.
        """
        ratios = [
            piece.stream / (piece.forward / candidate.sequences)
            for piece, _ in self.piece_times(candidate)
            if piece.products
        ]
        return math.ceil(max(ratios)) if ratios else None

    @property
    def _layers(self) -> tuple[TrainingPiece, ...]:
        most = max(piece.repeats for piece in self._pieces)
        return tuple(piece for piece in self._pieces if piece.repeats == most)

    @property
    def _kinds(self) -> set[_Products]:
        return {
            products
            for piece in self._pieces
            for operation in piece.graph.operations
            for products in _products_of(operation, piece.graph)
        }

    def _cost(self, products: _Products, tokens: int, strips: Strips) -> ProductCost | None:
        """Return the cost of one of equal products; None: no program can be built."""
        rows = products.rows(tokens, strips)
        return self._products.cost(products.inputs, products.outputs, strips=strips, rows=rows)

    def _time(self, index: int, strips: Strips, tokens: int) -> PieceTime:
        graph, rows = self._pieces[index].graph, strips.rows(tokens)
        products: dict[LayerPart, float] = {}
        sums, flop, dense, dense_flop = 0.0, 0.0, 0.0, 0.0
        for operation, part in zip(graph.operations, self._parts[index], strict=True):
            for one in _products_of(operation, graph):
                cost = self._cost(one, tokens, strips)
                assert cost is not None, "room() asks first"
                cycles = self._density * cost.product_cycles * one.count
                seconds = self._machine.seconds(cycles)
                products[part] = products.get(part, 0.0) + seconds
                sums += self._machine.seconds(cost.sum_cycles * one.count)
                work = float(2 * tokens * one.share * one.count * one.inputs * one.outputs)
                flop += work
                if isinstance(operation, Linear):
                    dense, dense_flop = dense + seconds, dense_flop + work
        pace = dense_flop / dense * self._density if dense else math.inf
        attention_flop = self._attention_flop(graph) * tokens
        streamed = self._streamed_bytes(self._pieces[index])
        return PieceTime(
            products=products,
            sums=sums,
            attention=attention_flop / pace + self._attention_transfers(graph, rows, strips),
            elementwise=self._elementwise_seconds(graph, tokens, strips),
            receiving=self._machine.seconds(streamed / strips.width / _WORD_BYTES),
            gradient_sums=self._link_seconds(streamed / self._bytes / strips.width),
            stream=max(
                self._edge_seconds(streamed),
                self._link_seconds(streamed / _WORD_BYTES / strips.width),
            ),
            looked_up=self._edge_seconds(self._looked_up_bytes(graph, tokens)),
            fewest=self._data_path_seconds(self._density * flop + attention_flop),
        )

    def _attention_flop(self, graph: Graph) -> float:
        """Return the FLOP of attention's products per token, under the mask."""
        attention = [op for op in graph.operations if isinstance(op, Attention)]
        flop = sum(product_flop(op, graph, AttentionPairs.CAUSAL) for op in attention)
        return flop / self._job.sequence

    def _attention_transfers(self, graph: Graph, rows: int, strips: Strips) -> float:
        """Return the time on links of the transfers of attention.

        Keys and values of a sequence go through all its strips. Scores of a head are summed over
        the PEs that share its features, and sent back to them.
        """
        words = 0.0
        for operation in graph.operations:
            if not isinstance(operation, Attention):
                continue
            features = graph.tensor(operation.query).shape[-1] + operation.result.shape[-1]
            flop = product_flop(operation, graph, AttentionPairs.CAUSAL)
            pairs_of_row = flop / 2 / features / self._job.sequence
            keys = graph.tensor(operation.key), graph.tensor(operation.value)
            elements = self._job.sequence * sum(tensor.shape[-1] for tensor in keys)
            words += elements * self._bytes / _WORD_BYTES / strips.width
            words += 2 * rows * pairs_of_row * max(1.0, operation.heads / strips.width)
        return self._link_seconds(words)

    def _elementwise_seconds(self, graph: Graph, tokens: int, strips: Strips) -> float:
        """Return the time of all other operations, one element at a time."""
        flop = sum(
            op.count_flop(graph.by_name) - _expert_flop(graph, op)
            for op in graph.operations
            if not isinstance(op, Linear | Attention)
        )
        rate = float(self._machine.architecture.timing.elements_per_cycle["fadds"])
        cycles = flop / self._job.sequence * tokens / strips.num_pes / rate
        return self._machine.seconds(cycles)

    def _streamed_bytes(self, piece: TrainingPiece) -> float:
        """Return the streamed bytes of a piece's weights; tables stay outside."""
        sparse = {op.weight for op in piece.graph.operations if isinstance(op, Linear)}
        sparse |= {
            name for op in piece.graph.operations if isinstance(op, Experts) for name in op.weights
        }
        looked_up = {op.table for op in piece.graph.operations if isinstance(op, _LOOKS_UP)}
        return sum(
            tensor.num_elements * self._bytes * (self._density if tensor.name in sparse else 1.0)
            for tensor in piece.segment.weights
            if tensor.name not in looked_up - sparse
        )

    def _looked_up_bytes(self, graph: Graph, tokens: int) -> float:
        rows = [op.result for op in graph.operations if isinstance(op, _LOOKS_UP)]
        return sum(tensor.shape[-1] for tensor in rows) * tokens * self._bytes

    def _data_path_seconds(self, flop: float) -> float:
        architecture = self._machine.architecture
        name = "fmacs" if self._bytes == DataType.F32.num_bytes else "fmach"
        rate = float(architecture.timing.elements_per_cycle[name])
        num_pes = math.prod(largest_rectangle(architecture))
        return self._machine.seconds(flop / 2 / rate / num_pes)

    def _edge_seconds(self, num_bytes: float) -> float:
        return num_bytes / self._machine.architecture.io_bytes_per_second

    def _link_seconds(self, words: float) -> float:
        """Return the time of `words` on a link between PEs."""
        timing = self._machine.architecture.timing
        return self._machine.seconds(words * timing.link_window_cycles / timing.link_window_words)

    def _computing(self, pieces: tuple[tuple[PieceTime, int], ...]) -> Iterator[Item]:
        parts: dict[LayerPart, float] = {}
        for piece, count in pieces:
            for part, seconds in piece.products.items():
                parts[part] = parts.get(part, 0.0) + count * seconds
        for part, seconds in parts.items():
            yield Item(name=part.value, seconds=seconds, limit=Limit.COMPUTE)
        sums = sum(count * piece.sums for piece, count in pieces)
        yield Item(name="sums of products", seconds=sums, limit=Limit.FABRIC_LATENCY)
        yield _unchecked("attention core", sum(count * piece.attention for piece, count in pieces))
        yield _unchecked("elementwise", sum(count * piece.elementwise for piece, count in pieces))
        yield Item(
            name="weights into memory",
            seconds=sum(count * piece.receiving for piece, count in pieces),
            limit=Limit.FABRIC_BANDWIDTH,
            is_cross_checked=False,
        )
        yield _unchecked(AGAIN, sum(count * piece.forward for piece, count in pieces))
        yield _unchecked(BACKWARD, sum(count * piece.backward for piece, count in pieces))

    def _waiting(self, pieces: tuple[tuple[PieceTime, int], ...], interval: int) -> Iterator[Item]:
        """Yield the exposed time of streaming weights and gradients."""
        weights = gradients = 0.0
        for piece, count in pieces:
            weights += count * max(0.0, piece.stream - piece.forward)
            behind = piece.backward
            if interval == 1:  # recomputed while the weights are there
                behind += piece.forward
            else:
                weights += count * max(0.0, piece.stream - piece.forward)
            gradients += count * max(0.0, piece.stream - behind)
        yield _off_wafer(WEIGHTS, weights)
        yield _off_wafer(GRADIENTS, gradients)
        yield _off_wafer(ROWS, 2 * sum(count * piece.looked_up for piece, count in pieces))

    def _once(self, pieces: tuple[tuple[PieceTime, int], ...]) -> Iterator[Item]:
        """Yield the exposed transfers: the first weights, the last gradients, the tree."""
        first = next((p for p, _ in pieces if p.products), pieces[0][0])
        yield _off_wafer("first weights", first.stream)
        system = self._machine.system
        depth = math.ceil(math.log(max(2, self._machine.num_wafers), system.tree_fan_out))
        yield _off_wafer(TREE, 2 * depth * system.crossing_seconds)


@singledispatch
def _products_of(operation: Operation, graph: Graph) -> tuple[_Products, ...]:
    """Return the products with weights of an operation."""
    del operation, graph
    return ()


@_products_of.register(Linear)
def _(operation: Linear, graph: Graph) -> tuple[_Products, ...]:
    outputs, inputs = graph.tensor(operation.weight).shape
    return (_Products(inputs, outputs),)


@_products_of.register(Experts)
def _(operation: Experts, graph: Graph) -> tuple[_Products, ...]:
    network = network_of(graph, operation)
    count = network.num_experts
    share = Fraction(network.experts_per_row, count)
    return (
        _Products(network.features, network.widened, count, share),
        _Products(network.hidden, network.features, count, share),
    )


def _expert_flop(graph: Graph, operation: Operation) -> int:
    """Return the FLOP of an operation's expert products, 0 for others."""
    if not isinstance(operation, Experts):
        return 0
    return operation.result.shape[0] * network_of(graph, operation).flop_per_row


def _unchecked(name: str, seconds: float) -> Item:
    return Item(name=name, seconds=seconds, limit=Limit.COMPUTE, is_cross_checked=False)


def _off_wafer(name: str, seconds: float) -> Item:
    return Item(name=name, seconds=seconds, limit=Limit.OFF_WAFER, is_cross_checked=False)
