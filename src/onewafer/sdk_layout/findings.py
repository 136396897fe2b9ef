"""Compiler findings about a layout, with advice for the host script that made it."""

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
"""Codes that are left out: usual at the rim of a region whose PEs are all painted alike."""


def for_script(findings: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return the findings about a layout, with advice for the author of the script."""
    return [
        replace(finding, help=_HELP.get(finding.code, finding.help))
        for finding in findings
        if finding.code not in _USUAL
    ]
