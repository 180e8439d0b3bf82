"""Base of the built students that generate text."""

from collections.abc import Sequence

from dsbs.core.records import Example, Prediction
from dsbs.students.answering import DecodingConfig
from dsbs.students.decoding import generate, rank
from dsbs.students.model import StudentModel


class GenerativeModel(StudentModel):
    """A student with a decoder: closed answers are ranked by their probability as text, others generated."""

    def rank(self, examples: Sequence[Example], reading: DecodingConfig) -> list[Prediction]:
        return rank(self, examples, reading)

    def write(self, examples: Sequence[Example], reading: DecodingConfig, kind: str = "label") -> list[str]:
        return generate(self, examples, reading, kind)
