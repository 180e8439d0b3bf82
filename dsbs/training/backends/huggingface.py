"""PyTorch students, trained by a subclass of Hugging Face's ``Seq2SeqTrainer``."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from transformers import set_seed
from transformers.utils.logging import disable_progress_bar

from dsbs.core.distributed import gather, is_main, main_first
from dsbs.core.errors import StudentError
from dsbs.core.records import Example, Target
from dsbs.core.tracking import Tracker
from dsbs.core.untrusted import excerpt
from dsbs.data.join import RunData
from dsbs.inference.metrics import mean_log_probability, name_score, score
from dsbs.inference.perplexity import mean_token_log_probability
from dsbs.inference.torch_predictor import TorchPredictor
from dsbs.students.answering import BEST_ONLY, DecodingConfig
from dsbs.students.base import GenerativeStudent, Lengths, TorchStudent
from dsbs.students.lost import describe_lost
from dsbs.students.memory import checkpoint_activations
from dsbs.students.model import StudentModel
from dsbs.students.prefixes import KINDS, task_prefix
from dsbs.tasks.base import Task
from dsbs.training.arguments import build_arguments
from dsbs.training.backends.base import Fitted
from dsbs.training.callbacks import build_callbacks
from dsbs.training.checkpointing import last_checkpoint
from dsbs.training.controlled import control_rows
from dsbs.training.disk import writing
from dsbs.training.recipe import Recipe
from dsbs.training.run_folder import Run
from dsbs.training.teacher_scores import score_with_teacher
from dsbs.training.tokenized import RowFile, prepare_rows
from dsbs.training.trainer import LIKELIHOOD, DistillationTrainer
from dsbs.training.unknown import check_unknown

logger = logging.getLogger(__name__)


def fit(recipe: Recipe, data: RunData, run: Run, tracker: Tracker) -> Fitted:
    """Build and train a student, choose its best checkpoint; see ``dsbs.training.backends.base.Backend``."""
    disable_progress_bar()  # of loading and saving weights
    if recipe.training.threads:
        torch.set_num_threads(recipe.training.threads)
    metric, source, reading = recipe.task.metric, torch_student_of(recipe), decoding_of(recipe)
    arguments = build_arguments(recipe.training, recipe.seed, run.checkpoints, metric)
    if tracker.others.names:
        arguments.run_name, arguments.project = tracker.others.run, tracker.others.project
    student = build_student(recipe, data, reading, arguments.device)
    rows = tokenize_train(student, recipe, data, run)
    counts = rows.cut() | check_unknown(
        student, rows, Texts(student, recipe, data), recipe.training.max_unknown, recipe.student.writes
    )
    if source.writes:
        counts |= count_unwritable(student, reading, [*data.validation, *data.test])
        if recipe.objective.answers_last:  # the end token is not needed
            counts["targets_unwritten"] = rows.count_longer("label", reading.max_new_tokens + 1)
    predictor = TorchPredictor(student, recipe.task, recipe.objective, reading)
    if student.cuts_itself:
        counts["inputs_cut"] = predictor.lost([example for example, _ in data.train])["inputs_cut"]
    for note in describe_lost({**data.counts, **counts}):  # before hours are spent
        logger.warning("%s", note)

    def validate(model: StudentModel) -> dict[str, float]:
        predictor.student = model
        predictions = predictor.predict(data.choosing)
        value, likelihood = score(recipe.task, predictions).value, mean_log_probability(predictions)
        assert value is not None  # a run without examples to validate on does not start
        if likelihood is None and not recipe.objective.answers_last:  # answers are generated
            likelihood = mean_token_log_probability(model, data.choosing, reading)
        return {metric: value} | ({} if likelihood is None else {LIKELIHOOD: likelihood})

    trainer = DistillationTrainer(
        student,
        recipe.objective,
        rows,
        validate,
        arguments,
        build_callbacks(recipe.training, tracker),
        recipe.training.tokens_per_pass,
    )
    trainer.progress.title = name_score(metric, data.labels)
    with flushing_denormals():
        trainer.train(resume_from_checkpoint=last_checkpoint(run.checkpoints))
    predictor.student = trainer.student
    assert trainer.state.best_metric is not None
    parameters = sum(weight.numel() for weight in student.parameters())
    account = {**trainer.account(), "parameters": parameters}
    other = source.writes and recipe.decoding != "generate"
    free = replace(predictor, reading=replace(reading, decoding="generate")) if other else None
    return Fitted(predictor, trainer.state.best_metric, account, counts, free, trainer.at_last_step)


@contextmanager
def flushing_denormals() -> Iterator[None]:
    """Let a CPU take numbers below 1e-38 for zero: it is slow with them, and a student that fits its data has many."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)  # the setting of a process, on which others rely


