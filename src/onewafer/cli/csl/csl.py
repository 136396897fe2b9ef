"""`onewafer csl`: look inside a compiled CSL program, and inside its runs."""

from __future__ import annotations

import typer

from onewafer.cli.csl.listing import listing
from onewafer.cli.csl.routes import routes
from onewafer.cli.csl.trace import trace

csl = typer.Typer(
    name="csl",
    help="Look inside a CSL program: its code, its routes, its runs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
csl.command()(listing)
csl.command()(routes)
csl.command(context_settings={"allow_interspersed_args": False})(trace)
