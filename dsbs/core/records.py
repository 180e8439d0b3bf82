"""The records that are passed from stage to stage; each stage reads those of the one before and writes its own."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dsbs.core.logprobs import TokenLogprobs


@dataclass(frozen=True, slots=True)
class Example:
    """One example of a task.

    Attributes:
        id: unique within its split; everything is joined by it.
        input: what teacher and student read.
        label: the gold answer in its canonical form, or None where there is none.
        choices: the closed answers of this example in the source's order, or None where the answer is free.
    """

    id: str
    input: str
    label: str | None = None
    choices: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a teacher: an instruction, worked examples, and the example that is asked about.

    Attributes:
        id: the id of the example.
        split: the split of the example.
        instruction: the instruction to the teacher; may be empty.
        shots: pairs (question, answer) of the exemplars, the same for every request of an extraction.
        question: the question, worded as those of the exemplars.
        sample: 0 for the first completion of this question, 1 for the second, ...
        choices: the closed answers of the example, for endpoints that can be held to them.
        answer_format: ``text``, or ``json`` where the endpoint is to be held to an object of rationale and answer.
        system_role: whether the instruction is a message of its own; the question is the same either way.
    """

    id: str
    split: str
    instruction: str
    shots: tuple[tuple[str, str], ...]
    question: str
    sample: int = 0
    choices: tuple[str, ...] | None = None
    answer_format: str = "text"
    system_role: bool = True

    def messages(self) -> list[dict[str, str]]:
        """Return the request as chat messages."""
        turns = [{"role": "system", "content": self.instruction}] if self.instruction else []
        for question, answer in self.shots:
            turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        turns.append({"role": "user", "content": self.question})
        return turns if self.system_role else fold_system(turns)

    def text(self) -> str:
        """Return the request as one text for a plain completion; it ends where the teacher continues."""
        blocks = [self.instruction] if self.instruction else []
        blocks += [f"Q: {question}\nA: {answer}" for question, answer in self.shots]
        return "\n\n".join([*blocks, f"Q: {self.question}\nA:"])


def fold_system(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    r"""Return messages with the system message put before the first question, for models without that role.

    >>> fold_system([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "why?"}])
    [{'role': 'user', 'content': 'Be brief.\n\nwhy?'}]
    """
    if len(messages) < 2 or messages[0]["role"] != "system":
        return messages
    instruction, first, *rest = messages
    return [first | {"content": f"{instruction['content']}\n\n{first['content']}"}, *rest]


@dataclass(frozen=True, slots=True)
class Completion:
    """What a teacher returned for one request, unparsed.

    Attributes:
        text: the raw text.
        finish_reason: why the teacher stopped: ``stop``, ``length``, ... or None where it does not say.
        model: the model that answered, as the server names it.
        prompt_tokens: tokens read, or None where unknown.
        completion_tokens: tokens written, or None where unknown.
        created: Unix time in seconds.
        batch: number of the batch that it came with, at the price of batches; None where it was requested by itself.
        reasoning: the model's reasoning, where the server returns it apart from the text; or None.
        logprobs: of each token of the text, where they were requested (``teacher.top_logprobs``); or None.
    """

    text: str
    finish_reason: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    created: float = 0.0
    batch: int | None = None
    reasoning: str | None = None
    logprobs: tuple[TokenLogprobs, ...] | None = None


OK = "ok"
NO_RATIONALE = "no_rationale"
LABELS = ("gold", "teacher", "mixed")  # whose labels a run learns; mixed: gold where there is one, else the teacher's
LABELLED = (OK, NO_RATIONALE)  # of the statuses of annotations, those whose label can be used


# Fields of annotations that files of earlier versions lack, and that only some runs read.
LATER_FIELDS = ("votes", "probabilities", "system")


@dataclass(frozen=True, slots=True)
class Annotation:
    """What was parsed from a teacher's completions for one example.

    Attributes:
        id: the id of the example.
        label: the teacher's answer in the task's canonical form, or None.
        rationale: why, in the teacher's words, without the answer's cue; or None.
        status: ``ok``, or the reason why this annotation is not used.
        agreement: share of all samples, also of those that failed, that voted for the label (1.0 for a single one), or
            None.
        votes: label -> how many samples gave it, or None where that was not kept.
        probabilities: closed answer -> its probability at the position of the answer, by the teacher's
            log-probabilities; the rest up to 1 is that of other texts. None where they were not requested.
        system: the system prompt that was used, of a pool of several (``prompt.systems``); or None.
    """

    id: str
    label: str | None = None
    rationale: str | None = None
    status: str = OK
    agreement: float | None = None
    votes: Mapping[str, int] | None = None
    probabilities: Mapping[str, float] | None = None
    system: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that the student learns to write.

    Attributes:
        kind: ``label`` or ``rationale``; also the task prefix, ``[label]`` or ``[rationale]``.
        text: the text to write.
        weight: its weight among the targets of its kind, in the sum of losses and in the count that it is divided by.
        input: the input it is written from, or None: the example's input.
        kept: the end of the text, of which nothing is lost where the text is too long.
    """

    kind: str
    text: str
    weight: float = 1.0
    input: str | None = None
    kept: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a student answered.

    Attributes:
        id: the id of the example.
        gold: the gold answer, or None.
        label: the student's answer in canonical form; None where its text is not an answer of the task.
        rationale: the student's rationale, where its objective writes one; or None.
        score: log-probability of the label under the student, in nats, or None.
        scores: log-probability of each closed answer, in nats; None where the answer is written freely. The
            probabilities need not add up to 1: other texts have a share, too.
        confidence: probability of the label among the closed answers (their softmax), or None.
        truncated: whether the input was longer than the student reads; told by servers.
    """

    id: str
    gold: str | None
    label: str | None
    rationale: str | None = None
    score: float | None = None
    scores: Mapping[str, float] | None = None
    confidence: float | None = None
    truncated: bool = False

    @classmethod
    def ranked(cls, id: str, gold: str | None, scores: Mapping[str, float]) -> "Prediction":
        """Return the prediction that scored closed answers lead to: the most probable one, the first of equal ones.

        Args:
            scores: closed answer -> log-probability, in nats.

        >>> prediction = Prediction.ranked("1", "yes", {"no": math.log(0.1), "yes": math.log(0.3)})
        >>> prediction.label, round(prediction.confidence, 6)
        ('yes', 0.75)
        """
        label = max(scores, key=lambda choice: scores[choice])
        return cls(id, gold, label, score=scores[label], scores=scores, confidence=softmax(scores)[label])


def softmax(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Return the probability of each closed answer among them all; None where a score is NaN, or none is finite.

    Args:
        scores: log-probabilities, in nats.
    """
    most = max(scores.values())
    shares = {choice: math.exp(score - most) if math.isfinite(most) else math.nan for choice, score in scores.items()}
    total = sum(shares.values())
    return {choice: share / total if math.isfinite(total) else None for choice, share in shares.items()}
