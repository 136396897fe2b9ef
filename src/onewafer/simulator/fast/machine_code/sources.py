"""The sources of the kernels' machine code, and their digest without comments.

Machine code, kept on disk or delivered, belongs to exactly one digest. Comments, docstrings, blank
lines and trailing blanks do not affect machine code, so the digest omits them: a better docstring
does not cost a compilation.
"""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ARITHMETIC = """
    compiled control exceptions filters floating integer outputs queue_words registers tables
    undefined
"""
_IMAGE = "instruction program register_addresses route scalar"
_MODULES = {
    "": "geometry",
    "image": f"__init__ {_IMAGE}",
    "simulator/state": "schema sram statistics",
    "simulator/arithmetic": f"__init__ {_ARITHMETIC}",
    "simulator/fast/kernels": "epoch fetching loop",
    "simulator/fast/kernels/bookkeeping": "agenda counting recording signals",
    "simulator/fast/kernels/compute_element": """
        computing controls data_path elements exceptions main_thread memory operation packing rings
        scalars staging tasks watched words
    """,
    "simulator/fast/kernels/fabric": """
        fifo links marks queues registers router switch_routes switch_rows switching
    """,
    "simulator/fast/machine_code": "compilation jit lowering native",
    "simulator/fast/state": "arrays fields record",
    "simulator/protocol": "findings",
    "trace": "__init__ event",
}
"""By folder of the package, the modules whose functions and constants the kernels use."""

_TOKEN = re.compile(
    r"""
      (?P<string> \"{3} (?: [^"\\]+ | \\. | "(?!"") )* \"{3} | " (?: [^"\\\n]+ | \\. )* "
                | '{3}  (?: [^'\\]+ | \\. | '(?!'') )* '{3}  | ' (?: [^'\\\n]+ | \\. )* ' )
    | (?P<comment> \#[^\n]* )
    | (?P<opening> [(\[{] )
    | (?P<closing> [)\]}] )
    | (?P<line_end> [ \t]* \n )
    """,
    re.VERBOSE | re.DOTALL,
)


@functools.cache
def sources_digest() -> str:
    """Return the digest of the sources beside this file."""
    return digest_sources(source_files())


def source_files() -> list[Path]:
    """Return every source file that affects the machine code."""
    package = Path(__file__).resolve().parents[3]
    return [
        package / folder / f"{module}.py"
        for folder, modules in _MODULES.items()
        for module in modules.split()
    ]


def digest_sources(paths: Iterable[Path]) -> str:
    """Return the digest of the source files, without comments and docstrings."""
    digest = hashlib.sha256()
    for path in paths:
        text = without_prose(path.read_text(encoding="utf-8"))
        digest.update(f"{path.name}\0{text}\0".encode())
    return digest.hexdigest()


def without_prose(source: str) -> str:
    r"""Return Python code without comments, string statements and trailing blanks.

    >>> without_prose('def one():  # a comment\n\n    "A docstring."\n    return "# 1"\n')
    'def one():\n    return "# 1"\n'
    """
    statements: list[str] = []
    parts: list[str] = []  # of the statement that is being read
    depth = place = 0
    for token in _TOKEN.finditer(source):
        parts.append(source[place : token.start()])
        place = token.end()
        match token.lastgroup:
            case "comment":
                parts[-1] = parts[-1].rstrip()
                continue
            case "opening":
                depth += 1
            case "closing":
                depth -= 1
            case "line_end" if depth == 0 and not parts[-1].endswith("\\"):
                if not _is_prose(parts):
                    statements += [*parts, "\n"]
                parts = []
                continue
            case "line_end":
                if not parts[-1].strip() and parts[-2:-1] == ["\n"]:
                    parts.pop()
                else:
                    parts.append("\n")
                continue
            case _:
                pass
        parts.append(token[0])
    return "".join([*statements, *parts, source[place:]])


def _is_prose(statement: list[str]) -> bool:
    """Tell whether a logical line is empty, or a string statement."""
    words = [part for part in statement if part and not part.isspace()]
    return not words or (len(words) == 1 and words[0][0] in "\"'")
