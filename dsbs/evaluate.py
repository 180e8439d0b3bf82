"""``python -m dsbs.evaluate checkpoint=RUN``: how right a trained student is, on its own data or on other."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dsbs.cli.command import command
from dsbs.cli.config import EvaluateConfig, recall, recall_part, recall_run
from dsbs.core.errors import ConfigError, DataError, RunError
from dsbs.core.files import write_json
from dsbs.core.records import Prediction
from dsbs.inference.checkpoint import Remembered, check_output, find_checkpoint, load_remembered, run_of
from dsbs.inference.metrics import Score, is_correct, score
from dsbs.inference.predictor import gold_examples, load_served
from dsbs.tasks.base import Task
from dsbs.training.run_folder import write_predictions


@command("evaluate")
def main(config: EvaluateConfig) -> None:
    """Measure a student and show the figures."""
    show(evaluate(config), config, Console())


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Measure a student; write what ``output`` asks for, and return the figures.

    Raises:
        DsbsError: where checkpoint or data are missing or broken, or ``output`` is a file of the run.
    """
    if faults := config.faults():
        raise ConfigError.from_faults(faults)
    checkpoint = find_checkpoint(config.checkpoint)
    run = run_of(checkpoint)
    output = check_output(config.output) if config.output else None
    remembered = recall(Remembered, load_remembered(checkpoint), f"{checkpoint}/config.json")
    objective = recall_part("objective", remembered.objective, f"{checkpoint}/config.json")
    task = load_task(checkpoint, run, remembered)
    try:
        examples, without_gold = gold_examples(task, config.split, config.path)
    except DataError as error:
        hint = (
            "" if config.path else "\nThe data is looked for where the training found it; path=... names another place."
        )
        raise DataError(f"{error}{hint}") from None
    served = load_served(checkpoint, remembered, task, objective, config.batch_size, config.decoding)
    predictions = [prediction for _, prediction in served.stream(examples)]
    result = score(task.answers, predictions)
    figures = describe(result, remembered) | {"without_gold": without_gold}
    figures = {"checkpoint": str(checkpoint), "task": task.name, "split": config.split, "path": config.path, **figures}
    if output is not None:
        try:
            write(output, figures, predictions, task)
        except OSError as error:
            raise RunError(f"output={config.output}: cannot be written: {error.strerror or error}.") from None
    return figures


def write(output: Path, figures: dict[str, Any], predictions: list[Prediction], task: Task) -> None:
    """Write the figures or the predictions, whichever the name asks for."""
    if output.suffix == ".json":
        write_json(output, figures)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    correct = [is_correct(task.answers, prediction.label, prediction.gold) for prediction in predictions]
    write_predictions(output, predictions, correct)


def load_task(checkpoint: Path, run: Path | None, remembered: Remembered) -> Task:
    """Return the task of the run; of a checkpoint on its own, as it remembers it, without the place of the data."""
    if run is None:
        return recall_part("task", remembered.task, f"{checkpoint}/config.json")
    values = recall_run(run).get("task")
    if isinstance(values, dict) and "labels" in remembered.task:
        values |= {"labels": remembered.task["labels"]}  # those found in the training's data
    return recall_part("task", values, f"{run}/config.yaml")


def describe(result: Score, remembered: Remembered) -> dict[str, Any]:
    """Return the figures; by class where all examples have the same closed answers."""
    by_class = result.accuracy_by_class() if remembered.choices else None
    return {
        "accuracy": result.accuracy,
        "examples": result.examples,
        "correct": result.correct,
        "unanswered": result.unanswered,
        "accuracy_by_class": by_class,
    }


def show(figures: dict[str, Any], config: EvaluateConfig, console: Console) -> None:
    """Print the figures as a table."""
    data = config.path or f"the {figures['split']} split"
    table = Table(title=f"{figures['task']} on {data}", title_justify="left")
    table.add_column("")
    table.add_column("accuracy", justify="right")
    table.add_column("examples", justify="right")
    table.add_column("unanswered", justify="right")
    accuracy = f"{100 * figures['accuracy']:.2f}%"
    table.add_row("all", f"[bold]{accuracy}[/bold]", f"{figures['examples']:,}", f"{figures['unanswered']:,}")
    for name, share in (figures["accuracy_by_class"] or {}).items():
        table.add_row(name, f"{100 * share:.2f}%", "", "")
    console.print(table)
    if figures["without_gold"]:
        console.print(f"  {figures['without_gold']:,} examples without a gold answer are left out.")
    if config.output:
        console.print(f"  {config.output}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
