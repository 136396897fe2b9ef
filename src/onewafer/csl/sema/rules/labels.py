"""Labels of blocks and loops, for both evaluators: `label: while …`, `break :label value`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.faults.names import suggest

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from onewafer.diagnostics import Span


@contextmanager
def labelled(
    labels: list[tuple[str, bool]], label: str | None, span: Span, *, is_loop: bool
) -> Generator[None]:
    """Put a label in scope for its block or loop."""
    if label is None:
        yield
        return
    if any(name == label for name, _ in labels):
        fail("duplicate-declaration", f"the label `{label}` is in use around this", span)
    labels.append((label, is_loop))
    try:
        yield
    finally:
        labels.pop()


def check_label(
    label: str, labels: Sequence[tuple[str, bool]], span: Span, *, is_loop: bool
) -> None:
    """Fail unless the label of a jump is in scope, and is a loop's if `is_loop`."""
    known = dict(labels)
    if label not in known:
        fail(
            "misplaced-jump",
            f"no block or loop around this has the label `{label}`",
            span,
            help=suggest(label, known) or f"write `{label}:` before the block or loop",
        )
    if is_loop and not known[label]:
        fail("misplaced-jump", f"`{label}` labels a block, and only loops continue", span)
