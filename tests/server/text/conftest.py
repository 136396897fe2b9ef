import pytest

from onewafer.server.models.byte_tokens import byte_tokenizer
from onewafer.server.models.stand_ins import CHAT_TEMPLATE
from onewafer.server.models.text_model import TextModel
from onewafer.server.text import Language

START, END = 256, 257


def words(template=CHAT_TEMPLATE):
    return TextModel(
        id="bytes",
        tokenizer=byte_tokenizer("<|im_start|>", "<|im_end|>", chat_template=template),
        tokenizer_name="bytes",
        chat_template=template,
        context_length=1000,
        vocabulary_size=260,
        end_ids=frozenset({END}),
        fingerprint="ow_0",
    )


@pytest.fixture(scope="session")
def language():
    return Language(words())


@pytest.fixture(scope="session")
def encode(language):
    """Return the tokens of a text, one a byte."""
    return lambda text: language.model.tokenizer.encode(text, split_special_tokens=True)
