"""Options of `onewafer compare` that are no plain values: flags that name a job, and prices."""

from __future__ import annotations

from onewafer.errors import ConfigurationError


def choose_kind(**flags: bool) -> str | None:
    """Return the name of the one kind of job that flags name; None if there is none.

    Raises ConfigurationError for several.
    """
    named = [kind for kind, is_named in flags.items() if is_named]
    if len(named) > 1:
        both = " and ".join(f"--{kind}" for kind in named)
        raise ConfigurationError(f"{both} are different jobs; name one of them")
    return named[0] if named else None


def parse_prices(texts: list[str]) -> dict[str, float]:
    """Return what a device costs for an hour, from texts like `h100=2.5`.

    >>> parse_prices(["h100=2.5", "cs3=120"])
    {'h100': 2.5, 'cs3': 120.0}
    """
    prices: dict[str, float] = {}
    for text in texts:
        name, _, amount = text.partition("=")
        device = name.strip().lower()
        try:
            prices[device] = float(amount)
        except ValueError:
            device = ""
        if not device:
            raise ConfigurationError(
                f"--price {text!r}: write a device and its price for an hour, as in h100=2.5"
            )
    return prices
