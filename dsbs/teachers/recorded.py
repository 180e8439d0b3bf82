"""A teacher that replays completions from files."""

import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dsbs.core.errors import DataError, TeacherError
from dsbs.core.fingerprint import fingerprint_files
from dsbs.core.records import Completion, Request
from dsbs.core.untrusted import excerpt, read_file
from dsbs.store import CompletionStore, open_store
from dsbs.tasks.base import Task
from dsbs.tasks.tables.files import find_files
from dsbs.tasks.tables.sources import MAX_ARRAY
from dsbs.tasks.tables.splits import choose_names
from dsbs.teachers.base import Ask, Teacher
from dsbs.teachers.columns import RecordedColumns

FILE_NAME = re.compile(r"(?P<split>.+)_CoT_(?P<number>\d+)\.json")
STORE_NAME = "completions.sqlite"


@dataclass
class RecordedTeacher(Teacher):
    """Replays what was made before, in one of three forms.

    Completions in a folder: JSON arrays ``<split>_CoT_<number>.json`` in the order of the examples, as in the paper's
    code release, or our own ``completions.sqlite``. Completions in a column (``column``), and ready rationales with
    their labels (``rationale``, ``label``), of the task's own rows or of a table in ``path``.

    Attributes:
        path: the folder, the store itself, or a table; None: the task's own rows.
        column: a column of raw completions, each a text, or a list with one per sample.
        rationale: a column of ready-made rationales.
        label: the column of the labels that go with them; None: the gold labels.
        id: the id column of the table in ``path``; None: joined by position.
    """

    free: ClassVar[bool] = True
    by_id: ClassVar[bool] = True
    gives_logprobs = True  # a store may have them

    kind: str = "recorded"
    column: str | None = None
    rationale: str | None = None
    label: str | None = None
    id: str | None = None

    @property
    def repeats_gold(self) -> bool:
        """Whether the rationales come without labels of their own."""
        return self.rationale is not None and self.label is None

    def faults(self) -> list[str]:
        faults = super().faults()
        if self.path is None and not self._in_columns:
            faults.append(
                "teacher.path: a recorded teacher needs the folder of its completions; type teacher.path=FOLDER. If "
                "they are columns of the data: teacher.column=COLUMN (completions) or teacher.rationale=COLUMN."
            )
        if self.column is not None and self.rationale is not None:
            faults.append("teacher.column, teacher.rationale: set only one of the two.")
        if self.label is not None and self.rationale is None:
            faults.append(f"teacher.label={self.label}: needs teacher.rationale=COLUMN.")
        if self.id is not None and not (self.path and self._in_columns):
            faults.append(f"teacher.id={self.id}: needs a table in teacher.path.")
        return faults

    @property
    def _in_columns(self) -> bool:
        return self.column is not None or self.rationale is not None

    def identity(self) -> dict[str, object]:
        """Return the kind, the model's name and a hash over the recorded completions."""
        if self._in_columns:
            files = find_files(self.path, "teacher.path") if self.path else {}
            columns = {key: getattr(self, key) for key in ("column", "rationale", "label", "id")}
            tables = {split: fingerprint_files(paths) for split, paths in files.items()}  # the task's own has its hash
            return {"kind": self.kind, "model": self.model, **columns, "content": tables}
        store = self._store_path()
        content = _fingerprint_store(store) if store else fingerprint_files(self._arrays())
        return {"kind": self.kind, "model": self.model, "content": content}

    def _store_path(self) -> Path | None:
        path = Path(self.path or "")
        return next((place for place in (path / STORE_NAME, path) if place.is_file()), None)

    def _arrays(self) -> list[Path]:
        folder = Path(self.path or "")
        if not folder.is_dir():
            raise DataError(f"teacher.path={self.path}: there is no such folder.")
        files = [file for file in folder.iterdir() if FILE_NAME.fullmatch(file.name)]
        if not files:
            raise DataError(
                f"teacher.path={self.path}: the folder holds neither {STORE_NAME} nor files named SPLIT_CoT_0.json, "
                "SPLIT_CoT_1.json, …"
            )
        return files

    @asynccontextmanager
    async def connect(self, task: Task) -> AsyncIterator[Ask]:
        """Yield an ``Ask`` that replays the files; a split is joined to the task's examples at its first request.

        Raises:
            DataError: where files are missing or broken, or their count does not match.
        """
        if self._in_columns:
            yield RecordedColumns(task, self.path, self.column, self.rationale, self.label, self.id, self.model).ask
        elif store_path := self._store_path():
            with CompletionStore(store_path, read_only=True) as store:
                yield _replay_store(store, task)
        else:
            yield self._replay_arrays(task, self._arrays())

    def _replay_arrays(self, task: Task, files: list[Path]) -> Ask:
        """Return the ``Ask`` of examples that are joined to arrays by position."""
        texts: dict[str, dict[str, str]] = {}

        async def ask(request: Request) -> Completion:
            if request.split not in texts:
                texts[request.split] = join_by_position(task, request.split, files)
            if request.sample:
                raise TeacherError(f"teacher.path={self.path} holds one completion per example; set samples=1.",
                                   fatal=True)  # fmt: skip
            text = texts[request.split].get(request.id)
            if text is None:
                raise TeacherError(f"{request.split} has no example {request.id!r}.")
            return Completion(text, model=self.model)

        return ask


