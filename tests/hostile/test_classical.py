"""Students of scikit-learn that somebody else made: and the sentence that comes out."""

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline

from dsbs.cli.checkpoints import open_checkpoint
from dsbs.cli.config import EvaluateConfig
from dsbs.core.errors import DsbsError, StudentError
from dsbs.core.records import Example
from dsbs.evaluate import evaluate
from dsbs.inference import sklearn_predictor
from dsbs.inference.checkpoint import Remembered
from dsbs.inference.sklearn_predictor import MODEL, save_model

TEXTS, LABELS = ["a kettle leaks", "a lamp is dark", "a kettle rattles", "a lamp broke"], ["kettle", "lamp"] * 2
WORDS = {"token_pattern": r"(?u)\b\w+\b"}


def fitted(classifier: Any = None, **settings: Any) -> Pipeline:
    """Return a student; settings change its vectoriser after it was fitted."""
    vectoriser = TfidfVectorizer(**WORDS)
    model = Pipeline([("features", FeatureUnion([("words", vectoriser)])), ("c", classifier or LogisticRegression())])
    model.fit(TEXTS, LABELS)
    vectoriser.set_params(**settings)
    return model


def write(folder: Path, model: Any) -> Path:
    task, objective = {"kind": "triage", "name": "triage"}, {"kind": "finetune", "name": "finetune"}
    remembered = asdict(Remembered(task=task, objective=objective, choices=["kettle", "lamp"], format="sklearn"))
    (folder / "config.json").write_text(json.dumps({"dsbs": remembered}))
    if model is not None:
        save_model(model, folder)
    return folder


def shrink(model: Pipeline) -> Pipeline:
    model[-1].coef_ = model[-1].coef_[:, :2]
    return model


def forget(model: Pipeline) -> Pipeline:
    del model[-1].classes_
    return model


def spoil(model: Pipeline) -> Pipeline:
    model[-1].coef_ = model[-1].coef_ * float("nan")
    return model


def nested(depth: int) -> Any:
    model: Any = fitted()
    for _ in range(depth):
        model = Pipeline([("x", model)])
    return model


ODD: dict[str, tuple[Callable[[], Any], str]] = {
    "texts that are names of files": (lambda: fitted(input="filename"), "no dsbs student has input='filename'"),
    "words that blow up": (lambda: fitted(token_pattern="(a+)+$"), r"token_pattern='\(a\+\)\+\$'"),
    "n-grams without end": (lambda: fitted(ngram_range=(1, 10**9)), r"ngram_range=\(1, 1000000000\)"),
    "a cache elsewhere": (lambda: fitted().set_params(memory="/somewhere"), "memory='/somewhere'"),
    "processes without end": (lambda: fitted().set_params(features__n_jobs=10**6), "n_jobs='1000000'"),
    "characters across words": (lambda: fitted(analyzer="char"), "analyzer='char'"),
    "a pipeline in pipelines": (lambda: nested(6), "parts so deep"),
    "a transformer alone": (TfidfTransformer, "the student cannot answer"),
    "nothing fitted": (lambda: Pipeline([("v", TfidfVectorizer()), ("c", LogisticRegression())]), "cannot answer"),
    "weights of another shape": (lambda: shrink(fitted()), "the student cannot answer"),
    "weights that are no numbers": (lambda: spoil(fitted()), "gives its classes no log-probabilities"),
    "a text": (lambda: "model", "the student cannot answer"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_a_student_that_is_put_together_oddly_is_refused(kind: str, tmp_path: Path) -> None:
    make, sentence = ODD[kind]
    with pytest.raises(StudentError, match=sentence) as caught:
        open_checkpoint(str(write(tmp_path, make()))).load(4)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("classifier", [LogisticRegression(), DummyClassifier()])
def test_a_sound_one_answers(classifier: Any, tmp_path: Path) -> None:
    student = open_checkpoint(str(write(tmp_path, fitted(classifier)))).load(4)
    assert student.predict([Example("1", "a lamp", choices=("kettle", "lamp"))])[0].label in ("kettle", "lamp")


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sklearn_predictor, "MAX_UNPACKED", 2**20)
    write(tmp_path, fitted())
    with zipfile.ZipFile(tmp_path / MODEL, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(2**24))
    with pytest.raises(StudentError, match=r"it unpacks to .* bytes, more than such a student may have"):
        open_checkpoint(str(tmp_path)).load(4)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("make", "sentence"),
    [(os.mkfifo, "expected a regular file"), (Path.mkdir, "expected a regular file"),
     (lambda path: path.symlink_to("/dev/zero"), "expected a regular file"),
     (lambda path: path.write_bytes(b"PK\x03\x04"), "cannot be read"), (lambda path: None, "is incomplete"),
     (lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n."), "cannot be read")],
)  # fmt: skip
def test_what_is_no_student_is_told(make: Callable[[Path], object], sentence: str, tmp_path: Path) -> None:
    write(tmp_path, None)
    make(tmp_path / MODEL)
    with pytest.raises(StudentError, match=sentence):
        open_checkpoint(str(tmp_path)).load(4)


@pytest.mark.parametrize(
    ("task", "sentence"),
    [({"answer_kind": "auto"}, "the location of the data is unknown"),
     ({"answer_kind": "closed"}, "found 1 different labels"),
     ({"answer_kind": "free", "metric": "os:system"}, "is not called"),
     ({"labels": ["kettle", "lamp"], "choices": "input"}, "set only one of the two"),
     ({"label_pattern": "("}, "not a regular expression"), ({"reading": "evil"}, "expected one of tolerant, paper")],
)  # fmt: skip
def test_a_task_that_a_checkpoint_remembers_oddly_is_told(
    task: dict[str, Any], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dsbs.tasks.tables.hub.HubSource._data", property(lambda source: pytest.fail(f"loaded {source.id}"))
    )
    write(tmp_path, fitted())
    config = json.loads((tmp_path / "config.json").read_text())
    config["dsbs"]["task"] = {"kind": "table", "name": "t"} | task
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "data.jsonl").write_text('{"input": "a kettle", "label": "kettle"}\n')
    with pytest.raises(DsbsError, match=sentence):
        evaluate(EvaluateConfig(checkpoint=str(tmp_path), path=str(tmp_path / "data.jsonl")))
