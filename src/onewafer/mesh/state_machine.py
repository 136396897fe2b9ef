"""Write the state machine of a PE for the kinds of steps in a program.

In: kinds. Out: the text of `pe.csl`. The file of that name beside this one has the common parts of
all state machines, with marks for the rest:

    // <kinds>       the number of each kind, and the kinds of each task
    // <kernels>     imports of kernels, each behind those that its arguments name
    // <functions>   functions that several arms call
    // <arms>        the code of each kind
    // <exports>     the functions that the host launches, one for each entry
"""

from __future__ import annotations

import itertools
import re
from inspect import cleandoc
from itertools import groupby
from textwrap import fill, indent
from types import MappingProxyType
from typing import TYPE_CHECKING

from onewafer.mesh.blocks import INFER
from onewafer.mesh.kernel_library import read_kernel
from onewafer.mesh.kinds import Task, asked_by

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from onewafer.mesh.kinds import Kind, Module

FILE = "pe.csl"
_LINE = 100
SLOTS_FLAG = "has_slots"
"""The flag of kinds that occur only in programs for several sequences."""
_ALONE = MappingProxyType({INFER: 0})
"""The only entry of most programs."""


def write_state_machine(kinds: Collection[Kind], entries: Mapping[str, int] = _ALONE) -> str:
    """Return the text of a state machine with an arm for each of these kinds.

    `entries` maps each entry to the index of its first schedule word; the first entry has 0.
    """
    used = sorted(kinds)
    flags = dict.fromkeys(flag for kind in used for flag in kind.flags)
    first, *others = entries
    functions = [text.strip() for kind in used for text in kind.functions]
    functions += [_function(name, entries[name]) for name in others]
    parts = {
        "kinds": _number_kinds(used),
        "kernels": "\n".join(map(_import, _modules(used))),
        "functions": "\n\n".join(dict.fromkeys(functions)),
        "arms": indent(_arms(used), "  "),
        "exports": indent("\n".join([_export_first(first, flags), *map(_export, others)]), "  "),
    }
    text = re.sub(
        r"^ *// <(\w+)>$", lambda found: parts[found[1]], read_kernel(FILE), flags=re.MULTILINE
    )
    for flag in flags:
        text = text.replace(f"const {flag} = false;", f"const {flag} = true;")
    return text


_FUNCTION = """\
// Do what the schedule has from its word {word} on.
fn {name}() void {{
  entry = {word};
  @activate(step_id);
}}
fn {name}_rows(first: u16, count: u16) void {{
  start = first;
  num_rows = count;
  {name}();
}}"""
_EXPORT = """\
if (model.is_sequence) {{
  @export_symbol({function}_rows, "{name}");
}} else {{
  @export_symbol({function}{other_name});
}}"""


def _function(name: str, word: int) -> str:
    return _FUNCTION.format(name=name, word=word)


def _export_first(name: str, flags: Collection[str]) -> str:
    if SLOTS_FLAG in flags:
        return f'@export_symbol({INFER}_slots, "{name}");'
    other_name = "" if name == INFER else f', "{name}"'
    return _EXPORT.format(function=INFER, name=name, other_name=other_name)


def _export(name: str) -> str:
    return _EXPORT.format(function=name, name=name, other_name="")


def _number_kinds(used: Sequence[Kind]) -> str:
    """Write the number of each kind, then all kinds by task, and the end of each task's kinds."""
    numbers = [f"const kind_{kind.name}: u16 = {kind.number};" for kind in used]
    by_task = [kind for task in Task for kind in asked_by(task, used)]
    listed = indent(fill(", ".join(f"kind_{kind.name}" for kind in by_task), _LINE - 2), "  ")
    ends = itertools.accumulate(len(asked_by(task, used)) for task in Task)
    return "\n".join(
        [
            "// Kinds of steps: their numbers in the schedule.",
            *numbers,
            "",
            "// All of them by the task that asks for them, and where those of each task end.",
            f"const kinds = [{len(used)}]u16{{",
            listed,
            "};",
            *(
                f"const {'end_of' if task is Task.STEP else 'end'}_{task}: u16 = {end};"
                for task, end in zip(Task, ends, strict=True)
            ),
        ]
    )


def _modules(used: Iterable[Kind]) -> Iterable[Module]:
    """Return the modules of kinds, each once and behind those that its arguments name."""
    found: dict[Module, None] = {}

    def add(module: Module) -> None:
        for other in module.after:
            add(other)
        found.setdefault(module)

    for kind in used:
        for module in kind.modules:
            add(module)
    return found


def _import(module: Module) -> str:
    begin = f'const {module.name} = @import_module("{module.name}.csl"'
    if not module.arguments:
        return f"{begin});"
    line = f"{begin}, .{{ {module.arguments} }});"
    return line if len(line) <= _LINE else f"{begin}, .{{\n  {module.arguments} }});"


def _arms(used: Sequence[Kind]) -> str:
    """Write the arms; adjacent kinds with one beginning share an arm."""
    arms: list[str] = []
    for beginning, group in groupby(used, key=lambda kind: kind.beginning):
        alike = list(group)
        if beginning is None:
            arms += [_arm(kind) for kind in alike]
            continue
        first, last = alike[0], alike[-1]
        condition = f"kind >= kind_{first.name} and kind <= kind_{last.name}"
        body = "\n".join([cleandoc(beginning.code), " else ".join(map(_arm, alike))])
        arms.append(f"if ({condition}) {{ // {beginning.title}\n{indent(body, '  ')}\n}}")
    return " else ".join(arms)


def _arm(kind: Kind) -> str:
    return f"if (kind == kind_{kind.name}) {{\n{indent(cleandoc(kind.code), '  ')}\n}}"
