"""Small models on feature maps, made by hand."""

from onewafer.graph import (
    Add,
    Convolution,
    DataType,
    GlobalAveragePool,
    Graph,
    Linear,
    MaxPool,
    Relu,
    Segment,
    Tensor,
    Window,
)
from onewafer.perf import Model


def tensor(name, *shape):
    return Tensor(name, shape, DataType.F16)


def window(side, *, kernel=3, stride=1):
    """Return a square window over square feature maps; an odd one keeps their size by margins."""
    margin = (kernel - 1) // 2
    return Window(side, side, kernel, kernel, stride, stride, margin, margin, margin, margin)


def graph_of(*operations, parameters=(), inputs=None, outputs=None):
    return Graph(
        "piece",
        inputs or (tensor("x", 1, 1),),
        parameters,
        operations,
        outputs or (operations[-1].result.name,),
    )


def block(side, features):
    """Return two convolutions with a shortcut around them, `side` × `side` pixels."""
    pixels = side * side
    return graph_of(
        Convolution(tensor("first", pixels, features), "x", "w1", window(side)),
        Relu(tensor("relu", pixels, features), "first"),
        Linear(tensor("second", pixels, features), "relu", "w2"),
        Add(tensor("sum", pixels, features), "second", "x"),
        parameters=(tensor("w1", 9, features, features), tensor("w2", features, features)),
        inputs=(tensor("x", pixels, features),),
    )


def small_network(side=32, features=64, repeats=3):
    """Return a stem, equal blocks at half of its side, and a head."""
    half = side // 2
    stem = graph_of(
        Convolution(tensor("stem", side * side, features), "image", "w0", window(side)),
        Relu(tensor("relu", side * side, features), "stem"),
        MaxPool(tensor("x", half * half, features), "relu", window(side, kernel=2, stride=2)),
        parameters=(tensor("w0", 9, features, 3),),
        inputs=(tensor("image", side * side, 3),),
    )
    head = graph_of(
        GlobalAveragePool(tensor("mean", 1, features), "sum", half * half),
        Linear(tensor("scores", 1, 10), "mean", "w3"),
        parameters=(tensor("w3", 10, features),),
        inputs=(tensor("sum", half * half, features),),
    )
    segments = (Segment(stem, 1), Segment(block(half, features), repeats), Segment(head, 1))
    return Model(
        name="small-network", title="Small network", segments=segments, fixed_tokens=side * side
    )
