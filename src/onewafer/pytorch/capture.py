"""From a module call to a `graph`: what is computed, with which tensors, and how results go back.

In: a module and the arguments of one call. Out: a `Capture`, which `bind` joins with the tensors of
this call or another one, or UnsupportedOperationError with the operation and the reason. Unknown
here: rectangles, buckets, devices; and for how long a capture holds, which `guarded` says.

Every tensor of the graph has two dimensions, (rows, features): all but the last dimension of the
PyTorch tensor are rows. Views that keep this form cost nothing; views of inputs and of results are
taken on the host, where they cost nothing either.
"""

from __future__ import annotations

import traceback
import warnings
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.amp import autocast_mode
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils import _pytree as pytree

from onewafer.errors import SourceLine, UnsupportedOperationError
from onewafer.graph import (
    CrossEntropy,
    DataType,
    Graph,
    GraphError,
    NegativeLogLikelihood,
    ScriptName,
    num_samples,
    table_rows,
    verify_graph,
)
from onewafer.pytorch.call_checks import check_call
from onewafer.pytorch.captured import Capture, CapturedCall, HostResult, WaferResult
from onewafer.pytorch.cuda.tensors import unmarked
from onewafer.pytorch.effects import without_effects
from onewafer.pytorch.elements import Observer
from onewafer.pytorch.lowering import (
    External,
    GraphWriter,
    Origin,
    finish,
    lower,
    take_dropout_out_of_place,
    value_of,
    write_opaque,
)
from onewafer.pytorch.lowering.nouns import noun_of
from onewafer.pytorch.names import name_of_module
from onewafer.pytorch.places import Owner, owner_of, users_place
from onewafer.pytorch.program_flop import count_program_flop
from onewafer.pytorch.refusals import (
    OutsideTableError,
    RefusedError,
    find_refused_parts,
)
from onewafer.pytorch.structure import copy_structure
from onewafer.pytorch.tracing import tracing_alone, tracing_quietly
from onewafer.pytorch.written import Written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch.export import ExportedProgram
    from torch.fx import Node

    from onewafer.pytorch.lowering import Operands, Value


DRAWS = "it draws random numbers; if dropout does, call model.eval()"
"""The reason to refuse a call that needs no gradient."""
_ENTER_AUTOCAST, _EXIT_AUTOCAST = (
    vars(autocast_mode)[name]  # no public name
    for name in ("_enter_autocast", "_exit_autocast")
)


def capture(
    module: torch.nn.Module,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    *,
    dtype: DataType | None = None,
    for_counts: bool = False,
) -> CapturedCall:
    """Return the call `module(*args, **kwargs)` as a graph with its tensors.

    `dtype` is the number format on the wafer; None keeps the module's. A graph `for_counts` has
    `Opaque` operations where others are refused: it says what a call costs. The module must not
    have been called yet: export runs its Python code once. What this code does besides computing
    with tensors is undone, and a reason to refuse the call, unless it is only counted. Other
    threads may call the module meanwhile.
    """
    check_call(module, args, kwargs)
    if type(module).__call__ is not torch.nn.Module.__call__ and not isinstance(
        module, torch.fx.GraphModule
    ):
        raise UnsupportedOperationError("its class overrides `__call__`, which would run twice")
    stand_in = copy_structure(module)
    with without_effects(stand_in, are_allowed=for_counts):
        leaves = pytree.tree_leaves((args, dict(kwargs)))
        program = _export(stand_in, args, kwargs)
        operands = _bind_placeholders(program, stand_in, leaves)
        captured = _read(program, operands, type(stand_in).__name__, dtype, for_counts=for_counts)
        if captured.drawn and not for_counts:
            raise UnsupportedOperationError(DRAWS)
        return captured.bind(leaves)


def capture_graph(
    graph_module: torch.fx.GraphModule,
    args: Sequence[object],
    owner: torch.nn.Module,
    *,
    dtype: DataType | None = None,
) -> Capture:
    """Return the capture of a graph of tensor operations, whose arguments are its leaves.

    Such a graph has no state and no effects. `owner` is the module that it comes from, whose names
    its arguments get where they are its parameters and buffers.
    """
    _drop_idle_autocast(graph_module, args)
    of_module = _positions_of_module(graph_module)  # export forgets the names of arguments
    program = _export(graph_module, tuple(args), {})
    operands = _bind_placeholders(program, owner, args, of_module=of_module)
    return _read(program, operands, name_of_module(owner), dtype)


