"""Ready-made completions, or rationales and labels, in columns of the task's rows or of another table."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from dsbs.core.errors import DataError, TeacherError
from dsbs.core.records import Completion, Example, Request
from dsbs.core.terminal import log_once
from dsbs.core.untrusted import excerpt
from dsbs.tasks.answers import without_choices
from dsbs.tasks.base import Task
from dsbs.tasks.cells import is_missing, to_text
from dsbs.tasks.tables.files import find_files
from dsbs.tasks.tables.gold import UnreadLabel
from dsbs.tasks.tables.rows import RowsTask
from dsbs.tasks.tables.sources import Row, read_rows
from dsbs.tasks.tables.templates import ABSENT, fill, look_up, template_columns

_LOOKED_AT = 100  # rows of a split that show whether it has a column
Rows = Iterable[tuple[str, Row]]


@dataclass(frozen=True)
class RecordedColumns:
    """The columns with ready-made completions, or with rationales and labels; see ``RecordedTeacher``."""

    task: Task
    path: str | None = None
    column: str | None = None
    rationale: str | None = None
    label: str | None = None
    id: str | None = None
    model: str | None = None
    _texts: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    async def ask(self, request: Request) -> Completion:
        """Return the completion of a request's example; an ``Ask``.

        Raises:
            TeacherError: where there is none.
            DataError: as ``read``.
        """
        if request.split not in self._texts:
            self._texts[request.split] = self.read(request.split)
        texts = self._texts[request.split].get(request.id)
        if texts is None or not any(texts):
            raise TeacherError(f"{self._place()}: no completion of the example {request.id!r} of {request.split}.")
        if request.sample >= len(texts):
            raise TeacherError(
                f"{self._place()} holds {len(texts)} completions for the example {request.id!r}; set samples=1, or to "
                "the number of elements where the column holds lists.", fatal=True,
            )  # fmt: skip
        if not texts[request.sample]:
            raise TeacherError(f"{self._place()}: no completion {request.sample} of the example {request.id!r}.")
        return Completion(texts[request.sample], "stop" if self.rationale else None, model=self.model)

    def read(self, split: str) -> dict[str, list[str]]:
        """Return example's id -> its completions, for a split; a rationale and its label become a JSON object.

        Raises:
            DataError: where no split has a column, or rows and examples do not match.
        """
        source = self._source_split(split)
        if self.path is not None and source not in (files := find_files(self.path, "teacher.path")):
            log_once(f"teacher.path={self.path}: found {', '.join(files)}, but nothing for {split}.")
            return {}
        wanted = [name for name in (self.column, self.rationale, self.label) if name is not None]
        lacking = self._check_columns(source, wanted)
        if lacking:
            log_once(f"{self._place()}: {split} has no column {lacking[0]!r}, so its examples have no annotations.")
        unread: Counter[str] = Counter()
        found = {example.id: self._read_row(example, place, row, unread) for example, place, row in self._pairs(split)}
        if unread:
            commonest = ", ".join(f"{raw!r} {count:,}" for raw, count in unread.most_common(5))
            log_once(f"{self._place()}, {split}: labels that are not answers of the task: {commonest}.")
        return found

    def _read_row(self, example: Example, place: str, row: Row, unread: Counter[str]) -> list[str]:
        if self.column is not None:
            return _texts_of(look_up(row, self.column), place, self.column)
        why = look_up(row, str(self.rationale))
        rationale = "" if is_missing(why) else _text_of(why, place, str(self.rationale), "teacher.rationale")
        label = example.label
        if self.label is not None:
            raw = _text_of(look_up(row, self.label), place, self.label, "teacher.label")
            label = self._read_label(raw, example, unread)
        return (
            [json.dumps({"rationale": rationale, "answer": label or ""}, ensure_ascii=False)]
            if (rationale or label)
            else [""]
        )

    def _read_label(self, raw: str, example: Example, unread: Counter[str]) -> str | None:
        """Read a label as gold labels are read; it is data, too."""
        assert isinstance(self.task, RowsTask)
        try:
            return self.task.columns.gold.read(raw, example.choices if self.task.columns.choices is not None else None)
        except UnreadLabel as error:
            unread[str(error)] += 1
            return None

    def _pairs(self, split: str) -> Iterator[tuple[Example, str, Row]]:
        """Yield the examples of a split, each with the row that is about it."""
        if self.path is None:
            yield from self._own().pairs(split)
            return
        rows = self._rows(self._source_split(split))
        if self.id is not None:
            by_id: dict[str, tuple[str, Row]] = {}
            for place, row in rows:
                id = _text_of(look_up(row, self.id), place, self.id, "teacher.id")
                if id in by_id:
                    raise DataError(
                        f"{place}: duplicate id {id!r} (teacher.id={self.id}), also at {by_id[id][0]}. For several "
                        "completions of an example: a list of them in one row, and samples=N."
                    )
                if id:
                    by_id[id] = place, row
            for example in self.task.examples(split):
                if example.id in by_id:
                    yield (example, *by_id[example.id])
            return
        wanted, there = {example.id for example in self.task.examples(split)}, list(rows)
        examples = list(self.task.examples(split))
        if isinstance(self.task, RowsTask):  # of a test split that is cut off train, both
            examples = [example for example, *_ in RowsTask.pairs(self.task, self._source_split(split))]
        if len(examples) != len(there):
            raise DataError(
                f"{self._place()}: {len(there):,} rows for split {split!r}, but task {self.task.name} has "
                f"{len(examples):,} examples. They join by position, so the counts must be equal; teacher.id=COLUMN "
                "joins them by id."
            )
        self._check_order(examples, there)
        yield from ((one, *pair) for one, pair in zip(examples, there, strict=True) if one.id in wanted)

    def _check_order(self, examples: Sequence[Example], rows: Sequence[tuple[str, Row]]) -> None:
        """Refuse a table that has the inputs as well, if one of its rows has that of another example."""
        if not isinstance(self.task, RowsTask):
            return
        template, missing = self.task.columns.input, self.task.columns.gold.missing
        inputs = [without_choices(example.input, example.choices or ()) for example in examples]
        known = set(inputs)
        for input, (place, row) in zip(inputs, rows, strict=True):
            if any(look_up(row, name) is ABSENT for name in template_columns(template)):
                continue
            with suppress(DataError):  # of the same name, but something else
                if (found := fill(template, row, place, missing).strip()) != input and found in known:
                    break
        else:
            return
        raise DataError(
            f"{place}: this row has the input of another example than the one in its position ({excerpt(found)}). Rows "
            f"of {self._place()} join by position: sort them as the data, or join by id with teacher.id=COLUMN."
        )

    def _rows(self, split: str) -> Rows:
        """Yield the rows of a split of the source."""
        if self.path is None:
            return self._own().source.rows(split)
        return (pair for file in find_files(self.path, "teacher.path")[split] for pair in read_rows(file))

    def _source_split(self, split: str) -> str:
        """Return the split of the source that holds a split: train for a test split that is cut off it."""
        return "train" if isinstance(self.task, RowsTask) and split not in self.task.source.splits() else split

    def _check_columns(self, split: str, wanted: Sequence[str]) -> list[str]:
        """Return the columns that a split of the source lacks."""
        lacking = [name for name in wanted if not self._has(split, name)]
        splits = self._own().source.splits() if self.path is None else find_files(self.path, "teacher.path")
        for name in lacking:
            if not any(self._has(other, name) for other in splits if other != split):
                _, row = next(iter(self._rows(split)), ("", {}))
                raise DataError(
                    f"{self._place()}: there is no column {name!r}. The columns are: {', '.join(map(str, row))}."
                )
        return lacking

    def _has(self, split: str, name: str) -> bool:
        return any(look_up(row, name) is not ABSENT for _, row in islice(self._rows(split), _LOOKED_AT))

    def _own(self) -> RowsTask:
        if not isinstance(self.task, RowsTask):
            raise DataError(f"task={self.task.name} makes its examples itself and has no columns; set teacher.path.")
        return self.task

    def _place(self) -> str:
        return f"teacher.path={self.path}" if self.path else f"task={self.task.name}"


def _text_of(value: Any, place: str, column: str, key: str) -> str:
    return "" if value is ABSENT or is_missing(value, ()) else to_text(value, place, column, key).strip()


def _texts_of(value: Any, place: str, column: str) -> list[str]:
    """Return the completions in a cell: one, or a list with one for each sample."""
    several = value if isinstance(value, list) and value and not isinstance(value[0], dict) else [value]
    return ["" if one is ABSENT or is_missing(one, ()) else to_text(one, place, column, "teacher.column")
            for one in several]  # fmt: skip
