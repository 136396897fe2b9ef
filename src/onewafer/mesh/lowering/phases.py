"""Choose the results that share a block, and the banks in which activations begin (`banks`).

Parameters begin at word 0 of a period, activations at 1 or 3: rows with an even number of words
that start there never conflict with those of a parameter, and two activations of one DSD operation
start at different words.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.mesh.banks import WORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from onewafer.graph import Graph

_FIRST, _SECOND = 1, 3
"""Words from a multiple of the period to an activation."""


@dataclass(frozen=True, slots=True)
class Needs:
    """The needs of one operation of the graph that decide where its blocks may lie."""

    works_in_place: bool
    """True if the result may overwrite the block of a dead operand."""
    pair: tuple[str, str] | None
    """The operands of equal shape that one DSD operation reads, if there are two."""
    scalars: tuple[str, ...] = ()
    """The operands of one number that every PE needs."""


def find_owners(
    graph: Graph,
    needs: Mapping[str, Needs],
    last_use: Mapping[str, int],
    redistributed: Container[str],
) -> dict[str, str]:
    """Return, for each input and result, the tensor whose block it is kept in.

    `needs` are those of the operation that defines a result. An element-wise operation works in
    place where an operand dies; all others get a new block.
    """
    owners = {tensor.name: tensor.name for tensor in graph.inputs}
    for index, operation in enumerate(graph.operations):
        name = operation.result.name
        owners[name] = name
        if needs[name].works_in_place and name not in redistributed:
            dying = [o for o in operation.activation_operands if last_use[o] == index]
            if dying:
                owners[name] = owners[dying[0]]
    return owners


def choose_phases(
    graph: Graph,
    needs: Mapping[str, Needs],
    owners: Mapping[str, str],
    redistributed: Container[str],
) -> dict[str, int]:
    """Return for each block of activations its offset modulo `period`, in elements.

    `needs` are those of the operation that defines a result. `owners` maps a tensor to the one
    whose block it is kept in; `redistributed` names the results of operations whose right operand
    is redistributed into the block of the result first.
    """
    partners: defaultdict[str, set[str]] = defaultdict(set)
    for operation in graph.operations:
        name = operation.result.name
        operands = needs[name].pair
        if operands is not None:
            left, right = (
                owners[operands[0]],
                owners[name if name in redistributed else operands[1]],
            )
            partners[left].add(right)
            partners[right].add(left)
    words: dict[str, int] = {}
    for owner in dict.fromkeys(owners.values()):
        is_taken = any(words.get(partner) == _FIRST for partner in partners[owner])
        words[owner] = _SECOND if is_taken else _FIRST
    in_a_word = WORD_BYTES // graph.dtype.num_bytes
    return {owner: phase * in_a_word for owner, phase in words.items()}
