"""Filters: which annotations may be learned from. All are off by default; every rejection is counted."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dsbs.core.checks import NOT_NEGATIVE, SHARE, range_faults
from dsbs.core.records import LABELLED, NO_RATIONALE, OK, Annotation, Example
from dsbs.core.registry import Registry
from dsbs.tasks.base import Answers

WORD = re.compile(r"\w+(?:['.-]\w+)*")
NGRAM = 4

# Filters without settings: name -> function that returns whether an annotation is rejected. A new one is a function and
# a line here, or an entry point; `filter.checks` names it.
CHECKS: Registry[Callable[[Example, Annotation], bool]] = Registry("dsbs.filters", {})


@dataclass
class Filter:
    """Conditions on annotations, applied in the order of the fields; the first that fails is named in the status.

    The first two are about the label, and hold where there is no rationale, too; the others are about the rationale.

    Attributes:
        name: the option's name in ``conf/filter/``.
        agrees_with_gold: reject labels that differ from the gold label, if there is one.
        min_agreement: reject labels with a smaller share of the votes.
        min_words: reject rationales with fewer words.
        max_words: reject rationales with more words.
        max_repetition: reject rationales with a larger share of repeated 4-grams of words.
        other_answer: reject rationales that name another choice of the example, but not their own answer.
        gives_away: reject rationales that contain the answer verbatim.
        duplicates: reject rationales that are verbatim duplicates within the split.
        checks: names of filters that packages add (entry points ``dsbs.filters``); see ``docs/extending.md``.
    """

    name: str = "none"
    agrees_with_gold: bool = False
    min_agreement: float | None = None
    min_words: int | None = None
    max_words: int | None = None
    max_repetition: float | None = None
    other_answer: bool = False
    gives_away: bool = False
    duplicates: bool = False
    checks: list[str] = field(default_factory=list)

    @property
    def asked(self) -> dict[str, Any]:
        """The settings that are not the defaults; empty where everything passes."""
        plain = Filter()
        return {key: value for key, value in vars(self).items() if key != "name" and value != getattr(plain, key)}

    @property
    def title(self) -> str:
        """The name with all settings that are not the defaults, to tell filters of one name apart.

        >>> Filter().title, Filter("gold", agrees_with_gold=True).title, Filter("strict", min_words=5).title
        ('none', 'gold (agrees_with_gold)', 'strict (min_words=5)')
        """
        shown = {key: f"[{','.join(value)}]" if isinstance(value, list) else value for key, value in self.asked.items()}
        options = ", ".join(key if value is True else f"{key}={value}" for key, value in shown.items())
        return f"{self.name} ({options})" if options else "none"

    def faults(self) -> list[str]:
        """Return what is wrong with the settings, one sentence each."""
        faults = range_faults(self, SHARE, "min_agreement", "max_repetition", prefix="filter.")
        faults += range_faults(self, NOT_NEGATIVE, "min_words", "max_words", prefix="filter.")
        if self.min_words is not None and self.max_words is not None and self.min_words > self.max_words:
            faults.append(
                f"filter.min_words={self.min_words} is above filter.max_words={self.max_words}: nothing can pass."
            )
        if self.other_answer and self.gives_away:
            faults.append(
                "filter.other_answer=true and filter.gives_away=true: together they reject every rationale that "
                "names a choice; set one of them."
            )
        unknown = [name for name in self.checks if name not in CHECKS]
        if unknown:
            faults.append(f"filter.checks: {unknown[0]}: expected one of {', '.join(CHECKS) or 'those of a package'}.")
        return faults


REFUSED = "filter: "  # the beginning of the status of rejected annotations
_ALONE = f" ({NO_RATIONALE})"  # the end of such a status, where the annotation had no rationale


def restore(annotation: Annotation) -> Annotation:
    """Return an annotation as it was before a filter rejected it.

    >>> restore(Annotation("1", "no", "Fire is hot.", status="filter: min_words")).status
    'ok'
    >>> restore(Annotation("1", "no", status="filter: min_agreement (no_rationale)")).status
    'no_rationale'
    """
    if not annotation.status.startswith(REFUSED):
        return annotation
    return replace(annotation, status=NO_RATIONALE if annotation.status.endswith(_ALONE) else OK)


class FilterCheck:
    """Applies a filter to the annotations of one split, in their order."""

    def __init__(self, settings: Filter, answers: Answers) -> None:
        self.settings, self.answers = settings, answers
        self._seen: set[bytes] = set()

    def check(self, example: Example, annotation: Annotation) -> Annotation:
        """Return the annotation unchanged, or with the condition that failed as its status (``filter: min_words``)."""
        if annotation.status not in LABELLED:
            return annotation
        refused = self._label_refused_by(example, annotation)
        if refused is None and annotation.status == OK:
            refused = self._rationale_refused_by(example, annotation)
        alone = _ALONE if annotation.status == NO_RATIONALE else ""
        return replace(annotation, status=f"{REFUSED}{refused}{alone}") if refused else annotation

    def _label_refused_by(self, example: Example, annotation: Annotation) -> str | None:
        settings, gold = self.settings, example.label
        if settings.agrees_with_gold and gold is not None and not self.answers.equivalent(annotation.label, gold):
            return "agrees_with_gold"
        if settings.min_agreement is not None and (annotation.agreement or 0.0) < settings.min_agreement:
            return "min_agreement"
        return None

    def _rationale_refused_by(self, example: Example, annotation: Annotation) -> str | None:
        settings, label = self.settings, annotation.label or ""
        words = WORD.findall((annotation.rationale or "").lower())
        if settings.min_words is not None and len(words) < settings.min_words:
            return "min_words"
        if settings.max_words is not None and len(words) > settings.max_words:
            return "max_words"
        if settings.max_repetition is not None and repetition(words) > settings.max_repetition:
            return "max_repetition"
        if settings.other_answer and names_other_answer(words, label, example.choices or ()):
            return "other_answer"
        if settings.gives_away and _holds(words, label):
            return "gives_away"
        if settings.duplicates and self._occurred(words):
            return "duplicates"
        return next((name for name in settings.checks if CHECKS[name](example, annotation)), None)

    def _occurred(self, words: list[str]) -> bool:
        # Eight bytes a rationale, so that a million of them fit.
        digest = hashlib.blake2b(" ".join(words).encode(), digest_size=8).digest()
        known = digest in self._seen
        self._seen.add(digest)
        return known


def repetition(words: list[str]) -> float:
    """Return the share of 4-grams of words that repeat an earlier one, 0.0 to 1.0.

    >>> repetition("it is so it is so it is".split())
    0.4
    """
    runs = [tuple(words[start : start + NGRAM]) for start in range(len(words) - NGRAM + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def names_other_answer(words: list[str], label: str, choices: tuple[str, ...]) -> bool:
    """Return whether a rationale contains another choice, but not its own label.

    Args:
        words: of the rationale, in lower case.
    """
    others = [choice for choice in choices if choice.lower() != label.lower()]
    return not _holds(words, label) and any(_holds(words, choice) for choice in others)


def _holds(words: list[str], phrase: str) -> bool:
    wanted = WORD.findall(phrase.lower())
    return bool(wanted) and any(
        words[start : start + len(wanted)] == wanted for start in range(len(words) - len(wanted) + 1)
    )
