"""student=encoder: an encoder with a classification head, or one that scores choices, fitted by the same trainer."""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from quiz import Colours
from tiny import encoder_folder
from trained import run_card, train_tiny

from dsbs.cli.checkpoints import open_checkpoint
from dsbs.cli.config import EvaluateConfig
from dsbs.core.errors import StudentError
from dsbs.core.records import Annotation, Example, Target
from dsbs.evaluate import evaluate
from dsbs.objectives import Finetune, SoftTargets
from dsbs.serve import load_student as load_served
from dsbs.serving.service import Service
from dsbs.serving.settings import ServeConfig
from dsbs.students import Encoder
from dsbs.students.answering import DecodingConfig
from dsbs.students.classifier import APART, ClassifierModel, MultipleChoiceModel
from dsbs.students.collator import Collator, tokenize
from dsbs.students.loading import load_student
from dsbs.tasks import TASKS
from dsbs.tasks.answers import with_choices
from dsbs.training.compatibility import check_answers
from dsbs.training.settings import Training

COLOURS = ("red", "green", "blue")
TEXTS = [f"a {colour}ish thing, number {number}" for colour in COLOURS for number in range(9)] + [
    "red green blue violet"
]
TRAINING = Training(
    max_steps=80, eval_steps=40, learning_rate=1e-2, per_device_train_batch_size=16, warmup_steps=0, save_total_limit=1
)


@dataclass
class Pick(Colours):
    """Whoever sees which choice the input names knows the answer; each example has other choices."""

    kind: str = "pick"
    name: str = "pick"

    def examples(self, split: str) -> Iterator[Example]:
        for number, example in enumerate(super().examples(split)):
            kept = [colour for colour in COLOURS if colour == example.label or (number + len(colour)) % 2]
            choices = tuple(kept[number % 2 :] + kept[: number % 2])
            yield Example(example.id, with_choices(example.input, choices), example.label, choices)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let checkpoints name the tasks of these tests."""
    monkeypatch.setitem(TASKS, "colours", Colours)
    monkeypatch.setitem(TASKS, "pick", Pick)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    folder = encoder_folder(tmp_path_factory.mktemp("hub") / "encoder", TEXTS)
    return Encoder(name="encoder", model=str(folder), max_input_tokens=32)


@pytest.fixture(scope="module")
def run(student: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("colours"), Colours(), "finetune", student, training=TRAINING)


@pytest.fixture(scope="module")
def picked(student: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("pick"), Pick(), "finetune", student, training=TRAINING)


def test_it_learns_what_words_say(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test"] == {"accuracy": 1.0, "examples": 12}
    assert 1000 < metrics["target_tokens"] <= 80 * 16  # one of each example
    assert metrics["counts"]["inputs_cut"] == 0


@pytest.mark.parametrize("which", ["run", "picked"])
def test_a_checkpoint_answers_as_the_training_measured(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(which)
    figures = evaluate(EvaluateConfig(checkpoint=str(folder), output=str(tmp_path / "test.parquet"), batch_size=5))
    assert figures["accuracy"] == json.loads((folder / "metrics.json").read_text())["test"]["accuracy"]
    ours, theirs = (
        pq.read_table(file).to_pylist() for file in (tmp_path / "test.parquet", folder / "predictions.parquet")
    )
    assert [row["label"] for row in ours] == [row["label"] for row in theirs]
    assert [row["score"] for row in ours] == pytest.approx([row["score"] for row in theirs], abs=1e-4)


def test_the_scores_of_an_input_are_probabilities_over_its_choices(picked: Path) -> None:
    for row in pq.read_table(picked / "predictions.parquet").to_pylist():
        scores = dict(row["scores"])
        assert len(scores) in (1, 2, 3)
        assert sum(map(math.exp, scores.values())) == pytest.approx(1, abs=1e-4)
        assert row["confidence"] == pytest.approx(math.exp(row["score"]), abs=1e-4)


def test_it_learns_to_choose_among_choices_of_each_input(picked: Path) -> None:
    assert json.loads((picked / "metrics.json").read_text())["test"]["accuracy"] >= 0.9


def build(student: Encoder, choices: tuple[str, ...] | None) -> ClassifierModel:
    return student.prepare([], "target", 0, choices).eval()


def loss_of(model: ClassifierModel, objective: Any, pairs: list[tuple[Example, Annotation | None]]) -> float:
    """Return an objective's loss of some examples as one batch."""
    texts, targets = zip(*(model.reword(one, objective.targets(one, note)) for one, note in pairs), strict=True)
    rows, _ = tokenize(model, texts, targets, 32, 1)
    counts = {term: torch.tensor(float(count)) for term, count in objective.count(rows).items()}
    total, _ = objective.loss(model, Collator(model)(rows), counts)
    return float(total.detach())


def examples(choices: tuple[str, ...]) -> list[Example]:
    return [Example(str(number), f"a {choices[number]}ish thing", choices[number], choices) for number in range(2)]


