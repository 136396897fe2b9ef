"""`@get_config` and `@set_config`: a PE's own configuration, by word address.

At run time they are a load and a store beyond the memory, at the addresses of `config_words`. In a
`comptime` block they read and write initial values, except of words that the compiler writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.config_words import config_words, words_at
from onewafer.csl.sema.builtins.undefined import warn_of_undefined
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.registry import comptime_builtin, runtime_builtin
from onewafer.csl.sema.modules.instance_context import instance_of
from onewafer.csl.sema.session.contracts import Where
from onewafer.csl.sema.session.reserved import check_reserved_color, check_reserved_queue
from onewafer.csl.sema.values import (
    VOID_VALUE,
    Runtime,
    Scalar,
    Struct,
    Value,
    conversions,
    force,
    type_of,
)
from onewafer.diagnostics import Annotation
from onewafer.image import (
    ALL_MASKED,
    CONTROL_MASK_WORD,
    EXCEPTIONS_WORD,
    MASKABLE,
    OUTPUT_QUEUE_WORDS,
    WORD_BYTES,
    Opcode,
    ScalarType,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onewafer.csl.sema.builtins.config_words import ConfigWords
    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.instance import Instance
    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span

_U16: Final = ScalarType.U16
_COLOR_SHIFT: Final = 4
"""Position of the color in the word of an output queue."""
_PAIR: Final = 2

Ranges = tuple[tuple[int, int], ...]
"""The first and the last word address of each; empty: any."""


# --- while the program runs ----------------------------------------------------------------------


@runtime_builtin("get_config", 1, 2)
@runtime_builtin("get_config_unchecked", 1)
def get_config(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Read a word."""
    address = _byte_address(site, a, args[0], args[1:])
    return Runtime(t.U16, ir.Load(_U16, address, is_volatile=True))


