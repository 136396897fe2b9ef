"""Structs and arrays that `@map` passes to each round are copies that no round changes.

Random structs are given to random functions in every way that values can be written; Python adds up
what the rounds give.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.csl.exact_integers import Width
from tests.csl.one_task import START, assert_leaves

NUM_MAPS = 5
SOURCE = [3, 1, 4, 1, 5]
LEAVES = [Width(bits, is_signed) for bits in (5, 8, 16, 24, 32) for is_signed in (False, True)]
WORD = Width(32, is_signed=False)
WAYS = ("variable", "element", "literal", "result", "constant", "address")


@dataclass(frozen=True)
class Array:
    length: int
    element: Width

    def __str__(self) -> str:
        return f"[{self.length}]{self.element}"


@dataclass(frozen=True)
class Struct:
    name: str
    fields: tuple[Type, ...]

    def __str__(self) -> str:
        return self.name


Type = Width | Array | Struct
Leaf = tuple[str, int]
"""A path in a value, and the number there."""


@dataclass
class Writer:
    """Draws structs, and the calls that take them."""

    random: Random
    lines: list[str]

    def new_struct(self, name: str, depth: int = 1) -> Struct:
        fields: list[Type] = []
        for index in range(self.random.randint(1, 3)):
            element = self.random.choice(LEAVES)
            kind = self.random.randrange(4)
            if kind == 0 and depth:
                fields.append(self.new_struct(f"{name}{index}", depth - 1))
            else:
                length = self.random.randint(1, 3)
                fields.append(Array(length, element) if kind == 1 else element)
        listed = ", ".join(f"f{i}: {field}" for i, field in enumerate(fields))
        self.lines.append(f"const {name} = struct {{ {listed} }};")
        return Struct(name, tuple(fields))

    def value(self, type_: Type, *, is_known: bool, path: str = "s") -> tuple[str, list[Leaf]]:
        """Return a value as text, and what is in it."""
        match type_:
            case Struct(_, fields):
                parts = [
                    self.value(field, is_known=is_known, path=f"{path}.f{i}")
                    for i, field in enumerate(fields)
                ]
                listed = ", ".join(f".f{i} = {text}" for i, (text, _) in enumerate(parts))
                return f"{type_}{{ {listed} }}", [leaf for _, leaves in parts for leaf in leaves]
            case Array(length, element):
                parts = [
                    self.value(element, is_known=is_known, path=f"{path}[{i}]")
                    for i in range(length)
                ]
                listed = ", ".join(text for text, _ in parts)
                return f"{type_}{{ {listed} }}", [leaf for _, leaves in parts for leaf in leaves]
            case Width():
                number = type_.draw(self.random)
                text = f"@as({type_}, {number})"
                if not is_known:
                    self.lines.append(f"var n{len(self.lines)}: {type_} = {number};")
                    text = f"n{len(self.lines) - 1}"
                return text, [(path, number)]

    def given(self, number: int, type_: Type, way: str) -> tuple[str, list[Leaf], str]:
        """Return an argument, what is in it, and statements that change where it comes from."""
        name = f"v{number}"
        text, leaves = self.value(type_, is_known=way != "literal")
        if way == "literal":
            return text, leaves, ""
        if way == "constant":
            self.lines.append(f"const {name} = {text};")
            return name, leaves, ""
        if way == "element":
            other, _ = self.value(type_, is_known=True)
            self.lines.append(f"var {name} = [2]{type_}{{ {other}, {text} }};")
            return f"{name}[one]", leaves, f"{name}[1] = {name}[0];"
        self.lines.append(f"var {name} = {text};")
        changes = f"{name} = {self.value(type_, is_known=True)[0]};"
        if way == "result":
            self.lines.append(f"fn get{number}() {type_} {{ calls += 1; return {name}; }}")
            return f"get{number}()", leaves, changes
        return name, leaves, changes

    def call(self, number: int) -> tuple[str, int]:
        """Return a `@map` and what its rounds add up to."""
        way = self.random.choice(WAYS)
        is_array = way != "element" and self.random.random() < 0.3
        element = self.random.choice(LEAVES)
        type_: Type = Array(2, element) if is_array else self.new_struct(f"S{number}")
        argument, leaves, changes = self.given(number, type_, way)
        used = [leaf for leaf in leaves if self.random.random() < 0.7] or leaves[:1]
        terms = " + ".join(f"@as(u32, {path}) * @as(u32, x)" for path, _ in used)
        total = sum(value * x for _, value in used for x in SOURCE)
        early = ""
        if self.random.random() < 0.3:  # then it is called in each round
            early = "if (x == 4) { add(4); return; }"
            total += 4 - sum(value * 4 for _, value in used)
        if way == "address":
            terms = terms.replace("(u32, s", "(u32, (&s).*" if not is_array else "(u32, (&s)")
        type_text = self.random.choice((str(type_), "anytype"))
        self.lines.append(
            f"fn f{number}(x: u16, s: {type_text}) void {{ {changes} {early} add({terms}); }}"
        )
        return f"@map(f{number}, source, {argument});", WORD.wrap(total)


@settings(phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_every_round_has_the_same_argument(seed: int) -> None:
    writer = Writer(
        Random(seed),  # noqa: S311
        [
            f"var numbers = [{len(SOURCE)}]u16{{ {', '.join(map(str, SOURCE))} }};",
            f"const access = |i|{{{len(SOURCE)}}} -> numbers[i];",
            "const source = @get_dsd(mem1d_dsd, .{ .tensor_access = access });",
            f"var sums = @zeros([{NUM_MAPS}]u32);",
            "var at: u16 = 0; var one: u16 = 1; var calls: u16 = 0;",
            "fn add(n: u32) void { sums[at] += n; }",
        ],
    )
    statements: list[str] = []
    expected: list[int] = []
    for number in range(NUM_MAPS):
        statement, total = writer.call(number)
        statements.append(f"at = {number}; {statement}")
        expected.append(total)
    text = "\n".join((*writer.lines, f"task main() void {{ {' '.join(statements)} }}{START}"))
    assert_leaves(text, {"sums": expected})
