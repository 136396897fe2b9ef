"""The files of all families: the one place that names a file with lowerings or cost cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.mesh.attention import cost_cases as attention_cases
from onewafer.mesh.attention import lowering as attention
from onewafer.mesh.batch_norms import cost_cases as batch_norm_cases
from onewafer.mesh.batch_norms import lowering as batch_norms
from onewafer.mesh.collectives import cost_cases as collective_cases
from onewafer.mesh.dense import cost_cases as dense_cases
from onewafer.mesh.dense import lowering as dense
from onewafer.mesh.dropout import cost_cases as dropout_cases
from onewafer.mesh.dropout import lowering as dropout
from onewafer.mesh.elementwise import pairs, softplus, unary, vectors
from onewafer.mesh.feature_maps import cost_cases as feature_map_cases
from onewafer.mesh.feature_maps import lowering as feature_maps
from onewafer.mesh.gradients import activations
from onewafer.mesh.gradients import cost_cases as gradient_cases
from onewafer.mesh.gradients import lowering as gradients
from onewafer.mesh.group_norms import lowering as group_norms
from onewafer.mesh.losses import cost_cases as loss_cases
from onewafer.mesh.losses import elements, log_softmax
from onewafer.mesh.losses import lowering as losses
from onewafer.mesh.norms import cost_cases as norm_cases
from onewafer.mesh.norms import lowering as norms
from onewafer.mesh.optimizers import cost_cases as optimizer_cases
from onewafer.mesh.products import cost_cases as product_cases
from onewafer.mesh.products import lowering as products
from onewafer.mesh.recomputation import operations as recomputation
from onewafer.mesh.sample_groups import cost_cases as sample_group_cases
from onewafer.mesh.selection import cost_cases as selection_cases
from onewafer.mesh.selection import features
from onewafer.mesh.selection import lowering as selection
from onewafer.mesh.tokens import cost_cases as token_cases
from onewafer.mesh.tokens import lowering as tokens

if TYPE_CHECKING:
    from onewafer.mesh.lowering.lowering import Lowerings

LOWERINGS: Lowerings = {
    **attention.LOWERINGS,
    **batch_norms.LOWERINGS,
    **dense.LOWERINGS,
    **dropout.LOWERINGS,
    **features.LOWERINGS,
    **feature_maps.LOWERINGS,
    **gradients.LOWERINGS,
    **group_norms.LOWERINGS,
    **activations.LOWERINGS,
    **losses.LOWERINGS,
    **elements.LOWERINGS,
    **log_softmax.LOWERINGS,
    **norms.LOWERINGS,
    **pairs.LOWERINGS,
    **products.LOWERINGS,
    **recomputation.LOWERINGS,
    **selection.LOWERINGS,
    **softplus.LOWERINGS,
    **tokens.LOWERINGS,
    **unary.LOWERINGS,
    **vectors.LOWERINGS,
}
"""The lowering of each graph operation."""
COST_CASES = (
    *collective_cases.COST_CASES,
    *dense_cases.COST_CASES,
    *unary.COST_CASES,
    *softplus.COST_CASES,
    *pairs.COST_CASES,
    *vectors.COST_CASES,
    *norm_cases.COST_CASES,
    *batch_norm_cases.COST_CASES,
    *feature_map_cases.COST_CASES,
    *token_cases.COST_CASES,
    *attention_cases.COST_CASES,
    *selection_cases.COST_CASES,
    *features.COST_CASES,
    *product_cases.COST_CASES,
    *gradient_cases.COST_CASES,
    *activations.COST_CASES,
    *loss_cases.COST_CASES,
    *elements.COST_CASES,
    *log_softmax.COST_CASES,
    *optimizer_cases.COST_CASES,
    *recomputation.COST_CASES,
    *dropout_cases.COST_CASES,
    *sample_group_cases.COST_CASES,
)
"""A cost case for every kind of step, except the kinds of the state machine itself."""
