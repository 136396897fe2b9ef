"""Log probabilities as OpenAI's chat writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.server.contract.events import ChosenToken, TokenLogprob
    from onewafer.server.contract.json_values import Json


def token_logprob(token: TokenLogprob) -> dict[str, Json]:
    """Return one token with its probability."""
    return {"token": token.token, "logprob": token.logprob, "bytes": list(token.data)}


def chosen_tokens(logprobs: Sequence[ChosenToken]) -> list[Json]:
    """Return tokens, each with the most likely ones in its place."""
    return [
        {**token_logprob(token.chosen), "top_logprobs": [token_logprob(top) for top in token.top]}
        for token in logprobs
    ]


def chat_logprobs(logprobs: Sequence[ChosenToken]) -> dict[str, Json]:
    """Return the log probabilities of an answer, or of a part of it."""
    return {"content": chosen_tokens(logprobs), "refusal": None}
