"""What a look at an extraction shows: counted while it is annotated, so that memory does not grow with it."""

import heapq
from collections import Counter
from dataclasses import dataclass, field

from dsbs.core.records import OK, Annotation, Completion, Example
from dsbs.data.subsets import rank_of
from dsbs.store import Failure
from dsbs.tasks.base import Answers

Said = Completion | Failure

SHOWN = 50
SHOWN_PER_STATUS = 3
# Beyond so many different gold labels they are free answers, not classes.
MOST_CLASSES = 40
LENGTH_STEP = 10
LONGEST = 200


@dataclass
class Shown:
    """One example with all that is known about it."""

    split: str
    example: Example
    annotation: Annotation
    said: str

    def right(self, answers: Answers) -> bool | None:
        """Tell whether the teacher was right; None where there is no gold label."""
        gold = self.example.label
        return None if gold is None else answers.equivalent(self.annotation.label, gold)


@dataclass
class Look:
    """Counts and samples over all splits of an extraction.

    Attributes:
        classes: gold label -> (examples, of them answered right); emptied where there are too many of them.
        lengths: words of the usable rationales, rounded down to tens -> examples.
        failures: status -> a few examples.
        sample: random annotations, the same ones in every run.
    """

    classes: dict[str, list[int]] = field(default_factory=dict)
    lengths: Counter[int] = field(default_factory=Counter)
    failures: dict[str, list[Shown]] = field(default_factory=dict)
    too_many_classes: bool = False
    _heap: list[tuple[int, str, str, Shown]] = field(default_factory=list)

    def add(self, split: str, example: Example, annotation: Annotation, said: list[Said], right: bool) -> None:
        """Count an example.

        Args:
            split: its split.
            example: the example.
            annotation: what was made of it, filters included.
            said: what came back from the teacher.
            right: whether the teacher's answer agrees with gold.
        """
        if example.label is not None and not self.too_many_classes:
            count = self.classes.setdefault(example.label, [0, 0])
            count[0] += 1
            count[1] += right
            if len(self.classes) > MOST_CLASSES:
                self.classes.clear()
                self.too_many_classes = True
        shown = Shown(split, example, annotation, _tell(said))
        if annotation.status == OK:
            words = len((annotation.rationale or "").split())
            self.lengths[min(words, LONGEST) // LENGTH_STEP * LENGTH_STEP] += 1
        else:
            examples = self.failures.setdefault(annotation.status, [])
            if len(examples) < SHOWN_PER_STATUS:
                examples.append(shown)
        # The examples with the lowest ranks are a random draw that stays the same from run to run.
        rank = -int.from_bytes(rank_of(example.id, 0, f"look {split}"), "big")
        if len(self._heap) < SHOWN or rank > self._heap[0][0]:
            push = heapq.heappush if len(self._heap) < SHOWN else heapq.heappushpop
            push(self._heap, (rank, split, example.id, shown))

    @property
    def sample(self) -> list[Shown]:
        """Random annotations, in no order."""
        return [shown for *_, shown in sorted(self._heap, key=lambda entry: -entry[0])]


def _tell(said: list[Said]) -> str:
    return "\n\n".join(one.text if isinstance(one, Completion) else one.message for one in said)
