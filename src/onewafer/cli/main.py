"""The `onewafer` command: one file a subcommand, errors as one clean message."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from onewafer import __version__
from onewafer.cli.bench import bench
from onewafer.cli.calibrate import calibrate
from onewafer.cli.compare import compare
from onewafer.cli.csl.csl import csl
from onewafer.cli.resume import resume
from onewafer.cli.run import run
from onewafer.cli.running.complaints import complain
from onewafer.cli.running.process import describe, run_command_line
from onewafer.cli.runs import runs
from onewafer.cli.serve import serve
from onewafer.cli.sweep import sweep
from onewafer.cli.validate import validate
from onewafer.cli.view import view
from onewafer.errors import InternalError, OnewaferError

app = typer.Typer(
    name="onewafer",
    help="An open wafer-scale computer in software.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False})(
    run
)
app.command()(resume)
app.command()(compare)
app.add_typer(sweep)
app.command()(serve)
app.add_typer(validate)
app.add_typer(calibrate)
app.add_typer(csl)
app.command()(view)
app.command()(runs)
app.command()(bench)


def _print_version(value: bool) -> None:  # noqa: FBT001  # the signature of a Typer callback
    if value:
        typer.echo(f"onewafer {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    del version


def main() -> NoReturn:
    """Run the command line of this process; exit with its code."""
    run_command_line("onewafer", execute)


def execute(arguments: list[str]) -> int:
    """Run a command line; return its exit code, with every error said on stderr."""
    try:
        # Not `app(…)`, which would replace `sys.excepthook` under the user's script.
        typer.main.get_command(app).main(arguments, "onewafer")
    except SystemExit as error:  # how Typer ends, usage errors and Ctrl-C included
        if _is_interruption(error):
            print("\nonewafer: interrupted", file=sys.stderr)
        return error.code if isinstance(error.code, int) else 0
    except OnewaferError as error:
        complain(error)
        return error.exit_code
    except OSError as error:  # the system refuses something: a full disk, a name that is too long
        complain(OnewaferError(describe(error)))
        return OnewaferError.exit_code
    except Exception as error:  # noqa: BLE001  # whatever else escapes is our bug, and is said so
        bug = InternalError(f"{type(error).__name__}: {error}")
        complain(bug)
        return bug.exit_code
    return 0


def _is_interruption(end: SystemExit) -> bool:
    """Tell whether Typer ended because of a Ctrl-C, of which it says nothing."""
    return end.__context__ is not None and isinstance(end.__context__.__cause__, KeyboardInterrupt)
