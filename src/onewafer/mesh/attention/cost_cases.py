"""Cost cases of the steps of attention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.mesh import attention as mesh
from onewafer.mesh.attention.arrays import num_slots, row_lengths
from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.cost_case import (
    NUM_PES,
    NUM_SEQUENCES,
    OF_ONE,
    OF_SEQUENCES,
    OF_SEVERAL,
    CostCase,
    MoreSlots,
    Sizes,
    grid,
    grid_of_slots,
)
from onewafer.mesh.dropout.cost_cases import DRAW, seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from onewafer.mesh.blocks import RowKind
    from onewafer.mesh.operation import MeshOperation


@dataclass(frozen=True, slots=True)
class _Attention:
    """Operands of the steps of attention; the first PE has all features."""

    sizes: Sizes
    axis: Axis = Axis.X
    has_slots: bool = False

    @property
    def shape(self) -> mesh.AttentionShape:
        """The attention shape of the case."""
        sizes = self.sizes
        return mesh.AttentionShape(
            axis=self.axis,
            num_pes=NUM_PES,
            kv_heads=sizes.heads,
            group=sizes.group,
            head_dim=sizes.share,
            width=sizes.heads * sizes.share,
            capacity=sizes.slots + 1,
            is_causal=True,
            rows=sizes.launch.num_rows,
            table=0,
            sequences=NUM_SEQUENCES if self.has_slots else 1,
        )

    @property
    def shape_of_part(self) -> mesh.AttentionShape:
        """An attention shape whose PEs have half the features of a head."""
        shape = self.shape
        return replace(shape, head_dim=2 * shape.head_dim, width=shape.head_dim, is_apart=True)

    @property
    def kept(self) -> Block:
        """The block of the cache."""
        return Block(Arena.STATE, 0, 1, self.shape.cache_elements)

    def block(self, columns: int = 1) -> Block:
        """Return a block with the rows of the launch."""
        return Block(Arena.ACTIVATIONS, 0, self.sizes.launch.num_rows, columns)


def _shares_and_seeds(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the memory words that steps with random draws read."""
    return _shares(sizes) | seeds(sizes)


