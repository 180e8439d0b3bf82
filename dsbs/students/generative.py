"""Base of the students that write: they rank closed answers by what they would write, and write free ones."""

from collections.abc import Sequence

from dsbs.core.records import Example, Prediction
from dsbs.students.answering import DecodingConfig
from dsbs.students.decoding import generate, rank
from dsbs.students.model import StudentModel


class GenerativeModel(StudentModel):
    """A student with a decoder."""

    def rank(self, examples: Sequence[Example], reading: DecodingConfig) -> list[Prediction]:
        return rank(self, examples, reading)

    def write(self, examples: Sequence[Example], reading: DecodingConfig, kind: str = "label") -> list[str]:
        return generate(self, examples, reading, kind)
