"""The model of an unmodified script: it runs up to the first call of a module with matrices.

In: a script as `onewafer run` takes it. Out: what that call computes, captured without weights. The
script ends there: whatever it would do with the result is not done.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
from torch._dynamo import OptimizedModule  # what torch.compile returns has no public name
from torch.utils import _pytree as pytree

from onewafer.errors import ConfigurationError
from onewafer.execution import WaferOptions
from onewafer.pytorch.compiled import compile_for_wafer
from onewafer.pytorch.cuda import CudaAlias, alias_cuda
from onewafer.pytorch.describe import describe_call, describe_module
from onewafer.pytorch.script import as_main, execute, read_script, show_error
from onewafer.pytorch.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from onewafer.perf import Model


def describe_script(path: Path, arguments: Sequence[str] = ()) -> Model:
    """Return the model that a script calls first; what it prints until then goes to stderr.

    Raises ConfigurationError if there is no such script, or if it ends before it calls a module;
    UnsupportedOperationError if the module's code cannot be captured.
    """
    call = _first_call(path, arguments)
    if hasattr(call.module, "main_input_name"):  # of transformers: its caches are no part of it
        return replace(describe_module(call.module), samples=call.samples)
    return describe_call(call.module, call.args, call.kwargs)


class _Reached(BaseException):
    """Ends a script; no handler for errors of the script catches it."""


@dataclass(frozen=True, slots=True)
class _Call:
    module: torch.nn.Module
    args: tuple[object, ...]
    kwargs: dict[str, object]

    @property
    def samples(self) -> int:
        """Sequences or samples: the first dimension of the first tensor."""
        leaves = cast("list[object]", pytree.tree_leaves((self.args, self.kwargs)))
        tensors = (leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.dim() > 1)
        return next((len(tensor) for tensor in tensors), 1)


def _first_call(path: Path, arguments: Sequence[str]) -> _Call:
    source = read_script(path)
    calls: list[_Call] = []
    with (
        as_main(path, arguments) as namespace,
        redirect_stdout(sys.stderr),
        _stop_at_first_call(calls),
        compile_for_wafer(),
        alias_cuda(Session(WaferOptions()), _say_nothing, CudaAlias.choose(flag=None)),
    ):
        try:
            execute(source, path, namespace)
        except _Reached:
            pass
        except SystemExit as error:
            if not calls:
                raise ConfigurationError(_describe_exit(path, error.code)) from None
        except Exception as error:  # noqa: BLE001  # of the script: shown, and said below
            if not calls:
                show_error(error)
                msg = f"{path} raised {type(error).__name__} before it called a module"
                raise ConfigurationError(msg) from None
    if not calls:
        raise ConfigurationError(_describe_exit(path, None))
    return calls[0]


def _describe_exit(path: Path, code: object) -> str:
    """Say how a script ended, with what `python` shows of the code that it gave to `sys.exit`."""
    how = f"ended by sys.exit({code!r})" if code else "ended"
    return (
        f"{path} {how} without a call of a module that has matrices; run it as `python {path}` to "
        "see what it does (arguments for it come after --)"
    )


@contextmanager
def _stop_at_first_call(calls: list[_Call]) -> Generator[None]:
    original: Callable[..., object] = torch.nn.Module.__call__

    def call(module: torch.nn.Module, *args: object, **kwargs: object) -> object:
        if isinstance(module, OptimizedModule):
            module = module._orig_mod  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public name
        if not any(parameter.dim() > 1 for parameter in module.parameters()):
            return original(module, *args, **kwargs)
        calls.append(_Call(module, args, kwargs))
        raise _Reached

    torch.nn.Module.__call__ = call
    try:
        yield
    finally:
        torch.nn.Module.__call__ = original


def _say_nothing(line: str) -> None:
    """Take the line that announces what `cuda` means: nothing runs on it."""
