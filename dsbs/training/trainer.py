"""A subclass of Hugging Face's trainer: several kinds of targets, counted apart, read by the objective."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    SchedulerType,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    TrainerState,
)
from transformers.training_args import OptimizerNames

from dsbs.core.distributed import gather
from dsbs.core.errors import ConfigError, RunError
from dsbs.core.tracking import Tracker
from dsbs.objectives.base import Objective
from dsbs.students.collator import Collator, Row
from dsbs.students.decoding import slow_bf16
from dsbs.students.loading import load_weights
from dsbs.students.memory import is_out_of_memory
from dsbs.students.model import KINDS, Batch, StudentModel
from dsbs.tasks.base import ACCURACY
from dsbs.training.callbacks import ProgressCallback
from dsbs.training.checkpointing import StopCallback, best_checkpoint
from dsbs.training.disk import writing
from dsbs.training.effort import Effort, read_history
from dsbs.training.fsdp import ShardingTrainer, prepare_sharding
from dsbs.training.rollouts import roll_out
from dsbs.training.samplers import LengthGroups, ProcessBatches
from dsbs.training.settings import Training
from dsbs.training.tokenized import RowFile

logger = logging.getLogger(__name__)
Validate = Callable[[StudentModel], dict[str, float]]
NEVER = 2**62  # no step is that late
WINDOW = 50  # steps whose mean loss tells whether a training diverges; single ones say little


def build_arguments(settings: Training, seed: int, folder: Path, metric: str = ACCURACY) -> Seq2SeqTrainingArguments:
    """Return Hugging Face's arguments for our settings; checkpoints go to ``folder``, the best is that with most of
    ``metric``.

    Raises:
        ConfigError: for what Hugging Face refuses: an unknown optimiser or schedule, bfloat16 where there is none.
    """
    prepare_sharding()
    try:
        arguments = Seq2SeqTrainingArguments(
            output_dir=str(folder),
            max_steps=settings.max_steps,
            learning_rate=settings.learning_rate,
            lr_scheduler_type=settings.lr_scheduler_type,
            lr_scheduler_kwargs=scheduler_kwargs(settings),
            warmup_steps=settings.warmup_steps,
            weight_decay=settings.weight_decay,
            adam_beta2=settings.adam_beta2,
            max_grad_norm=settings.max_grad_norm,
            per_device_train_batch_size=settings.per_device_train_batch_size,
            gradient_accumulation_steps=settings.gradient_accumulation_steps,
            per_device_eval_batch_size=settings.per_device_eval_batch_size,
            eval_strategy="steps",
            eval_steps=settings.eval_steps,
            save_strategy="steps",
            save_steps=settings.eval_steps,
            save_total_limit=settings.save_total_limit,
            load_best_model_at_end=True,
            restore_callback_states_from_checkpoint=True,  # the patience that is used up, for one
            metric_for_best_model=metric,
            greater_is_better=True,
            logging_steps=settings.logging_steps,
            logging_nan_inf_filter=False,
            optim=settings.optim,
            train_sampling_strategy=settings.train_sampling_strategy,
            bf16=settings.bf16,
            use_cpu=not torch.accelerator.is_available(),  # else bfloat16 is refused where there is no GPU
            seed=seed,
            data_seed=seed,
            disable_tqdm=True,
            report_to=[],
            remove_unused_columns=False,
            dataloader_pin_memory=torch.cuda.is_available(),
            label_names=["targets"],
        )
    except ValueError as error:
        raise ConfigError(
            f"One of training.optim={settings.optim}, training.lr_scheduler_type={settings.lr_scheduler_type} and "
            f"training.bf16={str(settings.bf16).lower()} cannot stand: {str(error).splitlines()[0]}"
        ) from None
    if settings.bf16 and slow_bf16():
        logger.warning(
            "training.bf16=true: this CPU has no bfloat16 arithmetic and imitates it, many times more slowly. Faster: "
            "training.bf16=false"
        )
    if arguments.n_gpu > 1:
        logger.warning(
            "This run uses one of %d GPUs. All of them: torchrun --nproc_per_node %d -m dsbs.train ...",
            arguments.n_gpu,
            arguments.n_gpu,
        )
        arguments._n_gpu = 1  # else the Trainer would cut batches up for threads (DataParallel)
    return arguments


def scheduler_kwargs(settings: Training) -> dict[str, Any]:
    """Return the keywords of the schedule; what a plateau is seen on is an accuracy, so more of it is better."""
    plateau = settings.lr_scheduler_type == SchedulerType.REDUCE_ON_PLATEAU
    return ({"mode": "max"} if plateau else {}) | dict(settings.lr_scheduler_kwargs)


class DistillationTrainer(ShardingTrainer):
    """Train a student on rows of one or more targets.

    Each term of the objective's loss is counted apart over all passes, micro-batches and processes of an optimiser
    step, so that it is a mean over its own count, such as the label's tokens, however the step is cut.
    """

    control: Any  # transformers' TrainerControl

    def __init__(
        self,
        student: StudentModel,
        objective: Objective,
        rows: RowFile | list[Row],
        validate: Validate,
        args: Seq2SeqTrainingArguments,
        callbacks: list[Any],
        tokens_per_pass: int | None = None,
    ) -> None:
        super().__init__(
            student,
            args=args,
            train_dataset=rows,
            # `validate` knows the real one; the Trainer only wants to see that there is one.
            eval_dataset=rows,
            collate=Collator(student),
            tokens_per_pass=tokens_per_pass,
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)  # ours tells what there is to tell
        # Our loss is divided by the counts of the whole step, so it must not be divided by the micro-batches again.
        self.loss_is_scaled_for_ga = True
        if objective.on_policy and self.is_fsdp_enabled:
            raise ConfigError(
                f"objective={objective.name} samples from the student, which is not offered for one that is sharded "
                "across processes (FSDP). Leave out --use_fsdp, or choose an objective that samples nothing."
            )
        self.rows = rows
        self.method = objective  # `objective` is the Trainer's own, for its searches
        self.validate = validate
        self.stopper = StopCallback()
        self.add_callback(self.stopper)
        self.progress = ProgressCallback()
        self.add_callback(self.progress)
        self.spoilt = torch.tensor(NEVER, device=args.device)  # the first step whose loss was no number
        self.effort = Effort()
        self.seconds_before = 0.0
        self._started = time.monotonic()
        self.train_seconds = 0.0

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.args.train_sampling_strategy == "random":
            return super()._get_train_sampler(train_dataset)
        assert isinstance(self.rows, RowFile)
        return LengthGroups(self.rows.lengths(), self.global_batch, self.args.seed)

    @property
    def global_batch(self) -> int:
        """Examples of an optimiser step, over all micro-batches and processes."""
        return self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size

    def get_train_dataloader(self) -> Any:
        """Return the loader of this process's part of every batch."""
        if self.args.world_size == 1:
            return super().get_train_dataloader()
        size = self.args.train_batch_size * self.args.world_size
        sampler = self._get_train_sampler(self.train_dataset)
        batches = ProcessBatches(sampler, size, self.args.process_index, self.args.world_size)
        pinned = self.args.dataloader_pin_memory
        dataset: Any = self.rows  # has what a loader asks for
        loader: DataLoader[Row] = DataLoader(
            dataset, batch_sampler=batches, collate_fn=self.data_collator, pin_memory=pinned
        )
        # For accelerate, which would cut the batches up once more, this is the loader of a single process.
        prepared = prepare_data_loader(
            loader, self.args.device, num_processes=1, process_index=0, put_on_device=True, rng_types=["generator"],
            use_seedable_sampler=True, data_seed=self.args.data_seed,
        )  # fmt: skip
        self.accelerator._dataloaders.append(prepared)
        return prepared

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, list[Row]]], device: torch.device
    ) -> dict[str, torch.Tensor]:
        """Count what the loss takes its means over, in all micro-batches and processes of an optimiser step."""
        self.taken = []
        if self.method.on_policy:
            student = self.accelerator.unwrap_model(self.model)
            roll_out(self.method, student, batch_samples, self.args.seed, self.state.global_step, self.args.bf16)
        rows = [row for batch in batch_samples for row in batch["rows"]]
        targets = [(kind, len(ids)) for row in rows for kind, _, ids, _ in row.targets if kind in KINDS]
        label_tokens = sum(tokens for kind, tokens in targets if kind == "label")
        seen = (len(rows), label_tokens, sum(tokens for _, tokens in targets))
        parts = {(kind, name) for row in rows for kind, name, _, _ in row.targets}
        found = gather([(seen, parts, self.method.count(rows))])
        self.effort.add(seen for seen, _, _ in found)
        self.parts = sorted({part for _, parts, _ in found for part in parts})
        counts = sum_counts([counts for _, _, counts in found])
        return {term: torch.tensor(float(count), device=device) for term, count in counts.items()}

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the objective's loss of a pass; summed over a step's passes it is the step's loss."""
        loss, terms = self.method.loss(model, inputs, num_items_in_batch)
        told = {term: torch.stack([*map(torch.as_tensor, pair)]).detach() for term, pair in terms.items()}
        self.told = self.told | {term: self.told.get(term, 0.0) + pair for term, pair in told.items()}
        step = torch.full_like(self.spoilt, self.state.global_step + 1)
        self.spoilt = torch.where(loss.detach().isfinite(), self.spoilt, torch.minimum(self.spoilt, step))
        # Gradients are averaged over processes, but the counts are those of all of them.
        loss = loss * self.accelerator.num_processes
        return (loss, None) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the mean of each term of the loss, and what a resumed run has to know."""
        if "loss" in logs:
            logs |= self._mean_terms()
            spoilt = int(self.accelerator.gather(self.spoilt.unsqueeze(0)).min())
            if spoilt != NEVER or not math.isfinite(logs["loss"]):
                raise self._diverged("The loss is no number", min(spoilt, self.state.global_step))
            losses = [entry["loss"] for entry in self.state.log_history if "loss" in entry] + [logs["loss"]]
            means = mean_losses(losses, math.ceil(WINDOW / self.args.logging_steps))
            if is_diverging(means):
                course = f"it began with {means[0]:.3g}, has been {min(means):.3g}, and is {means[-1]:.3g}"
                raise self._diverged(f"The loss diverges: {course}")
        logs |= self.effort.to_log()
        logs["seconds"] = round(self.seconds, 2)
        super().log(logs, start_time)

    def _mean_terms(self) -> dict[str, float]:
        """Return the mean of each term since the last log, over all processes."""
        found = gather([{term: pair.tolist() for term, pair in self.told.items()}])
        self.told = {}
        means = {}
        for term in sorted({term for part in found for term in part}):
            total, count = (
                sum(numbers) for numbers in zip(*(part[term] for part in found if term in part), strict=True)
            )
            if count:
                means[f"loss_{term}"] = round(total / count, 5)
        return means

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a resume included."""
        return self.seconds_before + time.monotonic() - self._started

    def _diverged(self, sign: str, step: int | None = None) -> RunError:
        return RunError(
            f"{sign} at step {step or self.state.global_step}. Likely causes: a learning rate that is too high "
            f"(training.learning_rate={self.args.learning_rate}; try a third of it), too few warm-up steps, or a "
            "broken input. The best checkpoint so far is kept."
        )

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train, or go on from a checkpoint."""
        if resume_from_checkpoint and self._recall(Path(str(resume_from_checkpoint))):
            self._load_best_model()
            self.train_seconds = self.seconds_before
            logger.info("The training finished before, at step %d; the test split is read.", self.state.global_step)
            return None
        if resume_from_checkpoint:
            logger.info("Resuming from %s.", Path(str(resume_from_checkpoint)).name)
        self._started = time.monotonic()
        try:
            with self.stopper.listening(), self.progress.showing():
                return super().train(resume_from_checkpoint, *args, **kwargs)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise RunError(
                f"Memory ran out at step {self.state.global_step + 1}, in the optimiser and not over a batch: "
                "student.lora.r=8 (a pretrained student), training.optim=adamw_bnb_8bit, several GPUs (FSDP: "
                "docs/training.md) or a smaller student."
            ) from error
        finally:
            self.train_seconds = self.seconds

    def account(self) -> dict[str, Any]:
        """Return what the training took, over all its resumes: seconds include evaluation, the speed does not."""
        steps = self.state.global_step
        best = self.state.best_model_checkpoint
        return {
            "steps": steps,
            "best_step": int(best.rsplit("-", 1)[1]) if best else steps,
            **self.effort.account(self.train_seconds, len(self.rows)),
            "history": read_history(self.state.log_history, str(self.args.metric_for_best_model)),
        }

    @contextmanager
    def at_last_step(self) -> Iterator[bool]:
        """Give the student the weights of its last step, and afterwards its best ones again; tell whether they differ.

        Nothing is done where the last step is the best, or where its checkpoint is gone.
        """
        last = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        best = best_checkpoint(last.parent, self.state)
        if best is None or last == best or not last.is_dir():
            yield False
            return
        load_weights(self.student, last)
        self.student.to(self.args.device)
        try:
            yield True
        finally:
            self._load_best_model()

    def _recall(self, checkpoint: Path) -> bool:
        """Go on counting seconds and target tokens from where the checkpoint stopped; tell whether it was the last.

        The Trainer itself would take one more step behind the last one, or behind the one where patience ended.
        """
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        for entry in state.log_history:
            self.effort.recall(entry)
            self.seconds_before = entry.get("seconds", self.seconds_before)
        best_checkpoint(checkpoint.parent, state)  # before hours are spent on what could not be ended
        over = bool(state.stateful_callbacks["TrainerControl"]["args"]["should_training_stop"])
        if over:
            self.state = state
        return over

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
        **gen_kwargs: Any,
    ) -> dict[str, float]:
        """Return what ``validate`` measures, in the form that the Trainer chooses its best checkpoint by.

        Raises:
            RunError: where weights are no numbers, before a checkpoint is made of them.
        """
        started = time.monotonic()
        with self.whole_student() as student:
            if not all(weight.isfinite().all() for weight in student.parameters()):
                raise self._diverged("Weights of the student are no numbers")
            metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.validate(student).items()}
        self.effort.evaluation_seconds += time.monotonic() - started
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Create the optimiser.

        Raises:
            ConfigError: where a package is missing that it needs, or does not work on this machine.
        """
        try:
            return super().create_optimizer(*args, **kwargs)
        except (ImportError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"training.optim={OptimizerNames(self.args.optim).value}: cannot be had here: {reason}"
            ) from error

    def create_scheduler(self, *args: Any, **kwargs: Any) -> Any:
        """Create the schedule of the learning rate.

        Raises:
            ConfigError: where it wants other keywords.
        """
        try:
            return super().create_scheduler(*args, **kwargs)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"training.lr_scheduler_type={SchedulerType(self.args.lr_scheduler_type).value} does not go with "
                f"training.lr_scheduler_kwargs={self.args.lr_scheduler_kwargs}: {str(error).splitlines()[0]}"
            ) from error

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        with writing(f"the checkpoint of step {self.state.global_step}", folder, remainder=folder):
            super()._save_checkpoint(model, trial)


