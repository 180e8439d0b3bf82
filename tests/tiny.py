"""Students of one layer that are built in a moment, and words for them to read."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from dsbs.records import Annotation, Example
from dsbs.students import T5Scratch
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
