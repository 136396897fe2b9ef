"""The registry of diagnostic codes: every code a finding may carry, with its one-line summary.

Every code has a page `docs/diagnostics/<code>.md`, whose example is a test. A code names the
mistake, not the message, and stays the same when the wording changes.
"""

from __future__ import annotations

from types import MappingProxyType

CODES = MappingProxyType(
    {
        # syntax
        "chained-comparison": "A comparison is compared again",
        "invalid-assignment-target": "Something that holds no value is assigned to",
        "invalid-character": "A character has no meaning in CSL",
        "invalid-literal": "A number, string or character literal is malformed",
        "misplaced-declaration": "A top-level declaration stands inside a block",
        "misplaced-statement": "A statement stands at the top level of a file",
        "missing-semicolon": "A statement does not end with `;`",
        "nesting-too-deep": "An expression or block is nested too deeply",
        "reserved-word": "A reserved word is used as a name",
        "syntax-error": "The text does not follow the grammar",
        "unclosed-delimiter": "A parenthesis, bracket or brace is never closed",
        "unknown-operator": "An operator of another language is used",
        "unmatched-delimiter": "A closing brace closes nothing",
        "unsupported-syntax": "A form that CSL or this compiler does not have",
        # sema
        # layout
        "duplicate-color-config": "A color is configured twice at one PE",
        "pe-outside-rectangle": "A PE outside of the program's rectangle is configured",
        "route-leaves-rectangle": "A route sends wavelets out of the program's rectangle",
        "route-not-accepted": "A route sends wavelets to a PE that does not accept them",
        "route-without-sender": "A route accepts wavelets from where none is ever sent",
        "two-drivers": "A route accepts wavelets from two sides at once",
        "too-many-color-configs": "More different color configurations than the image can number",
        # codegen
        # driver
    }
)
"""Code → summary."""
