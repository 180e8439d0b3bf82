"""The settings of a training run; keys of ``training`` are named as Hugging Face's arguments."""

import importlib.util
from dataclasses import asdict, dataclass, field
from typing import Any

from dsbs.core.checks import (
    AT_LEAST_1,
    FINITE_ABOVE_0,
    FINITE_NOT_NEGATIVE,
    NOT_NEGATIVE,
    SHARE,
    SHARE_BELOW_1,
    Range,
    option_faults,
    range_faults,
)
from dsbs.core.distributed import count_processes
from dsbs.core.errors import ConfigError
from dsbs.core.records import Annotation, Example
from dsbs.core.tracking import Tracking
from dsbs.data.controls import Control
from dsbs.data.subsets import parse_fraction
from dsbs.extraction.filters import Filter
from dsbs.training.compatibility import combination_faults
from dsbs.training.launching import launch_faults

EQUAL, AGREEMENT = "equal", "agreement"
STRATEGIES = ("random", "group_by_length")
SEED = Range("from 0 to 4294967295", lambda value: 0 <= value < 2**32)
# Settings of training that do not decide its result: logging, checkpoints kept, how batches are split.
NOT_IN_IDENTITY = (
    *("logging_steps", "save_total_limit", "per_device_eval_batch_size", "threads"),
    *("tokens_per_pass", "gradient_checkpointing", "fp16", "max_unknown"),
)
# Additional test scores: value in `also_measure` -> field of metrics.json.
LAST_STEP, GENERATED = "last", "generate"
MEASURES = {LAST_STEP: "test_last", GENERATED: "test_generated"}
# Settings that came later, with the value that was fixed before.
ADDED_LATER: dict[str, object] = {"train_sampling_strategy": "random", "adam_beta2": 0.999, "lr_scheduler_kwargs": {}}


