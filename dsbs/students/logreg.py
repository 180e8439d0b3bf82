"""TF-IDF and logistic regression. No torch here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dsbs.core.checks import AT_LEAST_1, range_faults
from dsbs.students.linear import LinearStudent


@dataclass
class LogReg(LinearStudent):
    """TF-IDF of word and character n-grams, then multinomial logistic regression.

    Attributes:
        word_ngrams: word n-grams up to this length are features.
        char_ngrams: character n-grams within words, from 2 up to this length, are features as well; 0: none.
        min_df: n-grams that occur in fewer training inputs are dropped.
    """

    format: ClassVar[str] = "sklearn"

    kind: str = "logreg"
    word_ngrams: int = 2
    char_ngrams: int = 4
    min_df: int = 2

    def faults(self) -> list[str]:
        faults = super().faults() + range_faults(self, AT_LEAST_1, "word_ngrams", "min_df", prefix="student.")
        if self.char_ngrams != 0 and self.char_ngrams < 2:
            faults.append(f"student.char_ngrams={self.char_ngrams}: expected 2 or more, or 0 for none.")
        return faults

    def build_features(self, cache: Path) -> Any:
        """Return the union of the TF-IDF vectorizers; ``cache`` is not used."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import FeatureUnion

        words = TfidfVectorizer(
            ngram_range=(1, self.word_ngrams),
            min_df=self.min_df,
            sublinear_tf=True,
            token_pattern=r"(?u)\b\w+\b",  # noqa: S106 - of words, no secret
        )
        parts = [("words", words)]
        if self.char_ngrams:
            characters = TfidfVectorizer(
                analyzer="char_wb", ngram_range=(2, self.char_ngrams), min_df=self.min_df, sublinear_tf=True
            )
            parts.append(("characters", characters))
        return FeatureUnion(parts)
