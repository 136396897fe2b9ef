# pyright: basic
# Numba and llvmlite have no complete type hints, and checks need neither: only `emit` imports them.
"""Machine code of the fast engine's kernels for each platform, from what Numba makes of them.

Numba compiles the entries for a processor without any extension; each gets a C function that takes
64-bit words. All of it becomes one piece of LLVM code, which is what all platforms have in common.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onewafer.simulator.fast.machine_code.prebuilt import FAILED, NUM_WORDS, SYMBOL, file_name

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = "linux-x86_64"
PLATFORMS = {
    "linux-x86_64": ("x86_64-unknown-linux-gnu", "x86-64", "elf_x86_64"),
    "linux-aarch64": ("aarch64-unknown-linux-gnu", "generic", "aarch64linux"),
}
"""By platform: LLVM's triple, the least processor of its kind, and LLD's emulation."""

_LINKING = ("-shared", "-nostdlib", "--strip-all", "--gc-sections", "--build-id=none", "-z", "now")
_SYMBOLS = ("sched_yield", *(SYMBOL.format(name) for name in NUM_WORDS))
"""The functions that a file needs of the C library, and those that it offers."""
_PAUSES = {
    "linux-x86_64": ("llvm.x86.sse2.pause", ""),
    "linux-aarch64": ("llvm.aarch64.hint", "i32 1"),
}
"""By platform: the instruction of a thread that only waits, and its argument."""
_FLOOR = """
define internal double @floor_of(double %x) {
  %magnitude = call double @llvm.fabs.f64(double %x)
  %is_small = fcmp olt double %magnitude, 4503599627370496.0
  br i1 %is_small, label %small, label %whole
small:
  %number = fptosi double %x to i64
  %truncated = sitofp i64 %number to double
  %is_above = fcmp ogt double %truncated, %x
  %below = fsub double %truncated, 1.0
  %floor = select i1 %is_above, double %below, double %truncated
  %signed = call double @llvm.copysign.f64(double %floor, double %x)
  ret double %signed
whole:
  ret double %x
}
declare double @llvm.copysign.f64(double, double)
"""
"""The least x86-64 has no instruction for it, and LLVM would call the C library of the computer."""
_ARRAY_FIELDS = ("ptr null", "ptr null", "i64 0", "i64 8", "ptr {0}", "i64 {1}", "i64 8")
"""How Numba passes an array: owners, size, size of an element, address, shape and strides."""


def emit(folder: Path) -> None:
    """Write a file for each platform, with the tools of this process."""
    import llvmlite.binding as llvm  # noqa: PLC0415  # not needed for checks

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    code = compile_entries()
    for name in PLATFORMS:
        with tempfile.TemporaryDirectory() as temporary:
            item = Path(temporary) / "kernels.o"
            item.write_bytes(emit_object(code_for(name, code), name))
            link(item, folder / file_name(name), name)


def compile_entries() -> str:
    """Return the optimised LLVM code of all entries, with a C function for each."""
    import llvmlite.binding as llvm  # noqa: PLC0415  # as above
    from numba import int64  # noqa: PLC0415  # as above

    from onewafer.simulator.fast.kernels import loop  # noqa: PLC0415  # as above
    from onewafer.simulator.fast.kernels.bookkeeping import counting  # noqa: PLC0415  # as above

    array = int64[::1]
    signatures: dict[Any, Any] = {
        loop.run_cycles: (array, int64, int64, int64, int64),
        loop.wake_routers: (array, array, int64),
        loop.wake_elements: (array, array, int64),
        loop.settle_elements: (array, array),
        counting.count_totals: (array, array, int64, int64, int64),
    }
    assert [entry.__name__ for entry in signatures] == [*NUM_WORDS]
    whole: Any = None
    for dispatcher, signature in signatures.items():
        dispatcher.compile(signature)
        (compiled,) = dispatcher.overloads.values()
        text = compiled.library.get_llvm_str().replace("@onewafer_yield", "@sched_yield")
        symbol = compiled.fndesc.llvm_func_name
        text += c_function(dispatcher.__name__, symbol, [kind is array for kind in signature])
        module = llvm.parse_assembly(text)
        if whole is None:
            whole = module
        else:
            whole.link_in(module)
    return str(whole)


def c_function(name: str, symbol: str, are_arrays: Sequence[bool]) -> str:
    """Return LLVM code of a function of 64-bit words that calls an entry as Numba does."""
    words: list[str] = []
    passed: list[str] = []
    lines: list[str] = []
    for is_array in are_arrays:
        number = len(words)
        words.append(f"i64 %w{number}")
        if not is_array:
            passed.append(words[-1])
            continue
        lines.append(f"  %p{number} = inttoptr i64 %w{number} to ptr")
        length = "0"
        if number:  # the frames, which come first, have no length
            words.append(f"i64 %w{number + 1}")
            length = f"%w{number + 1}"
        passed += [field.format(f"%p{number}", length) for field in _ARRAY_FIELDS]
    assert len(words) == NUM_WORDS[name]
    body = "\n".join(lines)
    return f"""
define i64 @{SYMBOL.format(name)}({", ".join(words)}) {{
  %result = alloca i64
  %exception = alloca ptr
  store i64 0, ptr %result
{body}
  %status = call i32 @{symbol}(ptr %result, ptr %exception, {", ".join(passed)})
  %value = load i64, ptr %result
  %gives_value = icmp eq i32 %status, 0
  %gives_none = icmp eq i32 %status, -2
  %is_fine = or i1 %gives_value, %gives_none
  %given = select i1 %is_fine, i64 %value, i64 {FAILED}
  ret i64 %given
}}
"""


def emit_object(code: str, name: str) -> bytes:
    """Return an object file with the entries as its only symbols."""
    import llvmlite.binding as llvm  # noqa: PLC0415  # as above

    triple, processor, _emulation = PLATFORMS[name]
    target = llvm.Target.from_triple(triple)
    machine = target.create_target_machine(cpu=processor, opt=2, reloc="pic", codemodel="default")
    module = llvm.parse_assembly(code)
    module.triple, module.data_layout = triple, str(machine.target_data)
    exported = {SYMBOL.format(entry) for entry in NUM_WORDS}
    for item in [*module.functions, *module.global_variables]:
        if not item.is_declaration and item.name not in exported:
            item.linkage = "internal"
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    module.verify()
    return machine.emit_object(module)


def code_for(name: str, code: str) -> str:
    """Return LLVM code of the host for a platform: its pause, and no function that it lacks."""
    pause, argument = _PAUSES[name]
    before = re.escape(f"@{_PAUSES[HOST][0]}()")
    kind = argument.partition(" ")[0]
    code = re.sub(rf"(?m)^(declare void ){before}", rf"\1@{pause}({kind})", code)
    code = re.sub(before, f"@{pause}({argument})", code)
    if name == HOST:
        code = re.sub(r"(?m)^declare double @llvm\.floor\.f64.*\n", "", code)
        code = code.replace("@llvm.floor.f64", "@floor_of") + _FLOOR
    return re.sub(r"(?m)^target .*\n", "", code)


def link(item: Path, path: Path, name: str) -> None:
    """Make a shared library of an object file."""
    linker = [sys.executable, "-m", "ziglang", "ld.lld", "-m", PLATFORMS[name][2], *_LINKING]
    subprocess.run([*linker, "-o", path, item], check=True)  # noqa: S603  # ours
    path.chmod(0o644)
    if b"\0".join([b"", *(symbol.encode() for symbol in _SYMBOLS), b""]) not in path.read_bytes():
        sys.exit(f"{path} has other symbols than {', '.join(_SYMBOLS)}")
