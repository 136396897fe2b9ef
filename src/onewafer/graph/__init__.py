"""Contract 3: what the model computes, free of torch and of sharding."""

from onewafer.errors import GraphError
from onewafer.graph.counts import count_bytes, count_flop
from onewafer.graph.evaluate import Evaluator, evaluate_graph
from onewafer.graph.graph import Graph
from onewafer.graph.json_form import from_json, to_json
from onewafer.graph.layer_parts import LayerPart, layer_parts
from onewafer.graph.operations import (
    SEQUENTIAL,
    Activation,
    ActivationFunction,
    Add,
    AddBias,
    Attention,
    Embedding,
    FirstRow,
    LastRow,
    LayerNorm,
    Linear,
    Multiply,
    Operation,
    PositionEmbedding,
    Relu,
    RmsNorm,
    Rotary,
    Scale,
    activation_operands,
    parameter_operands,
)
from onewafer.graph.shapes import with_rows
from onewafer.graph.tensor import FLOATING, DataType, Tensor
from onewafer.graph.verifier import verify_graph

__all__ = [
    "FLOATING",
    "SEQUENTIAL",
    "Activation",
    "ActivationFunction",
    "Add",
    "AddBias",
    "Attention",
    "DataType",
    "Embedding",
    "Evaluator",
    "FirstRow",
    "Graph",
    "GraphError",
    "LastRow",
    "LayerNorm",
    "LayerPart",
    "Linear",
    "Multiply",
    "Operation",
    "PositionEmbedding",
    "Relu",
    "RmsNorm",
    "Rotary",
    "Scale",
    "Tensor",
    "activation_operands",
    "count_bytes",
    "count_flop",
    "evaluate_graph",
    "from_json",
    "layer_parts",
    "parameter_operands",
    "to_json",
    "verify_graph",
    "with_rows",
]
