"""Gold labels are data: as they stand up to case and space, or the run stops and names the row."""

import json
import math
import re
import string

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from row_files import write_rows

from dsbs.core import terminal
from dsbs.core.errors import DataError
from dsbs.tasks import TableTask
from dsbs.tasks.answers.arithmetic import evaluate
from dsbs.tasks.cells import is_sign
from dsbs.tasks.tables.gold import Gold, UnreadLabel

FILES = ("rows.jsonl", "rows.csv", "rows.parquet")


def golds(path, column, **options):
    """Write a column of labels and return what is read of it."""
    rows = [{"x": f"text {number}", "label": label} for number, label in enumerate(column)]
    write_rows(path, rows)
    options.setdefault("input", "x")
    return [example.label for example in TableTask(path=str(path), **options).examples("train")]


def declared(path, numbers, names, kind="int64"):
    """Write a Parquet file that names the classes of its labels, as ``datasets`` does."""
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    table = pa.table({"x": [f"text {place}" for place in range(len(numbers))], "label": pa.array(numbers, kind)})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return TableTask(path=str(path), input="x")


def test_classes_that_a_file_declares_are_the_answers_however_few_rows_there_are(tmp_path):
    task = declared(tmp_path / "rows.parquet", [1, -1, None, 1], ["no", "yes", "maybe"])
    examples = list(task.examples("train"))
    assert [example.label for example in examples] == ["yes", None, None, "yes"]
    assert examples[0].choices == ("maybe", "no", "yes")
    gaps = declared(tmp_path / "rows.parquet", [1, -1, None, 1], ["no", "yes", "maybe"], "float64")  # as of pandas
    assert list(gaps.examples("train")) == examples
    renamed = TableTask(path=task.path, input="x", label_names=["nein", "ja", "vielleicht"])
    assert [example.label for example in renamed.examples("train")] == ["ja", None, None, "ja"]
    with pytest.raises(DataError, match="'3': 1 time, first at"):
        list(declared(tmp_path / "rows.parquet", [0, 3], ["no", "yes", "maybe"]).examples("train"))


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_numbers_of_few_bits_are_what_they_are_in_csv(tmp_path, kind):
    table = pa.table({"x": ["a", "b"], "label": pa.array(np.array([0.1, 2.5], kind))})
    pq.write_table(table, tmp_path / "rows.parquet")
    task = TableTask(path=str(tmp_path / "rows.parquet"), input="x", answer_kind="number")
    assert [example.label for example in task.examples("train")] == ["0.1", "2.5"]


NLI = ["entailment", "neutral", "contradiction"]


@pytest.mark.parametrize(
    ("label", "options"),
    [
        ("b", {"labels": NLI}),  # (b) is the second of the labels, for a teacher
        ("(a)", {"labels": NLI}),
        ("ent", {"labels": NLI}),
        ("not neutral", {"labels": NLI}),
        ("neutral or contradiction", {"labels": NLI}),
        ("neutral, because nothing is said", {"labels": NLI}),
        ("-2", {"labels": ["1", "2"]}),
        ("2.5", {"labels": ["2", "5"]}),
        (2.5, {"labels": ["1", "2"]}),
        (-1, {"labels": ["0", "1"]}),  # not where labels are numbers
        ("4 stars", {"labels": ["4", "5"]}),
        ("01", {"labels": ["0", "1"]}),
        (3, {"label_names": ["no", "yes"]}),
        (0.5, {"label_names": ["no", "yes"]}),
        ("yess", {"label_names": ["no", "yes"]}),
        ("good.", {"labels": ["good", "bad"]}),
        ("goo d", {"labels": ["good", "bad"]}),
        ("12%", {"answer_kind": "number"}),
        ("about 12", {"answer_kind": "number"}),
        ("3 apples", {"answer_kind": "number"}),
        ("12 or 13", {"answer_kind": "number"}),
        ("10-12", {"answer_kind": "number"}),
        ("2024-01-05", {"answer_kind": "number"}),
        ("10/12/2024", {"answer_kind": "number"}),
        ("So 3 * 4 = 12.\n#### 12", {"answer_kind": "number"}),
        (True, {"answer_kind": "number"}),
        ("no number", {"label_pattern": "#### (.+)"}),
    ],
)
def test_what_is_no_answer_stops_the_run_and_names_the_row(tmp_path, label, options):
    with pytest.raises(DataError) as error:
        golds(tmp_path / "rows.jsonl", [label], **options)
    assert "1 row of train has a label that is not an answer of the task" in str(error.value)
    assert f"first at {tmp_path / 'rows.jsonl'}:1" in str(error.value)


