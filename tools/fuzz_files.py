"""Feed damaged files to everything that reads one: each must be read, or refused in a sentence.

    python tools/fuzz_files.py                             5,000 files
    python tools/fuzz_files.py --count 500 --first 9000 --only checkpoint
    python tools/fuzz_files.py --write 9123 DIR            write the files of one number

Valid files of each kind are taken apart into JSON values and arrays, a few of these are changed,
and the files are put together again, with the right checksums: what a careless or hostile program
could have written. A share of them is damaged byte by byte. A file is known by its number: the same
number gives the same file as long as the programs are the same. Images and checkpoints that are
read are run for some cycles. It counts as a failure when anything but an error of onewafer's own is
raised, or when it takes too long.

Exit code: 0 no failure, 1 some, 2 a wrong command line.
"""

from __future__ import annotations

import argparse
import copy
import io
import random
import signal
import sys
import tempfile
import traceback
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from file_kinds import KINDS, nested
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from onewafer.errors import InternalError, OnewaferError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from file_kinds import Array, Document, Kind

SECONDS = 20.0
"""Within which a file is read and run."""
MOST_EDITS = 3
_SHARE_OF_BYTES = 0.15
"""Share of the files that are damaged at the level of bytes, whatever they are."""
_NUMBERS = (
    *(-1, 0, 1, 2, 7, 8, 23, 24, 31, 255, 256, 65535, 65536, (1 << 31) - 1, 1 << 31, -(1 << 31)),
    *((1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, -(1 << 63), 10**30),
)
_VALUES: tuple[Any, ...] = (
    *_NUMBERS,
    *(0.5, 1e300, float("inf"), float("nan"), True, False, None, "", "x" * 10_000),
    *("\x1b[2J\0", "\ud800", "../../../etc/passwd", "/dev/zero", "a0"),
    *([], {}, [[]], {"type": "Task"}),
)
_BOMB: tuple[int, ...] = (1 << 40, 1 << 20)
"""The shape of an array that no computer holds."""


def mutate(number: int, kind: Kind, whole: Document) -> dict[str, bytes]:
    """Return the files of a number."""
    generator = random.Random(number)  # noqa: S311 - no secret
    document = copy.deepcopy(whole)
    edits = range(generator.randint(1, MOST_EDITS))
    if generator.random() >= _SHARE_OF_BYTES:
        for _ in edits:
            name = generator.choice(sorted(document))
            document[name] = _changed(document[name], generator)
        return kind.pack(document)
    files = kind.pack(document)
    for _ in edits:
        name = generator.choice(sorted(files))
        files[name] = _damaged(files[name], generator)
    return files


def _changed(part: object, generator: random.Random) -> object:
    match part:
        case np.ndarray():
            return generator.choice(_ARRAY_EDITS)(part, generator)
        case bytes():
            return _damaged(part, generator)
        case _:
            return _changed_json(part, generator)


# --- JSON ----------------------------------------------------------------------------------------


def _changed_json(root: object, generator: random.Random) -> object:
    """Change one value somewhere in a JSON document, or the structure around it."""
    places = [*_places(root)]
    if not places or generator.random() < 0.02:  # noqa: PLR2004 - rarely the whole of it
        return generator.choice(_VALUES)
    holder: Any
    holder, key = generator.choice(places)
    other = generator.choice(places)
    choice = generator.random()
    if choice < 0.6:  # noqa: PLR2004 - shares of edits
        holder[key] = generator.choice(_VALUES)
    elif choice < 0.7:  # noqa: PLR2004
        holder[key] = copy.deepcopy(other[0][other[1]])
    elif choice < 0.8:  # noqa: PLR2004
        del holder[key]
    elif choice < 0.9 and type(key) is int:  # noqa: PLR2004
        holder.insert(key, copy.deepcopy(holder[key]))
    elif choice < 0.95:  # noqa: PLR2004
        holder[key] = nested(generator.choice((10, 2000, 100_000)))
    else:
        holder[key] = [copy.deepcopy(holder[key])] * 1000
    return root


def _places(root: object) -> Generator[tuple[Any, Any]]:
    """Yield every (holder, key) of a document."""
    stack: list[Any] = [root]
    while stack:
        holder = stack.pop()
        match holder:
            case dict():
                keys: list[Any] = [*cast("dict[str, Any]", holder)]
            case list():
                keys = [*range(len(cast("list[Any]", holder)))]
            case _:
                continue
        for key in keys:
            yield holder, key
            stack.append(holder[key])


# --- arrays and bytes ----------------------------------------------------------------------------


def _set_element(array: Array, generator: random.Random) -> object:
    if not array.size:
        return array
    flat = array.reshape(-1).copy()
    if flat.dtype.names:
        name = generator.choice(flat.dtype.names)
        column = flat[name]
        column[generator.randrange(len(flat))] = _fitting(column.dtype, generator)
    else:
        flat[generator.randrange(len(flat))] = _fitting(flat.dtype, generator)
    return flat.reshape(array.shape)


def _fitting(dtype: np.dtype[Any], generator: random.Random) -> object:
    """Return a number at an edge, as the type sees it."""
    return np.array(generator.choice(_NUMBERS) & ((1 << 64) - 1), np.uint64).astype(dtype)


def _reshape(array: Array, generator: random.Random) -> object:
    shapes = [(-1,), (1, -1), (-1, 1), (1, 1, -1)]
    return array.reshape(generator.choice(shapes)) if array.size else array


def _resize(array: Array, generator: random.Random) -> object:
    rows = array.reshape(-1) if array.ndim == 0 else array
    return generator.choice((rows[:-1], rows[1:], rows[:0], np.concatenate([rows, rows[:1]])))


def _retype(array: Array, generator: random.Random) -> object:
    if array.dtype.names:
        return array.view(np.uint8)
    return array.astype(generator.choice((np.int8, np.int64, np.float64, np.uint16, np.bool_)))


def _lie(array: Array, generator: random.Random) -> object:
    """Return the file of an array that says another shape than it has."""
    file = io.BytesIO()
    shape = generator.choice((_BOMB, (-1,), (0,), (10**9,), (1 << 62, 1 << 62)))
    header: dict[str, Any] = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


_ARRAY_EDITS: tuple[Callable[[Array, random.Random], object], ...] = (
    *(_set_element, _set_element, _set_element, _set_element),
    *(_reshape, _resize, _retype, _lie),
)


def _damaged(content: bytes, generator: random.Random) -> bytes:
    if not content:
        return b"\0"
    at, length = generator.randrange(len(content)), generator.choice((1, 1, 4, 100))
    noise = generator.randbytes(length)
    return generator.choice(
        (
            content[:at],
            content[:at] + noise + content[at + length :],
            content[:at] + noise + content[at:],
            content[:at] + content[at + length :],
            content + noise,
            b"",
        )
    )


# --- checking ------------------------------------------------------------------------------------


class _TooLongError(BaseException):
    """A file was not read in time; no reader catches it."""


@contextmanager
def _limit(seconds: float) -> Generator[None]:
    def stop(*_: object) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Fuzzer:
    """Reads damaged files and counts what becomes of them."""

    def __init__(self, kinds: Sequence[Kind], folder: Path) -> None:
        """Make a valid file of each kind; all are written into `folder`."""
        self.num_read = 0
        """Changed files that were read to their end all the same."""
        self.errors: Counter[str] = Counter()
        """Sentences of refusal, without what stands in brackets."""
        self._folder = folder
        self._wholes = [(kind, kind.make(folder)) for kind in kinds]

    def files(self, number: int) -> tuple[Kind, dict[str, bytes]]:
        """Return the files of a number and their kind."""
        kind, whole = self._wholes[number % len(self._wholes)]
        return kind, mutate(number, kind, whole)

    def check(self, number: int) -> str | None:
        """Return what is wrong with how the files of a number are read; None if nothing is."""
        kind, files = self.files(number)
        for name, content in files.items():
            (self._folder / name).write_bytes(content)
        try:
            with _limit(SECONDS):
                kind.read(self._folder)
        except _TooLongError:
            return f"not done within {SECONDS:g} s"
        except InternalError:
            return traceback.format_exc()
        except OnewaferError as error:
            self.errors[str(error)] += 1
            return None
        except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
            return traceback.format_exc()
        self.num_read += 1
        return None

    def run(self, numbers: range, console: Console) -> dict[int, str]:
        """Check files, with a bar; return what failed, by number."""
        failures: dict[int, str] = {}
        columns = TextColumn("files"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=console) as progress:
            for number in progress.track(numbers):
                reason = self.check(number)
                if reason is not None:
                    failures[number] = reason
                    console.print(f"{number}: {reason.splitlines()[-1]}", markup=False)
        return failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=5000, metavar="N", help="default: 5,000")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first number")
    parser.add_argument("--only", choices=sorted(KINDS), help="one kind of file")
    parser.add_argument("--write", nargs=2, metavar=("N", "DIR"), help="write what a number is")
    options = parser.parse_args(arguments)
    if options.count < 1:
        parser.error("--count must be at least 1")
    kinds = [KINDS[options.only]] if options.only else [*KINDS.values()]
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(kinds, Path(folder))
        if options.write:
            number, target = options.write
            for name, content in fuzzer.files(int(number))[1].items():
                (Path(target) / name).write_bytes(content)
                print(f"wrote {Path(target) / name}")
            return 0
        numbers = range(options.first, options.first + options.count)
        failures = fuzzer.run(numbers, Console(stderr=True))
    for number, reason in failures.items():
        print(f"--- {number}: --write {number} DIR\n{reason}")
    print(
        f"{options.count - len(failures):,} of {options.count:,} ended as they should: "
        f"{fuzzer.num_read:,} were read, the others refused in {len(fuzzer.errors):,} sentences"
    )
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
