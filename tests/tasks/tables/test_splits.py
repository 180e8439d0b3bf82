"""Splits have many names: in files, folders, sets of the hub, releases and recorded completions."""

import json

import datasets
import pytest
from row_files import write_rows

from dsbs.core import terminal
from dsbs.core.errors import DataError
from dsbs.tasks import ReleaseTask, TableTask
from dsbs.tasks.tables.splits import choose_names
from dsbs.teachers.recorded import join_by_position

VALIDATION = ["valid", "validation", "dev", "val", "eval", "Dev", "my-eval-set", "reviews_VAL", "development", "devset"]


def write(path, count=1):
    path.parent.mkdir(exist_ok=True, parents=True)
    write_rows(path, [{"x": f"{path.stem} {n}", "y": "a"} for n in range(count)])


def table(path):
    return TableTask(path=str(path), input="x", label="y")


@pytest.mark.parametrize("word", VALIDATION)
@pytest.mark.parametrize("form", ["{}.jsonl", "data.{}.jsonl", "{}-00000-of-00002.jsonl", "{}/part.jsonl"])
def test_validation_has_many_names_in_a_folder(tmp_path, word, form):
    write(tmp_path / form.format("train"))
    write(tmp_path / form.format(word))
    assert table(tmp_path).splits() == ("train", "validation")


@pytest.mark.parametrize("word", ["valid", "validation", "dev", "val", "eval"])
def test_validation_has_many_names_in_a_release(tmp_path, word):
    for split in ("train", word):
        (tmp_path / f"svamp_{split}.json").write_text('{"input": "Two?", "label": "2"}\n')
    assert ReleaseTask(name="svamp", benchmark="svamp", path=str(tmp_path)).splits() == ("train", "validation")


@pytest.mark.parametrize("word", ["valid", "validation", "dev", "val", "eval"])
def test_validation_has_many_names_in_recorded_completions(tmp_path, word):
    write(tmp_path / "train.jsonl")
    write(tmp_path / "dev.jsonl", 2)
    recorded = tmp_path / "palm"
    recorded.mkdir()
    (recorded / f"{word}_CoT_0.json").write_text(json.dumps(["one", "two"]))
    found = join_by_position(table(tmp_path), "validation", list(recorded.iterdir()))
    assert list(found.values()) == ["one", "two"]


def test_recorded_completions_of_two_names_are_not_mixed(tmp_path):
    write(tmp_path / "dev.jsonl", 2)
    for word in ("val", "dev"):
        (tmp_path / f"{word}_CoT_0.json").write_text(json.dumps(["one", "two"]))
    with pytest.raises(DataError, match="completions of dev and of val: which belong to split 'validation'"):
        join_by_position(table(tmp_path), "validation", sorted(tmp_path.glob("*_CoT_0.json")))


@pytest.mark.parametrize(
    ("names", "chosen", "unclear"),
    [
        (["train", "dev"], {"train": "train", "validation": "dev"}, []),
        (["train", "validation", "validation_mismatched"], {"train": "train", "validation": "validation"}, []),
        (["train", "val", "dev"], {"train": "train"}, ["validation"]),
        (["train_r1", "train_r2", "test_r1"], {"test": "test_r1"}, ["train"]),
        (["Train", "Test"], {"train": "Train", "test": "Test"}, []),
        (["all"], {}, []),
    ],
)
def test_of_several_names_none_wins_in_silence(names, chosen, unclear):
    found = choose_names(names)
    assert (found[0], list(found[1])) == (chosen, unclear)


def test_a_set_whose_splits_are_unclear_is_not_guessed(monkeypatch):
    rows = datasets.Dataset.from_list([{"x": "a", "y": "b"}])
    data = datasets.DatasetDict({"train_r1": rows, "train_r2": rows, "dev_r1": rows})
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: data)
    with pytest.raises(DataError, match=r"It may be train_r1 or train_r2 for train\. Name them: 'task\.split_names="):
        TableTask(hub="a/b", input="x", label="y").splits()


@pytest.mark.parametrize(
    ("there", "says"), [("dev", "no train and no test"), ("test", "no train"), ("train", "no test")]
)
def test_what_is_there_is_taken_and_what_is_missing_is_told(tmp_path, there, says, caplog):
    caplog.set_level("INFO", terminal.logger.name)
    write(tmp_path / f"{there}-1.jsonl")
    write(tmp_path / f"{there}-2.jsonl")
    split = "validation" if there == "dev" else there
    assert table(tmp_path).splits() == (split,)
    assert caplog.messages == [f"task.path={tmp_path}: there is {says} split; found: {split}."]


def test_files_of_different_names_that_are_one_split_are_told(tmp_path, caplog):
    caplog.set_level("INFO", terminal.logger.name)
    for name in ("train", "test", "dev", "valid"):
        write(tmp_path / f"{name}.jsonl")
    assert len(list(table(tmp_path).examples("validation"))) == 2
    assert caplog.messages == [f"task.path={tmp_path}: validation consists of dev.jsonl, valid.jsonl."]


def test_what_other_programs_leave_beside_the_files_is_no_data(tmp_path):
    write(tmp_path / "train.jsonl")
    (tmp_path / "._train.jsonl").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    write(tmp_path / ".ipynb_checkpoints" / "train-checkpoint.jsonl")
    assert len(list(table(tmp_path).examples("train"))) == 1


def test_one_name_with_two_endings_is_not_read_twice(tmp_path):
    write(tmp_path / "train.jsonl")
    (tmp_path / "train.csv").write_text("x,y\na,b\n")
    with pytest.raises(DataError, match=r"train\.csv and .*train\.jsonl: the same data twice\? Name files of one kind"):
        table(tmp_path).splits()
    assert table(f"{tmp_path}/*.csv").splits() == ("train",)


def test_folders_whose_names_are_no_splits_are_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("dsbs.tasks.tables.files.log_once", said.append)
    write(tmp_path / "train" / "a.jsonl")
    write(tmp_path / "extra" / "a.jsonl")
    assert table(tmp_path).splits() == ("train",)
    assert f"{tmp_path}: extra ignored: not named after a split." in said
    for fold in ("fold1", "fold2"):
        write(tmp_path / "folds" / fold / "train.jsonl")
    with pytest.raises(
        DataError, match=r"not named after a split \(fold1, fold2\)\. Name one of them, such as task\.path=.*fold1"
    ):
        table(tmp_path / "folds").splits()
