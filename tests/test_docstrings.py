"""In these packages, a method that does what its base class says inherits its docstring."""

import inspect
import pkgutil
from importlib import import_module

import pytest


def classes_of(package):
    root = import_module(package)
    for found in pkgutil.walk_packages(root.__path__, f"{package}."):
        module = import_module(found.name)
        for value in vars(module).values():
            is_own = inspect.isclass(value) and value.__module__ == module.__name__
            if is_own and not value.__name__.startswith("_"):
                yield value


def has_docstring(cls, name):
    owners = (vars(base)[name] for base in cls.__mro__ if name in vars(base))
    return any(inspect.getdoc(owner) for owner in owners)


PACKAGES = ["graph", "host", "mesh", "pytorch.training", "server", "sweep", "viewer"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_method_has_a_docstring_or_inherits_one(package):
    methods = [
        (cls, name)
        for cls in classes_of(f"onewafer.{package}")
        for name, value in vars(cls).items()
        if not name.startswith("_")
        if inspect.isroutine(value) or isinstance(value, property)
    ]
    assert len(methods) > 20
    missing = [
        f"{cls.__qualname__}.{name}" for cls, name in methods if not has_docstring(cls, name)
    ]
    assert missing == []
