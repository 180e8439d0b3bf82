"""Stored log-probabilities of a teacher's tokens, joined to the rows that a student is trained on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dsbs.core.errors import StudentError
from dsbs.core.fingerprint import fingerprint
from dsbs.core.logprobs import TokenLogprobs, to_text
from dsbs.objectives.stored_targets import align, signals_of
from dsbs.store import CompletionStore
from dsbs.students.token_bytes import token_bytes

if TYPE_CHECKING:
    from dsbs.data.join import RunData
    from dsbs.students.collator import Row
    from dsbs.students.model import StudentModel
    from dsbs.training.tokenized import RowFile

# Share of label tokens that the teacher's tokens must match; below it the two tokenizers differ.
MIN_SHARED = 0.9
MAX_SAMPLES = 64


@dataclass(frozen=True)
class StoredTokens:
    """Log-probabilities of the tokens of an extraction.

    Attributes:
        model: the teacher's name, for messages.
        top_k: number of most probable tokens per position to train on.
        digest: hash over the log-probabilities of the training examples.
    """

    path: Path
    model: str
    top_k: int
    digest: str

    @classmethod
    def find(cls, path: Path, model: str, top_k: int, data: "RunData") -> "StoredTokens":
        """Return the log-probabilities of a run's training examples in a store."""
        with CompletionStore(path, read_only=True) as store:
            return cls(path, model, top_k, store.digest_logprobs("train", (example.id for example, _ in data.train)))

    def identity(self) -> list[object]:
        """Return the values that decide what is learned."""
        return [self.digest, self.top_k]

    def attach(self, rows: "RowFile", student: "StudentModel", data: "RunData", folder: Path) -> "RowFile":
        """Return the rows with the teacher's log-probabilities at each label token, as signals.

        Args:
            rows: tokenized training examples, in the order of ``data.train``.

        Raises:
            StudentError: the teacher's tokens are not the student's.
        """
        from dsbs.objectives.teacher import base_vocabulary

        names = token_bytes(student.tokenizer)
        # A teacher that was trained here also writes "[label]", which is left out of the comparison.
        ours = set(base_vocabulary(student.tokenizer).values())
        # llama.cpp reports the end of a text as a token without a name.
        ids = {b"": student.end_id} | {name: id for id, name in enumerate(names) if name is not None and id in ours}
        counts = {"all": 0, "shared": 0}
        teacher_tokens: list[bytes] = []
        path = folder / f"stored-{fingerprint([rows.path.name, self.identity()], length=16)}.arrow"
        with CompletionStore(self.path, read_only=True) as store:
            examples = iter(data.train)

            def change(position: int, row: "Row") -> "Row":
                example, _ = next(examples)
                label = next(ids for kind, _, ids, _ in row.targets if kind == "label")
                tokens = [names[id] or b"" for id in label]
                ends = label[-1] == student.end_id
                found = self._align(store, example.id, tokens, ends, teacher_tokens)
                inner = found[:-1] if ends else found
                counts["all"] += len(inner)
                counts["shared"] += sum(one is not None for one in inner)
                return replace(row, signals={"label": signals_of(found, ids, self.top_k)})

            attached = rows.rewrite(path, change)
        if counts["shared"] < MIN_SHARED * counts["all"]:
            path.unlink(missing_ok=True)
            raise self._refuse(student, counts, teacher_tokens)
        return attached

    def _align(
        self, store: CompletionStore, id: str, tokens: list[bytes], ends: bool, teacher_tokens: list[bytes]
    ) -> list[TokenLogprobs | None]:
        """Return the teacher's log-probabilities at the tokens, from the first sample that contains them."""
        for sample in _samples(store, id):
            if not teacher_tokens:
                teacher_tokens += [one.token for one in sample[:5]]
            found = align(tokens[:-1], sample, tokens[-1]) if ends else align(tokens, sample)
            if any(found):
                return found
        return [None] * len(tokens)

    def _refuse(self, student: "StudentModel", counts: dict[str, int], teacher_tokens: list[bytes]) -> StudentError:
        from dsbs.objectives.teacher import name_tokenizer

        share = counts["shared"] / max(counts["all"], 1)
        wrote = ", ".join(repr(to_text(token)) for token in teacher_tokens) or "none with log-probabilities"
        return StudentError(
            f"objective.source=stored: only {100 * share:.0f}% of the labels' tokens are tokens that the teacher "
            f"({self.model}) wrote with log-probabilities; it wrote {wrote}, and the student's tokenizer is "
            f"{name_tokenizer(student.tokenizer)}. It needs the same tokenizer on both sides, answers extracted with "
            "teacher.top_logprobs=20, and a student that learns them verbatim (prompt=whole, labels=teacher). Across "
            "tokenizers, for closed answers: objective.source=logprobs; for text: objective=respond."
        )


def _samples(store: CompletionStore, id: str) -> Iterator[tuple[TokenLogprobs, ...]]:
    for sample in range(MAX_SAMPLES):
        completion = store.find("train", id, sample)
        if completion is None:
            return
        if completion.logprobs:
            yield completion.logprobs