def _replay_store(store: CompletionStore, task: Task) -> Ask:
    """Return the ``Ask`` of a store: the completion of the same question, else of the same split and id.

    The latter is for inputs that are worded otherwise now. Without an id column ids are positions, so it is not used
    where the question is that of another example: then rows were added or removed since.
    """
    origins = store.origins()
    asked: dict[tuple[str, str], bytes] = {}
    places: dict[bytes, tuple[str, str]] = {}
    inputs: set[bytes] = set()

    def find(request: Request) -> Completion | None:
        if not inputs:
            inputs.update(_digest(one.input) for split in task.splits() for one in task.examples(split))
            asked.update(((split, id), _digest(question)) for split, id, question in store.questions())
            places.update((question, place) for place, question in asked.items())
        place, question = (request.split, request.id), _digest(request.question)
        if asked.get(place) != question:
            place = places.get(question, place)
        if (known := asked.get(place)) != question and known in inputs:
            raise TeacherError(
                f"{store.path}: the completion recorded for {request.split} {request.id} answers another example of "
                "the data, and none answers this one. Were rows added or removed since?"
            )
        return store.find(*place, request.sample)

    async def ask(request: Request) -> Completion:
        keys = [origin.key(request) for origin in origins]
        found = next(iter(store.completions(keys, logprobs=True).values()), None) or find(request)
        if found is None:
            raise TeacherError(f"{store.path} holds no completion of this example.")
        return found

    return ask


def _digest(question: str) -> bytes:
    """Return a short hash over a question without the list of its choices, whatever its spaces."""
    words = question.partition("\nAnswer Choices:\n")[0].split()
    return hashlib.blake2b(" ".join(words).encode(errors="surrogatepass"), digest_size=12).digest()


def join_by_position(task: Task, split: str, files: list[Path]) -> dict[str, str]:
    """Return example's id -> raw completion for a split, joined by position.

    Args:
        files: named ``<split>_CoT_<number>.json``, of any split.

    Raises:
        DataError: where a file is broken or the counts do not match.
    """
    named = [(file, match) for file in files if (match := FILE_NAME.fullmatch(file.name))]
    chosen, unclear = choose_names({match["split"] for _, match in named})
    matches = [(file, match) for file, match in named if match["split"] == chosen.get(split, split)]
    if split in unclear:
        raise DataError(
            f"{files[0].parent}: completions of {' and of '.join(sorted(unclear[split]))}: which belong to split "
            f"{split!r}? Remove the others from the folder."
        )
    if not matches:
        names = ", ".join(sorted(file.name for file in files)[:6])
        raise DataError(
            f"{files[0].parent}: no completions of split {split!r} ({split}_CoT_0.json, …). It has {names}. Choose the "
            "splits with splits=[train]."
        )
    ordered = [file for file, match in sorted(matches, key=lambda item: int(item[1]["number"]))]
    texts = [text for file in ordered for text in load_array(file)]
    ids = [example.id for example in task.examples(split)]
    if len(ids) != len(texts):
        raise DataError(
            f"{ordered[0].parent}: {len(texts):,} completions in {len(ordered)} files of split {split!r}, but task "
            f"{task.name} has {len(ids):,} examples. They join by position, so the counts must be equal: is this the "
            "release's own split (task.path), and are all files present?"
        )
    return dict(zip(ids, texts, strict=True))


def load_array(file: Path) -> list[str]:
    """Return the completions in a JSON array.

    Raises:
        DataError: with the file and the place of the fault.
    """
    try:
        texts: Any = json.loads(read_file(file, MAX_ARRAY).decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file}:{error.lineno}: broken JSON: {error.msg} (column {error.colno}). Expected one array of texts."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 (byte {error.start}).") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; nested too deeply
        raise DataError(f"{file}: not a valid array of texts ({excerpt(str(error))}).") from None
    if not isinstance(texts, list):
        raise DataError(f"{file}: expected a JSON array of texts, found {type(texts).__name__}.")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            objects = " teacher.column=KEY reads a key of objects." if isinstance(text, dict) else ""
            raise DataError(f"{file}: entry {position} is {type(text).__name__}, expected a text.{objects}")
    return texts


def _fingerprint_store(path: Path) -> str:
    """Hash what a store holds, not its bytes: SQLite files differ after a vacuum or a read."""
    with open_store(path) as store:
        return store.digest()
