import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from row_files import write_rows

from dsbs.core.errors import DataError
from dsbs.tasks import TableTask
from dsbs.tasks.tables.templates import fill

ROWS = [
    {"title": "Lamp", "body": "Bright.", "label": "good"},
    {"title": "Chair", "body": "Broke, on day one.", "label": "bad"},
    {"title": "Rug", "body": "Soft.", "label": "good"},
]


def write_array(path, rows):
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return str(path)


def build(path, **settings):
    settings.setdefault("input", "{title}: {body}")
    return TableTask(path=str(path), **settings)


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_every_kind_of_file_gives_the_same_examples(tmp_path, suffix):
    write = write_array if suffix == "json" else write_rows
    task = build(write(tmp_path / f"rows.{suffix}", ROWS), labels=["good", "bad"])
    assert task.faults() == []
    assert task.splits() == ("train",)
    examples = list(task.examples("train"))
    assert [example.input for example in examples] == ["Lamp: Bright.", "Chair: Broke, on day one.", "Rug: Soft."]
    assert [example.label for example in examples] == ["good", "bad", "good"]
    assert [example.id for example in examples] == ["train-0", "train-1", "train-2"]
    assert examples[0].choices == ("good", "bad")


def test_a_folder_or_pattern_is_cut_by_the_names_of_its_files(tmp_path):
    write_rows(tmp_path / "reviews_train-00000.jsonl", ROWS[:1])
    write_rows(tmp_path / "reviews_train-00001.jsonl", ROWS[1:2])
    write_rows(tmp_path / "reviews_dev.jsonl", ROWS[2:])
    (tmp_path / "README.md").touch()
    for path in (tmp_path, tmp_path / "*.jsonl"):
        task = build(path)
        assert task.splits() == ("train", "validation")
        assert [example.id for example in task.examples("train")] == ["train-0", "train-1"]
        assert [example.label for example in task.examples("validation")] == ["good"]


def test_files_that_do_not_say_their_split_are_refused(tmp_path):
    write_rows(tmp_path / "a.jsonl", ROWS)
    assert build(tmp_path).splits() == ("train",)
    write_rows(tmp_path / "b.jsonl", ROWS)
    with pytest.raises(DataError, match=r"a\.jsonl: cannot tell which split"):
        build(tmp_path).splits()
    with pytest.raises(DataError, match="no such file"):
        build(tmp_path / "c.jsonl").splits()
    with pytest.raises(DataError, match="no such file"):
        build(tmp_path / "none" / "*.csv").splits()


