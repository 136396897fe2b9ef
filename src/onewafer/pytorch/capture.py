"""From a module call to a `graph`: what is computed, with which tensors, and how results go back.

In: a module and the arguments of one call. Out: a `CapturedCall`, or UnsupportedOperationError
with the operation and the reason. Unknown here: rectangles, buckets, devices.

The module is exported at every call. That costs a few milliseconds, far below a simulation, and so
no change of the module between two calls (a flag, a replaced layer, a Python number) goes unseen.

Every tensor of the graph has two dimensions, (rows, features): all but the last dimension of the
PyTorch tensor are rows. Views that keep this form cost nothing; views of inputs and of results are
taken on the host, where they cost nothing either.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch._C._functorch import peek_interpreter_stack  # no public name
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.nn.modules import module as nn_module
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import (
    _get_current_dispatch_mode as get_current_dispatch_mode,  # pyright: ignore[reportPrivateUsage]  # no public name
)

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import DataType, Graph, verify_graph
from onewafer.pytorch.effects import without_effects
from onewafer.pytorch.lowering import FORMATS, External, GraphWriter, Value, lower
from onewafer.pytorch.tracing import tracing_alone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch.export import ExportedProgram
    from torch.fx import Node

    from onewafer.pytorch.lowering import Operand


_GLOBAL_HOOKS: tuple[dict[int, object], ...] = tuple(
    vars(nn_module)[name]  # no public accessor
    for name in ("_global_forward_pre_hooks", "_global_forward_hooks")
)


@dataclass(frozen=True, slots=True)
class WaferResult:
    """A tensor of the module's result that the wafer computes."""

    name: str
    """An output of the graph."""
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True, slots=True)
class HostResult:
    """A part of the module's result that needs no computation: an argument or a constant."""

    value: object


@dataclass(frozen=True, slots=True)
class CapturedCall:
    """One call, ready for the wafer."""

    graph: Graph
    inputs: Mapping[str, torch.Tensor]
    """Graph input → tensor of shape (rows, features)."""
    parameters: Mapping[str, torch.Tensor]
    """Graph parameter → the tensor as the module holds it."""
    results: tuple[WaferResult | HostResult, ...]
    result_spec: pytree.TreeSpec

    @property
    def rows(self) -> int:
        """Rows of the call's batch."""
        return self.graph.inputs[0].shape[0]

    @property
    def needs_gradient(self) -> bool:
        """Whether autograd would record the call now, for any tensor that it reads."""
        tensors = (*self.inputs.values(), *self.parameters.values())
        return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)

    def restore(self, outputs: Mapping[str, NDArray[np.floating[Any]]]) -> object:
        """Return what the module would have returned, from `(rows, features)` outputs."""
        tensors: dict[str, torch.Tensor] = {}
        """By name: a result that the module returns twice is one tensor."""
        leaves: list[object] = []
        for result in self.results:
            match result:
                case HostResult():
                    leaves.append(result.value)
                case WaferResult(name, shape, dtype, device):
                    if name not in tensors:
                        values = torch.tensor(outputs[name]).reshape(shape)
                        tensors[name] = torch.empty(shape, dtype=dtype, device=device).copy_(values)
                    leaves.append(tensors[name])
        return pytree.tree_unflatten(leaves, self.result_spec)


def capture(
    module: torch.nn.Module,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    *,
    dtype: DataType | None = None,
) -> CapturedCall:
    """Return the call `module(*args, **kwargs)` as a graph with its tensors.

    `dtype` is the number format on the wafer; None keeps the module's. The module must not have
    been called yet: export runs its Python code once. A call whose code does more than compute
    with tensors is refused, and what it did is undone.
    """
    check_call(module, args, kwargs)
    with without_effects(module):
        return _capture(module, args, kwargs, dtype)


def _capture(
    module: torch.nn.Module,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    dtype: DataType | None,
) -> CapturedCall:
    program = _export(module, args, kwargs)
    _check_effects(program)
    leaves = pytree.tree_leaves((args, dict(kwargs)))
    operands = _bind_placeholders(program, module, leaves)
    writer = GraphWriter(name=type(module).__name__, dtype=dtype)
    for node in program.graph.nodes:
        operand = lower(writer, node, operands) if node.op == "call_function" else None
        if operand is not None:
            operands[node] = operand
    results = tuple(_read_results(program, writer, operands))
    graph = writer.finish()
    verify_graph(graph)
    return CapturedCall(graph, writer.inputs, writer.parameters, results, _result_spec(program))


