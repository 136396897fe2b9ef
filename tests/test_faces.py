"""Packages import each other through their faces: `onewafer.image`, not `onewafer.image.route`.

The command line may reach for a stage or a parser of its own options.
"""

import ast
from pathlib import Path

import onewafer

PACKAGE = Path(onewafer.__file__).parent
ROOMS = (["files"], ["process"], ["web_pages"])
"""Packages without a face: each of their modules stands for itself."""


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.lineno, node.module
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)


def goes_behind_a_face(module, home):
    """Tell whether `module` lies inside a package that is not `home`."""
    root, *parts = module.split(".")
    is_foreign = root == "onewafer" and parts[:1] != [*home[:1]] and parts[:1] not in ROOMS
    return is_foreign and len(parts) > 1 and not PACKAGE.joinpath(*parts).is_dir()


def test_packages_import_each_other_through_their_faces():
    offenders = [
        f"{path.relative_to(PACKAGE)}:{line} imports {module}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if PACKAGE / "cli" not in path.parents
        for line, module in imported_modules(path)
        if goes_behind_a_face(module, path.relative_to(PACKAGE).parts[:-1])
    ]
    assert offenders == []
