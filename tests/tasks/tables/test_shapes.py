"""Values of another shape than a text: refused with what to type, or taken in a declared way."""

import json
from dataclasses import replace

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from row_files import write_rows

from dsbs.core import terminal
from dsbs.core.errors import DataError
from dsbs.tasks import TableTask
from dsbs.tasks.tables import delimited
from dsbs.tasks.tables.delimited import sniff_delimiter

CHAT = [
    {"role": "system", "content": "You sort mail."},
    {"role": "user", "content": "Where is my parcel?"},
    {"role": "assistant", "content": "shipping"},
]
TURNS = [
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": [{"type": "text", "text": "It leaks."}]},
    {"role": "assistant", "content": "damage"},
]
SHAREGPT = [{"from": "human", "value": "Where is it?"}, {"from": "gpt", "value": "shipping"}]


def table(folder, rows, name="rows.jsonl", **settings):
    path = folder / name
    if isinstance(rows, bytes | str):
        path.write_bytes(rows.encode() if isinstance(rows, str) else rows)
    else:
        write_rows(path, rows)
    return TableTask(path=str(path), **({"input": "x", "label": None} | settings))


def read(task):
    return [(example.input, example.label) for example in task.examples("train")]


@pytest.mark.parametrize(
    ("row", "settings", "says"),
    [
        ({"x": {"title": "a", "body": "b"}}, {}, r"task\.input=x\.title"),
        ({"x": ["a", "b"]}, {}, r"a list of 2.*task\.input=x\.0 takes the first, task\.input=x\.\* joins"),
        ({"x": CHAT}, {}, r"chat messages.*task\.input=x\.user.*\{x\.system\}"),
        ({"x": "a", "y": ["p", "q"]}, {"label": "y"}, r"a list of 2.*one label: task\.label=y\.0"),
        ({"x": "a", "y": {"id": 3}}, {"label": "y"}, r"an object with the keys id.*task\.label=y\.id"),
        ({"x": "a", "y": CHAT}, {"label": "y"}, r"task\.label=y\.assistant"),
        ({"x": {"0": "a", "1": "b"}}, {}, r"to_json.*orient"),
        ({"x": "a", "i": [1]}, {"id": "i"}, r"task\.id=i\.0"),
        ({"x": "a", "c": [["p"], ["q"]], "y": "p"}, {"choices": "c", "label": "y"}, r"column 'choices'.*a list"),
        ({"x": "a", "c": ["p", None], "y": "p"}, {"choices": "c", "label": "y"}, r"at least two choices.*None"),
        ({"x": "a", "c": {"p": 1}, "y": "p"}, {"choices": "c", "label": "y"}, r"got \{'p': 1\}"),
    ],
)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_what_is_no_text_is_refused_with_its_place_and_what_to_type(tmp_path, row, settings, says, name):
    with pytest.raises(DataError, match=rf"rows\.\w+:1: (?s:.*){says}"):
        read(table(tmp_path, [row], name, **settings))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_paths_reach_into_objects_lists_and_messages(tmp_path, name):
    rows = [{"m": CHAT[:2] + CHAT[2:], "w": ["so", "it", "is"], "o": {"a": [{"b": "deep"}]}, "l": ["p", "q"]}]
    assert read(table(tmp_path, rows, name, input="m.user", label="m.assistant")) == [
        ("Where is my parcel?", "shipping")
    ]
    template = r"{m.system}\n{w.*}|{o.a.0.b}"
    assert read(table(tmp_path, rows, name, input=template, label="l.0")) == [("You sort mail.\nso it is|deep", "p")]


def test_the_last_message_counts_in_any_dialect(tmp_path):
    rows = [{"m": TURNS}, {"m": SHAREGPT}, {"m": json.dumps(CHAT)}, {"m": str(SHAREGPT)}]
    found = read(table(tmp_path, rows, input="m.user", label="m.assistant"))
    asked = ["It leaks.", "Where is it?", "Where is my parcel?", "Where is it?"]
    assert found == list(zip(asked, ["damage", "shipping", "shipping", "shipping"], strict=True))
    with pytest.raises(DataError, match=r"there is no column 'm\.system'"):
        read(table(tmp_path, [{"m": TURNS}], input="m.system"))


@pytest.mark.parametrize(
    "cell",
    [
        "['tea', 'iced tea', \"it's\"]",  # pandas
        "['tea' 'iced tea' \"it's\"]",  # numpy
        "['tea'\n 'iced tea'\n \"it's\"]",
        '["tea", "iced tea", "it\'s"]',  # JSON
        "tea|iced tea|it's",
    ],
)
def test_choices_are_read_as_files_write_lists(tmp_path, cell):
    task = table(tmp_path, [{"x": "?", "c": cell, "y": "iced tea"}], choices="c", label="y")
    assert next(task.examples("train")).choices == ("tea", "iced tea", "it's")