def build_student(recipe: Recipe, data: RunData, reading: DecodingConfig, device: torch.device) -> StudentModel:
    """Return the student as the training starts from it.

    Raises:
        StudentError: it cannot be built, does not suit the objective, or its tokenizer cannot write the labels.
    """
    source = torch_student_of(recipe)
    if isinstance(source, GenerativeStudent):
        recipe.objective.check(source)
    set_seed(recipe.seed)
    remembered = recipe.remember(
        data.examples(),
        decoding=reading.decoding,
        max_input_tokens=reading.max_input_tokens,
        max_new_tokens=reading.max_new_tokens,
        bf16=reading.bf16,
    )
    student = source.prepare(recipe.texts(), recipe.objective.prefix_on, recipe.seed, remembered.choices)
    student.settings = asdict(remembered)
    if source.writes:
        check_prefixes(student)
        check_labels(student, recipe.task, data.examples())
        check_lengths(student, source.lengths, recipe.decoding, data.examples())
    if recipe.training.gradient_checkpointing:
        checkpoint_activations(student)
    recipe.objective.prepare(student, device)
    return student


def torch_student_of(recipe: Recipe) -> TorchStudent:
    """Return the recipe's student.

    Raises:
        TypeError: it is not a ``TorchStudent``.
    """
    if not isinstance(recipe.student, TorchStudent):
        raise TypeError(f"{type(recipe.student).__name__}: backend=huggingface fits a TorchStudent.")
    return recipe.student


def decoding_of(recipe: Recipe) -> DecodingConfig:
    """Return how the student's answers are decoded, during the training and after it."""
    lengths = torch_student_of(recipe).lengths
    return DecodingConfig(
        recipe.decoding,
        recipe.training.per_device_eval_batch_size,
        lengths.input,
        lengths.new,
        bf16=recipe.training.bf16,
        negligible=BEST_ONLY,
    )


@dataclass(frozen=True)
class Texts:
    """Inputs and targets of the training examples; a re-iterable stream."""

    student: StudentModel
    recipe: Recipe
    data: RunData

    def __iter__(self) -> Iterator[tuple[str, list[Target]]]:
        for example, annotation in self.data.train:
            yield self.student.reword(example, self.recipe.targets(example, annotation))


def tokenize_train(student: StudentModel, recipe: Recipe, data: RunData, run: Run) -> RowFile:
    """Return the tokenized rows to train on; of several processes, the main one writes their file."""

    with writing("the teacher's scores", run.cache):
        score_with_teacher(recipe, data, run.cache)

    def prepare() -> Path | None:
        if not is_main():
            return None
        lengths = torch_student_of(recipe).lengths
        with writing("the tokenized examples", run.cache):
            texts, readers = Texts(student, recipe, data), recipe.objective.readers
            rows = prepare_rows(student, texts, len(data.train), lengths.input, lengths.target, run.cache, readers)
            if recipe.stored is not None:
                rows = recipe.stored.attach(rows, student, data, run.cache)
            return control_rows(rows, recipe.control, student, lengths.target, recipe.seed, run.cache).path

    path, *_ = gather([main_first(prepare)])
    assert path is not None
    return RowFile(path)


def check_prefixes(student: StudentModel) -> None:
    """Check that the student's tokenizer can encode task prefixes that stand on the input.

    Raises:
        StudentError: a part of a prefix would become the unknown token.
    """
    unknown = student.tokenizer.unk_token_id
    if student.prefix_on != "input" or unknown is None:
        return
    for kind in KINDS:
        prefix = task_prefix(kind)
        if unknown in student.tokenizer(prefix, add_special_tokens=False)["input_ids"]:
            raise StudentError(
                f"objective.prefix_on=input: the student's tokenizer cannot write {prefix}; it would use "
                f"{student.tokenizer.unk_token} instead. Add objective.prefix_on=target, where prefixes are "
                "added as tokens."
            )


def check_labels(student: StudentModel, task: Task, examples: Iterable[Example]) -> None:
    """Check that every label survives encoding and decoding as the same answer.

    Raises:
        StudentError: some do not; names up to five of them.
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


def count_unwritable(student: StudentModel, reading: DecodingConfig, examples: list[Example]) -> dict[str, int]:
    """Return ``answers_cut``, the labels too long to be generated whole, and ``line_breaks_lost``, if there are any."""
    labels = [one.label for one in examples if one.label is not None and not reading.ranks([one])]
    cut = sum(size - 1 > reading.max_new_tokens for size in student.lengths(labels))  # the end is not needed
    [written] = student.decode(student.encode_targets(["a\nb"]))
    lost = 0 if "\n" in written else sum("\n" in label for label in labels)
    return {name: count for name, count in (("answers_cut", cut), ("line_breaks_lost", lost)) if count}


def check_lengths(student: StudentModel, lengths: Lengths, decoding: str, examples: Iterable[Example]) -> None:
    """Check that every closed answer can be learned, and generated with ``decoding=generate``, up to its end.

    Raises:
        StudentError: the longest cannot.
    """
    labels = list(dict.fromkeys(choice for example in examples for choice in example.choices or ()))
    size, longest = max(zip(student.lengths(labels), labels, strict=True), default=(0, ""))
    if size > lengths.target:
        key, why = "max_target_tokens", f"is cut to {lengths.target} in training"
    elif size - 1 > lengths.new and decoding == "generate":
        key, why = "max_new_tokens", f"cannot be generated within {lengths.new}"
    else:
        return
    raise StudentError(
        f"The label {excerpt(longest, 80)!r} has {size} tokens, its end included, and {why}: labels with a common "
        f"beginning would be confused. Type student.{key}={size}, or shorten the labels."
    )
