"""Encoders with a classification head as students: a label is a class.

To the trainer, a target of such a student is a single token, the number of the class: logits are [R, 1, classes],
labels [R, 1]. So the cross-entropy over target tokens is the classifier's, and every objective over labels applies,
weights of soft targets included.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from dsbs.core.errors import StudentError
from dsbs.core.records import Example, Prediction, Target
from dsbs.students.answering import DecodingConfig, choose
from dsbs.students.decoding import batches, inference
from dsbs.students.folders import SETTINGS
from dsbs.students.lost import count_lost
from dsbs.students.model import StudentModel
from dsbs.students.tensors import pad
from dsbs.tasks.answers import without_choices

CLASSIFIER = "classifier"  # the format of a checkpoint
APART = -1  # separates the sequences of one input; no id of any tokenizer
_BETWEEN = "\x1e"  # ASCII's record separator, between an input and its choices
NEVER = -1e4  # the logit of a choice that an example does not have; e to its power is 0


class ClassifierModel(StudentModel):
    """An encoder whose head has a class for each closed answer.

    Args:
        classes: the closed answers, in the order of the head's outputs.
    """

    def __init__(self, model: Any, tokenizer: Any, prefix_on: str, classes: Sequence[str] = ()) -> None:
        super().__init__(model, tokenizer, prefix_on)
        self.classes = tuple(classes)
        self._numbers = {name: number for number, name in enumerate(self.classes)}
        if self.classes:
            model.config.id2label = dict(enumerate(self.classes))
            model.config.label2id = dict(self._numbers)
        if getattr(model.config, "pad_token_id", None) is None:
            model.config.pad_token_id = tokenizer.pad_token_id

    @property
    def pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id)

    @property
    def row_identity(self) -> list[Any]:
        """The classes, whose order decides the ids of targets."""
        return list(self.classes)

    def embedding_tables(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the input embeddings [V, d] twice: there is no output vocabulary."""
        weight = self.model.get_input_embeddings().weight
        return weight, weight

    def encode_inputs(self, texts: list[str], kind: str, max_tokens: int) -> list[list[int]]:
        """Return the token ids of inputs, truncated; there are no task prefixes."""
        rows: list[list[int]] = self.tokenizer(self.without_end(texts), truncation=True, max_length=max_tokens)[
            "input_ids"
        ]
        return rows

    def without_end(self, texts: list[str]) -> list[str]:
        """Return texts without the end token, which they may hold: the head of an encoder-decoder reads it."""
        end = self.tokenizer.eos_token if self.model.config.is_encoder_decoder else None
        return [text.replace(end, " ") for text in texts] if end else texts

    def encode_targets(self, texts: list[str]) -> list[list[int]]:
        """Return the number of each text's class, as its only token.

        Raises:
            StudentError: where a text is not a class.
        """
        if strange := [text for text in texts if text not in self._numbers]:
            raise StudentError(f"{strange[0]!r} is not one of the closed answers: {', '.join(self.classes)}.")
        return [[self._numbers[text]] for text in texts]

    def decode(self, ids: list[list[int]]) -> list[str]:
        """Return the closed answers of class numbers."""
        return [self.classes[row[0]] for row in ids]

    def start_id(self, kind: str) -> int:
        """Return a placeholder for the decoder's first token, which is not used."""
        return 0

    def encode(self, inputs: dict[str, torch.Tensor], readers: int) -> torch.Tensor:
        """Return the logits [B, classes] of inputs as their states."""
        logits: torch.Tensor = self.model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        return logits

    def select(self, states: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return the logits [R, classes] of some rows."""
        return states.index_select(0, rows)

    def decode_logits(
        self, states: torch.Tensor, attention_mask: torch.Tensor, decoder_input_ids: torch.Tensor
    ) -> torch.Tensor:
        """Return the logits [R, 1, classes]: the states, with a position."""
        return states.unsqueeze(1)

    def rank(self, examples: Sequence[Example], reading: DecodingConfig) -> list[Prediction]:
        """Return the most probable closed answer of each example, with the log-probabilities of all."""
        worded = [replace(example, input=self.reword(example, [])[0]) for example in examples]
        found: dict[int, Prediction] = {}
        for positions, inputs in batches(self, worded, "label", reading):
            with inference(self, reading.bf16):
                scores = self.encode(inputs, 1).float().log_softmax(-1).tolist()
            for position, row in zip(positions, scores, strict=True):
                found[position] = self._choose(examples[position], row)
        return [found[position] for position in range(len(examples))]

    def _choose(self, example: Example, scores: list[float]) -> Prediction:
        return choose(example, dict(zip(self.classes, scores, strict=True)))

    def write(self, examples: Sequence[Example], reading: DecodingConfig, kind: str = "label") -> list[str]:
        """Refuse: there is no decoder.

        Raises:
            StudentError: always.
        """
        raise StudentError("This student has no decoder: it ranks closed answers (decoding=rank) and cannot generate.")

    def save(self, folder: Path) -> None:
        setattr(self.model.config, SETTINGS, {"prefix_on": self.prefix_on, **self.settings})
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


class MultipleChoiceModel(ClassifierModel):
    """An encoder whose head has one output: the score of an input together with one of its choices.

    The token ids of an input are those of all its pairs, separated by ``APART``; the class of a target is the position
    of the choice.

    Args:
        model: an ``AutoModelForSequenceClassification`` with one output.
        max_input_tokens: longer pairs lose tokens of the input.
    """

    cuts_itself: ClassVar[bool] = True  # each pair, when it is encoded

    def __init__(self, model: Any, tokenizer: Any, prefix_on: str, max_input_tokens: int) -> None:
        super().__init__(model, tokenizer, prefix_on)
        self.max_input_tokens = max_input_tokens

    @property
    def row_identity(self) -> list[Any]:
        """The length to which each pair is cut."""
        return ["pairs", self.max_input_tokens]

    def reword(self, example: Example, targets: Sequence[Target]) -> tuple[str, list[Target]]:
        """Return the input followed by its choices, and targets whose texts are positions of choices.

        Raises:
            StudentError: where a target is not a choice of the example.
        """
        choices = list(dict.fromkeys(example.choices or ()))
        if strange := [target.text for target in targets if target.text not in choices]:
            raise StudentError(f"example {example.id}: {strange[0]!r} is not one of its choices: {', '.join(choices)}.")
        parts = [without_choices(example.input, example.choices or ()), *choices]
        positions = [Target(one.kind, str(choices.index(one.text)), one.weight) for one in targets]
        return _BETWEEN.join(part.replace(_BETWEEN, " ") for part in parts), positions

    def encode_inputs(self, texts: list[str], kind: str, max_tokens: int) -> list[list[int]]:
        """Return the token ids of each input's pairs, separated by ``APART``."""
        rows = []
        for text in texts:
            input, *choices = self.without_end(text.split(_BETWEEN))
            rows.append([id for pair in self._pairs(input, choices) for id in (*pair, APART)][:-1])
        return rows

    def _pairs(self, input: str, choices: list[str]) -> list[list[int]]:
        """Return the token ids of an input with each choice; where a choice leaves the input no room, both are cut."""

        def pairs(how: str) -> list[list[int]]:
            inputs = [input] * len(choices)
            found = self.tokenizer(inputs, choices, truncation=how, max_length=self.max_input_tokens)
            rows: list[list[int]] = found["input_ids"]
            return rows

        try:
            return pairs("only_first")
        except Exception:  # the library raises nothing more specific
            if len(choices) == 1:
                return pairs("longest_first")
        return [row for choice in choices for row in self._pairs(input, [choice])]

    def lost(self, examples: Sequence[Example], max_tokens: int) -> dict[str, int]:
        """Count truncated inputs and unknown tokens; see ``count_lost``. Each input counts with its longest choice."""
        pairs = [self.reword(example, [])[0].split(_BETWEEN) for example in examples]
        rows = self.tokenizer([row[0] for row in pairs], [max(row[1:], key=len, default="") for row in pairs])
        return count_lost(rows["input_ids"], self.max_input_tokens, self.unknown_id)

    def cut(self, ids: list[int], limit: int) -> tuple[list[int], bool]:
        """Return the ids unchanged: the pairs are truncated already."""
        return ids, False

    def encode_targets(self, texts: list[str]) -> list[list[int]]:
        """Return the positions of choices, each as the only token of its target."""
        return [[int(text)] for text in texts]

    def decode(self, ids: list[list[int]]) -> list[str]:
        """Return the positions of choices as texts."""
        return [str(row[0]) for row in ids]

    def encode(self, inputs: dict[str, torch.Tensor], readers: int) -> torch.Tensor:
        """Return the logits [B, K] of the choices of inputs; ``NEVER`` where an input has fewer than K."""
        rows = [
            _split([id for id, real in zip(ids, mask, strict=True) if real])
            for ids, mask in zip(inputs["input_ids"].tolist(), inputs["attention_mask"].tolist(), strict=True)
        ]
        pairs = [pair for row in rows for pair in row]
        ids, mask = pad(pairs, self.pad_id).to(self.device), pad([[1] * len(pair) for pair in pairs], 0).to(self.device)
        scores = self.model(input_ids=ids, attention_mask=mask).logits[:, 0]
        table = scores.new_full((len(rows), max(map(len, rows))), NEVER)
        owners = [owner for owner, row in enumerate(rows) for _ in row]
        positions = [position for row in rows for position in range(len(row))]
        where = (torch.tensor(owners, device=self.device), torch.tensor(positions, device=self.device))
        return table.index_put(where, scores)

    def _choose(self, example: Example, scores: list[float]) -> Prediction:
        choices = list(dict.fromkeys(example.choices or ()))
        return choose(example, dict(zip(choices, scores, strict=False)))  # a batch may hold examples with more choices


def _split(ids: list[int]) -> list[list[int]]:
    """Return the sequences between ``APART``.

    >>> _split([5, 6, APART, 7])
    [[5, 6], [7]]
    """
    parts: list[list[int]] = [[]]
    for id in ids:
        if id == APART:
            parts.append([])
        else:
            parts[-1].append(id)
    return parts