def check_call(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> None:
    """Refuse what can be seen without running the module; cheap, and part of `capture`."""
    if isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedOperationError("it is a TorchScript module, which torch.export refuses")
    _check_surroundings()
    _check_hooks(module)
    _check_arguments(args, kwargs)


def _check_surroundings() -> None:
    """Refuse where somebody wants PyTorch to show or change every operation."""
    if peek_interpreter_stack() is not None:  # pyright: ignore[reportUnnecessaryComparison]  # stub
        raise UnsupportedOperationError("the call is inside a torch.func transform")
    mode = get_current_dispatch_mode()
    if mode is not None:
        raise UnsupportedOperationError(f"the call is under a {type(mode).__name__}")
    if any(torch.is_autocast_enabled(device) for device in ("cpu", "cuda")):
        raise UnsupportedOperationError("the call is under autocast, which mixes number formats")


def _check_hooks(module: torch.nn.Module) -> None:
    if any(_GLOBAL_HOOKS):
        msg = "there are global forward hooks, which would see tensors that are never computed"
        raise UnsupportedOperationError(msg)
    modules = cast("Iterator[tuple[str, torch.nn.Module]]", module.named_modules())
    for name, inner in modules:
        attributes = vars(inner)  # no public accessor to the hooks
        if attributes["_forward_hooks"] or attributes["_forward_pre_hooks"]:
            where = f"module {name!r}" if name else "the module"
            msg = f"{where} has forward hooks, which would see tensors that are never computed"
            raise UnsupportedOperationError(msg)


def _check_arguments(args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
    for leaf in pytree.tree_leaves((args, dict(kwargs))):
        if not isinstance(leaf, torch.Tensor):
            continue
        if type(leaf) not in (torch.Tensor, torch.nn.Parameter) or leaf.layout != torch.strided:
            kind = f"{type(leaf).__name__} with layout {leaf.layout}"
            raise UnsupportedOperationError(
                f"an argument is a {kind}; the wafer takes plain tensors"
            )
        if leaf.dtype not in FORMATS:
            msg = f"an argument has dtype {leaf.dtype}; the wafer computes in float32 and float16"
            raise UnsupportedOperationError(msg)
        if leaf.numel() == 0:
            raise UnsupportedOperationError(f"an argument is empty: shape {tuple(leaf.shape)}")


def _export(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> ExportedProgram:
    try:
        with tracing_alone(), warnings.catch_warnings(), torch.no_grad():
            # torch's own deprecations inside export are not news to the script's user.
            warnings.simplefilter("ignore")
            program = torch.export.export(module, args, dict(kwargs), strict=False)
            if any(_is_in_place(node) for node in program.graph.nodes):
                program = program.run_decompositions({})  # pyright: ignore[reportUnknownMemberType]  # partly typed
    except Exception as error:  # noqa: BLE001  # export runs the model's code: anything may come
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        msg = f"torch.export cannot capture the module: {type(error).__name__}: {reason}"
        raise UnsupportedOperationError(msg) from None
    return program


def _is_in_place(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _check_effects(program: ExportedProgram) -> None:
    for output in program.graph_signature.output_specs:
        match output.kind:
            case OutputKind.USER_OUTPUT:
                pass
            case OutputKind.USER_INPUT_MUTATION:
                raise UnsupportedOperationError(f"the module writes its argument {output.target!r}")
            case _:
                raise UnsupportedOperationError(f"the module writes its buffer {output.target!r}")


def _bind_placeholders(
    program: ExportedProgram, module: torch.nn.Module, leaves: list[object]
) -> dict[Node, Operand]:
    """Return what each placeholder stands for: a tensor of the module or of the call."""
    held: dict[str, torch.Tensor] = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
        **{k: v for k, v in program.constants.items() if isinstance(v, torch.Tensor)},
    }
    operands: dict[Node, Operand] = {}
    arguments = iter(leaves)
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    for node, spec in zip(placeholders, program.graph_signature.input_specs, strict=True):
        if spec.kind is InputKind.USER_INPUT:
            value = next(arguments)
        elif spec.target in held:
            value = held[spec.target]
        else:
            raise UnsupportedOperationError(f"the module holds {spec.target!r}, not a tensor")
        if isinstance(value, torch.Tensor):
            operands[node] = External(node.name, value, tuple(value.shape))
    return operands


def _read_results(
    program: ExportedProgram, writer: GraphWriter, operands: Mapping[Node, Operand]
) -> Iterator[WaferResult | HostResult]:
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    leaves: tuple[object, ...] = output.args[0]
    sources: dict[str, torch.fx.Node] = {}
    specs = program.graph_signature.output_specs
    for leaf, spec in zip(leaves, specs, strict=True):
        if not isinstance(leaf, torch.fx.Node):
            yield HostResult(spec.arg.value if isinstance(spec.arg, ConstantArgument) else leaf)
            continue
        match operands[leaf]:
            case External(tensor=tensor) if leaf.op == "placeholder":
                yield HostResult(tensor)
            case External():
                raise UnsupportedOperationError("the module returns a view or copy of its argument")
            case Value(tensor=tensor, shape=shape):
                if sources.setdefault(tensor.name, leaf) is not leaf:
                    msg = "the module returns a view or copy of another of its results"
                    raise UnsupportedOperationError(msg)
                like: torch.Tensor = leaf.meta["val"]
                writer.add_output(tensor.name)
                yield WaferResult(tensor.name, shape, like.dtype, like.device)


def _result_spec(program: ExportedProgram) -> pytree.TreeSpec:
    spec = program.call_spec.out_spec
    if spec is None:
        raise UnsupportedOperationError("torch.export gave no structure for the result")
    return spec
