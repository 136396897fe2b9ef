"""The process that one benchmark has to itself: `python -m onewafer.benchmarks.worker REQUEST`.

REQUEST is the JSON of a `runner.Request`. Each line of stdout is the JSON of one of `{"note": …}`,
`{"measurement": …}` and `{"error": …, "exit_code": …}`. The process ends when its stdin is closed,
because the process that asked is gone then.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from onewafer.benchmarks.benchmark import Conditions
from onewafer.benchmarks.catalog import find_benchmark
from onewafer.benchmarks.execution import warm_up
from onewafer.errors import OnewaferError
from onewafer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Measure what the request says, or only start the engine; return the exit code."""
    match arguments:
        case ["--warm-up", engine]:
            warm_up(Conditions(engine=engine, repeat=1, note=lambda _note: None))
            return 0
        case [request]:
            threading.Thread(target=_end_with_stdin, daemon=True).start()
            return _measure(json.loads(request))
        case _:
            print(__doc__, file=sys.stderr)  # noqa: T201 - for a user who tries it by hand
            return 2


def _measure(request: dict[str, Any]) -> int:
    benchmark = find_benchmark(request["benchmark"])
    try:
        conditions = Conditions(
            engine=request["engine"],
            repeat=request["repeat"],
            note=lambda note: _send({"note": note}),
            threads=request["threads"],
            max_memory=Settings.from_environment().max_memory,
        )
        measurement = benchmark.measure(conditions, request["sizes"])
    except OnewaferError as error:
        _send({"error": str(error), "exit_code": error.exit_code})
        return error.exit_code
    _send({"measurement": measurement.to_fields()})
    return 0


def _end_with_stdin() -> None:
    while os.read(0, 1):  # not `sys.stdin`, whose lock would be held when the interpreter ends
        pass
    os._exit(1)


def _send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
