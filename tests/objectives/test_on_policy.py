"""GKD and MiniLLM: what the student learns from its own samples, against plain implementations and at their ends."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from objectives.steps import BUILDS, assert_same_however_cut, end_probabilities, loss_of_rows, rows_of, some_data
from objectives.test_teacher import save_as_run
from tiny import causal_folder, tiny_t5
from training.test_trainer import Stop

from dsbs.core.tracking import Tracker
from dsbs.objectives import GKD, Finetune, MiniLLM, SoftTargets
from dsbs.objectives.on_policy import OnPolicy
from dsbs.objectives.rewards import importance_weights, mean_returns
from dsbs.students.collator import Collator, Row
from dsbs.students.model import StudentModel
from dsbs.training.arguments import build_arguments
from dsbs.training.callbacks import build_callbacks
from dsbs.training.checkpointing import last_checkpoint
from dsbs.training.settings import Training
from dsbs.training.trainer import DistillationTrainer

CPU = torch.device("cpu")
KINDS = ("t5", "llama")
ON_POLICY: dict[str, type[OnPolicy]] = {"gkd": GKD, "minillm": MiniLLM}


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished runs with other weights than the students."""
    folder = tmp_path_factory.mktemp("teachers")
    return {kind: save_as_run(BUILDS[kind](seed=1), folder / kind) for kind in KINDS}


def prepared(objective: str, place: Path, student: StudentModel, **settings: Any) -> Any:
    fixed: dict[str, Any] = {"teacher_bf16": False, "max_new_tokens": 9}
    found = ON_POLICY[objective](
        name=objective, teacher_model=str(place), prefix_on=student.prefix_on, **(fixed | settings)
    )
    assert found.faults() == []
    found.prepare(student, CPU)
    return found


def rolled(objective: OnPolicy, student: StudentModel, count: int = 6, seed: int = 0) -> list[Row]:
    rows = rows_of(student, objective, some_data(count))
    draws = [np.random.default_rng([seed, 0, place]) for place in range(len(rows))]
    return objective.rollout(student, rows, draws, False)


