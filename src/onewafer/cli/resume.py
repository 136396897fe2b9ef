"""`onewafer resume`: go on from a checkpoint that an interrupted run left, to its end."""

from __future__ import annotations

import json
from pathlib import Path  # Typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.cli.options.flags import with_flags
from onewafer.cli.options.output_files import check_output, write_output
from onewafer.cli.options.recorded_run import recorded
from onewafer.errors import ConfigurationError, HostError
from onewafer.files.whole_files import whole_file
from onewafer.options import (  # for Typer
    RecordOptions,
    SimulationOptions,
    StrictOption,
    settings_with,
)
from onewafer.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from onewafer.host import Device
    from onewafer.settings import Settings
    from onewafer.simulator import Statistics

INTERRUPTED = 130


@with_flags
def resume(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="FILE", help="A checkpoint, as Ctrl-C leaves it.")
    ],
    *,
    simulation: SimulationOptions,
    strict: StrictOption,
    symbols: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write every exported variable to this .npz file, [height, width, elements] each.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write cycles and counts as JSON."),
    ] = None,
    recording: RecordOptions,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Go on from a checkpoint until nothing moves any more, and print what the run cost.

    The result is that of a run which was never stopped: the same bits, the same cycles. What the
    host script would have done afterwards is not in the file: read results with --symbols.
    Ctrl-C leaves another checkpoint. A recording has the counters of the whole run, and launches
    and windows from the checkpoint on.
    """
    symbols, json_file = check_output("--symbols", symbols), check_output("--json", json_file)
    settings = settings_with(simulation, strict, progress=not quiet)
    with recorded(settings, recording) as settings:
        code = _go_on(checkpoint, settings, symbols, json_file)
    raise typer.Exit(code)


def _go_on(path: Path, settings: Settings, symbols: Path | None, json_file: Path | None) -> int:
    from onewafer.host import (  # noqa: PLC0415  # a subcommand loads what it uses
        Device,
        Interruption,
        RunLimits,
        checking_of,
        folder_recorder,
    )

    limits = RunLimits.from_settings(settings)
    recorder = folder_recorder(path.parent / path.stem, settings, limits.observer.say)
    device = Device.from_checkpoint(
        path,
        engine=settings.engine,
        limits=limits,
        recorder=recorder,
        checking=checking_of(settings),
        is_reviewed=True,
        has_host=False,
    )
    start = device.machine.cycle
    what = printable(device.machine.interrupted or "the run")
    print(f"going on at cycle {start:,} in {what}, on the {device.machine.engine} engine")
    try:
        device.settle()
        device.end(is_well=True)
    except KeyboardInterrupt as error:
        place = Interruption.of(error)
        if place is None:
            raise
        typer.echo(f"\n{place}", err=True)
        return INTERRUPTED
    finally:
        device.end()
    statistics = device.machine.statistics()
    print(f"at rest at cycle {statistics.cycles:,}, after {statistics.cycles - start:,} more")
    counts = _counts(statistics)
    for name, count in counts.items():
        print(f"  {name.replace('_', ' '):<20} {count:>16,}")
    if symbols is not None:
        arrays = read_variables(device)
        _write_arrays(symbols, arrays)
        print(printable(f"wrote {symbols}: {', '.join(arrays) or 'no variables'}"))
    if json_file is not None:
        record = {
            "arch": device.architecture.name,
            "profile": device.architecture.profile,
            "engine": device.machine.engine,
            "start_cycle": start,
            "end_cycle": statistics.cycles,
            **counts,
        }
        write_output(json_file, json.dumps(record, indent=2) + "\n")
    return 0


def _counts(statistics: Statistics) -> dict[str, int]:
    """Return the statistics of the whole machine since it was loaded."""
    return {
        "instructions": int(statistics.instructions.sum()),
        "dsd_elements": int(statistics.dsd_elements.sum()),
        "task_starts": int(statistics.task_starts.sum()),
        "wavelet_hops": statistics.wavelet_hops,
        "busy_pe_cycles": int(statistics.busy_cycles.sum()),
    }


def read_variables(device: Device) -> dict[str, NDArray[np.generic]]:
    """Return every exported variable that all PEs have, `[height, width, elements]`."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for export in device.image.exports:
        try:
            arrays[export.name] = device.read_whole(export.name)
        except HostError:  # a function, a pointer without a type, or not on every PE
            continue
    return arrays


def _write_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    import numpy as np  # noqa: PLC0415  # a subcommand loads what it uses

    try:
        with whole_file(path) as target, target.open("wb") as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]  # names are keywords
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error
