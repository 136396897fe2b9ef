"""The Python state that a module's code can change, saved so that changes can be seen and undone.

Watched are the attributes of the module, of the modules in it and of their classes; the globals
and outer variables that their methods name, and those that functions so named name in turn; and
what dictionaries, lists, sets, deques, tuples, NumPy arrays and objects of the script's own classes
among them hold. Iterators and files cannot be put back and are not watched.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import MutableMapping
from copy import copy
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_Container = dict[Any, Any] | list[Any] | set[Any] | deque[Any] | np.ndarray[Any, Any]
_ABSENT = object()

_TENSORS = ("_parameters", "_buffers")
"""Dictionaries in which export puts stand-ins while it runs the code."""
_HOOKS = ("_forward_hooks", "_forward_hooks_always_called")
"""Dictionaries in which the watcher itself stands meanwhile."""
_LIBRARIES = {"torch", "numpy", "transformers", "onewafer"}
_NOT_FOLLOWED = (frozenset(sys.stdlib_module_names) | _LIBRARIES) - {"__main__"}
"""Packages whose objects have a state that is not the script's."""


class _Attributes(MutableMapping[str, object]):
    """The attributes of an object or class, as a dictionary."""

    def __init__(self, owner: object) -> None:
        self._owner = owner

    def __getitem__(self, name: str) -> object:
        return vars(self._owner)[name]

    def __setitem__(self, name: str, value: object) -> None:
        if isinstance(self._owner, type):
            setattr(self._owner, name, value)
        else:  # not by `setattr`, which modules and others override
            vars(self._owner)[name] = value

    def __delitem__(self, name: str) -> None:
        if isinstance(self._owner, type):
            delattr(self._owner, name)
        else:
            del vars(self._owner)[name]

    def __iter__(self) -> Iterator[str]:
        return iter([*vars(self._owner)])

    def __len__(self) -> int:
        return len(vars(self._owner))


class _Cells(MutableMapping[str, object]):
    """The outer variables of a function that are bound, as a dictionary."""

    def __init__(self, function: FunctionType) -> None:
        cells: tuple[CellType, ...] = function.__closure__ or ()
        self._cells = dict(zip(function.__code__.co_freevars, cells, strict=True))

    def __getitem__(self, name: str) -> object:
        try:
            return self._cells[name].cell_contents
        except ValueError:  # unbound
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: object) -> None:
        self._cells[name].cell_contents = value

    def __delitem__(self, name: str) -> None:
        del self._cells[name].cell_contents

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._cells if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name, _ABSENT) is not _ABSENT


@dataclass(frozen=True, slots=True)
class _Namespace:
    """Names that code can rebind, and their values."""

    kind: str
    """The kind of names, in a message."""
    prefix: str
    names: MutableMapping[str, object]
    saved: dict[str, object]
    watched: Collection[str] | None
    """None: all, new ones included."""

    def changed_names(self) -> list[str]:
        """Return the names that are bound to something else now, or to nothing."""
        watched = {**self.saved, **self.names} if self.watched is None else self.watched
        names, saved = self.names, self.saved
        return [n for n in watched if names.get(n, _ABSENT) is not saved.get(n, _ABSENT)]

    def restore(self) -> None:
        """Bind every name as it was."""
        for name in self.changed_names():
            if name in self.saved:
                self.names[name] = self.saved[name]
            else:
                del self.names[name]


