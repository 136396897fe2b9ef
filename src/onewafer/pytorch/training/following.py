"""How a known step becomes known: one that is followed, and counts the same as the one before."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from onewafer.pytorch.lowering import Origin
from onewafer.pytorch.training.known import (
    KnownModule,
    KnownStep,
    LossLook,
    OptimizerLook,
    Source,
    leaves_of,
)
from onewafer.pytorch.training.pieces import find_cuts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from onewafer.execution import Tally
    from onewafer.pytorch.captured import Capture
    from onewafer.pytorch.guarded import GuardedCall
    from onewafer.pytorch.host_work import HostLedger
    from onewafer.pytorch.training.calls import Gradients, LossOfCall, TakenLoss, TrainingCall
    from onewafer.pytorch.training.optimizers import Optimizers
    from onewafer.pytorch.training.programs import TrainingProgram
    from onewafer.pytorch.training.repeats import Repeats

_MOST_STEPS = 8
"""Steps of one module that are known: with other numbers of rows, for instance."""


@dataclass(slots=True, eq=False)
class _Origin:
    """The call of a script that a captured call was."""

    module: torch.nn.Module
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    guarded: GuardedCall
    names: tuple[str | None, ...]


@dataclass(slots=True, eq=False)
class _Followed:
    """A step that is followed."""

    call: TrainingCall
    leaves: Sequence[object]
    """The arguments of its graph."""
    before: Mapping[TrainingProgram, Tally]
    num_host_calls: int
    version: int
    """The state of repeated steps when it began."""
    origin: _Origin | None = None
    look: LossLook | None = None
    taken: TakenLoss | None = None
    seeded: int = 0
    flop: int = 0
    tallies: list[tuple[str, Tally]] = field(default_factory=list[tuple[str, "Tally"]])
    last: Tally | None = None

    @property
    def summary(self) -> object:
        """What is the same for two steps that count the same."""
        return self.look, self.seeded, self.flop, (*self.tallies,)


class Following:
    """The step of a session that is followed."""

    def __init__(self, host: HostLedger, repeats: Repeats, optimizers: Optimizers) -> None:
        """Take where work of the host is counted, and what repeats the steps that are known."""
        self._host, self._repeats, self._optimizers = host, repeats, optimizers
        self._summaries: weakref.WeakKeyDictionary[Capture, object] = weakref.WeakKeyDictionary()
        """What the last step with a capture has counted."""
        self._followed: _Followed | None = None

    @property
    def _current(self) -> _Followed | None:
        """The step that is followed, unless something else has come between."""
        followed = self._followed
        return followed if followed and followed.version == self._repeats.version else None

    def watch(self, call: TrainingCall, leaves: Sequence[object]) -> None:
        """Look at a step that begins with a call, whose graph has these arguments."""
        before = {program: program.loaded.tally() for program in call.trained.programs}
        version = self._repeats.version
        self._followed = _Followed(call, leaves, before, self._host.num_calls, version)

    def note_call(
        self,
        call: tuple[torch.nn.Module, tuple[object, ...], Mapping[str, object]],
        guarded: GuardedCall,
        names: Callable[[object], Iterable[str | None]],
        result: object,
    ) -> None:
        """Note the script's call that the captured one was, and the outputs in its result."""
        followed = self._current
        if followed is not None:
            followed.origin = _Origin(*call, guarded, (*names(result),))

    def note_loss(
        self, kind: str, taken: LossOfCall, args: tuple[Any, ...], options: Mapping[str, Any]
    ) -> None:
        """Note a loss."""
        followed = self._current
        if followed is None:
            return
        look = LossLook.of(kind, args, options)
        if taken.call is not followed.call or taken.source is not None or look is None:
            self._followed = None
            return
        followed.look, followed.taken = look, taken.taken

    def note_backward(self, call: TrainingCall, gradients: Gradients, count: int) -> None:
        """Note a backward pass of a call."""
        followed = self._current
        if followed is None:
            return
        pairs = zip(call.places, gradients, strict=True)
        seeded = [name for name, gradient in pairs if gradient is not None]
        origin = followed.origin
        is_first = followed.call is call and not followed.tallies
        if not is_first or origin is None or len(seeded) != 1 or seeded[0] not in origin.names:
            self._followed = None
            return
        followed.seeded, followed.flop = origin.names.index(seeded[0]), count
        self._note(followed, "backward")

    def note_clip(self, name: str, programs: Sequence[TrainingProgram]) -> None:
        """Note that gradients of some programs have been clipped by a function."""
        followed = self._current
        if followed is not None and followed.tallies and [*programs] == [followed.call.program]:
            self._note(followed, name)
        else:
            self._followed = None

    def note_step(
        self, optimizer: torch.optim.Optimizer, programs: Sequence[TrainingProgram]
    ) -> None:
        """Note a step of an optimizer, which may be the second one that counts the same."""
        followed, self._followed = self._current, None
        if followed is None or followed.origin is None or not followed.tallies:
            return
        program = followed.call.program
        owner = self._repeats.known.get(followed.origin.module)
        if owner is not None and program is not None:
            owner.note(program)
        if [*programs] != [program] or not followed.flop or (owner and owner.is_over):
            return
        self._note(followed, "step")
        has_sent = any(tally.has_sent_parameters for _, tally in followed.tallies)
        if has_sent or self._host.num_calls != followed.num_host_calls:
            return
        capture, summary = followed.call.call.capture, followed.summary
        if self._summaries.get(capture) == summary:
            self._learn(followed, followed.origin, optimizer)
        self._summaries[capture] = summary

    def _note(self, followed: _Followed, name: str) -> None:
        """Note what a part of a step has counted."""
        program = followed.call.program
        before = None if program is None else followed.last or followed.before.get(program)
        if program is None or before is None:
            self._followed = None
            return
        followed.last = program.loaded.tally()
        followed.tallies.append((name, followed.last.since(before)))

    def _learn(
        self, followed: _Followed, origin: _Origin, optimizer: torch.optim.Optimizer
    ) -> None:
        """Let the next steps like one be repeated, if all that it depends on can be seen."""
        call, program, module = followed.call, followed.call.program, origin.module
        assert program is not None, "it has counted"  # invariant
        bound = call.call
        externals = (
            *bound.capture.parameters.values(),
            *(d.external for d in bound.capture.decided),
        )
        sources = _sources(followed.leaves, origin)
        depends = any(external.origin > Origin.PARAMETER for external in externals)
        if depends or sources is None or not {*call.wanted} <= bound.parameters.keys():
            return
        guards = origin.guarded.guards_of(
            {"module": module, "args": origin.args, "kwargs": origin.kwargs}
        )
        if guards is None:
            return
        trained = {n: tensor for n, tensor in bound.parameters.items() if n in program.by_name}
        owner = self._repeats.known.get(module)
        if owner is None:
            owner = KnownModule(module, [write.buffer for write in bound.written])
        known = KnownStep(
            guards=guards,
            trained=call.trained,
            program=program,
            capture=bound.capture,
            compute=call.compute_graph,
            sources=sources,
            seeded=followed.seeded,
            names=origin.names,
            look=followed.look,
            taken=followed.taken,
            cuts=find_cuts(trained),
            flop=followed.flop,
            optimizer=OptimizerLook.of(optimizer),
            version=self._optimizers.version,
            tallies=(*followed.tallies,),
            rows=call.num_rows,
        )
        others = [one for one in owner.steps if one.capture is not known.capture]
        owner.steps = [*others[1 - _MOST_STEPS :], known]
        owner.note(program)
        self._repeats.known[module] = owner


def _sources(leaves: Sequence[object], origin: _Origin) -> tuple[Source, ...] | None:
    """Return where the arguments of a graph come from; None: it cannot be seen."""
    given = {id(leaf): index for index, leaf in enumerate(leaves_of(origin.args, origin.kwargs))}
    held = {id(t) for t in (*origin.module.parameters(), *origin.module.buffers())}
    found: list[Source] = []
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor) or id(leaf) in held:
            found.append(Source(None, leaf))
        elif id(leaf) in given:
            found.append(Source(given[id(leaf)]))
        else:
            return None
    return (*found,)
