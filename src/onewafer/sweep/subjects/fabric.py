"""Simulated points: a machine (`arch`, `profile`, changed numbers) and free inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onewafer.sweep.inputs.machine_axes import (
    TABLES,
    Variant,
    check_fabric,
    machine_numbers,
    variant_of,
)
from onewafer.sweep.subjects.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from onewafer.sweep.inputs.plain import Plain

USUAL_PROFILE = "sdk"
_USUAL_ARCH = "wse3"


@dataclass(frozen=True, slots=True)
class FabricMachine:
    """A machine of the catalog, or a variant of one, under a timing profile."""

    arch: str
    profile: str
    clock_hertz: float | None
    """None: the machine's own clock."""


def fabric_machine(inputs: Mapping[str, Plain]) -> FabricMachine:
    """Return the machine of a point; raise ConfigurationError if the simulator has none such."""
    machine, profile, variant = _variant(inputs)
    check_fabric(machine, variant.changes, profile=profile)
    arch = f"{machine}:{variant.changes}" if variant.changes else machine
    return FabricMachine(arch, profile, variant.clock_hertz)


class OnFabric(Subject):
    """A subject whose points are simulated, and have inputs that the user names."""

    free_inputs: ClassVar[str]
    """Prefix of the names of the user's own inputs, such as `params.`."""

    def prefixes(self) -> Collection[str]:
        """Return the prefixes of further inputs: the user's own, the machine's tables."""
        return (self.free_inputs, *TABLES)

    def asks(self, names: Collection[str]) -> Collection[str]:
        del names
        return tuple(machine_numbers(_USUAL_ARCH, "", profile=USUAL_PROFILE))

    def values(self, inputs: Mapping[str, Plain], names: Collection[str]) -> Mapping[str, object]:
        del names
        machine, profile, variant = _variant(inputs)
        found: dict[str, object] = {**inputs}
        found |= machine_numbers(machine, variant.changes, profile=profile)
        return found if variant.clock_hertz is None else found | {"clock": variant.clock_hertz}

    def taken(self, inputs: Mapping[str, Plain]) -> tuple[tuple[str, Plain], ...]:
        """Return the user's own inputs of a point, by their names without the prefix."""
        return tuple(
            (name.removeprefix(self.free_inputs), value)
            for name, value in inputs.items()
            if name.startswith(self.free_inputs)
        )


def _variant(inputs: Mapping[str, Plain]) -> tuple[str, str, Variant]:
    machine = str(inputs.get("arch", _USUAL_ARCH))
    profile = str(inputs.get("profile", USUAL_PROFILE))
    return machine, profile, variant_of(machine, inputs, profile=profile)
