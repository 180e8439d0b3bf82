"""From settings to a run: whose annotations, which folder, what it leaves behind."""

import contextlib
import copy
import dataclasses
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tiny import byte_tokenizer, causal_model, seq2seq_model, tiny_t5
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from dsbs.core.errors import ConfigError, DataError, RunError, StudentError, TeacherError
from dsbs.core.records import Example
from dsbs.core.tracking import Tracking
from dsbs.data.subsets import select
from dsbs.extraction.annotations import rationales_dir
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.job import Job
from dsbs.extraction.prompts import Exemplar, Prompt
from dsbs.objectives import Finetune, RationaleThenLabel, StepByStep
from dsbs.students import T5Scratch
from dsbs.students.answering import DecodingConfig
from dsbs.students.base import Lengths
from dsbs.students.decoder_only import DecoderOnlyModel
from dsbs.students.lost import describe_lost
from dsbs.students.seq2seq import Seq2SeqModel
from dsbs.tasks.answers import FreeAnswers
from dsbs.tasks.base import Task
from dsbs.tasks.triage import TriageTask
from dsbs.teachers.handbook import HandbookTeacher
from dsbs.training.annotated import NotAnnotated, extract_command
from dsbs.training.backends.huggingface import check_labels, check_lengths, check_prefixes, count_unwritable
from dsbs.training.plan import (
    Plan,
    execute,
    plan_run,
    prepare_run,
)
from dsbs.training.settings import Training, TrainSettings


class Paid(HandbookTeacher):
    """A teacher that wants money, so that nobody asks it on their own."""

    free = False


@dataclass
class Letters(Task):
    """Free answers in the script of one's choice."""

    kind: str = "letters"
    name: str = "letters"
    label: str = "yes"

    @property
    def answers(self) -> FreeAnswers:
        return FreeAnswers()

    def splits(self) -> tuple[str, ...]:
        return ("train", "test")

    def examples(self, split: str) -> Iterator[Example]:
        yield from (Example(f"{split} {number}", "what is it?", self.label) for number in range(20))

    def identity(self) -> dict[str, object]:
        return {"kind": self.kind}


def settings(folder: Path, **changes: Any) -> TrainSettings:
    exemplar = Exemplar("I bought a kettle. It leaks.", "It belongs to kitchen, to leak is wear.", "refund")
    parts: dict[str, Any] = {
        "task": TriageTask(name="triage", products=12, complaints=12, train=64, validation=16, test=16),
        "teacher": HandbookTeacher(name="handbook"),
        "prompt": Prompt(name="triage", exemplars=[exemplar]),
        "objective": StepByStep(name="step_by_step"),
        "student": T5Scratch(
            name="tiny", vocab_size=400, d_model=32, d_kv=16, d_ff=32, num_layers=1, num_heads=2, max_new_tokens=8
        ),
        "training": Training(max_steps=6, eval_steps=2, per_device_train_batch_size=8, warmup_steps=0),
        "tracking": Tracking(mode="disabled"),
        "output_dir": str(folder / "outputs"),
    }
    return TrainSettings(**(parts | changes))