class PythonState:
    """The objects that the code of a module can reach, as they are now."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._namespaces: list[_Namespace] = []
        self._containers: list[tuple[str, _Container, _Container]] = []
        """The path to a container, in words, the container, and a copy of it."""
        self._seen: dict[int, object] = {}
        """Everything that was followed, by identity; held, so that no identity comes again."""
        modules = [*cast("Iterator[tuple[str, torch.nn.Module]]", module.named_modules())]
        self._module_ids = {id(inner) for _, inner in modules}
        for path, inner in modules:
            self._follow_object(f"{path}." if path else "", inner)

    def changes(self) -> Iterator[str]:
        """Yield the changes, in words."""
        for namespace in self._namespaces:
            for name in namespace.changed_names():
                yield f"the {namespace.kind} {namespace.prefix + name!r}"
        for where, container, saved in self._containers:
            names_only = where.endswith(tuple(f"{name}'" for name in _TENSORS))
            before = _contents(saved, names_only=names_only)
            if _contents(container, names_only=names_only) != before:
                yield where

    def restore(self) -> None:
        """Put back every name and the contents of every container."""
        for namespace in self._namespaces:
            namespace.restore()
        for _, container, saved in self._containers:
            _restore(container, saved)

    def _watch(
        self,
        kind: str,
        prefix: str,
        names: MutableMapping[str, object],
        *,
        watched: Collection[str] | None = None,
    ) -> None:
        """Watch names and what stands behind them; `watched` are some, None are all."""
        saved = {n: names[n] for n in (names if watched is None else watched) if n in names}
        self._namespaces.append(_Namespace(kind, prefix, names, saved, watched))
        for name, value in saved.items():
            if name not in _HOOKS:
                self._follow(f"the {kind} {prefix + name!r}", f"{prefix}{name}.", value)

    def _follow(self, where: str, prefix: str, value: object) -> None:
        """Watch what a value holds and what its code can reach."""
        if id(value) in self._seen:
            return
        match value:
            case dict() | list() | set() | deque() | tuple() | np.ndarray():
                self._follow_container(where, prefix, cast("Any", value))
            case MethodType() | staticmethod() | classmethod():
                self._follow(where, prefix, cast("MethodType", value).__func__)
            case property():
                self._follow(where, prefix, value.fget)
                self._follow(where, prefix, value.fset)
            case FunctionType():
                self._follow_function(value)
            case type():
                self._follow_class(value)
            case _ if id(value) not in self._module_ids:
                self._follow_object(prefix, value)
            case _:  # has its own path
                pass

    def _follow_container(
        self, where: str, prefix: str, held: _Container | tuple[object, ...]
    ) -> None:
        self._seen[id(held)] = held
        if not isinstance(held, tuple):
            self._containers.append((where, held, copy(held)))
        if not isinstance(held, np.ndarray):
            for element in [*held.values()] if isinstance(held, dict) else [*held]:
                self._follow(where, prefix, element)

    def _follow_object(self, prefix: str, owner: object) -> None:
        is_module = isinstance(owner, torch.nn.Module)
        if id(owner) in self._seen or not (is_module or _is_of_script(type(owner))):
            return
        self._seen[id(owner)] = owner
        self._follow_class(type(owner))
        if hasattr(owner, "__dict__"):
            self._watch("attribute", prefix, _Attributes(owner))

    def _follow_class(self, owner: type) -> None:
        for ancestor in owner.__mro__:
            if id(ancestor) not in self._seen and _is_of_script(ancestor):
                self._seen[id(ancestor)] = ancestor
                self._watch("attribute", f"{ancestor.__qualname__}.", _Attributes(ancestor))

    def _follow_function(self, function: FunctionType) -> None:
        self._seen[id(function)] = function
        self._watch("outer variable", "", _Cells(function))
        if _is_followed(function.__module__):
            names = _names_in(function.__code__)
            self._watch("global", "", function.__globals__, watched=names)
            for name in names:
                module = function.__globals__.get(name)
                if isinstance(module, ModuleType) and _is_followed(module.__name__):
                    self._watch("global", f"{name}.", vars(module), watched=names)


def _is_followed(module_name: str | None) -> bool:
    return (module_name or "builtins").partition(".")[0] not in _NOT_FOLLOWED


def _is_of_script(owner: type) -> bool:
    return _is_followed(owner.__module__)


def _names_in(code: CodeType) -> tuple[str, ...]:
    """Return the globals and attributes that code names, functions in it included."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    names = dict.fromkeys(code.co_names)
    for constant in inner:
        names |= dict.fromkeys(_names_in(constant))
    return tuple(names)


def _contents(container: _Container, *, names_only: bool = False) -> object:
    """Return a key that is equal for containers of the same objects, not merely equal ones."""
    match container:
        case dict():
            return [(key, names_only or id(value)) for key, value in container.items()]
        case set():
            return container
        case np.ndarray():
            return container.tobytes()
        case _:
            return [id(element) for element in container]


def _restore(container: _Container, saved: _Container) -> None:
    if _contents(container) == _contents(saved):
        return
    if isinstance(container, np.ndarray):
        container[...] = saved
        return
    container.clear()
    match container:
        case dict() | set():
            container.update(saved)
        case _:
            container.extend(saved)
