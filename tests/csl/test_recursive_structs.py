"""Structs that lead to themselves and to each other are graphs, as objects in Python are.

Random types hold pointers to random types, and random programs lead the pointers elsewhere, follow
them and write what they find there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program, run_stages
from onewafer.diagnostics import Diagnostic, DiagnosticSink
from onewafer.simulator import Machine
from tests.csl.exact_integers import Width
from tests.csl.one_task import LAYOUT, START

NUM_NODES = 3
"""Nodes of each type."""
NUM_STATEMENTS = 16
VALUE = Width(16, is_signed=True)


@dataclass(frozen=True)
class Link:
    """A field that leads to nodes: a pointer, or (num > 1) an array of them."""

    target: int
    """Number of the type."""
    num: int
    is_many: bool

    def __str__(self) -> str:
        pointer = f"{'[*]' if self.is_many else '*'}T{self.target}"
        return pointer if self.num == 1 else f"[{self.num}]{pointer}"


@dataclass(eq=False)
class Node:
    """A node; of what it leads to the array and the place in it."""

    value: int = 0
    links: list[list[Reference]] = field(default_factory=list["list[Reference]"])


@dataclass(frozen=True)
class Reference:
    nodes: list[Node]
    index: int

    def get(self) -> Node:
        return self.nodes[self.index]


@dataclass
class Writer:
    """Draws types and statements, and does here at once what the statements do."""

    random: Random
    types: list[list[Link]] = field(default_factory=list["list[Link]"])
    nodes: list[list[Node]] = field(default_factory=list["list[Node]"])
    cursors: list[Reference] = field(default_factory=list["Reference"])
    statements: list[str] = field(default_factory=list[str])

    def declarations(self) -> list[str]:
        count = self.random.randint(1, 3)
        self.types = [
            [
                Link(
                    self.random.randrange(count),
                    self.random.choice((1, 1, 2)),
                    self.random.random() < 0.3,
                )
                for _ in range(self.random.randint(1, 3))
            ]
            for _ in range(count)
        ]
        self.nodes = [[Node() for _ in range(NUM_NODES)] for _ in range(count)]
        self.cursors = [Reference(nodes, 0) for nodes in self.nodes]
        lines: list[str] = []
        for number, links in enumerate(self.types):
            fields = ", ".join(f"p{i}: {link}" for i, link in enumerate(links))
            qualifier = self.random.choice(("", "extern "))
            lines += [
                f"const T{number} = {qualifier}struct {{ {fields}, v: i16 }};",
                f"export var v{number} = @zeros([{NUM_NODES}]i16);",
                f"var c{number}: *T{number} = &n{number}[0];",
                f"fn add{number}(n: *T{number}, by: *const i16) void {{ n.*.v += by.*; }}",
                self.variable(number),
            ]
        self.random.shuffle(lines)
        return lines

    def variable(self, number: int) -> str:
        """Return the nodes of a type, which lead somewhere from the start, or by statements."""
        whole = f"[{NUM_NODES}]T{number}"
        texts = [self.begin(number, index) for index in range(NUM_NODES)]
        if self.random.random() < 0.5:
            values = [
                ", ".join(f".p{i} = {text}" for i, text in enumerate(links)) for links in texts
            ]
            nodes = ", ".join(f".{{ {value}, .v = 0 }}" for value in values)
            return f"var n{number}: {whole} = {whole}{{ {nodes} }};"
        self.statements += [
            f"n{number}[{index}].p{i} = {text};"
            for index, links in enumerate(texts)
            for i, text in enumerate(links)
        ]
        return f"var n{number} = @zeros({whole});"

    def begin(self, number: int, index: int) -> list[str]:
        """Let the links of a node lead somewhere; return the values of its fields."""
        node, texts = self.nodes[number][index], list[str]()
        for link in self.types[number]:
            targets = [self.random.randrange(NUM_NODES) for _ in range(link.num)]
            node.links.append([Reference(self.nodes[link.target], to) for to in targets])
            places = [f"&n{link.target}[{to}]" for to in targets]
            if link.is_many:
                places = [f"@ptrcast([*]T{link.target}, {place})" for place in places]
            pointer = f"{'[*]' if link.is_many else '*'}T{link.target}"
            listed = ", ".join(places)
            texts.append(f"[{link.num}]{pointer}{{ {listed} }}" if link.num > 1 else listed)
        return texts

    def walk(self) -> tuple[str, Reference, int]:
        """Return a place, the node that is there, and its type."""
        number = self.random.randrange(len(self.types))
        if self.random.random() < 0.5:
            text, at = f"c{number}.*", self.cursors[number]
        else:
            index = self.random.randrange(NUM_NODES)
            text, at = f"n{number}[{index}]", Reference(self.nodes[number], index)
        while self.random.random() < 0.6:
            i, k = self.pick(number)
            link = self.types[number][i]
            text += f".p{i}" + (f"[{k}]" if link.num > 1 else "")
            text += "[0]" if link.is_many else ".*"
            at, number = at.get().links[i][k], link.target
        return text, at, number

    def pick(self, number: int) -> tuple[int, int]:
        i = self.random.randrange(len(self.types[number]))
        return i, self.random.randrange(self.types[number][i].num)

    def statement(self) -> str:
        text, at, number = self.walk()
        kind = self.random.randrange(5)
        if kind == 0:
            self.cursors[number] = at
            return f"c{number} = &{text};"
        if kind == 1:
            other, found, _ = self.walk()
            at.get().value = VALUE.wrap(at.get().value + found.get().value)
            return f"add{number}(&{text}, &{other}.v);"
        if kind == 2:
            amount = self.random.randint(-9, 9)
            at.get().value = VALUE.wrap(at.get().value * 3 + amount)
            return f"{text}.v = {text}.v * 3 + ({amount});"
        return self.relink(text, at, number)

    def relink(self, text: str, at: Reference, number: int) -> str:
        """Let a pointer of a node lead to what another one leads to, or copy a whole node."""
        i, k = self.pick(number)
        link = self.types[number][i]
        for _ in range(9):
            other, found, kind = self.walk()
            if kind == number and self.random.random() < 0.4:
                source, target = found.get(), at.get()
                target.value, target.links = source.value, [list(part) for part in source.links]
                return f"{text} = {other};"
            if kind == link.target:
                at.get().links[i][k] = found
                element = f"[{k}]" if link.num > 1 else ""
                many = f"@ptrcast([*]T{kind}, &{other})" if link.is_many else f"&{other}"
                return f"{text}.p{i}{element} = {many};"
        return ""


@settings(phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_pointers_lead_where_references_do(seed: int) -> None:
    writer = Writer(Random(seed))  # noqa: S311
    lines = writer.declarations()
    statements = writer.statements
    for number, nodes in enumerate(writer.nodes):
        for index, node in enumerate(nodes):
            node.value = 10 * number + index + 1
            statements.append(f"n{number}[{index}].v = {node.value};")
    statements += [writer.statement() for _ in range(NUM_STATEMENTS)]
    for number in range(len(writer.types)):
        statements += [f"v{number}[{i}] = n{number}[{i}].v;" for i in range(NUM_NODES)]
    body = "\n".join((*lines, "task main() void {", *statements, "}", START))
    architecture = load_architecture("wse3")
    options = CompileOptions(entry="layout.csl", architecture=architecture, uses_memcpy=False)
    image = compile_program(options, MemoryFiles({"layout.csl": LAYOUT, "pe.csl": body}))
    for engine in ("reference", "fast"):
        machine = Machine(image, architecture, engine=engine)
        machine.run(max_cycles=50_000)
        for number, nodes in enumerate(writer.nodes):
            symbol = machine.symbol(0, 0, f"v{number}")
            payload = machine.peek(0, 0, symbol.address, 2 * NUM_NODES)
            found = list(struct.unpack(f"<{NUM_NODES}h", payload))
            assert found == [node.value for node in nodes], (engine, body)


CASES = {
    "a pointer with a name of its own": """
