"""Measure a trained student on its test split or on other data.

    dsbs evaluate checkpoint=outputs/train/triage/t5_scratch/step_by_step/1.0/0-1a2b3c4d
    dsbs evaluate checkpoint=RUN split=validation output=predictions.parquet
    dsbs evaluate checkpoint=RUN path=more-reviews.csv output=figures.json track=true

RUN is the folder of a finished run, or its checkpoint.
"""

from pathlib import Path
from typing import Any

from rich.console import Console

from dsbs.cli.checkpoints import Checkpoint, open_checkpoint
from dsbs.cli.command import command
from dsbs.cli.config import EvaluateConfig, check_settings
from dsbs.cli.saved_settings import build_settings
from dsbs.core.errors import ConfigError, DataError, RunError
from dsbs.core.files import why_unwritable, write_json
from dsbs.core.progress import standard_output
from dsbs.core.records import Example, Prediction
from dsbs.core.terminal import make_table, plain, print_lines, print_table
from dsbs.core.tracking import Tracking
from dsbs.core.units import pluralize
from dsbs.core.untrusted import Fields, read_object, read_yaml
from dsbs.data.join import fingerprint_examples
from dsbs.data.overlap import count_overlap, describe_overlap
from dsbs.inference.checkpoint import Remembered, check_output
from dsbs.inference.gold import gold_examples
from dsbs.inference.metrics import Score, score, show_score
from dsbs.inference.predictions import write_predictions
from dsbs.inference.predictor import perplexity_of
from dsbs.students.answering import BEST_ONLY
from dsbs.students.lost import describe_lost
from dsbs.tasks.base import ACCURACY, Task

MAX_CLASSES = 50  # labels that are shown