def test_a_column_or_a_template_makes_the_input(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", ROWS)
    assert next(build(path, input="body").examples("train")).input == "Bright."
    assert next(build(path, input=r"{title}\n{body}").examples("train")).input == "Lamp\nBright."


def test_a_template_reaches_nothing_but_columns():
    row = {"a": "x", "b c": 1, "n": {"m": ["y"]}}
    assert fill("{a} {b c} {n.m.0}", row, "f:1") == "x 1 y"
    for template in ("{a.__class__}", "{a!r}", "{a:>100}", "{0}", "{a[0]}"):
        with pytest.raises(DataError, match="there is no column"):
            fill(template, row, "f:1")
    assert fill("{{a}} %(a)s ${a}", row, "f:1") == "{x} %(a)s $x"


def test_closed_answers_can_be_found_in_train(tmp_path):
    task = build(write_rows(tmp_path / "rows.jsonl", ROWS), answer_kind="closed")
    assert next(task.examples("train")).choices == ("bad", "good")
    assert task.answers.parse("It is Good.", ("bad", "good")) == "good"
    with pytest.raises(DataError, match="found 1 different labels"):
        list(build(write_rows(tmp_path / "one.jsonl", ROWS[:1]), answer_kind="closed").examples("train"))


def test_numbered_labels_and_synonyms_get_their_names(tmp_path):
    rows = [{"x": "a", "label": 1}, {"x": "b", "label": 0.0}, {"x": "c", "label": "Nope"}, {"x": "d", "label": "YES"}]
    task = build(write_rows(tmp_path / "r.jsonl", rows), input="x", label_names=["no", "yes"], synonyms={"Nope": "no"})
    assert task.faults() == []
    assert [example.label for example in task.examples("train")] == ["yes", "no", "no", "yes"]
    assert next(task.examples("train")).choices == ("no", "yes")
    assert task.answers.parse("nope", ("no", "yes")) == "no"


def test_each_row_can_have_its_own_choices(tmp_path):
    rows = [
        {"q": "Where?", "options": ["bank", "park"], "key": " Park"},
        {"q": "Who?", "options": "Ann|Bob|Cem", "key": "Cem"},
        {"q": "When?", "options": '["now", "later"]', "key": "now"},
    ]
    task = build(write_rows(tmp_path / "rows.jsonl", rows), input="q", label="key", choices="options")
    first, second, third = task.examples("train")
    assert first.input == "Where?\nAnswer Choices:\n(a) bank\n(b) park"
    assert [example.label for example in (first, second, third)] == ["park", "Cem", "now"]
    assert task.answers.parse("(b)", first.choices) == "park"
    plain = build(tmp_path / "rows.jsonl", input="q", label="key", choices="options", list_choices=False)
    assert next(plain.examples("train")).input == "Where?"


def test_columns_of_objects_are_reached_with_a_dot(tmp_path):
    rows = [{"question": {"stem": "Where?"}, "choices": {"text": ["bank", "park"], "label": ["A", "B"]}, "key": "A"}]
    path = write_rows(tmp_path / "rows.parquet", rows)
    task = build(path, input="{question.stem}", label="key", choices="choices.text", list_choices=False)
    (example,) = task.examples("train")
    assert (example.input, example.label) == ("Where?", "bank")


def test_data_without_labels_can_be_read(tmp_path):
    rows = [{"x": "a", "label": None}, {"x": "b", "label": ""}, {"x": "c", "label": "z"}]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    assert [example.label for example in build(path, input="x").examples("train")] == [None, None, "z"]
    bare = write_rows(tmp_path / "bare.jsonl", [{"x": "a"}])
    example = next(build(bare, input="x", label=None, labels=["a", "b"]).examples("train"))
    assert (example.label, example.choices) == (None, ("a", "b"))
    assert [example.label for example in build(bare, input="x").examples("train")] == [None]  # the default column
    with pytest.raises(DataError, match=r"no column 'lable'.*columns are: x\..*task\.label=null"):
        list(build(bare, input="x", label="lable").examples("train"))


MANY = [{"x": f"text {number}", "y": "ab"[number % 2]} for number in range(1200)]


@pytest.mark.parametrize("key", ["label", "input"])
@pytest.mark.parametrize("options", [{}, {"answer_kind": "closed"}, {"labels": ["a", "b"]}], ids=str)
def test_a_column_that_is_not_there_is_told_with_the_first_row(tmp_path, key, options):
    for split in ("train", "test"):
        write_rows(tmp_path / f"{split}.csv", MANY)
    task = build(tmp_path, **{"input": "x", "label": "y", **options, key: "typo"})
    with pytest.raises(DataError, match=rf"train\.csv:2: there is no column 'typo' \(task\.{key}\).* are: x, y\."):
        list(task.examples("train"))


def test_closed_answers_that_are_to_be_found_in_a_column_that_is_not_there_are_told_with_the_columns(tmp_path):
    task = build(write_rows(tmp_path / "rows.csv", MANY), input="x", answer_kind="closed")
    with pytest.raises(DataError, match=r"rows\.csv:2: there is no column 'label' .* are: x, y\."):
        list(task.examples("train"))


@pytest.mark.parametrize("split", ["train", "test"])
def test_rows_and_splits_may_lack_the_label_that_others_have(tmp_path, split):
    rows = {name: [{"x": "a"}] * 500 for name in ("train", "test")}
    rows[split] = [*rows[split], {"x": "b", "y": "yes"}]
    for name, own in rows.items():
        write_rows(tmp_path / f"{name}.jsonl", own)
    task = build(tmp_path, input="x", label="y", labels=["no", "yes"])
    labels = {name: [example.label for example in task.examples(name)] for name in rows}
    assert labels == {name: [None] * 500 + ["yes"] * (name == split) for name in rows}


def test_numbers_are_compared_by_value(tmp_path):
    task = build(write_rows(tmp_path / "r.jsonl", [{"x": "6 * 7?", "label": 42}]), input="x", answer_kind="number")
    (example,) = task.examples("train")
    assert task.answers.equivalent(task.answers.parse("6 * 7 = 42 apples", None), example.label)


def test_a_share_of_one_file_can_become_test(tmp_path):
    rows = [{"n": str(i), "x": f"row {i}", "label": "y"} for i in range(1000)]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    task = build(path, input="x", id="n", test_share=0.2)
    assert task.splits() == ("train", "test")
    train, test = ({example.id for example in task.examples(split)} for split in ("train", "test"))
    assert len(train) + len(test) == 1000
    assert not train & test
    assert 150 < len(test) < 250
    write_rows(tmp_path / "rows.jsonl", rows[::-1][:500])
    again = {example.id for example in build(path, input="x", id="n", test_share=0.2).examples("test")}
    assert again < test


def test_equal_inputs_become_test_together_and_others_as_they_always_did(tmp_path):
    rows = [{"x": f"row {i // 2 if i < 200 else i}", "label": "y"} for i in range(400)]
    rows[7]["x"] = "Row  3 "  # as row 6 asks, too
    path = write_rows(tmp_path / "rows.jsonl", rows)
    sides = {}
    for split in ("train", "test"):
        for example in build(path, input="x", test_share=0.3).examples(split):
            sides.setdefault(example.input.casefold().replace("  ", " "), []).append((example.id, split))
    assert all(len({split for _, split in members}) == 1 for members in sides.values())
    assert len(sides["row 3"]) == 2
    distinct = write_rows(tmp_path / "distinct.jsonl", [{"x": str(i), "label": "y"} for i in range(400)])
    test = {example.id for example in build(distinct, input="x", test_share=0.3).examples("test")}
    assert all((id in test) == (split == "test") for ((id, split), *_) in sides.values())


def test_rows_without_a_gold_label_are_left_to_train_where_others_have_one(tmp_path):
    """A test split can be measured on its gold labels alone, and the teacher would be paid for the rest."""
    rows = [{"x": f"row {i}", "label": "y" if i % 4 == 0 else None} for i in range(400)]
    rows[1]["x"] = "Row 0"  # stays with the row that has a label
    partly = write_rows(tmp_path / "partly.jsonl", rows)
    fully = write_rows(tmp_path / "fully.jsonl", [row | {"label": "y"} for row in rows])
    never = write_rows(tmp_path / "never.jsonl", [row | {"label": None} for row in rows])
    test = [example.id for example in build(fully, input="x", test_share=0.9).examples("test")]
    assert {"train-0", "train-1"} < {*test}
    kept = [id for id in test if int(id.removeprefix("train-")) % 4 == 0 or id == "train-1"]
    task = build(partly, input="x", test_share=0.9)
    assert [example.id for example in task.examples("test")] == kept
    assert len([*task.examples("train")]) == 400 - len(kept)
    assert [example.id for example in build(never, input="x", test_share=0.9).examples("test")] == test


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"x": "a", "label": "y"}\nnonsense\n', r"rows\.jsonl:2: not JSON: Expecting value at column 1"),
        ('{"x": "a", "label": "y"}{"x": "b", "label": "y"}\n', r"rows\.jsonl:1: .* jq -c \. FILE > rows\.jsonl"),
        ('{"x": "a", "label": "y"},\n', r"rows\.jsonl:1: .* sed 's/,\$//' FILE"),
        ("{'x': 'a', 'label': 'y'}\n", r"rows\.jsonl:1: .* json\.dumps"),
        ("x,label\na,y\n", r"rows\.jsonl:1: .* name it \.csv"),
        ('{"x": ["a", "b"], "label": ["y", "z"]}\n', r'rows\.jsonl:1: .* written by columns: .* orient="records"'),
        ('{"x": "a", "label": "y"}\n[1]\n', r"rows\.jsonl:2: expected an object"),
        ('{"x": "a", "label": "y"}\n\n{"x": "  ", "label": "y"}\n', r"rows\.jsonl:3: the input is empty"),
        ('{"y": "a"}\n', r"rows\.jsonl:1: there is no column 'x' \(task\.input\)\. The columns are: y\."),
        ("", r"train split of task=table .*rows\.jsonl\) is empty"),
        ('[{"x": "a", "label": "y"}, 3]', r"rows\.jsonl, item 2: expected an object"),
        ('[{"x": "a"\n', r"rows\.jsonl:2: not JSON"),
        ("[" * 100_000, r"rows\.jsonl"),
    ],
)
def test_broken_rows_are_told_with_file_and_line(tmp_path, text, message):
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(build(tmp_path / "rows.jsonl", input="x").examples("train"))


