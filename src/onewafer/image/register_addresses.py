"""Addresses of the registers of a PE's router and queues, in words of 16 bits.

They lie behind the SRAM. Rules M102, M130 to M137 and M143 in `docs/explanation/machine.md` say
what they hold, and which addresses public programs of the SDK have.
"""

WORD_BYTES = 2
ROUTER_WORDS = 0x7F20
"""Seven tables of 32 words, by color: routes, switch positions, their second sides; the filter's
counter, limit, maximum, and number that passes."""
TORN_DOWN_WORDS = 0x7F38
"""Two words, behind the routes: bits of the colors torn down, `COLORS_OF_A_WORD` in each."""
COLORS_OF_A_WORD = 16
CONTROL_MASK_WORD = 0x7F3A
"""The mask that is combined with the entry of kept control wavelets."""
EXCEPTIONS_WORD = 0x7F3B
"""The mask of the exceptions that do not stop the program."""
ALL_MASKED = 0xFFFF
"""Value of `EXCEPTIONS_WORD` with which no exception stops the program."""
MASKABLE = 0xFF
"""The bits of `EXCEPTIONS_WORD` that stand for exceptions; the others are ones."""
OUTPUT_QUEUE_WORDS = 0x7B80
INPUT_QUEUE_WORDS = 0x7B90
"""A word per input queue: the color that it serves."""
FLUSHED_WORDS = 0x7BA0
"""Bits of the queues that became empty after a request: input queues, then output queues."""
ASKED_WORDS = 0x7BA2
"""Bits of the queues for which this is requested, in the same order."""
STATUS_WORDS = 0x7BA4
"""Bits of the queues that are empty, and of those that are full, in the same order."""
