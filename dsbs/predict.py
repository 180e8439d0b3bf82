"""``python -m dsbs.predict checkpoint=RUN input=FILE``: a trained student answers; works in a shell pipe."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import chain
from typing import BinaryIO, TextIO

from dsbs.cli.command import command
from dsbs.cli.config import PredictConfig, recall, recall_part
from dsbs.core.errors import ConfigError, RunError
from dsbs.core.files import open_whole
from dsbs.inference.checkpoint import Remembered, check_output, find_checkpoint, load_remembered
from dsbs.inference.inputs import read_inputs
from dsbs.inference.predictor import load_served, to_line


@command("predict")
def main(config: PredictConfig) -> None:
    """Answer every input with a line of JSON."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # JSON is UTF-8 whatever the terminal is
    try:
        predict(config, sys.stdin.buffer, sys.stdout)
    except BrokenPipeError:  # the reader, such as `head`, has enough; nor is there anything left to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def predict(config: PredictConfig, stdin: BinaryIO, stdout: TextIO) -> int:
    """Answer all inputs as a stream, a batch at a time, and return how many there were.

    Raises:
        DsbsError: where checkpoint or input are missing or broken, or the student writes no rationales.
    """
    if faults := config.faults():
        raise ConfigError.from_faults(faults)
    checkpoint = find_checkpoint(config.checkpoint)
    place = f"{checkpoint}/config.json"
    remembered = recall(Remembered, load_remembered(checkpoint), place)
    objective = recall_part("objective", remembered.objective, place)
    if config.rationale and not objective.needs_rationales:
        raise ConfigError(f"rationale=true: this student learnt by {objective.name}, so it writes no rationales.")
    task = recall_part("task", remembered.task, place)
    inputs = read_inputs(config.input, config.format, remembered, stdin)
    examples = chain([next(inputs)], inputs)  # a wrong input is told before the student is loaded
    served = load_served(checkpoint, remembered, task, objective, config.batch_size)
    count = 0
    with _open(config.output, stdout) as file:
        for example, prediction in served.stream(examples, config.rationale):
            line = to_line(example, prediction, config.rationale, config.with_input)
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
            if count % config.batch_size == 0:
                file.flush()
        file.flush()
    return count


@contextmanager
def _open(output: str, stdout: TextIO) -> Iterator[TextIO]:
    if output == "-":
        yield stdout
        return
    try:
        with open_whole(check_output(output)) as file:
            yield file
    except OSError as error:
        raise RunError(f"output={output}: cannot be written: {error.strerror or error}.") from None


if __name__ == "__main__":
    main()
