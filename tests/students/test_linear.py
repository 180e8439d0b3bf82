"""student=logreg: TF-IDF and logistic regression through the same commands as every other student."""

import json
import math
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from quiz import Colours
from trained import run_card, small_triage, train_tiny

from dsbs.cli.checkpoints import open_checkpoint
from dsbs.cli.config import EvaluateConfig
from dsbs.core.errors import ConfigError, DataError, StudentError
from dsbs.core.records import Example
from dsbs.core.tracking import Tracking
from dsbs.evaluate import evaluate
from dsbs.objectives import OBJECTIVES
from dsbs.reporting.reading import FinishedRun, read_run
from dsbs.students import LogReg
from dsbs.tasks import TASKS
from dsbs.training.backends.sklearn import fit_features
from dsbs.training.compatibility import check_answers, combination_faults
from dsbs.training.notes import describe_losses
from dsbs.training.plan import prepare_run
from dsbs.training.settings import Validation

LOGREG = LogReg(name="logreg", C=[0.1, 1.0, 10.0], min_df=1)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let checkpoints name the task above."""
    monkeypatch.setitem(TASKS, "colours", Colours)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on triage."""
    return train_tiny(tmp_path_factory.mktemp("triage"), objective="finetune", student=LOGREG)


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on colours."""
    return train_tiny(tmp_path_factory.mktemp("colours"), Colours(), "finetune", LOGREG)


def test_its_metrics_have_the_keys_of_every_run(colours: Path, tmp_path: Path) -> None:
    metrics = json.loads((colours / "metrics.json").read_text())
    other = json.loads((train_tiny(tmp_path, objective="finetune") / "metrics.json").read_text())
    assert metrics.keys() == other.keys()
    assert metrics["test"] == {"accuracy": 1.0, "examples": 12}
    assert 0 < metrics["best_step"] <= metrics["steps"]
    assert metrics["parameters"] > 100
    assert metrics["size_bytes"] > (colours / "checkpoint" / "model.skops").stat().st_size


def test_the_report_reads_it(run: Path) -> None:
    found = read_run(run)
    assert isinstance(found, FinishedRun)
    assert found.fault is None


@pytest.mark.parametrize("below", ["", "checkpoint"])
def test_evaluation_finds_what_the_training_measured(run: Path, below: str, tmp_path: Path) -> None:
    figures = evaluate(EvaluateConfig(checkpoint=str(run / below), output=str(tmp_path / "test.parquet")))
    metrics = json.loads((run / "metrics.json").read_text())
    assert (figures["accuracy"], figures["examples"]) == (metrics["test"]["accuracy"], 16)
    assert pq.read_table(tmp_path / "test.parquet") == pq.read_table(run / "predictions.parquet")


def test_every_closed_answer_has_a_probability(run: Path) -> None:
    predictor = open_checkpoint(str(run)).load(8)
    for prediction in predictor.predict(list(small_triage().examples("test"))):
        assert sum(map(math.exp, (prediction.scores or {}).values())) == pytest.approx(1)
        assert prediction.confidence == pytest.approx(math.exp(prediction.score or 0))


def test_choices_that_come_with_an_input_are_the_ones_chosen_among(colours: Path) -> None:
    predictor = open_checkpoint(str(colours)).load(8)
    (one,) = predictor.predict([Example("1", "a redish thing", None, ("blue", "green", "violet"))])
    assert one.label in ("blue", "green")
    assert (one.scores or {})["violet"] == -math.inf
    with pytest.raises(DataError, match="knows none of the choices violet, brown"):
        predictor.predict([Example("1", "a redish thing", None, ("violet", "brown"))])


@pytest.mark.parametrize("taught", [("red", "green"), ("red",)])
def test_answers_that_were_never_taught_are_never_given(tmp_path: Path, taught: tuple[str, ...]) -> None:
    run = train_tiny(tmp_path, Colours(taught=taught), "finetune", LOGREG)
    rows = pq.read_table(run / "predictions.parquet").to_pylist()
    assert {row["label"] for row in rows} == set(taught)
    assert all(dict(row["scores"])["blue"] == -math.inf for row in rows)


def test_the_strength_that_is_best_on_validation_is_kept(tmp_path: Path) -> None:
    def accuracy(*strengths: float) -> float:
        student = LogReg(name="logreg", C=list(strengths), min_df=1)
        run = train_tiny(tmp_path / str(strengths), small_triage(), "finetune", student)
        return float(json.loads((run / "metrics.json").read_text())["validation"]["accuracy"])

    alone = [accuracy(C) for C in (0.01, 100.0)]
    assert accuracy(0.01, 100.0) >= max(alone)


def test_only_its_own_settings_decide_the_run(tmp_path: Path) -> None:
    folders = set()
    for steps in (4, 400):
        settings = plan_of(tmp_path, LOGREG)
        settings.training.max_steps = steps
        folders.add(prepare_run(settings).run.folder)
    settings = plan_of(tmp_path, LogReg(name="logreg", C=[1.0]))
    assert len(folders) == 1
    assert prepare_run(settings).run.folder not in folders


def plan_of(folder: Path, student: LogReg) -> Any:
    from dsbs.extraction.prompts import Prompt
    from dsbs.objectives import Finetune
    from dsbs.teachers import TEACHERS
    from dsbs.training.settings import TrainSettings

    return TrainSettings(
        task=Colours(),
        teacher=TEACHERS["handbook"](name="handbook"),
        prompt=Prompt(name="triage"),
        objective=Finetune(name="finetune"),
        student=student,
        tracking=Tracking(mode="disabled"),
        output_dir=str(folder),
    )


# What it refuses.


def test_it_does_not_write() -> None:
    (fault,) = combination_faults(LOGREG, OBJECTIVES["finetune"](name="finetune"), "generate")
    assert "decoding=generate: student=logreg has no decoder" in fault


@pytest.mark.parametrize(
    ("examples", "says"),
    [
        ([Example("1", "", "7")], "task=quiz has free answers"),
        ([Example("1", "", "a", ("a", "b")), Example("2", "", "c", ("c", "d"))], "task=quiz is multiple choice"),
    ],
)
def test_data_without_shared_closed_answers_is_refused_with_what_to_type(examples: list[Example], says: str) -> None:
    with pytest.raises(ConfigError, match=rf"{says}.*type .*student=t5_small"):
        check_answers(LOGREG, Colours(name="quiz"), examples)


@pytest.mark.parametrize(
    ("student", "key"),
    [
        (LogReg(C=[]), "student.C"),
        (LogReg(C=[1.0, 0.0]), "student.C"),
        (LogReg(max_iter=0), "student.max_iter"),
        (LogReg(char_ngrams=1), "student.char_ngrams"),
        (LogReg(word_ngrams=0), "student.word_ngrams"),
    ],
)
def test_settings_out_of_range_are_named(student: LogReg, key: str) -> None:
    (fault,) = student.faults()
    assert fault.startswith(key)


def test_inputs_without_a_word_in_common_say_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(StudentError, match=r"student\.min_df=1"):
        train_tiny(tmp_path, Colours(), "finetune", LogReg(name="logreg", min_df=1000))


# The file.


def test_a_file_that_names_other_types_builds_nothing(run: Path, tmp_path: Path) -> None:
    for old, new in (("DummyClassifier", "x"), ("LogisticRegression", "PassiveAggressiveClassifier")):
        with zipfile.ZipFile(run / "checkpoint" / "model.skops") as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        parts["schema.json"] = parts["schema.json"].replace(old.encode(), new.encode())
        strange = tmp_path / new
        strange.mkdir()
        with zipfile.ZipFile(strange / "model.skops", "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
        (strange / "config.json").write_bytes((run / "checkpoint" / "config.json").read_bytes())
    with pytest.raises(StudentError, match=r"contains types that no dsbs student has: .*PassiveAggressive"):
        open_checkpoint(str(strange)).load(8)


def test_the_card_says_how_to_use_it_without_dsbs(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = (colours / "checkpoint" / "README.md").read_text(encoding="utf-8")
    assert "library_name: sklearn" in card
    assert "| accuracy, test | 100.0% of 12 examples |" in card
    assert run_card(colours, monkeypatch, {"Your input.": "a greenish thing"}) == "green"


# Runs where neither is installed, in a process of its own.
WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "transformers", "datasets"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
sys.argv = ["train", "student=logreg", "objective=finetune", "task.train=60", "task.validation=10", "task.test=10",
            "tracking.mode=disabled"]
import dsbs.train, dsbs.evaluate, dsbs.predict
from pathlib import Path
dsbs.train.main()
(run,) = Path("outputs/train").glob("*/*/*/*/*")
from dsbs.cli.config import EvaluateConfig, PredictConfig
print(dsbs.evaluate.evaluate(EvaluateConfig(checkpoint=str(run)))["examples"])
import io
dsbs.predict.predict(PredictConfig(checkpoint=str(run), input="-"), io.BytesIO(b"My kettle leaks."), sys.stdout)
"""