@dataclass
class Training:
    """Keys of the ``training`` group.

    Attributes:
        max_steps: optimizer steps.
        learning_rate: peak learning rate of AdamW.
        lr_scheduler_type, lr_scheduler_kwargs: as in Hugging Face: ``warmup_stable_decay`` needs, for example,
            ``+training.lr_scheduler_kwargs.num_decay_steps=1000``.
        warmup_steps: steps of linear warm-up.
        weight_decay: of AdamW.
        adam_beta2: of AdamW: averages squared gradients over about ``1 / (1 - adam_beta2)`` steps.
        max_grad_norm: gradients are clipped to this norm.
        per_device_train_batch_size: examples (not rows) per forward pass.
        gradient_accumulation_steps: forward passes per optimizer step.
        per_device_eval_batch_size: examples per forward pass in evaluation.
        eval_steps: steps between evaluations on validation; a checkpoint is saved at each.
        logging_steps: steps between log lines.
        early_stopping_patience: evaluations without improvement before stopping; None: never.
        save_total_limit: checkpoints to keep; the best and the last always stay.
        train_sampling_strategy: ``random``, or ``group_by_length``: random batches of examples of similar length, to
            reduce padding.
        tokens_per_pass: batches are sorted by length and split into passes of at most this many tokens, padding
            included, with accumulated gradients: less padding and memory, the same optimizer step. None: one pass.
            Halved on out-of-memory.
        gradient_checkpointing: recompute activations in the backward pass: less memory, about a third more time.
        bf16: bfloat16 autocast.
        fp16: rejected: T5's activations overflow fp16 (65,504).
        optim: optimizer, as in Hugging Face; ``adamw_bnb_8bit`` needs the extra ``8bit``.
        threads: CPU threads of torch; None: torch's default.
        max_unknown: maximum share of unknown tokens in inputs or targets; above it the run stops.
    """

    max_steps: int = 1000
    learning_rate: float = 1e-3
    lr_scheduler_type: str = "constant_with_warmup"
    lr_scheduler_kwargs: dict[str, Any] = field(default_factory=dict)
    warmup_steps: int = 100
    weight_decay: float = 0.0
    adam_beta2: float = 0.999
    max_grad_norm: float = 1.0
    per_device_train_batch_size: int = 32
    gradient_accumulation_steps: int = 1
    per_device_eval_batch_size: int = 64
    eval_steps: int = 250
    logging_steps: int = 50
    early_stopping_patience: int | None = None
    save_total_limit: int = 2
    train_sampling_strategy: str = "random"
    tokens_per_pass: int | None = None
    gradient_checkpointing: bool = False
    bf16: bool = False
    fp16: bool = False
    optim: str = "adamw_torch"
    threads: int | None = None
    max_unknown: float = 0.1

    @property
    def global_batch(self) -> int:
        """Examples per optimizer step, over its microbatches and all processes."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps * count_processes()

    def identity(self) -> dict[str, object]:
        """Return the settings that decide the result, with the global batch in place of the microbatches."""
        identity = {key: value for key, value in asdict(self).items() if key not in NOT_IN_IDENTITY}
        identity |= {"per_device_train_batch_size": self.global_batch, "gradient_accumulation_steps": 1}
        # Runs from before a setting existed keep their names.
        return {key: value for key, value in identity.items() if ADDED_LATER.get(key) != value}

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = [*self._number_faults(), *option_faults(self, "training.", train_sampling_strategy=STRATEGIES)]
        if self.fp16:
            faults.append(
                "training.fp16=true: not supported. T5's activations exceed 65,504, the largest number in fp16, and "
                "the loss becomes NaN. Use training.bf16=true, or neither."
            )
        faults += launch_faults(self.bf16, self.optim)
        if "bnb" in self.optim and importlib.util.find_spec("bitsandbytes") is None:
            faults.append(f"training.optim={self.optim} needs the package bitsandbytes: pip install 'dsbs[8bit]'")
        return faults

    def _number_faults(self) -> list[str]:
        """Return which numbers are out of range."""
        positive = (
            *("max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "per_device_eval_batch_size"),
            *("eval_steps", "logging_steps", "save_total_limit"),
        )
        return [
            *range_faults(self, AT_LEAST_1, *positive, prefix="training."),
            *range_faults(self, SHARE, "max_unknown", prefix="training."),
            *range_faults(self, FINITE_ABOVE_0, "learning_rate", prefix="training."),
            *range_faults(
                self, FINITE_NOT_NEGATIVE, "warmup_steps", "weight_decay", "max_grad_norm", prefix="training."
            ),
            *range_faults(self, SHARE_BELOW_1, "adam_beta2", prefix="training."),
            *range_faults(self, AT_LEAST_1, "early_stopping_patience", prefix="training.", null="never"),
            *range_faults(self, AT_LEAST_1, "tokens_per_pass", prefix="training.", null="one pass"),
            *range_faults(self, AT_LEAST_1, "threads", prefix="training.", null="torch's default"),
        ]


@dataclass
class Validation:
    """Keys of ``validation``.

    Attributes:
        limit: number of validation examples, drawn by ``split_seed``, that the checkpoint is chosen on during the
            training; at its end all are measured. None: all, every time.
    """

    limit: int | None = None

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        return range_faults(self, AT_LEAST_1, "limit", prefix="validation.", null="all")


@dataclass
class TrainSettings:
    """Keys of ``dsbs.train``.

    Attributes:
        data_fraction: fraction of the train split, ``0 < f <= 1``, also written ``1/8``.
        seed: random seed of the subset, the initial weights and the data order.
        split_seed: random seed of the validation split, where the source has none.
        labels: ``gold``, ``teacher``, or ``mixed``: gold where an example has one, else the teacher's.
        labels_weight: how much each of the teacher's labels counts: ``equal``, or as its ``agreement``, the share of
            the samples (``samples=k``) that voted for it.
        rationales: a folder of annotations; None: the one of ``task``, ``teacher`` and ``prompt``.
        filter: what an annotation must pass to be trained on, whichever filter its extraction had.
        samples: train on annotations from this many completions each; null: on the ones that exist.
        without_annotation: examples without a usable annotation: ``label_only`` trains on their label alone, ``drop``
            drops them; counted either way.
        control: what replaces rationales, to test whether their content is what helps.
        decoding: ``rank`` scores the closed answers, ``generate`` generates text; ``auto`` ranks where possible.
        test: whether to measure on test at the end. Use ``false`` for hyperparameter searches, and ``test=true`` once,
            for the settings chosen on validation.
        also_measure: additional test scores: ``last`` (the checkpoint of the last step), ``generate`` (generated
            instead of ranked answers).
        explain: number of test examples for which the student's rationales are saved.
        output_dir: root folder of all outputs.
    """

    task: Any = None
    teacher: Any = None
    prompt: Any = None
    filter: Any = field(default_factory=Filter)
    objective: Any = None
    student: Any = None
    training: Training = field(default_factory=Training)
    validation: Validation = field(default_factory=Validation)
    control: Any = field(default_factory=Control)
    tracking: Tracking = field(default_factory=Tracking)
    data_fraction: float | int | str = 1.0
    seed: int = 0
    split_seed: int = 0
    labels: str = "gold"
    labels_weight: str = EQUAL
    rationales: str | None = None
    samples: int | None = None
    without_annotation: str = "label_only"
    decoding: str = "auto"
    test: bool = True
    also_measure: list[str] = field(default_factory=list)
    explain: int = 50
    output_dir: str = "outputs"

    def faults(self) -> list[str]:
        """Return what is wrong with the settings and their combination."""
        return [*self.validation.faults(), *self._value_faults(), *self._combination_faults()]

    def _value_faults(self) -> list[str]:
        """Return what is wrong with single settings."""
        faults = option_faults(
            self,
            without_annotation=("label_only", "drop"),
            decoding=("auto", "rank", "generate"),
            labels_weight=(EQUAL, AGREEMENT),
        )
        if unknown := sorted({*self.also_measure} - {*MEASURES}):
            faults.append(f"also_measure=[{','.join(unknown)}]: expected any of {', '.join(MEASURES)}.")
        faults += range_faults(self, AT_LEAST_1, "samples", null="those that exist")
        faults += range_faults(self, NOT_NEGATIVE, "explain")
        faults += range_faults(self, SEED, "seed", "split_seed")
        try:
            parse_fraction(self.data_fraction)
        except ConfigError as error:
            faults.append(str(error))
        return faults

    def _combination_faults(self) -> list[str]:
        """Return which settings do not go together."""
        faults = self.objective.unused()
        if self.objective.needs_teacher_labels and self.labels != "teacher":
            faults.append(
                f"objective={self.objective.name} trains on the teacher's labels: add labels=teacher, or choose "
                "another objective."
            )
        if self.labels_weight == AGREEMENT and self.labels != "teacher":
            faults.append("labels_weight=agreement: it weighs the teacher's labels: add labels=teacher.")
        if self.labels_weight == AGREEMENT and self.objective.needs_choices:
            faults.append(
                f"labels_weight=agreement: objective={self.objective.name} learns the teacher's distribution: drop it."
            )
        if self.control.identity() is not None and not _has_rationale_target(self.objective):
            faults.append(
                f"control={self.control.name} replaces the rationale that is learned beside the label: choose "
                "objective=step_by_step."
            )
        if self.student is not None and self.objective is not None:
            faults += combination_faults(self.student, self.objective, self.decoding)
        return faults

    @property
    def needs_annotations(self) -> bool:
        """Whether the run reads annotations or stored log-probabilities."""
        needs = self.objective.needs_rationales or self.reads or self.objective.reads_stored_tokens
        return bool(needs) or self.labels != "gold"

    @property
    def reads(self) -> frozenset[str]:
        """Fields of annotations that the run reads besides label and rationale."""
        weights = {"agreement"} if self.labels_weight == AGREEMENT else set[str]()
        return self.objective.reads | weights


def _has_rationale_target(objective: Any) -> bool:
    """Return whether the objective has the rationale as a target of its own."""
    targets = objective.targets(Example("", "", "label"), Annotation("", "label", "rationale"))
    return {"label", "rationale"} <= {target.kind for target in targets}
