"""Contract 3: what the model computes, free of torch and of sharding."""

from onewafer.errors import GraphError
from onewafer.graph.counts import count_bytes, count_flop
from onewafer.graph.evaluate import Evaluator, evaluate_graph
from onewafer.graph.graph import Graph
from onewafer.graph.json_form import from_json, to_json
from onewafer.graph.layer_parts import LayerPart, layer_parts
from onewafer.graph.operations import (
    ON_MAPS,
    SEQUENTIAL,
    Activation,
    ActivationFunction,
    Add,
    AddBias,
    Attention,
    Convolution,
    Depthwise,
    Embedding,
    FirstRow,
    LastRow,
    LayerNorm,
    Linear,
    MaxPool,
    MeanRows,
    Multiply,
    Operation,
    PositionEmbedding,
    Relu,
    RmsNorm,
    Rotary,
    Scale,
    ScaleFeatures,
    ScaleMaps,
    activation_operands,
    parameter_operands,
)
from onewafer.graph.segments import Segment, fold
from onewafer.graph.shapes import (
    num_samples,
    position_tables,
    with_positions,
    with_rows,
    with_samples,
)
from onewafer.graph.tensor import FLOATING, DataType, Tensor
from onewafer.graph.verifier import verify_graph
from onewafer.graph.window import Window
from onewafer.graph.work import Work, count_work

__all__ = [
    "FLOATING",
    "ON_MAPS",
    "SEQUENTIAL",
    "Activation",
    "ActivationFunction",
    "Add",
    "AddBias",
    "Attention",
    "Convolution",
    "DataType",
    "Depthwise",
    "Embedding",
    "Evaluator",
    "FirstRow",
    "Graph",
    "GraphError",
    "LastRow",
    "LayerNorm",
    "LayerPart",
    "Linear",
    "MaxPool",
    "MeanRows",
    "Multiply",
    "Operation",
    "PositionEmbedding",
    "Relu",
    "RmsNorm",
    "Rotary",
    "Scale",
    "ScaleFeatures",
    "ScaleMaps",
    "Segment",
    "Tensor",
    "Window",
    "Work",
    "activation_operands",
    "count_bytes",
    "count_flop",
    "count_work",
    "evaluate_graph",
    "fold",
    "from_json",
    "layer_parts",
    "num_samples",
    "parameter_operands",
    "position_tables",
    "to_json",
    "verify_graph",
    "with_positions",
    "with_rows",
    "with_samples",
]
