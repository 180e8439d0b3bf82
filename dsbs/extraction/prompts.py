"""Prompts: an instruction, exemplars with rationales, and the cue that marks the answer (paper, section 3.1)."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from dsbs.core.checks import AT_LEAST_1, option_faults, range_faults
from dsbs.core.records import Annotation, Completion, Example, Request
from dsbs.core.secrets import looks_secret
from dsbs.extraction.parsing import RATIONALES_FROM, Take, annotate, annotate_whole
from dsbs.tasks.answers import letter_of, with_choices
from dsbs.tasks.base import Answers

_LISTED = re.compile(r"\nAnswer Choices:\n\(a\) .*$", re.S)
_JSON_INSTRUCTION = 'Write one JSON object with the keys "rationale" and, after it, "answer": the answer alone.'
SEEN_FIRST = 4
WHOLE = "whole"  # the answer_format of prompts without a cue
ANSWER_FORMATS = ("text", "json", WHOLE)
_NOT_WORDS = re.compile(r"[\W_]+")


@dataclass
class Exemplar:
    """A worked example for the teacher.

    Attributes:
        input: like the input of an ``Example``.
        rationale: why the answer is right.
        answer: the answer in the task's canonical form.
        choices: the closed answers of this exemplar where they differ from example to example.
    """

    input: str = "???"
    rationale: str = "???"
    answer: str = "???"
    choices: list[str] = field(default_factory=list)


@dataclass
class Prompt:
    """The prompt of a teacher.

    Attributes:
        name: the option's name in ``conf/prompt/``.
        instruction: the teacher's instruction; may be empty. ``{cue}`` is replaced by the cue and ``{choices}`` by the
            example's closed answers; a line with ``{choices}`` is dropped if there are none, or if the question lists
            them.
        systems: system prompts of which each example gets one, the same one every time, chosen by its id (explanation
            tuning; Orca, arXiv 2306.02707, section 3.1); it comes before the instruction. An empty text counts as one.
        cue: the words that mark the answer in the exemplars, such as ``So the answer is``.
        show_choices: whether the question lists the example's choices as ``(a) ...`` and the answers name the letter.
        answer_format: ``text``, or ``json`` for endpoints with structured output (``response_format``): exemplars and
            completions are objects with the keys ``rationale`` and ``answer``. ``whole``: the whole completion is the
            answer, without a cue; for tasks whose answers are texts (``task.answer_kind=text``).
        system_role: whether the instruction is a system message; false puts it before the first question, for models
            without a system role.
        rationale_from: ``answer``: the text before the answer, or else the thinking; ``thinking``: the thinking of a
            reasoning model (``<think>``, ``reasoning_content``), or else the text; ``both``: one after the other. It is
            parsed from the store, so a change repeats no request.
        thought_sentences: number of last sentences of the thinking to keep as rationale; None: all of it.
        thought_words: keep the last sentences of the thinking with at most this many words together (a word is about
            1.3 tokens); None: all of it.
        exemplars: the worked examples, in the order shown.
    """

    name: str = "???"
    instruction: str = ""
    systems: list[str] = field(default_factory=list)
    cue: str = "So the answer is"
    show_choices: bool = False
    answer_format: str = "text"
    system_role: bool = True
    rationale_from: str = "answer"
    thought_sentences: int | None = None
    thought_words: int | None = None
    exemplars: list[Exemplar] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Return what is wrong with the settings, one sentence each."""
        faults = option_faults(self, "prompt.", answer_format=ANSWER_FORMATS, rationale_from=RATIONALES_FROM)
        faults += range_faults(
            self, AT_LEAST_1, "thought_sentences", "thought_words", prefix="prompt.", null="all of the thinking"
        )
        if len(set(self.systems)) < len(self.systems):
            faults.append("prompt.systems: duplicate text; remove one.")
        if not self.cue.strip():
            faults.append("prompt.cue is empty: expected the words that mark the answer, such as 'So the answer is'.")
        if not self.exemplars and "{cue}" not in self.instruction and self.answer_format != WHOLE:
            faults.append(
                "prompt.exemplars is empty and prompt.instruction does not contain {cue}: without exemplars the "
                "instruction must say how to mark the answer, such as 'End with: {cue} ANSWER.'"
            )
        for number, exemplar in enumerate(self.exemplars):
            faults += [f"prompt.exemplars[{number}]{fault}" for fault in self._exemplar_faults(exemplar)]
        texts = [
            self.instruction,
            self.cue,
            *self.systems,
            *(text for one in self.exemplars for text in (one.input, one.rationale, one.answer)),
        ]
        if any(map(looks_secret, texts)):
            faults.append("prompt: its texts contain something like a key, and they are saved and sent to the teacher.")
        questions = [normalise(exemplar.input) for exemplar in self.exemplars]
        for number, question in enumerate(questions):
            if question in questions[:number]:
                faults.append(
                    f"prompt.exemplars[{number}].input: the same as prompt.exemplars[{questions.index(question)}]."
                )
        return faults

    @property
    def take(self) -> Take:
        """Which part of a completion becomes the rationale."""
        return Take(self.rationale_from, self.thought_sentences, self.thought_words)

    def request(self, example: Example, split: str, sample: int = 0) -> Request:
        """Return the request about an example.

        Args:
            sample: number of the sample, from 0.
        """
        question = self._question(example.input, example.choices)
        instruction = self._with_choices if example.choices and not _LISTED.search(question) else self._without_choices
        if system := self.system_of(example.id):
            instruction = f"{system.strip()}\n{instruction}".strip()
        if "{choices}" in instruction:
            instruction = instruction.replace("{choices}", ", ".join(dict.fromkeys(example.choices or ())))
        return Request(
            example.id,
            split,
            instruction,
            self.shots,
            question,
            sample,
            example.choices,
            self.answer_format,
            self.system_role,
        )

    def annotate(
        self, example: Example, completion: Completion, answers: Answers, most_written: int | None
    ) -> Annotation:
        """Return the annotation that a completion of this prompt gives; arguments are those of ``parsing.annotate``."""
        if self.answer_format == WHOLE:
            return annotate_whole(example, completion, answers, most_written=most_written)
        return annotate(example, completion, self.cue, answers, take=self.take, most_written=most_written)

    def system_of(self, id: str) -> str | None:
        """Return the system prompt of an example, or None where there is no pool of them.

        >>> prompt = Prompt("p", systems=["Be brief.", "Explain every step."])
        >>> [prompt.system_of(id) for id in ("1", "2", "3", "1")]
        ['Explain every step.', 'Be brief.', 'Explain every step.', 'Explain every step.']
        """
        if not self.systems:
            return None
        digest = hashlib.blake2b(f"system\0{id}".encode(errors="surrogatepass"), digest_size=8).digest()
        return self.systems[int.from_bytes(digest, "big") % len(self.systems)]

    @cached_property
    def shots(self) -> tuple[tuple[str, str], ...]:
        """The exemplars as pairs (question, answer); the answer is rationale, cue and answer."""
        return tuple((self._question(shot.input, shot.choices), self._answer(shot)) for shot in self.exemplars)

    def leaks(self, examples: Iterable[Example]) -> list[str]:
        """Return the ids of examples that also are exemplars of this prompt.

        Inputs are compared without case, whitespace, punctuation and listed choices.
        """
        own = {normalise(exemplar.input) for exemplar in self.exemplars}
        if not own:
            return []
        # Most begin differently, which is cheap to see.
        starts = {question[:SEEN_FIRST] for question in own}
        return [
            example.id
            for example in examples
            if (len(start := _start(example.input)) < SEEN_FIRST or start in starts) and normalise(example.input) in own
        ]

    def identity(self) -> dict[str, object]:
        """Return what decides a request beside the example."""
        identity: dict[str, object] = {
            "instruction": self.instruction,
            "cue": self.cue,
            "show_choices": self.show_choices,
            "answer_format": self.answer_format,
            "shots": [list(shot) for shot in self.shots],
        }
        return identity | ({"systems": list(self.systems)} if self.systems else {})

    def _question(self, text: str, choices: Sequence[str] | None) -> str:
        # Inputs that list their choices already (the student reads them, too) stay as they are.
        return with_choices(text, choices) if self.show_choices and choices else text

    def _answer(self, exemplar: Exemplar) -> str:
        answer = exemplar.answer
        if self.answer_format == WHOLE:
            return answer.strip()
        if self.answer_format == "json":
            return json.dumps({"rationale": exemplar.rationale.strip(), "answer": answer}, ensure_ascii=False)
        if self.show_choices and answer in exemplar.choices:
            answer = f"({letter_of(exemplar.choices.index(answer))}) {answer}"
        return f"{exemplar.rationale.strip()} {self.cue} {answer}."

    @cached_property
    def _with_choices(self) -> str:
        return self._instruct(self.instruction.strip().splitlines())

    @cached_property
    def _without_choices(self) -> str:
        return self._instruct([line for line in self.instruction.strip().splitlines() if "{choices}" not in line])

    def _instruct(self, lines: list[str]) -> str:
        if self.answer_format == "json":
            lines = [*lines, _JSON_INSTRUCTION]
        return "\n".join(lines).replace("{cue}", self.cue)

    def _exemplar_faults(self, exemplar: Exemplar) -> list[str]:
        faults = [
            f".{key} is empty."
            for key in (("input", "answer") if self.answer_format == WHOLE else ("input", "rationale", "answer"))
            if getattr(exemplar, key).strip() in ("", "???")
        ]
        if self.answer_format == WHOLE:
            return faults
        if self.cue.strip() and self.cue.lower() in exemplar.rationale.lower():
            faults.append(f".rationale holds the cue {self.cue!r}: it is added between rationale and answer.")
        if exemplar.answer.endswith("."):
            faults.append(".answer ends with a full stop, which is added automatically.")
        if self.show_choices and not exemplar.choices:
            faults.append(".choices is empty, but prompt.show_choices is set.")
        if exemplar.choices and exemplar.answer not in exemplar.choices:
            faults.append(f".answer={exemplar.answer!r} is not one of its choices ({', '.join(exemplar.choices)}).")
        return faults


def normalise(text: str) -> str:
    r"""Return an input in the form in which exemplars are compared with examples.

    >>> normalise("Where IS it?\nAnswer Choices:\n(a) here\n(b) there")
    'whereisit'
    """
    return _NOT_WORDS.sub("", _LISTED.sub("", text)).casefold()


def _start(text: str) -> str:
    """Return how the normalised text begins; shorter than ``SEEN_FIRST`` where that takes a longer look."""
    return normalise(text[:16].partition("\n")[0])[:SEEN_FIRST]