@pytest.mark.parametrize(
    ("label", "gold", "options"),
    [
        (" Neutral\n", "neutral", {"labels": NLI}),
        ("very  GOOD", "very good", {"labels": ["very good", "bad"]}),
        ("scho\u0308n", "schön", {"labels": ["schön", "gut"]}),
        ("n", "neutral", {"labels": NLI, "synonyms": {"n": "neutral"}}),
        ("N", "neutral", {"labels": NLI, "synonyms": {"n": "neutral"}}),
        (2, "contradiction", {"label_names": NLI}),
        ("2.0", "contradiction", {"label_names": NLI}),
        ("Contradiction", "contradiction", {"label_names": NLI}),
        (True, "yes", {"label_names": ["no", "yes"]}),
        ("False", "no", {"label_names": ["no", "yes"]}),
        ("-1", "-1", {"labels": ["-1", "0", "1"]}),
        (-1.0, "-1", {"labels": ["-1", "0", "1"]}),
        ("US", "US", {"labels": ["us", "US"]}),
        ("None", "none", {"labels": ["favor", "against", "none"]}),  # a label wins over what stands for nothing
        ("( 84.0 / 2.0 )", "( 84.0 / 2.0 )", {"answer_kind": "number"}),
        (" 1,200 ", "1,200", {"answer_kind": "number"}),
        (3.7, "3.7", {"answer_kind": "number"}),
        (1e-7, "0.0000001", {"answer_kind": "number"}),
        ("1e-07", "0.0000001", {"answer_kind": "number"}),
        (-4, "-4", {"answer_kind": "number"}),
        ("So 3 * 4 = 12.\n#### 12", "12", {"answer_kind": "number", "label_pattern": "#### *(.+)"}),
        ("12%", "12", {"answer_kind": "number", "label_pattern": "[0-9.]+"}),
        ("__label__good", "good", {"labels": ["good", "bad"], "label_pattern": "__label__(.*)"}),
        ("It is what it is.", "It is what it is.", {}),
    ],
)
def test_gold_is_read_as_it_stands(tmp_path, label, gold, options):
    assert golds(tmp_path / "rows.jsonl", [label], **options) == [gold]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("labels", "gold", "options"),
    [
        ([1.0, 0.0, None, 1.0], ["1", "0", None, "1"], {"answer_kind": "closed"}),
        ([1, 0, 1, 0], ["1", "0", "1", "0"], {"answer_kind": "closed"}),
        ([True, False, True, False], ["true", "false", "true", "false"], {"answer_kind": "closed"}),
        (["Good", "good", "bad", None], ["good", "good", "bad", None], {"labels": ["good", "bad"]}),
        (["Yes", "yes ", "yes", "no"], ["yes", "yes", "yes", "no"], {"answer_kind": "closed"}),
        ([1.0, 2.0, math.nan], ["yes", "maybe", None], {"label_names": ["no", "yes", "maybe"]}),
        ([2, -1, 0], ["maybe", None, "no"], {"label_names": ["no", "yes", "maybe"]}),
        (["a", "-1", "b"], ["a", None, "b"], {"answer_kind": "closed"}),
        (["1.00", "0.00", "1.00"], ["1", "0", "1"], {"answer_kind": "closed"}),
        (["good\u200b", "\ufeffgood", "good", "bad"], ["good", "good", "good", "bad"], {"answer_kind": "closed"}),
        (["good\u200b", "\u00adbad", "\u200b"], ["good", "bad", None], {"labels": ["good", "bad"]}),
        (["nan", "NA", "x", "NULL", " ", "None", "<NA>"], [None, None, "x", None, None, None, None], {}),
        ([0.5, 1e-7, 12.0], ["0.5", "0.0000001", "12.0"], {"answer_kind": "number"}),
    ],
)
def test_the_same_values_give_the_same_gold_in_every_kind_of_file(tmp_path, name, labels, gold, options):
    assert golds(tmp_path / name, labels, **options) == gold


