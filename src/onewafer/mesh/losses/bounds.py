"""How far two evaluations of a cross entropy may be apart, from the arithmetic alone.

With u[c] the factor of −log(share) of class c in the loss of a row, and U their sum, the loss is
U · log(Σ exp(x − m)) − Σ u · (x − m) for the largest logit m. The logarithm of a sum of
exponentials changes by at most as much as the logit that changes most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph import Reduction
from onewafer.mesh.distances import Bounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.graph import CrossEntropy
    from onewafer.mesh.distances import Distances

    Float64 = NDArray[np.float64]

_OF_EXPONENTIAL = 6
"""Roundings that the error of an exponential is worth: 2.5 units of the last place and one."""
_OF_LOGARITHM = 4
"""Roundings that the error of a logarithm is worth."""
_LEAST_EXPONENT = 110
"""Exponentials of less than minus this are 0 in f32."""


def bound_cross_entropy(operation: CrossEntropy, distances: Distances) -> Bounded:
    """Return a loss in exact arithmetic, and its largest distance; sums may have any order."""
    logits, exact = distances.of(operation.input), distances.exact[operation.result.name]
    factors, weights = _factors(operation, distances)
    rows, classes = logits.exact.shape
    largest = logits.exact.max(axis=1)
    rest = np.abs(logits.exact - largest[:, np.newaxis])
    logarithm = np.log(np.exp(-rest).sum(axis=1))
    whole = factors.sum(axis=1)
    roundings = classes + distances.num_pes + _OF_EXPONENTIAL
    of_sum = distances.gamma(1) * np.minimum(rest.max(axis=1), _LEAST_EXPONENT)
    of_sum += distances.gamma(roundings)
    of_logarithm = of_sum + distances.gamma(_OF_LOGARITHM) * (logarithm + np.abs(largest))
    error = whole * (logits.error.max(axis=1) + of_logarithm)
    error += (factors * logits.error).sum(axis=1)
    error += distances.gamma(roundings) * (factors * np.abs(logits.exact)).sum(axis=1)
    losses = whole * (logarithm + np.abs(largest)) + (factors * np.abs(logits.exact)).sum(axis=1)
    total = error.sum() + distances.gamma(rows + 2) * losses.sum()
    divisor = weights.sum() if operation.reduction is Reduction.MEAN else 1.0
    return distances.rounded(Bounded(exact, np.full(exact.shape, total / divisor)))


def _factors(operation: CrossEntropy, distances: Distances) -> tuple[Float64, Float64]:
    """Return the factor of each class in each row, and the weight of each row's target."""
    targets = distances.of(operation.targets).exact[:, 0].astype(np.int64)
    rows, classes = distances.of(operation.input).exact.shape
    name = operation.weights
    of_classes = np.ones(classes) if name is None else distances.of(name).exact
    counts = targets != operation.ignored
    places = np.where(counts, targets, 0)
    weights = np.where(counts, of_classes[places], 0.0)
    factors = np.where(counts[:, np.newaxis], of_classes, 0.0) * (operation.smoothing / classes)
    factors[np.arange(rows), places] += (1 - operation.smoothing) * weights
    return factors, weights
