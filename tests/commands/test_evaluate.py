"""``python -m dsbs.evaluate``: the figures of a run again, and those of the same student on other data."""

import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet
import pytest
from rich.console import Console
from row_files import write_rows
from trained import train_tiny

from dsbs.cli.config import EvaluateConfig
from dsbs.core.errors import ConfigError, DataError, DsbsError, RunError
from dsbs.evaluate import evaluate, show
from dsbs.inference.gold import gold_examples
from dsbs.tasks import TASKS

ROWS = [{"text": f"message {number} is {'good' if number % 2 else 'bad'}", "mood": number % 2} for number in range(40)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on triage."""
    return train_tiny(tmp_path_factory.mktemp("triage"))


@pytest.fixture(scope="module")
def table_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a table whose closed answers were found in its train split."""
    folder = tmp_path_factory.mktemp("table")
    data = write_rows(folder / "data.jsonl", [{**row, "mood": ("sad", "glad")[int(row["mood"])]} for row in ROWS])
    task = TASKS["table"](  # type: ignore[call-arg]
        name="moods", path=str(data), input="{text}!", label="mood", answer_kind="closed", test_share=0.3
    )
    return train_tiny(folder, task, "finetune")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("below", ["", "checkpoint"])
def test_a_run_and_its_checkpoint_give_the_accuracy_that_the_training_measured(run: Path, below: str) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    before = snapshot(run)
    figures = evaluate(EvaluateConfig(checkpoint=str(run / below)))
    assert figures["accuracy"] == metrics["test"]["accuracy"]
    assert figures["examples"] == metrics["test"]["examples"] == 16
    assert set(figures["accuracy_by_class"]) <= {"refund", "replace", "repair", "escalate"}
    assert snapshot(run) == before


def test_a_small_batch_gives_the_same_accuracy_as_a_large_one(run: Path) -> None:
    small, large = (evaluate(EvaluateConfig(checkpoint=str(run), split="train", batch_size=n)) for n in (3, 64))
    assert small == large
    assert small["examples"] == 64


def test_written_answers_that_are_none_count_as_wrong_and_are_counted(run: Path) -> None:
    figures = evaluate(EvaluateConfig(checkpoint=str(run), decoding="generate"))
    assert 0 <= figures["correct"] <= figures["examples"] - figures["unanswered"]


def test_predictions_and_figures_are_written_where_output_says(run: Path, tmp_path: Path) -> None:
    figures = evaluate(EvaluateConfig(checkpoint=str(run), output=str(tmp_path / "new" / "test.parquet")))
    table = pyarrow.parquet.read_table(tmp_path / "new" / "test.parquet").to_pylist()
    assert sum(row["correct"] for row in table) == figures["correct"]
    written = pyarrow.parquet.read_table(run / "predictions.parquet").to_pylist()
    # The training wrote down some rationales as well, for the report.
    assert [{**row, "rationale": None} for row in written] == table
    again = evaluate(EvaluateConfig(checkpoint=str(run), output=str(tmp_path / "test.json")))
    assert json.loads((tmp_path / "test.json").read_text()) == again


@pytest.mark.parametrize("name", ["metrics.json", "predictions.parquet", "checkpoint/config.json"])
def test_no_file_of_a_run_is_overwritten(run: Path, name: str) -> None:
    before = snapshot(run)
    with pytest.raises(RunError, match="is not overwritten"):
        evaluate(EvaluateConfig(checkpoint=str(run), output=str(run / name)))
    assert snapshot(run) == before


def test_all_that_is_wrong_with_the_settings_is_told_at_once(run: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        evaluate(EvaluateConfig(checkpoint=str(run), decoding="beam", batch_size=0, output="scores.txt"))
    assert all(key in str(caught.value) for key in ("decoding=beam", "batch_size=0", "output=scores.txt"))


def test_a_checkpoint_that_was_copied_away_is_measured_without_its_run(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "checkpoint", tmp_path / "mine")
    alone = evaluate(EvaluateConfig(checkpoint=str(tmp_path / "mine")))
    assert alone["accuracy"] == evaluate(EvaluateConfig(checkpoint=str(run)))["accuracy"]


def test_a_copied_checkpoint_asks_where_the_data_lies(table_run: Path, tmp_path: Path) -> None:
    shutil.copytree(table_run / "checkpoint", tmp_path / "mine")
    with pytest.raises(ConfigError, match="add path="):
        evaluate(EvaluateConfig(checkpoint=str(tmp_path / "mine")))
    data = write_rows(tmp_path / "notes.jsonl", [{"text": "a note", "mood": "glad"}])
    assert evaluate(EvaluateConfig(checkpoint=str(tmp_path / "mine"), path=str(data)))["examples"] == 1


def test_one_file_is_measured_whole_whatever_its_name(table_run: Path, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": f"a note {n}", "mood": "glad"} for n in range(5)]
    rows.append({"text": "no answer known", "mood": None})
    other = write_rows(tmp_path / "notes.jsonl", rows)
    figures = evaluate(EvaluateConfig(checkpoint=str(table_run), path=str(other)))
    # One answer is all that occurs in this file; the student still chooses between the two that it learnt.
    assert (figures["examples"], figures["without_gold"]) == (5, 1)
    assert figures["accuracy_by_class"].keys() == {"glad"}


def test_a_run_on_a_table_finds_its_own_test_split_again(table_run: Path) -> None:
    metrics = json.loads((table_run / "metrics.json").read_text())
    with pytest.raises(DataError, match=r"task\.path=.*data\.jsonl lies outside of .*trust_run=true"):
        evaluate(EvaluateConfig(checkpoint=str(table_run)))
    figures = evaluate(EvaluateConfig(checkpoint=str(table_run), trust_run=True))
    assert {"accuracy": figures["accuracy"], "examples": figures["examples"]} == metrics["test"]
    assert not figures["changed"]


def test_other_data_that_the_student_was_trained_on_is_told(
    table_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = table_run.parents[6] / "data.jsonl"
    config = EvaluateConfig(checkpoint=str(table_run), path=str(data), trust_run=True)
    figures = evaluate(config)
    trained_on = 40 - json.loads((table_run / "metrics.json").read_text())["test"]["examples"]
    assert (figures["examples"], figures["overlap"]["same"]) == (40, trained_on)
    show(figures, config, Console(width=200))
    assert f"Of 40 test inputs, {trained_on} also occur in train or validation of the run" in capsys.readouterr().out
    unknown = evaluate(EvaluateConfig(checkpoint=str(table_run), path=str(data)))  # its own data lies elsewhere
    assert unknown["overlap"] is None


def test_data_that_has_changed_since_the_training_is_told(table_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table_run.parents[6] / "data.jsonl"
    before = data.read_text()
    data.write_text(before.replace("message", "note"))
    try:
        config = EvaluateConfig(checkpoint=str(table_run), trust_run=True)
        show(evaluate(config), config, Console(width=200))
    finally:
        data.write_text(before)
    assert "is not the one that the training measured: its data has changed since." in capsys.readouterr().out


def test_a_label_that_the_student_never_saw_is_named_with_its_line(table_run: Path, tmp_path: Path) -> None:
    other = write_rows(tmp_path / "notes.jsonl", [{"text": "a note", "mood": "angry"}])
    with pytest.raises(DataError, match=r"'angry': 1 time, first at .*notes\.jsonl:1") as caught:
        evaluate(EvaluateConfig(checkpoint=str(table_run), path=str(other)))
    assert str(caught.value).endswith("Here the settings under task are those of the training: change the data.")


def test_data_without_the_column_of_gold_answers_says_which_that_is(table_run: Path, tmp_path: Path) -> None:
    other = write_rows(tmp_path / "notes.jsonl", [{"text": "a note", "mood": None}])
    with pytest.raises(DataError, match=r"None of the 1 examples of .* has a gold answer \(column 'mood'\)"):
        evaluate(EvaluateConfig(checkpoint=str(table_run), path=str(other)))


def test_a_student_trained_without_gold_labels_is_measured_by_the_column_label(tmp_path: Path) -> None:
    task = TASKS["table"](name="moods", input="text", label=None, labels=["sad", "glad"])  # type: ignore[call-arg]
    other = write_rows(tmp_path / "notes.jsonl", [{"text": "a", "label": "glad"}, {"text": "b", "label": None}])
    examples, without = gold_examples(task, "test", str(other))
    assert ([example.label for example in examples], without) == (["glad"], 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"path": "nowhere.csv"}, "path=nowhere.csv: there is no such file"),
        ({"split": "validation"}, "it has train, test"),
    ],
)
def test_data_that_is_not_there_is_a_clear_message(table_run: Path, change: dict[str, str], says: str) -> None:
    with pytest.raises(DsbsError, match=says):
        evaluate(EvaluateConfig(checkpoint=str(table_run), trust_run=True, **change))  # type: ignore[arg-type]


def test_the_built_in_task_says_that_it_reads_no_files(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reads no files"):
        evaluate(EvaluateConfig(checkpoint=str(run), path=str(tmp_path)))


def test_a_folder_above_the_runs_lists_those_below_it(run: Path) -> None:
    with pytest.raises(RunError, match=f"checkpoint={run}"):
        evaluate(EvaluateConfig(checkpoint=str(run.parents[2])))


def test_a_missing_folder_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        evaluate(EvaluateConfig(checkpoint=str(tmp_path / "nowhere")))


def test_an_unfinished_run_names_the_command_that_finishes_it(run: Path, tmp_path: Path) -> None:
    half = tmp_path / "0-abcdef12"
    shutil.copytree(run, half)
    (half / "metrics.json").unlink()
    (half / "failed.json").write_text('{"reason": "the disk is full"}')
    for named in (half, half / "checkpoint"):
        with pytest.raises(RunError, match=r"unfinished \(the disk is full\).*python -m dsbs\.train"):
            evaluate(EvaluateConfig(checkpoint=str(named)))


@pytest.mark.parametrize("size", [0, 5000])
def test_cut_off_weights_are_a_message_of_the_checkpoint(run: Path, tmp_path: Path, size: int) -> None:
    shutil.copytree(run / "checkpoint", tmp_path / "mine")
    weights = tmp_path / "mine" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    with pytest.raises(DsbsError, match="mine"):
        evaluate(EvaluateConfig(checkpoint=str(tmp_path / "mine")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: triage", "kind: os.system"),
        ("products: 12", "products: many"),
        ("products: 12", "products: ${oc.env:HOME}"),
    ],
)
def test_a_broken_or_strange_config_builds_nothing(run: Path, tmp_path: Path, old: str, new: str) -> None:
    strange = tmp_path / "0-abcdef12"
    shutil.copytree(run, strange)
    config = strange / "config.yaml"
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=r"config\.yaml"):
        evaluate(EvaluateConfig(checkpoint=str(strange)))


def test_the_table_shows_accuracy_and_classes(run: Path) -> None:
    config = EvaluateConfig(checkpoint=str(run))
    console, figures = Console(width=80), evaluate(config)
    with console.capture() as captured:
        show(figures, config, console)
    text = captured.get()
    assert "the test split" in text
    assert "repair" in text
    assert sum(figures["examples_by_class"].values()) == figures["examples"]
    assert re.search(rf"repair +│ +[\d.]+% │ +{figures['examples_by_class']['repair']} │", text)
    many = {f"label {number}": number / 500 for number in range(500)}
    with console.capture() as captured:
        show(figures | {"accuracy_by_class": many, "examples_by_class": dict.fromkeys(many, 2)}, config, console)
    assert "The 50 least accurate of 500 labels; output=figures.json has all." in captured.get()
    assert "label 49" in captured.get()


def test_what_the_student_does_not_read_is_told(
    table_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, object]] = [{"text": "it is fine and it works " * count, "mood": "glad"} for count in (1, 400)]
    config = EvaluateConfig(checkpoint=str(table_run), path=str(write_rows(tmp_path / "test.jsonl", rows)))
    figures = evaluate(config)
    assert (figures["lost"]["inputs"], figures["lost"]["inputs_cut"]) == (2, 1)
    show(figures, config, Console(width=200))
    assert "1 input of 2 examples exceeded student.max_input_tokens: truncated at the end." in capsys.readouterr().out
