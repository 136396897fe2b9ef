"""The presence of a CUDA device for a script, and its questions before there was one.

A script that only asks (`torch.cuda.is_available()`) gets PyTorch's own answer, so that it runs as
under plain `python`. A script that insists (`.cuda()`, `device="cuda"`) would fail there: from that
moment on the wafer is its device.
"""

# pyright: reportPrivateUsage=false
# Python's name for the frame of a caller begins with an underscore.

from __future__ import annotations

import functools
import re
import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from onewafer.pytorch.places import Owner, Place, owner_of, place_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    Function = Callable[..., Any]

NOTICE = (
    "the script asks for CUDA: cuda:0 is the wafer (its tensors stay in host memory); "
    "--no-cuda-alias turns this off"
)


class CudaAlias(StrEnum):
    """When `cuda` means the wafer."""

    OFF = "off"
    """Never: the script sees what the host has."""
    ON_DEMAND = "on demand"
    """From the first call that fails without a CUDA device."""
    ON = "on"
    """From the start: also questions are answered as if the wafer were a CUDA device."""

    @classmethod
    def choose(cls, flag: bool | None) -> CudaAlias:  # as on the command line
        """Return the choice of `--cuda-alias` (True), `--no-cuda-alias` (False) or none (None)."""
        if flag is None:
            return cls.OFF if torch.cuda.is_available() else cls.ON_DEMAND
        return cls.ON if flag else cls.OFF


class Presence:
    """The presence of the wafer as the script's CUDA device."""

    def __init__(self, announce: Callable[[str], None], alias: CudaAlias) -> None:
        """`announce` gets one line when the script first uses the device."""
        self._alias = alias
        self.is_here = alias is CudaAlias.ON
        self.question: Place | None = None
        """Where the script first asked for a CUDA device and was told that there is none."""
        self._announce = announce
        self._is_announced = False

    def insist(self) -> None:
        """Make the wafer the device, since the script uses one."""
        self.is_here = True
        if not self._is_announced:
            self._is_announced = True
            self._announce(NOTICE)

    def unless_absent(self, original: Function, ours: Function) -> Function:
        """Return a function that answers as `original` until the script insists, then as `ours`.

        A script that calls what raises without a device insists.
        """

        @functools.wraps(original)
        def answer(*args: object, **kwargs: object) -> object:
            if not self.is_here:
                try:
                    return original(*args, **kwargs)
                except Exception:  # noqa: BLE001  # of whatever type a build without CUDA raises
                    self.insist()
            return ours(*args, **kwargs)

        return answer

    def asks(self, original: Function, ours: Function) -> Function:
        """Return `unless_absent` of a question whose answer may be no."""
        answer = self.unless_absent(original, ours)

        @functools.wraps(original)
        def ask(*args: object, **kwargs: object) -> object:
            is_known = self.is_here or self.question is not None
            if not torch.compiler.is_dynamo_compiling() and not is_known:
                self.question = _place_in_script(sys._getframe(1))  # the caller's  # pyright: ignore[reportPrivateUsage]
            return answer(*args, **kwargs)

        return ask

    def explain_end(self, error: BaseException, *, has_called_modules: bool) -> str | None:
        """Return a line for a script that ended because it has no CUDA device; None for others.

        It did so if its message or the line that raised it speaks of one, or if it asked, left by
        `sys.exit` and had not called any module.
        """
        if self.is_here or self._alias is CudaAlias.OFF:
            return None
        frames = traceback.extract_tb(error.__traceback__)
        line = frames[-1].line if frames else None
        message = "".join(traceback.format_exception_only(error))  # `str` of some errors fails
        speaks = bool(_DEVICE_WORDS.search(f"{message}\n{line or ''}"))
        if isinstance(error, SystemExit):
            speaks |= self.question is not None and not has_called_modules and _is_own_exit(frames)
        if isinstance(error, KeyboardInterrupt) or not speaks:
            return None
        where = "" if self.question is None else f" ({_show(self.question)})"
        return (
            f"the script ended because there is no CUDA device{where}; with --cuda-alias, "
            "torch.cuda.is_available() is true and `cuda` means the wafer"
        )


_DEVICE_WORDS = re.compile(r"\b(cuda|gpus?|nvidia|accelerators?)\b|\.cuda\b", re.IGNORECASE)


def _place_in_script(frame: FrameType) -> Place | None:
    """Return where a frame is, if that is a file of the user's."""
    place = place_of(frame)
    return place if owner_of(place.file) is Owner.USER else None


def _is_own_exit(frames: traceback.StackSummary) -> bool:
    """Tell whether the script itself calls `sys.exit` or `exit`, not a library such as argparse."""
    outside = [frame for frame in frames if "_sitebuiltins" not in frame.filename]
    return bool(outside) and owner_of(outside[-1].filename) is Owner.USER


def _show(question: Place) -> str:
    return f"it asks in {Path(question.file).name}, line {question.line}"
