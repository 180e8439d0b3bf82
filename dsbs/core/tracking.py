"""Weights & Biases: it never asks for a key at the terminal, and no fault of it stops a run."""

import contextlib
import importlib.util
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from dsbs.core.checks import NOT_NEGATIVE, option_faults, range_faults
from dsbs.core.wandb_mode import MODES, choose_mode, find_key, set_environment

logger = logging.getLogger(__name__)

WANDB = "wandb"
# Trackers that Hugging Face's Trainer reports to -> packages of which one is needed; also the names of our extras.
OTHERS = {"mlflow": ("mlflow",), "tensorboard": ("tensorboard", "tensorboardX"), "trackio": ("trackio",)}
NOT_IN_PROJECT = "/\\#?%:"  # W&B takes none of these in the name of a project
MAX_TAG, MAX_NAME = 64, 128  # characters of a tag, and of the other names, that W&B takes
_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass
class Tracking:
    """What is sent to Weights & Biases and other trackers, and how.

    Attributes:
        report_to: any of ``wandb``, ``mlflow``, ``tensorboard``, ``trackio``; all but W&B receive what Hugging
            Face's Trainer logs, so nothing about students that are trained without it. The other keys are for W&B.
        mode: ``online``, ``offline`` (files that ``wandb sync`` uploads later), ``disabled``, or ``auto``: the
            environment variable ``WANDB_MODE``, or else online if a key is found and offline otherwise.
        project: the W&B project; by default the one in the environment variable ``WANDB_PROJECT``, if it is set.
        entity: the user or team that owns the project; None for the account's default.
        group: gathers runs; None: those that differ in their seed alone.
        tags: words to filter runs by, besides task, student, objective and control.
        predictions: rows of the table of test answers, with their inputs; the same examples in all runs. 0: no table.
        artifact: whether the student itself is stored at W&B, as an artifact.
    """

    report_to: list[str] = field(default_factory=lambda: [WANDB])
    mode: str = "auto"
    project: str = field(default_factory=lambda: os.environ.get("WANDB_PROJECT") or "dsbs")
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    predictions: int = 100
    artifact: bool = False

    @property
    def others(self) -> list[str]:
        """The trackers beside W&B."""
        return [name for name in self.report_to if name != WANDB]

    @property
    def chosen_mode(self) -> str:
        """The mode of W&B here: ``online``, ``offline`` or ``disabled`` (also where it is not in ``report_to``)."""
        return choose_mode(self.mode) if WANDB in self.report_to else "disabled"

    def faults(self) -> list[str]:
        """Return what is wrong with the settings, one sentence each."""
        faults = option_faults(self, "tracking.", mode=MODES)
        faults += range_faults(self, NOT_NEGATIVE, "predictions", prefix="tracking.")
        odd = not self.project.strip() or set(self.project) & set(NOT_IN_PROJECT) or len(self.project) > MAX_NAME
        if odd and self.chosen_mode != "disabled":
            faults.append(
                f"tracking.project={self.project}: expected a name of up to {MAX_NAME} characters without any of "
                f"{' '.join(NOT_IN_PROJECT)}."
            )
        for name in self.others:
            if name not in OTHERS:
                faults.append(f"tracking.report_to=[{name}]: expected any of {', '.join((WANDB, *OTHERS))}.")
            elif not any(map(importlib.util.find_spec, OTHERS[name])):
                faults.append(f"tracking.report_to=[{name}] needs the package {name}: pip install 'dsbs[{name}]'")
        return faults


@dataclass(frozen=True)
class OtherTrackers:
    """Trackers beside W&B that a run is reported to, while it is trained.

    Attributes:
        directory: each has a folder of its own below it, unless its environment variables say otherwise.
        project: the project that the runs belong to there.
    """

    names: tuple[str, ...] = ()
    directory: Path = Path()
    project: str = ""
    run: str = ""


