"""Raw completions replayed from files."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from scripted import CountTask, ScriptedTeacher, count_prompt, job_for

from dsbs.core.errors import DataError, TeacherError
from dsbs.core.records import Completion, Example, Request
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.prompts import Prompt
from dsbs.store import CompletionStore
from dsbs.teachers.recorded import RecordedTeacher


def write_arrays(folder: Path, counts: dict[int, int], split: str = "train") -> RecordedTeacher:
    folder.mkdir(exist_ok=True)
    place = 0
    for number, count in counts.items():
        texts = [f"completion {place + offset}" for offset in range(count)]
        (folder / f"{split}_CoT_{number}.json").write_text(json.dumps(texts))
        place += count
    return RecordedTeacher(name="recorded", path=str(folder))


def ask(teacher: RecordedTeacher, *ids: str, size: int = 24, sample: int = 0) -> list[Completion]:
    async def run() -> list[Completion]:
        task = CountTask(size=size)
        async with teacher.connect(task) as answer:
            examples = {example.id: example for example in task.examples("train")}
            requests = [count_prompt().request(examples[id], "train", sample) for id in ids]
            return [await answer(request) for request in requests]

    return asyncio.run(run())


def test_file_ten_comes_after_file_nine(tmp_path: Path) -> None:
    teacher = write_arrays(tmp_path, dict.fromkeys(range(12), 2))
    assert [one.text for one in ask(teacher, "train-18", "train-20")] == ["completion 18", "completion 20"]


def test_a_count_that_does_not_match_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"23 completions .* 24 examples"):
        ask(write_arrays(tmp_path, {0: 23}), "train-0")


def test_a_split_without_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no completions of split 'train'.*splits="):
        ask(write_arrays(tmp_path, {0: 24}, split="test"), "train-0")


@pytest.mark.parametrize(
    ("content", "message"),
    [('["a",\n "b"', r"train_CoT_0\.json:2: broken JSON"), ('{"a": 1}', "expected a JSON array"), ("[1]", "entry 0")],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "train_CoT_0.json").write_text(content)
    with pytest.raises(DataError, match=message):
        ask(RecordedTeacher(path=str(tmp_path)), "train-0")


def test_a_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        RecordedTeacher(path=str(tmp_path / "nowhere")).identity()
    with pytest.raises(DataError, match=r"SPLIT_CoT_0\.json"):
        RecordedTeacher(path=str(tmp_path)).identity()
    assert "teacher.path" in RecordedTeacher().faults()[0]


def test_a_second_sample_was_never_recorded(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="samples=1"):
        ask(write_arrays(tmp_path, {0: 24}), "train-0", sample=1)


def test_the_identity_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    one, same = write_arrays(tmp_path / "a", {0: 3}), write_arrays(tmp_path / "b", {0: 3})
    assert one.identity() == same.identity()
    assert one.identity() != write_arrays(tmp_path / "c", {0: 4}).identity()


def test_our_own_store_is_replayed(tmp_path: Path) -> None:
    first = run_extraction(job_for(tmp_path / "live", ScriptedTeacher()))
    teacher = RecordedTeacher(name="recorded", path=str(tmp_path / "live"))
    again = run_extraction(job_for(tmp_path / "replay", teacher))
    assert again["splits"]["train"]["teacher_accuracy"] == first["splits"]["train"]["teacher_accuracy"] == 1.0
    assert teacher.identity() == RecordedTeacher(path=str(tmp_path / "live" / "completions.sqlite")).identity()


def test_a_store_that_lacks_an_example_fails_that_example_alone(tmp_path: Path) -> None:
    run_extraction(job_for(tmp_path / "live", ScriptedTeacher(), limit=9))
    teacher = RecordedTeacher(name="recorded", path=str(tmp_path / "live"))
    summary = run_extraction(job_for(tmp_path / "replay", teacher))
    assert (summary["splits"]["train"]["parsed"], summary["splits"]["train"]["failed"]) == (9, 1)


@dataclass
class Rows(CountTask):
    """Ids are positions: a row that is added at the head moves all others."""

    first: int = 0

    def examples(self, split: str) -> Iterator[Example]:
        for place, number in enumerate(range(self.first, self.size)):
            text = f"row {'a' * number}"
            yield Example(f"{split}-{place}", text, str(len(text)), ("1", str(len(text))))


@pytest.mark.parametrize("prompt", [count_prompt(), count_prompt(instruction="Count.", show_choices=True)])
def test_where_rows_were_added_the_others_keep_their_completions_and_no_row_gets_anothers(
    tmp_path: Path, prompt: Prompt
) -> None:
    run_extraction(job_for(tmp_path / "live", ScriptedTeacher(), task=Rows(size=10, first=1), splits=["train"]))
    prompt.exemplars = []
    teacher = RecordedTeacher(name="recorded", path=str(tmp_path / "live"))
    replay = job_for(tmp_path / "replay", teacher, task=Rows(size=10), prompt=prompt)
    split = run_extraction(replay)["splits"]["train"]
    assert (split["parsed"], split["failed"], split["teacher_accuracy"]) == (9, 1, 1.0)
    with CompletionStore(tmp_path / "replay" / "completions.sqlite") as store:
        failures = list(store.execute("SELECT id, message FROM failures"))
    assert [id for id, _ in failures] == ["train-0"]
    assert "recorded for train train-0 answers another example of the data" in failures[0][1]


def test_inputs_that_are_worded_otherwise_now_find_their_completions_by_id(tmp_path: Path) -> None:
    class Worded(CountTask):
        def examples(self, split: str) -> Iterator[Example]:
            return (replace(example, input=f"Please: {example.input}") for example in super().examples(split))

    run_extraction(job_for(tmp_path / "live", ScriptedTeacher()))
    teacher = RecordedTeacher(name="recorded", path=str(tmp_path / "live"))
    split = run_extraction(job_for(tmp_path / "replay", teacher, task=Worded()))["splits"]["train"]
    assert (split["parsed"], split["teacher_accuracy"]) == (10, 1.0)


def test_examples_with_the_same_question_keep_their_own_completions(tmp_path: Path) -> None:
    class Same(CountTask):
        def examples(self, split: str) -> Iterator[Example]:
            return (replace(example, input="the same") for example in super().examples(split))

    write_arrays(tmp_path, {0: 10})
    teacher = RecordedTeacher(name="recorded", path=str(tmp_path))
    summary = run_extraction(job_for(tmp_path / "out", teacher, task=Same()))
    assert summary["splits"]["train"]["requests"] == 10


@pytest.mark.parametrize(("split", "number"), [("test", 0), ("train", 1)])
def test_the_papers_files_join(data_folder: Path, split: str, number: int) -> None:
    texts = json.loads((data_folder / "svamp" / "palm" / f"{split}_CoT_{number}.json").read_text())
    task = CountTask(size={"train": 800, "test": 200}[split])
    teacher = RecordedTeacher(path=str(data_folder / "svamp" / "palm"))

    async def last() -> str:
        async with teacher.connect(task) as answer:
            request = Request(f"{split}-{task.size - 1}", split, "", (), "")
            return (await answer(request)).text

    assert asyncio.run(last()) == texts[-1]
