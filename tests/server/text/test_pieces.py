import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Metaspace
from transformers import PreTrainedTokenizerFast

from onewafer.server.text.pieces import PieceReader
from tests.server.text.conftest import END, START, words


def test_a_piece_that_came_lately_is_not_read_again(encode, monkeypatch):
    reader = PieceReader(words().tokenizer)
    text = "<|im_start|>Be brief.<|im_end|><|im_start|>Hi"
    tokens = [START, *encode("Be brief."), END, START, *encode("Hi")]

    assert reader.read(text) == tokens
    monkeypatch.setattr(reader, "_literal", None)
    assert reader.read(f"{text}<|im_end|>") == [*tokens, END]


def with_control_token(token, *, pre_tokenizer=None):
    tokenizer = Tokenizer(BPE(vocab={"a": 0, "▁": 1, "▁a": 2}, merges=[("▁", "a")]))
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.add_special_tokens([token])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.mark.parametrize(
    ("tokenizer", "is_exact"),
    [
        (with_control_token(AddedToken("<s>", special=True)), True),
        (with_control_token(AddedToken("<s>", special=True, lstrip=True)), False),
        (with_control_token(AddedToken("<s>", special=True), pre_tokenizer=Metaspace()), False),
    ],
)
def test_pieces_are_read_alone_only_where_they_mean_the_same(tokenizer, is_exact):
    assert PieceReader(tokenizer).is_exact is is_exact
