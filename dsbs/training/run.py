"""One training run from data to metrics: build, tokenise, fit, choose on validation, read test once, write."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from dsbs.core.distributed import count_processes, gather, is_main, main_first, rank
from dsbs.core.errors import RunError, StudentError
from dsbs.core.fingerprint import fingerprint
from dsbs.core.records import Example, Prediction
from dsbs.core.tracking import Tracker
from dsbs.data.join import RunData
from dsbs.inference.checkpoint import remember
from dsbs.inference.model_card import write_card
from dsbs.students.model import StudentModel
from dsbs.tasks.base import Task
from dsbs.training.checkpointing import last_checkpoint, writing
from dsbs.training.microbatches import is_out_of_memory
from dsbs.training.recipe import Recipe
from dsbs.training.run_folder import Run, write_predictions
from dsbs.training.tokenized import RowFile, prepare_rows
from dsbs.training.trainer import DistillationTrainer, build_arguments, build_callbacks, checkpoint_activations

logger = logging.getLogger(__name__)


def train_run(
    recipe: Recipe, data: RunData, texts: Iterable[str], run: Run, described: dict[str, Any], tracker: Tracker
) -> dict[str, Any]:
    """Train, measure and write everything that a run leaves behind; ``metrics.json`` comes last.

    Args:
        recipe: what is trained, and how.
        data: what it learns from and is measured on.
        texts: the task's texts, for students that make their own tokenizer.
        run: the folder.
        described: the first fields of ``metrics.json``: task, student, objective, labels, teacher, fraction, seed.
        tracker: where metrics are logged.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        StudentError: where the student cannot be built, or its tokenizer cannot write the labels.
        RunError: where the training diverges.
    """
    import torch
    from transformers import set_seed
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # those of loading and saving weights; ours shows the training
    if recipe.training.threads:
        torch.set_num_threads(recipe.training.threads)
    arguments = build_arguments(recipe.training, recipe.seed, run.checkpoints)
    set_seed(recipe.seed)
    student = recipe.student.build(texts, recipe.objective.prefix_on, recipe.seed)
    student.settings = asdict(remember(recipe.task, recipe.objective, recipe.reading(), data.examples()))
    check_labels(student, recipe.task, data.examples())
    if recipe.training.gradient_checkpointing:
        checkpoint_activations(student)
    rows = main_first(lambda: tokenize_train(student, recipe, data, run))
    reader = Reader(recipe)

    def validate(model: StudentModel) -> dict[str, float]:
        predictions = reader.read(model, data.validation)
        return {"accuracy": sum(mark(predictions, recipe.task)) / len(predictions)}

    trainer = DistillationTrainer(
        student,
        recipe.objective,
        rows,
        validate,
        arguments,
        build_callbacks(recipe.training, tracker),
        recipe.training.tokens_per_pass,
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(run.checkpoints))
    return finish_run(recipe, data, run, described, trainer, reader.read(student, data.test), rows.cut())


def finish_run(
    recipe: Recipe,
    data: RunData,
    run: Run,
    described: dict[str, Any],
    trainer: DistillationTrainer,
    predictions: list[Prediction],
    cut: dict[str, int],
) -> dict[str, Any]:
    """Write the student, its answers to the test split and its card; return the metrics, which are written last."""
    correct = mark(predictions, recipe.task)
    metrics = {
        **described,
        "train_examples": len(data.train),
        "validation_examples": len(data.validation),
        **trainer.account(),
        "validation": {"accuracy": trainer.state.best_metric, "examples": len(data.validation)},
        "test": {"accuracy": sum(correct) / len(correct), "examples": len(correct)},
        "counts": {**data.counts, **cut},
    }
    if is_main():
        with writing("the student and its predictions", run.folder):
            trainer.student.save(run.checkpoint)
            write_predictions(run.folder / "predictions.parquet", predictions, correct)
            write_card(run.checkpoint, run.manifest_path, metrics)
            run.finish(metrics)
    return metrics


class Reader:
    """Reads a student's answers; processes share the examples. Where memory runs out, smaller batches are read."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.reading = recipe.reading()

    def read(self, student: StudentModel, examples: Sequence[Example]) -> list[Prediction]:
        """Return the student's answers to examples, in their order."""
        found = gather(self._read(student, examples[rank() :: count_processes()]))
        by_id = {prediction.id: prediction for prediction in found}
        return [by_id[example.id] for example in examples]

    def _read(self, student: StudentModel, examples: Sequence[Example]) -> list[Prediction]:
        while True:
            try:
                return self.recipe.objective.read(student, examples, self.recipe.task.answers, self.reading)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self.reading.batch_size == 1:
                    raise RunError(
                        "Memory ran out over the answer to a single example. Set student.max_input_tokens or "
                        "student.max_new_tokens smaller, or choose another student."
                    ) from error
            self.reading = replace(self.reading, batch_size=self.reading.batch_size // 2)
            logger.warning(
                "Memory ran out while answers were read; training.per_device_eval_batch_size is %d from here on.",
                self.reading.batch_size,
            )


def mark(predictions: Iterable[Prediction], task: Task) -> list[bool]:
    """Return which predictions are right; no answer is wrong."""
    return [task.answers.equivalent(prediction.label, prediction.gold) for prediction in predictions]


def tokenize_train(student: StudentModel, recipe: Recipe, data: RunData, run: Run) -> RowFile:
    """Return the rows to train on."""
    identity = recipe.objective.identity()
    with writing("the tokenised examples", run.cache):
        return prepare_rows(
            student,
            ((example.input, recipe.objective.targets(example, annotation)) for example, annotation in data.train),
            len(data.train),
            fingerprint([data.train.digest, identity], length=16),
            recipe.student.max_input_tokens,
            recipe.student.max_target_tokens,
            run.cache,
        )


def check_labels(student: StudentModel, task: Task, examples: Iterable[Example]) -> None:
    """Check that every label survives the tokenizer: written, read back, it is still the same answer.

    Raises:
        StudentError: naming those that do not.
    """
    choices_of: dict[str, tuple[str, ...] | None] = {}
    for example in examples:
        for label in (example.label, *(example.choices or ())):
            if label is not None:
                choices_of.setdefault(label, example.choices)
    labels = list(choices_of)
    written = student.decode(student.encode_targets(labels))
    lost = [
        f"{label!r} comes back as {text!r}"
        for label, text in zip(labels, written, strict=True)
        if not task.answers.equivalent(task.answers.parse(text, choices_of[label]), label)
    ]
    if lost:
        raise StudentError(
            f"The student's tokenizer cannot write {len(lost)} of {len(labels)} labels: {'; '.join(lost[:5])}. "
            "Choose another student, or labels without these characters."
        )
