"""Findings of the compiler, with help for a host script, which has no layout block to change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onewafer.diagnostics import Diagnostic

_AT_A_SIDE = (
    "paint the PEs of that side otherwise, with get_edge_routing(Edge.…, […]) as last argument of "
    "paint_all, or create a port there"
)
_HELP = {
    "unbound-param": "give it one in the host script: `region.set_param_all(name, value)`, or the "
    "color alone if the param has its name",
    "route-leaves-rectangle": f"there is no PE on that side: {_AT_A_SIDE}",
    "route-not-accepted": f"let the neighbour receive it from this side, or {_AT_A_SIDE}",
    "two-drivers": "let one side at a time send, or give each position one input, take turns with "
    "a list of positions, or use a second color",
}
_USUAL = frozenset({"route-without-sender"})
"""The ports of a region that is painted as a whole, at its rim."""


def for_script(findings: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return the findings that say something about a layout, with help for who wrote the script."""
    return [
        replace(finding, help=_HELP.get(finding.code, finding.help))
        for finding in findings
        if finding.code not in _USUAL
    ]