def _drop_idle_autocast(graph_module: torch.fx.GraphModule, args: Sequence[object]) -> None:
    """Take out autocast for devices that no argument is on."""
    tensors = [unmarked(arg) for arg in args if isinstance(arg, torch.Tensor)]
    devices = {"cpu"} | {tensor.device.type for tensor in tensors}
    for node in reversed([*graph_module.graph.nodes]):
        entered = node.args[0] if node.target is _EXIT_AUTOCAST else node
        is_autocast = isinstance(entered, torch.fx.Node) and entered.target is _ENTER_AUTOCAST
        if is_autocast and entered.args[0] not in devices:
            graph_module.graph.erase_node(node)
    graph_module.recompile()


def _read(
    program: ExportedProgram,
    operands: dict[Node, Operands],
    name: str,
    dtype: DataType | None,
    *,
    for_counts: bool = False,
) -> Capture:
    _check_effects(program, operands)
    writer = GraphWriter(name=name, dtype=dtype, for_counts=for_counts)
    given = {**operands}
    try:
        return _write(program, writer, operands)
    except UnsupportedOperationError as error:
        if writer.has_other_order:  # try again with rows in the order of the arguments
            keeping = GraphWriter(name=name, dtype=dtype, keeps_order=True)
            with suppress(UnsupportedOperationError):
                return _write(program, keeping, given)
        refusal, decided = error.refusal, tuple(writer.decided.values())
        parts = find_refused_parts(program.graph, operands)
        raise RefusedError(refusal.reason, refusal.place, decided=decided, parts=parts) from None


def _write(
    program: ExportedProgram, writer: GraphWriter, operands: dict[Node, Operands]
) -> Capture:
    for node in _find_needed(program.graph):
        operand = _lower(writer, node, operands) if node.op == "call_function" else None
        if operand is not None:
            operands[node] = operand
    results = tuple(_read_results(program, writer, operands))
    written = tuple(_read_writes(program, writer, operands))
    graph = finish(writer)
    with Observer(sees_shapes=True) as seen:
        flop = count_program_flop(program)
    sequences = writer.sequences or 1
    samples = sequences * (graph.inputs[0].shape[0] if graph.is_sequence else num_samples(graph))
    names = dict(_script_names(writer, graph))
    graph = replace(graph, script_names=names, elements_per_sample=seen.count / samples)
    try:
        verify_graph(graph)
    except GraphError as error:  # rows of one launch must go together, which no operation sees
        if error.result is not None:
            (operation,) = (o for o in graph.operations if o.result.name == error.result)
            reason = f"{noun_of(operation)} is not supported on the wafer here: {error.finding}"
            raise UnsupportedOperationError(reason, writer.place_of(error.result)) from None
        finding = str(error).splitlines()[-1].removeprefix("  - ")
        raise UnsupportedOperationError(finding) from None
    return Capture(
        graph,
        writer.inputs,
        writer.parameters,
        results,
        _result_spec(program),
        tuple(writer.decided.values()),
        tuple(writer.on_host),
        writer.traces,
        sequences,
        flop,
        writer.joined,
        writer.divisors,
        tuple(writer.drawn),
        written,
    )


def _script_names(writer: GraphWriter, graph: Graph) -> Iterator[tuple[str, ScriptName]]:
    """Yield the script's names of parameters and results.

    A result whose call is in no line of the script comes from the line that calls the module.
    """
    for name, external in writer.parameters.items():
        yield name, ScriptName(" + ".join(dict.fromkeys(external.paths())))
    caller = users_place()
    called = "" if caller is None else f"{caller.file}:{caller.line}"
    for operation in graph.operations:
        trace = writer.traces.get(operation.result.name)
        line = None if trace is None else trace.innermost()
        source = called if line is None else f"{line.file}:{line.number}"
        yield operation.result.name, ScriptName(source=source)


def _find_needed(graph: torch.fx.Graph) -> list[Node]:
    """Return the nodes, in their order, that results need, or that draw or write.

    PyTorch computes the others, too, for nothing.
    """
    needed: dict[Node, None] = {}
    for node in reversed(graph.nodes):
        draws = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        if node in needed or node.op != "call_function" or node.is_impure() or draws:
            needed |= dict.fromkeys((node, *node.all_input_nodes))
    return [node for node in graph.nodes if node in needed]


