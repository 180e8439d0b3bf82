"""Choose when a student defers to its teacher: a threshold for a goal, fitted on validation, measured on test.

    dsbs defer checkpoint=outputs/train/triage/t5_scratch/step_by_step/1.0/0-1a2b3c4d accuracy=0.95
    dsbs defer checkpoint=RUN share=0.2
    dsbs defer checkpoint=RUN usd_per_1000=0.5 teacher_usd_per_1000=2
    dsbs defer checkpoint=RUN compare=true

RUN is the folder of a finished run, its checkpoint or an export of it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from dsbs.cli.checkpoints import Checkpoint, open_checkpoint
from dsbs.cli.command import command
from dsbs.cli.config import check_settings
from dsbs.cli.saved_settings import is_below_cwd, load_run_settings, untrusted_path_error
from dsbs.core.errors import ConfigError
from dsbs.core.files import write_text
from dsbs.core.progress import standard_output
from dsbs.core.records import Annotation, Example
from dsbs.core.terminal import make_table, plain, print_lines, print_table
from dsbs.core.untrusted import Fields, excerpt, read_object
from dsbs.deferral.comparison import SHARES, compare_kinds
from dsbs.deferral.page import build_page, draw_curve, rows_of
from dsbs.deferral.policy import Policy, policy_path, save_policy
from dsbs.deferral.settings import DeferConfig
from dsbs.deferral.study import (
    Costs,
    SplitData,
    choose_policy,
    describe_ties,
    describe_unreached,
    measure,
    wanted_share,
)
from dsbs.extraction.annotations import AnnotationFile, annotations_path, load_summary, price_of, total_of
from dsbs.inference.checkpoint import run_of
from dsbs.inference.confidence import MEASURED, add_confidence
from dsbs.inference.exports.records import find_source
from dsbs.inference.metrics import name_score
from dsbs.tasks.base import ACCURACY
from dsbs.training.held_out import HeldOut, load_held_out


@command("defer")
def main(config: DeferConfig) -> None:
    """Choose a threshold on validation, measure it on test, and write ``defer.json`` for ``dsbs.serve``."""
    if config.compare:
        show_comparison(compare(config), standard_output())
        return
    record, path = defer(config)
    show(record, path, standard_output())


def defer(config: DeferConfig) -> tuple[dict[str, Any], Path]:
    """Write ``defer.json`` and its page; return its content and path.

    Raises:
        DsbsError: checkpoint or data are missing, or the goal cannot be reached.
    """
    checkpoint, run, held_out, rationales = find_parts(config)
    predictor = checkpoint.load(config.batch_size)
    task = checkpoint.task_of_run(None, config.trust_run)

    def part(examples: list[Example], split: str) -> SplitData:
        predictions = predictor.predict(examples)
        if config.confidence in MEASURED:
            predictions = add_confidence(predictor, config.confidence, examples, predictions, config.samples)
        return SplitData(examples, predictions, teacher_of(rationales, split, examples))

    costs = costs_of(config, run, rationales)
    validation = part(held_out.validation, held_out.validation_split)
    policy, kind = choose_policy(task, config, validation, costs)
    policy = replace(policy, source=find_source(checkpoint.folder))
    record: dict[str, Any] = {
        "checkpoint": str(checkpoint.folder),
        "goal": config.goal,
        "goal_value": getattr(config, config.goal),
        "note": describe_missed_goal(config, policy, validation, costs) or describe_labels(config, run, held_out),
        "calibrated_by": kind,
        "validation": measure(task, policy, validation, costs),
        "test": measure(task, policy, part(held_out.test, "test"), costs) if held_out.test else None,
    }
    path = policy_path(checkpoint.folder, run)
    save_policy(path, policy, record)
    record["threshold"] = read_object(path)["threshold"]
    write_text(path.with_suffix(".html"), build_page(name_of(checkpoint), record))
    path.with_suffix(".svg").write_bytes(draw_curve(record["test"] or record["validation"], "svg"))
    return record, path


def describe_missed_goal(config: DeferConfig, policy: Policy, validation: SplitData, costs: Costs) -> str | None:
    """Return why fewer answers are deferred than ``share`` or ``usd_per_1000`` say, or None."""
    if config.goal in ("accuracy", "agreement"):
        return None
    return describe_ties(wanted_share(config, costs), policy, validation.predictions)


def describe_labels(config: DeferConfig, run: Path, held_out: HeldOut) -> str | None:
    """Return that accuracy on validation is agreement with labels of the teacher, where it matters."""
    labels = Fields(read_object(run / "metrics.json")).text("labels")
    if labels not in ("teacher", "mixed"):
        return None
    has = f"validation has the teacher's labels{' where there is no gold one' if labels == 'mixed' else ''}"
    agreement = name_score(ACCURACY, labels)
    if not held_out.test:
        return f"{has.capitalize()}: what is called accuracy here is {agreement}."
    if config.goal != "accuracy":
        return None
    return (
        f"accuracy={config.accuracy:g} is {agreement} here, as {has}; the figures above are against the gold labels of "
        "test."
    )


def find_parts(config: DeferConfig) -> tuple[Checkpoint, Path, HeldOut, Path | None]:
    """Return the checkpoint, its run, the held-out examples, and the folder of the teacher's annotations, if any.

    Comparing kinds of confidence needs no annotations: it gets None.

    Raises:
        DsbsError: settings are wrong, or checkpoint or data are missing.
    """
    check_settings(config)
    checkpoint = open_checkpoint(config.checkpoint, config.trust_run)
    run = checkpoint.run or run_of(checkpoint.folder)
    if run is None:
        raise ConfigError(
            "This checkpoint is not inside its run, whose validation examples are needed to choose a threshold: "
            "name the run instead (checkpoint=RUN)."
        )
    manifest = read_object(run / "manifest.json")
    settings = load_run_settings(run, config.trust_run)
    held_out = load_held_out(settings, manifest)
    unasked = config.compare or settings.teacher.repeats_gold  # gold labels are no teacher's answers
    named = None if unasked else Fields(manifest).text("rationales", limit=4096)
    if named and not (config.trust_run or is_below_cwd(named)):
        raise untrusted_path_error(run / "manifest.json", f"rationales={excerpt(named, 400)}")
    return checkpoint, run, held_out, Path(named) if named else None


def compare(config: DeferConfig) -> dict[str, Any]:
    """Return how well each confidence separates the student's right answers from its wrong ones; see ``compare_kinds``.

    Raises:
        DsbsError: checkpoint or data are missing.
    """
    checkpoint, _, held_out, _ = find_parts(config)
    predictor, task = checkpoint.load(config.batch_size), checkpoint.task_of_run(None, config.trust_run)
    found = compare_kinds(task, predictor, config, held_out.validation, held_out.test or held_out.validation)
    return found | {"split": "test" if held_out.test else "validation", "student": name_of(checkpoint)}


def show_comparison(found: dict[str, Any], console: Console) -> None:
    """Print a line for each confidence."""
    share = f"accuracy {100 * found['accuracy']:.1f}%"
    title = f"{found['student']}: {found['examples']:,} examples of {found['split']}, {share}"
    shares = [f"accuracy, surest {share:.0%}" for share in SHARES]
    names = ("AUGRC (95%)", "ECE before", "after", *shares, f"kept at {found['target']:.0%}", "ms more")
    table = make_table(title, "confidence", *names)
    for kind, one in found["confidences"].items():
        if "unavailable" in one:
            table.add_row(kind, plain(one["unavailable"]))
            continue
        low, high = one["augrc_interval"]
        kept = f"{one['coverage']:.1%}"
        if one["accuracy_kept"] is not None:
            kept += f" ({one['accuracy_kept']:.1%} right)"
        table.add_row(
            kind, f"{one['augrc']:.4f} ({low:.4f}-{high:.4f})", f"{one['ece_before']:.4f}", f"{one['ece']:.4f}",
            *(f"{100 * value:.1f}%" for value in one["accuracy_surest"]), kept, f"{one['ms_per_answer']:.1f}",
        )  # fmt: skip
    print_table(console, table)
    console.print(
        f"  AUGRC: lower is better; {found['augrc_random']:.4f} in a random order, {found['augrc_oracle']:.4f} for an "
        "oracle. ECE: calibration error, before and after calibration. Calibration and the threshold of what is kept "
        f"({found['target']:.0%} right with 95% confidence; accuracy= sets it) come from validation.", highlight=False,
    )  # fmt: skip
    coverages = [one["coverage"] for one in found["confidences"].values() if "coverage" in one]
    if coverages and not any(coverages):
        note = describe_unreached("accuracy", found["target"], found["validation_examples"])
        console.print(f"  {note}", soft_wrap=True)


def name_of(checkpoint: Checkpoint) -> str:
    """Return the student's name for titles."""
    return f"{checkpoint.task.name}, {checkpoint.objective.name}"