def distributions(objective: OnPolicy, student: StudentModel, row: Row) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Return log p and log q [T, V] of a row's label on its own, nothing padded, and its token ids."""
    batch = Collator(student)([row])
    size = objective.teacher.vocabulary
    with torch.no_grad():
        q = student(batch["inputs"], batch["targets"])["label"][0, :, :size].log_softmax(-1)
        p = objective.teacher.student(batch["inputs"], batch["targets"])["label"][0, :, :size].log_softmax(-1)
    return p.double(), q.double(), next(ids for kind, _, ids, _ in row.targets if kind == "label")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_gkd_is_the_divergence_of_one_token_at_a_time(kind: str, beta: float, teachers: dict[str, Path]) -> None:
    student = BUILDS[kind]().eval()
    objective = prepared("gkd", teachers[kind], student, beta=beta, own_share=1.0)
    rows = rolled(objective, student)
    total, tokens = 0.0, 0
    for row in rows:
        p, q, ids = distributions(objective, student, row)
        for one, two in zip(p.exp().tolist(), q.exp().tolist(), strict=True):
            middle = [beta * x + (1 - beta) * y for x, y in zip(one, two, strict=True)]
            if beta == 0:
                total += sum(x * math.log(x / y) for x, y in zip(one, two, strict=True))
            elif beta == 1:
                total += sum(y * math.log(y / x) for x, y in zip(one, two, strict=True))
            else:
                total += beta * sum(x * math.log(x / m) for x, m in zip(one, middle, strict=True))
                total += (1 - beta) * sum(y * math.log(y / m) for y, m in zip(two, middle, strict=True))
        tokens += len(ids)
    loss, _ = loss_of_rows(student, objective, rows)
    assert loss.item() == pytest.approx(total / tokens, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_gkd_on_given_targets_is_a_live_teachers_soft_targets(kind: str, teachers: dict[str, Path]) -> None:
    student = BUILDS[kind]().eval()
    objective = prepared("gkd", teachers[kind], student, beta=0.0, own_share=0.0, temperature=2.0)
    soft = SoftTargets(
        name="soft_targets", source="teacher", teacher_model=str(teachers[kind]), teacher_bf16=False, soft_weight=1.0,
        temperature=2.0,
    )  # fmt: skip
    soft.prepare(student, CPU)
    rows = rolled(objective, student)
    assert rows == rows_of(student, objective, some_data(6))
    one, _ = loss_of_rows(student, objective, rows)
    two, _ = loss_of_rows(student, soft, rows)
    assert one.item() * 4 == pytest.approx(two.item(), rel=1e-4)  # soft targets are scaled by T^2


def test_a_share_of_the_targets_is_the_students_own(teachers: dict[str, Path]) -> None:
    student = tiny_t5().eval()
    given = rows_of(student, prepared("gkd", teachers["t5"], student), some_data(40))
    for share in (0.0, 0.3, 1.0):
        objective = prepared("gkd", teachers["t5"], student, own_share=share)
        own = sum(one != two for one, two in zip(rolled(objective, student, 40), given, strict=True))
        assert own == pytest.approx(40 * share, abs=7 if share == 0.3 else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_minillm_is_the_papers_loss_one_token_at_a_time(kind: str, teachers: dict[str, Path]) -> None:
    student = BUILDS[kind]().eval()
    alpha, clip = 0.3, 0.1
    objective = prepared("minillm", teachers[kind], student, teacher_share=alpha, clip=clip)
    rows = rolled(objective, student)
    single = long = 0.0
    tokens = 0
    for row in rows:
        p, q, ids = distributions(objective, student, row)
        chosen = [(float(p[place, id]), float(q[place, id])) for place, id in enumerate(ids)]
        rewards = [one - two for one, two in chosen]
        for place, (log_p, log_q) in enumerate(chosen):
            weight = math.exp(log_q) / (alpha * math.exp(log_p) + (1 - alpha) * math.exp(log_q))
            behind = rewards[place + 1 :]
            advantage = sum(behind) / len(behind) if behind else 0.0
            single += weight * float((q[place].exp() * (q[place] - p[place])).sum())
            long -= min(advantage * weight, advantage * min(max(weight, 1 - clip), 1 + clip))
            tokens += 1
    loss, terms = loss_of_rows(student, objective, rows)
    assert terms["single"] == pytest.approx(single / tokens, rel=1e-3)
    assert terms["long"] == pytest.approx(long / tokens, rel=1e-3, abs=1e-5)
    assert loss.item() == pytest.approx((single + long) / tokens, rel=1e-3)


def test_the_gradient_of_the_long_term_is_a_policy_gradient(teachers: dict[str, Path]) -> None:
    student = BUILDS["llama"]().eval()
    objective = prepared("minillm", teachers["llama"], student, teacher_share=0.0)
    rows = rolled(objective, student)
    batch = Collator(student)(rows)
    label = batch["targets"]["label"]
    taught = objective.teacher.logits(batch, ("label",))["label"]
    logits = student(batch["inputs"], batch["targets"])["label"]
    total, _ = objective._sample_terms(taught, logits, label)["long"]
    student.zero_grad()
    total.backward()
    found = [weight.grad.clone() for weight in student.parameters() if weight.grad is not None]
    student.zero_grad()
    by_hand = torch.zeros(())
    for row in rows:
        one = Collator(student)([row])
        q = student(one["inputs"], one["targets"])["label"][0, :, : taught.shape[-1]].log_softmax(-1)
        ids = row.targets[0][2]
        for place, id in enumerate(ids):
            by_hand = by_hand - row.signals["label"]["returns"][place] * q[place, id]
    by_hand.backward()
    for one, two in zip(found, (w.grad for w in student.parameters() if w.grad is not None), strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)


def test_a_student_that_is_its_own_teacher_has_nothing_to_learn(tmp_path: Path) -> None:
    for kind in KINDS:
        student = BUILDS[kind]().eval()
        place = save_as_run(student, tmp_path / kind)
        for name in ON_POLICY:
            objective = prepared(name, place, student)
            loss, _ = loss_of_rows(student, objective, rolled(objective, student))
            assert loss.item() == pytest.approx(0, abs=1e-5)


def test_returns_are_means_of_what_comes_behind_and_padding_adds_nothing() -> None:
    rewards = torch.tensor([[1.0, 2.0, 6.0, 100.0], [7.0, 100.0, 100.0, 100.0]])
    known = torch.tensor([[True, True, True, False], [True, False, False, False]])
    assert mean_returns(rewards, known).tolist() == [[4.0, 6.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    assert mean_returns(rewards[:, :3], known[:, :3]).tolist() == [[4.0, 6.0, 0.0], [0.0, 0.0, 0.0]]


def test_importance_weights_are_1_without_a_teacher_in_the_mixture_and_bounded_with_one() -> None:
    log_p, log_q = torch.log(torch.tensor([0.9, 1e-9, 0.2])), torch.log(torch.tensor([1e-9, 0.9, 0.2]))
    assert importance_weights(log_p, log_q, 0.0).tolist() == [1, 1, 1]
    found = importance_weights(log_p, log_q, 0.2)
    assert found.tolist() == pytest.approx([1e-9 / (0.2 * 0.9), 1 / 0.8, 1.0], rel=1e-4)


def test_what_a_return_is_made_of_is_a_number_without_gradients(teachers: dict[str, Path]) -> None:
    student = tiny_t5()
    objective = prepared("minillm", teachers["t5"], student)
    signals = rolled(objective, student)[0].signals["label"]
    assert set(signals) == {"importance", "returns", "log_q"}
    assert all(isinstance(number, float) for values in signals.values() for number in values)


def test_rewards_are_clipped(teachers: dict[str, Path]) -> None:
    student = tiny_t5().eval()
    objective = prepared("minillm", teachers["t5"], student, reward_clip=1e-3)
    for row in rolled(objective, student):
        assert all(abs(value) <= 1e-3 + 1e-9 for value in row.signals["label"]["returns"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ON_POLICY)
def test_however_a_step_is_cut_and_padded_it_is_the_same(name: str, kind: str, teachers: dict[str, Path]) -> None:
    student = BUILDS[kind]()
    settings = {"lm_weight": 0.5} if name == "minillm" else {"beta": 0.7}
    objective = prepared(name, teachers[kind], student, **settings)
    assert_same_however_cut(student, objective, rolled(objective, student))


def test_given_targets_are_learnt_beside_samples_on_request(teachers: dict[str, Path]) -> None:
    student = tiny_t5().eval()
    without = prepared("minillm", teachers["t5"], student)
    objective = prepared("minillm", teachers["t5"], student, lm_weight=0.5)
    one, _ = loss_of_rows(student, without, rolled(without, student))
    two, terms = loss_of_rows(student, objective, rolled(objective, student))
    assert two.item() == pytest.approx(one.item() + 0.5 * terms["given"], rel=1e-4)
    plain, _ = loss_of_rows(student, Finetune(), rows_of(student, Finetune(), some_data(6)))
    assert terms["given"] == pytest.approx(plain.item(), rel=1e-4)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal model as a hub has it, which writes on after an answer."""
    return causal_folder(tmp_path_factory.mktemp("hub") / "llama")


PROMPT = {"teacher_input": "{input}\\n"}
SETTINGS: dict[str, dict[str, Any]] = {"gkd": {"own_share": 1.0, "temperature": 2.0}, "minillm": {"teacher_share": 0.5}}


@pytest.mark.parametrize("name", ON_POLICY)
def test_samples_teach_no_end_where_the_teacher_writes_on(name: str, hub: Path) -> None:
    student = BUILDS["llama"]().eval()
    objective = prepared(name, hub, student, **PROMPT, **SETTINGS[name], max_new_tokens=60)
    rows = rolled(objective, student, 12)
    written: list[torch.Tensor] = []

    def keeping(*batch: Any) -> dict[str, torch.Tensor]:
        found = student(*batch)
        found["label"].retain_grad()
        written.append(found["label"])
        return found

    batch = Collator(student)(rows)
    counts = {term: torch.tensor(count) for term, count in objective.count(rows).items()}
    objective.loss(keeping, batch, counts)[0].backward()
    gradient = written[0].grad
    ends = batch["targets"]["label"]["labels"].eq(student.end_id)
    assert gradient is not None
    assert ends.any()
    assert gradient[..., student.end_id].abs().max() == 0
    assert gradient[ends].abs().max() == 0  # nor what would follow an end
    assert gradient[~ends].abs().max() > 0
    assert_same_however_cut(student, objective, rows)


def test_given_targets_teach_the_end_beside_samples(hub: Path) -> None:
    student = BUILDS["llama"]()
    objective = prepared("gkd", hub, student, **PROMPT)
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.01)
    for step in range(40):
        loss, _ = loss_of_rows(student, objective, rolled(objective, student, seed=step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    batch = Collator(student)(rows_of(student, objective, some_data()))
    assert end_probabilities(student, batch).min() > 0.8


def test_with_reasoning_the_rationale_stands_before_the_label(teachers: dict[str, Path]) -> None:
    student = tiny_t5()
    objective = prepared("gkd", teachers["t5"], student, reasoning=True)
    assert objective.needs_rationales
    [target] = objective.targets(*some_data(1)[0])
    assert target.text.startswith("it leaks So the answer is") or "So the answer is" in target.text


@pytest.mark.parametrize(
    ("objective", "settings", "key"),
    [
        ("gkd", {"own_share": 1.5}, "own_share"),
        ("gkd", {"beta": -0.1}, "beta"),
        ("gkd", {"sampling_temperature": 0.0}, "sampling_temperature"),
        ("gkd", {"max_new_tokens": 0}, "max_new_tokens"),
        ("minillm", {"teacher_share": 1.0}, "teacher_share"),
        ("minillm", {"clip": 0.0}, "clip"),
        ("minillm", {"lm_weight": -1.0}, "lm_weight"),
    ],
)
def test_settings_that_cannot_be_are_named(objective: str, settings: dict[str, Any], key: str) -> None:
    [fault] = ON_POLICY[objective](name=objective, teacher_model="somewhere", **settings).faults()
    assert f"objective.{key}=" in fault


def trainer_on(
    folder: Path, teacher: Path, name: str, patch: Any = None, dropout: float = 0.1, **changes: Any
) -> DistillationTrainer:
    """Return a trainer whose student samples in every step."""
    student = tiny_t5(dropout_rate=dropout)
    objective = prepared(name, teacher, student)
    rows = rows_of(student, objective, some_data(16))
    settings = {"max_steps": 4, "eval_steps": 1, "per_device_train_batch_size": 8, "warmup_steps": 0}
    arguments = build_arguments(Training(**(settings | {"logging_steps": 1} | changes)), 3, folder)
    callbacks = build_callbacks(Training(), Tracker())
    trainer = DistillationTrainer(student, objective, rows, lambda model: {"accuracy": 0.0}, arguments, callbacks)
    if patch:
        patch(trainer)
    return trainer


def losses(trainer: DistillationTrainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("name", ON_POLICY)
def test_a_run_that_was_killed_ends_as_if_nothing_had_been(
    name: str, teachers: dict[str, Path], tmp_path: Path
) -> None:
    whole = trainer_on(tmp_path / "whole", teachers["t5"], name)
    whole.train()
    cut = trainer_on(tmp_path / "cut", teachers["t5"], name)
    cut.add_callback(Stop(2))
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    again = trainer_on(tmp_path / "cut", teachers["t5"], name)
    again.train(last_checkpoint(tmp_path / "cut"))
    assert losses(again) == losses(whole)
    for one, two in zip(again.student.parameters(), whole.student.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", ON_POLICY)
def test_where_memory_runs_out_nothing_is_sampled_again_and_the_step_is_the_same(
    name: str, teachers: dict[str, Path], tmp_path: Path
) -> None:
    calls = {"rollouts": 0, "passes": 0}

    def count(trainer: DistillationTrainer, fails: bool) -> None:
        rollout, backward = trainer.method.rollout, trainer.accelerator.backward

        def counted(*arguments: Any) -> Any:
            calls["rollouts"] += 1
            return rollout(*arguments)

        def fail(loss: torch.Tensor, **kwargs: Any) -> None:
            backward(loss, **kwargs)
            calls["passes"] += 1
            if fails and calls["passes"] == 1:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        trainer.method.rollout = counted  # type: ignore[method-assign]
        trainer.accelerator.backward = fail  # type: ignore[method-assign]

    found = []
    for fails in (False, True):
        calls |= {"rollouts": 0, "passes": 0}
        trainer = trainer_on(
            tmp_path / str(fails), teachers["t5"], name, lambda one, fails=fails: count(one, fails), dropout=0.0,
            max_steps=1,
        )  # fmt: skip
        trainer.train()
        found.append(losses(trainer))
        assert calls["rollouts"] == 1
    assert calls["passes"] > 2
    assert found[1] == pytest.approx(found[0], abs=1e-4)
