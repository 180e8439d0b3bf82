"""Students of one layer that are built in a moment, and words for them to read."""

from typing import Any

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
