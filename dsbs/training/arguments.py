"""Hugging Face's ``Seq2SeqTrainingArguments`` from the settings of ``training``."""

import logging
from pathlib import Path
from typing import Any

import torch
from transformers import SchedulerType, Seq2SeqTrainingArguments

from dsbs.core.errors import ConfigError
from dsbs.students.decoding import slow_bf16
from dsbs.tasks.base import ACCURACY
from dsbs.training.fsdp import prepare_sharding
from dsbs.training.settings import Training

logger = logging.getLogger(__name__)
# Settings that are passed on as they are, under the same name.
SAME = (
    *("max_steps", "learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "adam_beta2"),
    *("max_grad_norm", "optim", "per_device_train_batch_size", "gradient_accumulation_steps"),
    *("train_sampling_strategy", "per_device_eval_batch_size", "eval_steps", "save_total_limit"),
    *("logging_steps", "bf16"),
)


def build_arguments(settings: Training, seed: int, folder: Path, metric: str = ACCURACY) -> Seq2SeqTrainingArguments:
    """Return Hugging Face's arguments for the settings.

    Args:
        seed: of data order and dropout.
        metric: what the best checkpoint is chosen by on validation; higher is better.

    Raises:
        ConfigError: Hugging Face rejects a value: an unknown optimizer or schedule, unsupported bfloat16.
    """
    prepare_sharding()
    try:
        arguments = Seq2SeqTrainingArguments(
            output_dir=str(folder),
            **{name: getattr(settings, name) for name in SAME},
            lr_scheduler_kwargs=scheduler_kwargs(settings),
            eval_strategy="steps",
            save_strategy="steps",
            save_steps=settings.eval_steps,
            load_best_model_at_end=True,
            restore_callback_states_from_checkpoint=True,  # the patience that is used up, for one
            metric_for_best_model=metric,
            greater_is_better=True,
            logging_nan_inf_filter=False,
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
            f"training.bf16={str(settings.bf16).lower()} is invalid: {str(error).splitlines()[0]}"
        ) from None
    _adapt_to_machine(arguments)
    if settings.warmup_steps >= settings.max_steps:
        logger.warning(
            "training.warmup_steps=%d, of training.max_steps=%d: the learning rate stays below %g. Type "
            "training.warmup_steps=%d",
            settings.warmup_steps,
            settings.max_steps,
            settings.learning_rate,
            settings.max_steps // 10,
        )
    return arguments


def _adapt_to_machine(arguments: Seq2SeqTrainingArguments) -> None:
    """Use one GPU, and log which settings would be faster on this machine."""
    if arguments.bf16 and slow_bf16():
        logger.warning(
            "training.bf16=true: this CPU has no bfloat16 arithmetic and emulates it, many times more slowly. Faster: "
            "training.bf16=false"
        )
    if arguments.n_gpu > 1:
        logger.warning(
            "This run uses one of %d GPUs. All of them: torchrun --nproc_per_node %d -m dsbs.train ...",
            arguments.n_gpu,
            arguments.n_gpu,
        )
        arguments._n_gpu = 1  # else the Trainer would cut batches up for threads (DataParallel)


def scheduler_kwargs(settings: Training) -> dict[str, Any]:
    """Return the schedule's keyword arguments; a plateau is judged by the validation score, where higher is better."""
    plateau = settings.lr_scheduler_type == SchedulerType.REDUCE_ON_PLATEAU
    return ({"mode": "max"} if plateau else {}) | dict(settings.lr_scheduler_kwargs)
