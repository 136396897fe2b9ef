"""Function bodies that wait for analysis, and the order in which they are analysed.

A body may depend on other bodies: on exports of modules that they import, and on their loads of
DSRs. The names in a body show this before the analysis.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from onewafer.csl.sema.faults import Fault
from onewafer.csl.sema.rules.externs import is_exported, named_externs
from onewafer.csl.sema.values import Dsr
from onewafer.csl.syntax import ast, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from onewafer.csl.sema.instance.state import ExplicitDsrs
    from onewafer.csl.sema.session import SourceCode
    from onewafer.csl.sema.values import Module

LOADING: Final = ("load_to_dsr", "load_to_dsr_xdsr", "load_to_dsr_xdsr_sr")


class _Unloaded(dict["ast.Statement", "tuple[ast.Name, ...]"]):
    """Body → one use of each possible DSR that it uses and does not load."""


@dataclass(slots=True, eq=False)
class PendingBody:
    """The body of a function that is still to be analysed."""

    dsrs: ExplicitDsrs
    module: Module
    body: ast.Statement
    analyze: Callable[[], None]
    _needs: list[Callable[[], bool]] | None = field(default=None, init=False)

    def waits(self) -> bool:
        """Tell whether it uses an `extern` name or a DSR that another body has yet to provide."""
        if self._needs is None:
            self._needs = [*self._needed_exports(), *self._needed_loads()]
        try:
            return not all(is_there() for is_there in self._needs)
        except Fault:
            return False  # the analysis of the body reports it

    def _needed_exports(self) -> Iterator[Callable[[], bool]]:
        for declaration in named_externs(self.module, self.body):
            yield partial(is_exported, self.module, declaration)

    def _needed_loads(self) -> Iterator[Callable[[], bool]]:
        """Yield, for each DSR that the body uses and does not load, a test that it was loaded."""
        code = self.module.code
        known = code.kept(_Unloaded)
        if self.body not in known:  # PEs share the body
            known[self.body] = tuple(_unloaded(code, self.body))
        for name in known[self.body]:
            yield partial(self._is_loaded, name)

    def _is_loaded(self, name: ast.Name) -> bool:
        value = self.module.read(name.name, name.span)
        return not isinstance(value, Dsr) or (value.type, value.index) in self.dsrs.states


def _unloaded(code: SourceCode, body: ast.Statement) -> Iterable[ast.Name]:
    """Return one use of each possible DSR that a body uses and does not load."""
    registers = {name for name, node in code.declarations.items() if _may_be_dsr(node)}
    if not registers:
        return ()
    used: dict[str, ast.Name] = {}
    loaded: set[str] = set()
    for node in tree.nodes(body):
        match node:
            case ast.Name(name=name) if name in registers:
                used[name] = node
            case ast.BuiltinCall(name=name, arguments=(ast.Name(name=register), *_)) if (
                name in LOADING
            ):
                loaded.add(register)
            case _:
                pass
    return [name for name in used.values() if name.name not in loaded]


def _may_be_dsr(declaration: object) -> bool:
    match declaration:
        case ast.Param():
            return True
        case ast.Variable(is_const=True, initializer=ast.BuiltinCall(name="get_dsr")):
            return True
        case _:
            return False
