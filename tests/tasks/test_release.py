import json

import pytest
from row_files import write_rows

from dsbs.core.errors import DataError
from dsbs.tasks import ReleaseTask
from dsbs.tasks.release import BENCHMARKS

NLI_ROWS = [
    {"premise": "A man runs.", "hypothesis": "A man moves.", "label": 0, "explanation_1": "Running is moving."},
    {"premise": "A man runs.", "hypothesis": "He is late.", "label": 1, "explanation_1": "Unknown."},
    {"premise": "A man runs.", "hypothesis": "He sleeps.", "label": 2, "explanation_1": "Not both."},
]


def build(name, folder, **settings):
    return ReleaseTask(name=name, benchmark=name, path=str(folder), **settings)


def test_svamp_is_read_with_stable_ids(tmp_path):
    write_rows(tmp_path / "svamp_train.json", [{"input": "Two and two?\nHow many?", "label": "( 2.0 + 2.0 )"}] * 2)
    write_rows(tmp_path / "svamp_test.json", [{"input": "Three?", "label": "3"}])
    task = build("svamp", tmp_path)
    assert task.splits() == ("train", "test")
    first, second = task.examples("train")
    assert (first.id, second.id) == ("train-0", "train-1")
    assert (first.input, first.label, first.choices) == ("Two and two?\nHow many?", "( 2.0 + 2.0 )", None)
    assert [example.id for example in task.examples("test")] == ["test-0"]


def test_cqa_lists_the_choices_in_the_input_as_the_papers_code_does(tmp_path):
    choices = ["bus depot", "beach", "bridge", "river", "bridge"]
    write_rows(
        tmp_path / "cqa_train.json", [{"id": "6b81", "question": "Where?", "choices": choices, "answer": "bridge"}]
    )
    (example,) = build("cqa", tmp_path).examples("train")
    assert example.id == "6b81"
    assert example.input == "Where?\nAnswer Choices:\n(a) bus depot\n(b) beach\n(c) bridge\n(d) river\n(e) bridge"
    assert (example.label, example.choices) == ("bridge", tuple(choices))


@pytest.mark.parametrize("validation", ["valid", "validation"])
def test_esnli_names_its_numbered_labels(tmp_path, validation):
    for split in ("train", validation, "test"):
        write_rows(tmp_path / f"esnli_{split}.json", NLI_ROWS)
    task = build("esnli", tmp_path)
    assert task.splits() == ("train", "validation", "test")
    examples = list(task.examples("validation"))
    assert [example.label for example in examples] == ["entailment", "neutral", "contradiction"]
    assert examples[0].input == "Premise: A man runs.\nHypothesis: A man moves."
    assert examples[0].choices == ("entailment", "neutral", "contradiction")
    assert examples[0].id == "validation-0"


def test_anli_keeps_its_own_ids(tmp_path):
    rows = [{"uid": f"u{i}", "reason": "", **row} for i, row in enumerate(NLI_ROWS)]
    write_rows(tmp_path / "anli1_train.jsonl", rows)
    task = build("anli1", tmp_path)
    assert [(example.id, example.label) for example in task.examples("train")][:2] == [
        ("u0", "entailment"),
        ("u1", "neutral"),
    ]


def test_asdiv_takes_the_number_of_the_answer(tmp_path):
    write_rows(
        tmp_path / "asdiv_train.json",
        [{"Body": "7 and 2.", "Question": "Sum?", "Formula": "7+2=9", "Answer": "9 (apples)"}],
    )
    task = build("asdiv", tmp_path)
    (example,) = task.examples("train")
    assert (example.input, example.label) == ("7 and 2.\nSum?", "9")
    assert task.answers.equivalent(task.answers.parse("(7 + 2)", None), example.label)


def test_the_identity_follows_the_content_and_not_the_place(tmp_path):
    for folder, label in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / folder).mkdir()
        write_rows(tmp_path / folder / "esnli_train.json", [NLI_ROWS[0] | {"label": label}])
    a, b, c = (build("esnli", tmp_path / folder).identity() for folder in "abc")
    assert a == b != c
    assert str(tmp_path) not in json.dumps(a)


def test_a_missing_folder_or_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"task\.path=.*nowhere.*no such folder"):
        build("svamp", tmp_path / "nowhere").splits()
    (tmp_path / "svamp").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        DataError, match=r"svamp_train\.json and svamp_test\.json.*found notes\.txt.*mean task\.path=.*svamp\?"
    ):
        build("svamp", tmp_path).splits()


def test_a_broken_line_is_told_with_file_and_line(tmp_path):
    (tmp_path / "svamp_train.json").write_text('{"input": "a", "label": "1"}\n{"input": "b", \n', encoding="utf-8")
    with pytest.raises(DataError, match=r"svamp_train\.json:2: not JSON: .* at column 15"):
        list(build("svamp", tmp_path).examples("train"))


def test_unknown_labels_are_listed_together(tmp_path):
    write_rows(
        tmp_path / "esnli_train.json", [*NLI_ROWS, *[row | {"label": 3 + i % 2} for i, row in enumerate(NLI_ROWS)]]
    )
    with pytest.raises(DataError) as error:
        list(build("esnli", tmp_path).examples("train"))
    text = str(error.value)
    assert "3 rows of train" in text
    assert "'3': 2 times, first at" in text
    assert "esnli_train.json:4" in text
    assert "'4': 1 time" in text


def test_a_missing_column_and_an_empty_split_are_told(tmp_path):
    write_rows(tmp_path / "esnli_train.json", [{"sentence1": "a", "label": 0}])
    write_rows(tmp_path / "esnli_test.json", [])
    task = build("esnli", tmp_path)
    with pytest.raises(DataError, match=r"esnli_train\.json:1: there is no column 'premise'.*sentence1, label"):
        list(task.examples("train"))
    with pytest.raises(DataError, match=r"test split of task=esnli .* is empty"):
        list(task.examples("test"))
    with pytest.raises(DataError, match="no validation split here; it has train, test"):
        list(task.examples("validation"))


def test_wrong_settings_are_all_told():
    faults = ReleaseTask(name="x", benchmark="snli", reading="strict", validation_share=2).faults()
    assert len(faults) == 4
    assert any("svamp, cqa, esnli, anli1, asdiv" in fault for fault in faults)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_can_be_described_without_data(name):
    task = build(name, "anywhere")
    assert task.faults() == []
    assert task.answers.parse("nothing of the kind?", ("a1", "b1")) is None


def test_the_release_itself_is_read_whole(data_folder):
    sizes = {"svamp": (800, 200), "cqa": (9741, 1221)}
    for name, (train, test) in sizes.items():
        task = build(name, data_folder / name)
        for split, size in (("train", train), ("test", test)):
            examples = list(task.examples(split))
            assert len(examples) == len({example.id for example in examples}) == size
            assert all(example.label is not None for example in examples)
