"""Contract 3: what the model computes, free of torch and of sharding."""

from onewafer.errors import GraphError
from onewafer.graph.graph import (
    Add,
    AddBias,
    DataType,
    Graph,
    Linear,
    Operation,
    Relu,
    Tensor,
    activation_operands,
    count_bytes,
    count_flop,
    parameter_operands,
)
from onewafer.graph.json_form import from_json, to_json
from onewafer.graph.verifier import verify_graph

__all__ = [
    "Add",
    "AddBias",
    "DataType",
    "Graph",
    "GraphError",
    "Linear",
    "Operation",
    "Relu",
    "Tensor",
    "activation_operands",
    "count_bytes",
    "count_flop",
    "from_json",
    "parameter_operands",
    "to_json",
    "verify_graph",
]
