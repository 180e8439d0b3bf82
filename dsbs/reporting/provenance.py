"""How the runs of a report were made: versions, data, annotations, commands."""

from collections.abc import Iterable, Sequence
from typing import Any

from dsbs.reporting.reading import FinishedRun
from dsbs.reporting.variants import show_value


def trace_runs(runs: Sequence[FinishedRun]) -> dict[str, Any]:
    """Return the provenance of runs from their manifests, without repetitions.

    Returns:
        ``started``: first and last start; ``versions``: name -> versions; ``data``: the data sets, each with ``path``,
        ``hash``, ``files``, ``test_set`` and numbers of examples; ``annotations``: those trained on; ``overlap``: test
        inputs that occur in train or validation, of the run with the largest ``data_fraction``, or None; ``commands``:
        sorted.
    """
    manifests = [run.manifest for run in runs]
    started = sorted(str(manifest["started"]) for manifest in manifests if manifest.get("started"))
    versions = {name: _each(manifest.get(name) for manifest in manifests) for name in ("dsbs", "python", "platform")}
    packages = sorted({name for manifest in manifests for name in manifest.get("packages") or {}})
    for name in packages:
        versions[name] = _each((manifest.get("packages") or {}).get(name) for manifest in manifests)
    return {
        "started": [started[0], started[-1]] if started else [],
        "versions": {name: found for name, found in versions.items() if found},
        "data": _unique(_describe_data(run) for run in runs),
        "annotations": _unique(_describe_annotations(run) for run in runs),
        "overlap": _find_overlap(runs),
        "commands": _each(manifest.get("command") for manifest in manifests),
    }


def _find_overlap(runs: Sequence[FinishedRun]) -> dict[str, Any] | None:
    counted = [run for run in runs if run.metrics.get("overlap")]
    if not counted:
        return None
    most = max(counted, key=lambda run: run.data_fraction)
    return {**most.metrics["overlap"], "data_fraction": most.data_fraction}


def _describe_data(run: FinishedRun) -> dict[str, Any]:
    task = (run.manifest.get("settings") or {}).get("task") or {}
    test = run.metrics["test"]
    return {
        "path": run.config.get("task.path") or run.config.get("task.hub"),
        "hash": run.config.get("data"),
        "files": task.get("files"),
        "test_set": run.answers.test_set if run.answers else None,
        "test_examples": test.get("examples"),
    }


def _describe_annotations(run: FinishedRun) -> dict[str, Any] | None:
    if not run.metrics.get("teacher"):
        return None
    known = {key.removeprefix("learnt."): value for key, value in run.config.items() if key.startswith("learnt.")}
    return {"teacher": run.metrics["teacher"], "model": run.manifest.get("model"), **known}


def _each(values: Iterable[Any]) -> list[str]:
    return sorted({show_value(value) for value in values if value is not None})


def _unique(items: Iterable[dict[str, Any] | None]) -> list[dict[str, Any]]:
    return list({repr(item): item for item in items if item}.values())
