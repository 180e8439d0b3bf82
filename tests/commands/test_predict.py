"""``python -m dsbs.predict``: a trained student answers files and pipes."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from row_files import to_lines, write_rows
from trained import small_triage, train_tiny

from dsbs.cli.config import PredictConfig
from dsbs.core.errors import ConfigError, DataError, DsbsError, RunError
from dsbs.core.records import Example
from dsbs.inference.checkpoint import Remembered, check_output
from dsbs.inference.inputs import read_inputs
from dsbs.inference.output import open_rows
from dsbs.predict import predict
from dsbs.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = {"refund", "replace", "repair", "escalate"}
MESSAGE = "I bought a kettle from you. Sadly it was cracked."


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on triage."""
    return train_tiny(tmp_path_factory.mktemp("triage"))


@pytest.fixture(scope="module")
def checkpoint(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint without its run, as it would be handed on."""
    return Path(shutil.copytree(run / "checkpoint", tmp_path_factory.mktemp("handed-on") / "checkpoint"))


def answer(checkpoint: Path, text: str | bytes = "", /, **changes: Any) -> list[dict[str, Any]]:
    """Return what ``predict`` writes to standard output."""
    stdin = io.BytesIO(text.encode() if isinstance(text, str) else text)
    stdout = io.StringIO()
    config = PredictConfig(**({"checkpoint": str(checkpoint), "input": "-"} | changes))
    count = predict(config, stdin, stdout)
    lines = [json.loads(line) for line in stdout.getvalue().splitlines()]
    assert count == len(lines) or config.output != "-"
    return lines


def inputs(text: str, remembered: Remembered | None = None, format: str = "auto") -> list[Example]:
    return list(read_inputs("-", format, remembered or Remembered(), io.BytesIO(text.encode())))


def test_each_line_of_text_gets_one_of_the_closed_answers_and_its_number(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dsbs.predict.LINE_SECONDS", 0.0)
    with caplog.at_level("INFO", "dsbs"):
        lines = answer(checkpoint, f"{MESSAGE}\n\nMy sofa sags.\r\n", batch_size=2)
    assert "2 answered, " in caplog.text
    assert [line.keys() for line in lines] == [{"id", "label", "score", "confidence"}] * 2
    assert [line["id"] for line in lines] == ["1", "3"]
    assert {line["label"] for line in lines} <= DECISIONS
    assert all(line["score"] < 0 for line in lines)


def test_a_message_gets_the_answer_that_the_evaluation_gives(run: Path) -> None:
    examples = list(small_triage().examples("test"))
    told = pyarrow.parquet.read_table(run / "predictions.parquet").to_pylist()
    lines = answer(run, "\n".join(example.input for example in examples), batch_size=5)
    assert [line["label"] for line in lines] == [row["label"] for row in told]
    assert [line["score"] for line in lines] == pytest.approx([row["score"] for row in told], abs=1e-4)


def test_json_lines_keep_their_ids_and_bring_choices_of_their_own(checkpoint: Path) -> None:
    rows = [
        {"id": "a", "input": MESSAGE, "choices": ["repair", "refund"]},
        {"id": "b", "input": MESSAGE, "more": 1},
        {"id": 7, "input": "x", "choices": None},
    ]
    lines = answer(checkpoint, to_lines(rows), with_input=True)
    assert [line["id"] for line in lines] == ["a", "b", "7"]
    assert lines[0]["label"] in {"repair", "refund"}
    assert lines[1]["input"] == MESSAGE
    assert {line["label"] for line in lines} <= DECISIONS


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet", ".txt", ""])
def test_files_of_every_kind_are_read(checkpoint: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"messages{suffix}"
    rows = [{"id": f"m{number}", "input": f"My kettle leaks {number}"} for number in range(3)]
    if suffix in (".txt", ""):
        path.write_text("\n".join(row["input"] for row in rows))
    else:
        write_rows(path, rows)
    lines = answer(checkpoint, input=str(path), with_input=True)
    assert [line["input"] for line in lines] == [row["input"] for row in rows]
    assert [line["id"] for line in lines] == (["1", "2", "3"] if suffix in (".txt", "") else ["m0", "m1", "m2"])


def test_the_output_is_whole_or_not_there(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "answers.jsonl"
    assert answer(checkpoint, "one\ntwo\n", output=str(output)) == []
    assert len(output.read_text().splitlines()) == 2
    with pytest.raises(DataError, match="standard input:3"):
        answer(checkpoint, '{"input": "one"}\n{"input": "two"}\n{"input": \n', output=str(output), batch_size=1)
    assert len(output.read_text().splitlines()) == 2
    assert answer(checkpoint, "one\n", output=str(output)) == []
    assert [path.name for path in output.parent.iterdir()] == ["answers.jsonl"]


def test_an_interrupted_prediction_goes_on_where_it_was(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output, partial = tmp_path / "answers.jsonl", tmp_path / "answers.jsonl.partial"
    rows = [json.dumps({"input": f"My kettle leaks {number}"}) for number in range(5)]
    with caplog.at_level("INFO", "dsbs"), pytest.raises(DataError, match="standard input:4"):
        answer(checkpoint, "\n".join([*rows[:3], "{"]), output=str(output), batch_size=1)
    assert f"The answers so far are in {partial}; the same command continues there." in caplog.text
    assert [json.loads(line)["id"] for line in partial.read_text().splitlines()] == ["1", "2", "3"]
    partial.write_text(partial.read_text().replace('"id": "1"', '"id": "kept"')[:-1])  # a third row that was cut off
    with caplog.at_level("INFO", "dsbs"):
        answer(checkpoint, "\n".join(rows), output=str(output), batch_size=1)
    assert "2 answers of the interrupted command are kept." in caplog.text
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["id"] for row in found] == ["kept", "2", "3", "4", "5"]
    assert found[1:] == answer(checkpoint, "\n".join(rows), batch_size=1)[1:]
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize("changes", [{"with_input": True}, {"text": "another\ntwo\n"}])
def test_rows_of_other_settings_or_inputs_are_not_kept(
    checkpoint: Path, tmp_path: Path, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "answers.jsonl"
    with pytest.raises(DataError, match="not UTF-8"):
        answer(checkpoint, b"one\ntwo\n\xff", output=str(output), batch_size=1)
    text = changes.pop("text", "one\ntwo\n")
    with caplog.at_level("INFO", "dsbs"):
        answer(checkpoint, text, output=str(output), **changes)
    assert "starting over" in caplog.text
    assert output.read_text().splitlines() == [json.dumps(row) for row in answer(checkpoint, text, **changes)]


def test_two_commands_do_not_write_one_output(checkpoint: Path, tmp_path: Path) -> None:
    with (
        open_rows(tmp_path / "answers.jsonl", []),
        pytest.raises(RunError, match="another process is writing it"),
    ):
        answer(checkpoint, "one", output=str(tmp_path / "answers.jsonl"))
    assert [path.name for path in tmp_path.iterdir()] == ["answers.jsonl"]


def test_a_column_that_some_rows_lack_is_empty_there_as_in_the_training() -> None:
    remembered = Remembered(input="{head}: {body}")
    rows = [{"head": "a"}, {"head": "b", "body": "rain"}, {"head": "c"}]
    found = inputs(to_lines(rows), remembered)
    assert [example.input for example in found] == ["a:", "b: rain", "c:"]
    with pytest.raises(DataError, match=r"standard input:1: there is no column 'body'.*or give each input .* 'input'"):
        inputs('{"head": "a"}\n{"head": "b"}\n', remembered)


def test_inputs_are_read_as_they_are_answered(checkpoint: Path) -> None:
    """A reader that stops early has its answers, and what lies beyond was not read."""
    taken = []

    class Endless(io.RawIOBase):
        def readline(self, size: int | None = -1) -> bytes:
            taken.append(len(taken))
            return f"message {len(taken) - 1}\n".encode()

    class Impatient(io.StringIO):
        def writelines(self, lines: Iterable[str]) -> None:
            raise AssertionError

        def flush(self) -> None:
            if self.getvalue().count("\n") >= 8:
                raise BrokenPipeError

    config = PredictConfig(checkpoint=str(checkpoint), input="-", batch_size=4)
    with pytest.raises(BrokenPipeError):
        predict(config, Endless(), Impatient())  # type: ignore[arg-type]
    assert len(taken) <= 12


@pytest.mark.parametrize("objective", ["step_by_step", "rationale_then_label", "label_then_rationale"])
def test_a_student_that_learnt_rationales_writes_them(tmp_path: Path, objective: str) -> None:
    run = train_tiny(tmp_path, objective=objective)
    lines = answer(run, f"{MESSAGE}\nMy sofa sags.", rationale=True)
    assert all(line.keys() == {"id", "label", "score", "confidence", "rationale"} for line in lines)
    plain = answer(run, f"{MESSAGE}\nMy sofa sags.")
    assert [line["label"] for line in plain] == [line["label"] for line in lines]


def test_a_fine_tuned_student_has_no_rationales_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="finetune"):
        answer(train_tiny(tmp_path, objective="finetune"), MESSAGE, rationale=True)


def test_the_checkpoint_answers_without_dsbs(checkpoint: Path) -> None:
    """Plain ``generate`` starts with the task prefix of labels and writes what the student was trained to write."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    from dsbs.students.decoding import DecodingConfig, generate
    from dsbs.students.loading import load_student

    model, tokenizer = (kind.from_pretrained(checkpoint) for kind in (AutoModelForSeq2SeqLM, AutoTokenizer))
    assert model.generation_config.decoder_start_token_id == tokenizer.convert_tokens_to_ids("[label]")
    written = model.generate(**tokenizer(MESSAGE, return_tensors="pt"), max_new_tokens=8, do_sample=False)
    assert written[0, 0] == tokenizer.convert_tokens_to_ids("[label]")
    ours = generate(load_student(checkpoint), [Example("1", MESSAGE)], DecodingConfig(max_new_tokens=8))
    assert [tokenizer.decode(written[0], skip_special_tokens=True).strip()] == ours


def test_a_whole_input_that_is_a_word_for_a_missing_value_is_a_text() -> None:
    """People write 'none' and 'N/A'; one such line ended the run, and one such request failed."""
    assert [example.input for example in inputs("fine\nnone\nN/A\n")] == ["fine", "none", "N/A"]
    assert [example.input for example in inputs('{"text": "None"}\n', Remembered(input="text"))] == ["None"]
    assert [example.input for example in inputs('{"a": "None", "b": "x"}\n', Remembered(input="{a}{b}"))] == ["x"]
    with pytest.raises(DataError, match="the input is empty"):
        inputs('{"input": null}\n')


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\n \n", "it is empty"),
        ('{"input": "one"}\n{"inp', "standard input:2: not JSON"),
        ('{"input": "one"}\n[1]', "standard input:2: expected an object"),
        ('{"text": "one"}', "standard input:1: there is no column 'input'"),
        ('{"input": " "}', "standard input:1: the input is empty"),
        ('{"input": "one", "choices": ["yes"]}', "standard input:1: expected at least two choices"),
        (b"one\n\xff\xfe\n", "standard input:2: not UTF-8"),
        ("one\ntwo\n".encode("utf-16"), "standard input:1: not UTF-8.* This is UTF-16: iconv"),
    ],
)
def test_a_broken_input_is_named_with_its_line(checkpoint: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        answer(checkpoint, text)


def test_what_the_student_does_not_read_is_told(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = answer(checkpoint, f"{MESSAGE}\n{MESSAGE * 200}\n", batch_size=1)
    assert len(lines) == 2
    assert caplog.messages == ["1 input of 2 examples exceeded student.max_input_tokens: truncated at the end."]


def test_text_that_starts_with_a_brace_can_be_called_text(checkpoint: Path) -> None:
    assert len(answer(checkpoint, "{hello}\n", format="text")) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"input": "nowhere.txt"}, "input=nowhere.txt: there is no such file"),
        ({"input": "."}, "input=.: there is no such file"),
        ({"checkpoint": "nowhere"}, "checkpoint=nowhere: there is no such folder"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"format": "xml"}, "format=xml: expected one of auto, text, jsonl"),
        ({"input": "a.txt", "output": "a.txt"}, "the same file as input"),
        ({"input": "a.txt", "output": "a.csv"}, "predictions are written as JSON lines"),
    ],
)
def test_a_wrong_setting_is_a_clear_message(checkpoint: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(DsbsError, match=says):
        answer(checkpoint, "one", **changes)


def test_an_output_that_cannot_be_written_is_a_clear_message(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        answer(checkpoint, "one", output=str(tmp_path / "file" / "answers.jsonl"))


def test_a_named_pipe_is_read_like_a_file(checkpoint: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen(["sh", "-c", f"echo 'My kettle leaks' > '{pipe}'"])
    assert len(answer(checkpoint, input=str(pipe))) == 1
    assert writer.wait(timeout=10) == 0


def test_an_empty_file_is_no_answer_but_a_message(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("empty.txt", "empty.jsonl", "empty.csv"):
        (tmp_path / name).write_text("")
        with pytest.raises(DataError, match="it is empty"):
            answer(checkpoint, input=str(tmp_path / name))
    (tmp_path / "empty.parquet").write_text("")
    with pytest.raises(DataError, match=r"empty\.parquet"):
        answer(checkpoint, input=str(tmp_path / "empty.parquet"))


def test_rows_of_a_table_are_worded_as_in_the_training(tmp_path: Path) -> None:
    rows = [{"key": f"k{n}", "head": f"Day {n}", "body": "it rains", "say": ["yes", "no"][n % 2]} for n in range(40)]
    data = write_rows(tmp_path / "data.jsonl", rows)
    task = TASKS["table"](  # type: ignore[call-arg]
        name="weather", path=str(data), input="{head}: {body}", label="say", id="key", labels=["yes", "no"],
        test_share=0.3,
    )  # fmt: skip
    run = train_tiny(tmp_path, task, "finetune")
    lines = answer(run, to_lines(rows[:3]), with_input=True)
    assert [line["input"] for line in lines] == ["Day 0: it rains", "Day 1: it rains", "Day 2: it rains"]
    assert [line["id"] for line in lines] == ["k0", "k1", "k2"]
    assert {line["label"] for line in lines} <= {"yes", "no"}
    remembered = Remembered(task={"empty_inputs": "drop"}, input="{head}{body}")
    table = tmp_path / "new.csv"
    table.write_text("head,body,other\na,b,1\n,,\nc,,2\n")
    found = list(read_inputs(str(table), "auto", remembered, io.BytesIO()))
    assert [(one.id, one.input) for one in found] == [("1", "ab"), ("3", "c")]
    table.write_text("head,body\n,\n")
    with pytest.raises(DataError, match="at least one input"):
        list(read_inputs(str(table), "auto", remembered, io.BytesIO()))
    assert str(tmp_path) not in (run / "checkpoint" / "config.json").read_text()


def test_a_student_of_questions_with_their_own_choices_asks_for_them(tmp_path: Path) -> None:
    places = ["bank", "park", "sea", "farm"]
    rows = [
        {"q": f"Where is {places[n % 4]} {n}?", "say": places[n % 4], "any": [places[n % 4], places[(n + 1) % 4]]}
        for n in range(40)
    ]
    data = write_rows(tmp_path / "data.jsonl", rows)
    task = TASKS["table"](  # type: ignore[call-arg]
        name="places", path=str(data), input="q", label="say", choices="any", test_share=0.3
    )
    run = train_tiny(tmp_path, task, "finetune")
    line = answer(run, '{"input": "Where?", "choices": ["sea", "shop"]}', with_input=True)[0]
    assert line["input"] == "Where?\nAnswer Choices:\n(a) sea\n(b) shop"
    assert line["label"] in {"sea", "shop"}
    assert answer(run, json.dumps(rows[0]), with_input=True)[0]["input"].endswith("(a) bank\n(b) park")
    with pytest.raises(DataError, match=r'standard input:1: no choices.*"any"'):
        answer(run, "Where?")


def test_free_answers_are_written_and_have_no_score(tmp_path: Path) -> None:
    rows = [{"input": f"How many are {n}?", "label": str(n)} for n in range(40)]
    data = write_rows(tmp_path / "data.jsonl", rows)
    task = TASKS["table"](name="sums", path=str(data), answer_kind="number", test_share=0.3)  # type: ignore[call-arg]
    lines = answer(train_tiny(tmp_path, task, "finetune"), "How many are 3?\nAnd 4?")
    assert [line["score"] for line in lines] == [None, None]


@pytest.mark.parametrize(
    ("output", "read", "refused"),
    [
        ("new.jsonl", "new.jsonl", True),
        ("./new.jsonl", "new.jsonl", True),
        ("link.jsonl", "new.jsonl", True),
        ("new.jsonl", ".", True),
        ("other.jsonl", "new.jsonl", False),
        ("other.jsonl", ".", False),
        ("new.jsonl", "-", False),
        ("new.jsonl", None, False),
    ],
)
def test_data_that_is_read_is_not_overwritten_by_whatever_name(
    output: str, read: str | None, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("new.jsonl").write_text("{}")
    Path("link.jsonl").symlink_to("new.jsonl")
    if refused:
        with pytest.raises(RunError, match="this is the data that is read, and is not overwritten"):
            check_output(output, read)
    else:
        assert check_output(output, read) == Path(output)


@pytest.mark.parametrize(
    ("column", "row"),
    [
        ("c.text", {"c": {"text": ["tea", "milk"], "label": ["A", "B"]}}),
        ("c", {"c": {"A": "tea", "B": "milk"}}),
        ("{A}|{B}", {"A": "tea", "B": "milk"}),
    ],
)
def test_choices_and_ids_are_found_as_in_training(column: str, row: dict[str, object]) -> None:
    remembered = Remembered(own_choices=True, input="q", id_column="meta.id", choices_column=column)
    (example,) = inputs(json.dumps({"q": "Which?", "meta": {"id": "q7"}} | row), remembered)
    assert (example.id, example.choices) == ("q7", ("tea", "milk"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "head;other\na;b\n",
            r"standard input:1: the header of a table \(head, other\); .* ends in \.csv",
        ),
        ("other\thead\n", r"name a file that ends in \.tsv; format=text takes"),
        ("\n[\n", r"standard input:2: a JSON array; expected an object on each line \(jq -c '\.\[\]' makes them\)"),
        ('[{"head": "a"}]', "a JSON array"),
    ],
)
def test_a_table_that_is_sent_as_text_is_told(text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        inputs(text, Remembered(input="head"))


@pytest.mark.parametrize("text", ["[so] it is\n", "a head, another head that is long, head\n"])
def test_text_that_resembles_one_is_text(text: str) -> None:
    assert [example.input for example in inputs(text, Remembered(input="head"))] == [text.strip()]


def test_a_compressed_file_of_inputs_is_told(tmp_path: Path) -> None:
    (tmp_path / "new.txt.gz").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(DataError, match=r"new\.txt\.gz: compressed with gzip; unpack it: gzip -dc"):
        list(read_inputs(str(tmp_path / "new.txt.gz"), "auto", Remembered(), io.BytesIO()))


def test_shared_choices_are_listed_where_the_training_listed_them() -> None:
    remembered = Remembered(choices=["yes", "no"], lists_choices=True, choices_column="any")
    (example,) = inputs("Is it?", remembered)
    assert (example.input, example.choices) == ("Is it?\nAnswer Choices:\n(a) yes\n(b) no", ("yes", "no"))


def run_command(cwd: Path, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C"}
    command = [sys.executable, "-m", "dsbs.predict", *words]
    return subprocess.run(
        command, cwd=cwd, env=environment, input=text, capture_output=True, encoding="utf-8", timeout=120, check=False
    )


def test_in_a_shell_pipe_standard_output_holds_json_lines_alone(checkpoint: Path, tmp_path: Path) -> None:
    done = run_command(tmp_path, f"checkpoint={checkpoint}", "input=-", "with_input=true", text="Grüße aus Köln\n")
    assert done.returncode == 0, done.stderr
    (line,) = map(json.loads, done.stdout.splitlines())
    assert line["input"] == "Grüße aus Köln"
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_one_message_on_standard_error_and_an_exit_code(checkpoint: Path, tmp_path: Path) -> None:
    done = run_command(tmp_path, f"checkpoint={checkpoint}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "input is not given: add input=..." in done.stderr
    assert "Traceback" not in done.stderr
