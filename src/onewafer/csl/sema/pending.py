"""Function bodies that wait for analysis, and the order in which they are analysed.

The meaning of a body may depend on other bodies: on the exports of modules that they import, and on
their loads of DSRs. Names tell this before the analysis.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from onewafer.csl.sema.externs import is_exported, named_externs
from onewafer.csl.sema.faults import Fault
from onewafer.csl.sema.values import Dsr
from onewafer.csl.syntax import ast, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onewafer.csl.sema.instance import InstanceContext
    from onewafer.csl.sema.modules import Module

LOADING: Final = ("load_to_dsr", "load_to_dsr_xdsr", "load_to_dsr_xdsr_sr")


@dataclass(slots=True, eq=False)
class PendingBody:
    """The body of a function that is still to be analysed."""

    instance: InstanceContext
    module: Module
    body: ast.Statement
    analyze: Callable[[], None]
    _needs: list[Callable[[], bool]] | None = field(default=None, init=False)

    def waits(self) -> bool:
        """Tell whether it names what another body may import or load yet."""
        if self._needs is None:
            self._needs = [*self._needed_exports(), *self._needed_loads()]
        try:
            return not all(is_there() for is_there in self._needs)
        except Fault:
            return False  # a mistake, which the analysis reports

    def _needed_exports(self) -> Iterator[Callable[[], bool]]:
        for declaration in named_externs(self.module, self.body):
            yield partial(is_exported, self.module, declaration)

    def _needed_loads(self) -> Iterator[Callable[[], bool]]:
        """Yield, for each DSR that the body uses and does not load, whether it was loaded."""
        names = self.module.code.declarations
        registers = {name for name, declaration in names.items() if _may_be_dsr(declaration)}
        if not registers:
            return
        nodes = [*tree.nodes(self.body)]
        used = {n.name: n for n in nodes if isinstance(n, ast.Name) and n.name in registers}
        for node in nodes:
            if isinstance(node, ast.BuiltinCall) and node.name in LOADING and node.arguments:
                match node.arguments[0]:
                    case ast.Name(name=name):
                        used.pop(name, None)
                    case _:
                        pass
        for name in used.values():
            yield partial(self._is_loaded, name)

    def _is_loaded(self, name: ast.Name) -> bool:
        value = self.module.read(name.name, name.span)
        return not isinstance(value, Dsr) or (value.type, value.index) in self.instance.dsrs.states


def _may_be_dsr(declaration: object) -> bool:
    match declaration:
        case ast.Param():
            return True
        case ast.Variable(is_const=True, initializer=ast.BuiltinCall(name="get_dsr")):
            return True
        case _:
            return False
