"""A graph under construction: declares tensors, appends operations, settles layouts."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch.utils import _pytree as pytree

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import DataType, FirstRow, Graph, LastRow, Tensor
from onewafer.pytorch.lowering.lines import trace_of
from onewafer.pytorch.lowering.narrowing import Narrowing, narrow
from onewafer.pytorch.lowering.operands import (
    Decision,
    External,
    FormError,
    Operand,
    Origin,
    Value,
    derive,
    see,
    see_in_order,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch.fx import Node
    from torch.fx.node import Target

    from onewafer.errors import SourceLine
    from onewafer.graph import Operation
    from onewafer.pytorch.lowering.drawn import RandomInput
    from onewafer.pytorch.lowering.joined import JoinedLoss
    from onewafer.pytorch.lowering.lines import Trace
    from onewafer.pytorch.lowering.operands import Form

    Indices = NDArray[np.int64]

NOTHING = "nothing in it is for the wafer to compute"

FORMATS = {torch.float32: DataType.F32, torch.float16: DataType.F16}
"""PyTorch dtypes that the wafer computes in."""
INDICES = (torch.int64, torch.int32)
"""PyTorch dtypes of indices into a table."""


_ROWS_IN_ANOTHER_ORDER = (
    "samples and tokens change places (a transpose), as in `nn.MultiheadAttention` and "
    "`nn.TransformerEncoder` with `batch_first=False` and several sequences; use "
    "`batch_first=True`, or pass one sequence at a time"
)


def _is_transposed(rows: Indices) -> bool:
    """Tell whether row numbers go through a matrix of numbers column by column."""
    step = int(rows[1]) if len(rows) > 1 else 0
    if step < 1 or len(rows) % step:
        return False
    return bool((rows.reshape(step, -1).T.reshape(-1) == np.arange(len(rows))).all())


def to_rows(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (rows, features) of a PyTorch shape.

    >>> to_rows((4, 3, 64)), to_rows((64,))
    ((12, 64), (1, 64))
    """
    return math.prod(shape[:-1]), shape[-1]