def test_other_broken_files_are_told(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes(b'{"x": "a", "label": "y"}\n{"x": "\xe9", "label": "y"}\n')
    with pytest.raises(DataError, match=r"latin\.jsonl:2: not UTF-8"):
        list(build(tmp_path / "latin.jsonl", input="x").examples("train"))
    (tmp_path / "rows.csv").write_text('x,label\n"a, b",y\na, b,y\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.csv:3: 3 cells, but the header has 2 columns \(x, label\)"):
        list(build(tmp_path / "rows.csv", input="x").examples("train"))
    (tmp_path / "open.csv").write_text('x,label\n"a,y\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"open\.csv:\d: broken CSV"):
        list(build(tmp_path / "open.csv", input="x").examples("train"))
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match=r"rows\.parquet: broken Parquet"):
        list(build(tmp_path / "rows.parquet", input="x").examples("train"))
    (tmp_path / "rows.xlsx").touch()
    with pytest.raises(DataError, match=r"rows\.xlsx: expected a file that ends in \.jsonl"):
        list(build(tmp_path / "rows.xlsx", input="x").examples("train"))


def test_ids_that_occur_twice_are_told(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [{"n": 1, **ROWS[0]}, {"n": 2, **ROWS[1]}, {"n": 1, **ROWS[2]}])
    with pytest.raises(DataError, match=r"rows\.jsonl:3: duplicate id '1'"):
        list(build(path, id="n").examples("train"))
    zero = write_rows(tmp_path / "zero.jsonl", [{"n": 0, **ROWS[0]}])
    assert next(build(zero, id="n").examples("train")).id == "0"


def test_unknown_labels_are_listed_with_counts_and_places(tmp_path):
    rows = [{"x": "a", "label": label} for label in ("good", "meh", "bad", "meh", "odd")]
    with pytest.raises(DataError) as error:
        list(build(write_rows(tmp_path / "rows.csv", rows), input="x", labels=["good", "bad"]).examples("train"))
    text = str(error.value)
    assert "3 rows of train have a label that is not an answer of the task (expected one of good, bad)" in text
    assert f"'meh': 2 times, first at {tmp_path / 'rows.csv'}:3" in text
    assert "task.synonyms" in text


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"labels": ["", "x"]}, "task.labels=['', 'x']: expected texts that are not empty."),
        ({"labels": [["a"], ["b"]]}, "task.labels=[['a'], ['b']]: expected texts that are not empty."),
        ({"labels": ["Yes", "yes"]}, "task.labels=['Yes', 'yes']: expected at least two answers that differ in more"),
        ({"labels": ["a", "b"], "synonyms": {"x": ["a"]}}, "task.synonyms: expected a label for each word, got ['a']."),
    ],
)
def test_labels_that_are_none_are_told(settings, fault):
    assert build("rows.csv", **settings).faults()[0].startswith(fault)


