import json

import datasets
import pytest

from dsbs.core.errors import DataError
from dsbs.data.join import load_test
from dsbs.tasks import ReleaseTask, TableTask
from dsbs.tasks.tables.hub import HubSource


@pytest.fixture
def hub_copy(tmp_path, monkeypatch):
    """A folder of Parquet files that ``datasets`` loads in place of a data set on the hub."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def make(splits, features=None):
        folder = tmp_path / "copy"
        folder.mkdir()
        for split, rows in splits.items():
            datasets.Dataset.from_list(rows, features=features).to_parquet(folder / f"{split}.parquet")
        return str(folder)

    return make


def test_svamp_comes_from_the_hub_where_no_path_is_given(hub_copy):
    rows = [{"ID": "chal-1", "Body": "Two.", "Question": "Twice?", "Equation": "( 2.0 * 2.0 )", "Answer": "4.0"}]
    task = ReleaseTask(name="svamp", benchmark="svamp", hub=hub_copy({"train": rows, "test": rows}), revision="a" * 40)
    (example,) = task.examples("train")
    assert (example.id, example.input, example.label) == ("chal-1", "Two.\nTwice?", "( 2.0 * 2.0 )")
    assert task.splits() == ("train", "test")
    assert "a" * 40 in json.dumps(task.identity())


def test_labels_of_a_fixed_set_come_as_names_and_splits_are_renamed(monkeypatch):
    features = datasets.Features(
        {
            "uid": datasets.Value("string"),
            "premise": datasets.Value("string"),
            "hypothesis": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["entailment", "neutral", "contradiction"]),
        }
    )
    rows = [{"uid": "u", "premise": "A man.", "hypothesis": "A person.", "label": 2}]
    data = datasets.DatasetDict({"dev_r1": datasets.Dataset.from_list(rows, features=features)})
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: asked.append((args, options)) or data)
    task = ReleaseTask(name="anli1", benchmark="anli1", hub="facebook/anli", hub_config="plain_text", revision="b" * 40)
    assert [example.label for example in task.examples("validation")] == ["contradiction"]
    assert asked == [(("facebook/anli", "plain_text"), {"revision": "b" * 40})]


def test_a_branch_is_identified_by_its_rows(monkeypatch):
    def identity(text):
        data = datasets.DatasetDict({"train": datasets.Dataset.from_list([{"input": text, "label": "x"}])})
        monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: data)
        return HubSource("some/set", revision="main").identity()

    assert identity("a") == identity("a") != identity("b")


def test_a_table_can_lie_on_the_hub(hub_copy):
    rows = [{"text": "good", "stars": 1}, {"text": "bad", "stars": 0}]
    task = TableTask(
        hub=hub_copy({"train": rows, "validation": rows}), input="text", label="stars", label_names=["no", "yes"]
    )
    assert task.splits() == ("train", "validation")
    assert [example.label for example in task.examples("validation")] == ["yes", "no"]


@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_numbers_of_few_bits_are_as_they_were_written(monkeypatch, kind):
    features = datasets.Features({"input": datasets.Value("string"), "label": datasets.Value(kind)})
    data = datasets.Dataset.from_list([{"input": "a", "label": 0.1}], features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: {"train": data})
    assert [row["label"] for _, row in HubSource("some/set").rows("train")] == [0.1]


def test_without_the_hub_the_message_names_the_way_out(monkeypatch):
    def offline(*args, **options):
        raise ConnectionError("Couldn't reach 'ChilleD/SVAMP' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    task = ReleaseTask(name="svamp", benchmark="svamp", hub="ChilleD/SVAMP", revision="main")
    with pytest.raises(DataError, match=r"ChilleD/SVAMP.*Couldn't reach(.|\n)*task\.path=FOLDER"):
        list(task.examples("train"))


def test_a_split_that_is_not_there_is_told(hub_copy):
    task = ReleaseTask(name="cqa", benchmark="cqa", hub=hub_copy({"train": [{"id": "1"}]}))
    with pytest.raises(DataError, match="has no split 'validation' for test; it has train"):
        list(task.examples("test"))


@pytest.mark.parametrize("several", [True, False])
def test_a_folder_of_save_to_disk_is_read_with_its_names(tmp_path, several):
    features = datasets.Features({"x": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = datasets.Dataset.from_list([{"x": "a", "label": 1}, {"x": "b", "label": 0}], features=features)
    (datasets.DatasetDict(train=rows, dev=rows) if several else rows).save_to_disk(tmp_path / "saved")
    task = TableTask(path=str(tmp_path / "saved"), input="x")
    assert task.splits() == ("train", "validation")[: 1 + several]
    assert [example.label for example in task.examples("train")] == ["yes", "no"]


def test_validation_can_be_test_where_the_labels_of_test_are_withheld(tmp_path):
    features = datasets.Features({"x": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    known = datasets.Dataset.from_list([{"x": "a", "label": 1}, {"x": "b", "label": 0}], features=features)
    withheld = datasets.Dataset.from_list([{"x": "c", "label": -1}], features=features)
    splits = datasets.DatasetDict(train=known, validation=known, test=withheld)
    splits.save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=r"'task\.split_names={train: train, test: validation}' measures on validation"):
        load_test(TableTask(path=str(tmp_path / "saved"), input="x"))
    task = TableTask(path=str(tmp_path / "saved"), input="x", split_names={"train": "train", "test": "validation"})
    assert [example.label for example in load_test(task)] == ["yes", "no"]


@pytest.mark.parametrize("kind", ["hub", "path"])
def test_classes_within_lists_have_their_names(hub_copy, kind):
    names = datasets.ClassLabel(names=["joy", "anger", "none"])
    features = datasets.Features({"x": datasets.Value("string"), "labels": datasets.List(names)})
    rows = [{"x": "a", "labels": [1, 0]}, {"x": "b", "labels": [2]}, {"x": "c", "labels": []}]
    task = TableTask(input="x", label="labels.0", **{kind: hub_copy({"train": rows}, features)})
    assert [example.label for example in task.examples("train")] == ["anger", "none", None]
    assert next(task.examples("train")).choices == ("anger", "joy", "none")


def test_images_beside_the_texts_are_not_decoded(tmp_path):
    picture = datasets.Image()
    features = {"x": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"]), "picture": picture}
    features |= {"pictures": datasets.List(picture), "meta": {"picture": picture}, "more": datasets.Json()}
    broken = {"bytes": b"no image", "path": "a.png"}
    row = {"x": "It leaks.", "label": 1, "picture": broken, "pictures": [broken], "meta": {"picture": broken}}
    rows = [row | {"more": {"why": "wet"}}, row | {"label": 0, "more": {"why": "dry"}}]
    datasets.Dataset.from_list(rows, features=datasets.Features(features)).save_to_disk(tmp_path / "saved")
    task = TableTask(path=str(tmp_path / "saved"), input="{x} {more.why}", label="label")
    assert [(one.input, one.label) for one in task.examples("train")] == [
        ("It leaks. wet", "yes"),
        ("It leaks. dry", "no"),
    ]
