"""The samples of all families: one of every kind of step but those of the state machine itself."""

from __future__ import annotations

from onewafer.mesh.attention import samples as attention
from onewafer.mesh.collectives import samples as collectives
from onewafer.mesh.dense import samples as dense
from onewafer.mesh.elementwise import pairs, unary, vectors
from onewafer.mesh.feature_maps import samples as feature_maps
from onewafer.mesh.norms import samples as norms
from onewafer.mesh.products import samples as products
from onewafer.mesh.selection import features
from onewafer.mesh.selection import samples as selection
from onewafer.mesh.tokens import samples as tokens

SAMPLES = (
    *collectives.SAMPLES,
    *dense.SAMPLES,
    *unary.SAMPLES,
    *pairs.SAMPLES,
    *vectors.SAMPLES,
    *norms.SAMPLES,
    *feature_maps.SAMPLES,
    *tokens.SAMPLES,
    *attention.SAMPLES,
    *selection.SAMPLES,
    *features.SAMPLES,
    *products.SAMPLES,
)