def test_wrong_settings_are_all_told():
    task = TableTask(
        input=" ",
        labels=["a", "a"],
        choices="c",
        synonyms={"x": "z"},
        answer_kind="number",
        reading="x",
        test_share=1.5,
        split_names={"dev": "d"},
    )
    faults = "\n".join(task.faults())
    for key in ("path", "input", "labels", "synonyms", "answer_kind", "reading", "test_share", "split_names"):
        assert f"task.{key}" in faults
    assert "task.answer_kind=regression" in "\n".join(TableTask(path="x", answer_kind="regression").faults())


def test_the_identity_follows_content_and_column_map_but_no_place(tmp_path):
    (tmp_path / "moved").mkdir()
    task = build(write_rows(tmp_path / "rows.jsonl", ROWS))
    moved = build(write_rows(tmp_path / "moved" / "rows.jsonl", ROWS), name="other")
    changed = build(write_rows(tmp_path / "rows2.jsonl", ROWS[:2]))
    assert task.identity() == moved.identity() != changed.identity()
    assert task.identity() != build(tmp_path / "rows.jsonl", input="{body}").identity()
    assert str(tmp_path) not in json.dumps(task.identity())


def test_many_rows_are_read_as_a_stream(tmp_path):
    count = 10_000
    table = pa.table({"x": [f"{i} " + "text " * 40 for i in range(count)], "label": ["y"] * count})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=1_000)
    size = table.nbytes
    del table
    task = build(tmp_path / "rows.parquet", input="x")
    tracemalloc.start()
    total = sum(1 for _ in task.examples("train"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == count
    assert peak < size / 4


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.json"])
def test_utf_16_is_named_whatever_the_kind_of_file(tmp_path, name, encoding):
    text = "x,label\na,y\n" if name.endswith("csv") else '[{"x": "a", "label": "y"}]\n'
    (tmp_path / name).write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match=r"UTF-16; expected UTF-8\. Convert it: iconv -f UTF-16 -t UTF-8 "):
        list(build(tmp_path / name, input="x").examples("train"))


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ({"version": 1, "data": [{"x": "a", "label": "y"}]}, "under 'data': jq -c '.[\"data\"][]' FILE > rows.jsonl"),
        ({"0": {"x": "a", "label": "y"}, "1": {"x": "b", "label": "y"}}, "its values: jq -c '.[]' FILE > rows.jsonl"),
        (
            {"columns": ["x", "label"], "index": [0], "data": [["a", "y"]]},
            'df.to_json(..., orient="records", lines=True)',
        ),
    ],
)
def test_an_object_with_the_rows_inside_is_told_with_the_way_to_them(tmp_path, content, hint):
    (tmp_path / "rows.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"there is no column 'x'") as error:
        list(build(tmp_path / "rows.json", input="x").examples("train"))
    assert hint in str(error.value)


def test_choices_in_an_object_are_named(tmp_path):
    row = {"x": "a", "label": "B", "options": {"drinks": ["tea", "milk"], "n": 2}}
    path = write_rows(tmp_path / "rows.jsonl", [row])
    with pytest.raises(DataError, match=r"such as task\.choices=COLUMN\.drinks"):
        list(build(path, input="x", choices="options").examples("train"))
    (example,) = build(path, input="x", choices="options.drinks").examples("train")
    assert (example.label, example.choices) == ("milk", ("tea", "milk"))


OPTIONS = {"text": ["tea", "milk"], "label": ["B", "A"]}
ARRAYS = "{'text': array(['tea', 'milk'], dtype=object), 'label': array(['B', 'A'],\n      dtype=object)}"


@pytest.mark.parametrize(
    ("cells", "choices", "gold"),
    [
        ({"c": OPTIONS}, "c", "B"),
        ({"c": OPTIONS}, "c.text", "(b)"),
        ({"c": json.dumps(OPTIONS)}, "c", "B"),
        ({"c": ARRAYS}, "c", "B"),
        ({"c": ARRAYS}, "c.text", "B"),
        ({"c": OPTIONS | {"label": ["1", "2"]}}, "c", "1"),
        ({"c": OPTIONS}, "c", "tea"),
        ({"q": {"choices": [{"label": "B", "text": "tea"}, {"label": "A", "text": "milk"}]}}, "q.choices", "B"),
        ({"c": [{"value": "tea"}, {"value": "milk"}]}, "c", "A"),
        ({"c": {"A": "tea", "B": "milk"}}, "c", "A"),
        ({"A": "tea", "B": "milk", "C": None}, "{A}|{B}|{C}", "A"),
        ({"m": {"a": "tea"}, "B": "milk"}, "{m.a}{B}", 0),
    ],
)
def test_choices_are_read_as_data_sets_keep_them(tmp_path, cells, choices, gold):
    path = write_rows(tmp_path / "rows.jsonl", [{"x": "a", "label": gold, **cells}])
    (example,) = build(path, input="x", choices=choices).examples("train")
    assert (example.label, example.choices) == ("tea", ("tea", "milk"))


def test_labels_that_are_numbers_in_some_rows_and_letters_in_others_go_by_the_rows_own_names(tmp_path):
    rows = [{"x": "a", "label": "2", "c": OPTIONS | {"label": ["1", "2"]}}, {"x": "b", "label": "A", "c": OPTIONS}]
    task = build(write_rows(tmp_path / "rows.jsonl", rows), input="x", choices="c")
    assert [example.label for example in task.examples("train")] == ["milk", "milk"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8b\x08", r"rows\.csv: compressed with gzip; unpack it: gzip -dc .*rows\.csv > rows\.csv"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"PK\x03\x04..[Content_Types].xml", "an Excel workbook; save it as CSV UTF-8"),
        (b"PK\x03\x04..rows.csv", "a zip archive; unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\noid x\n", "a pointer of Git LFS .* git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "a web page, not data"),
        (b"PAR1", "Parquet under another name: mv"),
        (b'[{"x": "a"}]', r"JSON under another name: mv .*rows\.csv .*rows\.jsonl"),
        (b"SQLite format 3\0\0\0\0", "an SQLite database"),
        (b"%PDF-1.7", "a PDF"),
        (b"x,label\n" + b"a,y\n" * 3000 + b"caf\xe9,y\n", r"rows\.csv:3002: not UTF-8.* iconv -f CP1252"),
        (b"x,label\na,y\nx,label\nb,z\n", r"rows\.csv:3: the header again"),
        (b"x,label\na,y\n\xef\xbb\xbfx,label\nb,z\n", r"rows\.csv:3: the header again"),
        (b"x,label\na,y,\n", r"rows\.csv:2: 3 cells.* let the header end with one, too"),
        (b"x,label,z\na,y\n", r"rows\.csv:2: 2 cells.* Empty cells need their delimiter"),
        (b"# by hand\nx,label\n", r"rows\.csv:2: 2 cells.* The first line has to be the header"),
        (b'x,label\n"a \\"b\\", c",y\n', r'rows\.csv:2: broken CSV.*is doubled \(""\)'),
        (b"good,yes\nbad,no\n", "there is no column 'x'.* The first line of the file is read as its header"),
    ],
)
def test_a_table_that_is_none_is_told_with_what_to_type(tmp_path, content, message):
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(build(tmp_path / "rows.csv", input="x").examples("train"))


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff\ufeffx,label\na,y\nb,z\n",
        "\u200bx,label\na,y\nb,z\n",
        "x,label\n  \na,y\n\t\nb,z\n",
        "x,label\na,y\nb,z\n\x1a",
    ],
)
def test_what_is_not_seen_in_a_csv_file_does_not_matter(tmp_path, text):
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    found = [(example.input, example.label) for example in build(tmp_path / "rows.csv", input="x").examples("train")]
    assert found == [("a", "y"), ("b", "z")]


