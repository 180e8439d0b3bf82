"""The handbook: a scripted stand-in for a teacher of the built-in task."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar

from dsbs.core.checks import SHARE, range_faults
from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion, Request
from dsbs.tasks.base import Task
from dsbs.tasks.triage import COMPLAINTS, DECISIONS, policy, read_facts
from dsbs.teachers.base import Ask, Teacher

MODEL = "handbook (scripted stand-in)"
# It does not repeat the message: a student that copies the product before it names the family learns to map one word to
# the next, not to read the message. One short wording: every word more is one more to learn (docs/results.md).
REASONS = "The product is {family}, the complaint is {kind}."
BROKEN = """I would need to see the order before I can say more.|This is hard to tell; there may be several ways to go
    |Let me think about the {product} step by step. First of all,"""


@dataclass
class HandbookTeacher(Teacher):
    """A scripted stand-in, no language model: it reads the message by the built-in task's own rules.

    It writes free text with a chain of thought, as a language model would, and can be made to err. The same request
    gives the same completion.

    Attributes:
        wrong_kind: fraction of completions that mistake the kind of complaint and reason from there.
        wrong_label: fraction with correct reasoning and a wrong decision.
        broken_format: fraction without the cue that marks the answer.
        seed: random seed of the errors.
        cue: the words before the answer, as in the exemplars of ``conf/prompt/triage.yaml``.
    """

    stand_in: ClassVar[str | None] = (
        "is a scripted stand-in, not a language model: it writes from the rules of the task and names both of the "
        "facts that a message hides. The numbers show what an oracle's rationales do for a student, not an LLM's."
    )
    free: ClassVar[bool] = True

    kind: str = "handbook"
    model: str | None = MODEL
    licence: str | None = "Apache-2.0, as dsbs"
    wrong_kind: float = 0.0
    wrong_label: float = 0.0
    broken_format: float = 0.0
    seed: int = 0
    cue: str = "So the answer is"

    def faults(self) -> list[str]:
        shares = range_faults(self, SHARE, "wrong_kind", "wrong_label", "broken_format", prefix="teacher.")
        faults = super().faults() + shares
        if not shares and self.wrong_kind + self.wrong_label + self.broken_format > 1:
            faults.append(
                "teacher.wrong_kind + teacher.wrong_label + teacher.broken_format: expected at most 1 in all."
            )
        if self.model != MODEL:
            faults.append(
                f"teacher.model={self.model}: teacher=handbook is a script and no model; did you mean teacher=openai "
                f"teacher.model={self.model}?"
            )
        if self.path is not None:
            faults.append(f"teacher.path={self.path}: the handbook reads no files; did you mean teacher=recorded?")
        return faults

    def identity(self) -> dict[str, object]:
        keys = ("kind", "model", "wrong_kind", "wrong_label", "broken_format", "seed", "cue")
        return {key: getattr(self, key) for key in keys} | {"version": 2}

    @asynccontextmanager
    async def connect(self, task: Task) -> AsyncIterator[Ask]:
        """Yield the ``Ask`` of the handbook.

        Raises:
            TeacherError: for any task but the built-in one.
        """
        if task.kind != "triage":
            raise TeacherError(
                f"teacher=handbook is a scripted stand-in for the built-in task triage and cannot answer {task.name}. "
                "Choose teacher=openai, llama_cpp or recorded."
            )
        yield self._answer

    async def _answer(self, request: Request) -> Completion:
        text = self.write(request.question, request.sample)
        return Completion(text, "stop", MODEL, len(request.text().split()), len(text.split()))

    def write(self, message: str, sample: int = 0) -> str:
        """Return the completion for a message; the same one for the same message and number of the sample."""
        rng = random.Random(f"handbook {self.seed} {sample} {message}")  # noqa: S311 - seeded, draws errors
        facts = read_facts(message)
        if facts is None:
            return "The message names no product and complaint that the handbook knows."
        fate = rng.random()
        if fate < self.broken_format:
            return _choose(BROKEN, rng).format(product=facts.product)
        if fate < self.broken_format + self.wrong_kind:
            kind = rng.choice([kind for kind in COMPLAINTS if kind != facts.kind])
            facts = facts._replace(kind=kind, decision=policy()[facts.family, kind])
        label = facts.decision
        if self.broken_format + self.wrong_kind <= fate < self.broken_format + self.wrong_kind + self.wrong_label:
            label = rng.choice([decision for decision in DECISIONS if decision != label])
        return f"{REASONS.format(**facts._asdict())} {self.cue} {label}."


def _choose(wordings: str, rng: random.Random) -> str:
    return " ".join(rng.choice(wordings.split("|")).split())
