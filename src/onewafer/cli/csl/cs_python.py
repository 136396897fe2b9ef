"""`cs_python [options] script.py …`: run a host program with the Python that onewafer is in.

The process becomes that Python, so arguments, exit codes, signals and tracebacks are its own; the
`cerebras` package is importable because it is installed beside onewafer. Only errors that onewafer
raises under the script are shown without onewafer's frames. Our options come first and become
environment variables, so that scripts need not know them; everything else is Python's.
"""

from __future__ import annotations

import os
import re
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, NoReturn

from onewafer.cli.running.process import run_command_line
from onewafer.errors import ConfigurationError
from onewafer.settings import Settings, require_recording
from onewafer.terminal import cut_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HELP_OPTIONS = ("--help", "-h", "--onewafer-help")
HELP = """\
usage: cs_python [options] script.py [arguments]

Run a host program; the simulated wafer stands behind `cerebras.sdk`. Options come first:

  --engine NAME           simulator: fast (the default) or reference (ONEWAFER_ENGINE)
  --max-cycles N          let a launch of more cycles fail (ONEWAFER_MAX_CYCLES)
  --threads N             let at most so many threads simulate (ONEWAFER_THREADS)
  --no-progress           say nothing during long runs (ONEWAFER_PROGRESS=off)
  --strict                let what the program is warned of at the end fail (ONEWAFER_STRICT=on)
  --check LIST            check accesses: bounds, uninitialised, or all (ONEWAFER_CHECK)
  --checkpoint-dir DIR    where Ctrl-C leaves a checkpoint, or off (ONEWAFER_CHECKPOINT_DIR)
  --trace FILE            trace the run; .perfetto-trace or .log, more with commas (ONEWAFER_TRACE)
  --record FILE           record the run, for `onewafer view FILE` (ONEWAFER_RECORD)
  --sample-every N        record it over time, too: a window each N cycles (ONEWAFER_SAMPLE_EVERY)
  --live                  write the recording meanwhile, too, to be followed (ONEWAFER_LIVE=on)
  --help                  show this (also --onewafer-help)

Everything else is handed to Python, its own options (-c, -m, -X …) included
(`python --help`). In the place of a script, - reads one from the input, and -i asks for lines.
"""
_LISTED = re.findall(r"^  (--[\w-]+)( [A-Z]+)? .*\((ONEWAFER_\w+)=?(\w*)\)$", HELP, re.MULTILINE)
_VARIABLES = {option: variable for option, value, variable, _ in _LISTED if value}
"""Options with a value."""
_SWITCHES = {option: (variable, set_to) for option, _, variable, set_to in _LISTED if set_to}
"""Options without a value, and the variable and value that they stand for."""
_CONTAINER_PREFIXES = ("SINGULARITYENV_", "APPTAINERENV_")
"""Options that the SDK's container hands on to the program in it; the last one wins."""
_PATHS_OF_CONTAINER = ("PATH", "PREPEND_PATH", "APPEND_PATH", "LD_LIBRARY_PATH")
_OF_PYTHON = (
    "--version", "--help-all", "--help-env", "--help-xoptions", "--check-hash-based-pycs",
)  # fmt: skip
"""Options of Python that begin with two hyphens."""


def main() -> NoReturn:
    """Run the command line of this process; exit with its code."""
    run_command_line("cs_python", execute)


