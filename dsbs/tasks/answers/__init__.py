"""Kinds of answers: a closed set, a number, free text; how each is parsed from text, and compared.

Teachers write ``So the answer is (d) math problem.``, WordPiece students ``don ' t`` for ``don't`` and ``84. 0`` for
``84.0``: texts are compared without case and spacing, and mapped back to the canonical answer.

There are two ways of parsing (``reading``). ``tolerant`` understands many wordings. ``paper`` parses as the code of the
paper's release does, whose published accuracies count that way: the text beside a letter is the answer as it is
written, capitals included, even where it is none of the choices; of an equation, only the part in brackets is read.
"""

from dsbs.tasks.answers.kinds import (
    READINGS,
    ClosedAnswers,
    FreeAnswers,
    NumberAnswers,
    TextAnswers,
    letter_of,
    with_choices,
    without_choices,
)

__all__ = [
    "READINGS",
    "ClosedAnswers",
    "FreeAnswers",
    "NumberAnswers",
    "TextAnswers",
    "letter_of",
    "with_choices",
    "without_choices",
]
