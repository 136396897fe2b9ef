"""onewafer: an open wafer-scale computer in software.

A CSL program, compiled and run:

    program = onewafer.compile_csl("layout.csl", params={"block_size": 8})
    with onewafer.load(program) as runner:
        runner.write("x", np.ones(8, np.float32))
        runner.launch("axpy_sum", 3.0)
        print(runner.read("y"), runner.report)

`import onewafer` loads nothing but this file: a name is loaded when it is first used, and PyTorch
when a call needs it. `__init__.pyi` has the names for type checkers.
"""
# pyright: reportUnsupportedDunderAll=false

from importlib import import_module

__version__ = "0.1.0"

_MODULES = ("errors",)
__all__ = [
    "Comparison",
    "CompileWarning",
    "Program",
    "RunReport",
    "Runner",
    "Wafer",
    "__version__",
    "compare",
    "compile_csl",
    "errors",
    "load",
    "run",
    "wafer",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"onewafer.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'onewafer' has no attribute {name!r}")
    value = getattr(import_module("onewafer.api"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