const Link = *Node; const Node = struct { l: Link, v: i16 }; var n: Node; var l: Link = &n;
fn go() void { n.l = l; l.*.l.*.v = 1; }""",
    "functions": """
const Node = struct { f: *const fn (*Node, Node) Node, v: i16 };
fn f(a: *Node, b: Node) Node { a.*.v = b.v; return b; }
var n = Node{ .f = f, .v = 1 };
fn go() void { n = n.f(&n, n); }""",
    "packed": """
const Node = packed union { next: *Node, v: u16 }; var n: Node;
fn go() void { n = Node{ .next = &n }; n.next.*.v = 3; }""",
    "two imports of a module": """
const m = @import_module("m.csl"); const k = @import_module("m.csl");
var a: m.A = @zeros(m.A); var b: k.B = @zeros(k.B);
fn go() void { a.b = &b; b.a = &a; a.b.*.a.*.b = a.b; }
comptime { @comptime_assert(@is_same_type(*m.A, *k.A) and @is_same_type(m.B, k.B)); }""",
    "two imports with other params": """
const m = @import_module("m.csl"); const k = @import_module("m.csl", .{ .V = u32 });
var a: m.A = @zeros(m.A); var b: k.B = @zeros(k.B);
fn go() void { a.b = &b; }                              // error: type-mismatch""",
    "types that look alike": """
const A = struct { p: *A }; const B = struct { p: *B };
var a: A = @zeros(A); var b: B = @zeros(B);
fn go() void { a.p = &b; }                              // error: type-mismatch""",
    "a struct in itself": """
const Node = struct { n: Node };                        // error: global-cycle
var n: Node;
fn go() void { _ = n; }""",
    "an array of itself": """
const Node = struct { n: [2]Node };                     // error: global-cycle
var n: Node;
fn go() void { _ = n; }""",
    "structs in each other": """
const A = struct { b: B };
const B = struct { a: A };                              // error: global-cycle
var a: A;
fn go() void { _ = a; }""",
    "something else than a struct": """
const A = enum(u16) { X = @get_int(@as(*A, undefined).*) };   // error: global-cycle
fn go() void { _ = A.X; }""",
    "a struct that a function makes": """
fn list(comptime T: type) type { return struct { next: *list(T), v: T }; }
var a: [2]list(i16); var b: list(f32) = .{ .next = &b, .v = 2.0 };
fn push(comptime T: type, at: *list(T), n: *list(T)) void { n.*.next = at.*.next; at.*.next = n; }
fn go() void { push(i16, &a[0], &a[1]); a[0].next.*.v = 3; push(f32, &b, b.next); }
comptime { @comptime_assert(@is_same_type(@type_of(a[0].next), *list(i16))); }""",
    "structs that functions make of each other": """
fn left(comptime n: u16) type { return struct { r: *right(n), f: *const fn (*left(n)) u16 }; }
fn right(comptime n: u16) type { return struct { l: [n]*left(n), w: u16 }; }
fn weight(l: *left(2)) u16 { return l.*.r.*.w; }
var l = left(2){ .r = &r, .f = weight };
var r: right(2) = .{ .l = [2]*left(2){ &l, &l }, .w = 4 };
fn go() void { r.w = r.l[0].*.f(l.r.*.l[1]); }""",
    "structs of other arguments": """
fn list(comptime T: type) type { return struct { next: *list(T), v: T }; }
var a: list(i16); var b: list(u16);
fn go() void { a.next = &b; }                           // error: type-mismatch""",
    "a struct of a function in itself": """
fn list(comptime T: type) type {
  return struct { next: list(T), v: T };                // error: step-limit
}
var a: list(i16);
fn go() void { a.v = 1; }""",
    "no end of structs": """
fn list(comptime n: u16) type {
  return struct { next: *list(n + 1) };                 // error: step-limit
}
var a: list(0);
fn go() void { a.next = a.next; }""",
    "a type that is there already": """
fn same(comptime T: type) type { const p = *same(T); return T; }
var a: same(i16) = 1;
fn go() void { a += 1; }""",
    "addresses in what a constant begins with": """
const N = struct { next: *const N, v: i16 };
const r = [2]N{ .{ .next = &r[1], .v = 1 }, .{ .next = &r[0], .v = 2 } };
comptime { @comptime_assert(r[0].next.*.v == 2 and r[0].next.*.next.*.v == 1); }
fn go() void {}""",
    "parts of a variable": """
const T = struct { d: mem1d_dsd, p: *i16, a: [4]i16 };
var t: T = .{ .d = @get_dsd(mem1d_dsd, .{ .base_address = &t.a, .extent = 4 }),
              .p = &t.a[1], .a = @zeros([4]i16) };
fn go() void { @mov16(t.d, 7); t.p.* += 1; }""",
    "what lies there": """
const N = struct { next: *const N, v: i16 };
const a = N{ .next = &a, .v = (&a).*.v };               // error: not-comptime
fn go() void { _ = a; }""",
    "no type in front": """
const N = struct { next: *const anyopaque };
const a = .{ .next = &a };                              // error: global-cycle
fn go() void { _ = a; }""",
    "a value": """
const N = struct { next: *const N, v: i16 };
const a = N{ .next = &b, .v = b.v };
const b = N{ .next = &a, .v = a.v };                    // error: global-cycle
fn go() void { _ = a; }""",
    "a pointer that leads into itself": """
var p: [*]i16 = &p[1];                                  // error: global-cycle
fn go() void { p[0] = 1; }""",
    "a field that is missing": """
const Node = struct { next: *Node }; var n: Node = @zeros(Node);
fn go() void { n.next.*.next.*.v = 1; }                 // error: unknown-field""",
}
MODULE = "param V: type = i16; const A = struct { b: *B, v: V }; const B = struct { a: *A };"


@pytest.mark.parametrize("case", CASES)
def test_what_a_struct_may_lead_to(case: str) -> None:
    text = CASES[case]
    sink = DiagnosticSink()
    body = f"{text}\ntask main() void {{ go(); }} {START}"
    files = MemoryFiles({"layout.csl": LAYOUT, "m.csl": MODULE, "pe.csl": body})
    architecture = load_architecture("wse3")
    options = CompileOptions(entry="layout.csl", architecture=architecture, uses_memcpy=False)
    run_stages(options, files, sink)
    announced = [
        (number, line.partition("// error: ")[2])
        for number, line in enumerate(text.splitlines(), start=1)
        if "// error: " in line
    ]
    assert [(line_of(finding), finding.code) for finding in sink.diagnostics] == announced


def line_of(finding: Diagnostic) -> int:
    assert finding.primary is not None
    span = finding.primary.span
    return span.source.line_column(span.start)[0]