def result(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return what does not depend on the clock."""
    return {key: value for key, value in metrics.items() if "second" not in key}


def predictions(plan: Plan) -> list[dict[str, Any]]:
    return pq.read_table(plan.run.folder / "predictions.parquet").to_pylist()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A run that nobody disturbed."""
    plan = prepare_run(settings(tmp_path_factory.mktemp("run")))
    execute(plan, "seed: 0\n")
    return plan


def test_a_finished_run_leaves_what_the_contract_names_and_its_checkpoints(finished: Plan) -> None:
    names = {path.name for path in finished.run.folder.iterdir()} - {".lock"}
    assert names == {"config.yaml", "manifest.json", "metrics.json", "predictions.parquet", "checkpoint", "checkpoints"}
    assert (finished.run.checkpoint / "model.safetensors").exists()
    parts = finished.run.folder.parts
    assert parts[-6:-1] == ("train", "triage", "tiny", "step_by_step", "1.0")
    assert parts[-1].startswith("0-")
    assert len(parts[-1]) == len("0-") + 8


def test_metrics_hold_what_the_contract_names(finished: Plan) -> None:
    metrics = finished.run.finished_metrics() or {}
    assert {
        "task", "student", "objective", "labels", "teacher", "data_fraction", "seed", "train_examples",
        "validation_examples", "steps", "target_tokens", "seconds", "examples_per_second", "best_step", "validation",
        "test",
    } <= metrics.keys()  # fmt: skip
    assert (metrics["train_examples"], metrics["validation_examples"], metrics["test"]["examples"]) == (64, 16, 16)
    assert metrics["steps"] == 6
    assert metrics["best_step"] in (2, 4, 6)
    rows = predictions(finished)
    assert len(rows) == 16
    assert metrics["test"]["accuracy"] == sum(row["correct"] for row in rows) / 16
    assert {row["id"] for row in rows} == {f"test-{number:05d}" for number in range(16)}


def test_rationales_that_leave_no_room_for_the_answer_are_told_before_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = prepare_run(settings(tmp_path, objective=RationaleThenLabel(name="rationale_then_label"), test=False))
    with caplog.at_level("WARNING"):
        metrics = execute(plan, "")
    told = "64 targets of 64 examples cannot be written up to the answer at the end"
    assert any(record.message.startswith(told) for record in caplog.records)
    assert any(note.startswith(told) for note in metrics["notes"])


def test_the_manifest_says_what_went_in_and_who_taught(finished: Plan) -> None:
    manifest = json.loads((finished.run.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["settings"] == finished.run.settings
    assert {"torch", "transformers"} <= manifest["packages"].keys()
    assert manifest["teacher_accuracy"]["train"] == 1.0
    assert (finished.run.folder / "config.yaml").read_text(encoding="utf-8") == "seed: 0\n"


def test_equal_seeds_give_equal_metrics_and_predictions_whatever_the_folder(finished: Plan, tmp_path: Path) -> None:
    again = prepare_run(settings(tmp_path))
    assert again.run.folder.name == finished.run.folder.name
    assert result(execute(again, "")) == result(finished.run.finished_metrics() or {})
    assert predictions(again) == predictions(finished)


def test_a_run_that_was_stopped_behind_its_last_step_only_measures(
    finished: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dsbs.training import measuring

    plan = prepare_run(settings(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(measuring, "write_predictions", lambda *parts: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            execute(plan, "")
    assert result(execute(plan, "")) == result(finished.run.finished_metrics() or {})


def test_a_finished_run_is_not_trained_again(finished: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsbs.training.plan.train_run", lambda *parts: pytest.fail("trained again"))
    assert execute(finished, "") == finished.run.finished_metrics()


def test_a_failed_run_says_why_and_forgets_it_when_it_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = prepare_run(settings(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(
            "dsbs.training.plan.train_run", lambda *parts: (_ for _ in ()).throw(RunError("The loss is nan."))
        )
        with pytest.raises(RunError):
            execute(plan, "")
    failed = plan.run.folder / "failed.json"
    assert json.loads(failed.read_text(encoding="utf-8")) == {"reason": "The loss is nan."}
    monkeypatch.setattr("dsbs.training.plan.train_run", lambda *parts: {})
    execute(plan, "")
    assert not failed.exists()


# The hash.


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"data_fraction": 0.5},
        {"labels": "teacher"},
        {"decoding": "generate"},
        {"objective": StepByStep(name="step_by_step", alpha=0.2)},
        {"training": Training(max_steps=7, eval_steps=2, per_device_train_batch_size=8, warmup_steps=0)},
        {"teacher": HandbookTeacher(name="handbook", wrong_kind=0.5)},
        {"task": TriageTask(name="triage", seed=1, products=12, complaints=12, train=64, validation=16, test=16)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_decides_the_result_decides_the_folder(changes: dict[str, Any], finished: Plan, tmp_path: Path) -> None:
    other = prepare_run(settings(tmp_path, **changes)).run.folder.name
    assert other.split("-")[1] != finished.run.folder.name.split("-")[1]


def test_what_does_not_decide_the_result_does_not(finished: Plan, tmp_path: Path) -> None:
    told = Training(
        max_steps=6, eval_steps=2, per_device_train_batch_size=8, warmup_steps=0,
        logging_steps=7, threads=2, per_device_eval_batch_size=3, save_total_limit=5,
    )  # fmt: skip
    other = prepare_run(settings(tmp_path, training=told, tracking=Tracking(mode="offline", group="a sweep")))
    assert other.run.folder.name == finished.run.folder.name


def test_one_eighth_written_either_way_is_one_run(tmp_path: Path) -> None:
    one, two = (prepare_run(settings(tmp_path, data_fraction=value)).run.folder for value in ("1/8", 0.125))
    assert one == two
    assert one.parent.name == "0.125"


def test_fine_tuning_is_the_same_run_whoever_would_teach(tmp_path: Path) -> None:
    plans = [
        prepare_run(settings(tmp_path, objective=Finetune(name="finetune"), teacher=teacher))
        for teacher in (HandbookTeacher(name="handbook"), Paid(name="paid", wrong_kind=1.0))
    ]
    assert plans[0].run.folder == plans[1].run.folder
    assert plans[0].described["teacher"] is None
    assert not (tmp_path / "outputs").exists()  # and nobody was asked


# Annotations.


def ask(of: TrainSettings, ids: Any, splits: list[str]) -> None:
    folder = rationales_dir(of.output_dir, of.task, of.teacher, of.prompt)
    run_extraction(Job(of.task, of.teacher, of.prompt, folder, splits, select=ids))


def test_planning_asks_nobody_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotAnnotated) as missing:
        plan_run(settings(tmp_path))
    assert missing.value.job is not None
    assert missing.value.job.splits == ["train", "test"]
    with pytest.raises(NotAnnotated) as missing:
        plan_run(settings(tmp_path, teacher=Paid(name="paid")))
    assert missing.value.job is None
    assert not any(tmp_path.iterdir())


def test_a_free_teacher_is_asked_before_the_run_is_planned(tmp_path: Path) -> None:
    plan = prepare_run(settings(tmp_path))
    assert plan.rationales is not None
    assert (plan.rationales / "train.parquet").exists()
    assert all(annotation is not None for _, annotation in plan.data.train)


def test_ids_that_were_never_asked_are_refused_with_the_command_that_asks(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        prepare_run(settings(tmp_path, teacher=Paid(name="paid"), data_fraction="1/4", seed=3))
    message = str(refused.value)
    assert "16 of the examples of this run are not annotated yet by teacher paid" in message
    [line] = [line.strip() for line in message.splitlines() if "dsbs.extract" in line]
    assert shlex.split(line)[:4] == ["python", "-m", "dsbs.extract", "task=triage"]
    assert {"teacher=paid", "data_fraction=1/4", "seed=3"} <= set(shlex.split(line))


def test_what_extract_asks_about_is_what_train_uses(tmp_path: Path) -> None:
    mine = settings(tmp_path, teacher=Paid(name="paid"), data_fraction=0.25, seed=1)
    ask(mine, select(mine.task, 0.25, 1, 0).by_split(False), ["train"])
    plan = prepare_run(mine)
    assert len(plan.data.train) == 16
    assert all(annotation is not None for _, annotation in plan.data.train)
    prepare_run(dataclasses.replace(mine, data_fraction=0.125))  # nested, so it was asked, too
    with pytest.raises(DataError, match="16 of the examples"):
        prepare_run(dataclasses.replace(mine, data_fraction=0.5))
    with pytest.raises(DataError, match=r"splits=\[train,validation\].*labels=teacher"):
        prepare_run(dataclasses.replace(mine, labels="teacher"))


def test_asked_and_failed_is_not_never_asked(tmp_path: Path) -> None:
    mine = settings(tmp_path, teacher=Paid(name="paid", broken_format=1.0))
    ask(mine, None, ["train"])
    plan = prepare_run(mine)
    assert plan.data.counts["asked_and_failed"] == plan.data.counts["label_only"] == 64


def test_other_folders_that_exist_are_listed(tmp_path: Path) -> None:
    prepare_run(settings(tmp_path))
    with pytest.raises(DataError, match=r"or use an existing folder:\n +rationales=.*handbook-"):
        prepare_run(settings(tmp_path, teacher=Paid(name="paid")))


def test_a_folder_that_is_named_is_used_as_it_is(tmp_path: Path) -> None:
    there = prepare_run(settings(tmp_path)).rationales
    plan = prepare_run(settings(tmp_path, teacher=Paid(name="paid", wrong_label=1.0), rationales=str(there)))
    assert plan.rationales == there
    with pytest.raises(DataError, match=r"rationales=nowhere: 64 of the examples.*\n +python -m dsbs\.extract"):
        prepare_run(settings(tmp_path, rationales="nowhere"))


def test_an_extraction_that_was_stopped_is_not_trained_on_as_if_it_were_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsbs.extraction.engine.run_extraction", lambda job: None)
    with pytest.raises(DataError, match="64 of the examples of this run are not annotated"):
        prepare_run(settings(tmp_path))


def test_the_handbook_knows_no_other_task(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="stand-in for the built-in task triage"):
        prepare_run(settings(tmp_path, task=Letters()))


def test_the_command_repeats_what_was_typed_and_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    mine = settings(tmp_path, data_fraction=0.5, split_seed=2)
    typed = [
        "task=table",
        "task.path=my data/a.csv",
        "+teacher.extra=1",
        "student=t5_base",
        "prompt.cue=So: ",
        "seed=4",
    ]
    words = shlex.split(extract_command(mine, ["train", "test"], typed))
    assert words[:4] == ["python", "-m", "dsbs.extract", "task=table"]
    assert {"task.path=my data/a.csv", "+teacher.extra=1", "prompt.cue=So: ", "splits=[train,test]"} <= set(words)
    assert {"data_fraction=0.5", "seed=0", "split_seed=2"} <= set(words)
    assert not [word for word in words if word.startswith("student")]


# Checks before a student is loaded.


def test_answers_without_a_closed_set_cannot_be_ranked(tmp_path: Path) -> None:
    mine = settings(tmp_path, task=Letters(), objective=Finetune(name="finetune"))
    assert len(prepare_run(mine).data.validation) == 2
    with pytest.raises(ConfigError, match=r"decoding=rank: .*no closed answers.*decoding=auto"):
        prepare_run(dataclasses.replace(mine, decoding="rank"))


def test_labels_that_the_tokenizer_cannot_write_are_named() -> None:
    student = tiny_t5()
    check_labels(student, Letters(), [Example("1", "", "don't"), Example("2", "", "( 84.0 / 2.0 )")])
    with pytest.raises(StudentError, match="cannot write 1 of 2 labels: '日本' comes back as"):
        check_labels(student, Letters(), [Example("1", "", "yes"), Example("2", "", "日本")])


def test_labels_longer_than_a_target_are_told_with_the_length_that_holds_them() -> None:
    student = tiny_t5()
    labels = ("refund", "replace the kettle", "replace the kettle or the sofa")
    size = student.lengths(labels)[2]
    asked = [Example("1", "", "refund", labels), Example("2", "", "a free answer that is cut and counted", None)]
    check_lengths(student, Lengths(64, size, 8), "auto", asked)
    check_lengths(student, Lengths(64, size, size - 1), "generate", asked)
    reading = DecodingConfig("auto", max_new_tokens=size)
    free = [Example("1", "", f"{labels[2]} {labels[2]}"), Example("2", "", labels[2]), Example("3", "", None)]
    assert count_unwritable(student, reading, [*asked[:1], *free]) == {"answers_cut": 1}
    assert count_unwritable(student, dataclasses.replace(reading, max_new_tokens=8), asked[:1]) == {}  # ranked
    assert "1 label of validation and test" in describe_lost({"answers_cut": 1})[0]
    lines = [Example("1", "", "refund\nit"), Example("2", "", "it")]
    assert count_unwritable(student, reading, lines) == {"line_breaks_lost": 1}
    assert (
        count_unwritable(DecoderOnlyModel(causal_model("llama", 300), byte_tokenizer(), "target"), reading, lines) == {}
    )
    assert "1 label of validation and test with line breaks" in describe_lost({"line_breaks_lost": 1})[0]
    with pytest.raises(StudentError, match=rf"has {size} tokens.*Type student\.max_target_tokens={size}, or"):
        check_lengths(student, Lengths(64, size - 1, 64), "auto", asked)
    with pytest.raises(StudentError, match=rf"within 2: .*Type student\.max_new_tokens={size}, or"):
        check_lengths(student, Lengths(64, 64, 2), "generate", asked)


def test_the_tokenizers_texts_are_the_same_for_every_objective_fraction_and_seed(tmp_path: Path) -> None:
    one = list(prepare_run(settings(tmp_path)).recipe.texts())
    mine = settings(tmp_path, objective=Finetune(name="finetune"), data_fraction=0.5, seed=5)
    other = list(prepare_run(mine).recipe.texts())
    assert one == other
    assert {"refund", "escalate"} <= set(one)
    assert any("to leak is wear" in text for text in one)


def test_a_run_is_named_by_the_batch_of_a_step_however_that_is_cut(
    finished: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name(batch: int, accumulation: int = 1, processes: int = 1) -> str:
        monkeypatch.setattr("dsbs.training.settings.count_processes", lambda: processes)
        training = Training(
            max_steps=6, eval_steps=2, warmup_steps=0,
            per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation,
        )  # fmt: skip
        return plan_run(settings(finished.run.folder.parents[6], training=training)).run.folder.name

    assert finished.run.folder.name == "0-1440d1bb"  # runs of a single process keep the name that they always had
    assert [name(8), name(4, 2), name(4, 1, 2), name(2, 2, 2)] == [finished.run.folder.name] * 4
    assert name(16) == name(8, 1, 2) != name(8)


def test_a_tokenizer_without_brackets_does_not_write_the_prefix_as_unknown_in_silence() -> None:
    words = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, "label": 3}, unk_token="<unk>"))
    marks = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **marks)
    for prefix_on, refused in (("target", False), ("input", True)):
        student = Seq2SeqModel(seq2seq_model("t5", 10), copy.deepcopy(tokenizer), prefix_on)
        with (
            pytest.raises(StudentError, match=r"cannot write \[label\]; it would use <unk>.*prefix_on=target")
            if refused
            else contextlib.nullcontext()
        ):
            check_prefixes(student)
    for student in (tiny_t5("input"), DecoderOnlyModel(causal_model("llama", 300), byte_tokenizer(), "input")):
        check_prefixes(student)
