"""Every experiment that sweeps: its first and its last job are sound, and can start on small data."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from dsbs.cli.composition import conf_dir
from dsbs.cli.config import collect_faults
from dsbs.cli.settings import compose_settings
from dsbs.data.subsets import parse_fraction
from dsbs.training.plan import Plan, prepare_run

SWEEPS = ("controls", "equal_search", "model_size", "one_eighth", "triage_hard", "triage_noise", "unlabelled")
SMALL = ["task.products=12", "task.complaints=12", "task.train=64", "task.validation=16", "task.test=16"]


def jobs(experiment: str) -> list[list[str]]:
    """Return what each job of a sweep gets to read."""
    params = OmegaConf.load(conf_dir() / "experiment" / f"{experiment}.yaml").hydra.sweeper.params
    choices = [[f"{key}={value}" for value in str(values).split(",")] for key, values in params.items()]
    return [[f"experiment={experiment}", *words] for words in itertools.product(*choices)]


def plan(folder: Path, *words: str) -> Plan:
    settings = compose_settings("train", [*words, f"output_dir={folder}", "tracking.mode=disabled"])
    assert collect_faults(settings) + settings.faults() == []
    return prepare_run(settings)


def ends() -> Iterator[Any]:
    for experiment in SWEEPS:
        for words in (jobs(experiment)[0], jobs(experiment)[-1]):
            yield pytest.param(words, id=" ".join(words))


@pytest.mark.parametrize("words", ends())
def test_the_jobs_of_an_experiment_can_start(tmp_path: Path, words: list[str]) -> None:
    made = plan(tmp_path, *words, *SMALL)
    fraction = parse_fraction(made.settings.data_fraction)
    assert len(made.data.train) == round(64 * fraction)
    shrinks = "experiment=controls" not in words
    assert len(made.data.validation) == (round(16 * fraction) if shrinks else 16)
    assert len(made.data.test) == 16


def test_every_experiment_that_sweeps_is_looked_at() -> None:
    found = [path.stem for path in sorted((conf_dir() / "experiment").glob("*.yaml")) if "sweeper" in path.read_text()]
    assert found == list(SWEEPS)


def test_one_eighth_is_of_any_task_and_without_a_sweep_a_run_as_usual(tmp_path: Path) -> None:
    assert len(jobs("one_eighth")) == 5 * 2 * 5
    lines = [f'{{"input": "question {number}", "label": "{"yes" if number % 2 else "no"}"}}' for number in range(80)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    words = ["task=table", f"task.path={tmp_path}/rows.jsonl", "task.test_share=0.2", "objective=finetune"]
    made = plan(tmp_path, "experiment=one_eighth", *words, "data_fraction=0.25", "student=t5_scratch_xs")
    assert made.settings.student.d_model == 16
    assert len(made.data.train) < 20
    assert len(made.data.validation) < 4
    plan(tmp_path, "experiment=one_eighth", *words, "student=logreg")  # without a decoder, and without steps
    usual = plan(tmp_path, "experiment=one_eighth", *SMALL)
    assert (usual.settings.objective.name, usual.settings.data_fraction, usual.settings.seed) == (
        "step_by_step",
        1.0,
        0,
    )


def test_the_sizes_grow_and_are_tuned_as_the_usual_student(tmp_path: Path) -> None:
    sizes = []
    for words in jobs("model_size")[::6]:
        settings = compose_settings("train", [*words, "objective=step_by_step"])
        sizes.append((settings.student.name, settings.student.d_model))
        assert (settings.student.dropout_rate, settings.objective.alpha) == (0.2, 0.2)
        assert compose_settings("train", [*words, "objective=finetune"]).training.per_device_train_batch_size == 128
    assert [size for _, size in sizes] == [16, 32, 64, 128, 256]
    assert len({name for name, _ in sizes}) == 5
