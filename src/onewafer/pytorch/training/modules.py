"""The state of a module in training: its programs, and what usually follows a call."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Protocol

from onewafer.errors import GraphError, TooLargeError, UnsupportedOperationError
from onewafer.execution import place_training
from onewafer.graph import num_samples, with_samples
from onewafer.mesh import FORWARD
from onewafer.pytorch.lowering.joined import part_sizes, tile_sizes
from onewafer.pytorch.lowering.nouns import noun_of
from onewafer.pytorch.programs import ModuleProgram
from onewafer.pytorch.training.calls import Programs
from onewafer.pytorch.training.losses import guess_loss
from onewafer.pytorch.training.pieces import find_cuts, names_of
from onewafer.pytorch.training.programs import Plan, TrainingProgram
from onewafer.pytorch.training.room import Room

if TYPE_CHECKING:
    from collections.abc import Collection

    from onewafer.arch import Architecture
    from onewafer.execution import Placed, ResidentProgram, WaferOptions
    from onewafer.graph import Gradients, Graph, Operation
    from onewafer.pytorch.captured import Capture
    from onewafer.pytorch.training.calls import TrainingCall
    from onewafer.pytorch.training.losses import Loss
    from onewafer.pytorch.training.optimizers import Optimizers, Step
    from onewafer.pytorch.training.places import ParameterPlaces

    _Key = tuple[object, ...]
    """The key of a program of a captured call."""

    class Load(Protocol):
        """Loads a program; takes why it is compiled, and whether it is the module's first one."""

        def __call__(self, placed: Placed, reason: str, *, is_first: bool) -> ResidentProgram:
            """Return the loaded program."""
            ...


_FIRST, _OTHER_ROWS = "the module is trained", "the module is trained with another number of rows"
_OTHER_LOSS, _OTHER_STEP = "another loss is taken", "the optimizer takes other steps"


