"""``rationales.html``: counts and samples of an extraction, collected in bounded memory, as one self-contained file."""

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsbs.core.html import render
from dsbs.core.records import OK, Annotation, Completion, Example
from dsbs.data.subsets import rank_of
from dsbs.extraction.filters import REFUSED
from dsbs.extraction.parsing import STATUSES
from dsbs.store import Outcome

TEMPLATES = Path(__file__).with_name("templates")
LONGEST_TEXT = 1500
MAX_TAKEN_FOR = 3
SHOWN = 50
SHOWN_PER_STATUS = 3
LENGTH_STEP = 10
LONGEST = 200


@dataclass
class ShownExample:
    """An example with its annotation.

    Attributes:
        split: of the source.
        example: the example.
        annotation: its annotation, filters applied.
        outcomes: the teacher's completions, or the messages of failures.
        right: whether the teacher's answer is right; None without a gold label.
    """

    split: str
    example: Example
    annotation: Annotation
    outcomes: str
    right: bool | None


@dataclass
class ClassCount:
    """Counts over the examples of one gold label.

    Attributes:
        examples: their number.
        right: those that the teacher answered right.
        taken_for: the teacher's other answers, with counts; None: no answer.
    """

    examples: int = 0
    right: int = 0
    taken_for: Counter[str | None] = field(default_factory=Counter)

    @property
    def wrong(self) -> int:
        """Examples that the teacher did not answer right."""
        return self.examples - self.right


class RandomSample:
    """A random sample of a stream of examples, the same in every run; memory holds the sample alone.

    Args:
        purpose: decides the sample, together with split and id.
    """

    def __init__(self, size: int, purpose: str) -> None:
        self.size, self.purpose = size, purpose
        self._heap: list[tuple[int, str, str, ShownExample]] = []

    def add(self, shown: "ShownExample") -> None:
        """Add an example to the stream."""
        rank = -int.from_bytes(rank_of(shown.example.id, 0, f"{self.purpose} {shown.split}"), "big")
        if len(self._heap) < self.size or rank > self._heap[0][0]:
            push = heapq.heappush if len(self._heap) < self.size else heapq.heappushpop
            push(self._heap, (rank, shown.split, shown.example.id, shown))

    def examples(self) -> list[ShownExample]:
        """Return the sample, in random order."""
        return [shown for *_, shown in sorted(self._heap, key=lambda entry: -entry[0])]


@dataclass
class PageData:
    """Counts and samples over all splits of an extraction.

    Attributes:
        classes: gold label -> counts of its examples, where all examples share their closed answers.
        kind: what the answers are: ``closed``, ``own`` (each example has closed answers of its own), ``free``, or None
            before the first example.
        lengths: words of a usable rationale, rounded down to tens -> number of examples.
        failures: status -> its first examples.
        sample: a random sample of all annotations.
        wrong: a random sample of those that differ from gold.
    """

    classes: dict[str, ClassCount] = field(default_factory=dict)
    kind: str | None = None
    lengths: Counter[int] = field(default_factory=Counter)
    failures: dict[str, list[ShownExample]] = field(default_factory=dict)
    sample: RandomSample = field(default_factory=lambda: RandomSample(SHOWN, "look"))
    wrong: RandomSample = field(default_factory=lambda: RandomSample(SHOWN, "wrong"))
    _answers: frozenset[str] = frozenset()

    def add(self, split: str, example: Example, annotation: Annotation, outcomes: list[Outcome], right: bool) -> None:
        """Add an example.

        Args:
            annotation: its annotation, filters applied.
        """
        failed = bool(outcomes) and not any(isinstance(outcome, Completion) for outcome in outcomes)
        if not failed:
            self._count_class(example, annotation, right)
        shown = ShownExample(
            split, example, annotation, _join_messages(outcomes), None if example.label is None else right
        )
        if annotation.status == OK:
            words = len((annotation.rationale or "").split())
            self.lengths[min(words, LONGEST) // LENGTH_STEP * LENGTH_STEP] += 1
        else:
            examples = self.failures.setdefault(annotation.status, [])
            if len(examples) < SHOWN_PER_STATUS:
                examples.append(shown)
        self.sample.add(shown)
        if example.label is not None and not right and not failed:
            self.wrong.add(shown)

    def _count_class(self, example: Example, annotation: Annotation, right: bool) -> None:
        answers = frozenset(example.choices or ())
        if self.kind is None:
            self.kind, self._answers = "closed" if answers else "free", answers
        elif answers != self._answers and self.kind != "free":
            self.kind = "own"
            self.classes.clear()
        if self.kind == "closed" and example.label is not None:
            count = self.classes.setdefault(example.label, ClassCount())
            count.examples += 1
            count.right += right
            if not right:
                count.taken_for[annotation.label] += 1


def _join_messages(outcomes: list[Outcome]) -> str:
    return "\n\n".join(_words(one) for one in outcomes)


def _words(outcome: Outcome) -> str:
    """Return a completion's text, or its thinking where that is all; or the message of a failure."""
    if not isinstance(outcome, Completion):
        return outcome.message
    return outcome.text if outcome.text.strip() or not outcome.reasoning else f"(thinking) {outcome.reasoning}"


def show_accuracy(part: Mapping[str, Any]) -> str:
    """Return the teacher's accuracy on a split as text, with the number of gold labels where examples lack one.

    >>> show_accuracy({"examples": 40, "parsed": 36, "teacher_accuracy": 0.9, "gold_labels": 10})
    '90.00% of 10'
    """
    accuracy, gold = part["teacher_accuracy"], part.get("gold_labels", part["examples"])
    if accuracy is None:
        known = "same as gold" if part.get("gold_labels") else "no gold labels"
        return known if part["parsed"] else ""
    return f"{100 * accuracy:.2f}%" + f" of {gold:,}" * (gold < part["examples"])


def build_page(summary: dict[str, Any], page: PageData) -> str:
    """Return the HTML of the page."""
    sample = page.sample.examples()
    there = {(shown.split, shown.example.id) for shown in sample}
    known = any(part["teacher_accuracy"] is not None for part in summary["splits"].values())
    return render(
        TEMPLATES,
        "rationales.html",
        summary=summary,
        teacher=str(summary["model"] or summary["teacher"]),
        page=page,
        show_accuracy=show_accuracy,
        systems=[(split, one) for split, part in summary["splits"].items() for one in part.get("systems", [])],
        counted={status: _count(summary, status) for status in page.failures},
        meanings={status: _explain(status) for status in page.failures},
        lengths=[(_name_length(start), count) for start, count in sorted(page.lengths.items())],
        most=max(page.lengths.values(), default=0),
        classes=sorted(page.classes.items(), key=lambda item: (-item[1].wrong, item[0])) if known else [],
        sample=sample,
        more=[shown for shown in page.wrong.examples() if (shown.split, shown.example.id) not in there],
        taken_for=MAX_TAKEN_FOR,
        longest=LONGEST_TEXT,
    )


def _count(summary: dict[str, Any], status: str) -> int:
    return sum(split["statuses"].get(status, 0) for split in summary["splits"].values())


def _explain(status: str) -> str:
    refused = "rejected by a filter" if status.startswith(REFUSED) else "no completion; the next run asks again"
    return STATUSES.get(status) or refused


def _name_length(start: int) -> str:
    return f"{start}+" if start >= LONGEST else f"{start}-{start + LENGTH_STEP - 1}"
