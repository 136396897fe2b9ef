"""Tasks for executors: one that answers, one that ends its process, and one that runs beside it."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from onewafer.errors import HostError
from onewafer.sweep.subjects.outcome import Outcome, Status


@dataclass(frozen=True)
class Answering:
    number: int
    group: str = ""

    def run(self, share):
        del share
        if self.number == 7:
            raise HostError("seven is refused")
        return Outcome(status=Status.ANSWERED, figures={"square": float(self.number**2)})


@dataclass(frozen=True)
class Dying:
    witness: str
    """A file that says that it has died before."""
    deaths: int
    group: str = ""

    def run(self, share):
        del share
        with Path(self.witness).open("a+", encoding="utf-8") as file:
            file.seek(0)
            if len(file.read()) < self.deaths:
                file.write("x")
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        return Outcome(status=Status.ANSWERED, figures={"square": -1.0})


@dataclass(frozen=True)
class Beside:
    """Runs until another task dies, and for a second if none does."""

    witness: str
    group: str = ""

    def run(self, share):
        del share
        deaths, end = self.deaths(), time.monotonic() + 1
        while self.deaths() == deaths and time.monotonic() < end:
            time.sleep(0.01)
        return Outcome(status=Status.ANSWERED, figures={"square": 1.0})

    def deaths(self):
        witness = Path(self.witness)
        return witness.stat().st_size if witness.exists() else 0
