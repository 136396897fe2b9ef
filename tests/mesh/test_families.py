"""The one place that names the files of all families of operations."""

from __future__ import annotations

import importlib
import pkgutil

from onewafer import mesh
from onewafer.mesh import families


def files():
    """Yield all files of all families."""
    for package in pkgutil.iter_modules(mesh.__path__, f"{mesh.__name__}."):
        if package.ispkg:
            paths = importlib.import_module(package.name).__path__
            for file in pkgutil.iter_modules(paths, f"{package.name}."):
                yield importlib.import_module(file.name)


def test_families_has_the_lowerings_and_cost_cases_of_every_file():
    """If not: name the file in mesh/families.py."""
    for file in files():
        for operation, lowering in getattr(file, "LOWERINGS", {}).items():
            assert families.LOWERINGS.get(operation) is lowering, file.__name__
        assert set(getattr(file, "COST_CASES", ())) <= set(families.COST_CASES), file.__name__