@pytest.mark.parametrize("shared", [True, False])
def test_the_loss_is_the_cross_entropy_of_a_classifier(student: Encoder, shared: bool) -> None:
    model = build(student, COLOURS if shared else None)
    assert type(model) is (ClassifierModel if shared else MultipleChoiceModel)
    mine = examples(COLOURS)
    expected = [-(one.scores or {})[str(one.gold)] for one in model.rank(mine, DecodingConfig(max_input_tokens=32))]
    loss = loss_of(model, Finetune(name="finetune"), [(one, None) for one in mine])
    assert loss == pytest.approx(sum(expected) / 2, abs=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_soft_targets_are_matched_over_classes(student: Encoder, shared: bool) -> None:
    model = build(student, COLOURS if shared else None)
    mine = examples(COLOURS)
    votes = [{"red": 3, "green": 1}, {"green": 4}]
    scores = [one.scores or {} for one in model.rank(mine, DecodingConfig(max_input_tokens=32))]
    divergences = [
        sum(share * (math.log(share) - scores[number][name]) for name, share in shares.items())
        for number, shares in enumerate(({"red": 0.75, "green": 0.25}, {"green": 1.0}))
    ]
    notes = [Annotation(one.id, one.label, votes=vote) for one, vote in zip(mine, votes, strict=True)]
    loss = loss_of(model, SoftTargets(name="soft", soft_weight=1.0), list(zip(mine, notes, strict=True)))
    assert loss == pytest.approx(sum(divergences) / 2, abs=1e-4)


def test_an_input_scores_the_same_whatever_stands_beside_it(student: Encoder) -> None:
    model = build(student, None)
    few, many = Example("1", "a redish thing", None, ("red", "blue")), Example("2", "a thing " * 9, None, COLOURS)
    reading = DecodingConfig(max_input_tokens=32)
    (alone,) = model.rank([few], reading)
    together = model.rank([many, few], reading)[1]
    assert together.scores == pytest.approx(alone.scores, abs=1e-5)


def test_choices_are_read_behind_the_input_without_its_list(student: Encoder) -> None:
    model = build(student, None)
    example = Example("1", with_choices("a redish thing", ("red", "blue")), "blue", ("red", "blue"))
    text, targets = model.reword(example, [Target("label", "blue", 0.5)])
    assert targets == [Target("label", "1", 0.5)]
    (ids,) = model.encode_inputs([text], "label", 32)
    parts = model.tokenizer.decode([id for id in ids if id >= 0])
    assert parts == "[CLS] a redish thing [SEP] red [SEP] [CLS] a redish thing [SEP] blue [SEP]"


def test_long_inputs_lose_their_own_tokens_and_keep_the_choices(student: Encoder) -> None:
    model = build(student, None)
    (ids,) = model.encode_inputs([model.reword(Example("1", "thing " * 99, None, COLOURS), [])[0]], "label", 32)
    assert len(ids) == 3 * 32 + 2
    assert model.tokenizer.decode(ids[-2:]) == "blue [SEP]"
    worded, _ = model.reword(Example("2", "a thing", None, ("red thing " * 40, "blue")), [])
    (ids,) = model.encode_inputs([worded], "label", 32)  # a choice may leave the input no room
    assert [len(row) for row in (ids[: ids.index(APART)], ids[ids.index(APART) + 1 :])] == [32, 6]


def test_other_classes_are_other_rows(student: Encoder) -> None:
    assert build(student, COLOURS).row_identity != build(student, COLOURS[::-1]).row_identity


def test_a_label_that_is_no_class_is_named(student: Encoder) -> None:
    with pytest.raises(StudentError, match="'violet' is not one of the closed answers: red, green, blue"):
        build(student, COLOURS).encode_targets(["violet"])
    with pytest.raises(StudentError, match="example 1: 'violet' is not one of its choices: red, green, blue"):
        build(student, None).reword(Example("1", "", None, COLOURS), [Target("label", "violet")])


def test_multiple_choice_is_not_refused_and_free_answers_are(student: Encoder) -> None:
    check_answers(student, Pick(), Pick().examples("train"))
    with pytest.raises(Exception, match="has free answers"):
        check_answers(student, Pick(), [Example("1", "how many?", "7")])


def test_the_checkpoint_classifies_without_dsbs(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = (run / "checkpoint" / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: text-classification" in card
    assert run_card(run, monkeypatch, {"Your input.": "a greenish thing, number 4"}) == "green"


def test_the_checkpoint_chooses_without_dsbs(picked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a greenish thing, number 4"
    predictor = open_checkpoint(str(picked)).load(4)
    (ours,) = predictor.predict([Example("1", text, None, ("red", "green"))])
    words = {"Your input.": text, "one choice": "red", "another": "green"}
    assert run_card(picked, monkeypatch, words) == ours.label


def test_a_checkpoint_with_other_classes_than_its_head_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "checkpoint", tmp_path / "mine")
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    config["dsbs"]["choices"] = ["red", "green"]
    (tmp_path / "mine" / "config.json").write_text(json.dumps(config))
    with pytest.raises(StudentError, match="mine"):
        load_student(tmp_path / "mine")


def test_a_student_of_choices_of_each_input_is_served(picked: Path) -> None:
    served = load_served(ServeConfig(checkpoint=str(picked)))
    examples = [Example("1", "a redish thing", None, ("red", "blue")), Example("2", "a bluish thing", None, COLOURS)]
    assert [len(one.scores) for one in Service(served).answer(examples, rationale=False)] == [2, 3]
