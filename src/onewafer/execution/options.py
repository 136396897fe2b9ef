"""Options of a run: machine, fidelity, rectangle, number format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from onewafer.arch import load_architecture
from onewafer.errors import ConfigurationError
from onewafer.geometry import parse_size
from onewafer.graph import FLOATING, DataType
from onewafer.mesh import MAX_POSITIONS, check_rectangle
from onewafer.settings import ENGINES
from onewafer.units import check_clock, parse_hertz

if TYPE_CHECKING:
    from collections.abc import Mapping

Spelling = Callable[[str, object], str]
"""Name and value of an option → how its user writes it."""


class Fidelity(StrEnum):
    """How a call is carried out."""

    AUTO = "auto"
    """Values of the host; cycles of the fabric where a launch was simulated, derived elsewhere."""
    FABRIC = "fabric"
    """Compiled from CSL and simulated wavelet by wavelet: values and cycles of the wafer."""
    MODEL = "model"
    """Cycles from the closed-form cost, values as the host computes them."""


class Draws(StrEnum):
    """Who draws what a dropout keeps in training."""

    HOST = "host"
    """The host, as PyTorch does: values are those of plain Python."""
    WAFER = "wafer"
    """The PEs, from seeds: the host sends two words a launch."""


SHORTEST_CONTEXT = 16
"""Tokens that a sequence may have at least, or it is not worth a program."""
DEFAULT_SIMULATE_BUDGET = 250_000_000
"""PE-cycles: with the programs that are compiled for it, less than ten seconds of a core."""


@dataclass(frozen=True, slots=True)
class WaferOptions:
    """The wafer that a program runs on, and how."""

    arch: str = "wse3"
    """A machine of the catalog, see `architecture_names()`; of a system, its wafer."""
    profile: str = "sdk"
    """Timing profile of that machine."""
    fidelity: Fidelity = Fidelity.AUTO
    rectangle: tuple[int, int] | None = None
    """Width and height in PEs; None: the fastest that fits, up to 8×8 where that suffices."""
    dtype: DataType | None = None
    """Number format on the wafer; None: the model's own."""
    clock_hertz: float | None = None
    """Clock for turning cycles into time; None: the architecture's."""
    engine: str | None = None
    """The simulator, `fast` or `reference`; None: `ONEWAFER_ENGINE`, or `fast`."""
    max_batch: int = 64
    """Most rows in one launch; larger batches take several."""
    context: int = 1024
    """Most tokens of a sequence of a language model; fewer if the model has fewer positions, or
    memory no room for more."""
    rows_per_launch: int = 16
    """Most tokens of a sequence in one launch; a longer prompt takes several."""
    dropout: Draws = Draws.HOST
    """Who draws what a dropout keeps in training: the wafer does in other fidelities than `auto`,
    whose values are the host's."""
    strict: bool = False
    """True if it is an error that the wafer refuses a module with parameters; else it runs on the
    host."""
    simulate_budget: int = DEFAULT_SIMULATE_BUDGET
    """PE-cycles (cycles times PEs) that fidelity `auto` may simulate in a run."""
    csl: Path | None = None
    """Folder for the CSL of every program, one folder each; None: it is not written."""

    def __post_init__(self) -> None:
        """Refuse values that no wafer has."""
        architecture = load_architecture(self.arch, profile=self.profile)  # or an unknown name
        object.__setattr__(self, "arch", architecture.name)
        if self.engine is not None:
            _check_choice("engine", self.engine, ENGINES)
        if self.rectangle is not None and min(self.rectangle) < 1:
            msg = f"rectangle {self.rectangle[0]}x{self.rectangle[1]} has no PE; write e.g. 4x4"
            raise ConfigurationError(msg)
        if self.rectangle is not None:
            check_rectangle(*self.rectangle, architecture)
        if self.clock_hertz is not None:
            check_clock(self.clock_hertz)
        if self.dropout is Draws.WAFER and self.fidelity is Fidelity.AUTO:
            advice = (
                "in fidelity auto, values are the host's, which draws itself; choose fidelity "
                "fabric, or model for the cycles alone"
            )
            self._refuse("dropout", advice, because="fidelity")
        self._check_counts()

    def _check_counts(self) -> None:
        if self.max_batch < 1:
            self._refuse("max_batch", "write at least 1 row")
        if self.simulate_budget < 0:
            self._refuse("simulate_budget", "write 0 to simulate nothing")
        if not SHORTEST_CONTEXT <= self.context <= MAX_POSITIONS:
            self._refuse("context", f"write {SHORTEST_CONTEXT} to {MAX_POSITIONS} tokens")
        if not 1 <= self.rows_per_launch <= self.context:
            advice = f"write 1 to {self.context} tokens, those of a sequence"
            self._refuse("rows_per_launch", advice, because="context")

    def _refuse(self, name: str, advice: str, *, because: str | None = None) -> NoReturn:
        """Refuse the value of an option; that of another one may be the cause."""

        def say(spelling: Spelling) -> str:
            other = f" ({spelling(because, getattr(self, because))})" if because else ""
            return f"{spelling(name, getattr(self, name))}: {advice}{other}"

        raise OptionError(say)


