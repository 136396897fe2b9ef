"""`[compare]`: each point is one job of one model on one system, in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from onewafer.api import (
    JobOptions,
    MappingOptions,
    Numbers,
    check_model,
    describe_catalogued,
    question,
    wafer_of,
)
from onewafer.errors import ConfigurationError
from onewafer.options import options_of
from onewafer.perf import Answer, Precision
from onewafer.perf.report import QUANTITIES
from onewafer.perf.wafer import Programs, parse_system
from onewafer.sweep.inputs.machine_axes import (
    TABLES,
    Variant,
    is_machine_axis,
    machine_axes,
    machine_numbers,
    parse_machine_axis,
    variant_of,
)
from onewafer.sweep.inputs.plain import as_text, parse_option, to_json
from onewafer.sweep.subjects.outcome import Item, Outcome, Status
from onewafer.sweep.subjects.subject import Figure, Subject, Task

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from onewafer import perf
    from onewafer.api import Question
    from onewafer.sweep.inputs.plain import Plain
    from onewafer.sweep.subjects.subject import Share

_TEXTS = ("model", "job", "system")
_NUMBERS = tuple(found.name for found in options_of(Numbers))
_OPTIONS = tuple(
    found.name
    for found in options_of(MappingOptions)
    if found.name not in ("clock", "gpu_profile")  # the clock is a number of the machine
)
_SYSTEM, _PROFILE, _FP16 = "cs3", "silicon", "fp16"
_WAFER_PRECISION = "wafer_precision"
_LIMITS = (
    "fabric_width",
    "fabric_height",
    "memory_bytes",
    "io_bytes_per_second",
)
"""Changes of the machine that affect neither programs nor cycle counts."""
_ASKED = ("need", "weight_bytes")
"""Values that filters may use besides a point's inputs and its machine."""
_MOST_KEPT = 3
"""Groups of points whose programs a worker keeps; points of one group are adjacent."""
_FIGURES = (
    *(Figure(quantity.name) for quantity in QUANTITIES),
    Figure("seconds"),
    Figure("mapping", is_text=True),
    Figure("limit", is_text=True),
)


@dataclass(frozen=True, slots=True)
class Compared(Subject):
    """Points of `onewafer compare`."""

    figures: ClassVar = _FIGURES
    least_memory: ClassVar = 600_000_000
    most_together: ClassVar = 64

    def names(self) -> Collection[str]:
        return (*_TEXTS, *_NUMBERS, *_OPTIONS, *machine_axes())

    def prefixes(self) -> Collection[str]:
        """Return the prefixes of further inputs: entries of the machine's tables."""
        return TABLES

    def parse(self, name: str, value: object) -> Plain:
        if name in _TEXTS:
            return as_text(name, value)
        if name in _NUMBERS:
            return parse_option(Numbers, name, value)
        if name in _OPTIONS:
            return parse_option(MappingOptions, name, value)
        return parse_machine_axis(name, value)

    def asks(self, names: Collection[str]) -> Collection[str]:
        del names
        return (*machine_numbers("wse3", "", profile=_PROFILE), *_ASKED)

    def values(self, inputs: Mapping[str, Plain], names: Collection[str]) -> Mapping[str, object]:
        found: dict[str, object] = {**inputs}
        system = str(inputs.get("system", _SYSTEM))
        if (machine := wafer_of(system)) is not None:
            profile = str(inputs.get("profile", _PROFILE))
            changes = variant_of(machine, inputs, profile=profile).changes
            found |= machine_numbers(machine, changes, profile=profile)
            if "clock" in inputs:
                found["clock"] = inputs["clock"]
        if not set(_ASKED).isdisjoint(names):
            found |= _memory(inputs, found)
        return found

    def task(self, inputs: Mapping[str, Plain]) -> ComparedTask:
        if "model" not in inputs:
            raise ConfigurationError(
                'the study names no model; write model = "llama-3.1-8b" under [compare]'
            )
        check_model(str(inputs["model"]))
        system = str(inputs.get("system", _SYSTEM))
        machine = wafer_of(system)
        changed = [name for name in inputs if is_machine_axis(name)]
        if machine is None and changed:
            raise ConfigurationError(f"{changed[0]} is a number of a wafer, and {system} has none")
        profile = str(inputs.get("profile", _PROFILE))
        usual = Variant("", None)
        task = ComparedTask(
            model=str(inputs["model"]),
            job=str(inputs["job"]) if "job" in inputs else None,
            system=system,
            numbers=_those_in(_NUMBERS, inputs),
            options=_those_in(_OPTIONS, inputs),
            variant=usual if machine is None else variant_of(machine, inputs, profile=profile),
        )
        task.question()  # refuses an invalid one
        return task


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTask(Task):
    """The comparison of one point."""

    model: str
    job: str | None
    system: str
    numbers: tuple[tuple[str, Plain], ...]
    options: tuple[tuple[str, Plain], ...]
    variant: Variant

    @property
    def group(self) -> str:
        """The inputs that decide the point's programs: all but the wafer's size and its I/O."""
        changes = self.variant.changes.split(",")
        timing = [change for change in changes if change.partition("=")[0] not in _LIMITS]
        options = [one for one in self.options if one[0] in ("density", _WAFER_PRECISION)]
        return to_json({"of": [self.model, self.job, self.numbers, options, timing]})

    def describe(self) -> Mapping[str, object]:
        return {
            "subject": "compare",
            "model": self.model,
            "job": self.job,
            "system": self.system,
            "numbers": dict(self.numbers),
            "options": dict(self.options),
            "changes": self.variant.changes,
            "clock": self.variant.clock_hertz,
        }

    def question(self) -> Question:
        """Return the point's question for `compare`; raise ConfigurationError if it is invalid."""
        return question(
            JobOptions(job=self.job, **dict(self.numbers)),  # pyright: ignore[reportArgumentType]  # parsed
            MappingOptions(clock=self.variant.clock_hertz, **dict(self.options)),  # pyright: ignore[reportArgumentType]  # parsed
            system=self.system,
            variant=self.variant.changes,
        )

    def run(self, share: Share) -> Outcome:
        del share
        programs = _programs(self.group)
        result = self.question().ask(_model(self.model), programs=programs)
        if isinstance(result, Answer):
            return _answered(result)
        return Outcome(status=Status.REFUSED, reason=result.reason, figures=_memory_figures(result))


