"""Train a student on a task, with a teacher's rationales where the objective uses them.

    dsbs train                                               the built-in task, on a laptop, in minutes
    dsbs train task=table task.path=mails.csv task.input=text student=minilm teacher=openai teacher.model=gpt-5-mini
    dsbs train -m objective=finetune,step_by_step seed=0,1   a sweep: a run for each combination

Finished runs are not trained again; stopped ones resume from their last checkpoint.
"""

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from dsbs.cli.arguments import typed_arguments, typed_command
from dsbs.cli.command import command
from dsbs.cli.config import check_settings
from dsbs.core.distributed import is_main, main_first
from dsbs.core.progress import standard_output
from dsbs.core.terminal import print_lines
from dsbs.core.units import show_fraction
from dsbs.data.overlap import describe_overlap
from dsbs.inference.metrics import might_improve, name_score, show_score
from dsbs.training.notes import OTHERS
from dsbs.training.plan import Plan, execute, prepare_run
from dsbs.training.settings import TrainSettings

# Counts of examples from which a run learned less, or nothing, in words.
LEFT_OUT = {
    "asked_and_failed": "without a usable answer of the teacher",
    "no_label": "without a label (not used; labels=mixed learns the teacher's)",
    "teacher_labels": "with the teacher's label",
    "label_only": "learned by the label alone",
    "dropped": "dropped",
}


@command("train")
def main(settings: TrainSettings) -> float:
    """Train the run of the settings, unless it is finished, and show its result.

    Returns:
        The validation score, for searches over settings; the test score is not used for that.
    """
    plan = main_first(lambda: make_plan(settings))
    finished = plan.finished_metrics()
    metrics = finished or execute(plan, OmegaConf.to_yaml(OmegaConf.structured(settings)), typed_command())
    if is_main():
        show(metrics, plan, finished is not None, standard_output())
    return float(metrics["validation"][plan.settings.task.metric])


def make_plan(settings: TrainSettings, typed: Sequence[str] | None = None) -> Plan:
    """Check the settings and plan the run; missing annotations are extracted first if the teacher costs nothing.

    Args:
        typed: the words that the user typed, as ``typed_arguments`` returns them; None: those of this command line.

    Raises:
        DsbsError: settings or data are faulty.
    """
    check_settings(settings)
    settings.student = settings.student.resolve()
    return prepare_run(settings, typed_arguments() if typed is None else typed)


def show(metrics: dict[str, Any], plan: Plan, skipped: bool, console: Console) -> None:
    """Print the result of a run."""
    if skipped:
        console.print("This run is finished already; delete its folder to train it again.")
    metric = plan.settings.task.metric
    counts, best = metrics["counts"], f"step {metrics['best_step']} of {metrics['steps']}"
    console.print(
        f"[bold]{metrics['task']} · {metrics['student']} · {metrics['objective']}[/bold] on "
        f"{metrics['train_examples']:,} examples ({show_fraction(metrics['data_fraction'])} of the data), "
        f"seed {metrics['seed']}"
    )
    agreement = f" ({name_score(metric, labels)})" if (labels := metrics["labels"]) != "gold" else ""
    test = metrics.get("test")
    if test is None:
        result = "test not read (test=false)"
    elif test["examples"]:
        result = f"[bold]test {show_score(metric, test[metric])}[/bold] of {test['examples']:,}"
    else:
        result = f"no {metric} is known: there are no gold labels to test on"
    validation = metrics["validation"]
    if chosen := validation.get("chosen_on"):
        best += f", chosen on {chosen['examples']:,}"
    console.print(
        f"  validation{agreement} {show_score(metric, validation[metric])} of {validation['examples']:,} ({best}), "
        f"{result}; "
        f"{metrics['seconds']:.0f} s, {metrics['examples_per_second']:.0f} examples/s"
    )
    if plan.settings.student.reads_training and might_improve(metrics):
        stopped = metrics["steps"] < plan.settings.training.max_steps
        key = "early_stopping_patience" if stopped else "max_steps"
        console.print(f"  The best checkpoint is the last one: perhaps not converged; try a larger training.{key}.")
    same = {"no_label"} if labels != "gold" else set()  # there, an answer that failed is a label that is missing
    if left_out := [f"{counts[name]:,} {LEFT_OUT[name]}" for name in LEFT_OUT if counts.get(name) and name not in same]:
        console.print(f"  train and validation: {', '.join(left_out)}")
    notes = [*metrics.get("notes", ()), *describe_overlap(metrics.get("overlap"), OTHERS)]
    print_lines(console, *notes, plan.run.folder, indent="  ")


if __name__ == "__main__":
    main()
