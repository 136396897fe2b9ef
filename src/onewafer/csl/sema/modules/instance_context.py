"""The modules of a PE program, and the instance that they add to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema.instance.instance import Instance
from onewafer.csl.sema.modules.context import Context
from onewafer.csl.sema.session.contracts import Where
from onewafer.csl.sema.values import Pointer, Struct, Value, Variable
from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from onewafer.csl.sema.session import Session
    from onewafer.csl.sema.values import Module


class InstanceContext(Context):
    """Runs the modules of one instance."""

    kind = Where.PROGRAM

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.instance = Instance(session, self.reports)

    @property
    def has_read_program(self) -> bool:
        """True if values may depend on coordinates of a PE or colors of queues, besides params."""
        return self.instance.has_read_program

    def is_root(self, declaration: ast.Variable) -> bool:
        """Tell whether a global is analysed even if unused: so are FIFOs that name registers."""
        match declaration.initializer:
            case ast.BuiltinCall(
                name="allocate_fifo", arguments=[_, ast.StructLiteral(fields=fields)]
            ):
                return any(field.name == "dest" for field in fields)
            case ast.BuiltinCall(name="allocate_fifo", arguments=[_, _]):
                return True  # the configuration is not known yet
            case _:
                return super().is_root(declaration)

    def use_root(self, value: Value) -> None:
        """Mark the global of an exported variable, which makes it part of the program."""
        match value:
            case Variable():
                self.instance.storage(value).is_exported = True
            case Struct(address=Pointer(_, variable)):
                self.instance.storage(variable).is_exported = True
            case _:
                pass


def find_instance(module: Module) -> Instance | None:
    """Return the instance whose program a module is part of; None: it is part of the layout."""
    context = module.context
    return context.instance if isinstance(context, InstanceContext) else None


def instance_of(module: Module) -> Instance:
    """Return the instance whose program a module is part of."""
    instance = find_instance(module)
    assert instance is not None
    return instance
