"""The trainer: one optimiser step is the same however it is cut."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradients
import pytest
import torch
from forked import in_two_processes
from tiny import annotated, tiny_t5
from transformers import TrainerCallback

from dsbs.core.errors import ConfigError, RunError
from dsbs.core.tracking import Tracker
from dsbs.objectives import Finetune, StepByStep
from dsbs.students.collator import Collator, tokenize
from dsbs.students.model import StudentModel
from dsbs.training.arguments import build_arguments
from dsbs.training.callbacks import build_callbacks
from dsbs.training.checkpointing import last_checkpoint
from dsbs.training.settings import Training
from dsbs.training.trainer import LIKELIHOOD, DistillationTrainer


def assert_same_step(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert one["tokens"] == two["tokens"]
    assert one["gradients"].keys() == two["gradients"].keys()
    for name, gradient in one["gradients"].items():
        torch.testing.assert_close(two["gradients"][name], gradient, atol=1e-5, rtol=1e-5, msg=name)
    assert two["losses"]["loss"] == pytest.approx(one["losses"]["loss"], abs=1e-4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A step of one batch of 32."""
    return gradients.step(tmp_path_factory.mktemp("whole"), 32, 1)


def test_a_batch_of_32_is_four_micro_batches_of_8(whole: dict[str, Any], tmp_path: Path) -> None:
    assert_same_step(whole, gradients.step(tmp_path, 8, 4))


@pytest.mark.parametrize("tokens", [1, 100, 300])
def test_a_batch_of_32_is_a_number_of_passes(tokens: int, whole: dict[str, Any], tmp_path: Path) -> None:
    assert_same_step(whole, gradients.step(tmp_path, 32, 1, tokens_per_pass=tokens))


def test_gradient_checkpointing_changes_nothing_but_memory(whole: dict[str, Any], tmp_path: Path) -> None:
    assert_same_step(whole, gradients.step(tmp_path, 32, 1, checkpointing=True))


def without_memory(larger_than: int) -> Callable[[DistillationTrainer], None]:
    """Let memory run out over every pass of more rows, in the backward pass, when some gradients are there already."""

    def patch(trainer: DistillationTrainer) -> None:
        backward = trainer.accelerator.backward

        def fail(loss: torch.Tensor, **kwargs: Any) -> None:
            backward(loss, **kwargs)
            if trainer.rows_of_pass > larger_than:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

        collate = trainer.collate

        def count(rows: list[Any]) -> Any:
            trainer.rows_of_pass = len(rows)
            return collate(rows)

        trainer.collate, trainer.accelerator.backward = count, fail  # type: ignore[method-assign, assignment]

    return patch


@pytest.mark.parametrize(("batch", "accumulation"), [(32, 1), (8, 4)])
def test_where_memory_runs_out_the_step_is_the_same_in_smaller_passes(
    batch: int, accumulation: int, whole: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = gradients.step(tmp_path, batch, accumulation, patch=without_memory(larger_than=5))
    assert_same_step(whole, found)
    for kind in ("label", "rationale"):
        assert found["losses"][f"loss_{kind}"] == pytest.approx(whole["losses"][f"loss_{kind}"], abs=1e-4)
    assert f"training.tokens_per_pass={found['tokens_per_pass']} starts with that" in caplog.text


def test_where_memory_runs_out_later_in_a_step_what_was_lost_is_done_again(
    whole: dict[str, Any], tmp_path: Path
) -> None:
    def patch(trainer: DistillationTrainer) -> None:
        backward = trainer.accelerator.backward
        calls = iter(range(1000))

        def fail(loss: torch.Tensor, **kwargs: Any) -> None:
            backward(loss, **kwargs)
            if next(calls) == 2:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...")

        trainer.accelerator.backward = fail  # type: ignore[method-assign]

    assert_same_step(whole, gradients.step(tmp_path, 8, 4, patch=patch))


def test_memory_that_runs_out_over_one_example_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"a single example of \d+ tokens, at step 1.*gradient_checkpointing=true"):
        gradients.step(tmp_path, 32, 1, patch=without_memory(larger_than=0))


def test_so_it_is_with_the_prefix_on_the_input(tmp_path: Path) -> None:
    one = gradients.step(tmp_path / "one", 32, 1, "input")
    assert_same_step(one, gradients.step(tmp_path / "four", 8, 4, "input"))


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """What two processes leave behind, and the losses of a training by one that they took over after two steps."""
    folder = tmp_path_factory.mktemp("two")
    losses = gradients.train(folder / "begun by one", 32)
    for step in (3, 4):
        shutil.rmtree(folder / "begun by one" / f"checkpoint-{step}")
    in_two_processes(gradients.step_of_one_of_two, folder)
    return folder, losses


