"""A contract of import-linter: no module, or folder, of a package imports itself through others.

    [[tool.importlinter.contracts]]
    name = "…"
    type = "without_rings"
    packages = ["onewafer.graph"]
    of_folders = true

Imports for type checkers count: whoever reads one file of a ring has to read all of them. A package
is a module, too, so its files import each other directly and not through its face. Of folders, the
files that lie in a folder count as one: nouns that its subfolders need lie in a subfolder, too.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING, cast

from importlinter import Contract, ContractCheck, fields, output

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from grimp import ImportGraph


def find_ring(imports: Mapping[str, Collection[str]]) -> list[str]:
    """Return modules of which each imports the next, and the last is the first; none: [].

    >>> find_ring({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]})
    ['a', 'b', 'c', 'a']
    """
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        ring: list[str] = error.args[1][::-1]
        turn = ring.index(min(ring))
        return [*ring[turn:-1], *ring[: turn + 1]]
    return []


def join_folders(
    imports: Mapping[str, Collection[str]], packages: Collection[str]
) -> dict[str, list[str]]:
    """Return what each folder imports from others, of what each module imports.

    >>> join_folders({"a": ["a.b.c"], "a.b": [], "a.b.c": ["a.d"], "a.d": []}, ["a", "a.b"])
    {'a': ['a.b'], 'a.b': ['a']}
    """
    folders = {name: name if name in packages else name.rpartition(".")[0] for name in imports}
    joined: dict[str, list[str]] = {folder: [] for folder in folders.values()}
    for name, imported in imports.items():
        own = folders[name]
        joined[own] += {folders[other] for other in imported} - {own}
    return {folder: sorted(set(others)) for folder, others in joined.items()}


class WithoutRings(Contract):
    """Packages whose modules, or folders, do not import each other in a ring."""

    type_name = "without_rings"
    packages = fields.SetField(subfield=fields.StringField())
    of_folders = fields.BooleanField(required=False, default=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: FBT001  # its API
        """Look for a ring in each package."""
        del verbose
        rings: list[list[str]] = []
        for package in sorted(cast("set[str]", self.packages)):  # a field gives its value
            modules = {package, *graph.find_descendants(package)}
            imports = {
                name: sorted(graph.find_modules_directly_imported_by(name) & modules)
                for name in sorted(modules)
            }
            if self.of_folders:
                imports = join_folders(
                    imports, {name for name in modules if graph.find_children(name)}
                )
            rings += [ring] if (ring := find_ring(imports)) else []
        return ContractCheck(kept=not rings, metadata={"rings": rings})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each ring."""
        for ring in check.metadata["rings"]:
            output.print_error("These import each other in a ring:", bold=True)
            for importer, imported in pairwise(ring):
                output.print_error(f"  {importer} imports {imported}")
            output.print_error("Move what several of them need into one that imports none of them.")
