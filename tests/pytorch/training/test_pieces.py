"""Parameters of a script that are several in a program, or lie in another way in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from onewafer.pytorch import capture
from onewafer.pytorch.training.pieces import find_cuts, names_of

ROWS, COLUMNS = 6, 4


def parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.arange(24.0).reshape(ROWS, COLUMNS))


def thirds(weight):
    return {"k": weight[2:4], "q": weight[:2], "v": weight[4:]}


def transposed_thirds(weight):
    return {"q": weight.t()[:2].t(), "rest": weight.t()[2:]}


@pytest.mark.parametrize("views", [thirds, transposed_thirds, lambda weight: {"all": weight.T}])
@pytest.mark.parametrize("is_turned", [False, True])
def test_pieces_are_read_and_written_wherever_a_tensor_lies(views, is_turned):
    weight = parameter()
    bound = views(weight)
    ((found, cut),) = find_cuts(bound).items()
    assert found is weight
    assert {*cut.names} == {*bound}
    gradient = torch.randn(COLUMNS, ROWS).T if is_turned else torch.randn(ROWS, COLUMNS)
    arrays = cut.arrays(gradient)
    for name, expected in views(gradient).items():
        np.testing.assert_array_equal(arrays[name], expected.numpy())
    copy = torch.empty(COLUMNS, ROWS).T if is_turned else torch.empty(ROWS, COLUMNS)
    cut.write(copy, arrays)
    assert torch.equal(copy, gradient)


@pytest.mark.parametrize(
    "views",
    [
        lambda weight: {"half": weight[:3]},
        lambda weight: {"first": weight[:4], "last": weight[2:]},
        lambda weight: {"doubled": weight * 2},
        lambda weight: {"frozen": weight.detach()},
    ],
    ids=["gap", "overlap", "computed", "frozen"],
)
def test_parameters_that_are_not_whole_are_left_out(views):
    assert not find_cuts(views(parameter()))


def test_of_several_whole_ones_the_first_counts():
    weight, bias = parameter(), parameter()
    cuts = find_cuts({"weight": weight, "bias": bias, "again": weight.T})
    assert names_of(cuts.values()) == ("weight", "bias")


class Positions(nn.Module):
    """Rows of a table, one by position."""

    def __init__(self, padding_idx: int | None) -> None:
        super().__init__()
        self.table = nn.Embedding(ROWS, COLUMNS, padding_idx=padding_idx)
        self.register_buffer("order", torch.arange(ROWS))

    def forward(self, x):
        return (x + self.table(self.order[1 : len(x) + 1])).relu()


@pytest.mark.parametrize(("padding_idx", "is_view"), [(None, True), (0, True), (2, False)])
def test_rows_of_positions_are_a_part_of_their_table(padding_idx, is_view):
    model, x = Positions(padding_idx), torch.randn(3, COLUMNS)
    call = capture(model, (x,), {})
    (rows,) = call.parameters.values()
    assert torch.equal(rows, model.table.weight[1:4])
    assert (rows.data_ptr() == model.table.weight[1:].data_ptr()) is is_view
    assert not find_cuts(call.parameters)  # other rows have steps, too
    model.order += 1
    assert call.capture.holds_for([x]) is not is_view  # others are looked up at every call
