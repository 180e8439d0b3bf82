"""Hugging Face's trainer with our batches: shared over processes, and split into passes: less padding and memory."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from transformers import Seq2SeqTrainer

from dsbs.core.errors import RunError
from dsbs.students.collator import Row, cut_passes
from dsbs.students.memory import is_out_of_memory
from dsbs.students.model import Batch
from dsbs.training.samplers import LengthGroups, ProcessBatches, load_in_one_process
from dsbs.training.tokenized import RowFile

logger = logging.getLogger(__name__)


class PassTrainer(Seq2SeqTrainer):
    """Processes a microbatch in passes of rows of similar length and accumulates their gradients.

    Attributes:
        tokens_per_pass: maximum tokens of a pass, padding included; None: a microbatch is one pass.
        microbatches: microbatches of the current optimizer step so far.
        parts: (kind of target, name of its input) of the step, over all processes.
        log_sums: what ``compute_loss`` sums for the log: term -> sum and count [2]; restored where a pass fails.
    """

    def __init__(self, collate: Callable[[list[Row]], Batch], tokens_per_pass: int | None, **arguments: Any) -> None:
        super().__init__(data_collator=_keep, **arguments)
        self.collate = collate
        self.tokens_per_pass = tokens_per_pass
        self.microbatches: list[list[Row]] = []
        self.parts: list[tuple[str, str]] = []
        self.log_sums: dict[str, torch.Tensor] = {}

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.args.train_sampling_strategy == "random":
            return super()._get_train_sampler(train_dataset)
        assert isinstance(self.train_dataset, RowFile)
        return LengthGroups(self.train_dataset.lengths(), self.global_batch, self.args.seed)

    @property
    def global_batch(self) -> int:
        """Examples per optimizer step, over all microbatches and processes."""
        return self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size

    def get_train_dataloader(self) -> Any:
        """Return the loader of this process's share of every batch."""
        if self.args.world_size == 1:
            return super().get_train_dataloader()
        size = self.args.train_batch_size * self.args.world_size
        batches = ProcessBatches(
            self._get_train_sampler(self.train_dataset), size, self.args.process_index, self.args.world_size
        )
        loader = load_in_one_process(self.train_dataset, batches, self.data_collator, self.args)
        self.accelerator._dataloaders.append(loader)
        return loader

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Accumulate the gradients of a microbatch and return its loss.

        When out of memory, the tokens of a pass are halved, and the optimizer step starts over with its first
        microbatch.
        """
        self.microbatches.append(inputs["rows"])
        redo: list[list[Row]] = []  # microbatches whose gradients have to be computed again
        while True:
            log_sums = self.log_sums
            try:
                for before in redo:
                    self._accumulate(model, before, num_items_in_batch)
                self.log_sums = log_sums
                return self._accumulate(model, inputs["rows"], num_items_in_batch)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self.log_sums = log_sums
                self._halve(inputs["rows"])
            # Outside of `except`, where the error no longer holds on to the tensors of the pass that failed.
            model.zero_grad()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            redo = self.microbatches[:-1]

    def _accumulate(self, model: torch.nn.Module, rows: list[Row], counts: Any) -> torch.Tensor:
        """Accumulate the gradients of a microbatch, pass by pass, and return its loss."""
        passes = self._cut(rows, counts)
        losses = []
        for number, part in enumerate(passes, start=1):
            # Processes add up their gradients once a step, in the last pass; not where each keeps a part of them alone.
            at_once = number == len(passes) or self.is_fsdp_enabled
            wait = nullcontext() if at_once else self.accelerator.no_sync(model)
            with wait:
                losses.append(super().training_step(model, self.collate(part), counts))
        return torch.stack(losses).sum()

    def _cut(self, rows: list[Row], counts: Any) -> list[list[Row]]:
        return cut_passes(rows, self.tokens_per_pass)

    def _halve(self, rows: list[Row]) -> None:
        """Halve the maximum tokens of a pass.

        Raises:
            RunError: a pass is a single row already, or other processes wait for this one's gradients.
        """
        longest = max(len(part) * part[0].tokens for part in cut_passes(rows, self.tokens_per_pass))
        single = max(row.tokens for row in rows)
        smaller = max(longest // 2, 1)
        if longest <= single:
            raise RunError(
                f"Out of memory on a single example of {single} tokens, at step {self.state.global_step + 1}. Try "
                "training.gradient_checkpointing=true, student.max_input_tokens=256, or a smaller student."
            )
        if self.args.world_size > 1:
            raise RunError(
                f"Out of memory on a pass of {longest} tokens, at step {self.state.global_step + 1}. The run "
                f"resumes from its last checkpoint with smaller ones: add training.tokens_per_pass={smaller}"
            )
        self.tokens_per_pass = smaller
        logger.warning(
            "Out of memory on a pass of %d tokens; the batch size stays, but batches are split into passes "
            "of at most %d tokens. training.tokens_per_pass=%d starts with that.",
            longest,
            smaller,
            smaller,
        )


def _keep(rows: list[Row]) -> dict[str, list[Row]]:
    """Return a batch unpadded: its passes are padded one by one."""
    return {"rows": rows}