@dataclass(slots=True)
class GraphWriter:
    """A graph under construction."""

    name: str
    dtype: DataType | None
    """None: that of the tensors, which must then have one."""
    for_counts: bool = False
    """True if the graph is only counted: it may then have `Opaque` operations."""
    keeps_order: bool = False
    """True if arguments are sent with their rows in the order that they have in memory, though
    the module looks at them in another."""
    has_other_order: bool = False
    """True if an operation was refused since its samples and tokens have changed places."""
    inputs: dict[str, External] = field(default_factory=dict[str, External])
    """Graph input → a tensor of its shape."""
    parameters: dict[str, External] = field(default_factory=dict[str, External])
    decided: dict[int, Decision] = field(default_factory=dict[int, Decision])
    """By identity, host tensors for whose elements the graph was specialised."""
    on_host: list[str] = field(default_factory=list[str])
    """The work of the host on an argument before the wafer begins."""
    sequences: int | None = None
    """How many sequences the rows are, one after the other; None: no operation has asked."""
    joined: Mapping[str, JoinedLoss] = field(default_factory=dict[str, "JoinedLoss"])
    """Output that is a loss of each launch → how these are joined."""
    divisors: dict[str, External] = field(default_factory=dict[str, External])
    """Output that is a loss → the host's divisor of it."""
    drawn: list[RandomInput] = field(default_factory=list["RandomInput"])
    """The draws of a call, in this order, whether the result needs them or not."""
    samples: int | None = None
    """The number of samples whose feature maps the rows are; None: there are no feature maps."""
    node: Node | None = None
    """The call that is being lowered."""
    converts: bool = field(init=False)
    _formats: dict[torch.dtype, str] = field(default_factory=dict[torch.dtype, str])
    """Format → the first tensor that has it."""
    _declared: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    _operations: dict[str, Operation] = field(default_factory=dict[str, "Operation"])
    """By the name of the result, in their order."""
    traces: dict[str, Trace] = field(default_factory=dict[str, "Trace"])
    """Result → the source of its call."""
    _outputs: list[str] = field(default_factory=list[str])
    _derived: dict[tuple[object, ...], External | tuple[External, ...] | None] = field(
        default_factory=dict[tuple[object, ...], "External | tuple[External, ...] | None"]
    )
    """Results of the host, by operation and operands; all are kept alive, so that ids hold."""
    _computed: dict[int, tuple[Form, Value]] = field(
        default_factory=dict[int, tuple["Form", Value]]
    )
    """Forms, by identity, that were computed."""
    _selected: dict[tuple[str, tuple[int, ...]], Tensor] = field(
        default_factory=dict[tuple[str, tuple[int, ...]], Tensor]
    )

    def __post_init__(self) -> None:
        """Note whether the user chose the format, to which every tensor is then converted."""
        self.converts = self.dtype is not None

    # --- from operands to tensors ------------------------------------------------------------

    def value(self, operand: Operand) -> Value:
        """Return an operand as a value; an external one becomes an input."""
        match operand:
            case Value():
                return operand
            case External():
                return self._input(operand)
            case _ if id(operand) in self._computed:
                return self._computed[id(operand)][1]
            case _:
                value = write(operand, self)
                self._computed[id(operand)] = operand, value
                return value

    def rows(self, operand: Operand) -> Tensor:
        """Return an operand as a matrix whose features are the last dimension."""
        value = self.value(operand)
        dimensions = range(len(value.shape))
        return self.matrix(value, dimensions[:-1], dimensions[-1:])

    def matrix(self, value: Value, rows: Sequence[int], features: Sequence[int]) -> Tensor:
        """Return a value as a matrix that has some of its dimensions as rows, others as features.

        What the layout leaves out is left out of the operations that compute the value.
        """
        if value.is_wide:
            msg = "a float32 step in a float16 model is not supported"
            raise UnsupportedOperationError(msg)
        num_rows, num_features = value.tensor.shape
        first_row, first_feature = divmod(value.layout.offset, num_features)
        row_steps = value.layout.steps(*rows)
        taken_features = value.layout.steps(*features) + first_feature
        if (row_steps % num_features).any() or taken_features.max() >= num_features:
            want = len(row_steps), len(taken_features)
            msg = f"rearranging {value.tensor.shape} to {want} (a transpose) is not supported here"
            raise UnsupportedOperationError(msg)
        tensor = self._select_features(value.tensor, taken_features)
        return self._take_rows(tensor, row_steps // num_features + first_row, num_rows)

    def whole(self, value: Value) -> Value:
        """Return a value whose layout has every element of its matrix once."""
        pieces = sorted(
            (stride, size) for pieces in value.layout.dimensions for size, stride in pieces
        )
        expected = 1
        for stride, size in pieces:
            if stride != expected:
                return self._extract(value)
            expected *= size
        return value if expected == value.tensor.num_elements else self._extract(value)

    def own(self, value: Value) -> Value:
        """Return a value as a matrix without superfluous elements, if it can be one."""
        try:
            return replace(self.whole(replace(value, is_wide=False)), is_wide=value.is_wide)
        except UnsupportedOperationError:
            return value

    def _extract(self, value: Value) -> Value:
        """Return a part of a matrix as a matrix of its own."""
        is_row = [value.goes_over_rows(index) for index in range(len(value.shape))]
        rows = [index for index, row in enumerate(is_row) if row]
        features = [index for index, row in enumerate(is_row) if not row]
        tensor = self.matrix(value, rows, features)
        return see_in_order(tensor, value.shape, rows + features)

    def _input(self, external: External) -> Value:
        if not external.shape:
            raise UnsupportedOperationError("a tensor without dimensions is not supported")
        shape = to_rows(external.shape)
        name = f"{external.name}__{shape[1]}"
        rows = self.view(external, name, torch.ops.aten.reshape.default, shape)
        tensor = self._declare(name, rows)
        self.inputs[name] = rows
        return see(tensor, external.shape)

    def draw(self, drawn: RandomInput) -> Tensor:
        """Declare an input that is drawn anew in every call."""
        like = External(drawn.name, torch.ones(drawn.matrix), Origin.DATA)
        tensor = self._declare(drawn.name, like)
        self.inputs[drawn.name] = like
        self.drawn.append(drawn)
        if drawn.work not in self.on_host:
            self.on_host.append(drawn.work)
        return tensor

    def indices(self, external: External) -> Tensor:
        """Return an argument as indices of rows, one a row."""
        name = f"{external.name}__1"
        shape = (external.tensor.numel(), 1)
        rows = self.view(external, name, torch.ops.aten.reshape.default, shape)
        if external.tensor.dtype not in INDICES:
            raise UnsupportedOperationError(
                f"indices of dtype {external.tensor.dtype} are not supported"
            )
        _check_shape(name, rows.shape)
        self.inputs[name] = rows
        return self._declared.setdefault(name, Tensor(name, shape, DataType.I32))

    def found_indices(self, value: Value) -> Tensor:
        """Return indices that the wafer has found as indices of rows, one a row."""
        tensor, steps = value.tensor, value.layout.steps(*range(len(value.shape)))
        is_whole = len(steps) == tensor.shape[0] and (steps == np.arange(len(steps))).all()
        if tensor.dtype is not DataType.I32 or tensor.shape[1] != 1 or not is_whole:
            raise UnsupportedOperationError(
                "indices that are a part of what topk or argmax gives are not supported"
            )
        return tensor

    def note_sequences(self, sequences: int) -> None:
        """Note of how many sequences the rows of an operation are, or refuse it."""
        if self.sequences not in (None, sequences):
            msg = f"it works on {sequences} sequences, the operations before on {self.sequences}"
            raise UnsupportedOperationError(msg)
        self.sequences = sequences

    def note_samples(self, samples: int) -> None:
        """Note the number of samples of an operation on feature maps; refuse another one."""
        if self.samples not in (None, samples):
            msg = f"it works on {samples} samples, the operations before on {self.samples}"
            raise UnsupportedOperationError(msg)
        self.samples = samples

    # --- parameters --------------------------------------------------------------------------

    def parameter(self, operand: Operand, what: str) -> Tensor:
        """Return an operand as a parameter that stays on the wafer."""
        if not isinstance(operand, External):
            msg = f"a {what} that the module computes is not supported; it must be a parameter"
            raise UnsupportedOperationError(msg)
        name = operand.name
        while self.parameters.setdefault(name, operand) is not operand:
            name += "_"  # a view of another has the name of this one
        return self._declare(name, operand)

    def derive(
        self, name: str, target: Target, *args: object, **kwargs: object
    ) -> External | tuple[External, ...] | None:
        """Apply a host operation to externals; equal operations are computed once."""
        leaves, structure = pytree.tree_flatten((args, kwargs))
        key = target, str(structure), *(_identify(leaf) for leaf in cast("list[object]", leaves))
        if key not in self._derived:
            self._derived[key] = derive(name, target, *args, **kwargs)
        return self._derived[key]

    def filled(self, number: float, size: int) -> External:
        """Return a vector of one number, for a weight or bias that a call leaves out."""
        name = f"{size}_times_{number:g}"
        return self.tensor(name, torch.full, (size,), number, dtype=self.format)

    def tensor(self, name: str, target: Target, *args: object, **kwargs: object) -> External:
        """Apply a host operation that gives one tensor, as `derive` does."""
        found = self.derive(name, target, *args, **kwargs)
        assert isinstance(found, External), "the operation gives one tensor"  # invariant
        return found

    def view(self, external: External, name: str, target: Target, *args: object) -> External:
        """Apply a host operation that gives one tensor to an external."""
        return self.tensor(name, target, external, *args)

    def decide(self, external: External) -> torch.Tensor:
        """Return the elements of a host tensor, and specialise the graph for them."""
        if external.origin is Origin.DATA:
            raise UnsupportedOperationError(
                f"it depends on the elements of the argument {external.name!r}"
            )
        if external.origin is not Origin.CONSTANT:
            found = Decision(external, external.tensor.detach().clone())
            self.decided.setdefault(id(external), found)
        return external.tensor

    # --- parts of matrices -------------------------------------------------------------------

    def _take_rows(self, tensor: Tensor, rows: Indices, num_rows: int) -> Tensor:
        if len(rows) == num_rows and (rows == np.arange(num_rows)).all():
            return tensor
        sequences = len(rows)
        length = num_rows // sequences
        starts = np.arange(sequences) * length
        is_first = bool((rows == starts).all())
        if num_rows % sequences or not (is_first or (rows == starts + length - 1).all()):
            if sequences == num_rows and _is_transposed(rows):
                self.has_other_order = True
                raise UnsupportedOperationError(_ROWS_IN_ANOTHER_ORDER)
            msg = (
                "taking other tokens of a computed sequence than the first or last is not supported"
            )
            raise UnsupportedOperationError(msg)
        self.note_sequences(sequences)
        kind, place = (FirstRow, "first") if is_first else (LastRow, "last")
        name = f"{tensor.name}_{place}_row"
        if name not in self._operations:
            self.emit(kind(self.result(name, sequences, tensor.shape[1]), tensor.name))
        return self._operations[name].result

    def _select_features(self, tensor: Tensor, features: Indices) -> Tensor:
        """Return a matrix with some features of another, in their order."""
        if len(features) == tensor.shape[1] and (features == np.arange(len(features))).all():
            return tensor
        if len(np.unique(features)) < len(features):
            raise UnsupportedOperationError(
                "repeating elements of a computed tensor is not supported"
            )
        key = tensor.name, tuple(features.tolist())
        if key not in self._selected:
            self._selected[key] = self._select(tensor, features)
        return self._selected[key]

    def _select(self, tensor: Tensor, features: Indices) -> Tensor:
        """Compute only some features: leave out the others from the last operations."""
        name = f"{tensor.name}_{_describe(features)}"
        if tensor.name in self.inputs:
            rows = self._index(self.inputs[tensor.name], name, 1, features)
            self.inputs[name] = rows
            return self._declare(name, rows)
        result = self.result(name, tensor.shape[0], len(features))

        def part(operand: str) -> str:
            return self._select_features(self.find(operand), features).name

        def stored(parameter: str) -> str:
            new = f"{parameter}_{_describe(features)}"
            return self.parameter(
                self._index(self.parameters[parameter], new, 0, features), "weight"
            ).name

        self.emit(narrow(self._operations[tensor.name], Narrowing(result, part, stored)))
        return result

    def _index(self, external: External, name: str, dimension: int, indices: Indices) -> External:
        start, stop = int(indices[0]), int(indices[-1]) + 1
        if len(indices) == stop - start and (np.diff(indices) == 1).all():
            aten = torch.ops.aten
            return self.view(external, name, aten.slice.Tensor, dimension, start, stop)
        index = torch.tensor(indices.tolist())
        return self.view(external, name, torch.index_select, dimension, index)

    # --- writing -----------------------------------------------------------------------------

    def emit(self, operation: Operation) -> None:
        """Append an operation; refuse one that computes with indices."""
        for name in operation.activation_operands:
            is_index = self.find(name).dtype is DataType.I32
            if is_index and name in operation.number_operands:
                msg = "computing with indices from topk or argmax is not supported, but for lookups"
                raise UnsupportedOperationError(msg)
        self._operations[operation.result.name] = operation
        trace = None if self.node is None else trace_of(self.node)
        if trace is not None:
            self.traces[operation.result.name] = trace

    def place_of(self, result: str) -> SourceLine | None:
        """Return the user's line that a result comes from, if it is known."""
        trace = self.traces.get(result)
        return None if trace is None else trace.line()

    @property
    def format(self) -> torch.dtype:
        """PyTorch's name of the graph's number format."""
        (found,) = (mine for mine, theirs in FORMATS.items() if theirs is self.dtype)
        return found

    def find(self, name: str) -> Tensor:
        """Return an input or a result by its name."""
        operation = self._operations.get(name)
        return self._declared[name] if operation is None else operation.result

    def producer(self, tensor: Tensor) -> Operation | None:
        """Return the operation that a result comes from; None for an input."""
        return self._operations.get(tensor.name)

    def result(self, name: str, rows: int, features: int) -> Tensor:
        """Return the tensor for a new result, with a name like the given one."""
        assert self.dtype is not None, "operands were declared before"  # invariant
        _check_shape(name, (rows, features))
        taken, number = name, 1
        while taken in self._operations or taken in self._declared:
            number += 1
            taken = f"{name}_{number}"
        return Tensor(taken, (rows, features), self.dtype)

    def add_output(self, name: str) -> None:
        """Make a result an output of the graph."""
        if name not in self._outputs:
            self._outputs.append(name)

    def live_graph(self) -> Graph:
        """Return what the outputs need, without parameters; forget inputs that nothing reads.

        Refuse a graph that computes nothing.
        """
        needed, live = {*self._outputs}, list["Operation"]()
        for operation in reversed(self._operations.values()):
            if operation.result.name in needed:
                live.append(operation)
                needed |= {*operation.activation_operands}
        if not live:
            raise UnsupportedOperationError(NOTHING)
        self.inputs = {name: tensor for name, tensor in self.inputs.items() if name in needed}
        inputs = tuple(self._declared[name] for name in self.inputs)
        return Graph(self.name, inputs, (), tuple(live[::-1]), tuple(self._outputs))

    def with_parameters(self, graph: Graph) -> Graph:
        """Return a graph with the parameters that it reads, and forget all others."""
        stored = {name for operation in graph.operations for name in operation.parameter_operands}
        self.parameters = {n: tensor for n, tensor in self.parameters.items() if n in stored}
        parameters = tuple(self._declared[name] for name in self.parameters)
        return replace(graph, parameters=parameters)

    def _declare(self, name: str, external: External) -> Tensor:
        tensor = external.tensor
        if tensor.dtype not in FORMATS:
            msg = f"{name!r} has dtype {tensor.dtype}; the wafer computes in float32 and float16"
            raise UnsupportedOperationError(msg)
        if tensor.is_meta or tensor.layout != torch.strided:
            raise UnsupportedOperationError(
                f"{name!r} is a meta or sparse tensor; the wafer takes plain ones"
            )
        _check_shape(name, external.shape)
        if external.step is None or tensor.dtype in external.formats():
            self._formats.setdefault(tensor.dtype, name)
        if not self.converts and len(self._formats) > 1:
            (one, first), (other, second) = self._formats.items()
            msg = f"{first!r} is {one} and {second!r} is {other}; choose one format with --dtype"
            raise UnsupportedOperationError(msg)
        if self.dtype is None:
            self.dtype = FORMATS[tensor.dtype]
        return self._declared.setdefault(name, Tensor(name, external.shape, self.dtype))


@singledispatch
def write(form: Form, writer: GraphWriter) -> Value:
    """Compute a form by operations; the file of a form registers how, by its class."""
    del writer
    raise FormError(form)


def _identify(leaf: object) -> tuple[type, object]:
    """Return what tells an argument of an operation from others."""
    match leaf:
        case External():
            return External, id(leaf)
        case float():
            return float, leaf.hex()  # zeros have signs
        case _:
            return type(leaf), leaf


def _describe(features: Indices) -> str:
    """Return a name for some features, which tells them apart from others.

    >>> _describe(np.array([4, 5, 6]))
    '4_to_6'
    """
    if (np.diff(features) == 1).all():
        return f"{features[0]}_to_{features[-1]}"
    digest = zlib.crc32(features.tobytes())
    return f"{features[0]}_and_{len(features) - 1}_more_{digest:08x}"


def _check_shape(name: str, shape: tuple[int, ...]) -> None:
    if 0 in shape:
        raise UnsupportedOperationError(f"{name!r} is empty: it has shape {shape}")
