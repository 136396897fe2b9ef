"""Contract 3: the computation of a model, without torch and without sharding."""

from onewafer.errors import GraphError
from onewafer.graph import operations
from onewafer.graph.draws import MOST_FEATURES, NUM_SEEDS, SEEDS, Draw, are_drawn, draw_bits
from onewafer.graph.evaluate import Evaluator, evaluate_graph
from onewafer.graph.factors import draw_factors, without_factors
from onewafer.graph.gradients import Gradients, derive_gradients
from onewafer.graph.graph import Graph, ScriptName, rename
from onewafer.graph.json_form import from_json, to_json
from onewafer.graph.layer_parts import layer_parts
from onewafer.graph.operations import *  # noqa: F403  # what an operation is, and all of them
from onewafer.graph.recomputation import recompute
from onewafer.graph.resizing import (
    inputs_of_one_row,
    num_samples,
    position_tables,
    table_rows,
    with_dtype,
    with_part_of_samples,
    with_positions,
    with_rows,
    with_samples,
    with_sequences,
)
from onewafer.graph.segments import Segment, fold, split
from onewafer.graph.slot import Slot
from onewafer.graph.tensor import FLOATING, DataType, Tensor
from onewafer.graph.verifier import verify_graph
from onewafer.graph.window import Window

__all__ = [
    "FLOATING",
    "MOST_FEATURES",
    "NUM_SEEDS",
    "SEEDS",
    "DataType",
    "Draw",
    "Evaluator",
    "Gradients",
    "Graph",
    "GraphError",
    "ScriptName",
    "Segment",
    "Slot",
    "Tensor",
    "Window",
    "are_drawn",
    "derive_gradients",
    "draw_bits",
    "draw_factors",
    "evaluate_graph",
    "fold",
    "from_json",
    "inputs_of_one_row",
    "layer_parts",
    "num_samples",
    "position_tables",
    "recompute",
    "rename",
    "split",
    "table_rows",
    "to_json",
    "verify_graph",
    "with_dtype",
    "with_part_of_samples",
    "with_positions",
    "with_rows",
    "with_samples",
    "with_sequences",
    "without_factors",
]
__all__ += operations.__all__