class OptionError(ConfigurationError):
    """The value of an option is not usable."""

    def __init__(self, say: Callable[[Spelling], str]) -> None:
        """Take what to say, by how options are written; Python's way is the usual one."""
        super().__init__(say(as_keyword))
        self._say = say

    def spelt(self, spelling: Spelling) -> ConfigurationError:
        """Return the same error for who writes options in another way."""
        return ConfigurationError(self._say(spelling))


def as_keyword(name: str, value: object) -> str:
    """Return an option as in Python.

    >>> as_keyword("max_batch", 8)
    'max_batch=8'
    """
    return f"{name}={value!r}"


def parse_fidelity(text: str) -> Fidelity:
    """Return the fidelity of that name."""
    _check_choice("fidelity", text, tuple(Fidelity))
    return Fidelity(text)


def parse_dtype(text: str) -> DataType:
    """Return the number format of that name: `f16` or `f32`."""
    _check_choice("dtype", text, FLOATING)
    return DataType(text)


_SCALES = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_MOST_DIGITS = 18


def parse_pe_cycles(text: str) -> int:
    """Return a number of PE-cycles.

    >>> parse_pe_cycles("3G"), parse_pe_cycles("250M"), parse_pe_cycles("0")
    (3000000000, 250000000, 0)
    """
    digits = text.removesuffix(text[-1:]) if text[-1:] in _SCALES else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS):
        raise ConfigurationError(f"{text!r} is not a number of PE-cycles; write e.g. 3G, 250M or 0")
    return int(digits) * _SCALES.get(text[-1], 1)


def options_from_mapping(
    mapping: Mapping[str, object],
    *,
    base: WaferOptions,
    owner: str = "backend 'onewafer'",
    spelling: Spelling = as_keyword,
) -> WaferOptions:
    """Return `base` with the options of a `torch.compile(…, options={…})` dictionary.

    `rectangle` may be `"8x4"` or `(8, 4)`, `clock` a text or hertz. Messages name the options'
    `owner`, and options in the `spelling` of their user.
    """
    chosen: dict[str, object] = {}
    for name, value in mapping.items():
        match name, value:
            case _, bool() if name in _EXAMPLES and name != "strict":  # else a bool is an int
                raise _wrong_type(name, value, owner)
            case (("arch" | "profile" | "engine"), str()):
                chosen[name] = value
            case "fidelity", str():
                chosen[name] = parse_fidelity(value)
            case "dtype", str():
                chosen[name] = parse_dtype(value)
            case "dropout", str():
                _check_choice("dropout", value, tuple(Draws))
                chosen[name] = Draws(value)
            case "rectangle", str():
                chosen[name] = parse_size(value)
            case "rectangle", (int(width), int(height)) if bool not in map(type, (width, height)):
                chosen[name] = (width, height)
            case "clock", str():
                chosen["clock_hertz"] = parse_hertz(value)
            case "clock", (int() | float()):
                chosen["clock_hertz"] = float(value)
            case (("max_batch" | "context" | "rows_per_launch" | "simulate_budget"), int()):
                chosen[name] = value
            case "csl", (str() | Path()):
                chosen[name] = Path(value).absolute()  # a script may change its folder later
            case "strict", bool():
                chosen[name] = value
            case "simulate_budget", str():
                chosen[name] = parse_pe_cycles(value)
            case _ if name in _EXAMPLES:
                raise _wrong_type(name, value, owner)
            case _:
                raise ConfigurationError(
                    f"{owner} has no option {name!r}; "
                    f"it has {', '.join([*sorted(_EXAMPLES), 'report', 'json'])}"
                )
    try:
        return replace(base, **chosen)  # pyright: ignore[reportArgumentType]  # checked above
    except OptionError as error:
        raise error.spelt(spelling) from None


def _wrong_type(name: str, value: object, owner: str) -> ConfigurationError:
    return ConfigurationError(
        f"option {name!r} of {owner}: {value!r} "
        f"is of type {type(value).__name__}; write {_EXAMPLES[name]}"
    )


_EXAMPLES = {
    "arch": "'wse3'",
    "profile": "'sdk'",
    "engine": "'fast'",
    "fidelity": "'fabric'",
    "dtype": "'f16'",
    "dropout": "'wafer'",
    "rectangle": "'8x4' or (8, 4)",
    "clock": "'850MHz' or 850e6",
    "max_batch": "64",
    "context": "1024",
    "rows_per_launch": "16",
    "strict": "True",
    "csl": "'folder'",
    "simulate_budget": "'5G' or 5_000_000_000",
}


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(f"unknown {what} {value!r}; choose from {', '.join(choices)}")
