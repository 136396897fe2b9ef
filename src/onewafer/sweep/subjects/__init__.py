"""Subjects of studies, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.sweep.subjects.comparison import Compared
from onewafer.sweep.subjects.files import Sources
from onewafer.sweep.subjects.program import CslPrograms
from onewafer.sweep.subjects.script import Scripts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onewafer.sweep.subjects.subject import Subject

__all__ = ["SUBJECTS"]

SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    "compare": lambda _: Compared(),
    "csl": lambda folder: CslPrograms(Sources(folder)),
    "script": lambda folder: Scripts(Sources(folder)),
}
"""Table of a study → its subject, made with the folder that file names are relative to."""
