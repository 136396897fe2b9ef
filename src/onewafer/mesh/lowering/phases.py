"""Choose which results share a block, and the memory banks where activations begin (`banks`).

Parameters begin at word 0 of a period, activations at word 1 or 3. Rows with an even number of
words then never conflict with those of a parameter, and two activations of one DSD operation begin
at different words.
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
"""The words of a period at which activations begin."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Properties of one graph operation that decide about its blocks."""

    works_in_place: bool
    """True if the result may overwrite the block of a dead operand."""
    pair: tuple[str, str] | None
    """The two operands of equal shape that one DSD operation reads; None: no such pair."""
    scalars: tuple[str, ...] = ()
    """The operands that are one number, which every PE needs."""


def find_owners(
    graph: Graph,
    needs: Mapping[str, Needs],
    last_use: Mapping[str, int],
    redistributed: Container[str],
) -> dict[str, str]:
    """Return, for each input and result, the tensor in whose block it is stored.

    `needs` are those of the operation that defines a result. An element-wise operation works in
    place of an operand that is not read again; all others get a new block.
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
    """Return the offset of each activation block modulo `period`, in elements.

    `needs` are those of the operation that defines a result. `owners` maps a tensor to the one in
    whose block it is stored; `redistributed` names results whose right operand is first
    redistributed into the result's block.
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
