"""Follow passes, clipping and steps: what has counted the same twice becomes known."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from onewafer.pytorch.lowering import Origin
from onewafer.pytorch.training.known import (
    Deed,
    KnownModule,
    KnownPass,
    KnownStep,
    LossSignature,
    OptimizerSignature,
    Source,
    leaves_of,
)
from onewafer.pytorch.training.pieces import find_cuts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from onewafer.execution import Tally
    from onewafer.pytorch.captured import Capture
    from onewafer.pytorch.guarded import GuardedCall
    from onewafer.pytorch.training.calls import Gradients, LossOfCall, TakenLoss, TrainingCall
    from onewafer.pytorch.training.known import Rows
    from onewafer.pytorch.training.optimizers import Optimizers
    from onewafer.pytorch.training.programs import TrainingProgram
    from onewafer.pytorch.training.repeats import Repeats

_MOST = 8
"""The most passes or steps of one module that are known, as for several numbers of rows."""


@dataclass(slots=True, eq=False)
class _Origin:
    """The call of a module by the script, of which a captured call was made."""

    module: torch.nn.Module
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    guarded: GuardedCall
    names: tuple[str | None, ...]


@dataclass(slots=True, eq=False)
class _Followed:
    """A pass that is followed."""

    call: TrainingCall
    leaves: Sequence[object]
    """The arguments of its graph."""
    before: Mapping[TrainingProgram, Tally]
    num_refused: int
    version: int
    """`Repeats.version` when it began."""
    origin: _Origin | None = None
    signature: LossSignature | None = None
    taken: TakenLoss | None = None
    criterion: weakref.ref[torch.nn.Module] | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """The moment before gradients are clipped or a step is taken on some programs."""

    rows: Rows
    tallies: tuple[Tally, ...]
    num_refused: int


class Following:
    """Passes, clipping and steps that a session follows until they are known."""

    def __init__(self, repeats: Repeats, optimizers: Optimizers) -> None:
        """Take the repeats and the optimizers of a session."""
        self._repeats, self._optimizers = repeats, optimizers
        self.num_refused = 0
        """How often the wafer has left something to the host."""
        self._summaries: weakref.WeakKeyDictionary[object, dict[object, object]] = (
            weakref.WeakKeyDictionary()
        )
        """The counts of the last passes with a capture, or of the last steps of an optimizer."""
        self._followed: _Followed | None = None
        self._last: tuple[weakref.ref[Capture], TrainingProgram] | None = None
        """The capture and the program of the last pass that was looked at."""

    # --- passes ----------------------------------------------------------------------------------

    @property
    def _current(self) -> _Followed | None:
        """The pass that is followed, unless something else has come between."""
        followed = self._followed
        return followed if followed and followed.version == self._repeats.version else None

    def watch(self, call: TrainingCall, leaves: Sequence[object]) -> None:
        """Begin to follow a pass at its call, whose graph has these arguments."""
        before = {program: program.loaded.tally() for program in call.trained.programs}
        version = self._repeats.version
        self._followed = _Followed(call, leaves, before, self.num_refused, version)

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
        signature = LossSignature.of(kind, args, options)
        if taken.call is not followed.call or taken.source is not None or signature is None:
            self._followed = None
            return
        followed.signature, followed.taken = signature, taken.taken

    def note_criterion(self, module: torch.nn.Module) -> None:
        """Note the module without parameters whose call has taken the loss."""
        followed = self._current
        if followed is not None and followed.signature is not None:
            followed.criterion = weakref.ref(module)

    def note_backward(
        self, call: TrainingCall, gradients: Gradients, count: int, *, adds: bool
    ) -> None:
        """Note the backward pass of a call: the host has computed so many FLOP.

        It `adds` to gradients that are on the wafer, or begins anew.
        """
        followed, self._followed = self._current, None
        if followed is None or followed.call is not call:
            self._forget(call)
            return
        if followed.origin is None:
            return
        program, origin = call.program, followed.origin
        owner = self._repeats.known.get(origin.module)
        if program is None or program not in followed.before or (owner and owner.is_over):
            return
        if owner is not None:
            owner.note(program)
        tally = program.loaded.tally().since(followed.before[program])
        pairs = zip(call.places, gradients, strict=True)
        seeded = [name for name, gradient in pairs if gradient is not None]
        is_seen = len(seeded) == 1 and seeded[0] in origin.names and count > 0
        if not is_seen or not self._is_alone(tally, followed.num_refused):
            return
        key, index = call.call.capture, origin.names.index(seeded[0])
        self._last = weakref.ref(key), program
        if self._is_second(key, adds, (followed.signature, index, count, tally)):
            deeds = {adds: Deed(((program, tally),))}
            self._learn_pass(followed, origin, deeds, seeded=index, flop=count)

    def _forget(self, call: TrainingCall) -> None:
        """Forget the counts of passes: another call came between a call and its backward pass.

        Two calls of one module then go back together, and the last of them looks like a pass of its
        own.
        """
        self._summaries.pop(call.call.capture, None)
        capture, program = self._last or (None, None)
        last = capture and capture()
        if last is not None and program is call.program:
            self._summaries.pop(last, None)

    def _learn_pass(
        self,
        followed: _Followed,
        origin: _Origin,
        deeds: dict[bool, Deed],
        *,
        seeded: int,
        flop: int,
    ) -> None:
        """Make a pass known, if everything that it depends on can be compared."""
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
        with torch.enable_grad():  # as it was in the call; now the backward pass runs
            guards = origin.guarded.guards_of(
                {"module": module, "args": origin.args, "kwargs": origin.kwargs}
            )
        if guards is None:
            return
        trained = {n: tensor for n, tensor in bound.parameters.items() if n in program.by_name}
        owner = self._repeats.known.get(module)
        if owner is None:
            owner = KnownModule(module, [write.buffer for write in bound.written])
        known = KnownPass(
            guards=guards,
            computation=guards.computation(),
            trained=call.trained,
            program=program,
            capture=bound.capture,
            compute=call.compute_graph,
            sources=sources,
            seeded=seeded,
            names=origin.names,
            signature=followed.signature,
            taken=followed.taken,
            criterion=followed.criterion,
            cuts=find_cuts(trained),
            flop=flop,
            version=self._optimizers.version,
            rows=call.num_rows,
            deeds=deeds,
        )
        for other in owner.passes:
            if other.goes_as(known):
                known.deeds = {**other.deeds, **known.deeds}
        others = [one for one in owner.passes if one.capture is not known.capture]
        owner.passes = [*others[1 - _MOST :], known]
        owner.note(program)
        self._repeats.known[module] = owner

    # --- clipping, and steps ---------------------------------------------------------------------

    def begin(self, programs: Iterable[TrainingProgram]) -> Event:
        """Begin to follow clipping or a step, for the gradients of some programs."""
        rows = (*((program, program.rows_since_step) for program in programs),)
        tallies = (*(program.loaded.tally() for program, _ in rows),)
        return Event(rows, tallies, self.num_refused)

    def note_clip(self, name: str, event: Event) -> None:
        """Note that all gradients of some programs have been clipped by a function."""
        deed, owner = self._deed(event), self._repeats.owner_of(event.rows)
        if deed is None or not event.rows:
            return
        key = name, event.rows
        if self._is_second(event.rows[0][0], key, deed.tallies) and owner is not None:
            owner.clips = {**dict([*owner.clips.items()][1 - _MOST :]), key: deed}

    def note_step(
        self,
        optimizer: torch.optim.Optimizer,
        event: Event,
        parameters: Iterable[torch.nn.Parameter],
    ) -> None:
        """Note a step of an optimizer, which has changed these parameters on the wafer."""
        deed, owner = self._deed(event), self._repeats.owner_of(event.rows)
        for program, _ in event.rows:
            self._repeats.note(program)
        if deed is None or not self._is_second(optimizer, event.rows, deed.tallies):
            return
        if owner is None:
            return
        deed.is_step = any(rows for _, rows in event.rows)
        stepped = (*parameters,)
        known = KnownStep(OptimizerSignature.of(optimizer, stepped), event.rows, stepped, deed)
        others = [one for one in owner.steps if not known.takes_place_of(one)]
        owner.steps = [*others[1 - _MOST :], known]

    def _deed(self, event: Event) -> Deed | None:
        """Return the counts since an event began; None: it cannot be repeated."""
        found = [
            (program, program.loaded.tally().since(before))
            for (program, _), before in zip(event.rows, event.tallies, strict=True)
        ]
        is_alone = all(self._is_alone(tally, event.num_refused) for _, tally in found)
        return Deed((*found,)) if is_alone else None

    def _is_alone(self, tally: Tally, num_refused: int) -> bool:
        """Tell whether nothing was sent, and the wafer has refused nothing."""
        return not tally.has_sent_parameters and self.num_refused == num_refused

    def _is_second(self, of: object, key: object, summary: object) -> bool:
        """Tell whether something has counted the same the last time, too."""
        summaries = self._summaries.setdefault(of, {})
        is_second = summaries.get(key) == summary
        if len(summaries) > _MOST:
            summaries.clear()
        summaries[key] = summary
        return is_second


def _sources(leaves: Sequence[object], origin: _Origin) -> tuple[Source, ...] | None:
    """Return the sources of a graph's arguments; None: one of them is unknown."""
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