def test_a_set_from_the_hub_gives_the_same_gold(monkeypatch, tmp_path):
    features = datasets.Features({"x": datasets.Value("string"), "label": datasets.ClassLabel(names=NLI)})
    rows = [{"x": "a", "label": 2}, {"x": "b", "label": -1}, {"x": "c", "label": 0}]
    data = datasets.DatasetDict({"train": datasets.Dataset.from_list(rows, features=features)})
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: data)
    from_hub = [example.label for example in TableTask(hub="a/b", input="x", labels=NLI).examples("train")]
    assert from_hub == ["contradiction", None, "entailment"]
    assert golds(tmp_path / "rows.csv", [2, -1, 0], label_names=NLI) == from_hub


@pytest.mark.parametrize(
    ("choices", "keys", "gold"),
    [
        ([["x", "z"], ["p", "q"]], [1.0, 0], ["z", "p"]),
        ([["x", "z"], ["p", "q"]], ["B", "a"], ["z", "p"]),
        ([["x", "y", "z"], ["p", "q", "r"]], [3, 1], ["z", "p"]),  # no position from 0 in a list of three
        ([["1", "0"], ["3", "4"]], ["0", "3"], ["0", "3"]),  # the answers themselves
        ([["1", "0"], ["3", "4"]], [0, 0], ["1", "3"]),  # 0 is no answer in the second row: positions
        ([["None", "All"], ["One", "None"]], ["None", "one"], ["None", "One"]),
        ([["x", "z"], ["p", "q"]], ["z", None], ["z", None]),
    ],
)
def test_a_column_of_labels_points_at_the_choices_of_its_rows_in_one_way(tmp_path, choices, keys, gold):
    rows = [{"q": str(n), "options": own, "key": key} for n, (own, key) in enumerate(zip(choices, keys, strict=True))]
    write_rows(tmp_path / "rows.jsonl", rows)
    task = TableTask(path=str(tmp_path / "rows.jsonl"), input="q", label="key", choices="options")
    assert [example.label for example in task.examples("train")] == gold


def test_labels_that_fit_in_two_ways_are_told(tmp_path, caplog):
    terminal.log_once.cache_clear()
    caplog.set_level("INFO", terminal.logger.name)
    rows = [{"q": str(place), "options": ["1", "2", "0"], "key": place} for place in range(3)]
    write_rows(tmp_path / "rows.jsonl", rows)
    task = TableTask(path=str(tmp_path / "rows.jsonl"), input="q", label="key", choices="options")
    assert [example.label for example in task.examples("train")] == ["0", "1", "2"]
    assert caplog.messages[0].endswith("taken for the former. Otherwise: task.label_form=position.")


def test_labels_that_point_in_two_ways_are_refused(tmp_path):
    rows = [{"q": "?", "options": ["contradiction", "entailment", "neutral"], "key": key} for key in ("neutral", "c")]
    write_rows(tmp_path / "rows.jsonl", rows)
    task = TableTask(path=str(tmp_path / "rows.jsonl"), input="q", label="key", choices="options")
    with pytest.raises(DataError, match=r"(?s)expected one of the row's choices.*'c': 1 time.*task\.label_form="):
        list(task.examples("train"))
    letters = TableTask(path=task.path, input="q", label="key", choices="options", label_form="letter")
    with pytest.raises(DataError, match=r"'neutral': 1 time"):
        list(letters.examples("train"))


def test_the_message_says_what_to_type(tmp_path):
    with pytest.raises(DataError) as error:
        golds(tmp_path / "r.jsonl", ["5 = 5\n#### 5", "6\n#### 6"], answer_kind="number")
    assert "'task.label_pattern=\"#### *(.+)\"'" in str(error.value)
    with pytest.raises(DataError) as error:
        golds(tmp_path / "r.jsonl", ["5 kg", "6 kg", "7"], answer_kind="number")
    assert "2 rows of train" in str(error.value)
    assert "'task.label_pattern=\"-?[0-9][0-9.,]*\"'" in str(error.value)
    with pytest.raises(DataError) as error:
        golds(tmp_path / "r.jsonl", ["pos", "it's", "good"], labels=["good", "bad"])
    assert "{pos: LABEL, " in str(error.value)
    assert '"-"' not in str(error.value)


