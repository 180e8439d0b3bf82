"""How often a student agrees with the LLM that it is to replace."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from dsbs.deferral.measures import lower_bound
from dsbs.serving.traffic import Compared
from dsbs.tasks.base import Answers


def count_agreement(found: Sequence[Compared], answers: Answers) -> dict[str, Any]:
    """Return how often the student agrees with the LLM, with 95% lower bounds.

    Answers below the threshold (``deferred``) are counted apart: ``mode=defer`` compares all of them, but only a sample
    of the others. ``all`` and ``classes``, by the LLM's answer, are of the others.
    """
    same: Counter[str] = Counter()
    total: Counter[str] = Counter()
    deferred: list[bool] = []
    for _, below, student, teacher in found:
        agrees = answers.equivalent(student, teacher)
        if below:
            deferred.append(agrees)
            continue
        total[str(teacher)] += 1
        same[str(teacher)] += agrees
    classes = {
        label: _share(same[label], count)
        for label, count in sorted(total.items(), key=lambda item: (-item[1], item[0]))
    }
    whole = _share(same.total(), total.total())
    return {"all": whole, "deferred": _share(sum(deferred), len(deferred)), "classes": classes}


def _share(same: int, requests: int) -> dict[str, Any]:
    return {"requests": requests, "same": same, "lower_95": lower_bound(same, requests)}
