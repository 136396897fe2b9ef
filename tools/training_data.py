"""Data for training scripts of other people: made here, for nothing can be downloaded.

In: the folder of a script's repository. Out: data, models and metrics in it, where the script looks
for them. All of it is made of the README of the repository or of the digits of scikit-learn.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_SPLITS_OF_PAIRS = """\
---
configs:
- config_name: mrpc
  data_files:
  - split: train
    path: train.jsonl
  - split: validation
    path: validation.jsonl
---
"""
"""The file that says which data a folder has, in the way of the library `datasets`."""
_SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
"""The parts of which models of transformers are made."""
_METRIC = """\
import datasets
import evaluate


class Glue(evaluate.Metric):
    def _info(self):
        number = datasets.Value("int64")
        features = datasets.Features({"predictions": number, "references": number})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, predictions, references):
        pairs = zip(predictions, references)
        return {"accuracy": sum(one == other for one, other in pairs) / len(predictions)}
"""
"""A metric in the way of the library `evaluate`."""


def write_mnist(repository: Path, *, train: int, test: int) -> None:
    """Write digits of scikit-learn, enlarged, in the files of MNIST, which are then not fetched."""
    pictures, classes = read_digits()
    large = np.pad(np.kron(pictures, np.ones((1, 3, 3), np.uint8)), ((0, 0), (2, 2), (2, 2)))
    folder = repository / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, part in (("train", slice(train)), ("t10k", slice(train, train + test))):
        write_idx(folder / f"{name}-images-idx3-ubyte", large[part])
        write_idx(folder / f"{name}-labels-idx1-ubyte", classes[part])


def write_folders(repository: Path, *, train: int, test: int, side: int) -> None:
    """Write digits of scikit-learn as pictures in a folder for each class."""
    from PIL import Image  # noqa: PLC0415  # pictures only

    pictures, classes = read_digits()
    for index in range(train + test):
        part = "train" if index < train else "validation"
        folder = repository / "digits" / part / str(classes[index])
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(pictures[index]).resize((side, side)).convert("RGB")
        picture.save(folder / f"{index}.png")


def write_characters(repository: Path, *, folder: str) -> None:
    """Write the README as a text of ASCII, and a tokenizer that has a token for each character."""
    from tokenizers import Tokenizer, models  # noqa: PLC0415  # scripts of transformers only
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    text = (repository / "README.md").read_text(encoding="utf-8")
    text = "".join(character for character in text if character.isascii())
    place, unknown = repository / folder, "\N{DELETE}"
    (place / "readme.txt").write_text(text, encoding="utf-8")
    tokens = [unknown, *sorted({*text} - {"\n"})]
    numbers = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=[], unk_token=unknown))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown)
    fast.save_pretrained(place / "characters")  # pyright: ignore[reportUnknownMemberType]  # its types are incomplete


def write_pairs(repository: Path, *, folder: str, train: int, validation: int) -> None:
    """Write pairs of phrases, a small BERT and a metric where a script looks for those of the hub.

    A phrase is two words of the README; the label says whether the second one follows the first.
    """
    import torch  # noqa: PLC0415
    from transformers import (  # noqa: PLC0415
        BertConfig,
        BertForSequenceClassification,
        BertTokenizer,
    )

    place, words = repository / folder, read_words(repository)
    phrases = [f"{one} {other}" for one, other in zip(words[::2], words[1::2], strict=False)]
    numbers = range(train + validation)
    columns = "sentence1", "sentence2", "label", "idx"
    pairs = [
        (phrases[2 * number], phrases[2 * number + 1 + number % 2], 1 - number % 2, number)
        for number in numbers
    ]
    rows: list[dict[str, object]] = [dict(zip(columns, pair, strict=True)) for pair in pairs]
    task = place / "nyu-mll" / "glue"
    task.mkdir(parents=True)
    write_rows(task / "train.jsonl", rows[:train])
    write_rows(task / "validation.jsonl", rows[train:])
    (task / "README.md").write_text(_SPLITS_OF_PAIRS, encoding="utf-8")
    metric = place / "glue" / "glue.py"
    metric.parent.mkdir()
    metric.write_text(_METRIC, encoding="utf-8")
    model = place / "bert-base-cased"
    model.mkdir()
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({*" ".join(phrases).split()})]
    vocabulary = model / "vocab.txt"
    vocabulary.write_text("\n".join(tokens), encoding="utf-8")
    BertTokenizer(vocab=str(vocabulary)).save_pretrained(model)  # pyright: ignore[reportUnknownMemberType]  # its types are incomplete
    config = BertConfig(
        **_SMALL,
        vocab_size=len(tokens),
        max_position_embeddings=16,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]  # all runs begin with it
    BertForSequenceClassification(config).save_pretrained(model)  # pyright: ignore[reportUnknownMemberType]  # its types are incomplete


def write_instructions(repository: Path, *, folder: str, count: int) -> None:
    """Write instructions and answers of a word each, and a small Llama."""
    import torch  # noqa: PLC0415
    from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: PLC0415
    from transformers import (  # noqa: PLC0415
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    place, words = repository / folder, read_words(repository)[: 2 * count]
    pairs = zip(words[::2], words[1::2], strict=True)
    rows = [{"instruction": one, "output": other} for one, other in pairs]
    (place / "instructions").mkdir()
    write_rows(place / "instructions" / "train.jsonl", rows)
    tokens = ["<unk>", "</s>", *sorted({*words})]
    numbers = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocab=numbers, unk_token="<unk>"))  # noqa: S106  # no password
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]  # its types are incomplete
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
    )
    fast.save_pretrained(place / "model")  # pyright: ignore[reportUnknownMemberType]
    config = LlamaConfig(
        **_SMALL, vocab_size=len(tokens), max_position_embeddings=32, num_key_value_heads=1
    )
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    LlamaForCausalLM(config).save_pretrained(place / "model")  # pyright: ignore[reportUnknownMemberType]


def read_words(repository: Path) -> list[str]:
    """Return the words of a README, in small letters."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    return [word.lower() for word in text.split() if word.isascii() and word.isalpha()]


def write_rows(file: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows of a data set, each as JSON in a line."""
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def read_digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the digits of scikit-learn, 8 by 8 pixels from 0 to 255, and their classes."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  # pictures only

    found = cast("Any", load_digits())
    return (found.images * 255 / 16).astype(np.uint8), found.target.astype(np.uint8)


def write_idx(file: Path, array: NDArray[np.uint8]) -> None:
    """Write bytes in the format of MNIST."""
    unsigned_byte = 8
    head = bytes([0, 0, unsigned_byte, array.ndim])
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    file.write_bytes(head + sizes + array.tobytes())