def _shares(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the table that `Share` writes on the measured PE."""
    shape, launch = _Attention(sizes).shape, sizes.launch
    b, end = sizes.place_across, launch.start + launch.num_rows
    lengths = row_lengths(launch.num_rows, reach=launch.start + 1, step=1, b=b, size=NUM_PES)
    numbers = int(num_slots(end, b, NUM_PES)), launch.start, *lengths.tolist()
    return {"model.tables": numbers + shape.local_heads(sizes.place).words}


def _shares_of_slots(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the table that `Share` writes on the measured PE for several slots."""
    shape, b = _Attention(sizes, has_slots=True).shape, sizes.place_across
    words: list[int] = []
    lengths: list[int] = []
    scores = 0
    for first, launch in sizes.launch.each_slot():
        (slot,) = launch.slots
        slots = int(shape.slots(NUM_PES, launch)[b])
        cache = slot.sequence * shape.cache_elements
        words += [first, slot.rows, slot.position, cache, slots, scores]
        seen = row_lengths(slot.rows, reach=slot.position + 1, step=1, b=b, size=NUM_PES)
        lengths += seen.tolist()
        scores += slot.rows * shape.score_heads * slots
    words += [0] * (shape.table_words - shape.most_kv_heads - 3 - len(lengths) - len(words))
    return {"model.tables": (scores, *words, *lengths, *shape.local_heads(sizes.place).words)}


_FULL = grid(rows=(4, 8), heads=(2, 3), group=(3, 5), slots=(16, 21))
_FIRST = grid(rows=(3, 4, 8), start=(0,), place_across=(3,))
"""Cases from position 0: the last PE keeps position 3, so rows before it see no slot there."""
_WITHOUT_HEADS = grid(rows=(4, 8), place=(3,))


def _attention(
    build: Callable[[_Attention], MeshOperation],
    *,
    axis: Axis = Axis.X,
    rounds: tuple[str, ...] = (),
    lengths: tuple[str, ...] = (),
    strides: tuple[str, ...] = (),
    grid: tuple[Sizes, ...] = _FULL,
    rows: Collection[RowKind] = OF_ONE,
) -> CostCase:
    has_slots = rows is OF_SEVERAL
    return CostCase(
        lambda sizes: build(_Attention(sizes, axis, has_slots)),
        rounds,
        lengths,
        strides,
        grid,
        rows=rows,
        memory=_shares_of_slots if has_slots else _shares,
    )


def _cases_of_scores() -> Iterator[CostCase]:
    """Yield the cases of the steps up to the scores."""
    yield _attention(
        lambda its: mesh.Share(its.shape, its.block()),
        rounds=("rows", "heads"),
    )
    yield _attention(
        lambda its: mesh.Append(its.shape, its.kept, its.block(), its.block()),
        rounds=("strided", "single", "single*width", "kept*heads"),
        lengths=("width", "share", "1"),
        strides=("capacity",),
        grid=(*_FULL, *grid(rows=(4, 8), heads=(2, 3), slots=(130,))),
    )
    yield _attention(
        lambda its: mesh.Score(its.shape, its.block(), its.block(), its.kept),
        rounds=(
            "used",
            "used*rows",
            "seeing",
            "present*seeing",
            "seeing*heads",
            "seeing*heads*group",
            "seeing*group*features",
        ),
        lengths=("rows*num_heads*slots", "seen"),
        grid=(
            *grid(rows=(4, 8), heads=(2, 3), group=(3, 5), share=(6, 8), slots=(16, 21)),
            *_FIRST,
            *_WITHOUT_HEADS,
        ),
    )
    yield _attention(
        lambda its: mesh.BiasScores(
            its.shape, its.block(), Block(Arena.PARAMETERS, 0, its.sizes.rows + 1, 22)
        ),
        rounds=("biased",),
        lengths=("slots",),
    )
    for axis in Axis:
        yield _attention(lambda its: mesh.ReduceScores(its.shape, its.block()), axis=axis)
        yield _attention(
            lambda its: mesh.BroadcastScores(its.shape, its.block()), axis=axis, rows=OF_SEQUENCES
        )
    yield _attention(lambda its: mesh.ReduceScores(its.shape_of_part, its.block()))
    yield _attention(
        lambda its: mesh.BroadcastScores(its.shape_of_part, its.block()), rows=OF_SEQUENCES
    )


def _cases_of_values() -> Iterator[CostCase]:
    """Yield the cases of the steps after the scores."""
    softmax = "present", "present*rows", "present*seeing", "seeing*heads*group"
    yield _attention(
        lambda its: mesh.FindMaxima(its.shape, its.block(), its.block(), 0.5),
        rounds=softmax,
        lengths=("rows*most", "heads*group*slots", "seen"),
        grid=(*_FULL, *_FIRST, *_WITHOUT_HEADS),
    )
    yield _attention(
        lambda its: mesh.Weigh(its.shape, its.block(), its.block(), its.block()),
        rounds=(*softmax, "seeing*chunks", "seeing*cut"),
        lengths=("rows*totals", "chunk", "seen"),
        grid=(
            *grid(rows=(4, 8), heads=(2, 4), group=(2, 4), slots=(16, 32)),
            *_FIRST,
            *grid(rows=(4, 8), heads=(2,), group=(2,), place=(3,)),
        ),
    )
    yield _attention(
        lambda its: mesh.SumValues(its.shape, its.block(), its.block(), its.kept),
        rounds=(
            *("rows", "present*rows", "rows*heads", "rows*heads*group"),
            "heads*group*attended",
        ),
        lengths=("share",),
        grid=(*_FULL, *_FIRST, *_WITHOUT_HEADS),
    )
    yield _attention(
        lambda its: mesh.Divide(its.shape, its.block(), its.block()),
        rounds=("heads", "heads*group", "rows*heads*group", "padded", "padded*rows"),
        lengths=("share", "lacking"),
        strides=("group",),
        grid=(*_FULL, *_WITHOUT_HEADS),
        rows=OF_SEQUENCES,
    )


_MORE_SLOTS: tuple[MoreSlots, ...] = (), ((52, 3),), ((59, 3), (46, 5))
"""Further slots: the first PE keeps a position of each, and more positions than rows."""
_SLOTS = grid_of_slots(_MORE_SLOTS, rows=(4, 7), heads=(2, 3), group=(3, 5), slots=(16, 21))
_FIRST_SLOTS = grid_of_slots((((0, 2),), ((1, 6),)), rows=(3, 8), start=(0, 9), place_across=(3,))
"""Cases from the first positions, for some of which the last PE has no slot."""
_SLOTS_WITHOUT_HEADS = grid_of_slots(((), ((8, 3), (14, 5))), rows=(4, 8), place=(3,))


def _cases_of_slots() -> Iterator[CostCase]:
    """Yield the cases of the steps done slot by slot, up to the scores."""
    yield _attention(
        lambda its: mesh.Share(its.shape, its.block()),
        rounds=("slot", "slot*rows", "heads"),
        grid=_SLOTS,
        rows=OF_SEVERAL,
    )
    yield _attention(
        lambda its: mesh.Append(its.shape, its.kept, its.block(), its.block()),
        rounds=("slot", "strided", "single", "single*width", "kept*heads"),
        lengths=("width", "share", "1"),
        strides=("capacity",),
        grid=(
            *_SLOTS,
            *grid_of_slots(((), ((8, 3), (14, 5))), rows=(4, 8), heads=(2, 3), slots=(130,)),
        ),
        rows=OF_SEVERAL,
    )
    yield _attention(
        lambda its: mesh.Score(its.shape, its.block(), its.block(), its.kept),
        rounds=(
            "slot",
            "used",
            "used*rows",
            "seeing",
            "present*seeing",
            "seeing*heads",
            "seeing*heads*group",
            "seeing*group*features",
        ),
        lengths=("rows*num_heads*slots", "seen"),
        grid=(
            *grid_of_slots(_MORE_SLOTS[1:], rows=(4, 7), heads=(2, 3), group=(3, 5), share=(6, 8)),
            *_FIRST_SLOTS,
            *_SLOTS_WITHOUT_HEADS,
        ),
        rows=OF_SEVERAL,
    )
    for axis in Axis:
        yield _attention(
            lambda its: mesh.ReduceScores(its.shape, its.block()), axis=axis, rows=OF_SEVERAL
        )
    yield _attention(lambda its: mesh.ReduceScores(its.shape_of_part, its.block()), rows=OF_SEVERAL)


def _cases_of_slot_values() -> Iterator[CostCase]:
    """Yield the cases of the steps done slot by slot, after the scores."""
    softmax = "slot", "slot*present", "slot*present*rows", "present*seeing", "seeing*heads*group"
    yield _attention(
        lambda its: mesh.FindMaxima(its.shape, its.block(), its.block(), 0.5),
        rounds=softmax,
        lengths=("rows*most", "heads*group*slots", "seen"),
        grid=(
            *_SLOTS,
            *grid_of_slots(
                (((0, 3),), ((1, 5),)), rows=(3, 8), group=(4,), start=(0, 21), place_across=(3,)
            ),
            *_SLOTS_WITHOUT_HEADS,
        ),
        rows=OF_SEVERAL,
    )
    yield _attention(
        lambda its: mesh.Weigh(its.shape, its.block(), its.block(), its.block()),
        rounds=(*softmax, "seeing*chunks", "seeing*cut"),
        lengths=("rows*totals", "chunk", "seen"),
        grid=(
            *grid_of_slots(
                ((), ((61, 3),), ((62, 2), (60, 4))),
                rows=(4, 8),
                heads=(2, 4),
                group=(2, 4),
                slots=(16, 32),
            ),
            *_FIRST_SLOTS,
            *_SLOTS_WITHOUT_HEADS,
        ),
        rows=OF_SEVERAL,
    )
    yield _attention(
        lambda its: mesh.SumValues(its.shape, its.block(), its.block(), its.kept),
        rounds=(
            *("slot", "slot*rows", "slot*present*rows", "slot*rows*heads"),
            *("slot*rows*heads*group", "heads*group*attended"),
        ),
        lengths=("share",),
        grid=(*_SLOTS, *_FIRST_SLOTS, *_SLOTS_WITHOUT_HEADS),
        rows=OF_SEVERAL,
    )


def _cases_of_gradients() -> Iterator[CostCase]:
    """Yield the cases of the backward pass."""
    softmax = "present", "present*rows", "present*seeing", "seeing*heads*group"
    yield _attention(
        lambda its: mesh.WeighProducts(
            its.shape, its.block(), its.block(), its.block(), its.block()
        ),
        rounds=(*softmax, "seeing*chunks", "seeing*cut"),
        lengths=("2*rows*most", "chunk", "seen"),
        grid=(
            *grid(rows=(12, 20), heads=(2, 4), group=(2, 4), slots=(16, 32)),
            *_FIRST,
            *grid(rows=(4, 8), heads=(2,), group=(2,), place=(3,)),
        ),
    )
    yield _attention(
        lambda its: mesh.ScoresBackward(its.shape, its.block(), its.block(), its.block(), 0.5),
        rounds=softmax,
        lengths=("seen",),
        grid=(*_FULL, *_FIRST, *_WITHOUT_HEADS),
    )
    yield _attention(
        lambda its: mesh.ScaleScores(
            its.shape, its.block(), its.block(its.shape.num_heads * its.shape.capacity)
        ),
        rounds=softmax,
        lengths=("seen",),
        grid=(*_FULL, *_FIRST, *_WITHOUT_HEADS),
    )
    yield _drops()
    yield _attention(
        lambda its: mesh.SumKeys(its.shape, its.block(), its.block(), its.kept),
        rounds=(
            *("rows", "present*rows", "rows*heads", "rows*heads*group"),
            "heads*group*attended",
        ),
        lengths=("share", "rows*joint"),
        strides=("group",),
        grid=(*_FULL, *_FIRST, *_WITHOUT_HEADS),
    )
    yield _turn()
    yield _of_slot_sums(
        lambda its: mesh.AddSlots(its.shape, its.block(), its.block(), its.block(), its.block(), 1),
        lengths=("share", "slots*width"),
    )
    yield _of_slot_sums(
        lambda its: mesh.CarrySlots(its.shape, its.block(), its.block(), its.block(), its.kept, 1),
        lengths=("share",),
    )


def _drops() -> CostCase:
    """Return the case of drawn dropout factors, in parts of equal size."""

    def build(its: _Attention) -> mesh.DropScores:
        return mesh.DropScores(replace(its.shape, capacity=its.sizes.slots), its.block(), DRAW)

    of_heads = "drawn*heads*group"
    sample = _attention(
        build,
        rounds=(
            *("drawn", "drawn*present", of_heads, f"{of_heads}*slots", f"{of_heads}*strips"),
            *(f"{of_heads}*strips*pairs", f"{of_heads}*strips*parts"),
        ),
        lengths=("strip", "part"),
        grid=(
            *grid(rows=(4, 8), heads=(2, 3), group=(1, 3), slots=(16, 128)),
            *grid(rows=(16,), slots=(16, 21)),
            *grid(rows=(4, 8), is_evaluation=(True,)),
            *_WITHOUT_HEADS,
        ),
    )
    return replace(sample, memory=_shares_and_seeds)


def _turn() -> CostCase:
    """Return the case of a cache copy with keys and values swapped."""
    return _attention(
        lambda its: mesh.TransposeCache(its.shape, its.block(), its.kept),
        rounds=(
            *("used", "used*present", "used*heads", "used*near*features"),
            *("used*far*features", "used*far*features*slots"),
        ),
        lengths=("slots", "1"),
        strides=("share",),
        grid=(
            *_FULL,
            *grid(rows=(4,), heads=(1, 2), slots=(16, 21), share=(3, 130)),
            *_FIRST,
            *_WITHOUT_HEADS,
        ),
    )


def _of_slot_sums(
    build: Callable[[_Attention], MeshOperation], *, lengths: tuple[str, ...]
) -> CostCase:
    """Return the case of sums over rows that are added to the rows of slots."""
    return _attention(
        build,
        rounds=(
            *("used", "used*rows", "used*present*rows", "used*rows*heads"),
            *("used*rows*heads*group", "heads*group*attended"),
            *("kept", "present*kept", "kept*heads"),
        ),
        lengths=lengths,
        strides=("group",),
        grid=(
            *_FULL,
            *grid(rows=(5, 7), heads=(2, 3)),
            *_FIRST,
            *_WITHOUT_HEADS,
            *grid(rows=(5, 7), place=(3,)),
        ),
    )


_CLEARING = CostCase(
    lambda sizes: mesh.ClearCarried(sizes.block(Arena.STATE)),
    lengths=("elements",),
    is_of_singles=True,
    rows=OF_ONE,
)
COST_CASES = (
    *_cases_of_scores(),
    *_cases_of_values(),
    *_cases_of_slots(),
    *_cases_of_slot_values(),
    *(replace(sample, is_of_singles=True) for sample in _cases_of_gradients()),
    _CLEARING,
)