def teacher_of(rationales: Path | None, split: str, examples: list[Example]) -> dict[str, Annotation]:
    """Return example id -> the teacher's annotation, for the examples that have one.

    Raises:
        DataError: the annotations are broken.
    """
    if rationales is None or not annotations_path(rationales, split).exists():
        return {}
    wanted = {example.id for example in examples}
    return {one.id: one for one in AnnotationFile(rationales, split) if one.id in wanted}


def costs_of(config: DeferConfig, run: Path, rationales: Path | None) -> Costs:
    """Return the costs of teacher, extraction and training, as far as known."""
    metrics = Fields(read_object(run / "metrics.json"))
    summary = load_summary(rationales) if rationales else None
    price, per_1000 = price_of(summary), config.teacher_usd_per_1000
    if per_1000 is None and price:
        per_1000 = 1000 * price[0] / price[1]
    return Costs(per_1000, total_of(summary, "cost_usd"), metrics.number("seconds"))


def show(record: dict[str, Any], path: Path, console: Console) -> None:
    """Print the figures of deferral, and where they were written."""
    split = "test" if record["test"] else "validation"
    table = make_table(f"Deferring for {record['goal']}={record['goal_value']:g}, on {split}", "", "")
    for name, value in rows_of(record[split]):
        table.add_row(plain(name), plain(value))
    print_table(console, table)
    notes = [record["note"]] if record["note"] else []
    print_lines(console, *notes, path.with_suffix(".html"), f"{path}: dsbs.serve mode=defer uses it", indent="  ")


if __name__ == "__main__":
    main()
