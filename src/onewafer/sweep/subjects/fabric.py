"""The machine of points that are simulated: `arch`, `profile`, and the numbers that differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.sweep.machine_axes import (
    Variant,
    check_fabric,
    machine_numbers,
    variant_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from onewafer.sweep.plain import Plain

USUAL_PROFILE = "sdk"
_USUAL_ARCH = "wse3"


@dataclass(frozen=True, slots=True)
class FabricMachine:
    """A machine of the catalog, or a variant of one, under a timing profile."""

    arch: str
    profile: str
    clock_hertz: float | None
    """None: the machine's."""


def fabric_machine(inputs: Mapping[str, Plain]) -> FabricMachine:
    """Return the machine of a point; raise ConfigurationError if the simulator has none such."""
    machine, profile, variant = _variant(inputs)
    check_fabric(machine, variant.changes, profile=profile)
    arch = f"{machine}:{variant.changes}" if variant.changes else machine
    return FabricMachine(arch, profile, variant.clock_hertz)


def fabric_names() -> Collection[str]:
    """Return what filters may ask about the machine of a point."""
    return tuple(machine_numbers(_USUAL_ARCH, "", profile=USUAL_PROFILE))


def fabric_values(inputs: Mapping[str, Plain]) -> Mapping[str, object]:
    """Return the values that filters may ask for, the inputs included."""
    machine, profile, variant = _variant(inputs)
    found: dict[str, object] = {**inputs}
    found |= machine_numbers(machine, variant.changes, profile=profile)
    return found if variant.clock_hertz is None else found | {"clock": variant.clock_hertz}


def _variant(inputs: Mapping[str, Plain]) -> tuple[str, str, Variant]:
    machine = str(inputs.get("arch", _USUAL_ARCH))
    profile = str(inputs.get("profile", USUAL_PROFILE))
    return machine, profile, variant_of(machine, inputs, profile=profile)
