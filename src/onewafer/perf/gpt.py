"""Models of the GPT family from their sizes, for models that were measured but never published.

In: layers, hidden size, heads, vocabulary. Out: a model whose layers have a norm, multi-head
attention, a norm, and two products with GELU in between over four times the hidden size. Embedding
and head have weights of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from onewafer.errors import ConfigurationError
from onewafer.graph import (
    Activation,
    ActivationFunction,
    Add,
    AddBias,
    Attention,
    DataType,
    Embedding,
    Graph,
    LayerNorm,
    Linear,
    PositionEmbedding,
    Segment,
    Tensor,
)
from onewafer.perf.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.perf.published import PublishedFigure

_ROWS = 16
_EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class GptShape:
    """The sizes that distinguish models of the family."""

    layers: int
    hidden: int
    heads: int
    vocabulary: int
    positions: int

    def __post_init__(self) -> None:
        """Refuse numbers below 1, and heads that do not divide the hidden size."""
        if min(self.layers, self.hidden, self.heads, self.vocabulary, self.positions) < 1:
            raise ConfigurationError(f"{self} has a number below 1")
        if self.hidden % self.heads:
            raise ConfigurationError(f"{self.heads} heads do not share {self.hidden} features")


def gpt_model(name: str, shape: GptShape, *, source: str = "") -> Model:
    """Return the model of a shape."""
    return Model(
        name=name,
        title=name,
        segments=(_embedding(shape), _layer(shape), _head(shape)),
        max_context=shape.positions,
        source=source,
    )


def model_of_figure(figure: PublishedFigure, load_model: Callable[[str], Model]) -> Model:
    """Return the model of a published figure, by the sizes that it names or from the catalogue."""
    names = ("layers", "hidden", "heads", "vocabulary")
    if "layers" not in figure.conditions:
        return load_model(figure.model)
    sizes = {name: cast("int", figure.conditions[name]) for name in names}
    positions = cast("int", figure.conditions["sequence"])
    return gpt_model(figure.model, GptShape(**sizes, positions=positions), source=figure.source)


def _tensor(name: str, *shape: int, dtype: DataType = DataType.F16) -> Tensor:
    return Tensor(name, shape, dtype)


def _embedding(shape: GptShape) -> Segment:
    ids = _tensor("ids", _ROWS, 1, dtype=DataType.I32)
    table = _tensor("tokens", shape.vocabulary, shape.hidden)
    places = _tensor("positions", shape.positions, shape.hidden)
    token, place, out = (_tensor(n, _ROWS, shape.hidden) for n in ("token", "place", "x0"))
    operations = (
        Embedding(token, "ids", "tokens"),
        PositionEmbedding(place, "positions"),
        Add(out, "token", "place"),
    )
    return Segment(Graph("embedding", (ids,), (table, places), operations, ("x0",)), 1)


def _layer(shape: GptShape) -> Segment:
    hidden, inner = shape.hidden, 4 * shape.hidden
    wide = {name: _tensor(name, _ROWS, hidden) for name in _HIDDEN_RESULTS}
    up, raised, active = (_tensor(name, _ROWS, inner) for name in ("up", "raised", "active"))
    parameters = {
        **{name: _tensor(name, hidden) for name in ("g1", "b1", "g2", "b2", "bo", "bd")},
        **{name: _tensor(name, hidden, hidden) for name in ("wq", "wk", "wv", "wo")},
        **{name: _tensor(name, hidden) for name in ("bq", "bk", "bv")},
        "wu": _tensor("wu", inner, hidden),
        "bu": _tensor("bu", inner),
        "wd": _tensor("wd", hidden, inner),
    }
    scale = (hidden // shape.heads) ** -0.5
    operations = (
        LayerNorm(wide["n1"], "x", "g1", "b1", _EPSILON),
        *(Linear(wide[f"p{part}"], "n1", f"w{part}") for part in "qkv"),
        *(AddBias(wide[part], f"p{part}", f"b{part}") for part in "qkv"),
        Attention(wide["a"], "q", "k", "v", shape.heads, shape.heads, scale, is_causal=True),
        Linear(wide["po"], "a", "wo"),
        AddBias(wide["o"], "po", "bo"),
        Add(wide["y"], "x", "o"),
        LayerNorm(wide["n2"], "y", "g2", "b2", _EPSILON),
        Linear(up, "n2", "wu"),
        AddBias(raised, "up", "bu"),
        Activation(active, "raised", ActivationFunction.GELU),
        Linear(wide["pd"], "active", "wd"),
        AddBias(wide["d"], "pd", "bd"),
        Add(wide["z"], "y", "d"),
    )
    x = _tensor("x", _ROWS, hidden)
    return Segment(Graph("layer", (x,), (*parameters.values(),), operations, ("z",)), shape.layers)


_HIDDEN_RESULTS = ("n1", "pq", "pk", "pv", "q", "k", "v", "a", "po", "o", "y", "n2", "pd", "d", "z")


def _head(shape: GptShape) -> Segment:
    x, normed = _tensor("x", _ROWS, shape.hidden), _tensor("n", _ROWS, shape.hidden)
    logits = _tensor("logits", _ROWS, shape.vocabulary)
    parameters = (
        _tensor("g", shape.hidden),
        _tensor("b", shape.hidden),
        _tensor("head", shape.vocabulary, shape.hidden),
    )
    operations = (LayerNorm(normed, "x", "g", "b", _EPSILON), Linear(logits, "n", "head"))
    return Segment(Graph("head", (x,), parameters, operations, ("logits",)), 1)
