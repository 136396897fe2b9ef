"""A copy of a tree of modules that shares the tensors, so that tracing leaves the original alone.

While `torch.export` runs a module's code, stand-ins without values take the places of parameters
and buffers, for every thread. They take them in the copy.
"""

from __future__ import annotations

from copy import copy
from types import MethodType

import torch

_REGISTRIES = tuple(vars(torch.nn.Module()))
"""Attributes of every module: parameters, buffers, modules in it, hooks."""


def copy_structure(module: torch.nn.Module) -> torch.nn.Module:
    """Return modules of the same classes, with the same tensors, but with registries of their own.

    Other attributes are shared. Methods that a module holds of one in the tree become the copy's.
    """
    originals = [*module.modules()]
    # Without attributes, whatever `__new__` of a class does.
    copies: dict[int, torch.nn.Module] = {
        id(inner): object.__new__(type(inner)) for inner in originals
    }
    for inner in originals:
        attributes = {name: _copy(value, copies) for name, value in vars(inner).items()}
        attributes |= {name: copy(attributes[name]) for name in _REGISTRIES if name in attributes}
        attributes["_modules"] = {
            name: child if child is None else copies[id(child)]
            for name, child in vars(inner)["_modules"].items()  # the public view leaves None out
        }
        vars(copies[id(inner)]).update(attributes)
    return copies[id(module)]


def _copy(value: object, copies: dict[int, torch.nn.Module]) -> object:
    if isinstance(value, MethodType) and id(value.__self__) in copies:
        return MethodType(value.__func__, copies[id(value.__self__)])
    return value