def test_quotes_open_a_cell_behind_a_space_where_the_header_has_spaces(tmp_path):
    (tmp_path / "rows.csv").write_text('x, label\na, "good, really"\n"b, c", bad\n')
    (first, second) = build(tmp_path / "rows.csv", input="x").examples("train")
    assert (first.label, second.input, second.label) == ("good, really", "b, c", "bad")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('{\n "x": "a"\n}\n', "jq -c . FILE > rows.jsonl"),
        ('{"train": [{"x": "a"}], "test": [{"x": "b"}]}', "jq -c '.[\"train\"][]' FILE > train.jsonl"),
        ('{"q": {"y": "a"}}', "Column 'q' holds \"{'y': 'a'}\""),
    ],
)
def test_json_of_another_shape_is_told_with_what_to_type(tmp_path, text, hint):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(DataError) as error:
        list(build(tmp_path / "rows.json", input="q.x", label=None).examples("train"))
    assert hint in str(error.value)


@pytest.mark.parametrize(
    ("names", "consists"),
    [
        (["part-00000-a1.jsonl", "part-00001-a1.jsonl"], "train consists of 2 files"),
        (["data-00000-of-00002.jsonl", "data-00001-of-00002.jsonl", "dataset_info.json"], "train consists of 2 files"),
    ],
)
def test_parts_without_a_split_are_train(tmp_path, caplog, names, consists):
    for name in names:
        (tmp_path / name).write_text('{"x": "a", "label": "y"}\n')
    caplog.set_level("INFO")
    assert len(list(build(tmp_path, input="x").examples("train"))) == 2
    assert consists in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv.gz", b"\x1f\x8b", r"rows\.csv\.gz is compressed with gzip; unpack it: gzip -dc"),
        ("rows.txt", b"a", r"none of its files \(rows\.txt\) ends in \.jsonl.*name it \.csv"),
        (".hidden", b"", "the folder is empty"),
    ],
)
def test_a_folder_without_tables_is_told_with_what_it_holds(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        build(tmp_path, input="x").splits()


@pytest.mark.parametrize(
    ("cell", "read"),
    [
        ('"hi there', '"hi there'),
        ('"so" it is', '"so" it is'),
        ('says "hi"', 'says "hi"'),
        ('"hi ""there"""', 'hi "there"'),
        ('"two\nlines\tand a tab"', "two\nlines\tand a tab"),
    ],
)
def test_quotes_in_a_file_with_tabs_surround_cells_or_are_text(tmp_path, cell, read):
    (tmp_path / "rows.tsv").write_text(f"x\tlabel\n{cell}\ty\nplain\tz\n\t\n")  # the last one is empty
    (first, second) = build(tmp_path / "rows.tsv", input="x", empty_inputs="drop").examples("train")
    assert (first.input, first.label, second.input) == (read, "y", "plain")


def test_an_index_that_pandas_wrote_is_named_as_pandas_reads_it(tmp_path):
    (tmp_path / "rows.csv").write_text(",x,label\n7,a,y\n8,b,z\n")
    task = build(tmp_path / "rows.csv", input="x", id="Unnamed: 0")
    assert [(example.id, example.input) for example in task.examples("train")] == [("7", "a"), ("8", "b")]