def _lower(writer: GraphWriter, node: Node, operands: dict[Node, Operands]) -> Operands | None:
    try:
        return lower(writer, node, operands)
    except UnsupportedOperationError as error:
        if not writer.for_counts:
            raise
        return write_opaque(writer, node, operands, error.refusal)


def check_indices(graph: Graph, inputs: Mapping[str, torch.Tensor]) -> None:
    """Raise OutsideTableError if an input of indices chooses a row that its table does not have.

    Or if a target is no class. The wafer would read past the end of the table; on the host,
    PyTorch raises its own error.
    """
    for operation in graph.operations:
        if isinstance(operation, CrossEntropy | NegativeLogLikelihood):
            targets = inputs[operation.targets]
            num_classes = graph.tensor(operation.input).shape[-1]
            counted = targets[targets != operation.ignored]
            if counted.numel() and not 0 <= int(counted.min()) <= int(counted.max()) < num_classes:
                msg = f"its targets are {int(counted.min())} to {int(counted.max())}"
                raise OutsideTableError(f"{msg}; there are classes 0 to {num_classes - 1}")
    for name, num_rows in table_rows(graph).items():
        first, last = (int(found) for found in torch.aminmax(inputs[name]))
        if first < 0 or last >= num_rows:
            seen = f"{first}" if first == last else f"{first} to {last}"
            msg = f"its indices are {seen}; the table has rows 0 to {num_rows - 1}"
            raise OutsideTableError(msg)


