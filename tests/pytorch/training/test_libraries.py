"""Training loops that libraries have for scripts: accelerate, the Trainer of transformers, peft."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on

WORDS, TOKENS = 7, 4

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the libraries are their own


def check(train, *, plain=None, on_host=()):
    """Hold what a loop gives on the wafer against plain Python; return the report.

    The host makes calls of these classes, which multiply no matrices. `plain` is the loop in plain
    Python where it is not the same.
    """
    session = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(2, 2), simulate_budget=0))
    torch.manual_seed(0)
    expected = (plain or train)()
    torch.manual_seed(0)
    with run_on(session):
        found = train()
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    report = session.report(is_over=True)
    assert report.flop.share == 1
    assert {part.module for cause in report.host for part in cause.parts} == {*on_host}
    return report


def decoder():
    transformers = pytest.importorskip("transformers")
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=WORDS,
            hidden_size=8,
            intermediate_size=12,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=TOKENS,
        )
    )


def captured(model):
    """Let PyTorch compute a model by the graph that Dynamo captures of it.

    transformers builds masks of attention while it is captured that it leaves out otherwise. Keys
    and values then get their gradients in another order of additions.
    """
    model.compile(backend="eager")
    return model


def take_steps(model, *, steps=3, **inputs):
    """Return the losses of a model of tokens, and what it has trained."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, losses = torch.optim.AdamW(trained, lr=0.1), []
    for _ in range(steps):
        ids = torch.randint(WORDS, (2, TOKENS))
        given = {name: each for name, each in {"labels": ids, **inputs}.items() if each is not None}
        loss = model(input_ids=ids, **given).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return [*losses, *(parameter.detach() for parameter in trained)]


def test_accelerate_prepares_what_the_wafer_trains():
    accelerate = pytest.importorskip("accelerate")

    def train():
        accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
        model = nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        data = TensorDataset(torch.randn(10, 4), torch.randint(3, (10,)))
        prepared = accelerator.prepare(model, optimizer, DataLoader(data, 2), schedule)
        model, optimizer, batches, schedule = prepared
        losses = []
        for x, y in batches:
            with accelerator.accumulate(model):
                loss = nn.functional.cross_entropy(model(x), y)
                accelerator.backward(loss)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                losses.append(loss.detach())
        return [*losses, *(parameter.detach() for parameter in model.parameters())]

    (program,) = check(train).programs
    assert program.parameters_resent == 0


@pytest.mark.slow
def test_the_trainer_of_transformers_trains_on_the_wafer(tmp_path):
    pytest.importorskip("accelerate")
    transformers = pytest.importorskip("transformers")
    rows = torch.randint(WORDS, (12, TOKENS), generator=torch.Generator().manual_seed(1))
    data = [{"input_ids": row, "labels": row} for row in rows]
    options = transformers.TrainingArguments(
        str(tmp_path),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        max_steps=3,
        learning_rate=0.1,
        weight_decay=0.1,
        warmup_steps=1,
        lr_scheduler_type="cosine",
        eval_strategy="steps",
        eval_steps=2,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )

    def train(make=decoder):
        model = make()
        trainer = transformers.Trainer(model, options, train_dataset=data, eval_dataset=data[:4])
        trainer.train()
        logged = [
            torch.tensor(entry[key])
            for entry in trainer.state.log_history
            for key in ("loss", "eval_loss", "grad_norm")
            if key in entry
        ]
        return [*logged, *(parameter.detach() for parameter in model.parameters())]

    (program,) = check(train, plain=lambda: train(lambda: captured(decoder()))).programs
    assert program.step.steps == 3
    assert program.parameters_resent == 0


@pytest.mark.slow
def test_adapters_of_peft_train_beside_frozen_weights():
    peft = pytest.importorskip("peft")

    def train():
        parts = ["q_proj", "v_proj"]
        adapters = peft.LoraConfig(r=2, target_modules=parts, task_type="CAUSAL_LM")
        return take_steps(peft.get_peft_model(decoder(), adapters))

    check(train)


@pytest.mark.slow
def test_qwen3_trains_with_norms_that_heads_share():
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": WORDS, "hidden_size": 8, "intermediate_size": 12, "head_dim": 4}
    depth = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = transformers.Qwen3Config(**sizes, **depth)
    check(lambda: take_steps(transformers.Qwen3ForCausalLM(config), steps=2))


