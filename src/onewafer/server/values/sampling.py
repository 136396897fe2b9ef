"""Sampling of the next token from logits, in float64.

The choice depends only on the logits, the request and the position: the random number of a token is
a hash of the seed and of the token's index in its answer. Other requests have no effect.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.server.contract.generation import Sampling

    Logits = NDArray[np.float32] | NDArray[np.float64]

_FRACTION_BITS: Final = 53
"""Bits of a float64's significand."""
_LIKELY: Final = 1024
"""Tokens that are sorted first for top_p: usually they are enough."""


def choose(
    logits: NDArray[np.float32],
    sampling: Sampling,
    *,
    index: int,
    end_ids: frozenset[int],
    mask: bytes | None = None,
    prompt: Sequence[int] = (),
    answer: Sequence[int] = (),
) -> int:
    """Return token number `index` of an answer; `mask` is that of a `Constraint`.

    Penalties apply to the tokens of `prompt` and `answer`.
    """
    is_short = sampling.ignores_end or index < sampling.min_tokens
    lowered = penalised(logits, sampling, prompt, answer) if sampling.has_penalties else logits
    scores = _adjusted(lowered, sampling, is_short=is_short, end_ids=end_ids)
    if mask is not None:
        scores = _masked(scores, _masked(logits, logits, mask), mask)
    if sampling.temperature == 0:
        return int(np.argmax(scores))
    probabilities = _probabilities(scores, sampling)
    totals = np.cumsum(probabilities)
    target = uniform(sampling.seed or 0, index) * float(totals[-1])
    place = int(np.searchsorted(totals, target, side="right"))
    return min(place, int(np.flatnonzero(probabilities)[-1]))


def uniform(seed: int, index: int) -> float:
    """Return a pseudorandom number in [0, 1), a function of its arguments.

    >>> uniform(1, 2) == uniform(1, 2) != uniform(1, 3)
    True
    """
    digest = sha256(f"{seed}/{index}".encode()).digest()
    return (int.from_bytes(digest[:8]) >> (64 - _FRACTION_BITS)) / 2.0**_FRACTION_BITS


def log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the model's log probabilities at temperature 1."""
    scores = logits.astype(np.float64)
    scores -= scores.max()
    return scores - np.log(np.exp(scores).sum())


def most_likely(logprobs: NDArray[np.float64], count: int) -> tuple[tuple[int, float], ...]:
    """Return the `count` likeliest tokens with their log probabilities, in order."""
    count = min(count, logprobs.size)
    if not count:
        return ()
    tokens = np.argpartition(-logprobs, count - 1)[:count]
    ordered = sorted(tokens.tolist(), key=lambda token: (-logprobs[token], token))
    return tuple((token, float(logprobs[token])) for token in ordered)


def penalised(
    logits: NDArray[np.float32], sampling: Sampling, prompt: Sequence[int], answer: Sequence[int]
) -> Logits:
    """Apply penalties for earlier tokens to logits, as vLLM does."""
    scores = logits.astype(np.float64)
    tokens, counts = np.unique(np.asarray(answer, np.int64), return_counts=True)
    if sampling.repetition_penalty != 1:
        seen = np.union1d(tokens, np.asarray(prompt, np.int64))
        found, factor = scores[seen], sampling.repetition_penalty
        scores[seen] = np.where(found > 0, found / factor, found * factor)
    scores[tokens] -= sampling.frequency_penalty * counts + sampling.presence_penalty
    return scores


def _adjusted(
    logits: Logits, sampling: Sampling, *, is_short: bool, end_ids: frozenset[int]
) -> Logits:
    """Apply biases to logits, and exclude end tokens if the answer must go on."""
    ends = sorted(end for end in end_ids if end < logits.size) if is_short else []
    if not sampling.logit_bias and not ends:
        return logits
    scores = logits.astype(np.float64) if sampling.logit_bias else logits.copy()
    for token, bias in sampling.logit_bias.items():
        if 0 <= token < scores.size:
            scores[token] += bias
    scores[ends] = -np.inf
    return scores


def _masked(scores: Logits, otherwise: Logits, mask: bytes) -> Logits:
    """Exclude the tokens that a grammar forbids; return `otherwise` if none is left."""
    bits = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little", count=scores.size)
    left = np.where(bits, scores, -np.inf)
    return left if np.isfinite(left).any() else otherwise


def _probabilities(scores: Logits, sampling: Sampling) -> NDArray[np.float64]:
    """Return unnormalised probabilities, 0 for tokens excluded by top_k and top_p."""
    below = scores.astype(np.float64) - np.max(scores)  # at most 0, before the division
    with np.errstate(over="ignore"):  # for a tiny temperature
        weights = np.exp(below / sampling.temperature)
    if sampling.top_k is not None and sampling.top_k < weights.size:
        kept = _heaviest(weights, sampling.top_k)
        weights = _only(weights, kept)
    if sampling.top_p < 1:
        weights = _only(weights, _nucleus(weights, sampling.top_p))
    return weights


def _nucleus(weights: NDArray[np.float64], top_p: float) -> NDArray[np.int64]:
    """Return the likeliest tokens whose probabilities sum to `top_p`, at least one."""
    wanted = top_p * weights.sum()
    for count in (min(_LIKELY, weights.size), weights.size):
        kept = _heaviest(weights, count)
        totals = np.cumsum(weights[kept])
        if totals[-1] >= wanted or count == weights.size:
            break
    num_kept = 1 + int(np.count_nonzero(totals < wanted))
    return kept[:num_kept]


def _heaviest(weights: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the `count` likeliest tokens in order, ties by number."""
    if count < weights.size:
        least = np.partition(weights, weights.size - count)[weights.size - count]
        candidates = np.flatnonzero(weights >= least)
    else:
        candidates = np.arange(weights.size)
    order = np.argsort(-weights[candidates], kind="stable")
    return candidates[order][:count]


def _only(weights: NDArray[np.float64], kept: NDArray[np.int64]) -> NDArray[np.float64]:
    left = np.zeros_like(weights)
    left[kept] = weights[kept]
    return left