@command("evaluate")
def main(config: EvaluateConfig) -> None:
    """Measure a student and show the figures."""
    show(evaluate(config), config, standard_output())


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Measure a student, write ``output`` if it is set, and return the figures.

    Raises:
        DsbsError: checkpoint or data are missing or broken, or ``output`` is a file of the run.
    """
    check_settings(config)
    checkpoint = open_checkpoint(config.checkpoint, config.trust_run)
    tracked = find_run(checkpoint) if config.track else None
    task = checkpoint.task_of_run(config.path, config.trust_run)
    output = check_output(config.output, config.path or task.path) if config.output else None
    try:
        examples, without_gold = gold_examples(task, config.split, config.path)
    except DataError as error:
        hint = "" if config.path else "\nThe data is expected where training read it; path=... names another place."
        raise DataError(f"{error}{hint}") from None
    predictor = checkpoint.load(config.batch_size, config.decoding, task, BEST_ONLY)
    predictions = predictor.predict(examples)
    figures: dict[str, Any] = {
        "checkpoint": str(checkpoint.folder),
        "task": task.name,
        "split": config.split,
        "path": config.path,
        **describe(score(task, predictions), checkpoint.remembered),
        **perplexity_of(predictor, examples),
        "without_gold": without_gold,
        "changed": config.path is None and has_changed(checkpoint.run, config.split, examples),
        "overlap": find_overlap(checkpoint, config, examples) if config.path else None,
        "lost": predictor.lost(examples),
    }
    if output is not None:
        try:
            write(output, figures, predictions, task, examples)
        except OSError as error:
            raise RunError(f"output={config.output}: cannot be written: {why_unwritable(error)}.") from None
    if tracked is not None:
        figures["tracked"] = track(*tracked, config, figures)
    return figures


def has_changed(run: Path | None, split: str, examples: list[Example]) -> bool:
    """Return whether the examples of a split are others than those that the training measured, as far as that is known.

    Raises:
        DataError: the manifest of the run is broken.
    """
    manifest = None if run is None else run / "manifest.json"
    if manifest is None or split != "test" or not manifest.exists():
        return False
    known = Fields(read_object(manifest)).inside("settings").text("test")
    return known is not None and known != fingerprint_examples(examples)


def find_overlap(checkpoint: Checkpoint, config: EvaluateConfig, examples: list[Example]) -> dict[str, Any] | None:
    """Return how many inputs of other data occur in train or validation of the run; None if its files are not read."""
    try:
        task = checkpoint.task_of_run(None, config.trust_run)
        splits = [split for split in task.splits() if split != "test"] if task.path else []
        others = (example.input for split in splits for example in task.examples(split))
        return count_overlap((example.input for example in examples), others).figures() if splits else None
    except DataError:
        return None


def find_run(checkpoint: Checkpoint) -> tuple[Tracking, Path]:
    """Return the settings of tracking and the folder of a checkpoint's run.

    Raises:
        ConfigError: the run was not recorded at W&B.
    """
    from dsbs.training.tracked import find_tracked

    run = checkpoint.run
    if run is None:
        raise ConfigError("track=true: this checkpoint is not inside its run, and W&B knows only runs: name the run.")
    settings = build_settings(
        Tracking, read_yaml(run / "config.yaml").get("tracking") or {}, f"{run}/config.yaml: tracking"
    )
    return settings, find_tracked(settings, run)


def track(settings: Tracking, run: Path, config: EvaluateConfig, figures: dict[str, Any]) -> str:
    """Add figures to the W&B run; return a line that says what was added, and where."""
    from dsbs.training.tracked import track_figures

    name = Path(config.path).stem if config.path else config.split
    numbers = {key: figures[key] for key in (figures["metric"], "examples", "unanswered")}
    url = track_figures(settings, run, name, numbers)
    return f"W&B: evaluate/{name}/{figures['metric']} ({url})" if url else "W&B: nothing was recorded"


def write(
    output: Path, figures: dict[str, Any], predictions: list[Prediction], task: Task, examples: list[Example]
) -> None:
    """Write the figures to a ``.json`` file, or the predictions to any other."""
    if output.suffix == ".json":
        write_json(output, figures)
    else:
        write_predictions(output, predictions, task, examples)


def describe(result: Score, remembered: Remembered) -> dict[str, Any]:
    """Return the figures of a score, also by class where all examples have the same closed answers."""
    by_class = result.accuracy_by_class() if remembered.choices else None
    return {
        "metric": result.metric,
        result.metric: result.value,
        "accuracy": result.accuracy,
        "examples": result.examples,
        "correct": result.correct,
        "unanswered": result.unanswered,
        "accuracy_by_class": by_class,
        "examples_by_class": None if by_class is None else dict(result.examples_by_class()),
    }


def show(figures: dict[str, Any], config: EvaluateConfig, console: Console) -> None:
    """Print the figures as a table."""
    data = config.path or f"the {figures['split']} split"
    table = make_table(f"{figures['task']} on {data}", "", figures["metric"], "examples", "unanswered")
    value = show_score(figures["metric"], figures[figures["metric"]])
    table.add_row("all", f"[bold]{value}[/bold]", f"{figures['examples']:,}", f"{figures['unanswered']:,}")
    classes = (figures["accuracy_by_class"] or {}).items()
    shown = classes if len(classes) <= MAX_CLASSES else sorted(classes, key=lambda one: one[1])[:MAX_CLASSES]
    for name, share in shown:
        table.add_row(plain(name), show_score(ACCURACY, share), f"{figures['examples_by_class'][name]:,}", "")
    print_table(console, table)
    if len(shown) < len(classes):
        note = f"The {len(shown)} least accurate of {len(classes):,} labels; output=figures.json has all."
        console.print(f"  {note}", highlight=False)
    if perplexity := figures.get("perplexity"):
        counted = f"{figures['perplexity_tokens']:,} tokens"
        console.print(f"  perplexity of the gold answers: {perplexity:.4g} ({counted})", highlight=False)
    if figures["changed"]:
        note = f"The {config.split} split is not the one that the training measured: its data has changed since."
        print_lines(console, f"  {note}")
    if figures["without_gold"]:
        console.print(f"  Not counted: {pluralize(figures['without_gold'], 'example')} without a gold answer.")
    print_lines(
        console,
        *describe_overlap(figures["overlap"], "train or validation of the run"),
        *describe_lost(figures["lost"]),
        *([config.output] if config.output else []),
        *([figures["tracked"]] if config.track else []),
        indent="  ",
    )


if __name__ == "__main__":
    main()