def test_it_is_trained_evaluated_and_asked_without_torch(tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["label"] in {"refund", "replace", "repair", "escalate"}


def test_the_strength_is_chosen_on_some_of_validation_and_measured_on_all(tmp_path: Path) -> None:
    limited = train_tiny(tmp_path, Colours(), "finetune", LOGREG, validation=Validation(limit=3))
    metrics = json.loads((limited / "metrics.json").read_text())
    assert metrics["validation"]["examples"] == 12
    assert metrics["validation"]["chosen_on"]["examples"] == metrics["validation_examples"] == 3


def test_inputs_of_which_nothing_is_known_are_told(run: Path) -> None:
    predictor = open_checkpoint(str(run)).load(8)
    assert predictor.lost([Example("1", "I bought a kettle."), Example("2", "日本")]) == {
        "inputs": 2,
        "inputs_blank": 1,
    }
    counts = json.loads((run / "metrics.json").read_text())["counts"]
    assert (counts["inputs"], counts["inputs_blank"]) == (64, 0)
    assert describe_losses(small_triage(), counts | {"inputs_blank": 4}) == [
        "4 inputs of 64 examples without a known feature: the student guesses."
    ]


def test_texts_without_words_are_read_by_their_characters_and_texts_without_either_are_told(tmp_path: Path) -> None:
    student = LogReg(min_df=2)
    features = student.build_features(tmp_path)
    assert fit_features(features, ["\U0001f44d\U0001f44d !!", "\U0001f44e\U0001f44e !!"]).shape[0] == 2
    assert [name for name, _ in features.transformer_list] == ["characters"]
    with pytest.raises(StudentError, match=r"Try student\.min_df=1, or a student that reads any text"):
        fit_features(student.build_features(tmp_path), ["a", "b"])