def _export(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> ExportedProgram:
    try:
        with tracing_alone(), tracing_quietly(), warnings.catch_warnings(), torch.no_grad():
            # torch's own deprecations inside export are not news to the script's user.
            warnings.simplefilter("ignore")
            program = torch.export.export(module, args, dict(kwargs), strict=False)
            take_dropout_out_of_place(program.graph)
            if any(_is_in_place(node) for node in program.graph.nodes):
                program = program.run_decompositions({})  # pyright: ignore[reportUnknownMemberType]  # partly typed
    except Exception as error:  # noqa: BLE001  # export runs the model's code: anything may come
        msg = f"torch.export cannot capture the module: {_reason_of(error)}"
        raise UnsupportedOperationError(msg, _place_of(error)) from None
    return program


def _reason_of(error: Exception) -> str:
    if isinstance(error, GuardOnDataDependentSymNode):
        return "its code branches on the value of a tensor"
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{type(error).__name__}: {reason}"


def _place_of(error: Exception) -> SourceLine | None:
    """Return the line of the model's code that an error comes from.

    Generated code, as that of torch.fx, has no text and no line.
    """
    frames = traceback.extract_tb(error.__traceback__)
    of_model = [f for f in frames if f.line and owner_of(f.filename) is not Owner.HIDDEN]
    if not of_model:
        return None
    last = of_model[-1]
    return SourceLine(last.filename, last.lineno or 0, last.line or "")


def _is_in_place(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _check_effects(program: ExportedProgram, operands: Mapping[Node, Operands]) -> None:
    arguments = _arguments(operands)
    for output in program.graph_signature.output_specs:
        match output.kind:
            case OutputKind.USER_OUTPUT:
                pass
            case OutputKind.USER_INPUT_MUTATION:
                external = arguments.get(str(output.target))
                if external is None or external.origin is not Origin.BUFFER:
                    name = external.name if external else str(output.target)
                    raise UnsupportedOperationError(f"the module writes its argument {name!r}")
            case _:
                raise UnsupportedOperationError(f"the module writes its buffer {output.target!r}")


def _arguments(operands: Mapping[Node, Operands]) -> dict[str, External]:
    """Return the tensors that the host has, by the names of their nodes."""
    return {n.name: operand for n, operand in operands.items() if isinstance(operand, External)}


def _read_writes(
    program: ExportedProgram, writer: GraphWriter, operands: Mapping[Node, Operands]
) -> Iterator[Written]:
    """Yield what is written into buffers; export gives it before the results."""
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    arguments = _arguments(operands)
    for leaf, spec in zip(output.args[0], program.graph_signature.output_specs, strict=True):
        if spec.kind is OutputKind.USER_INPUT_MUTATION:
            written = Written.of(arguments[str(spec.target)], operands[leaf])
            if written.output is not None:
                writer.add_output(written.output)
            yield written


def _bind_placeholders(
    program: ExportedProgram,
    owner: torch.nn.Module,
    leaves: Sequence[object],
    *,
    of_module: frozenset[int] = frozenset(),
) -> dict[Node, Operands]:
    """Return what each placeholder stands for: a tensor of the module or of the call.

    `of_module` are the places of leaves that are arguments of the program, but held by modules.
    """
    parameters = dict(owner.named_parameters(remove_duplicate=False))
    buffers = dict(owner.named_buffers(remove_duplicate=False))
    constants = {k: v for k, v in program.constants.items() if isinstance(v, torch.Tensor)}
    held: dict[str, torch.Tensor] = {**parameters, **buffers, **constants}
    names = {id(v): f"p_{k.replace('.', '_')}" for k, v in parameters.items()} | {
        id(v): f"b_{k.replace('.', '_')}" for k, v in buffers.items()
    }
    paths = {id(v): k for k, v in (parameters | buffers).items()}
    operands: dict[Node, Operands] = {}
    used = set[str]()
    arguments = enumerate(leaves)
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    for node, spec in zip(placeholders, program.graph_signature.input_specs, strict=True):
        position = None
        if spec.kind is InputKind.USER_INPUT:
            position, value = next(arguments)
        elif spec.target in held:
            value = held[spec.target]
        else:
            raise UnsupportedOperationError(f"the module holds {spec.target!r}, not a tensor")
        if isinstance(value, torch.Tensor):
            name = str(node.name)
            if position is not None and names.get(id(value), name) not in used:
                name = names.get(id(value), name)  # unless another has it: `a.b` reads like `a_b`
            used.add(name)
            is_held = position is None or id(value) in names or position in of_module
            origin, path = _origin(value, is_held=is_held), paths.get(id(value), "")
            operands[node] = External(name, value, origin, position, path=path)
    return operands


def _positions_of_module(graph_module: torch.fx.GraphModule) -> frozenset[int]:
    """Return which arguments of a graph Dynamo made of parameters and buffers of some module."""
    placeholders = (node for node in graph_module.graph.nodes if node.op == "placeholder")
    return frozenset(
        position
        for position, node in enumerate(placeholders)
        if "_parameters_" in node.name or "_buffers_" in node.name
    )


def _origin(tensor: torch.Tensor, *, is_held: bool) -> Origin:
    """Return what the elements of an argument or of a tensor that the module holds depend on."""
    if is_held:
        is_parameter = isinstance(tensor, torch.nn.Parameter)
        return Origin.PARAMETER if is_parameter else Origin.BUFFER
    return Origin.DATA if tensor.is_floating_point() else Origin.CALL


def _read_results(
    program: ExportedProgram, writer: GraphWriter, operands: dict[Node, Operands]
) -> Iterator[WaferResult | HostResult | External]:
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    leaves: tuple[object, ...] = output.args[0]
    sources: dict[str, torch.fx.Node] = {}
    specs = program.graph_signature.output_specs
    for leaf, spec in zip(leaves, specs, strict=True):
        if spec.kind is not OutputKind.USER_OUTPUT:
            continue
        if not isinstance(leaf, torch.fx.Node):
            yield HostResult(spec.arg.value if isinstance(spec.arg, ConstantArgument) else leaf)
            continue
        match operands[leaf]:
            case External() as external if leaf.op == "placeholder":
                yield external
            case External(origin=Origin.DATA):
                raise UnsupportedOperationError("the module returns a view or copy of its argument")
            case External() as external:
                yield external  # no data take part: the host has it
            case _:
                value = _value_of(writer, leaf, operands)
                if sources.setdefault(value.tensor.name, leaf) is not leaf:
                    msg = "the module returns a view or copy of another of its results"
                    raise UnsupportedOperationError(msg)
                like: torch.Tensor = leaf.meta["val"]
                writer.add_output(value.tensor.name)
                yield WaferResult(value.tensor.name, value.layout, like.dtype, like.device)


def _value_of(writer: GraphWriter, node: Node, operands: dict[Node, Operands]) -> Value:
    try:
        return value_of(writer, node, operands)
    except UnsupportedOperationError as error:
        if not writer.for_counts:
            raise
        operands[node] = write_opaque(writer, node, operands, error.refusal)
    return value_of(writer, node, operands)


def _result_spec(program: ExportedProgram) -> pytree.TreeSpec:
    spec = program.call_spec.out_spec
    if spec is None:
        raise UnsupportedOperationError("torch.export gave no structure for the result")
    return spec
