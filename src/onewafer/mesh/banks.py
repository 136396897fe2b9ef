"""Where blocks begin in the banks of memory, and which of them are read in turns (M13).

An operation with two sources in memory that advance alike takes longer if they begin in words of
32 bits that are equal modulo 4. Arenas begin in words that are 0 modulo 4 (`emit_csl`), so offsets
decide. Parameters begin at 0 there, activations at 1 or 3: rows of an even number of words that
start so never meet those of a parameter, and two activations that an `Add` reads get one of each.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from onewafer.graph import Add, AddBias, DataType, Relu, activation_operands
from onewafer.mesh import program as mesh

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from onewafer.graph import Graph
    from onewafer.mesh.program import Block, MeshOperation

PERIOD_BYTES = 16
"""Addresses that differ by a multiple of it lie in the same banks, as far as conflicts go."""
_WORD_BYTES = 4
_FIRST, _SECOND = 1, 3
"""Words from a multiple of the period to an activation."""


def period(dtype: DataType) -> int:
    """Return the elements after which banks repeat."""
    return PERIOD_BYTES // dtype.num_bytes


def choose_phases(
    graph: Graph, owners: Mapping[str, str], turned: Container[str]
) -> dict[str, int]:
    """Return for each block of activations its offset modulo `period`, in elements.

    `owners` maps a tensor to the one whose block it is kept in; `turned` names the results of
    additions whose right operand is turned into the block of the result first.
    """
    partners: defaultdict[str, set[str]] = defaultdict(set)
    for operation in graph.operations:
        if isinstance(operation, Add):
            right = operation.result.name if operation.result.name in turned else operation.right
            pair = owners[operation.left], owners[right]
            partners[pair[0]].add(pair[1])
            partners[pair[1]].add(pair[0])
    words: dict[str, int] = {}
    for owner in dict.fromkeys(owners.values()):
        is_taken = any(words.get(partner) == _FIRST for partner in partners[owner])
        words[owner] = _SECOND if is_taken else _FIRST
    in_a_word = _WORD_BYTES // graph.dtype.num_bytes
    return {owner: phase * in_a_word for owner, phase in words.items()}


def find_owners(
    graph: Graph, last_use: Mapping[str, int], turned: Container[str]
) -> dict[str, str]:
    """Return the tensor in whose block each input and result is kept.

    An element-wise operation works in place where an operand dies; all others get a new block.
    """
    owners = {tensor.name: tensor.name for tensor in graph.inputs}
    for index, operation in enumerate(graph.operations):
        name = operation.result.name
        owners[name] = name
        match operation:
            case AddBias() | Relu() | Add() if name not in turned:
                dying = [o for o in activation_operands(operation) if last_use[o] == index]
                if dying:
                    owners[name] = owners[dying[0]]
            case _:
                pass
    return owners


def num_conflicts(operation: MeshOperation, dtype: DataType) -> int:
    """Return how many DSD operations of a mesh operation read their two sources in turns.

    They are the multiply-adds of a `Matmul` (one for every row of the result and of the weight; in
    f16 its sources advance differently), the rows of an `AddBias`, the one addition of an `Add`.
    """
    match operation:
        case mesh.Matmul(result, _, weight) if dtype is DataType.F32:
            sums, weights = _row_banks(result, dtype), _row_banks(weight, dtype)
            return sum(count * weights[bank] for bank, count in sums.items())
        case mesh.AddBias(_, source, bias):
            return _row_banks(source, dtype)[_bank(bias.offset, dtype)]
        case mesh.Add(_, left, right):
            return int(_bank(left.offset, dtype) == _bank(right.offset, dtype))
        case _:
            return 0


def _bank(offset: int, dtype: DataType) -> int:
    return offset * dtype.num_bytes % PERIOD_BYTES // _WORD_BYTES


def _row_banks(block: Block, dtype: DataType) -> Counter[int]:
    """Return how many rows of a block begin in each bank, modulo 4."""
    offsets = (block.offset + row * block.columns for row in range(block.rows))
    return Counter(_bank(offset, dtype) for offset in offsets)
