"""Predict with a trained student: one line of JSON per input; works in a shell pipe.

    dsbs predict checkpoint=outputs/train/triage/t5_scratch/step_by_step/1.0/0-1a2b3c4d input=messages.txt
    dsbs predict checkpoint=RUN input=reviews.csv output=answers.jsonl rationale=true
    cat messages.txt | dsbs predict checkpoint=RUN input=- | jq .label

RUN is the folder of a finished run, or its checkpoint.
"""

import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TextIO

from dsbs.cli.checkpoints import open_checkpoint
from dsbs.cli.command import command
from dsbs.cli.config import PredictConfig, check_settings
from dsbs.core.errors import ConfigError, RunError
from dsbs.core.files import why_unwritable
from dsbs.core.progress import LINE_SECONDS
from dsbs.core.records import Example, Prediction
from dsbs.inference.checkpoint import check_output
from dsbs.inference.exports.records import find_source
from dsbs.inference.inputs import read_inputs
from dsbs.inference.output import Rows, open_rows
from dsbs.inference.predictions import to_line
from dsbs.inference.predictor import stream
from dsbs.students.answering import CONFIDENT
from dsbs.students.lost import describe_lost

logger = logging.getLogger("dsbs.predict")  # messages of `__main__` are not shown


@command("predict")
def main(config: PredictConfig) -> None:
    """Answer every input with a line of JSON."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # JSON is UTF-8 whatever the terminal is
    try:
        predict(config, sys.stdin.buffer, sys.stdout)
    except BrokenPipeError:  # the reader, such as `head`, has ended; the flush at exit must not fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def predict(config: PredictConfig, stdin: BinaryIO, stdout: TextIO) -> int:
    """Answer all inputs as a stream, a batch at a time, and return their number.

    Raises:
        DsbsError: checkpoint or input are missing or broken, or the student generates no rationales.
    """
    check_settings(config)
    checkpoint = open_checkpoint(config.checkpoint)
    if config.rationale and not checkpoint.objective.needs_rationales:
        raise ConfigError(
            f"rationale=true: this student was trained with {checkpoint.objective.name}, so it writes no rationales."
        )
    inputs = read_inputs(config.input, config.format, checkpoint.remembered, stdin)
    examples = chain([next(inputs)], inputs)  # a wrong input is reported before the student is loaded
    predictor = checkpoint.load(config.batch_size, negligible=0.0 if config.scores else CONFIDENT)
    lost = Counter[str]()
    with _open(config, checkpoint.folder, stdout) as rows:
        try:
            found = stream(predictor, rows.missing(examples), config.batch_size, config.rationale, lost)
            return _write(config, rows, found)
        finally:
            for sentence in describe_lost(lost):
                logger.warning(sentence)


def _write(config: PredictConfig, rows: Rows, found: Iterator[tuple[Example, Prediction]]) -> int:
    """Write answers as they come, and return their number."""
    count, started = 0, time.monotonic()
    reported = started
    for example, prediction in found:
        rows.write(example, to_line(example, prediction, config.rationale, config.with_input, config.scores))
        count += 1
        if count % config.batch_size == 0:
            rows.flush()
            if (now := time.monotonic()) - reported >= LINE_SECONDS:
                logger.info("%s answered, %.0f/s", f"{count:,}", count / (now - started))
                reported = now
    rows.flush()
    return count


@contextmanager
def _open(config: PredictConfig, checkpoint: Path, stdout: TextIO) -> Iterator[Rows]:
    if config.output == "-":
        yield Rows(stdout)
        return
    path = check_output(config.output, config.input)
    settings = [find_source(checkpoint), config.rationale, config.with_input, config.scores]
    try:
        with open_rows(path, settings) as rows:
            yield rows
    except OSError as error:
        raise RunError(f"output={config.output}: cannot be written: {why_unwritable(error)}.") from None


if __name__ == "__main__":
    main()