@pytest.mark.alternate
@pytest.mark.parametrize("kind", ["GPT2", "Llama"])
@pytest.mark.slow
def test_decoders_classify_by_the_last_token_that_is_no_padding(kind):
    """Which token that is, changes from call to call; all are of one program."""
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": WORDS, "hidden_size": 8, "num_hidden_layers": 1, "pad_token_id": 0}
    heads = {"num_attention_heads": 2, "bos_token_id": 1, "eos_token_id": 2, "num_labels": 3}
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    options = dropout if kind == "GPT2" else {"intermediate_size": 12}

    def train():
        config = getattr(transformers, f"{kind}Config")(**sizes, **heads, **options)
        model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
        optimizer, seen = torch.optim.AdamW(model.parameters(), lr=0.1), []
        for padding in (1, 2):
            ids = torch.randint(1, WORDS, (2, TOKENS))
            ids[0, TOKENS - padding :] = 0
            mask = (ids != 0).long()
            loss = model(input_ids=ids, attention_mask=mask, labels=torch.tensor([2, 0])).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            seen.append(loss.detach())
        return [*seen, *(parameter.detach() for parameter in model.parameters())]

    programs = check(train).programs
    assert len(programs) == 1


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        pytest.param("MaskedLM", {}, id="a head that is the table of tokens"),
        pytest.param(
            "SequenceClassification", {"labels": torch.tensor([0, 1])}, id="a label of each text"
        ),
        pytest.param(
            "SequenceClassification",
            {"labels": torch.tensor([0.5, -1.0]), "num_labels": 1},
            id="a number for each text",
        ),
    ],
)
@pytest.mark.alternate(3)
def test_bert_trains_with_labels(kind, labels):
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": WORDS, "hidden_size": 8, "intermediate_size": 12}
    depth = {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": TOKENS}
    no_dropout = {"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}

    def train():
        inputs = {**labels}
        classes = inputs.pop("num_labels", 2)
        config = transformers.BertConfig(**sizes, **depth, **no_dropout, num_labels=classes)
        model = getattr(transformers, f"BertFor{kind}")(config)
        mask = torch.ones(2, TOKENS, dtype=torch.int64)
        return take_steps(model, steps=2, attention_mask=mask, **inputs)

    check(train)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["GPT2LMHeadModel", "LlamaForCausalLM", "BertForMaskedLM"])
def test_models_train_with_their_dropout(kind, attention):
    """Each writes the dropout of attention in its own way."""
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": WORDS, "hidden_size": 8, "intermediate_size": 12, "bos_token_id": 1}
    depth = {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": TOKENS}
    options = {"attn_implementation": attention, "eos_token_id": 2}
    options |= {"attention_dropout": 0.25} if kind.startswith("Llama") else {}
    config = getattr(transformers, kind.split("For")[0].removesuffix("LMHeadModel") + "Config")

    def train():
        model = getattr(transformers, kind)(config(**sizes, **depth, **options))
        model.loss_type = "ForCausalLM"  # transformers says once that it does not find GPT-2's
        return take_steps(model.train(), steps=2)

    (program,) = check(train).programs
    assert "drawing what dropout keeps" in program.on_host


@pytest.mark.slow
def test_bert_answers_with_a_start_and_an_end():
    """Which are columns of a result: the wafer refuses the whole, its encoder and head train."""
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": WORDS, "hidden_size": 8, "intermediate_size": 12}
    depth = {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": TOKENS}
    no_dropout = {"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
    answer = {"start_positions": torch.tensor([1, 0]), "end_positions": torch.tensor([3, 2])}

    def train():
        config = transformers.BertConfig(**sizes, **depth, **no_dropout)
        model = transformers.BertForQuestionAnswering(config)
        mask = torch.ones(2, TOKENS, dtype=torch.int64)
        return take_steps(model, steps=2, attention_mask=mask, labels=None, **answer)

    report = check(train, on_host=["BertForQuestionAnswering"])
    assert {calls.module for calls in report.inner_calls} == {"BertModel", "Linear"}
    assert all(program.step.steps == 2 for program in report.programs)


@pytest.mark.slow
def test_layers_that_transformers_would_compute_again_train():
    def train(prepare=lambda model: model):
        torch.manual_seed(0)
        model = decoder()
        model.gradient_checkpointing_enable()
        return take_steps(prepare(model.train()), use_cache=False)

    check(train, plain=lambda: train(captured))
    for one, other in zip(train(captured)[:3], train()[:3], strict=True):
        torch.testing.assert_close(one, other)
