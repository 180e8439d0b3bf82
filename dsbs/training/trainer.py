"""The subclass of Hugging Face's trainer that trains on several kinds of targets with the objective's loss."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, SchedulerType, Seq2SeqTrainingArguments, TrainerState
from transformers.training_args import OptimizerNames

from dsbs.core.distributed import gather, sum_counts
from dsbs.core.errors import ConfigError, RunError
from dsbs.objectives.base import Objective
from dsbs.students.collator import Collator, Row
from dsbs.students.loading import load_weights
from dsbs.students.memory import is_out_of_memory
from dsbs.students.model import Batch, StudentModel
from dsbs.students.prefixes import KINDS
from dsbs.training.callbacks import ProgressCallback
from dsbs.training.checkpointing import StopCallback, best_checkpoint
from dsbs.training.disk import writing
from dsbs.training.divergence import DivergenceMonitor
from dsbs.training.effort import Effort, read_history
from dsbs.training.fsdp import ShardingTrainer
from dsbs.training.rollouts import roll_out
from dsbs.training.tokenized import RowFile

logger = logging.getLogger(__name__)
Validate = Callable[[StudentModel], dict[str, float]]
LIKELIHOOD = "log_probability"  # of validation's labels, a mean: the better of checkpoints with the same score


class DistillationTrainer(ShardingTrainer):
    """Trains a student on rows of one or more targets.

    Each term of the objective's loss is a mean over its own count, such as the label's tokens, taken over all passes,
    microbatches and processes of an optimizer step. So the step does not depend on how it is split.
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
        self.remove_callback(PrinterCallback)  # `ProgressCallback` takes its place
        # Our loss is divided by the counts of the whole step, so it must not be divided by the microbatches again.
        self.loss_is_scaled_for_ga = True
        if objective.on_policy and self.is_fsdp_enabled:
            raise ConfigError(
                f"objective={objective.name} samples from the student, which is not supported for one that is sharded "
                "across processes (FSDP). Drop --use_fsdp, or choose an objective without sampling."
            )
        self.rows = rows
        self.method = objective  # `objective` is the Trainer's own, for its searches
        self.validate = validate
        self.stopper = StopCallback()
        self.add_callback(self.stopper)
        self.progress = ProgressCallback()
        self.add_callback(self.progress)
        self.divergence = DivergenceMonitor(args.device, args.learning_rate, args.logging_steps)
        self.effort = Effort()
        self.seconds_before = 0.0
        self._started = time.monotonic()
        self.train_seconds = 0.0

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, list[Row]]], device: torch.device
    ) -> dict[str, torch.Tensor]:
        """Return the counts that loss terms are divided by, over all microbatches and processes of the step."""
        self.microbatches = []
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
        """Return the objective's loss of a pass; the sum over a step's passes is the step's loss."""
        loss, terms = self.method.loss(model, inputs, num_items_in_batch)
        sums = {term: torch.stack([*map(torch.as_tensor, pair)]).detach() for term, pair in terms.items()}
        self.log_sums = self.log_sums | {term: self.log_sums.get(term, 0.0) + pair for term, pair in sums.items()}
        self.divergence.update(loss, self.state.global_step + 1)
        # Gradients are averaged over processes, but the counts are those of all of them.
        loss = loss * self.accelerator.num_processes
        return (loss, None) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log an entry with the mean of each term of the loss and the counts that a resumed run needs.

        Raises:
            RunError: the training has diverged.
        """
        if "loss" in logs:
            logs |= self._mean_terms()
            bad_step = int(self.accelerator.gather(self.divergence.bad_step.unsqueeze(0)).min())
            losses = [entry["loss"] for entry in self.state.log_history if "loss" in entry] + [logs["loss"]]
            self.divergence.check(losses, bad_step, self.state.global_step)
            logs["tokens_per_second"] = self.effort.speed(self.seconds)
        logs |= self.effort.to_log()
        logs["seconds"] = round(self.seconds, 2)
        super().log(logs, start_time)

    def _mean_terms(self) -> dict[str, float]:
        """Return the mean of each loss term since the last log, over all processes."""
        found = gather([{term: pair.tolist() for term, pair in self.log_sums.items()}])
        self.log_sums = {}
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
        """Seconds of training, over all resumes."""
        return self.seconds_before + time.monotonic() - self._started

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train, or resume from a checkpoint; does nothing but load the best weights where that was the last.

        Raises:
            RunError: out of memory, or diverged.
        """
        if resume_from_checkpoint and self._restore(Path(str(resume_from_checkpoint))):
            self._load_best_model()
            self.train_seconds = self.seconds_before
            logger.info("Training is finished already, at step %d; reading the test split.", self.state.global_step)
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
                f"Out of memory at step {self.state.global_step + 1}, in the optimizer, not on a batch. Try "
                "student.lora.r=8 (a pretrained student), training.optim=adamw_bnb_8bit, several GPUs (FSDP: "
                "docs/training.md) or a smaller student."
            ) from error
        finally:
            self.train_seconds = self.seconds

    def account(self) -> dict[str, Any]:
        """Return the account of the training, over all resumes; see ``dsbs.training.backends.base.Fitted``."""
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
        """Load the weights of the last step within the context, then the best ones again; yield whether they differ.

        Yields False, and loads nothing, where the last step is the best, or its checkpoint is gone.
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

    def _restore(self, checkpoint: Path) -> bool:
        """Restore the counts from a checkpoint; return whether the training ended with it.

        The Trainer would take one more step after the last one, or after an early stop.
        """
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        for entry in state.log_history:
            self.effort.restore(entry)
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
        """Return the metrics of ``validate``, named so that the Trainer chooses its best checkpoint by them.

        Raises:
            RunError: a weight is NaN or infinite; raised before a checkpoint is saved.
        """
        started = time.monotonic()
        with self.whole_student() as student:
            if not all(weight.isfinite().all() for weight in student.parameters()):
                raise self.divergence.diverged("The student's weights contain NaN or infinity", self.state.global_step)
            metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.validate(student).items()}
        self.effort.evaluation_seconds += time.monotonic() - started
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Return whether this checkpoint is the best so far; of equal scores, the one of more probable labels is.

        On few examples many checkpoints have the same score, the first ones of a training among them: where answers are
        generated, all may have 0. Where their probability is unknown, the last one with 0 is the best so far; where it
        is known, checkpoints of earlier versions, which did not measure it, come behind.
        """
        key, likely, state = f"eval_{self.args.metric_for_best_model}", f"eval_{LIKELIHOOD}", self.state
        found = {
            one["step"]: (one[key], one.get(likely, -math.inf if likely in metrics else 0 if one[key] else one["step"]))
            for one in state.log_history
            if key in one
        }
        better = state.best_global_step is None or found[state.global_step] > found[state.best_global_step]
        if better:
            state.best_metric, state.best_global_step = metrics[key], state.global_step
        return better

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Create the optimizer.

        Raises:
            ConfigError: it needs a package that is missing or does not work on this machine.
        """
        try:
            return super().create_optimizer(*args, **kwargs)
        except (ImportError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"training.optim={OptimizerNames(self.args.optim).value}: not available here: {reason}"
            ) from error

    def create_scheduler(self, *args: Any, **kwargs: Any) -> Any:
        """Create the learning rate schedule.

        Raises:
            ConfigError: its keyword arguments are wrong.
        """
        try:
            return super().create_scheduler(*args, **kwargs)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"training.lr_scheduler_type={SchedulerType(self.args.lr_scheduler_type).value} does not match "
                f"training.lr_scheduler_kwargs={self.args.lr_scheduler_kwargs}: {str(error).splitlines()[0]}"
            ) from error

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        with writing(f"the checkpoint of step {self.state.global_step}", folder, remainder=folder):
            super()._save_checkpoint(model, trial)
