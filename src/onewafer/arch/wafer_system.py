"""Systems around a wafer as values: clocks, power, links between wafers, weight servers.

The numbers live in `wafer_systems/<name>.toml`, each with its unit and source.
"""

from __future__ import annotations

from dataclasses import dataclass

from onewafer.arch.sourced import load_facts, names_in

_FOLDER = "onewafer.arch.wafer_systems"


@dataclass(frozen=True, slots=True)
class WaferSystem:
    """One system with one wafer; a cluster has several."""

    name: str
    """`cs2`, `cs3`."""
    title: str
    wafer: str
    """Name of the `Architecture`."""
    num_cores: int
    """PEs that the advertised peak counts."""
    fp16_products_per_cycle: int
    """Multiply-adds on dense fp16 operands that a PE could begin in a cycle."""
    fp32_products_per_cycle: int
    slowest_clock_hertz: float
    """The ends of the range of published clocks."""
    fastest_clock_hertz: float
    busy_watts: float
    """Power of the whole system, cooling included."""
    idle_watts: float
    crossing_seconds: float
    """Latency from the edge of one wafer to the edge of the next."""
    max_systems: int
    """Most systems of a cluster."""
    weight_server_bytes: int
    """Weights and optimizer state that a cluster can keep outside the wafers (MemoryX)."""
    tree_fan_out: int
    """Links of a node of the tree that sends weights and sums gradients (SwarmX)."""

    def peak_flop_per_second(self, *, bits: int, clock_hertz: float) -> float:
        """Return the dense peak of one wafer for operands of 16 or 32 bits."""
        products = self.fp16_products_per_cycle if bits == 16 else self.fp32_products_per_cycle  # noqa: PLR2004
        return 2.0 * self.num_cores * products * clock_hertz


def wafer_system_names() -> tuple[str, ...]:
    """Return the names of all systems, sorted."""
    return names_in(_FOLDER)


def load_wafer_system(name: str) -> WaferSystem:
    """Return a system; raise ConfigurationError if there is none of that name.

    >>> load_wafer_system("cs3").wafer
    'wse3'
    """
    return load_facts(WaferSystem, _FOLDER, name, "wafer system")


def find_wafer_system(wafer: str) -> WaferSystem | None:
    """Return the system around an architecture of that name; None: there is none.

    >>> find_wafer_system("wse3").name, find_wafer_system("toy")
    ('cs3', None)
    """
    systems = map(load_wafer_system, wafer_system_names())
    return next((found for found in systems if found.wafer == wafer), None)


def wafer_of(machine: str) -> str:
    """Return the wafer of a system; the name of a machine stays as it is.

    >>> wafer_of("cs3"), wafer_of("wse2")
    ('wse3', 'wse2')
    """
    return load_wafer_system(machine).wafer if machine in wafer_system_names() else machine