def test_rows_without_a_label_are_counted_left_out_or_stop_the_run(tmp_path):
    labels = ["good", None, "bad", "n/a", "bad", "NaN"]
    rows = [{"x": f"t{number}", "label": label} for number, label in enumerate(labels)]
    del rows[1]["label"]
    write_rows(tmp_path / "rows.jsonl", rows)
    task = TableTask(path=str(tmp_path / "rows.jsonl"), input="x", labels=["good", "bad"])
    assert [example.label for example in task.examples("train")] == ["good", None, "bad", None, "bad", None]
    assert task.counts["train"].describe() == "3 rows without a label (1 'n/a', 1 'NaN')"
    task.unlabelled = "drop"
    assert [example.id for example in task.examples("train")] == ["train-0", "train-2", "train-4"]
    assert task.counts["train"].describe() == "3 rows without a label (1 'n/a', 1 'NaN'): dropped"
    task.unlabelled = "stop"
    with pytest.raises(DataError, match=r"rows\.jsonl:2, .*:4, .*:6: there is no label \(3 of the rows of train\)"):
        list(task.examples("train"))
    task.unlabelled = "leave"
    assert any("task.unlabelled=leave: expected one of keep, drop, stop" in fault for fault in task.faults())


@pytest.mark.parametrize("cell", [None, math.nan, "", " \t", "NaN", "nan", "NULL", "<NA>"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_a_missing_input_is_never_a_text(tmp_path, cell, name):
    rows = [{"x": "one", "label": "a"}, {"x": cell, "label": "b"}]
    if isinstance(cell, float) and name.endswith("parquet"):
        pytest.skip("a column of texts holds no number")
    write_rows(tmp_path / name, rows)
    task = TableTask(path=str(tmp_path / name), input="x")
    with pytest.raises(DataError, match=r":2: the input is empty .*task\.empty_inputs=drop"):
        list(task.examples("train"))
    task.empty_inputs = "drop"
    assert [example.id for example in task.examples("train")] == ["train-0"]
    assert task.counts["train"].describe() == "1 row without an input: dropped"


def test_names_of_labels_that_count_from_1_are_told_with_what_to_type(tmp_path):
    with pytest.raises(DataError) as error:
        golds(tmp_path / "rows.jsonl", [1, 2, 3, 1], label_names=["no", "so so", "yes"])
    typed = '\'task.labels=[no, "so so", yes]\' \'task.synonyms={"1": no, "2": "so so", "3": yes}\''
    assert typed in str(error.value)


def test_what_stands_for_nothing_can_be_set(tmp_path):
    assert golds(tmp_path / "rows.jsonl", ["None", "-", "x"], missing=["-"]) == ["None", None, "x"]
    assert golds(tmp_path / "rows.jsonl", ["None", "-", "x"]) == [None, "-", "x"]


def test_part_of_a_template_may_be_missing(tmp_path):
    write_rows(tmp_path / "rows.jsonl", [{"a": "x", "b": math.nan}, {"b": "y"}, {"a": "z", "b": None}])
    task = TableTask(path=str(tmp_path / "rows.jsonl"), input="{a}-{b}")
    assert [example.input for example in task.examples("train")] == ["x-", "-y", "z-"]
    task.input = "{a}-{c}"
    with pytest.raises(DataError, match=r"there is no column 'c'"):
        list(task.examples("train"))


def test_one_split_may_lack_the_labels_that_another_has(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"x": "a"}, {"x": "b"}])
    write_rows(tmp_path / "test.jsonl", [{"x": "a", "y": "good"}])
    task = TableTask(path=str(tmp_path), input="x", label="y", labels=["good", "bad"])
    assert [example.label for example in task.examples("train")] == [None, None]
    assert [example.label for example in task.examples("test")] == ["good"]


def test_spellings_of_one_label_are_one_class_where_classes_are_found(tmp_path):
    rows = [{"x": str(n), "label": label} for n, label in enumerate(["Sports", "sports", "sports", "news", " news"])]
    write_rows(tmp_path / "rows.jsonl", rows)
    task = TableTask(path=str(tmp_path / "rows.jsonl"), input="x", answer_kind="closed")
    assert {example.choices for example in task.examples("train")} == {("news", "sports")}


PIECES = st.sampled_from(["a", "b", "good", "bad", "1", "2", "-1", "0", "1.0", ".", " ", "(", ")", "not ", "A", "é"])
TEXTS = st.lists(PIECES, max_size=4).map("".join) | st.text(string.printable + "äÄß", max_size=12)
CELLS = TEXTS | st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.just(math.nan)
LABELS = st.lists(TEXTS.filter(str.strip).map(str.strip), min_size=2, max_size=5, unique=True)


