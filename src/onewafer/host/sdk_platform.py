"""What an SDK program runs on: always a simulated wafer here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from onewafer.errors import HostError

if TYPE_CHECKING:
    from os import PathLike


class SdkTarget(IntEnum):
    """A generation of the wafer."""

    WSE2 = 0
    WSE3 = 1

    @property
    def arch(self) -> str:
        """The name of the machine in onewafer's catalog."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class SimfabConfig:
    """Tuning of the vendor's simulator. It is accepted, and changes nothing here."""

    num_threads: int = 16
    suppress_trace: bool = False
    dump_core: bool = False
    core_path: str | PathLike[str] | None = None


@dataclass(frozen=True, slots=True)
class SdkExecutionPlatform:
    """A simulated wafer of one generation."""

    target: SdkTarget


def get_platform(
    addr: str | None,
    config: SimfabConfig | None = None,
    target: SdkTarget = SdkTarget.WSE3,
) -> SdkExecutionPlatform:
    """Return the platform that a program is compiled for and runs on.

    Raises:
        HostError: `addr` names a real system.
    """
    refuse_real_system("addr", addr)
    return get_simulator(config, target)


def get_simulator(
    config: SimfabConfig | None = None, target: SdkTarget = SdkTarget.WSE3
) -> SdkExecutionPlatform:
    """Return a simulated wafer of a generation.

    Raises:
        HostError: there is no such generation.
    """
    del config
    try:
        return SdkExecutionPlatform(SdkTarget(target))
    except ValueError:
        names = " or ".join(f"SdkTarget.{member.name}" for member in SdkTarget)
        raise HostError(f"the target {target!r} is no machine: write {names}") from None


def refuse_real_system(argument: str, address: str | None) -> None:
    """Refuse an address.

    Raises:
        HostError: there is one.
    """
    if address:
        raise HostError(
            f"{argument}={address!r} names a real system; onewafer only simulates: "
            f"leave {argument} out"
        )
