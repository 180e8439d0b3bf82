"""Small parts to test the engine with: a task of any size, a prompt for it, a teacher that says what it is told."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dsbs.core.errors import DsbsError
from dsbs.core.records import Annotation, Completion, Example, Request
from dsbs.extraction.annotations import AnnotationFile
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.job import Job
from dsbs.extraction.prompts import Exemplar, Prompt
from dsbs.extraction.settings import ExtractionSettings
from dsbs.tasks.answers import FreeAnswers
from dsbs.tasks.base import Task
from dsbs.teachers.base import Ask, Teacher
from dsbs.teachers.openai import OpenAITeacher


@dataclass
class CountTask(Task):
    """Asks how long its own questions are; as many as wanted."""

    kind: str = "count"
    name: str = "count"
    size: int = 10
    prefix: str = "train"

    @property
    def answers(self) -> FreeAnswers:
        return FreeAnswers()

    def splits(self) -> tuple[str, ...]:
        return ("train", "test")

    def examples(self, split: str) -> Iterator[Example]:
        for number in range(self.size):
            text = f"{split} question {'a' * (number % 7)} {number}"
            yield Example(f"{split}-{number}", text, str(len(text)))

    def identity(self) -> dict[str, object]:
        return {"kind": self.kind, "size": self.size}


@dataclass
class ScriptedTeacher(Teacher):
    """Says what ``says`` returns, or raises it."""

    kind: str = "scripted"
    name: str = "scripted"
    model: str | None = "scripted"
    says: Callable[[Request], Any] = lambda request: correct(request)
    asked: int = 0
    connected: int = 0
    delay: float = 0.0

    free = True

    def identity(self) -> dict[str, object]:
        return {"kind": self.kind, "model": self.model}

    @asynccontextmanager
    async def connect(self, task: Task) -> AsyncIterator[Ask]:
        self.connected += 1

        async def ask(request: Request) -> Completion:
            self.asked += 1
            await asyncio.sleep(self.delay)
            said = self.says(request)
            if isinstance(said, Exception):
                raise said
            return said if isinstance(said, Completion) else Completion(said, "stop", "scripted", 20, 10)

        yield ask


def correct(request: Request) -> str:
    """Return a completion with the right answer."""
    size = len(request.question)
    return f"The question has {size} letters. So the answer is {size}."


def count_prompt(**changes: Any) -> Prompt:
    """Return a prompt with one exemplar."""
    exemplars = [Exemplar("How long is this?", "It has 17 letters.", "17")]
    return Prompt(**({"name": "count", "exemplars": exemplars} | changes))


def job_for(folder: Path, teacher: Teacher, size: int = 10, limit: int | None = None, **changes: Any) -> Job:
    """Return an extraction of the first ``limit`` of ``size`` examples of train, with short waits."""
    settings = ExtractionSettings(**({"backoff": 0.01, "max_backoff": 0.1} | changes.pop("settings", {})))
    parts: dict[str, Any] = {"task": CountTask(size=size), "prompt": count_prompt(), "splits": ["train"]}
    if limit is not None:
        parts["select"] = {"train": [example.id for example in islice(parts["task"].examples("train"), limit)]}
    return Job(teacher=teacher, folder=folder, settings=settings, **(parts | changes))


def extract_from(url: str, folder: str, size: int, settings: dict[str, Any]) -> None:
    """Run an extraction in a process of its own."""
    teacher = OpenAITeacher(name="openai", model="m", base_url=url)
    try:
        run_extraction(job_for(Path(folder), teacher, size=size, settings=settings))
    except DsbsError as error:
        Path(folder, "error").write_text(str(error))
        sys.exit(1)


def load_annotations(folder: Path, split: str) -> dict[str, Annotation]:
    """Return the annotations of a split by example id; those that failed are among them, with their status."""
    return {annotation.id: annotation for annotation in AnnotationFile(folder, split)}


def age_store(path: Path, version: str) -> None:
    """Make a store one of an earlier version."""
    changes = [f"UPDATE meta SET value = '{version}'"]
    if version in ("1", "2", "3"):
        changes.append("ALTER TABLE completions DROP COLUMN logprobs")
    if version in ("1", "2"):
        changes.append("ALTER TABLE completions DROP COLUMN reasoning")
    if version == "1":
        changes += [
            "DROP TRIGGER count_completion", "DROP TABLE batches", "DROP TABLE batch_requests",
            "ALTER TABLE completions DROP COLUMN batch",
            "CREATE TRIGGER count_completion AFTER INSERT ON completions BEGIN UPDATE origins SET completions = 9; END",
        ]  # fmt: skip
    with closing(sqlite3.connect(path)) as db, db:
        for change in changes:
            db.execute(change)
