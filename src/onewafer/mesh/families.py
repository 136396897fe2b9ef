"""The files of all families: the one place that names a file with lowerings or samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.mesh.attention import gradient_lowering as attention_gradients
from onewafer.mesh.attention import lowering as attention
from onewafer.mesh.attention import samples as attention_samples
from onewafer.mesh.batch_norms import lowering as batch_norms
from onewafer.mesh.batch_norms import samples as batch_norm_samples
from onewafer.mesh.collectives import samples as collective_samples
from onewafer.mesh.dense import lowering as dense
from onewafer.mesh.dense import samples as dense_samples
from onewafer.mesh.dropout import lowering as dropout
from onewafer.mesh.dropout import samples as dropout_samples
from onewafer.mesh.elementwise import pairs, pixels, softplus, unary, vectors
from onewafer.mesh.feature_maps import gradient_lowering as feature_map_gradients
from onewafer.mesh.feature_maps import gradient_samples as feature_map_gradient_samples
from onewafer.mesh.feature_maps import lowering as feature_maps
from onewafer.mesh.feature_maps import samples as feature_map_samples
from onewafer.mesh.gradients import activations
from onewafer.mesh.gradients import lowering as gradients
from onewafer.mesh.gradients import samples as gradient_samples
from onewafer.mesh.group_norms import lowering as group_norms
from onewafer.mesh.losses import elements, log_softmax
from onewafer.mesh.losses import lowering as losses
from onewafer.mesh.losses import samples as loss_samples
from onewafer.mesh.norms import gradient_lowering as norm_gradients
from onewafer.mesh.norms import lowering as norms
from onewafer.mesh.norms import samples as norm_samples
from onewafer.mesh.norms import softmax_lowering as softmax
from onewafer.mesh.optimizers import samples as optimizer_samples
from onewafer.mesh.products import lowering as products
from onewafer.mesh.products import samples as product_samples
from onewafer.mesh.recomputation import lowering as recomputation
from onewafer.mesh.recomputation import samples as recomputation_samples
from onewafer.mesh.sample_groups import samples as sample_group_samples
from onewafer.mesh.selection import features
from onewafer.mesh.selection import lowering as selection
from onewafer.mesh.selection import samples as selection_samples
from onewafer.mesh.tokens import gradient_lowering as token_gradients
from onewafer.mesh.tokens import lowering as tokens
from onewafer.mesh.tokens import samples as token_samples

if TYPE_CHECKING:
    from onewafer.mesh.lowering.lowering import Lowerings

LOWERINGS: Lowerings = {
    **attention.LOWERINGS,
    **attention_gradients.LOWERINGS,
    **batch_norms.LOWERINGS,
    **dense.LOWERINGS,
    **dropout.LOWERINGS,
    **features.LOWERINGS,
    **feature_maps.LOWERINGS,
    **feature_map_gradients.LOWERINGS,
    **gradients.LOWERINGS,
    **group_norms.LOWERINGS,
    **activations.LOWERINGS,
    **losses.LOWERINGS,
    **elements.LOWERINGS,
    **log_softmax.LOWERINGS,
    **norm_gradients.LOWERINGS,
    **norms.LOWERINGS,
    **pairs.LOWERINGS,
    **pixels.LOWERINGS,
    **products.LOWERINGS,
    **recomputation.LOWERINGS,
    **selection.LOWERINGS,
    **softmax.LOWERINGS,
    **softplus.LOWERINGS,
    **token_gradients.LOWERINGS,
    **tokens.LOWERINGS,
    **unary.LOWERINGS,
    **vectors.LOWERINGS,
}
"""The lowering of each graph operation."""
SAMPLES = (
    *collective_samples.SAMPLES,
    *dense_samples.SAMPLES,
    *unary.SAMPLES,
    *softplus.SAMPLES,
    *pairs.SAMPLES,
    *vectors.SAMPLES,
    *norm_samples.SAMPLES,
    *batch_norm_samples.SAMPLES,
    *feature_map_samples.SAMPLES,
    *feature_map_gradient_samples.SAMPLES,
    *token_samples.SAMPLES,
    *attention_samples.SAMPLES,
    *selection_samples.SAMPLES,
    *features.SAMPLES,
    *product_samples.SAMPLES,
    *gradient_samples.SAMPLES,
    *activations.SAMPLES,
    *loss_samples.SAMPLES,
    *elements.SAMPLES,
    *log_softmax.SAMPLES,
    *optimizer_samples.SAMPLES,
    *recomputation_samples.SAMPLES,
    *dropout_samples.SAMPLES,
    *sample_group_samples.SAMPLES,
)
"""One sample of every kind of step but those of the state machine itself."""