def execute(arguments: Sequence[str]) -> int:
    """Replace this process by `python` with the arguments that are not ours.

    It returns, with an exit code, only if there is nothing to run.
    """
    if not arguments or arguments[0] in _HELP_OPTIONS:
        sys.stdout.write(HELP)
        return 0
    try:
        variables, rest = split_arguments(arguments)
        os.environ.update(variables)  # noqa: TID251 - for the child
        settings = Settings.from_environment()  # refuses bad values before Python starts
        file = settings.record_file
        require_recording(file, wanted=settings.sample_every, origin="ONEWAFER_SAMPLE_EVERY")
        require_recording(file, wanted=settings.is_live, origin="ONEWAFER_LIVE")
    except ConfigurationError as error:
        message = cut_words(_in_terms_of_options(str(error), arguments))
        sys.stderr.write(f"cs_python: {message}\n")
        return error.exit_code
    if settings.checkpoint_folder is not None and settings.checkpoint_folder.is_absolute():
        # The script may be in another folder when it is interrupted.
        os.environ["ONEWAFER_CHECKPOINT_DIR"] = str(settings.checkpoint_folder)  # noqa: TID251
    if settings.trace_files:
        os.environ["ONEWAFER_TRACE"] = ",".join(map(str, settings.trace_files))  # noqa: TID251
    if settings.record_file is not None:
        os.environ["ONEWAFER_RECORD"] = str(settings.record_file)  # noqa: TID251  # likewise
    sys.stdout.flush()
    environment = of_container(os.environ)  # noqa: TID251 - likewise
    environment["ONEWAFER_SHORT_TRACEBACKS"] = "1"
    os.execve(sys.executable, [sys.executable, *rest], environment)  # noqa: S606 - our interpreter


def of_container(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that a script has in the SDK's container, started from this one.

    Where programs are found stays as it is: there are no paths of a container here.

    >>> of_container({"SINGULARITYENV_N": "3", "N": "2", "APPTAINERENV_PATH": "/x", "PATH": "/bin"})
    {'N': '3', 'PATH': '/bin'}
    """
    found = {n: v for n, v in environment.items() if not n.startswith(_CONTAINER_PREFIXES)}
    for prefix in _CONTAINER_PREFIXES:
        for variable, value in environment.items():
            name = variable.removeprefix(prefix)
            if name != variable and name not in _PATHS_OF_CONTAINER:
                found[name] = value
    if "PYTHONPATH" in found and (own := environment.get("PYTHONPATH")):
        folders = [*found["PYTHONPATH"].split(os.pathsep), *own.split(os.pathsep)]
        found["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(folders))
    return found


def split_arguments(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the variables that our leading options set, and the arguments for Python.

    >>> split_arguments(["--engine=reference", "--no-progress", "run.py", "--engine", "mine"])
    ({'ONEWAFER_ENGINE': 'reference', 'ONEWAFER_PROGRESS': 'off'}, ['run.py', '--engine', 'mine'])

    Raises:
        ConfigurationError: an option has no value, or there is none of its name.
    """
    variables: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name, _, value = rest[0].partition("=")
        if rest[0] in _SWITCHES:
            variable, setting = _SWITCHES[rest[0]]
            variables[variable] = setting
        elif name in _VARIABLES:
            if "=" not in rest[0]:
                rest.pop(0)
                value = rest[0] if rest else ""
            if not value:
                raise ConfigurationError(f"{name} has no value; write {name} VALUE")
            variables[_VARIABLES[name]] = value
        else:
            break
        rest.pop(0)
    if rest and rest[0].startswith("--"):
        _check_option(rest[0].partition("=")[0])
    if rest and rest[0].endswith(".csl"):
        raise ConfigurationError(
            f"{rest[0]} is not a host program: compile it with cslc, and give the script that "
            "runs it"
        )
    return variables, rest


def _check_option(name: str) -> None:
    """Refuse an option that Python does not have, before Python does in its own words."""
    if name not in _OF_PYTHON:
        near = get_close_matches(name, (*_VARIABLES, *_SWITCHES, "--help"), n=1)
        advice = f"did you mean {near[0]}?" if near else "`cs_python --help` lists them"
        raise ConfigurationError(f"there is no option {name}; {advice}")


def _in_terms_of_options(message: str, arguments: Sequence[str]) -> str:
    """Return a message about a variable as one about the option that set it."""
    switches = {option: variable for option, (variable, _) in _SWITCHES.items()}
    for option, variable in (_VARIABLES | switches).items():
        if any(argument.split("=")[0] == option for argument in arguments):
            message = message.replace(variable, option)
    return message


if __name__ == "__main__":
    main()
