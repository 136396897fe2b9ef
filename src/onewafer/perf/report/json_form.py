"""A comparison as JSON: every number in SI units, fractions as 0 to 1."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from onewafer import __version__
from onewafer.perf.answer import Answer, Refusal
from onewafer.perf.report.errors_of_figures import error_of
from onewafer.perf.report.quantities import QUANTITIES

if TYPE_CHECKING:
    from onewafer.perf.answer import Comparison
    from onewafer.perf.published import PublishedFigure

FORMAT = "onewafer-comparison-1"


def to_json(*comparisons: Comparison) -> str:
    """Return comparisons of one model as a JSON text: several for the points of a curve."""
    document = {
        "format": FORMAT,
        "version": __version__,
        "model": comparisons[0].model,
        "comparisons": [
            {
                "job": {"kind": type(comparison.job).__name__.lower(), **asdict(comparison.job)},
                "results": [_fields(result) for result in comparison.results],
            }
            for comparison in comparisons
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _fields(result: Answer | Refusal) -> dict[str, object]:
    if isinstance(result, Refusal):
        return {"system": result.system, "title": result.title, "refused": result.reason}
    return {
        "system": result.system,
        "title": result.title,
        "precision": result.precision.value,
        "mapping": asdict(result.choice),
        "limit": result.limit,
        **{quantity.name: quantity.read(result) for quantity in QUANTITIES},
        "energy_basis": result.energy_basis,
        "breakdown": [asdict(item) for item in result.breakdown.items],
        "published": [_published(result, figure) for figure in result.published],
        "notes": [*result.notes],
    }


def _published(answer: Answer, figure: PublishedFigure) -> dict[str, object]:
    return {
        "name": figure.name,
        "quantity": figure.quantity,
        "value": figure.value,
        "unit": figure.unit,
        "error": error_of(answer, figure),
        "role": figure.role.value,
        "source": figure.source,
    }