class Tracker:
    """A run at W&B, or none at all; the calls are the same, and none of them raises.

    The first error of W&B is logged as a warning. Use it as a context manager, so that the run is closed.

    Args:
        others: other trackers; a backend that can report to them does.
    """

    def __init__(self, run: Any | None = None, others: OtherTrackers | None = None) -> None:
        self._run = run
        self._warned = False
        self.others = others or OtherTrackers()

    @property
    def active(self) -> bool:
        """Whether anything is recorded."""
        return self._run is not None

    @property
    def url(self) -> str | None:
        """Where the run can be seen, or None where it is not online."""
        return getattr(self._run, "url", None) or None

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record metrics at an optimizer step.

        The step is a metric of its own, because W&B drops what is logged at an earlier step than its own counter, and a
        resumed run starts from its last checkpoint, which is earlier.
        """
        values = dict(metrics) if step is None else {**metrics, "step": step}
        self._try(lambda run: run.log(values))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Set values that describe the whole run, such as its final accuracies."""
        self._try(lambda run: run.summary.update(dict(values)))

    def table(self, name: str, rows: Sequence[Mapping[str, Any]] | Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        """Record rows, all with the keys of the first, as a table.

        Args:
            rows: the rows, or a function that returns them; it is called only if something is recorded.
        """

        def record(run: Any) -> None:
            if found := rows() if callable(rows) else rows:
                run.log({name: _build_table(found)})

        self._try(record)

    def lines(self, name: str, rows: Sequence[Mapping[str, Any]], x: str, y: str, stroke: str) -> None:
        """Record rows as a line chart of ``y`` over ``x``, one line for each value of the key ``stroke``."""
        if not rows:
            return

        def draw(run: Any) -> None:
            import wandb

            run.log({name: wandb.plot.line(_build_table(rows), x=x, y=y, stroke=stroke, title=name)})

        self._try(draw)

    def image(self, name: str, path: Path) -> None:
        """Record an image file."""

        def draw(run: Any) -> None:
            import wandb

            run.log({name: wandb.Image(str(path))})

        self._try(draw)

    def artifact(self, name: str, folder: Path, metadata: Mapping[str, Any]) -> None:
        """Store a folder (a student) as an artifact of the type ``model``."""

        def store(run: Any) -> None:
            import wandb

            stored = wandb.Artifact(_NO_NAME.sub("-", name)[:MAX_NAME], type="model", metadata=dict(metadata))
            stored.add_dir(str(folder))
            run.log_artifact(stored)

        self._try(store)

    def close(self, exit_code: int = 0) -> None:
        """End the run; a second call does nothing."""
        self._try(lambda run: run.finish(exit_code=exit_code))
        self._run = None

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(exit_code=0 if kind is None else 1)

    def _try(self, act: Callable[[Any], object]) -> None:
        if self._run is None:
            return
        try:
            act(self._run)
        except Exception as error:  # whatever it is: tracking must not cost a user the training run
            if not self._warned:
                logger.warning(
                    "W&B: %s. The run continues; its record in W&B may be incomplete.", describe_error(error)
                )
            self._warned = True


def open_tracker(
    settings: Tracking,
    *,
    run_id: str,
    name: str,
    config: Mapping[str, Any],
    directory: Path,
    group: str | None = None,
    tags: Sequence[str] = (),
    job_type: str = "train",
) -> Tracker:
    """Open a run at W&B, and resume it where ``run_id`` exists already; offline, or nothing, where that fails.

    Args:
        settings: the config node; with mode ``disabled``, W&B is not even imported.
        config: the run's settings, nested; must hold no API key.
        directory: W&B writes to ``<directory>/wandb`` and nowhere else.
        group: the group of runs, where ``settings.group`` is None.
        tags: in addition to those of the settings.
    """
    directory = directory.resolve()
    others = OtherTrackers(tuple(settings.others), directory, settings.project, name)
    mode = settings.chosen_mode
    if mode == "disabled":
        return Tracker(others=others)
    set_environment(directory)
    options: dict[str, Any] = {
        "project": settings.project,
        "entity": settings.entity,
        "group": (settings.group or group or "")[-MAX_NAME:] or None,  # groups differ at their ends
        "tags": list(dict.fromkeys(tag[:MAX_TAG] for tag in (*settings.tags, *tags) if tag)),
        "id": run_id,
        "name": name[-MAX_NAME:],
        "config": dict(config),
        "job_type": job_type,
    }
    for attempt in dict.fromkeys((mode, "offline")):
        try:
            run = _start(attempt, directory, options)
        except Exception as error:  # unreachable, refused, broken installation: none of it is worth a lost run
            rest = "recording offline instead" if attempt == "online" else "nothing is recorded"
            logger.warning("W&B: %s; %s. The run continues.", describe_error(error), rest)
            _abandon()
            continue
        logger.info("W&B: %s", run.url or f"offline, under {directory / 'wandb'}")
        return Tracker(run, others)
    return Tracker(others=others)


def _start(mode: str, directory: Path, options: Mapping[str, Any]) -> Any:
    """Start a run with W&B's own output silenced: what matters is logged by ``open_tracker``."""
    directory.mkdir(parents=True, exist_ok=True)
    import wandb

    wishes: dict[str, Any] = {
        # The key is given here and not looked up by W&B, which asks at the terminal when it finds none.
        "api_key": find_key() if mode == "online" else None,
        "mode": mode,
        "silent": True,
        "console": "off",
        "symlink": False,  # runs side by side would fight over `latest-run`
        "init_timeout": 20.0,
        "finish_timeout": 120.0,  # newer versions; what is not uploaded by then stays on disk for `wandb sync`
    }
    known = {key: wish for key, wish in wishes.items() if wish is not None and key in wandb.Settings.model_fields}
    run: Any = wandb.init(
        **options,
        dir=str(directory),
        resume="allow",
        reinit="create_new",
        allow_val_change=True,
        save_code=False,
        settings=wandb.Settings(**known),
    )
    run.define_metric("step", hidden=True)
    run.define_metric("*", step_metric="step", step_sync=True)
    return run


def _abandon() -> None:
    """Forget a run that did not start; its id would stay taken within this process."""
    with contextlib.suppress(Exception):
        import wandb

        if wandb.run is None:  # else the process has a run of its own, which is not ours to end
            wandb.teardown()


def _build_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    import wandb

    columns: list[str | int] = list(rows[0])
    # Columns that are empty in one row and full in the next are normal here (no rationale, no score).
    return wandb.Table(
        columns=columns, data=[[row[str(key)] for key in columns] for row in rows], allow_mixed_types=True
    )


def describe_error(error: Exception) -> str:
    """Return the first line of an error's message, with the W&B key masked where it is quoted."""
    text = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
    key = find_key()
    return (text.replace(key, "***") if key else text).rstrip(".")
