"""The folder of a training run: named by the settings that decide its result, finished once it has ``metrics.json``."""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dsbs import __version__
from dsbs.core.errors import RunError
from dsbs.core.files import write_json, write_text
from dsbs.core.fingerprint import fingerprint
from dsbs.core.names import path_part
from dsbs.core.run_ids import find_run_id, new_run_id
from dsbs.core.untrusted import read_object

PACKAGES = (
    "torch",
    "transformers",
    "datasets",
    "sentencepiece",
    "accelerate",
    "numpy",
    "pyarrow",
    "scikit-learn",
    "skops",
)


@dataclass(frozen=True)
class Run:
    """A run's folder and the settings that name it.

    Attributes:
        folder: ``<output_dir>/train/<task>/<student>/<objective>/<data_fraction>/<seed>-<hash>``.
        settings: every setting that decides the result, and hashes of the data.
    """

    folder: Path
    settings: dict[str, Any]

    @property
    def metrics_path(self) -> Path:
        """``metrics.json``, written last."""
        return self.folder / "metrics.json"

    @property
    def manifest_path(self) -> Path:
        """``manifest.json``: settings, versions, command."""
        return self.folder / "manifest.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the training's checkpoints; the best and the last are kept."""
        return self.folder / "checkpoints"

    @property
    def checkpoint(self) -> Path:
        """Folder of the finished student."""
        return self.folder / "checkpoint"

    @property
    def cache(self) -> Path:
        """Folder of files that can be recomputed, shared by all runs of an output folder."""
        return self.folder.parents[5] / "cache"

    def finished_metrics(self) -> dict[str, Any] | None:
        """Return the metrics, or None where the run is not finished."""
        if not self.metrics_path.exists():
            return None
        return read_object(self.metrics_path)

    def load_manifest(self) -> dict[str, Any]:
        """Return the manifest, ``{}`` where there is none."""
        if not self.manifest_path.exists():
            return {}
        return read_object(self.manifest_path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Create the folder and hold its lock within the context.

        Raises:
            RunError: another process holds the lock, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise RunError(f"{self.folder}: another process is already training this run; wait or stop it.") from None
        except OSError as error:
            raise RunError(
                f"{self.folder}: cannot be written ({error}). Set output_dir=FOLDER to another folder."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def write_manifest(self, config_yaml: str, command: str, extra: dict[str, Any]) -> None:
        """Write ``config.yaml`` and ``manifest.json``; a resumed run keeps its id at W&B."""
        run_id = find_run_id(self.folder) if self.manifest_path.exists() else new_run_id()
        write_text(self.folder / "config.yaml", config_yaml)
        manifest = {
            "dsbs": __version__,
            "command": command,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": {name: metadata.version(name) for name in PACKAGES},
            "settings": self.settings,
            "run_id": run_id,
            **extra,
        }
        write_json(self.manifest_path, manifest)

    def finish(self, metrics: dict[str, Any]) -> None:
        """Write ``metrics.json``, which marks the run as finished."""
        write_json(self.metrics_path, metrics)

    def fail(self, reason: str) -> None:
        """Write ``failed.json`` with the reason; ``clear_failure`` removes it when the run starts again."""
        write_json(self.folder / "failed.json", {"reason": reason})

    def clear_failure(self) -> None:
        """Remove ``failed.json``."""
        (self.folder / "failed.json").unlink(missing_ok=True)


def name_run(output_dir: str, settings: dict[str, Any]) -> Run:
    """Return the run of some settings.

    Args:
        settings: decide the result; with at least task.name, student.name, objective.name, data_fraction, seed.
    """
    folder = (
        Path(output_dir)
        / "train"
        / path_part(settings["task"]["name"], "task.name")
        / path_part(settings["student"]["name"], "student.name")
        / path_part(settings["objective"]["name"], "objective.name")
        / str(round(settings["data_fraction"], 6))
        / f"{settings['seed']}-{fingerprint(settings)}"
    )
    return Run(folder, settings)


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as one with dotted keys.

    >>> flatten({"objective": {"name": "finetune", "alpha": 0.5}, "seed": 0})
    {'objective.name': 'finetune', 'objective.alpha': 0.5, 'seed': 0}
    """
    if not isinstance(node, dict):
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
