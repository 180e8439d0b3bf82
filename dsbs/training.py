"""The settings of training; names as Hugging Face's arguments have them."""

from dataclasses import dataclass


@dataclass
class Training:
    """Keys of the ``training`` group.

    Attributes:
        max_steps: optimiser steps.
        learning_rate: peak learning rate of AdamW.
        lr_scheduler_type: as in Hugging Face.
        warmup_steps: steps of linear warm-up.
        weight_decay: of AdamW.
        max_grad_norm: gradients are clipped to this norm.
        per_device_train_batch_size: examples (not rows) of one forward pass.
        gradient_accumulation_steps: forward passes of one optimiser step.
        per_device_eval_batch_size: examples of one forward pass in evaluation.
        eval_steps: steps between evaluations on validation; a checkpoint is saved at each.
        logging_steps: steps between log lines.
        early_stopping_patience: evaluations without a better accuracy before stopping, or None.
        save_total_limit: checkpoints to keep; the best and the last always stay.
        bf16: bfloat16 autocast; there is no fp16, in which T5 gives NaN.
        optim: optimiser, as in Hugging Face.
        threads: CPU threads of torch, or None for its own choice.
    """

    max_steps: int = 1000
    learning_rate: float = 1e-3
    lr_scheduler_type: str = "constant_with_warmup"
    warmup_steps: int = 100
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    per_device_train_batch_size: int = 32
    gradient_accumulation_steps: int = 1
    per_device_eval_batch_size: int = 64
    eval_steps: int = 250
    logging_steps: int = 50
    early_stopping_patience: int | None = None
    save_total_limit: int = 2
    bf16: bool = False
    optim: str = "adamw_torch"
    threads: int | None = None

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = []
        positive = (
            "max_steps",
            "per_device_train_batch_size",
            "gradient_accumulation_steps",
            "per_device_eval_batch_size",
            "eval_steps",
            "logging_steps",
            "save_total_limit",
        )
        for key in positive:
            if getattr(self, key) < 1:
                faults.append(f"training.{key}={getattr(self, key)}: expected at least 1.")
        if not self.learning_rate > 0:
            faults.append(f"training.learning_rate={self.learning_rate}: expected above 0.")
        for key in ("warmup_steps", "weight_decay", "max_grad_norm"):
            if getattr(self, key) < 0:
                faults.append(f"training.{key}={getattr(self, key)}: expected 0 or more.")
        if self.early_stopping_patience is not None and self.early_stopping_patience < 1:
            faults.append(f"training.early_stopping_patience={self.early_stopping_patience}: expected 1 or more, or null.")
        if self.threads is not None and self.threads < 1:
            faults.append(f"training.threads={self.threads}: expected 1 or more, or null.")
        return faults
