"""Copies of tensors see every edit, and zeros are looked at again where there was one."""

from __future__ import annotations

import pytest
import torch

from onewafer.pytorch.training.copies import SMALL, Zeros


@pytest.mark.parametrize("size", [3, SMALL + 1])
def test_zeros_that_are_edited_are_none(size):
    zeros, tensors = Zeros(), [torch.zeros(size), torch.zeros(2, 2).T]
    for _ in range(2):
        assert [*map(id, zeros.among(tensors))] == [*map(id, tensors)]
    tensors[0].numpy()[-1] = 1  # PyTorch counts no such edit
    (other,) = zeros.among(tensors)
    assert other is tensors[1]
    tensors[0].data.zero_()
    assert len(zeros.among(tensors)) == 2
    assert len(zeros.among([tensors[0], torch.ones(2)])) == 1
    assert not zeros.among([])