@lru_cache(maxsize=_MOST_KEPT)
def _programs(group: str) -> Programs:
    """Return the programs that a worker keeps for a group of points."""
    del group
    return Programs()


@lru_cache(maxsize=_MOST_KEPT)
def _model(name: str) -> perf.Model:
    """Return a model, one object per worker, since its programs are kept by its identity."""
    return describe_catalogued(name)


def _those_in(names: Collection[str], inputs: Mapping[str, Plain]) -> tuple[tuple[str, Plain], ...]:
    return tuple((name, inputs[name]) for name in names if name in inputs)


def _answered(answer: Answer) -> Outcome:
    limit = answer.limit
    return Outcome(
        status=Status.ANSWERED,
        figures={
            **{quantity.name: quantity.read(answer) for quantity in QUANTITIES},
            "seconds": answer.breakdown.seconds,
            "mapping": answer.choice.text,
            "limit": None if limit is None else limit.value,
        },
        breakdown=tuple(
            Item(item.name, item.seconds, item.limit.value) for item in answer.breakdown.items
        ),
        notes=answer.notes,
    )


def _memory_figures(refusal: perf.Refusal) -> dict[str, float | str | None]:
    """Return the memory that a refused point would take, and the memory available."""
    memory = refusal.memory
    if memory is None:
        return {}
    return {
        "weight_bytes": memory.weight_bytes,
        "cache_bytes": memory.cache_bytes,
        "memory_used_bytes": memory.used_bytes,
        "memory_available_bytes": memory.available_bytes,
    }


def _memory(inputs: Mapping[str, Plain], machine: Mapping[str, object]) -> dict[str, object]:
    """Return the bytes of all weights, and the bytes that each PE needs of weights and caches.

    Both are shared out evenly, without code or buffers: a lower bound of the SRAM needed.
    """
    model = _model(str(inputs["model"]))
    precision = Precision(str(inputs.get(_WAFER_PRECISION, _FP16)))
    weights = model.num_weights * precision.num_bytes * float(inputs.get("density", 1.0))
    tokens = max(int(inputs.get(name, 0)) for name in ("context", "sequence"))
    tokens = max(tokens, int(inputs.get("prompt", 0)) + int(inputs.get("answer", 0)))
    sequences = int(inputs.get("batch", inputs.get("concurrency", 1)))
    caches = model.cached_elements(tokens) * sequences * precision.num_bytes
    pes = machine.get("pes")
    if not isinstance(pes, int):
        return {"weight_bytes": weights}
    system = parse_system(str(inputs.get("system", _SYSTEM)))
    wafers = 1 if system is None else system.num_wafers
    return {"weight_bytes": weights, "need": math.ceil((weights + caches) / (pes * wafers))}


def forget() -> None:
    """Forget the models and programs that this process keeps."""
    _programs.cache_clear()
    _model.cache_clear()
