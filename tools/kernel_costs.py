"""Write `src/onewafer/mesh/kernel_costs.json` from the compiled listing of the mesh kernels.

    python tools/kernel_costs.py            write the file
    python tools/kernel_costs.py --check    exit with 1 if the file is out of date

A program with a case of every kind of steps is compiled; for every kind the instructions of one
step of the state machine are walked through, with operations of several sizes. Those that ask for
kinds are counted apart: every question must cost the same. Its case says of which products of
sizes the number of the others is a sum, like `once + rows · (row + inner · step)`: as many walks as
that has terms give the counts, and more walks check them. The length of a DSD operation must be a
product of sizes, too. No engine and no timing is involved: the file holds counts by cost class.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from itertools import product as product_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from kernel_bytes import parts_of, question_bytes_of
from kernel_cases import Compiled, compile_cases, prepare, symbol_of, with_schedule
from kernel_walk import Walk

from onewafer.graph import FLOATING, DataType
from onewafer.mesh import MeshProgram, attention, collectives, sample_groups
from onewafer.mesh.blocks import RowKind
from onewafer.mesh.entry import Entry
from onewafer.mesh.families import COST_CASES
from onewafer.mesh.kernel_costs import (
    Counts,
    KernelCost,
    KernelCosts,
    Size,
    VectorOperation,
    product,
    table_name,
)
from onewafer.mesh.kinds import Answers, answers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.cost_case import CostCase, Sizes
    from onewafer.mesh.kinds import Kind
    from onewafer.mesh.operation import MeshOperation

PATH = Path(__file__).parents[1] / "src" / "onewafer" / "mesh" / "kernel_costs.json"


def measure(dtype: DataType, arch: str, *, rows: RowKind) -> KernelCosts:
    """Return the counts of all kinds for one dtype."""
    used = [case for case in COST_CASES if case.is_in(dtype, rows=rows)]
    compiled = compile_cases(used, dtype, arch, rows=rows)
    questions = _Questions()
    infer = symbol_of(compiled.middle, compiled.middle.exports["infer"])
    by_kind = {case.kind: case for case in used}
    costs = {kind: _measure_case(compiled, s, questions) for kind, s in by_kind.items()}
    for kind in compiled.kinds - set(by_kind):  # a REPEAT goes back
        walk = with_schedule(compiled.middle, compiled, Entry(kind, n=1))
        costs[kind] = {"1": _plain(walk.count_step(kind))}
        questions.check(walk, answers(kind, compiled.kinds))
    parts, frames = parts_of(compiled, by_kind)
    return KernelCosts(
        parts=parts,
        frames=frames,
        question_bytes=question_bytes_of(compiled),
        launch=_plain(Walk(compiled.middle).count(infer.address)),
        below=questions.costs_of(is_below=True),
        above=questions.costs_of(is_below=False),
        second_chain=_second_chain(compiled, by_kind),
        kinds={kind.name: costs[kind] for kind in sorted(costs)},
    )


@dataclass(frozen=True, slots=True)
class _Questions:
    """The cost of the questions by which the state machine finds a kind."""

    found: dict[bool, Counts] = field(default_factory=dict[bool, "Counts"])
    """By whether the kind is below the one that was asked for."""

    def check(self, walk: Walk, expected: Answers) -> None:
        """Add those of a walk: as many as the closed form takes there to be, and all alike."""
        num_below = sum(learnt.is_below for learnt in walk.learnt)
        if Answers(num_below, len(walk.learnt) - num_below) != expected:
            raise AssertionError(f"a step has other questions than {expected}: {walk.learnt}")
        for learnt in walk.learnt:
            counts = _plain(learnt.counts)
            if self.found.setdefault(learnt.is_below, counts) != counts:
                raise AssertionError("the questions for kinds do not all cost the same")

    def costs_of(self, *, is_below: bool) -> Counts:
        """Return the cost of a question with that answer."""
        return self.found[is_below]


def _measure_case(compiled: Compiled, case: CostCase, questions: _Questions) -> KernelCost:
    """Solve for the counts of each term from walks with operations of several sizes."""
    terms = ("1", *case.rounds)
    # The middle of this program has so many descriptors that some are loaded again in loops.
    begins_in_middle = case.kind.is_collective and case.kind not in _FROM_ENDS
    program = compiled.middle if begins_in_middle else compiled.first
    expected = answers(case.kind, compiled.kinds)
    weights: list[list[int]] = []
    walks: list[Counter[str]] = []
    for point in case.grid:
        sizes = _sizes_of_pe(case.build(point), compiled.with_rows(point), point)
        walk = prepare(program, compiled, case, point)
        counts = walk.count_step(case.kind)
        questions.check(walk, expected)
        lengths = {text: _values(text, sizes) for text in case.lengths}
        strides = {text: _values(text, sizes) for text in case.strides}
        walks.append(_with_names(counts, lengths, strides))
        weights.append([sum(_values(term, sizes)) for term in terms])
    names = sorted({name for walk in walks for name in walk})
    observed = np.array([[walk[name] for name in names] for walk in walks])
    coefficients = _solve(np.array(weights), observed)
    if coefficients is None:
        raise AssertionError(f"the instructions of {case.kind.name} are not a sum over {terms}")
    return {
        term: _plain(Counter(dict(zip(names, map(int, row), strict=True))))
        for term, row in zip(terms, coefficients, strict=True)
    }


def _second_chain(compiled: Compiled, by_kind: Mapping[Kind, CostCase]) -> Counts:
    """Return what the middle executes between adding a chain and adding another one."""
    found: list[Counts] = []
    for kind in sorted(compiled.kinds.intersection(_CHAINS)):
        case = by_kind[kind]
        walk = prepare(compiled.middle, compiled, case, case.grid[0])
        found.append(_plain(_difference(walk.count_step(kind), walk.before_last)))
    if any(counts != found[0] for counts in found):
        raise AssertionError(f"chains do not all cost the same in the middle: {found}")
    return found[0]


def _sizes_of_pe(
    operation: MeshOperation, program: MeshProgram, point: Sizes
) -> Mapping[str, Size]:
    """Return the sizes of the PE that is walked on: arrays are `[kinds of rows]`."""
    classes = operation.classes(program, point.launch)
    index = 0 if classes is None else int(classes.labels[point.place])
    return {
        name: size
        if isinstance(size, int)
        else size[:, index % size.shape[1], point.place_across % size.shape[2]]
        for name, size in operation.sizes(program, point.launch).items()
    }


def _values(text: str, sizes: Mapping[str, Size]) -> list[int]:
    """Return a product of sizes, for each kind of rows."""
    return np.atleast_1d(product(text, sizes)).tolist()


_FROM_ENDS = (
    *collectives.ChainReduce.kinds,
    *collectives.ChainMax.kinds,
    *attention.ReduceScores.kinds,
    *sample_groups.ReduceInGroups.kinds,
    *sample_groups.MaxInGroups.kinds,
)
"""Kinds that begin at the ends of an axis, or at the ends of segments."""
_CHAINS = tuple(kind for kind in _FROM_ENDS if "has_head_chains" not in kind.flags)
"""Kinds that begin at the ends of an axis."""


def _solve(weights: NDArray[Any], observed: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the integers c with weights · c = observed; None: there are none."""
    solution = np.linalg.lstsq(weights.astype(float), observed.astype(float), rcond=None)[0]
    whole = np.rint(solution).astype(np.int64)
    return whole if np.array_equal(weights @ whole, observed) else None


