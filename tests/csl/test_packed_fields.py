"""Fields of packed structs are bits of an integer, the first field the lowest, on both engines.

Random structs are written to, field by field, as CSL and as Python's integers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.csl.exact_integers import Width
from tests.csl.one_task import START, assert_leaves, run_program

NUM_STRUCTS = 4
NUM_WRITES = 6
MAX_WORD = 32


def draw_fields(random: Random, left: int) -> list[Width]:
    """Return the types of fields of so many bits in all."""
    fields: list[Width] = []
    longest = left // 2 + 8 if left > MAX_WORD else MAX_WORD // 2
    while left:
        bits = min(random.randint(1, longest), left)
        fields.append(Width(bits, random.choice((False, True))))
        left -= bits
    return fields


def write_program(random: Random) -> tuple[str, dict[str, list[int]]]:
    """Return a program that leaves the words of structs and what was read of them, and these."""
    words: list[int] = []
    expected: list[int] = []
    declarations: list[str] = []
    statements: list[str] = []
    for number in range(NUM_STRUCTS):
        num_bits = random.choice((MAX_WORD, MAX_WORD, 64, random.randint(33, 63)))
        fields, word = draw_fields(random, num_bits), random.getrandbits(num_bits)
        offsets = [sum(f.bits for f in fields[:i]) for i in range(len(fields))]
        listed = ", ".join(f"f{i}: {field}" for i, field in enumerate(fields))
        name = random.choice((f"s{number}", f"s{number}[1]", f"s{number}"))
        type_ = f"packed union {{ s: packed struct {{ {listed} }}, w: u{num_bits} }}"
        declarations.append(f"const T{number} = {type_};")
        initial = f"T{number}{{ .w = {word} }}"
        is_array = name.endswith("]")
        whole = f"[2]T{number}{{ T{number}{{ .w = 0 }}, {initial} }}" if is_array else initial
        place = random.choice((declarations, statements))
        place.append(f"var s{number} = {whole};")
        for _ in range(NUM_WRITES):
            i = random.randrange(len(fields))
            field, offset = fields[i], offsets[i]
            old = field.wrap(word >> offset)
            value = field.draw(random)
            declarations.append(f"var v{len(expected)}: {field} = {value};")
            symbol = random.choice(("=", "+=", "^="))
            new = field.wrap({"=": value, "+=": old + value, "^=": old ^ value}[symbol])
            statements.append(f"{name}.s.f{i} {symbol} v{len(expected)};")
            mask = (1 << field.bits) - 1
            word = word & ~(mask << offset) | (new & mask) << offset
            other = random.randrange(len(fields))
            statements.append(f"read[{len(expected)}] = @as(u32, {name}.s.f{other});")
            expected.append(fields[other].wrap(word >> offsets[other]) & 0xFFFFFFFF)
        statements.append(f"words[{len(words)}] = @as(u32, {name}.w);")
        statements.append(f"words[{len(words) + 1}] = @as(u32, @as(u64, {name}.w) >> 32);")
        words += [word & 0xFFFFFFFF, word >> 32]
    arrays = f"var read = @zeros([{len(expected)}]u32);\nvar words = @zeros([{len(words)}]u32);"
    lines = "\n  ".join(statements)
    text = "\n".join((arrays, *declarations, f"task main() void {{\n  {lines}\n}}{START}"))
    return text, {"read": expected, "words": words}


# Shrinking a random program through its seed leads nowhere: a failure is replayed by it.
@settings(phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=20)
@given(seed=st.integers(0, 1 << 32))
def test_fields_are_bits(seed: int) -> None:
    source, expected = write_program(Random(seed))  # noqa: S311
    assert_leaves(source, expected)


FLOATS = """
const parts = packed struct {{ low: f16, high: bool, rest: i15 }};
const word = packed union {{ w: u32, f: f32, s: parts }};
comptime {{
  const known = word{{ .w = {word} }};
  @comptime_assert(@bitcast(u32, known.f) == {word});
  @comptime_assert(known.s.high == (({word} >> 16) & 1 == 1));
}}
const initial = word{{ .w = {word} }};
var v = initial;
var words = @zeros([4]u32);
task main() void {{
  words[0] = @bitcast(u32, v.f);
  words[1] = @bitcast(u16, v.s.low);
  words[2] = @as(u32, v.s.high);
  const f = v.f;
  v.w = 0;
  v.f = f;
  words[3] = v.w;
}}
"""


@pytest.mark.parametrize("value", [1.0, -2.5, 3.0e-5, -0.0])
@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_floats_keep_their_bits(value: float, engine: str) -> None:
    (word,) = struct.unpack("<I", struct.pack("<f", value))
    found = run_program(FLOATS.format(word=word) + START, engine, ("words",))
    assert found["words"] == [word, word & 0xFFFF, word >> 16 & 1, word]


POINTER = Width(16, is_signed=False)
CELLS = 8


def draw_places(random: Random, fields: list[Width]) -> list[bool]:
    """Return which fields of 16 bits are pointers; at least one is."""
    places = [field == POINTER and random.random() < 0.7 for field in fields]
    first = next((i for i, field in enumerate(fields) if field == POINTER), None)
    if first is None:
        first = random.randrange(len(fields) + 1)
        fields.insert(first, POINTER)
        places.insert(first, True)
    places[first] = True
    return places


@dataclass
class Packed:
    """A packed struct with pointers to cells, which are the numbers of the cells here."""

    name: str
    fields: list[Width]
    is_pointer: list[bool]
    values: list[int]

    def spelled(self, i: int) -> str:
        return "*u16" if self.is_pointer[i] else str(self.fields[i])

    def given(self, i: int, value: int) -> str:
        return f"&cells[{value}]" if self.is_pointer[i] else f"@as({self.fields[i]}, {value})"

    def literal(self) -> str:
        listed = ", ".join(f".f{i} = {self.given(i, v)}" for i, v in enumerate(self.values))
        return f"T{self.name}{{ {listed} }}"

    def draw(self, random: Random, i: int) -> int:
        return random.randrange(CELLS) if self.is_pointer[i] else self.fields[i].draw(random)

    def offset(self, i: int) -> int:
        return sum(field.bits for field in self.fields[:i])

    @property
    def word(self) -> int:
        """The integer behind it, without its pointers, and the mask that leaves them out."""
        return sum(
            (value & (1 << field.bits) - 1) << self.offset(i)
            for i, (field, value) in enumerate(zip(self.fields, self.values, strict=True))
            if not self.is_pointer[i]
        )

    @property
    def mask(self) -> int:
        bits = sum(field.bits for field in self.fields)
        hidden = sum(0xFFFF << self.offset(i) for i, is_one in enumerate(self.is_pointer) if is_one)
        return (1 << bits) - 1 & ~hidden

    @property
    def may_be_data(self) -> bool:
        return all(self.offset(i) % 8 == 0 for i, is_one in enumerate(self.is_pointer) if is_one)


def write_pointers(random: Random) -> tuple[str, dict[str, list[int]]]:
    """Return a program that writes packed structs and through the pointers in them."""
    lines: list[str] = []
    statements: list[str] = []
    cells = list(range(CELLS))
    structs: list[Packed] = []
    for number in range(NUM_STRUCTS):
        fields = draw_fields(random, random.choice((16, 24, 40, 48)))
        is_pointer = draw_places(random, fields)
        made = Packed(str(number), fields, is_pointer, [])
        made.values = [made.draw(random, i) for i in range(len(fields))]
        listed = ", ".join(f"f{i}: {made.spelled(i)}" for i in range(len(fields)))
        lines.append(f"const T{number} = packed struct {{ {listed} }};")
        is_global = made.may_be_data and random.random() < 0.7
        (lines if is_global else statements).append(f"var s{number} = {made.literal()};")
        structs.append(made)
    for _ in range(NUM_WRITES * NUM_STRUCTS):
        made = random.choice(structs)
        i, name = random.randrange(len(made.fields)), f"s{made.name}"
        if made.is_pointer[i] and random.random() < 0.5:
            amount = random.randrange(1000)
            cells[made.values[i]] = (cells[made.values[i]] + amount) & 0xFFFF
            statements.append(f"{name}.f{i}.* += {amount};")
        elif random.random() < 0.2:
            made.values = [made.draw(random, k) for k in range(len(made.fields))]
            statements.append(f"{name} = {made.literal()};")
        else:
            made.values[i] = made.draw(random, i)
            statements.append(f"{name}.f{i} = {made.given(i, made.values[i])};")
    words: list[int] = []
    for made in structs:
        bits = sum(field.bits for field in made.fields)
        kept = f"@as(u64, @bitcast(u{bits}, s{made.name}) & {made.mask})"
        for half in (f"@as(u32, {kept})", f"@as(u32, {kept} >> 32)"):
            statements.append(f"words[{len(words)}] = {half};")
            words.append(made.word >> 32 * (len(words) % 2) & 0xFFFFFFFF)
    lines += [f"var cells = [{CELLS}]u16{{ {', '.join(map(str, range(CELLS)))} }};"]
    lines += [f"var words = @zeros([{len(words)}]u32);", f"var found = @zeros([{CELLS}]u32);"]
    statements += [f"found[{i}] = @as(u32, cells[{i}]);" for i in range(CELLS)]
    body = "\n  ".join(statements)
    text = "\n".join((*lines, f"task main() void {{\n  {body}\n}}{START}"))
    return text, {"words": words, "found": cells}


@settings(phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_pointers_are_sixteen_of_the_bits(seed: int) -> None:
    source, expected = write_pointers(Random(seed))  # noqa: S311
    assert_leaves(source, expected)