@pytest.mark.parametrize(
    "cell", ["['tea', ", "{'a': 1, 'b': 2}", "(1, 2)", "['tea']", "tea", "[]", "array(['a', 'b'])"]
)
def test_a_cell_that_holds_no_choices_is_shown(tmp_path, cell):
    with pytest.raises(DataError) as error:
        read(table(tmp_path, [{"x": "?", "c": cell, "y": "tea"}], choices="c", label="y"))
    assert repr(cell) in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", "x,y,x\na,b,c\n"),
        ("rows.csv", "x, x ,y\na,b,c\n"),
        ("rows.jsonl", '{"x": "a", "y": 1}\n{"x": "b", "x": "c"}\n'),
        ("rows.json", '[{"x": "a"}, {"x": "b", "x": "c"}]'),
    ],
)
def test_two_columns_of_one_name_are_refused(tmp_path, name, content):
    with pytest.raises(DataError, match=r"rows\.\w+.*'x': duplicate column name"):
        read(table(tmp_path, content, name))


def test_two_columns_of_one_name_are_refused_in_parquet(tmp_path):
    columns = pa.table([pa.array(["a"]), pa.array(["b"])], names=["x", "x"])
    pq.write_table(columns, tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="'x': duplicate column name"):
        read(TableTask(path=str(tmp_path / "rows.parquet"), input="x", label=None))


@pytest.mark.parametrize(
    ("content", "sign"),
    [
        ("x;y\na, b;good\nc;bad\n", ";"),
        ("x\ty\na, b; c\tgood\n", "\t"),
        ("x|y\na;b|good\nc|bad\n", "|"),
        ("sep=;\nx;y\na;good\n", ";"),
        ('"x";"y"\n"1,5";"good"\n', ";"),
        ("x,y\na;b,good\nc;d,bad\n", ","),
        ("x\na;b\n", ","),
        ("x, y\n a,good\n", ","),
        ("x,a;y\n1,5;good\n2,0;bad\n3;good\n", ";"),
    ],
)
def test_what_separates_the_cells_is_found(content, sign):
    lines = [line for line in content.splitlines(keepends=True) if not line.startswith("sep=")]
    assert sniff_delimiter(lines) == sign


@pytest.mark.parametrize("head", ["\ufeffx;y\n\n", "\n;\nx;y\n", "sep=;\nx;y\n"])
def test_a_csv_of_semicolons_is_read_and_told(tmp_path, head, caplog):
    caplog.set_level("INFO", terminal.logger.name)
    task = table(tmp_path, f"{head}1,5;good\n2;bad\n", "rows.csv", label="y", labels=["good", "bad"])
    assert read(task) == [("1,5", "good"), ("2", "bad")]
    assert read(task) == [("1,5", "good"), ("2", "bad")]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'rows.csv'}: its columns are separated by semicolons."
    ]


def test_the_line_of_a_fault_counts_what_excel_wrote_first(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"rows\.csv:4: 3 cells, but the header has 2 columns.*semicolons"):
        read(table(tmp_path, "sep=;\nx;y\na;b\na;b;c\n", "rows.csv"))
    monkeypatch.setattr(delimited, "MAX_ROW", 10)
    monkeypatch.setattr("csv.field_size_limit", lambda most: None)
    with pytest.raises(DataError, match=r"rows\.csv:3: a line of more than 10 characters; expected one row per line"):
        read(table(tmp_path, f"sep=;\nx;y\n{'a' * 11};b\n", "rows.csv"))


@pytest.mark.parametrize("names", [[], ["ham", "spam"]])
def test_other_data_of_a_settled_task_may_have_the_numbers_of_its_classes(tmp_path, caplog, names):
    features = datasets.Features({"x": datasets.Value("string"), "y": datasets.ClassLabel(names=["ham", "spam"])})
    rows = [{"x": "a", "y": 1}, {"x": "b", "y": 0}]
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "rows.parquet")
    settled = TableTask(path=str(tmp_path / "rows.parquet"), input="x", label="y", label_names=names).settled()
    assert not settled.faults()
    (tmp_path / "other.csv").write_text("x,y\nc,1\nd,spam\n")
    terminal.log_once.cache_clear()
    caplog.set_level("INFO", terminal.logger.name)
    assert read(replace(settled, path=str(tmp_path / "other.csv"))) == [("c", "spam"), ("d", "spam")]
    assert caplog.messages == []  # not that train had no row of ham
    free = TableTask(path=str(tmp_path / "rows.parquet"), input="x", label="y", answer_kind="text").settled()
    assert (free.labels, free.label_names) == ([], [])


@pytest.mark.parametrize("metadata", [b"nonsense", b"[]", b'{"info": 3}', b'{"info": {"features": {"y": 1}}}'])
def test_metadata_of_others_is_no_trouble(tmp_path, metadata):
    rows = pa.table({"x": ["a"], "y": [1]}).replace_schema_metadata({b"huggingface": metadata})
    pq.write_table(rows, tmp_path / "rows.parquet")
    assert read(TableTask(path=str(tmp_path / "rows.parquet"), input="x", label="y")) == [("a", "1")]


def test_half_characters_are_replaced_and_counted(tmp_path):
    half = "\\ud83d"
    text = f'{{"x": "so {half}", "y": "a{half}", "i": "i{half}"}}\n{{"x": "fine {half}\\ude00", "y": "b", "i": "j"}}\n'
    task = table(tmp_path, text, label="y", id="i")
    first, second = task.examples("train")
    assert (first.input, first.label, first.id) == ("so \ufffd", "a\ufffd", "i\ufffd")
    assert second.input == "fine \U0001f600"
    assert task.counts["train"].replaced == 1
    assert "1 input in which a lone surrogate was replaced" in task.counts["train"].describe()