class TrainedModule(Programs):
    """The programs that train one module."""

    def __init__(
        self,
        name: str,
        architecture: Architecture,
        options: WaferOptions,
        load: Load,
        *,
        optimizers: Optimizers,
        places: ParameterPlaces,
        guesses_loss: bool = True,
    ) -> None:
        """Take the wafer, the options and the loader of programs, and the session's optimizers.

        If it `guesses_loss`, the first call is expected to be followed by a loss, as that of a part
        of a module is not.
        """
        self.name = name
        self._architecture, self._options, self._load = architecture, options, load
        self._optimizers, self._places = optimizers, places
        self._placed: dict[Plan, tuple[Gradients, Placed] | UnsupportedOperationError] = {}
        self._programs: dict[Plan, TrainingProgram] = {}
        self.usual_loss: Loss | None = None
        """The loss that was taken last; None: none was, or the wafer does not have it."""
        self.takes_losses = True
        self.knows_loss = not guesses_loss
        """True if `usual_loss` is known, and not guessed."""
        self._known: weakref.WeakKeyDictionary[Capture, dict[_Key, TrainingProgram]] = (
            weakref.WeakKeyDictionary()
        )
        """Programs by capture and key of a call, found without comparing graphs."""
        self._inference: weakref.WeakKeyDictionary[Capture, ModuleProgram | None] = (
            weakref.WeakKeyDictionary()
        )
        """Capture of a call without gradients → the forward pass of a training program for it."""
        self._cut: weakref.WeakKeyDictionary[Capture, Capture] = weakref.WeakKeyDictionary()
        """Capture whose batch takes several launches → the same, cut into these."""
        self._room = Room(self._find, architecture, options)

    @property
    def programs(self) -> Collection[TrainingProgram]:
        return self._programs.values()

    def check(self, call: TrainingCall) -> None:
        """Raise UnsupportedOperationError if the wafer cannot train the module.

        A call whose batch does not fit a launch is cut into several.
        """
        if call.call.capture in self._cut:
            call.cut(self._cut[call.call.capture])
        loss = self.usual_loss_of(call)
        if self._known_of(call).get(self._key(call, loss)) is not None:
            return
        try:
            self._fit(call, loss)
        except UnsupportedOperationError as error:
            place = call.call.capture.place_of(error)
            raise UnsupportedOperationError(error.refusal.reason, place) from None

    def _fit(self, call: TrainingCall, loss: Loss | None) -> None:
        """Find a program for a call, in as few launches as its batch or its sequences fit into."""
        whole, plan = call.call.capture, self._plan(call, loss)
        try:
            self._find(plan)
        except TooLargeError as error:
            sizes = part_sizes(whole.graph)
            refusal = error
        else:
            return
        if whole.graph.is_sequence:
            self._fit_sequence(call, refusal, plan)
            return
        if not sizes or whole.sequences > 1:
            raise self._room.in_groups(refusal, plan)
        try:
            self._find_cut(call, whole, sizes[-1])
        except UnsupportedOperationError as error:
            refusal = self._room.in_groups(refusal, plan)
            if isinstance(error, TooLargeError):
                raise self._room.with_parts(refusal, error) from None
            raise self._room.with_smaller_batch(refusal, error, plan) from None
        for size in sizes:
            try:
                self._cut[whole] = self._find_cut(call, whole, size)
            except TooLargeError:
                continue
            return

    def _fit_sequence(self, call: TrainingCall, refusal: TooLargeError, plan: Plan) -> None:
        """Find a program for a call whose sequences take several launches, as few as possible."""
        whole = call.call.capture
        sizes = tile_sizes(whole.graph)
        low, found = 0, None
        high = len(sizes)
        try:
            while low < high:
                middle = (low + high) // 2
                cut = self._find_tiles(call, whole, sizes[middle])
                low, high, found = (low, middle, cut) if cut else (middle + 1, high, found)
        except UnsupportedOperationError as error:
            call.cut(whole)
            raise self._room.with_shorter_sequence(refusal, plan, error) from None
        if found is None:
            call.cut(whole)
            raise self._room.with_shorter_sequence(refusal, plan)
        call.cut(found)
        self._cut[whole] = found

    def _find_tiles(self, call: TrainingCall, whole: Capture, rows: int) -> Capture | None:
        """Cut the sequences of a call into launches of so many rows; None: they do not fit."""
        cut = whole.cut_sequences(rows)
        call.cut(cut)
        try:
            self._find(self._plan(call, None))
        except TooLargeError:
            return None
        return cut

    def _find_cut(self, call: TrainingCall, whole: Capture, size: int) -> Capture:
        """Cut a call into parts of so many samples, for which there is a program."""
        cut = whole.cut(size)
        call.cut(cut)
        self._find(self._plan(call, None))
        return cut

    def usual_loss_of(self, call: TrainingCall) -> Loss | None:
        return self.usual_loss if call.call.capture.sequences == 1 else None

    def usual_program(self, call: TrainingCall) -> TrainingProgram:
        loss = self.usual_loss_of(call) if self.knows_loss else None
        if not self.knows_loss and call.call.capture.sequences == 1:
            loss = guess_loss(call.call.graph, call.places)
        if loss is not None:
            try:
                return self.program(call, loss)
            except UnsupportedOperationError:
                pass  # the model is one that can be trained, with a loss of the host
        return self.program(call, None)

    def program(
        self, call: TrainingCall, loss: Loss | None, seeded: tuple[str, ...] | None = None
    ) -> TrainingProgram:
        known, key = self._known_of(call), self._key(call, loss, seeded)
        if key not in known:
            known[key] = self._program(self._plan(call, loss, seeded))
            for what in call.call.capture.on_host:
                known[key].loaded.note_on_host(what)
        return known[key]

    def _program(self, plan: Plan) -> TrainingProgram:
        if plan not in self._programs:
            gradients, placed = self._find(plan)
            is_first = not self._programs
            loaded = self._load(placed, self._reason(plan), is_first=is_first)
            self._programs[plan] = TrainingProgram(plan, gradients, loaded)
            self._known.clear()  # calls may be better off with the new one
            self._inference.clear()
        return self._programs[plan]

    def note_loss(self, loss: Loss | None) -> None:
        self.usual_loss, self.knows_loss = loss, True

    def note_other_gradients(self) -> None:
        self.takes_losses = False
        self.note_loss(None)

    def note_place(self, call: TrainingCall, program: TrainingProgram) -> None:
        bound = {n: tensor for n, tensor in call.call.parameters.items() if n in program.by_name}
        cuts = find_cuts(bound)
        for parameter, cut in cuts.items():
            self._places.note(parameter, program, cut)
        if program.plan.steps and not bound.keys() <= {*names_of(cuts.values())}:
            program.loaded.note_on_host("stepping parameters that weights are computed from")

    def inference_program(self, captured: Capture) -> ModuleProgram | None:
        """Return a program that computes a graph with the parameters of a training program.

        None: no program trains the same model, whatever its number of rows.
        """
        if captured not in self._inference:
            self._inference[captured] = self._find_inference(captured)
        return self._inference[captured]

    def _find_inference(self, captured: Capture) -> ModuleProgram | None:
        for plan, program in self._programs.items():
            cut = _cut_as(plan, captured)
            graph = captured.graph if cut is None else cut.graph
            has_all_rows = not graph.joins_rows or num_samples(graph) == plan.rows
            if has_all_rows and with_samples(graph, plan.rows) == plan.evaluated:
                launch, whole = program.launch_of(FORWARD), plan.graph
                return ModuleProgram(
                    program.loaded, graph=whole, launch=launch, ones=plan.drawn, cut=cut
                )
        return None

    def _known_of(self, call: TrainingCall) -> dict[_Key, TrainingProgram]:
        return self._known.setdefault(call.call.capture, {})

    def _key(
        self, call: TrainingCall, loss: Loss | None, seeded: tuple[str, ...] | None = None
    ) -> _Key:
        return call.wanted, loss, seeded, *self._stepped(call)

    def _stepped(self, call: TrainingCall) -> tuple[Step, ...]:
        """Return the steps of the optimizers that have the parameters of a call."""
        if call.steps is None:
            bound = {n: tensor for n, tensor in call.call.parameters.items() if n in call.wanted}
            cuts = find_cuts(bound)
            call.steps = self._optimizers.find({id(leaf): cut for leaf, cut in cuts.items()})
        return call.steps

    def _find(self, plan: Plan) -> tuple[Gradients, Placed]:
        if plan not in self._placed:
            try:
                gradients = plan.derive()
                placed = place_training(gradients, plan.trained, self._architecture, self._options)
                self._placed[plan] = gradients, placed
            except GraphError as error:
                self._placed[plan] = UnsupportedOperationError(str(error).splitlines()[-1].strip())
            except UnsupportedOperationError as error:
                self._placed[plan] = _blame(error, plan)
        found = self._placed[plan]
        if isinstance(found, UnsupportedOperationError):
            raise found.again()
        return found

    def _plan(
        self, call: TrainingCall, loss: Loss | None, seeded: tuple[str, ...] | None = None
    ) -> Plan:
        steps, graph = self._stepped(call), call.call.graph
        needs_all = graph.joins_rows or (loss is not None and loss.needs_all_rows)
        rows = self._choose_rows(graph, is_exact=needs_all)
        if loss is not None:
            seeded = ()
        elif seeded is None:
            seeded = call.usually_seeded()
        inputs = {tensor.name for tensor in graph.inputs}
        factors = (one.name for one in call.call.capture.drawn if one.is_factor)
        drawn = (*(name for name in factors if name in inputs),)
        tiles = call.call.capture.tiles
        context = graph.inputs[0].shape[0] * tiles if tiles > 1 else None
        plan = Plan(with_samples(graph, rows), call.wanted, loss, steps, seeded, drawn, context)
        more = (known for known in self._programs if known.gives_more_than(plan))
        return max(more, key=lambda known: len(known.wanted), default=plan)

    def _choose_rows(self, graph: Graph, *, is_exact: bool) -> int:
        """Return the rows of a launch: those of a program that there is, or a power of two."""
        rows = num_samples(graph)
        if is_exact:
            return rows
        known = {
            plan.rows for plan in self._programs if with_samples(graph, plan.rows) == plan.graph
        }
        return min(
            (count for count in known if count >= rows), default=1 << (rows - 1).bit_length()
        )

    def _reason(self, plan: Plan) -> str:
        others = [other for other in self._programs if other.wanted == plan.wanted]
        if not others:
            return _FIRST
        if all(other.graph != plan.graph for other in others):
            return _OTHER_ROWS
        return _OTHER_LOSS if all(other.loss != plan.loss for other in others) else _OTHER_STEP


