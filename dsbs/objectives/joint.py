"""Label and rationale in one target: the paper's single-task ablation (section 4.3), and explanation tuning."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from dsbs.core.records import Annotation, Example, Prediction, Target
from dsbs.objectives.base import Objective
from dsbs.students.answering import DecodingConfig, Writer, read_labels
from dsbs.tasks.base import Answers

ANSWER_CUE = "So the answer is"
RATIONALE_CUE = "explanation:"


@dataclass
class _Joined(Objective):
    """Base: one target with both label and rationale, joined by a cue."""

    def join(self, label: str, rationale: str) -> str:
        """Return the text of a target."""
        raise NotImplementedError

    def kept(self, label: str) -> str:
        """Return the end of a target's text that must not be truncated; by default none."""
        return ""

    def split(self, text: str) -> tuple[str, str]:
        """Return label and rationale of a generated text; without a cue, all of it is the label."""
        raise NotImplementedError

    def targets(self, example: Example, annotation: Annotation | None) -> list[Target]:
        """Return one target; the label alone where there is no rationale."""
        assert example.label is not None
        if annotation is None or not annotation.rationale:
            return [Target("label", example.label)]
        text = self.join(example.label, annotation.rationale)
        return [Target("label", text, input=self.worded(example, annotation), kept=self.kept(example.label))]

    def worded(self, example: Example, annotation: Annotation) -> str | None:
        """Return what the student reads in place of the example's input, or None."""
        return None

    def read(
        self, student: Writer, examples: Sequence[Example], answers: Answers, reading: DecodingConfig
    ) -> list[Prediction]:
        predictions = []
        for example, text in zip(examples, student.write(examples, reading), strict=True):
            label, rationale = self.split(text)
            predictions.append(
                Prediction(example.id, example.label, answers.parse(label, example.choices), rationale.strip() or None)
            )
        return predictions


@dataclass
class RationaleThenLabel(_Joined):
    """The student writes the rationale first, then the label.

    With ``prompt.systems`` it is explanation tuning (Orca, arXiv 2306.02707, section 3).

    Attributes:
        reads_systems: whether the student reads the system prompt of each example before its input in training; at
            inference it reads the input alone, as with the paper's empty system prompt.

    >>> RationaleThenLabel().targets(Example("1", "Is fire cold?", "no"), Annotation("1", "no", "Fire is hot."))
    [Target(kind='label', text='Fire is hot. So the answer is no', weight=1.0, input=None, kept=' So the answer is no')]
    """

    answers_last = True

    kind: str = "rationale_then_label"
    reads_systems: bool = False

    output: ClassVar[str] = f"It writes its rationale first, then `{ANSWER_CUE}` and the label."

    @property
    def reads(self) -> frozenset[str]:
        """``system`` with ``reads_systems``."""
        return frozenset({"system"} if self.reads_systems else ())

    def identity(self) -> dict[str, object]:
        """Return what decides the training; ``reads_systems`` counts if set, so that older runs keep their names."""
        return {key: value for key, value in super().identity().items() if key != "reads_systems" or value}

    def join(self, label: str, rationale: str) -> str:
        return f"{rationale}{self.kept(label)}"

    def kept(self, label: str) -> str:
        """Return cue and label: of a long rationale the end is lost, not the answer."""
        return f" {ANSWER_CUE} {label}"

    def split(self, text: str) -> tuple[str, str]:
        """Return label and rationale of a generated text, split at the last cue; without one, all is the label."""
        cues = _find(text, ANSWER_CUE)
        return (text[cues[-1].end() :], text[: cues[-1].start()]) if cues else (text, "")

    def worded(self, example: Example, annotation: Annotation) -> str | None:
        """Return the system prompt and the input, or None: the input alone."""
        system = annotation.system if self.reads_systems else None
        return f"{system}\n\n{example.input}" if system else None


@dataclass
class LabelThenRationale(_Joined):
    """The student writes the label first, then why (explanation tuning).

    >>> LabelThenRationale().targets(Example("1", "Is fire cold?", "no"), Annotation("1", "no", "Fire is hot."))
    [Target(kind='label', text='no explanation: Fire is hot.', weight=1.0, input=None, kept='')]
    """

    kind: str = "label_then_rationale"

    output: ClassVar[str] = f"It writes the label first, then `{RATIONALE_CUE}` and its rationale."

    def join(self, label: str, rationale: str) -> str:
        return f"{label} {RATIONALE_CUE} {rationale}"

    def split(self, text: str) -> tuple[str, str]:
        """Return label and rationale of a generated text, split at the first cue; without one, all is the label."""
        cues = _find(text, RATIONALE_CUE)
        return (text[: cues[0].start()], text[cues[0].end() :]) if cues else (text, "")

    def read(
        self, student: Writer, examples: Sequence[Example], answers: Answers, reading: DecodingConfig
    ) -> list[Prediction]:
        """Rank the closed answers, each followed by the cue, or generate and parse the label before the cue."""
        if reading.ranks(examples):
            return read_labels(student, examples, answers, replace(reading, suffix=f" {RATIONALE_CUE}"))
        return super().read(student, examples, answers, reading)

    def explain(
        self,
        student: Writer,
        examples: Sequence[Example],
        predictions: list[Prediction],
        answers: Answers,
        reading: DecodingConfig,
    ) -> list[Prediction]:
        """Add the rationales of generated texts; one that follows another label than the ranked one is dropped."""
        if not reading.ranks(examples):
            return predictions
        written = self.read(student, examples, answers, replace(reading, decoding="generate"))
        return [
            replace(ranked, rationale=other.rationale if answers.equivalent(other.label, ranked.label) else None)
            for ranked, other in zip(predictions, written, strict=True)
        ]


def _find(text: str, cue: str) -> list[re.Match[str]]:
    """Find a cue whatever a tokenizer did to its spacing and case."""
    pattern = r"\s*".join(re.escape(letter) for letter in cue if not letter.isspace())
    return list(re.finditer(pattern, text, flags=re.IGNORECASE))
