"""Fields of packed structs are bits of an integer, the first field the lowest, on both engines.

Random structs are written to, field by field, as CSL and as Python's integers.
"""

from __future__ import annotations

import struct
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