def _with_names(
    counts: Counter[str], lengths: Mapping[str, list[int]], strides: Mapping[str, list[int]]
) -> Counter[str]:
    """Replace lengths and strides of DSD operations by the products of sizes that they are."""
    named: Counter[str] = Counter()
    for name, count in counts.items():
        if "(" not in name:
            named[name] += count
            continue
        operation = VectorOperation.parse(name)
        fitting = [text for text, values in lengths.items() if int(operation.length) in values]
        if not fitting:
            raise AssertionError(f"{operation}: no such length in {dict(lengths)}")
        equal = [text for text, values in strides.items() if int(operation.stride) in values]
        stride = equal[0] if equal else operation.stride
        named[str(dataclasses.replace(operation, length=fitting[0], stride=stride))] += count
    return named


def _difference(left: Counter[str], right: Counter[str]) -> Counter[str]:
    return Counter({name: left[name] - right[name] for name in left | right})


def _plain(counts: Counter[str]) -> Counts:
    return {name: count for name, count in sorted(counts.items()) if count}


def table(dtype: DataType, arch: str, *, rows: RowKind) -> dict[str, object]:
    """Return a table of the file, measured on a generation of machines."""
    return dataclasses.asdict(measure(dtype, arch, rows=rows))


def generate() -> str:
    """Return the text of the file; both generations must give the same counts."""
    tables: dict[str, object] = {}
    for dtype, rows in product_of(FLOATING, RowKind):
        if dtype is DataType.F16 and rows is RowKind.GROUPED:
            continue
        costs = table(dtype, "wse3", rows=rows)
        if costs != table(dtype, "wse2", rows=rows):
            raise AssertionError(
                "the generations compile to different kernels: key the file by arch"
            )
        tables[table_name(dtype, rows=rows)] = costs
    return json.dumps(tables, indent=1) + "\n"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    text = generate()
    if not arguments.check:
        PATH.write_text(text, encoding="utf-8")
        return 0
    if PATH.read_text(encoding="utf-8") != text:
        print(f"{PATH} is out of date; run `python tools/kernel_costs.py`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
