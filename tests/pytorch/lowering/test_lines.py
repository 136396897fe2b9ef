"""The user's line and expression in a refusal."""

from __future__ import annotations

import operator
from pathlib import Path

import pytest
import torch
from torch import nn

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch import capture
from onewafer.pytorch.lowering.lines import Trace, name_of


class Model(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.layer, self.act = nn.Linear(4, 4), act

    def forward(self, x):
        return self.act(self, x)


class Negative(Model):
    def forward(self, x):
        return self.layer(x.relu()) + self.layer(-(x / self.layer(x)).view(x.size(0), -1))


class Twice(Model):
    def forward(self, x):
        return self.layer(torch.sin(x)) + torch.sin(self.layer(x))


class Long(Model):
    def forward(self, a_picture_with_a_long_name):
        return torch.cumsum(
            self.layer(a_picture_with_a_long_name).add(self.layer(a_picture_with_a_long_name)),
            dim=-1,
        )


class Indexed(Model):
    def forward(self, x):
        return self.layer(x).relu() + self.layer(x)[[0, 2]].sum()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Negative, "`x / self.layer(x)`: `div`: dividing by a tensor is not supported"),
        (Twice, "`return self.layer(torch.sin(x)) + torch.sin(self.layer(x))`: `sin` is not"),
        (Long, "`torch.cumsum(…)`: `cumsum` is not supported on the wafer"),
        (Indexed, "`self.layer(x)[[0, 2]]`: `index`: indexing elements that do not follow"),
    ],
)
def test_a_refusal_quotes_the_expression_if_it_is_one(kind, expected):
    with torch.no_grad(), pytest.raises(UnsupportedOperationError) as error:
        capture(kind(None), (torch.ones(4, 4),), {})
    place = error.value.refusal.place
    assert place.file == __file__
    assert str(error.value).startswith(f"test_lines.py:{place.number}: {expected}")


def test_a_sum_of_two_sequences_of_different_lengths_names_its_line():
    class Summed(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(9, 4)
            self.layer = nn.TransformerEncoderLayer(4, 1, 4, batch_first=True)

        def forward(self, ids, others):
            first = self.layer(self.embed(ids))[:, :1]
            return first + self.embed(others)

    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad(), pytest.raises(UnsupportedOperationError) as error:
        capture(Summed().eval(), (ids, ids[:, :1]), {})
    assert error.value.refusal.place.code == "first + self.embed(others)"
    assert (
        error.value.refusal.reason
        == "the sum of two sequences of different lengths is not supported"
    )


def test_a_rule_of_the_graph_that_is_broken_names_its_line():
    class Reduced(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.query = nn.Conv2d(3, 8, 1), nn.Linear(8, 8)
            self.reduce = nn.Conv2d(8, 8, 2, 2)

        def forward(self, x):
            x = self.stem(x)
            queries = self.query(x.flatten(2).transpose(1, 2))[:, None]
            keys = self.reduce(x).flatten(2).transpose(1, 2)[:, None]
            return nn.functional.scaled_dot_product_attention(queries, keys, keys)

    with torch.no_grad(), pytest.raises(UnsupportedOperationError) as error:
        capture(Reduced(), (torch.ones(1, 3, 4, 4),), {})
    code = "nn.functional.scaled_dot_product_attention(queries, keys, keys)"
    assert error.value.refusal.place.code == code
    assert error.value.refusal.reason == (
        "attention is not supported on the wafer here: the key has shape (4, 8), must be (16, 8)"
    )


def test_a_package_whose_name_begins_like_pytorch_s_is_not_hidden():
    folder = Path(torch.__file__).parent
    frames = "".join(
        f'  File "{file}", line 3, in forward\n    y = f(x)\n'
        for file in ("model.py", f"{folder}vision/models.py", f"{folder}/nn/module.py")
    )
    line = Trace("f", frames).line()
    assert line.file == f"{folder}vision/models.py"
    assert str(line) == "models.py:3: `y = f(x)`"


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("aten._softmax.default", "softmax"),
        ("onewafer.scan.default", "scan"),
        ("getitem", "getitem"),
        (operator.le, "le"),
        (name_of, "name_of"),
    ],
)
def test_names_of_operations(operation, name):
    assert name_of(operation) == name