def up_to_case_and_space(text):
    import unicodedata

    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def stays_the_same(gold, cell, named):
    """Whether a gold label is what stood there: the cell up to case and space, what it is a name of, or its value."""
    stood = up_to_case_and_space(str(cell))
    spellings = {up_to_case_and_space(name): label for name, label in named.items()}
    same = (stood, stood.removesuffix(".0"), f"{stood}.0")
    if gold in map(spellings.get, same) or up_to_case_and_space(gold) == stood:
        return True
    try:
        return float(gold) == float(cell)
    except ValueError:
        return False


def is_empty(cell):
    stood = "" if cell is None or cell != cell else up_to_case_and_space(str(cell))
    return is_sign(stood) or stood in {"", "nan", "na", "n/a", "null", "none", "<na>", "#n/a", "nat"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=6), LABELS, st.sampled_from(FILES), st.data())
def test_whatever_is_declared_gold_is_what_stood_there(tmp_path, cells, labels, name, data):
    """Labels that are named in any way, or found; numbers; choices of the rows: gold is never another one."""
    spellings = st.sampled_from([form(label) for label in labels for form in (str, str.upper, " {} ".format)])
    known = spellings | st.integers(-1, len(labels) - 1) | st.none()  # that tables are often read to their end
    cells = data.draw(st.just(cells) | st.lists(known, min_size=1, max_size=6))
    if name == "rows.parquet":
        cells = [None if cell is None or cell != cell else str(cell) for cell in cells]
    kinds = ["labels", "label_names", "synonyms", "choices", "number", "auto", "closed"]
    declared = data.draw(st.sampled_from(kinds))
    named, options, allowed = {}, {}, labels
    if declared == "labels":
        options = {"labels": labels}
    elif declared == "label_names":
        options = {"label_names": labels}
        named = {str(place): label for place, label in enumerate(labels)}
        named |= {"false": labels[0], "true": labels[1]} if len(labels) == 2 else {}
    elif declared == "synonyms":
        named = {word: data.draw(st.sampled_from(labels)) for word in data.draw(st.lists(TEXTS.filter(str.strip)))}
        options = {"labels": labels, "synonyms": named}
    elif declared == "choices":
        options = {"choices": "choices", "label_form": "text"}
    else:
        options, allowed = {"answer_kind": declared}, None
    rows = [{"x": f"text {number}", "label": cell, "choices": labels} for number, cell in enumerate(cells)]
    if name == "rows.csv":
        rows = [row | {"choices": json.dumps(labels)} for row in rows]
    write_rows(tmp_path / name, rows)
    try:
        task = TableTask(path=str(tmp_path / name), input="x", **options)
        if task.faults():
            return
        read = [example.label for example in task.examples("train")]
    except DataError as refused:
        named_row = str(tmp_path) in str(refused) or "different labels in train" in str(refused)
        cells, read = ([], []) if named_row else (cells, ["nothing"])
    for cell, gold in zip(cells, read, strict=True):
        if gold is None:
            assert is_empty(cell) or float(cell) == -1
        else:
            assert allowed is None or gold in allowed
            assert stays_the_same(gold, cell, named)
            assert declared != "number" or evaluate(gold) is not None


@given(TEXTS, LABELS)
def test_a_label_is_read_as_itself_or_not_at_all(text, labels):
    try:
        found = Gold(labels=tuple(labels)).read(text)
    except UnreadLabel:
        return
    if found is not None and found != text.strip():
        same = up_to_case_and_space(found) == up_to_case_and_space(text)
        assert same or float(found) == float(text)


@pytest.mark.parametrize(
    ("cells", "advice"),
    [
        (["So 3 * 4 = 12.\n#### 12", "#### 1,200"], "task.label_pattern"),
        (["#### 12 apples", "#### -3.5 degrees"], "task.label_pattern"),
        (["12%", "13.5%"], "task.label_pattern"),
        (["12 kg.", "about 1,300 kg"], "task.label_pattern"),
        (["1,5", "2,25"], "decimal point"),
        (["1.234,50", "2,5 %"], "decimal point"),
        (["١٢", "twelve"], "or set task.answer_kind=free"),
    ],
)
def test_what_a_message_says_to_type_reads_the_labels(tmp_path, cells, advice):
    with pytest.raises(DataError) as error:
        golds(tmp_path / "rows.jsonl", cells, answer_kind="number")
    assert advice in str(error.value)
    if found := re.search(r"'task.label_pattern=\"(.*?)\"'", str(error.value)):
        read = golds(tmp_path / "rows.jsonl", cells, answer_kind="number", label_pattern=found[1])
        assert None not in read
    else:
        assert advice != "task.label_pattern"