def test_a_batch_of_32_is_two_processes_of_16(whole: dict[str, Any], of_two: tuple[Path, list[float]]) -> None:
    assert_same_step(whole, torch.load(of_two[0] / "plain.pt"))
    assert_same_step(whole, torch.load(of_two[0] / "accumulated.pt"))  # in micro-batches, and those in passes


def test_so_is_the_last_step_of_an_epoch_whose_batch_is_smaller(
    of_two: tuple[Path, list[float]], tmp_path: Path
) -> None:
    for name, examples in gradients.EPOCHS.items():
        last = gradients.step(tmp_path / name, 32, 1, examples=examples, steps=2)
        assert_same_step(last, torch.load(of_two[0] / f"{name}.pt"))
        if name == "remainder":
            assert_same_step(last, torch.load(of_two[0] / "accumulated_remainder.pt"))


def test_a_run_goes_on_with_another_number_of_processes(of_two: tuple[Path, list[float]]) -> None:
    folder, losses = of_two
    assert len(losses) == 4
    assert torch.load(folder / "begun by one.pt") == pytest.approx(losses, abs=1e-3)
    for step in (3, 4):
        shutil.rmtree(folder / "begun by two" / f"checkpoint-{step}")
    assert gradients.train(folder / "begun by two", 32) == pytest.approx(losses, abs=1e-3)


def test_the_gradient_is_that_of_the_loss_worked_out_over_the_whole_step(whole: dict[str, Any]) -> None:
    student = tiny_t5()
    batch = Collator(student)(whole["rows"])
    logits = student(batch["inputs"], batch["targets"])
    means = {}
    for kind, target in batch["targets"].items():
        flat, labels = logits[kind].flatten(0, 1), target["labels"].flatten()
        means[kind] = torch.nn.functional.cross_entropy(flat, labels, ignore_index=-100)
    (0.3 * means["label"] + 0.7 * means["rationale"]).backward()
    for name, weight in student.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(whole["gradients"][name], weight.grad, atol=1e-5, rtol=1e-5, msg=name)
    assert whole["losses"]["loss_label"] == pytest.approx(means["label"].item(), abs=1e-4)
    assert whole["losses"]["loss_rationale"] == pytest.approx(means["rationale"].item(), abs=1e-4)


def test_label_and_rationale_tokens_are_counted_and_reported(whole: dict[str, Any]) -> None:
    tokens = sum(len(ids) for row in whole["rows"] for _, _, ids, _ in row.targets)
    assert whole["tokens"] == tokens


