"""Several sequences of tokens in one program: rows of any of them in a launch.

In: new tokens of some sequences. Out: what the program gives behind the last token of each. A
sequence has a number; its tokens follow those that it has. What computes and what a launch costs is
the resident program's.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.graph import Slot
from onewafer.mesh import Launch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from onewafer.execution.executor import Launched
    from onewafer.execution.resident_program import ResidentProgram


class KeptSequences:
    """The sequences of a program that `place_sequence` cut for them; all are empty at first.

    Its graph has one input, the numbers of tokens, and one output, a row for each sequence.
    """

    def __init__(self, program: ResidentProgram) -> None:
        """Take a program, whose parameters are its owner's to keep."""
        self.program = program
        mesh = program.record.program
        self._input, self._output = mesh.graph.inputs[0], mesh.graph.outputs[0]
        self.most_rows = self._input.shape[0]
        """Tokens of a launch, of all sequences together."""
        self.context = mesh.context
        """Tokens of a sequence; None: there is no limit."""
        self._tokens: list[list[int]] = [[] for _ in range(mesh.sequences)]

    def __len__(self) -> int:
        """Return how many sequences there are."""
        return len(self._tokens)

    def tokens(self, sequence: int) -> Sequence[int]:
        """Return the tokens whose keys and values a sequence has."""
        return self._tokens[sequence]

    def count_known(self, sequence: int, tokens: Sequence[int]) -> int:
        """Return how many tokens a sequence has of those that others begin with."""
        pairs = zip(self._tokens[sequence], tokens, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    def free(self, sequence: int, *, keep: int = 0) -> None:
        """Forget the tokens of a sequence but the first `keep`."""
        del self._tokens[sequence][keep:]

    def launch(
        self, tokens: Mapping[int, Sequence[int]]
    ) -> tuple[dict[int, NDArray[Any]], Launched]:
        """Append tokens to some sequences; return the output behind each of them, and the launch.

        Raises HostError for more tokens than a launch, or a sequence, has room for; then nothing
        has changed.
        """
        slots = tuple(
            Slot(sequence, len(self._tokens[sequence]), len(more))
            for sequence, more in tokens.items()
        )
        launch = Launch(slots)
        self.program.record.program.check(launch)
        ids = np.zeros((self.most_rows, 1), np.int32)
        ids[: launch.num_rows, 0] = [token for more in tokens.values() for token in more]
        with self.program.alone():
            launched = self.program.launch({self._input.name: ids}, launch)
        for sequence, more in tokens.items():
            self._tokens[sequence] += more
        rows = launched.outputs[self._output]
        return {sequence: rows[index] for index, sequence in enumerate(tokens)}, launched
