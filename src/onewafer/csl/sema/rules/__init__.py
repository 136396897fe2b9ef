"""Rules of the language that both evaluators follow."""

from onewafer.csl.sema.rules.addresses import (
    address_of_global,
    address_of_member,
    check_single,
    dereferenced,
    expect_pointer,
    known_at,
    no_address,
    no_comptime_address,
    pointed_at,
)
from onewafer.csl.sema.rules.attributes import (
    alignment,
    check_unlinked,
    check_width_for_host,
    how_to_vary,
)
from onewafer.csl.sema.rules.choices import (
    check_switched,
    missing_else,
    no_arm,
    no_arm_for,
    taken_value,
)
from onewafer.csl.sema.rules.elements import element, element_pointer, indexed
from onewafer.csl.sema.rules.indices import check_rank, flat_index, outside, plain
from onewafer.csl.sema.rules.loops import endless_range, not_callable, not_iterable
from onewafer.csl.sema.rules.members import CHANGING_BUILTINS, expect_type, member
from onewafer.csl.sema.rules.tensors import tensor_access

__all__ = [
    "CHANGING_BUILTINS",
    "address_of_global",
    "address_of_member",
    "alignment",
    "check_rank",
    "check_single",
    "check_switched",
    "check_unlinked",
    "check_width_for_host",
    "dereferenced",
    "element",
    "element_pointer",
    "endless_range",
    "expect_pointer",
    "expect_type",
    "flat_index",
    "how_to_vary",
    "indexed",
    "known_at",
    "member",
    "missing_else",
    "no_address",
    "no_arm",
    "no_arm_for",
    "no_comptime_address",
    "not_callable",
    "not_iterable",
    "outside",
    "plain",
    "pointed_at",
    "taken_value",
    "tensor_access",
]