class Stop(TrainerCallback):
    """Stops a training behind a checkpoint, as Ctrl-C would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def stopped(trainer: DistillationTrainer, step: int) -> None:
    """Train up to a checkpoint."""
    trainer.add_callback(Stop(step))
    with pytest.raises(KeyboardInterrupt):
        trainer.train()


def trainer_on(
    folder: Path,
    accuracies: list[float] | None = None,
    student: StudentModel | None = None,
    likelihoods: list[float] | None = None,
    **changes: Any,
) -> DistillationTrainer:
    """Return a trainer of a tiny student whose validation measures what it is told."""
    student = student or tiny_t5()
    told, likely = iter(accuracies or []), iter(likelihoods or [])
    rows, _ = tokenize(
        student,
        [example.input for example, _ in annotated(8, set())],
        [Finetune().targets(example, None) for example, _ in annotated(8, set())],
        64,
        64,
    )
    settings = Training(
        **({"max_steps": 6, "eval_steps": 1, "per_device_train_batch_size": 4, "warmup_steps": 0} | changes)
    )
    return DistillationTrainer(
        student,
        Finetune(name="finetune"),
        rows,
        lambda model: {"accuracy": next(told, 0.0), **dict(zip([LIKELIHOOD], likely, strict=False))},
        build_arguments(settings, 0, folder),
        build_callbacks(settings, Tracker()),
    )


def test_training_stops_when_patience_is_used_up_and_the_best_weights_come_back(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path, [0.2, 0.5, 0.4, 0.3, 0.9], early_stopping_patience=2)
    trainer.train()
    account = trainer.account()
    assert (account["steps"], account["best_step"], trainer.state.best_metric) == (4, 2, 0.5)
    best = trainer_on(tmp_path / "other")
    best._load_from_checkpoint(str(tmp_path / "checkpoint-2"))
    for ours, theirs in zip(trainer.student.parameters(), best.student.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_of_checkpoints_with_the_same_score_the_one_of_more_probable_labels_is_best(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path, [0.2, 0.5, 0.5, 0.5, 0.4], likelihoods=[-0.1, -0.9, -0.3, -0.6, -0.1], max_steps=5)
    trainer.train()
    assert (trainer.account()["best_step"], trainer.state.best_metric) == (3, 0.5)
    unknown = trainer_on(tmp_path / "free", [0.5, 0.5], max_steps=2)  # answers behind a rationale
    unknown.train()
    assert unknown.account()["best_step"] == 1


def test_a_checkpoint_of_an_earlier_version_that_was_never_right_is_not_kept_as_the_best(tmp_path: Path) -> None:
    """It did not measure how probable generated answers are, and a run may be resumed from it."""
    trainer = trainer_on(tmp_path)
    found = {"eval_accuracy": 0.0, f"eval_{LIKELIHOOD}": -3.0}
    trainer.state.log_history = [{"step": 100, "eval_accuracy": 0.0}, {"step": 200, **found}]
    trainer.state.best_metric, trainer.state.best_global_step, trainer.state.global_step = 0.0, 100, 200
    assert trainer._determine_best_metric(found, None)
    assert trainer.state.best_global_step == 200


def test_while_nothing_is_right_patience_is_not_used_up_and_the_last_checkpoint_is_best(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path, [0.0, 0.0, 0.0, 0.1, 0.1, 0.0], early_stopping_patience=2)
    trainer.train()
    assert (trainer.account()["steps"], trainer.account()["best_step"]) == (6, 4)
    nothing = trainer_on(tmp_path / "nothing", early_stopping_patience=1, max_steps=3)
    nothing.train()
    assert (nothing.account()["steps"], nothing.account()["best_step"]) == (3, 3)


def test_a_resumed_run_knows_how_probable_the_labels_were(tmp_path: Path) -> None:
    stopped(trainer_on(tmp_path, [0.5, 0.5], likelihoods=[-0.3, -0.6]), 2)
    again = trainer_on(tmp_path, [0.5, 0.5], likelihoods=[-0.4, -0.2], max_steps=4)
    again.train(last_checkpoint(tmp_path))
    assert again.account()["best_step"] == 4


def test_a_resumed_run_has_used_up_the_same_patience(tmp_path: Path) -> None:
    stopped(trainer_on(tmp_path, [0.5, 0.4], early_stopping_patience=2), 2)
    again = trainer_on(tmp_path, [0.3, 0.9], early_stopping_patience=2)
    again.train(last_checkpoint(tmp_path))
    assert again.account()["steps"] == 3
    assert again.account()["best_step"] == 1
    assert again.account()["example_visits"] == 12  # it goes on counting
    assert again.seconds_before > 0


def test_a_run_whose_patience_had_ended_does_not_go_on(tmp_path: Path) -> None:
    first = trainer_on(tmp_path, [0.5, 0.4, 0.3], early_stopping_patience=2)
    first.train()
    again = trainer_on(tmp_path, [0.9, 0.9], early_stopping_patience=2)
    again.train(last_checkpoint(tmp_path))
    for key in ("steps", "best_step", "target_tokens"):
        assert again.account()[key] == first.account()[key]
    for ours, theirs in zip(again.student.parameters(), first.student.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_fewer_steps_than_an_interval_are_validated_at_the_end(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path, [0.7], max_steps=2, eval_steps=100)
    trainer.train()
    assert (trainer.state.best_metric, trainer.account()["best_step"]) == (0.7, 2)


def test_a_loss_that_is_no_number_names_likely_causes(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path, logging_steps=1)
    with torch.no_grad():
        next(trainer.student.parameters()).fill_(float("nan"))
    with pytest.raises(RunError, match=r"The loss is NaN or infinite at step 1\..*training\.learning_rate"):
        trainer.train()


class Spoil(TrainerCallback):
    """Multiplies the embeddings by something before a step."""

    def __init__(self, student: StudentModel, step: int, factor: float) -> None:
        self.student, self.step, self.factor = student, step, factor

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step + 1 == self.step:
            with torch.no_grad():
                self.student.model.get_input_embeddings().weight.mul_(self.factor)


def test_the_step_is_named_whose_loss_was_the_first_that_is_no_number(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path, logging_steps=5, eval_steps=2)
    trainer.add_callback(Spoil(trainer.student, 3, float("inf")))
    with pytest.raises(RunError, match=r"NaN or infinit.* at step [34]\.") as told:
        trainer.train()
    assert "The best checkpoint so far is kept." in str(told.value)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")


def test_a_loss_that_grows_beyond_where_it_began_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsbs.training.divergence.WINDOW", 1)
    trainer = trainer_on(tmp_path, logging_steps=1, learning_rate=1e-5)
    trainer.add_callback(Spoil(trainer.student, 3, 100.0))
    with pytest.raises(RunError, match=r"The loss diverges: it began with .* at step 4\..*training\.learning_rate"):
        trainer.train()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-3")


@pytest.mark.parametrize("changes", [{"optim": "adm"}, {"lr_scheduler_type": "linar"}])
def test_what_hugging_face_refuses_names_our_key(changes: dict[str, Any], tmp_path: Path) -> None:
    [(key, value)] = changes.items()
    with pytest.raises(ConfigError, match=rf"training\.{key}={value}.*is invalid: .*'?{value}'? is not a valid"):
        build_arguments(Training(**changes), 0, tmp_path)


@pytest.mark.parametrize(("steps", "told"), [(100, True), (50, True), (101, False)])
def test_a_warm_up_that_never_ends_is_reported(
    steps: int, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build_arguments(Training(max_steps=steps, warmup_steps=100), 0, tmp_path)
    assert told == (f"the learning rate stays below 0.001. Type training.warmup_steps={steps // 10}" in caplog.text)


def test_an_optimiser_whose_package_is_missing_names_our_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.optim=lomo: not available here: .*`lomo_optim`"):
        trainer_on(tmp_path, optim="lomo").train()


def test_memory_that_runs_out_in_the_optimiser_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(torch.optim.AdamW, "step", fail)
    with pytest.raises(RunError, match=r"Out of memory at step 1, in the optimizer.*student\.lora\.r=8"):
        trainer_on(tmp_path).train()


def test_a_plateau_is_one_of_the_accuracy(tmp_path: Path) -> None:
    def last_rate(name: str, accuracies: list[float]) -> float:
        kwargs = {"patience": 0, "factor": 0.5}
        trainer = trainer_on(
            tmp_path / name, accuracies, lr_scheduler_type="reduce_lr_on_plateau", lr_scheduler_kwargs=kwargs
        )
        trainer.train()
        return float(trainer.optimizer.param_groups[0]["lr"])

    assert last_rate("rising", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == 1e-3
    assert last_rate("falling", [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]) < 1e-4


def test_examples_per_second_are_those_that_were_there(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path, per_device_train_batch_size=100, max_steps=2)
    trainer.train()
    trainer.train_seconds, trainer.effort.evaluation_seconds = 3.0, 2.0
    account = trainer.account()
    assert (account["example_visits"], account["epochs"]) == (16, 2)  # 8 examples, twice
    assert account["examples_per_second"] == 16  # without the time of the evaluations
    assert 0 < account["label_tokens"] <= account["target_tokens"]
    assert all(entry["step"] for entry in account["history"])


def test_a_schedule_with_a_decay_ends_at_nothing(tmp_path: Path) -> None:
    trainer = trainer_on(
        tmp_path,
        max_steps=4,
        warmup_steps=0,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": 2, "decay_type": "linear"},
        logging_steps=1,
    )
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 5e-4])
    assert not any(trainer.lr_scheduler.get_last_lr())


@pytest.mark.parametrize("kwargs", [{}, {"num_decay_steps": 1, "decay": "linear"}])
def test_what_a_schedule_does_not_know_or_misses_is_named(kwargs: dict[str, Any], tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path, warmup_steps=0, lr_scheduler_type="warmup_stable_decay", lr_scheduler_kwargs=kwargs)
    with pytest.raises(ConfigError, match=r"training\.lr_scheduler_type=warmup_stable_decay does not match"):
        trainer.train()


def test_ten_comes_after_nine(tmp_path: Path) -> None:
    trainer_on(tmp_path, max_steps=10, save_total_limit=10).train()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    state = json.loads((tmp_path / "checkpoint-10" / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["global_step"] == 10


def test_alpha_1_learns_labels_alone_and_alpha_0_rationales_alone() -> None:
    data = annotated(4, {0, 2})
    for alpha, kind in ((1.0, "label"), (0.0, "rationale")):
        found = []
        for name in ("label", "rationale"):
            student, objective = tiny_t5(), StepByStep(alpha=alpha)
            targets = [objective.targets(example, annotation) for example, annotation in data]
            batch = Collator(student)(tokenize(student, [e.input for e, _ in data], targets, 64, 64)[0])
            counts = {key: torch.tensor(10) for key in batch["targets"]}
            logits = student(batch["inputs"], batch["targets"])
            for other in logits:
                if other != name:
                    logits[other] = logits[other].detach()
            loss, _ = objective.loss(lambda *_, logits=logits: logits, batch, counts)
            loss.backward()
            found.append(sum(float(w.grad.abs().sum()) for w in student.parameters() if w.grad is not None) > 0)
        assert found == [kind == "label", kind == "rationale"]


@pytest.mark.skipif(torch.accelerator.is_available(), reason="bfloat16 on a CPU")
def test_bfloat16_trains_on_a_cpu_and_one_that_only_imitates_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dsbs.training.arguments.slow_bf16", lambda: True)
    trainer = trainer_on(tmp_path, max_steps=1, bf16=True)
    trainer.train()
    assert trainer.account()["steps"] == 1
    assert "training.bf16=true: this CPU has no bfloat16 arithmetic" in caplog.text
