"""The registry of diagnostic codes: every code a finding may carry, with its one-line summary.

Every code has a page `docs/errors/<code>.md`, whose example is a test. A code names the
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
        "calls-too-deep": "Functions call each other too deeply at run time",
        "comptime-assert": "A `@comptime_assert` does not hold",
        "comptime-print": "The text of a `@comptime_print` (a note)",
        "division-by-zero": "A compile-time division by zero",
        "dsd-outside-array": "An operation reaches past the end of the array of a DSD",
        "duplicate-declaration": "A name is declared twice in one scope",
        "duplicate-handler": "A color or queue gets a second handler",
        "duplicate-queue": "A queue is initialised twice",
        "duplicate-rectangle": "The rectangle is set twice",
        "duplicate-task-binding": "A task id or task is bound twice",
        "duplicate-tile-code": "A PE gets its program twice",
        "element-size-mismatch": "An operation works on elements of another size than the array's",
        "export-undeclared": "A symbol is exported under a name that the layout does not declare",
        "fabric-too-small": "The rectangle does not fit the fabric",
        "global-cycle": "The value of a global depends on itself",
        "id-out-of-range": "The machine has no color, queue, task or register of this number",
        "inactive-variant": "A field of a union is read that has no value",
        "import-not-found": "An imported file does not exist",
        "import-cycle": "A file imports itself, directly or through others",
        "index-out-of-range": "A compile-time index lies outside of its array",
        "memcpy-not-enabled": "A library of memcpy is imported without `--memcpy`",
        "misplaced-jump": "`break` or `continue` stands outside of a loop",
        "missing-else": "An `if` without `else` is used as a value",
        "missing-fabric-input": "An operation waits for control wavelets, and nothing comes in",
        "missing-field": "A struct lacks a field that is needed",
        "missing-microthread": "An asynchronous operation has no microthread",
        "missing-rectangle": "The layout does not set the rectangle before it uses it",
        "missing-tile-code": "A PE, or every PE, of the rectangle has no program",
        "missing-return": "A function may end without returning its value",
        "not-assignable": "Something constant or without an address is written to",
        "not-callable": "Something that is no function is called",
        "not-comptime": "A value must be known at compile time and is not",
        "not-runtime": "A compile-time value is used where the PE would need it",
        "queue-color-mismatch": "A queue is used for another color than it serves",
        "queue-not-initialized": "A queue is used that serves no color",
        "step-limit": "Compile-time evaluation takes too long",
        "tensor-access": "A tensor access is not affine or does not fit its DSD",
        "type-mismatch": "A value has another type than its place needs",
        "unbound-param": "A param is used that nobody binds",
        "unbound-task": "A task is used that has no id",
        "unknown-builtin": "There is no builtin of this name",
        "unknown-field": "A struct or module has no member of this name",
        "unknown-name": "A name is not declared",
        "unknown-param": "A param is bound that the module does not declare",
        "unsupported-builtin": "A builtin of CSL that this compiler does not have yet",
        "unresolved-extern": "An `extern` declaration means no exported variable, or several",
        "unsupported-feature": "A feature of CSL that this compiler does not have yet",
        "unsupported-on-architecture": "The chosen machine does not have this",
        "unused-index": "No operand of a DSD operation takes its index",
        "unused-value": "The value of an expression statement is not used",
        "value-out-of-range": "A value does not fit its type or field",
        "wrong-argument-count": "A call has too many or too few arguments",
        "wrong-context": "A builtin is used where it is not permitted",
        "wafer-too-small": "The rectangle or the fabric is larger than the wafer",
        # layout
        "duplicate-color-config": "A color is configured twice at one PE",
        "pe-outside-rectangle": "A PE outside of the program's rectangle is configured",
        "route-leaves-rectangle": "A route sends wavelets out of the program's rectangle",
        "route-not-accepted": "A route sends wavelets to a PE that does not accept them",
        "route-without-sender": "A route accepts wavelets from where none is ever sent",
        "two-drivers": "A route accepts wavelets from two sides at once",
        "too-many-color-configs": "More different color configurations than the image can number",
        # codegen
        "export-mismatch": "An exported symbol has another type than the layout declares",
        "export-missing": "A name of the layout is exported by no PE",
        "program-too-large": "A program does not fit the memory of a PE",
        "recursive-call": "A function calls itself at run time",
        "too-many-dsrs": "A task needs more DSRs at once than the machine has",
        # driver
        "fabric-offset-too-small": "The program starts too close to the corner of the fabric",
        "file-not-found": "The file on the command line does not exist",
        "image-rejected": "The image breaks a rule of the machine",
        "unreadable-file": "A file cannot be read",
    }
)
"""Code → summary."""
