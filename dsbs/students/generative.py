"""Base of the built students that generate text."""

from collections.abc import Sequence

from dsbs.core.records import Example, Prediction
from dsbs.students.answering import DecodingConfig
from dsbs.students.decoding import generate, rank
from dsbs.students.model import StudentModel
from dsbs.students.prefixes import task_prefix, without_prefixes


class GenerativeModel(StudentModel):
    """A student with a decoder: closed answers are ranked by their probability as text, others generated."""

    _start_ids: dict[str, int]

    def prefixed(self, texts: list[str], kind: str) -> list[str]:
        """Return inputs as they are read: behind their task prefix with ``prefix_on=input``."""
        texts = without_prefixes(texts)
        return [f"{task_prefix(kind)} {text}" for text in texts] if self.prefix_on == "input" else texts

    def encode_targets(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        # Marian has pieces of its own for targets; M2M100 would take none as targets without a target language.
        way = "text_target" if hasattr(self.tokenizer, "spm_target") else "text"
        rows = self.tokenizer(**{way: without_prefixes(texts)}, add_special_tokens=False)["input_ids"]
        return [[*row, self._end_id] for row in rows]

    def start_id(self, kind: str) -> int:
        return self._start_ids[kind]

    def rank(self, examples: Sequence[Example], reading: DecodingConfig) -> list[Prediction]:
        return rank(self, examples, reading)

    def write(self, examples: Sequence[Example], reading: DecodingConfig, kind: str = "label") -> list[str]:
        return generate(self, examples, reading, kind)
