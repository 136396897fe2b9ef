"""Relations between the layouts of tensors, which operations require."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from onewafer.errors import UnsupportedOperationError
from onewafer.mesh.blocks import PLAIN_ORDER, Axis, FeatureOrder


@dataclass(frozen=True, slots=True)
class Heads:
    """An order of features that operations on heads require; None in a field: any value."""

    head_dims: frozenset[int]
    """Features of each head; in plain order, heads of several sizes are compatible."""
    members: int | None = None
    swapped: int | None = None

    @classmethod
    def of(cls, head_dim: int, members: int | None = None, *, swapped: int | None = None) -> Heads:
        """Return the requirement of one operation."""
        return cls(frozenset({head_dim}), members, swapped)

    def merge(self, other: Heads) -> Heads | None:
        """Return the combination of two requirements; None if they contradict each other."""
        members = {wish for wish in (self.members, other.members) if wish is not None}
        swapped = {wish for wish in (self.swapped, other.swapped) if wish is not None}
        if len(members) > 1 or len(swapped) > 1:
            return None
        merged = Heads(
            self.head_dims | other.head_dims,
            members.pop() if members else None,
            swapped.pop() if swapped else None,
        )
        return merged if merged.is_plain or len(merged.head_dims) == 1 else None

    @property
    def is_plain(self) -> bool:
        """True if the features lie in their logical order."""
        return (self.members or 1) == 1 and self.swapped is None

    @property
    def order(self) -> FeatureOrder:
        """The order that fulfils the requirement."""
        if self.is_plain:
            return PLAIN_ORDER
        (head_dim,) = self.head_dims
        return FeatureOrder(head_dim, self.members or 1, self.swapped)


class Relations:
    """The relations between the layouts of tensors."""

    def __init__(self) -> None:
        self._axes = _ParityUnionFind()
        self._classes = _ParityUnionFind()
        self._heads: dict[str, Heads] = {}
        """The required order of each class of tensors, by the root of the class."""
        self._wishes: list[tuple[str, str]] = []
        self._laid_as: dict[str, str] = {}
        """Weight → the tensor whose layout its in features have."""
        self._turns: dict[str, int] = {}
        """Tensor → its number of groups of positions, which are distributed cyclically."""
        self._operands: defaultdict[str, list[str]] = defaultdict(list)
        """Weight → the operands that are multiplied by it, in order."""

    def join(self, left: str, right: str) -> None:
        """Give two tensors one axis and one order."""
        self.align(left, right)
        self.order_alike(left, right)

    def order_alike(self, left: str, right: str) -> None:
        """Give two tensors one order, and one axis unless that contradicts earlier relations.

        A gradient may lie along the other axis than its tensor if it is added to another gradient.
        """
        self._axes.relate(left, right, crossed=False)
        if not self._unite(left, right):
            raise UnsupportedOperationError(
                f"operations on attention heads ask for different orders of features of {left!r} "
                f"and {right!r}, which have to be distributed alike"
            )

    def join_if_possible(self, left: str, right: str) -> None:
        """Give two tensors one axis and one order, unless that contradicts other relations."""
        self._axes.relate(left, right, crossed=False)
        self._wishes.append((left, right))

    def put_across(self, left: str, right: str) -> None:
        """Lay two tensors along different axes."""
        self._axes.relate(left, right, crossed=True)
        self._check_axes(left, right, crossed=True)

    def put_across_if_possible(self, left: str, right: str) -> None:
        """Lay two tensors along different axes, unless that contradicts earlier relations."""
        self._axes.relate(left, right, crossed=True)

    def multiply(self, operand: str, weight: str, result: str) -> None:
        """Lay a product across its weight's in features, and across its operand if possible.

        A weight that was used before keeps its layout; an operand on another axis is redistributed.
        """
        self.put_across(self._laid_as.setdefault(weight, operand), result)
        self.put_across_if_possible(operand, result)
        self._operands[weight].append(operand)

    def note_table(self, table: str, rows: str) -> None:
        """Record that rows looked up in a table have the layout of its features."""
        self._laid_as.setdefault(table, rows)

    def align_with_operand(self, gradient: str, weight: str) -> None:
        """Lay the gradient of an operand along the operand's axis, for the last product first."""
        if self._operands[weight]:
            self.align(self._operands[weight].pop(), gradient)

    def align(self, left: str, right: str) -> None:
        """Lay two tensors along one axis."""
        self._axes.relate(left, right, crossed=False)
        self._check_axes(left, right, crossed=False)

    def arrange(self, name: str, heads: Heads) -> None:
        """Require an order of a tensor's features."""
        root, _ = self._classes.find(name)
        merged = self._heads.get(root, heads).merge(heads)
        if merged is None:
            raise UnsupportedOperationError(
                f"operations on attention heads ask for different orders of features of {name!r}"
            )
        self._heads[root] = merged

    def put_in_turns(self, name: str, groups: int) -> None:
        """Distribute the features of a tensor cyclically; they are groups of positions."""
        self._turns[name] = groups

    def groups_in_turns(self, name: str) -> int | None:
        """Return a tensor's groups of positions that are distributed cyclically; None: blocked."""
        return self._turns.get(name)

    def swapped(self, name: str) -> int | None:
        """Return the dimensions of heads that are paired by halves; None: not determined."""
        heads = self._heads.get(self._classes.find(name)[0])
        return heads.swapped if heads else None

    def settle(self) -> None:
        """Fulfil the optional relations that contradict nothing, those on one axis first."""
        for left, right in sorted(self._wishes, key=lambda pair: not self._are_alike(*pair)):
            self._unite(left, right)

    def _are_alike(self, left: str, right: str) -> bool:
        return self._axes.find(left) == self._axes.find(right)

    def axis(self, name: str) -> Axis:
        """Return the axis of a tensor; the first tensor of related ones lies along x."""
        return Axis.Y if self._axes.find(name)[1] else Axis.X

    def order(self, name: str) -> FeatureOrder:
        """Return the order of a tensor's features."""
        heads = self._heads.get(self._classes.find(name)[0])
        return heads.order if heads else PLAIN_ORDER

    def _unite(self, left: str, right: str) -> bool:
        """Merge the classes of two tensors, unless they require different orders."""
        left_root, right_root = self._classes.find(left)[0], self._classes.find(right)[0]
        asked = [self._heads[root] for root in (left_root, right_root) if root in self._heads]
        merged = asked[0].merge(asked[-1]) if asked else None
        if asked and merged is None:
            return False
        self._classes.relate(left, right, crossed=False)
        if merged is not None:
            self._heads[self._classes.find(left)[0]] = merged
        return True

    def _check_axes(self, left: str, right: str, *, crossed: bool) -> None:
        if (self._axes.find(left)[1] != self._axes.find(right)[1]) != crossed:
            raise UnsupportedOperationError(
                f"{left!r} and {right!r} must lie along "
                f"{'different axes' if crossed else 'the same axis'} of the rectangle, which the "
                "operations before forbid; a linear layer before one of them would allow it"
            )


@dataclass(slots=True)
class _ParityUnionFind:
    """Union-find over tensors, which records whether each is across its parent."""

    parent: dict[str, tuple[str, bool]] = field(default_factory=dict[str, tuple[str, bool]])

    def find(self, name: str) -> tuple[str, bool]:
        """Return the root of a tensor, and whether the tensor is across it."""
        crossed = False
        while name in self.parent:
            name, step = self.parent[name]
            crossed ^= step
        return name, crossed

    def relate(self, left: str, right: str, *, crossed: bool) -> None:
        """Relate two tensors, unless earlier relations already relate them in any way."""
        left_root, left_crossed = self.find(left)
        right_root, right_crossed = self.find(right)
        if left_root != right_root:
            self.parent[right_root] = (left_root, left_crossed ^ right_crossed ^ crossed)
