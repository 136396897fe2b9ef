"""Feed mutated programs to the compiler: each must end with an image or with findings.

    python tools/fuzz_compiler.py                          10,000 sources
    python tools/fuzz_compiler.py --count 500 --first 9000
    python tools/fuzz_compiler.py --show 9123              print the sources of one number

The programs of docs and examples are changed by a few random edits: words deleted, doubled,
swapped, replaced by words of other programs or by numbers at the edge of their types; brackets
lost or nested, text cut off. A source is known by its number: the same number gives the same source
on every computer, as long as the programs are the same. It counts as a failure when the compiler
raises anything, reports no error where it gives no image, gives an image without its programs, or
is not done in time.

Exit code: 0 no failure, 1 some, 2 a wrong command line.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import sys
import traceback
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, run_stages
from onewafer.diagnostics import DiagnosticSink, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence


ROOT = Path(__file__).parents[1]
ARCHITECTURES = ("wse2", "wse3")
SECONDS = 20.0
"""The time limit for the compilation of a program of a page, whatever was done to it."""
MAX_STEPS = 200_000
"""Most steps of compile-time code: endless loops end after them."""
MOST_EDITS = 3
_PROGRAMS = (
    "examples/csl/*/*.csl",
    "src/onewafer/validation/programs/*.csl",
    "src/onewafer/benchmarks/programs/*.csl",
)
_SHARE_OF_PROGRAMS = 0.8
"""The share of programs of several files among the sources."""

_BLOCK = re.compile(
    r"^```csl(?: (?P<name>[\w./-]+\.csl))?[^\n]*\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL
)
_WORD = re.compile(r'//[^\n]*|"[^"\n]*"|@?[A-Za-z_]\w*|[0-9][\w.]*|[^\w\s]|\s+')
_EDGES = (
    *("0", "1", "-1", "127", "128", "255", "256", "32767", "32768", "65535", "65536", "0x7fffffff"),
    *("0xffffffffffffffffffff", "1.5", "1e39", "0.0", "1e-50", "(1 / 0)", "true", "undefined"),
)
_SCRAPS = ("{", "}", "(", ")", "[", "]", ";", ",", ".{", "/*", "*/", '"', "'", "\\", "é", "∞", "\0")


@dataclass(frozen=True, slots=True)
class Seed:
    """A program that is to be changed."""

    name: str
    entry: str
    files: dict[str, str]
    params: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Failure:
    """The failure of a source."""

    number: int
    seed: str
    reason: str


def find_seeds(root: Path = ROOT) -> list[Seed]:
    """Return the programs of docs, examples, validation and benchmarks, sorted by name."""
    pages = sorted(
        [*root.glob("docs/reference/errors/*.md"), *root.glob("docs/reference/language/*.md")]
    )
    seeds = [seed for page in pages for seed in _seeds_of_page(page)]
    for pattern in _PROGRAMS:
        seeds += [_program(path) for path in sorted(root.glob(pattern)) if _has_layout(path)]
    return seeds


def _has_layout(path: Path) -> bool:
    return re.search(r"^layout\b", path.read_text(encoding="utf-8"), re.MULTILINE) is not None


def _program(entry: Path) -> Seed:
    """Return a program with the files that it names, and numbers for the params it leaves open."""
    files: dict[str, str] = {}
    names = [entry.name]
    while names:
        name = names.pop()
        if name not in files:
            files[name] = (entry.parent / name).read_text(encoding="utf-8")
            found = re.findall(r'"([\w./-]+\.csl)"', files[name])
            names += [other for other in found if (entry.parent / other).is_file()]
    params = re.findall(r"^param (\w+): [ui]\d+;", files[entry.name], re.MULTILINE)
    return Seed(entry.stem, entry.name, files, dict.fromkeys(params, "4"))


def _seeds_of_page(page: Path) -> Iterator[Seed]:
    """Yield the files of a page as one program, or each of its blocks where they have no names."""
    blocks = [*_BLOCK.finditer(page.read_text(encoding="utf-8"))]
    named = {str(block["name"]): block["text"] for block in blocks if block["name"]}
    if named:
        yield Seed(page.stem, next(iter(named)), named)
    for number, block in enumerate(block for block in blocks if not block["name"]):
        yield Seed(f"{page.stem} {number}", "pe.csl", {"pe.csl": block["text"]})


def mutate(number: int, seeds: Sequence[Seed]) -> Seed:
    """Return the source of a number: a seed with some edits."""
    generator = random.Random(number)  # noqa: S311 - no secret
    whole = [seed for seed in seeds if len(seed.files) > 1]
    seed = generator.choice(whole if generator.random() < _SHARE_OF_PROGRAMS else seeds)
    files = dict(seed.files)
    for _ in range(generator.randint(1, MOST_EDITS)):
        name = generator.choice(sorted(files))
        words = _WORD.findall(files[name])
        if words:
            donor = generator.choice(seeds)
            other = _WORD.findall(generator.choice(sorted(donor.files.values()))) or words
            files[name] = "".join(generator.choice(_EDITS)(words, other, generator))
    return replace(seed, files=files)


def _delete(words: list[str], other: list[str], generator: random.Random) -> list[str]:
    del other
    start = generator.randrange(len(words))
    return words[:start] + words[start + generator.choice((1, 1, 1, 2, 5, 30)) :]


def _double(words: list[str], other: list[str], generator: random.Random) -> list[str]:
    del other
    start = generator.randrange(len(words))
    length = generator.choice((1, 3, 20))
    return words[: start + length] + words[start:]


def _swap(words: list[str], other: list[str], generator: random.Random) -> list[str]:
    del other
    first, second = (generator.randrange(len(words)) for _ in range(2))
    words[first], words[second] = words[second], words[first]
    return words


def _replace(words: list[str], other: list[str], generator: random.Random) -> list[str]:
    words[generator.randrange(len(words))] = generator.choice((*other, *_SCRAPS))
    return words


def _graft(words: list[str], other: list[str], generator: random.Random) -> list[str]:
    start, at = generator.randrange(len(other)), generator.randrange(len(words))
    return words[:at] + other[start : start + generator.choice((3, 10, 60))] + words[at:]


def _put_edge(words: list[str], other: list[str], generator: random.Random) -> list[str]:
    del other
    numbers = [index for index, word in enumerate(words) if word[0].isdigit()]
    at = generator.choice(numbers) if numbers else generator.randrange(len(words))
    words[at] = generator.choice(_EDGES)
    return words


def _rename(words: list[str], other: list[str], generator: random.Random) -> list[str]:
    """Let a name stand where another one stood, everywhere or once."""
    del other
    names = [index for index, word in enumerate(words) if word[0].isalpha() or word[0] in "@_"]
    if len(names) > 1:
        words[generator.choice(names)] = words[generator.choice(names)]
    return words


def _cut(words: list[str], other: list[str], generator: random.Random) -> list[str]:
    del other
    return words[: generator.randrange(len(words))]


def _nest(words: list[str], other: list[str], generator: random.Random) -> list[str]:
    """Repeat an opening bracket or an operator very often."""
    del other
    scrap = generator.choice(("(", "[", "{", "-", "!", "&", "*", "if (", ".{ .a = "))
    words.insert(generator.randrange(len(words)), scrap * generator.choice((3, 40, 2000)))
    return words


def _put_alike(words: list[str], other: list[str], generator: random.Random) -> list[str]:
    """Replace a word by one of its kind: a name, number, builtin, operator or bracket."""
    at = generator.randrange(len(words))
    alike = [word for word in other if _kind(word) == _kind(words[at])]
    if alike:
        words[at] = generator.choice(alike)
    return words


def _kind(word: str) -> str:
    first = word[0]
    return "word" if first.isalpha() or first == "_" else "number" if first.isdigit() else first


def _drop_line(words: list[str], other: list[str], generator: random.Random) -> list[str]:
    del other
    lines = "".join(words).splitlines(keepends=True)
    del lines[generator.randrange(len(lines))]
    return lines


def _move_line(words: list[str], other: list[str], generator: random.Random) -> list[str]:
    """Put a line of the program, or of another one, somewhere else."""
    lines = "".join(words).splitlines(keepends=True)
    source = generator.choice((lines, "".join(other).splitlines(keepends=True)))
    lines.insert(generator.randrange(len(lines)), generator.choice(source))
    return lines


_EDITS: tuple[Callable[[list[str], list[str], random.Random], list[str]], ...] = (
    *(_put_alike, _put_alike, _put_alike, _put_edge, _put_edge, _rename, _rename, _rename),
    *(_drop_line, _drop_line, _move_line, _move_line),
    *(_delete, _double, _swap, _replace, _graft, _cut, _nest),
)


class _TooLongError(Exception):
    """A source was not compiled in time."""


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
    """Compiles sources and counts the outcomes."""

    def __init__(self, seeds: Sequence[Seed]) -> None:
        self.num_images = 0
        self.codes: Counter[str] = Counter()
        """Errors by the number of sources that had them."""
        self._seeds = seeds
        self._architectures = [load_architecture(name) for name in ARCHITECTURES]

    def check(self, number: int) -> str | None:
        """Return what is wrong with the compilation of a source; None if nothing is."""
        source = mutate(number, self._seeds)
        options = CompileOptions(
            entry=source.entry,
            architecture=self._architectures[number % len(ARCHITECTURES)],
            params=source.params,
            max_steps=MAX_STEPS,
        )
        sink = DiagnosticSink()
        try:
            with _limit(SECONDS):
                compilation = run_stages(options, MemoryFiles(source.files), sink)
        except _TooLongError:
            return f"not done within {SECONDS:g} s"
        except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
            return traceback.format_exc()
        self.codes.update({d.code for d in sink.diagnostics if d.severity is Severity.ERROR})
        image = compilation.image
        if image is None:
            # Without a layout block a file is a library: it is only analysed.
            is_silent = compilation.has_layout and not sink.has_errors
            return "no image, and no error says why" if is_silent else None
        self.num_images += 1
        has_program = bool((image.program_of_pe >= 0).any())
        return None if has_program == bool(image.programs) else "an image without its programs"

    def run(self, numbers: range, console: Console) -> list[Failure]:
        """Check sources, with a bar; return what failed."""
        failures: list[Failure] = []
        columns = TextColumn("sources"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=console) as progress:
            for number in progress.track(numbers):
                reason = self.check(number)
                if reason is not None:
                    name = mutate(number, self._seeds).name
                    failures.append(Failure(number, name, reason))
                    console.print(f"{number}: {name}: {reason.splitlines()[-1]}")
        return failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=10_000, metavar="N", help="default: 10,000")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first number")
    parser.add_argument("--show", type=int, metavar="N", help="print the source of a number")
    options = parser.parse_args(arguments)
    seeds = find_seeds()
    if options.show is not None:
        for name, text in mutate(options.show, seeds).files.items():
            print(f"// {name}\n{text}")
        return 0
    if options.count < 1:
        parser.error("--count must be at least 1")
    fuzzer = Fuzzer(seeds)
    numbers = range(options.first, options.first + options.count)
    failures = fuzzer.run(numbers, Console(stderr=True))
    for failure in failures:
        print(f"--- {failure.number} ({failure.seed}): --show {failure.number}\n{failure.reason}")
    print(
        f"{options.count - len(failures):,} of {options.count:,} ended as they should: "
        f"{fuzzer.num_images:,} with an image, the others with {len(fuzzer.codes)} different errors"
    )
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
