"""Publish a dashboard at W&B, and record it beside the report."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dsbs import __version__
from dsbs.core.errors import DataError, RunError
from dsbs.core.files import write_json
from dsbs.core.tracking import Tracking, describe_error
from dsbs.core.untrusted import read_json_file
from dsbs.core.wandb_mode import set_environment, with_key
from dsbs.dashboards.building import Dashboard, build_report, build_workspace
from dsbs.dashboards.study import Study
from dsbs.training.run_folder import Run
from dsbs.training.tracked import curves, open_run, track_result

FILE = "dashboard.json"


@dataclass(frozen=True)
class Destination:
    """The W&B project that a dashboard is published in.

    Attributes:
        entity: the user or team that owns it.
        workspace: URL of the workspace published there before, or None.
        report: id of the report published there before, or None.
    """

    entity: str
    project: str
    workspace: str | None = None
    report: str | None = None


@dataclass(frozen=True)
class Published:
    """A published dashboard.

    Attributes:
        destination: with workspace and report, which the next publication replaces.
        report: URL of the report.
        shared: link with which anyone can read it, or None.
    """

    destination: Destination
    report: str
    shared: str | None = None


def find_project(study: Study, entity: str | None, project: str | None, tracking: Tracking) -> tuple[str | None, str]:
    """Return entity and project: those given, else those of the runs, else those of ``tracking``.

    Raises:
        DataError: the runs are in several projects, and none is given.
    """
    own = [(run.config.get("tracking.entity"), run.config.get("tracking.project")) for run in study.runs.values()]
    entities, projects = {one for one, _ in own if one}, {one for _, one in own if one}
    agreed = entities.pop() if len(entities) == 1 else None
    if project is None and len(projects) > 1:
        raise DataError(f"The runs are in several projects, {', '.join(sorted(projects))}: add project=NAME.")
    return entity or agreed or tracking.entity, project or (projects.pop() if projects else tracking.project)


def save_specification(dashboard: Dashboard, destination: Destination, published: Published | None) -> Path:
    """Write ``dashboard.json``, with workspace and report as W&B gets them, beside the report; return its path.

    The report's run sets name no project here, since that takes a request to W&B. Without a publication now, the record
    of the last one is kept, so that the next replaces it.

    Raises:
        DataError: the earlier file cannot be read.
    """
    study = dashboard.study
    workspace = build_workspace(dashboard, destination.entity, destination.project)
    report = build_report(dashboard, "", "")
    keys = sorted(f"{where}:{name}" for where, name in dashboard.keys)
    content = {
        "task": study.task,
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "dsbs": __version__,
        "entity": destination.entity,
        "project": destination.project,
        "runs": {id: str(run.folder) for id, run in study.runs.items()},
        "keys": keys,
        "left_out": dashboard.left_out,
        "published": vars(published.destination) if published else _load_published(study),
        "workspace": workspace._to_model().spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        "report": report._to_model().spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    write_json(study.folder / FILE, content)
    return study.folder / FILE


def find_destination(study: Study, entity: str, project: str) -> Destination:
    """Return a project as destination, with workspace and report if ``dashboard.json`` says that they are there.

    Raises:
        DataError: the file cannot be read.
    """
    published = _load_published(study) or {}
    if (published.get("entity"), published.get("project")) != (entity, project):
        return Destination(entity, project)
    return Destination(entity, project, published.get("workspace"), published.get("report"))


def _load_published(study: Study) -> dict[str, Any] | None:
    path = study.folder / FILE
    known = read_json_file(path) if path.exists() else {}
    published = known.get("published") if isinstance(known, dict) else None
    return published if isinstance(published, dict) else None


class Publisher:
    """Requests to W&B, whose errors are raised as ``RunError`` with one sentence."""

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir

    def find_entity(self) -> str:
        """Return the account's default entity.

        Raises:
            RunError: W&B cannot be reached.
        """
        return str(self._ask(lambda api: api.default_entity))

    def find_known(self, destination: Destination, ids: list[str]) -> dict[str, set[str]]:
        """Return id -> names in the W&B summary, for those of some runs that W&B has.

        Raises:
            RunError: W&B cannot be reached.
        """
        path, wanted = f"{destination.entity}/{destination.project}", {"name": {"$in": ids}}

        def ask(api: Any) -> dict[str, set[str]]:
            try:
                return {run.id: set(run.summary.keys()) for run in api.runs(path, filters=wanted, lazy=False)}
            except ValueError as error:  # a project that is not there yet
                if "not find" in str(error) or "not found" in str(error):
                    return {}
                raise

        found: dict[str, set[str]] = self._ask(ask)
        return found

    def upload(
        self, study: Study, destination: Destination, tracking: Tracking, known: Mapping[str, set[str]], new: list[str]
    ) -> None:
        """Upload runs from their folders: results, and the history of those that W&B lacks.

        Args:
            known: ids of the runs that W&B has; see ``find_known``.
        """
        settings = replace(tracking, entity=destination.entity, project=destination.project)
        for id in new:
            found = study.runs[id]
            run = Run(found.folder, found.manifest.get("settings") or {})
            with open_run(settings, run, found.metrics, self.output_dir) as tracker:
                if id not in known:
                    for row in curves(found.metrics.get("history") or [], found.metric):
                        tracker.log(row)
                track_result(tracker, settings, run, found.metrics, found.manifest)

    def publish(self, dashboard: Dashboard, destination: Destination, share: bool) -> Published:
        """Save workspace and report, replacing those published before.

        Raises:
            RunError: W&B cannot be reached, or refuses.
        """

        def save(_: Any) -> Published:
            workspace = _replaced(
                build_workspace(dashboard, destination.entity, destination.project), destination.workspace
            ).save()
            report = build_report(dashboard, destination.entity, destination.project)
            report.id = destination.report or ""
            report.save()
            shared = report.enable_share_link() if share else None
            return Published(replace(destination, workspace=workspace.url, report=report.id), report.url, shared)

        published: Published = self._ask(save)
        return published

    def _ask(self, act: Any) -> Any:
        set_environment(self.output_dir.resolve())
        with with_key():
            try:
                import wandb

                return act(wandb.Api(timeout=20))
            except Exception as error:  # W&B's, requests', pydantic's: none of them is the user's to read
                raise RunError(f"W&B: {describe_error(error)}. The same command tries again.") from error


def _replaced(workspace: Any, url: str | None) -> Any:
    """Return the workspace set to replace the one at a URL, if that still exists."""
    if not url:
        return workspace
    import wandb_workspaces.workspaces as ws

    try:
        earlier = ws.Workspace.from_url(url)
    except Exception:  # it was deleted, or is of a form that this version cannot read
        return workspace
    for name in ("name", "sections", "settings", "runset_settings"):
        setattr(earlier, name, getattr(workspace, name))
    return earlier
