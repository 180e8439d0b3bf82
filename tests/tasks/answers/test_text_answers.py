"""Answers that are whole texts: kept as they are, scored by how alike they are."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dsbs.cli.config import to_object
from dsbs.core.errors import ConfigError
from dsbs.core.records import Completion, Example
from dsbs.extraction.parsing import annotate_whole
from dsbs.extraction.prompts import Exemplar, Prompt
from dsbs.tasks import TableTask, metrics
from dsbs.tasks.answers import TextAnswers

TEXT = "Dear Ann,\n\n  - one\n  - two\n\nYours"


def table(folder: Path, **changes: object) -> TableTask:
    rows = [{"input": f"Write {number}.", "label": f"{TEXT} {number}"} for number in range(3)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return TableTask(name="letters", path=str(folder / "train.jsonl"), answer_kind="text", **changes)  # type: ignore[arg-type]


def test_answers_of_several_lines_are_kept_whole(tmp_path: Path) -> None:
    task = table(tmp_path)
    assert task.faults() == []
    assert [example.label for example in task.examples("train")] == [f"{TEXT} {number}" for number in range(3)]
    assert all(example.choices is None for example in task.examples("train"))
    assert task.answers.parse(f"\n{TEXT}\n") == TEXT
    assert task.answers.equivalent(" ".join(TEXT.split()), TEXT)  # as a tokenizer without line breaks writes it
    assert not task.answers.equivalent(TEXT.lower(), TEXT)
    assert task.answers.parse(" \n ") is None


def test_what_is_scored_is_named_and_no_answer_is_worth_nothing(tmp_path: Path) -> None:
    for metric, half in (("rouge_l", 2 / 3), ("accuracy", 0.0)):
        task = table(tmp_path, metric=metric)
        assert (task.faults(), task.metric) == ([], metric)
        assert task.score("the cat sat", "the cat sat") == 1
        assert task.score(None, "the cat sat") == 0
        assert task.score("the cat ran", "the cat sat") == pytest.approx(half)
    chrf = table(tmp_path, metric="chrf")
    assert chrf.score("the cat sat", "the cat sat") == pytest.approx(1)
    assert 0 < chrf.score("the cat ran", "the cat sat") < 1


def test_a_function_of_the_users_is_called_only_where_they_typed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_scores.py").write_text("def length(prediction, gold):\n    return len(prediction) / len(gold)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(metrics, "_allowed", set())
    metrics.load_metric.cache_clear()
    task = table(tmp_path, metric="my_scores:length")
    assert task.faults() == []  # asked of a checkpoint's settings, too
    with pytest.raises(ConfigError, match="comes from a saved config, not from the command line"):
        task.score("ab", "abcd")
    to_object(OmegaConf.create({"task": OmegaConf.structured(task)}))  # what a command does with its config
    assert task.score("ab", "abcd") == 0.5
    [fault] = table(tmp_path, metric="bleu").faults()
    assert "expected one of accuracy, rouge_l, chrf, or your own function as module:function" in fault
    missing = table(tmp_path, metric="my_scores:nothing")
    metrics.allow_metric("my_scores:nothing")
    with pytest.raises(ConfigError, match="my_scores:nothing"):
        missing.score("a", "b")


def test_text_goes_without_closed_answers_and_names_no_earlier_data_anew(tmp_path: Path) -> None:
    [fault] = table(tmp_path, labels=["a", "b"]).faults()
    assert "task.answer_kind=text: cannot be combined with task.labels" in fault
    assert "metric" not in table(tmp_path).identity()
    assert table(tmp_path, metric="rouge_l").identity()["metric"] == "rouge_l"


@pytest.mark.parametrize(
    ("text", "reason", "label", "status"),
    [
        (f" {TEXT}\n", "stop", TEXT, "ok"),
        (f"<think>Hm.</think>\n{TEXT}", "stop", TEXT, "ok"),
        (TEXT, "length", None, "cut_off"),
        ("<think>Hm", "stop", None, "cut_off"),
        ("  ", "stop", None, "empty"),
        ("Sorry.", "content_filter", None, "refused"),
    ],
)
def test_a_whole_completion_is_the_answer(text: str, reason: str, label: str | None, status: str) -> None:
    found = annotate_whole(Example("1", "Write."), Completion(text, reason), TextAnswers())
    assert (found.label, found.status, found.rationale) == (label, status, None)


def test_a_completion_as_long_as_it_may_be_was_cut_off() -> None:
    said = Completion("One.", "stop", completion_tokens=8)
    assert annotate_whole(Example("1", ""), said, TextAnswers(), most_written=8).status == "cut_off"


def test_a_prompt_for_whole_answers_needs_no_cue_and_shows_answers_alone() -> None:
    assert Prompt(name="whole", answer_format="whole").faults() == []
    prompt = Prompt(name="mine", answer_format="whole", exemplars=[Exemplar("Write.", "", "One line.")])
    assert prompt.faults() == []
    assert prompt.shots == (("Write.", "One line."),)
    [fault] = Prompt(name="mine", answer_format="xml", instruction="{cue}").faults()
    assert "expected one of text, json, whole" in fault