def _cut_as(plan: Plan, captured: Capture) -> Capture | None:
    """Return a capture of sequences cut as a plan does it; None: as it is."""
    graph = captured.graph
    if plan.context is None or not graph.is_sequence or graph.inputs[0].shape[0] != plan.context:
        return None
    try:
        return captured.cut_sequences(plan.graph.inputs[0].shape[0])
    except UnsupportedOperationError:
        return None


def _blame(error: UnsupportedOperationError, plan: Plan) -> UnsupportedOperationError:
    """Return an error that blames the operation of the model whose gradient is refused."""
    gradients = plan.derive()
    backward = gradients.graph.operations[gradients.num_forward :]
    refused = next((one for one in backward if one.result.name == error.result), None)
    if refused is None:
        return error.again()
    kind, read = type(refused).__name__, {*refused.activation_operands}
    for operation in reversed(plan.graph.operations):
        is_of_kind = kind.startswith(type(operation).__name__)
        if is_of_kind and not read.isdisjoint((operation.result.name, *_operands(operation))):
            reason = error.refusal.reason.replace(kind, f"the gradient of {noun_of(operation)}")
            blamed = UnsupportedOperationError(reason)
            blamed.result = operation.result.name
            return blamed
    return error.again()


def _operands(operation: Operation) -> tuple[str, ...]:
    return (*operation.activation_operands, *operation.parameter_operands)
