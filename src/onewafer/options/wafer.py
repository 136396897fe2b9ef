"""Options of a simulated wafer: those of `onewafer run`, `onewafer.wafer` and `torch.compile`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from onewafer.options.conversion import (
    one_of,
    optional,
    to_hertz,
    to_path,
    to_pe_cycles,
    to_rectangle,
    whole,
)
from onewafer.options.option import option
from onewafer.options.simulation import EngineOption, SimulationOptions

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

    from onewafer.graph import DataType

SHORTEST_CONTEXT = 16
"""Tokens that a sequence may have at least, or it is not worth a program."""


class Fidelity(StrEnum):
    """How a call is carried out."""

    AUTO = "auto"
    """Values of the host; cycles of the fabric where a launch was simulated, derived elsewhere."""
    FABRIC = "fabric"
    """Compiled from CSL and simulated wavelet by wavelet: values and cycles of the wafer."""
    MODEL = "model"
    """Cycles from the closed-form cost, values as the host computes them."""


class Draws(StrEnum):
    """The source of a dropout's random numbers in training."""

    HOST = "host"
    """The host, as PyTorch does: values are those of plain Python."""
    WAFER = "wafer"
    """The PEs, from seeds: the host sends two words a launch."""


def _to_dtype(value: str) -> DataType:
    from onewafer.graph import FLOATING  # noqa: PLC0415  # where a number format is named

    return one_of(FLOATING)(value)


def _to_folder(value: str | PathLike[str]) -> Path:
    return to_path(value).absolute()  # a script may go to another folder later


class WaferOptions(EngineOption):
    """The wafer that a program runs on, and how."""

    arch: str = option(default="wse3", help="Machine: wse2, wse3 or toy")
    profile: str = option(default="sdk", help="Timing: sdk or silicon")
    fidelity: Fidelity = option(
        default="auto",
        converter=one_of(Fidelity),
        help="auto: the host's values, cycles from simulated launches and derived from them; "
        "fabric: simulate every wavelet; model: closed-form cycles",
    )
    simulate_budget: int = option(  # with compiled programs, less than ten seconds of a core
        default="250M",
        converter=to_pe_cycles,
        help="Cycles times PEs that fidelity auto may simulate, e.g. 10G; 0: none",
        metavar="PE-CYCLES",
    )
    rectangle: tuple[int, int] | None = option(
        default=None,
        converter=optional(to_rectangle),
        help="PEs to use, e.g. 8x4",
        unset="the fastest that fits",
        metavar="WxH",
    )
    dtype: DataType | None = option(
        default=None,
        converter=optional(_to_dtype),
        help="Number format on the wafer: f16 or f32",
        unset="the model's",
    )
    clock: float | None = option(
        default=None,
        converter=optional(to_hertz),
        help="Clock that turns cycles into time, e.g. 850MHz",
        unset="the architecture's",
        metavar="HZ",
    )
    max_batch: int = option(default=64, help="Most rows in one launch", metavar="ROWS")
    context: int = option(
        default=1024,
        converter=whole(SHORTEST_CONTEXT),
        help="Most tokens of a sequence of a language model; fewer if the model has fewer "
        "positions, or memory no room for more",
        metavar="TOKENS",
    )
    rows_per_launch: int = option(
        default=16,
        help="Most tokens of a sequence in one launch; a longer prompt takes several",
        metavar="TOKENS",
    )
    dropout: Draws = option(
        default="host",
        converter=one_of(Draws),
        help="Source of a dropout's random numbers in training: host, as PyTorch does, or wafer "
        "(with fidelity fabric or model)",
    )
    strict: bool = option(
        default=False,
        help="Stop if the wafer cannot run a module with parameters, instead of running it on the "
        "host",
    )
    csl: Path | None = option(
        default=None,
        converter=optional(_to_folder),
        help="Write the CSL of every program into a new or empty folder",
        metavar="FOLDER",
    )

    def check_together(self) -> None:
        """Refuse what the machine does not have, and values that do not go together."""
        from onewafer.arch import load_architecture  # noqa: PLC0415  # commands load this file
        from onewafer.mesh import MAX_POSITIONS, check_rectangle  # noqa: PLC0415  # likewise

        architecture = load_architecture(self.arch, profile=self.profile)  # or an unknown name
        if self.rectangle is not None:
            check_rectangle(*self.rectangle, architecture)
        if self.dropout is Draws.WAFER and self.fidelity is Fidelity.AUTO:
            advice = (
                "in fidelity auto, values are the host's, which draws itself; choose fidelity "
                "fabric, or model for the cycles alone"
            )
            self.refuse("dropout", advice, because="fidelity")
        if self.context > MAX_POSITIONS:
            self.refuse("context", f"write {SHORTEST_CONTEXT} to {MAX_POSITIONS} tokens")
        if self.rows_per_launch > self.context:
            advice = f"write 1 to {self.context} tokens, those of a sequence"
            self.refuse("rows_per_launch", advice, because="context")


class RunOptions(WaferOptions, SimulationOptions):
    """A wafer, and how it is simulated."""