@runtime_builtin("set_config", 2, 3)
@runtime_builtin("set_config_unchecked", 2)
def set_config(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Write a word."""
    address = _byte_address(site, a, args[0], args[2:])
    word = a.sized(args[1], t.U16, site.argument_spans[1], "the word")
    a.emit(ir.Store(_U16, address, 0, word, site.span))
    return VOID_VALUE


def _byte_address(site: Site, a: Analyzer, value: Value, within: Sequence[Value]) -> ir.Expression:
    """Return the address of a word, and mark the words that may be there as accessed."""
    ranges = _ranges(site, a.module, within)
    address = a.coerce(value, t.U16, site.argument_spans[0], "the word address")
    if isinstance(address, Scalar):
        number, words = _known_address(site, a.module, address, ranges)
        _warn_if_ours(site, a.module, number, words)
        _reach(a.instance, (words,))
        return ir.Immediate(_U16, WORD_BYTES * number)
    _reach(a.instance, _words_in(a.module, ranges))
    words = a.expression(address, site.argument_spans[0])
    return ir.Binary(Opcode.SHL, _U16, words, ir.Immediate(_U16, 1))


def _reach(instance: Instance, words: Iterable[ConfigWords]) -> None:
    """Mark words that a program may access."""
    instance.reaches_registers = True
    for some in words:
        if some.is_of_queues:
            instance.reach_queues()
        if some.first == EXCEPTIONS_WORD:
            instance.unmasks_exceptions = True


# --- from the start ------------------------------------------------------------------------------


@comptime_builtin("get_config", 1, 2, context=Where.PROGRAM)
@comptime_builtin("get_config_unchecked", 1, context=Where.PROGRAM)
def config_at_start(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return the initial value of a word that the program has set so far."""
    address, instance = _free_address(site, module, args[0], args[1:]), instance_of(module)
    if address == CONTROL_MASK_WORD:
        return Scalar(t.U16, instance.control_mask)
    if address == EXCEPTIONS_WORD:
        return Scalar(t.U16, instance.exception_mask)
    queue = address - OUTPUT_QUEUE_WORDS
    bound = instance.queues.get((False, queue))
    if bound is None:
        fail(
            "queue-not-initialized",
            f"output queue {queue} serves no color yet, so word {address:#x} has no value",
            site.span,
            help="write `@initialize_queue(queue, .{ .color = … });` before this",
        )
    return Scalar(t.U16, bound[0] << _COLOR_SHIFT)


@comptime_builtin("set_config", 2, 3, context=Where.PROGRAM)
@comptime_builtin("set_config_unchecked", 2, context=Where.PROGRAM)
def set_config_at_start(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Set the initial value of a word."""
    address, instance = _free_address(site, module, args[0], args[2:]), instance_of(module)
    span = site.argument_spans[1]
    value = conversions.coerce(args[1], t.U16, span, "the word")
    word = conversions.forced_integer(value, span, "the word")
    if address == CONTROL_MASK_WORD:
        instance.control_mask = word % module.session.architecture.num_control_task_ids
    elif address == EXCEPTIONS_WORD:
        instance.reaches_registers = instance.unmasks_exceptions = True
        instance.exception_mask = word | (ALL_MASKED & ~MASKABLE)
    else:
        _bind_output_queue(site, module, address - OUTPUT_QUEUE_WORDS, word)
    return VOID_VALUE


def _bind_output_queue(site: Site, module: Module, queue: int, word: int) -> None:
    """Let an output queue serve the color in a word."""
    span = site.argument_spans[1]
    color = word >> _COLOR_SHIFT
    if word != color << _COLOR_SHIFT:
        fail(
            "value-out-of-range",
            f"the word {word:#x} has more than a color, which is in bits 4 to 8",
            span,
            help="write `@get_int(color) << 4`, or use `@initialize_queue`",
        )
    check_reserved_queue(module.session.options, queue, is_input=False, span=site.argument_spans[0])
    check_reserved_color(module.session.options, color, span)
    instance_of(module).queues[False, queue] = (color, site.span)


def _free_address(site: Site, module: Module, value: Value, within: Sequence[Value]) -> int:
    """Return a word address, or fail if the compiler writes that word."""
    span = site.argument_spans[0]
    address = conversions.coerce(value, t.U16, span, "the word address")
    integer = conversions.integer(address, span, "the word address")
    number, words = _known_address(site, module, integer, _ranges(site, module, within))
    if words.at_start and site.name.startswith("get"):
        fail(
            "reserved-register",
            f"word {number:#x}, {words.name_of(number)}, has no value before the program runs",
            span,
            help="read it in a function or task",
        )
    if words.at_start:
        fail(
            "reserved-register",
            f"word {number:#x} is {words.name_of(number)}, which a `comptime` block cannot set "
            "by its address",
            span,
            help=words.at_start,
        )
    _warn_if_ours(site, module, number, words)
    return number


# --- addresses -----------------------------------------------------------------------------------


def _known_address(
    site: Site, module: Module, value: Scalar, ranges: Ranges
) -> tuple[int, ConfigWords]:
    """Return a word address, checked against the ranges, and the kind of its word."""
    span, machine = site.argument_spans[0], module.session.architecture
    address = int(force(value, "the word address", span))
    if ranges and not any(first <= address <= last for first, last in ranges):
        fail(
            "value-out-of-range",
            f"the word address {address:#x} lies in none of the ranges that are given for it",
            span,
            secondary=(Annotation(site.argument_spans[-1], "the ranges"),),
        )
    words = words_at(machine, address)
    if words is None:
        fail(
            "id-out-of-range",
            f"a PE of {machine.name} has nothing at word address {address:#x}",
            span,
            help=f"it has its configuration at {_shown(config_words(machine))}",
        )
    return address, words


def _warn_if_ours(site: Site, module: Module, address: int, words: ConfigWords) -> None:
    """Warn that an address has no published meaning."""
    if module.session.architecture.generation in words.known_on or module.code.is_library:
        return
    warn_of_undefined(
        instance_of(module),
        f"`@{site.name}` of {address:#x}",
        site.span,
        f"what is at this address: here it is {words.name_of(address)}",
        f"{words.by_name} does not need the address",
    )


def _shown(words: Sequence[ConfigWords]) -> str:
    """Return addresses as text, consecutive ones as a range."""
    ranges: list[tuple[int, int]] = []
    for some in words:
        if ranges and ranges[-1][1] + 1 == some.first:
            ranges[-1] = ranges[-1][0], some.last
        else:
            ranges.append((some.first, some.last))
    *others, last = (f"{first:#x}–{end:#x}" for first, end in ranges)
    return f"{', '.join(others)} and {last}"


def _words_in(module: Module, ranges: Ranges) -> tuple[ConfigWords, ...]:
    """Return the registers whose addresses are in the ranges."""
    every = config_words(module.session.architecture)
    if not ranges:
        return every
    return tuple(
        words
        for words in every
        if any(first <= words.last and words.first <= last for first, last in ranges)
    )


def _ranges(site: Site, module: Module, within: Sequence[Value]) -> Ranges:
    """Return the declared ranges of an address: `.{first, last}`, or a tuple of such."""
    if not within:
        return ()
    span = site.argument_spans[-1]
    parts = _parts(within[0], span)
    pairs = [_parts(p, span) for p in parts] if isinstance(parts[0], Struct) else [parts]
    return tuple(_range(module, pair, span) for pair in pairs)


def _parts(value: Value, span: Span) -> tuple[Value, ...]:
    """Return the parts of a range, or of a tuple of ranges."""
    if isinstance(value, Struct) and value.names is None and value.fields:
        return value.fields
    fail(
        "type-mismatch",
        f"ranges of word addresses are a tuple, this is of type `{type_of(value)}`",
        span,
        help="write `.{first, last}` or `.{.{first, last}, .{first, last}}`",
    )


def _range(module: Module, pair: Sequence[Value], span: Span) -> tuple[int, int]:
    """Return a range that has words of the machine in it."""
    if len(pair) != _PAIR:
        fail(
            "type-mismatch",
            f"a range has a first and a last word address, this has {len(pair)} numbers",
            span,
        )
    first, last = (conversions.forced_integer(end, span, "the word address") for end in pair)
    if first > last:
        fail("value-out-of-range", f"the range {first:#x} to {last:#x} is empty", span)
    if not _words_in(module, ((first, last),)):
        machine = module.session.architecture
        fail(
            "id-out-of-range",
            f"a PE of {machine.name} has nothing at the word addresses {first:#x} to {last:#x}",
            span,
            help=f"it has its configuration at {_shown(config_words(machine))}",
        )
    return first, last
