"""Students of one layer that are built in a moment, and words for them to read."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

from dsbs.core.records import Annotation, Example
from dsbs.objectives import StepByStep
from dsbs.students import T5Scratch
from dsbs.students.collator import Collator, tokenize
from dsbs.students.model import StudentModel

WORDS = "the kettle leaks, so the shop will refund or replace or repair it; a sofa is a piece of furniture."
TEXTS = [f"{WORDS} {number} {WORDS.upper()}" for number in range(20)]
CHOICES = ("refund", "replace", "repair", "escalate")


def tiny_t5(prefix_on: str = "target", seed: int = 0, texts: list[str] | None = None, **changes: Any) -> StudentModel:
    """Return a T5 of one layer without dropout."""
    sizes: dict[str, Any] = {"vocab_size": 300, "d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    return T5Scratch(name="tiny", **(sizes | {"dropout_rate": 0.0} | changes)).build(texts or TEXTS, prefix_on, seed)


def examples(count: int, choices: tuple[str, ...] | None = CHOICES) -> list[Example]:
    """Return messages of different lengths."""
    return [
        Example(str(number), f"the kettle leaks {'so ' * (number % 5)}{number}", CHOICES[number % 4], choices)
        for number in range(count)
    ]


def annotated(count: int, with_rationale: set[int]) -> list[tuple[Example, Annotation | None]]:
    """Return messages of which some have a rationale, each of another length."""
    return [
        (
            example,
            Annotation(example.id, example.label, f"it leaks {'and leaks ' * (number % 3)}")
            if number in with_rationale
            else None,
        )
        for number, example in enumerate(examples(count))
    ]


def batch_of(student: StudentModel, count: int = 6) -> dict[str, Any]:
    """Return messages of different lengths as a batch; every second has a rationale."""
    data = annotated(count, with_rationale={0, 2, 4})
    targets = [StepByStep().targets(example, annotation) for example, annotation in data]
    return Collator(student)(tokenize(student, [example.input for example, _ in data], targets, 64, 64)[0])


def byte_tokenizer() -> Any:
    """Return a byte-level BPE tokenizer, as GPT-2 and Llama 3 have them; it adds nothing to a text."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    backend.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>")


def causal_model(kind: str, vocab_size: int) -> Any:
    """Return a decoder of two layers without dropout, its weights far enough from 0 for positions to differ."""
    sizes = {"vocab_size": vocab_size, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    mine: dict[str, dict[str, Any]] = {
        "llama": {"intermediate_size": 32, "num_key_value_heads": 2},
        "mistral": {"intermediate_size": 32, "num_key_value_heads": 2, "sliding_window": 4},
        "gpt2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
        "bloom": {"hidden_dropout": 0.0, "attention_dropout": 0.0},
        "mamba": {"state_size": 4},
        "bert": {"intermediate_size": 32},
    }
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes, **mine[kind], eos_token_id=0))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.2)
    return model


def causal_folder(folder: Path, kind: str = "llama") -> Path:
    """Write a causal language model as the hub has them: weights, tokenizer, nothing of ours."""
    tokenizer = byte_tokenizer()
    causal_model(kind, len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def seq2seq_model(kind: str, vocab_size: int) -> Any:
    """Return an encoder-decoder of one layer each without dropout."""
    t5 = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "dropout_rate": 0.0}
    bart = {
        "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "dropout": 0.0,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 512,
    }  # fmt: skip
    # The special tokens are those of `tiny_t5`: pad 0, eos 1, unk 2.
    mine: dict[str, dict[str, Any]] = {
        "t5": t5 | {"decoder_start_token_id": 0},
        "t5_v1_1": t5 | {"decoder_start_token_id": 0, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        "mt5": t5 | {"decoder_start_token_id": 0},
        "bart": bart | {"decoder_start_token_id": 1, "bos_token_id": 2},
        "pegasus": bart | {"decoder_start_token_id": 0},
    }
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind.split("_")[0], vocab_size=vocab_size, **mine[kind], pad_token_id=0, eos_token_id=1
    )
    model = AutoModelForSeq2SeqLM.from_config(config)
    with torch.no_grad():
        if "d_kv" not in mine[kind]:  # drawn so small that nothing would depend on anything
            for weight in model.parameters():
                weight.normal_(std=0.3)
        if kind in ("t5_v1_1", "mt5"):  # one table to read, another to write
            model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.shared.weight))
    return model


def seq2seq_folder(folder: Path, kind: str) -> Path:
    """Write an encoder-decoder as the hub has them, with the way of writing that a BART or Pegasus brings."""
    tokenizer = tiny_t5("input").tokenizer
    model = seq2seq_model(kind, len(tokenizer))
    if kind in ("bart", "pegasus"):
        model.generation_config.forced_bos_token_id = 2
        model.generation_config.forced_eos_token_id = 1
        model.generation_config.num_beams = 4
        model.generation_config.length_penalty = 0.6
        model.generation_config.no_repeat_ngram_size = 3
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def encoder_folder(folder: Path, texts: list[str] | None = None) -> Path:
    """Write a BERT of one layer without dropout, as the hub has them, that tells words apart."""
    backend = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    backend.train_from_iterator(texts or TEXTS, trainers.WordLevelTrainer(special_tokens=special))
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = AutoModel.from_config(AutoConfig.for_model("bert", vocab_size=backend.get_vocab_size(), **sizes, **dropout))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.3)
    model.save_pretrained(folder)
    return folder
