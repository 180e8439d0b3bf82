"""Soft targets over the closed answers, against a slow plain implementation and fine-tuning at the ends."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from objectives.steps import Data, assert_same_however_cut, loss_of, rows_of, tiny_llama
from tiny import annotated, tiny_t5

from dsbs.core.errors import ConfigError
from dsbs.core.records import Annotation, Example
from dsbs.objectives import Finetune, SoftTargets, StepByStep
from dsbs.objectives.closed_answers import group_answers
from dsbs.objectives.divergences import DIVERGENCES, FLOOR, Divergence
from dsbs.students.collator import Collator
from dsbs.students.model import StudentModel
from dsbs.training.plan import check_choices
from dsbs.training.settings import TrainSettings


def voted() -> Data:
    """Examples with votes, one without an annotation, one whose choices are fewer."""
    votes = [{"refund": 4}, {"replace": 3, "refund": 1}, {"repair": 2, "refund": 1, "escalate": 1}]
    data: Data = [
        (example, replace(annotation or Annotation(example.id), votes=votes[number % 3]))
        for number, (example, annotation) in enumerate(annotated(5, {0, 2}))
    ]
    few = replace(data[3][0], choices=("escalate", "refund"))
    return [*data[:3], (few, data[3][1]), (data[4][0], None)]


def plainly(student: StudentModel, objective: SoftTargets, data: Data) -> dict[str, float]:
    """Return the terms, one answer and one token at a time."""
    soft, nll, tokens = [], 0.0, 0

    def score(text: str, answer: str) -> tuple[float, int]:
        row = rows_of(student, Finetune(), [(Example("1", text, answer), None)])
        batch = Collator(student)(row)
        logits = student(batch["inputs"], batch["targets"])["label"][0]
        ids = row[0].targets[0][2]
        return sum(float(logits[place].log_softmax(-1)[id]) for place, id in enumerate(ids)), len(ids)

    for example, annotation in data:
        own, length = score(example.input, example.label or "")
        nll, tokens = nll - own, tokens + length
        if annotation is None:
            continue
        names = list(dict.fromkeys([example.label or "", *(example.choices or ())]))
        given = [(annotation.votes or {}).get(name, 0) + objective.smoothing for name in names]
        p = [number ** (1 / objective.temperature) for number in given]
        q = [math.exp(score(example.input, name)[0] / objective.temperature) for name in names]
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        if objective.divergence == "forward_kl":
            soft.append(sum(x * math.log(x / y) for x, y in zip(p, q, strict=True) if x))
        else:
            soft.append(sum(y * math.log(y / x) for x, y in zip(p, q, strict=True)))
    return {"soft": sum(soft) / len(soft), "label": nll / tokens}


@pytest.mark.parametrize("build", [tiny_t5, tiny_llama])
@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 2.0, "soft_weight": 0.3}, {"divergence": "reverse_kl", "smoothing": 0.5, "temperature": 0.7}],
)
def test_the_terms_are_those_of_one_answer_at_a_time(build: Any, settings: dict[str, Any]) -> None:
    student, objective = build("target").requires_grad_(False), SoftTargets(**settings)
    loss, terms = loss_of(student, objective, voted())
    expected = plainly(student, objective, voted())
    assert terms["soft"] == pytest.approx(expected["soft"], rel=1e-4, abs=1e-5)
    assert terms["label"] == pytest.approx(expected["label"], rel=1e-4)
    weight = objective.soft_weight
    by_hand = weight * objective.temperature**2 * expected["soft"] + (1 - weight) * expected["label"]
    assert loss.item() == pytest.approx(by_hand, rel=1e-4)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_however_a_step_is_cut_and_padded_it_is_the_same(name: str) -> None:
    student = tiny_t5()
    objective = SoftTargets(divergence=name, smoothing=0.1, rationales=True)
    assert_same_however_cut(student, objective, rows_of(student, objective, voted()))


def test_without_weight_it_is_fine_tuning_and_with_rationales_step_by_step() -> None:
    student = tiny_t5()
    plain, _ = loss_of(student, Finetune(), voted())
    assert loss_of(student, SoftTargets(soft_weight=0.0), voted())[0].item() == pytest.approx(plain.item(), abs=1e-5)
    both, _ = loss_of(student, StepByStep(alpha=0.3), voted())
    found, _ = loss_of(student, SoftTargets(soft_weight=0.0, rationales=True, alpha=0.3), voted())
    assert found.item() == pytest.approx(both.item(), abs=1e-5)


def test_answers_are_put_into_a_table_by_example() -> None:
    scores = torch.tensor([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0])
    table = group_answers(scores, torch.tensor([0.5, 0.5, 0.0, 1.0, 0.0, 0.0]), torch.tensor([0, 0, 0, 2, 5, 5]))
    assert table.scores.tolist() == [[-1, -2, -3], [-4, FLOOR, FLOOR], [-5, -6, FLOOR]]
    assert table.teacher(1.0).exp().tolist()[0] == pytest.approx([0.5, 0.5, 0.0])
    assert table.given.tolist() == [1, 0, 0]  # a single answer is no distribution, nor are answers without votes
    assert table.first.tolist() == [1, 0, 0, 1, 1, 0]


def test_a_step_without_votes_is_its_labels_alone() -> None:
    student, data = tiny_t5(), [(example, None) for example, _ in voted()]
    loss, terms = loss_of(student, SoftTargets(soft_weight=0.25), data)
    plain, _ = loss_of(student, Finetune(), data)
    assert loss.item() == pytest.approx(0.75 * plain.item(), abs=1e-5)
    assert terms["soft"] == 0


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"soft_weight": 1.1}, "soft_weight"),
        ({"temperature": 0.0}, "temperature"),
        ({"smoothing": -1.0}, "smoothing"),
        ({"divergence": "kl"}, "divergence"),
        ({"divergence": "reverse_kl"}, "smoothing=0.1"),
        ({"divergence": "jsd", "beta": 1.0}, "smoothing=0.1"),
    ],
)
def test_settings_that_cannot_be_are_named(settings: dict[str, Any], key: str) -> None:
    [fault] = SoftTargets(name="soft_targets", **settings).faults()
    assert key in fault


def test_smoothing_that_does_nothing_is_refused_in_a_training_but_not_in_a_checkpoint() -> None:
    """Checkpoints of earlier versions may have it."""
    objective = SoftTargets(name="soft_targets", source="stored", smoothing=0.1)
    assert objective.faults() == []
    [fault] = [one for one in TrainSettings(objective=objective).faults() if "smoothing" in one]
    assert "only used with objective.source=votes or logprobs" in fault
    assert SoftTargets(name="soft_targets", smoothing=0.1).unused() == []


def test_a_task_without_closed_answers_is_told_before_anything_is_loaded() -> None:
    data: Any = SimpleNamespace(examples=lambda: iter([Example("7", "1 + 1?", "2")]))
    task = SimpleNamespace(name="svamp")
    settings = TrainSettings(task=task, objective=SoftTargets(name="soft_targets"))
    with pytest.raises(ConfigError, match=r"objective=soft_targets: example 7 of task svamp has no closed answers"):
        check_choices(settings, data)
    check_choices(TrainSettings(task=task, objective=Finetune(name="finetune")), data)


def test_an_answer_far_behind_in_a_ranking_keeps_reverse_kl_bounded() -> None:
    objective = SoftTargets(name="soft_targets", source="ranking", teacher_model="run", divergence="reverse_kl")
    objective.take_ranking({"1": {"no": -1.0, "yes": -300.0, "perhaps": -math.inf}})
    targets = objective.targets(Example("1", "Is fire cold?", "no", ("no", "yes", "perhaps")), None)
    weights = torch.tensor([target.weight for target in targets])
    answers = group_answers(torch.tensor([-1.0, -1.5, -1.5]), weights, torch.zeros(3, dtype=torch.long))
    assert 0 < Divergence("reverse_kl")(answers.teacher(1.0), answers.student(1.0)).item() < 80
