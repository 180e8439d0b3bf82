"""Predictors: what evaluation, prediction and validation ask for answers."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from quiz import Quiz
from tiny import examples, tiny_t5
from trained import train_tiny

from dsbs.cli.checkpoints import open_checkpoint
from dsbs.core.errors import DataError, RunError
from dsbs.core.records import Example, Prediction
from dsbs.inference import predictor as predictors
from dsbs.inference.predictor import stream
from dsbs.inference.torch_predictor import TorchPredictor
from dsbs.objectives import Finetune
from dsbs.serve import load_student
from dsbs.serving.settings import ServeConfig
from dsbs.students.answering import CONFIDENT
from dsbs.students.decoding import DecodingConfig


class Echo:
    """Answers every example with the number of those that it got with it."""

    @classmethod
    def load(cls, *parts: Any) -> "Echo":
        return cls()

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        return [Prediction(example.id, None, str(len(examples))) for example in examples]

    def explain(self, examples: Sequence[Example], predictions: list[Prediction]) -> list[Prediction]:
        return [Prediction(one.id, None, one.label, "because") for one in predictions]

    def lost(self, examples: Sequence[Example]) -> dict[str, int]:
        return {"inputs": len(examples)}

    def perplexity(self, examples: Sequence[Example]) -> None:
        pass

    def save(self, folder: Path) -> None:
        raise NotImplementedError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("triage")) / "checkpoint"


def with_settings(checkpoint: Path, folder: Path, **changes: Any) -> Path:
    """Copy a checkpoint that remembers other settings; those that are None are left out."""
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    config["dsbs"] |= changes
    config["dsbs"] = {key: value for key, value in config["dsbs"].items() if value is not None or key not in changes}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_the_format_of_a_checkpoint_names_the_class_that_reads_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = open_checkpoint(str(checkpoint)).load(4)
    assert isinstance(loaded, TorchPredictor)
    assert loaded.reading.negligible == 0  # full scores, unless less is asked for
    monkeypatch.setitem(predictors.PREDICTORS, "echo", f"{__name__}:Echo")
    monkeypatch.setattr("importlib.import_module", lambda name: __import__("types").SimpleNamespace(Echo=Echo))
    assert isinstance(open_checkpoint(str(with_settings(checkpoint, tmp_path / "one", format="echo"))).load(4), Echo)


def test_a_checkpoint_from_before_there_were_formats_is_one_of_transformers(checkpoint: Path, tmp_path: Path) -> None:
    old = with_settings(checkpoint, tmp_path / "old", format=None)
    assert "format" not in json.loads((old / "config.json").read_text())["dsbs"]
    assert isinstance(open_checkpoint(str(old)).load(4), TorchPredictor)


def test_a_server_scores_all_answers_in_full_where_a_policy_reads_them(checkpoint: Path) -> None:
    for mode, negligible in (("student", CONFIDENT), ("defer", 0.0), ("shadow", 0.0)):
        predictor = load_student(ServeConfig(checkpoint=str(checkpoint), mode=mode)).predictor
        assert predictor.reading.negligible == negligible


def test_an_unknown_format_is_refused_in_one_sentence(checkpoint: Path, tmp_path: Path) -> None:
    strange = with_settings(checkpoint, tmp_path / "one", format="abacus")
    with pytest.raises(DataError, match=r"format=abacus: this version of dsbs reads transformers"):
        open_checkpoint(str(strange)).load(4)


def test_a_stream_is_answered_batch_by_batch() -> None:
    answers = list(stream(Echo(), (Example(str(number), "") for number in range(5)), 2))
    assert [prediction.label for _, prediction in answers] == ["2", "2", "2", "2", "1"]
    explained = list(stream(Echo(), [Example("1", "")], 2, rationales=True))
    assert [prediction.rationale for _, prediction in explained] == ["because"]


def predictor(batch_size: int) -> TorchPredictor:
    reading = DecodingConfig(batch_size=batch_size, max_new_tokens=4)
    return TorchPredictor(tiny_t5(), Quiz(), Finetune(name="finetune"), reading)


def test_examples_with_closed_answers_are_ranked_whatever_stands_beside_them() -> None:
    closed, free = examples(4), examples(4, choices=None)
    mixed = [example for pair in zip(closed, free, strict=True) for example in pair]
    answers = predictor(8).predict(mixed)
    assert [prediction.score is not None for prediction in answers] == [True, False] * 4
    alone = predictor(8).predict(closed)
    assert [one.scores for one in answers[::2]] == [pytest.approx(one.scores) for one in alone]
    assert all(one.label == max(one.scores or {}, key=(one.scores or {}).__getitem__) for one in alone)


def fail_above(most: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let memory run out where more than so many inputs are encoded at once; return what was tried."""
    model = type(tiny_t5())
    encode, tried = model.encode, []

    def limited(self: Any, inputs: dict[str, torch.Tensor], readers: int) -> Any:
        tried.append(len(inputs["input_ids"]))
        if tried[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode(self, inputs, readers)

    monkeypatch.setattr(model, "encode", limited)
    return tried


def test_out_of_memory_halves_the_batch_from_there_on(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [one.label for one in predictor(8).predict(examples(8))]
    tried = fail_above(2, monkeypatch)
    mine = predictor(8)
    assert [one.label for one in mine.predict(examples(8))] == expected
    mine.predict(examples(2))
    probes = tried[: tried.index(8)]  # once for a student: whether its network can read answers as a tree
    assert tried[len(probes) :] == [8, 4, 2, 2, 2, 2, 2]
    assert probes == [2, 2]


def test_out_of_memory_on_a_single_example_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_above(0, monkeypatch)
    with pytest.raises(RunError, match=r"single example.*student\.max_input_tokens"):
        predictor(2).predict(examples(2))
