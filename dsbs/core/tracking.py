"""Weights & Biases, kept at arm's length: it never asks for a key and never stops a run."""

import contextlib
import logging
import netrc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from dsbs.core.fingerprint import fingerprint

logger = logging.getLogger(__name__)

MODES = ("auto", "online", "offline", "disabled")
# Where W&B's hosted service answers; a netrc entry for any of them is a key for all of them.
HOSTED = ("api.wandb.ai", "api.forge.coreweave.com", "forge.coreweave.com")


@dataclass
class Tracking:
    """What is sent to Weights & Biases, and how.

    Attributes:
        mode: ``online``, ``offline`` (files that ``wandb sync`` uploads later), ``disabled``, or ``auto``: what the
            environment variable ``WANDB_MODE`` says, else online where a key is found and offline where none is.
        project: the W&B project.
        entity: the user or team that owns the project; None for the account's default.
        group: gathers the runs of a sweep; None leaves it to the command.
        tags: words to filter runs by.
    """

    mode: str = "auto"
    project: str = "dsbs"
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Return what is wrong with the settings, one sentence each."""
        if self.mode in MODES:
            return []
        return [f"tracking.mode={self.mode}: expected one of {', '.join(MODES)}."]


def derive_run_id(folder: Path) -> str:
    """Return the W&B id of a run's folder; a resumed run gets the same one, wherever ``outputs`` lies.

    Args:
        folder: ``<output_dir>/train/<task>/<student>/<objective>/<data_fraction>/<seed>-<hash>``.
    """
    return fingerprint(list(folder.parts[-5:]), length=16)


def find_key() -> str | None:
    """Return the W&B key of this machine (``WANDB_API_KEY``, else netrc), or None. It is only ever handed to W&B."""
    if key := os.environ.get("WANDB_API_KEY"):
        return key
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "")).netloc
    hosts = (host,) if host and host not in HOSTED else HOSTED
    candidates = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for path in candidates:
        try:
            entries = netrc.netrc(Path(path).expanduser())
        except (OSError, RuntimeError, netrc.NetrcParseError):
            continue
        for name in hosts:
            # `hosts` holds the named machines alone: netrc's `default` entry is a password for somewhere else.
            if name in entries.hosts and entries.hosts[name][2]:
                return entries.hosts[name][2]
    return None


def choose_mode(mode: str) -> str:
    """Return ``online``, ``offline`` or ``disabled`` for a setting, the environment and the keys of this machine."""
    wish = mode if mode != "auto" else os.environ.get("WANDB_MODE", "auto").lower()
    if wish in ("disabled", "offline"):
        return wish
    if wish == "dryrun":  # W&B's older name
        return "offline"
    if find_key() or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return "online"
    if wish == "online":
        logger.warning(
            "W&B: no key found, so this run is recorded offline. Type `wandb login` once, or set WANDB_API_KEY; "
            "tracking.mode=offline silences this, tracking.mode=disabled records nothing."
        )
    return "offline"


class Tracker:
    """A run at W&B, or nothing at all; the calls are the same, and none of them raises.

    Whatever goes wrong at W&B is told once as a warning. Use it as a context manager, so that the run is closed.
    """

    def __init__(self, run: Any | None = None) -> None:
        self._run = run
        self._warned = False

    @property
    def active(self) -> bool:
        """Whether anything is recorded."""
        return self._run is not None

    @property
    def url(self) -> str | None:
        """Where the run can be seen, or None where it is not online."""
        return getattr(self._run, "url", None) or None

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record metrics at an optimiser step.

        The step is a metric of its own, because W&B drops what is logged behind its own counter, and a resumed run
        starts from its last checkpoint, which lies behind it.
        """
        values = dict(metrics) if step is None else {**metrics, "step": step}
        self._try(lambda run: run.log(values))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Set values that describe the whole run, such as its final accuracies."""
        self._try(lambda run: run.summary.update(dict(values)))

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record rows, all with the keys of the first, as a table that can be sorted and filtered."""
        if rows:
            self._try(lambda run: run.log({name: _build_table(rows)}))

    def lines(self, name: str, rows: Sequence[Mapping[str, Any]], x: str, y: str, stroke: str) -> None:
        """Record rows as a chart with a line for each value of the key ``stroke``."""
        if not rows:
            return

        def draw(run: Any) -> None:
            import wandb

            run.log({name: wandb.plot.line(_build_table(rows), x=x, y=y, stroke=stroke, title=name)})

        self._try(draw)

    def image(self, name: str, path: Path) -> None:
        """Record a picture."""

        def draw(run: Any) -> None:
            import wandb

            run.log({name: wandb.Image(str(path))})

        self._try(draw)

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
                logger.warning("W&B: %s. The run goes on; W&B may miss a part of it.", _tell(error))
            self._warned = True


def open_tracker(
    settings: Tracking,
    *,
    run_id: str,
    name: str,
    config: Mapping[str, Any],
    directory: Path,
    group: str | None = None,
    job_type: str = "train",
) -> Tracker:
    """Open a run at W&B: the same one where ``run_id`` exists already.

    Args:
        settings: the config node; with mode ``disabled``, W&B is not even imported.
        run_id: see ``derive_run_id``.
        name: the run's name on the page.
        config: the run's settings, nested; must hold no key.
        directory: W&B writes to ``<directory>/wandb`` and nowhere else.
        group: gathers runs where ``settings.group`` is None.
        job_type: what kind of run it is, such as ``train`` or ``report``.
    """
    mode = choose_mode(settings.mode)
    if mode == "disabled":
        return Tracker()
    directory = directory.resolve()
    _set_environment(directory)
    options: dict[str, Any] = {
        "project": settings.project,
        "entity": settings.entity,
        "group": settings.group or group,
        "tags": settings.tags,
        "id": run_id,
        "name": name,
        "config": dict(config),
        "job_type": job_type,
    }
    for attempt in dict.fromkeys((mode, "offline")):
        try:
            run = _start(attempt, directory, options)
        except Exception as error:  # unreachable, refused, broken installation: none of it is worth a lost run
            rest = "recording offline instead" if attempt == "online" else "nothing is recorded"
            logger.warning("W&B: %s; %s. The run goes on.", _tell(error), rest)
            _abandon()
            continue
        logger.info("W&B: %s", run.url or f"offline, under {directory / 'wandb'}")
        return Tracker(run)
    return Tracker()


def _start(mode: str, directory: Path, options: Mapping[str, Any]) -> Any:
    """Start a run with W&B's own output silenced: what matters is told by ``open_tracker``."""
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


def _set_environment(directory: Path) -> None:
    """Set what W&B reads before any of its settings; what the user has set stays."""
    folder = directory / "wandb"
    defaults = {
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",  # reports about W&B's own errors to its makers
        # Tables and pictures wait here on their way; by default that is the user's home.
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_ARTIFACT_DIR": str(folder / "artifacts"),
    }
    for variable, value in defaults.items():
        os.environ.setdefault(variable, value)


def _build_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    import wandb

    columns: list[str | int] = list(rows[0])
    # Columns that are empty in one row and full in the next are normal here (no rationale, no score).
    return wandb.Table(
        columns=columns, data=[[row[str(key)] for key in columns] for row in rows], allow_mixed_types=True
    )


def _tell(error: Exception) -> str:
    """Return the first line of an error, without any key that it may quote."""
    text = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
    key = find_key()
    return (text.replace(key, "***") if key else text).rstrip(".")
