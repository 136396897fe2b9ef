"""The platforms of SDK programs: always a simulated wafer here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

from onewafer.errors import HostError
from onewafer.host.sdk.keyword_names import also_named

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
    """Options of the vendor's simulator: accepted and ignored."""

    num_threads: int = 16
    suppress_trace: bool = False
    dump_core: bool = False
    core_path: str | PathLike[str] | None = None


@dataclass(frozen=True, slots=True)
class SdkExecutionPlatform:
    """A simulated wafer of one generation."""

    target: SdkTarget

    def is_simulation(self) -> bool:
        """Return True: every wafer here is simulated."""
        return True

    def is_system(self) -> bool:
        """Return False: no wafer here is a real system."""
        return False


@also_named(addr="cmaddr")
def get_platform(
    cmaddr: str | None = None,
    config: SimfabConfig | None = None,
    target: SdkTarget = SdkTarget.WSE3,
) -> SdkExecutionPlatform:
    """Return the platform that a program is compiled for and runs on.

    `cmaddr` may be called `addr`, as in some versions of the SDK.

    Raises:
        HostError: `cmaddr` names a real system, or there is no such generation.
    """
    refuse_real_system("get_platform", cmaddr)
    return get_simulator(config, target)


def get_simulator(
    config: SimfabConfig | None = None, target: SdkTarget = SdkTarget.WSE3
) -> SdkExecutionPlatform:
    """Return a simulated wafer of a generation.

    Raises:
        HostError: there is no such generation, or `config` is something else.
    """
    # A target passed as `config` would otherwise be ignored, and the program run on the WSE-3.
    if not isinstance(config, SimfabConfig | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise HostError(f"config={config!r} is not a SimfabConfig: {_instead_of(config)}")
    try:
        return SdkExecutionPlatform(SdkTarget(target))
    except ValueError:
        names = " or ".join(f"SdkTarget.{member.name}" for member in SdkTarget)
        raise HostError(f"the target {target!r} is not a machine: write {names}") from None


@also_named(addr="cmaddr")
def get_system(
    cmaddr: str,
    config: SimfabConfig | None = None,  # noqa: ARG001 - the SDK's signature
    target: SdkTarget = SdkTarget.WSE3,  # noqa: ARG001 - likewise
) -> NoReturn:
    """Refuse to find a real system: onewafer has none.

    Raises:
        HostError: always.
    """
    raise HostError(
        f"get_system({cmaddr!r}): there is no real system here, onewafer only simulates: "
        "write get_simulator(), or get_platform() where a script runs on both"
    )


def find_platform(platform: object, cmaddr: object) -> SdkExecutionPlatform | None:
    """Return the platform among the two arguments of `SdkRuntime`; None: there is none.

    Raises:
        HostError: one of them is the address of a real system, or no platform.
    """
    found: SdkExecutionPlatform | None = None
    for name, given in (("platform", platform), ("cmaddr", cmaddr)):
        match given:
            case SdkExecutionPlatform() if found is None:
                found = given
            case SdkExecutionPlatform():
                raise HostError("SdkRuntime: platform and cmaddr are one thing: leave one out")
            case None | str():
                refuse_real_system("SdkRuntime", given)
            case _:
                raise HostError(
                    f"SdkRuntime: {name}={given!r} is not a platform: pass the one of get_platform"
                )
    return found


def refuse_real_system(call: str, address: object) -> None:
    """Refuse any address but None and the empty one.

    Raises:
        HostError: the address is set.
    """
    if address is None or address == "":
        return
    if not isinstance(address, str):
        raise HostError(f"{call}: {address!r} is not an address: {_instead_of(address)}")
    raise HostError(
        f"{call}: the address {address!r} names a real system; onewafer only simulates: "
        "leave it out"
    )


def _instead_of(given: object) -> str:
    """Return the advice for an argument in the wrong place."""
    return (
        f"write target=SdkTarget.{given.name}" if isinstance(given, SdkTarget) else "leave it out"
    )
