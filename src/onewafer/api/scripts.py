"""A PyTorch script, run from Python as `onewafer run` runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, Unpack

from onewafer.api.comparisons import list_systems
from onewafer.api.wafers import wafer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.api.paths import StrPath
    from onewafer.pytorch import Report


class WaferKeywords(TypedDict, total=False):
    """The arguments of `onewafer.wafer`, by name."""

    arch: str
    profile: str
    fidelity: str | None
    simulate_budget: str | int | None
    rectangle: str | tuple[int, int] | None
    dtype: str | None
    clock: str | float | None
    max_batch: int
    context: int
    rows_per_launch: int
    dropout: str
    strict: bool
    csl: StrPath | None
    engine: str | None
    max_cycles: int | None
    threads: int | None
    progress: bool


def run(
    script: StrPath,
    arguments: Sequence[str] = (),
    *,
    against: str | Sequence[str] = (),
    cuda_alias: bool | None = None,
    **options: Unpack[WaferKeywords],
) -> Report:
    """Run a PyTorch script to its end on a simulated wafer, and return its report.

    The script is `__main__`, as under `python`.

    Args:
        script: the path of the script.
        arguments: its arguments, `sys.argv[1:]`.
        against: systems to show the same work on, as in `"h100x8,b200x8"`, or a list.
        cuda_alias: whether `cuda` means the wafer; None: for scripts that cannot do without.
        options: those of `onewafer.wafer`: `fidelity="fabric"`, `rectangle="8x8"`, …

    Raises:
        ConfigurationError: there is no such script or system, or an option has no usable value.
        OnewaferError: the script did not catch it.
        SystemExit: the script ended with an exit code other than 0; that of another exception is 1,
            and its traceback is printed, as Python does.
    """
    systems = list_systems((), against) if against else ()
    used = wafer(**options)
    result = used.run_script(script, arguments, cuda_alias=cuda_alias)
    used.finish_recordings()
    if result.error is not None:
        raise result.error
    if result.exit_code:
        raise SystemExit(result.exit_code)
    return used.report_against(systems) if systems else used.report