def sum_counts(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the sums of what several processes counted, in one order in all of them.

    >>> sum_counts([{"label": 3.0}, {"rationale": 5.0, "label": 1.0}])
    {'label': 4.0, 'rationale': 5.0}
    """
    names = sorted({name for part in parts for name in part})
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}


def mean_losses(losses: Sequence[float], size: int) -> list[float]:
    """Return the means of so many losses each; those behind the last whole group do not count yet.

    >>> mean_losses([1.0, 3.0, 5.0, 7.0, 9.0], size=2)
    [2.0, 6.0]
    """
    return [sum(losses[end - size : end]) / size for end in range(size, len(losses) + 1, size)]


def is_diverging(losses: Sequence[float]) -> bool:
    """Tell whether the last two of some mean losses, in nats, say that a training is lost.

    Both are above the first one, twice the lowest one, and a nat: a student that knows less than it began with.

    >>> is_diverging([6.0, 2.5, 1.8, 6.9, 7.2])
    True
    >>> is_diverging([6.0, 2.5, 1.8, 6.9])  # a single one may be chance
    False
    >>> is_diverging([0.02, 0.01, 0.05, 0.06])  # little of little
    False
    """
    return len(losses) > 2 and min(losses[-2:]) > max(losses[0], 2 * min(losses), 1.0)


def checkpoint_activations(student: StudentModel) -> None:
    """Let the backward pass compute activations again instead of keeping them."""
    enable = getattr(student.model, "activation_checkpointing_enable", student.model.gradient_checkpointing_enable)
    enable({"use_reentrant": False})  # the other way fails where the inputs of a layer need no gradients, as in LoRA


def build_callbacks(settings: Training, tracker: Tracker) -> list[TrainerCallback]:
    """Return the trainer's callbacks that depend on settings: tracking, early stopping."""
    callbacks: list[TrainerCallback] = [TrackingCallback(tracker)]
    if settings.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(settings.early_stopping_patience))
    return callbacks


class TrackingCallback(TrainerCallback):
    """Log what the trainer logs, under W&B's sections ``train`` and ``validation``."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Pass on a log entry."""
        named = {
            (f"validation/{key[5:]}" if key.startswith("eval_") else f"train/{key}"): value
            for key, value in (logs or {}).items()
        }
        self.tracker.log(named, step=state.global_step)
