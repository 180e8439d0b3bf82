"""From a teacher's raw completions to annotations: rationale, answer, or why there is none."""

from dsbs.extraction.parsing.chain import STATUSES, parse
from dsbs.extraction.parsing.probabilities import answer_probabilities, mean_probabilities
from dsbs.extraction.parsing.rationales import RATIONALES_FROM, Take, clean_rationale
from dsbs.extraction.parsing.samples import annotate, annotate_whole, vote
from dsbs.extraction.parsing.thoughts import split_thought

__all__ = [
    "RATIONALES_FROM",
    "STATUSES",
    "Take",
    "annotate",
    "annotate_whole",
    "answer_probabilities",
    "clean_rationale",
    "mean_probabilities",
    "parse",
    "split_thought",
    "vote",
]
