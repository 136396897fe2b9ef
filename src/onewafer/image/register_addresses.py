"""Addresses of the registers of a PE's router and queues, in words of 16 bits.

They lie behind the SRAM. Rules M102, M130 to M137 and M143 in `docs/explanation/machine.md` say
what they hold, and which addresses public programs of the SDK have.
"""

WORD_BYTES = 2
ROUTER_WORDS = 0x7F20
"""Seven times 32 words, by color: routes, switch positions, their second sides; and of its filter
the counter, the limit, the maximum and how many pass."""
TORN_DOWN_WORDS = 0x7F38
"""Two words, behind the routes of the colors: which were torn down, `COLORS_OF_A_WORD` in each."""
COLORS_OF_A_WORD = 16
CONTROL_MASK_WORD = 0x7F3A
"""Behind them: what the entry of kept control wavelets is combined with."""
EXCEPTIONS_WORD = 0x7F3B
"""The exceptions that do not stop the program."""
ALL_MASKED = 0xFFFF
"""There: none does."""
MASKABLE = 0xFF
"""Its bits that say which do not; the others are ones."""
OUTPUT_QUEUE_WORDS = 0x7B80
INPUT_QUEUE_WORDS = 0x7B90
"""A word a queue: the color that it serves."""
FLUSHED_WORDS = 0x7BA0
"""Queues that became empty after a request to tell: input queues, then output queues."""
ASKED_WORDS = 0x7BA2
"""Queues that are requested to tell when they are empty, in the same order."""
STATUS_WORDS = 0x7BA4
"""Queues that are empty, and queues that are full, in the same order."""
