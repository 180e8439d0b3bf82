"""Publishing a dashboard at W&B, and keeping what was published beside the report."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dsbs import __version__
from dsbs.core.errors import DataError, RunError
from dsbs.core.files import write_json
from dsbs.core.tracking import Tracking, tell_error
from dsbs.core.untrusted import read_json_file
from dsbs.core.wandb_mode import set_environment, with_key
from dsbs.dashboards.building import Dashboard, build_report, build_workspace
from dsbs.dashboards.study import Study
from dsbs.training.run_folder import Run
from dsbs.training.tracked import curves, open_run, track_result

FILE = "dashboard.json"


@dataclass(frozen=True)
class Place:
    """Where at W&B, and what was published there before: ``workspace`` (a URL) and ``report`` (an id)."""

    entity: str
    project: str
    workspace: str | None = None
    report: str | None = None


@dataclass(frozen=True)
class Published:
    """What can be opened.

    Attributes:
        place: with what a later publication replaces.
        report: URL of the report.
        shared: a link with which anyone can read it, or None.
    """

    place: Place
    report: str
    shared: str | None = None


def find_project(study: Study, entity: str | None, project: str | None, tracking: Tracking) -> tuple[str | None, str]:
    """Return entity and project: those given, else those of the runs where they agree, else those of the settings."""
    own = [(run.config.get("tracking.entity"), run.config.get("tracking.project")) for run in study.runs.values()]
    entities, projects = {one for one, _ in own if one}, {one for _, one in own if one}
    agreed = entities.pop() if len(entities) == 1 else None
    if project is None and len(projects) > 1:
        raise DataError(f"The runs are in several projects, {', '.join(sorted(projects))}: add project=NAME.")
    return entity or agreed or tracking.entity, project or (projects.pop() if projects else tracking.project)


def save_specification(dashboard: Dashboard, place: Place, published: Published | None) -> Path:
    """Write what W&B is given, or would be, beside the report; return the path.

    The report's run sets name no project here: W&B would have to be asked for its number. Where nothing was published
    now, what was before stays written down, so that the next publication replaces it.

    Raises:
        DataError: where the file from before cannot be read.
    """
    study = dashboard.study
    workspace, report = build_workspace(dashboard, place.entity, place.project), build_report(dashboard, "", "")
    keys = sorted(f"{where}:{name}" for where, name in dashboard.keys)
    content = {
        "task": study.task,
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "dsbs": __version__,
        "entity": place.entity,
        "project": place.project,
        "runs": {id: str(run.folder) for id, run in study.runs.items()},
        "keys": keys,
        "left_out": dashboard.left_out,
        "published": vars(published.place) if published else _recall_published(study),
        "workspace": workspace._to_model().spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        "report": report._to_model().spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    write_json(study.folder / FILE, content)
    return study.folder / FILE


def recall_place(study: Study, entity: str, project: str) -> Place:
    """Return where a dashboard goes, and what it replaces: what the same command published there before."""
    published = _recall_published(study) or {}
    if (published.get("entity"), published.get("project")) != (entity, project):
        return Place(entity, project)
    return Place(entity, project, published.get("workspace"), published.get("report"))


def _recall_published(study: Study) -> dict[str, Any] | None:
    path = study.folder / FILE
    known = read_json_file(path) if path.exists() else {}
    published = known.get("published") if isinstance(known, dict) else None
    return published if isinstance(published, dict) else None


class Publisher:
    """What is asked of W&B; every fault there is one sentence.

    Args:
        output_dir: W&B writes below it and nowhere else.
    """

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir

    def find_entity(self) -> str:
        """Return the account's own entity.

        Raises:
            RunError: where W&B cannot be asked.
        """
        return str(self._ask(lambda api: api.default_entity))

    def find_known(self, place: Place, ids: list[str]) -> dict[str, set[str]]:
        """Return which of some runs W&B has, and the names in the summary of each.

        Raises:
            RunError: where W&B cannot be asked.
        """
        path, wanted = f"{place.entity}/{place.project}", {"name": {"$in": ids}}

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
        self, study: Study, place: Place, tracking: Tracking, known: Mapping[str, set[str]], new: list[str]
    ) -> None:
        """Tell W&B of runs out of their folders: how they ended, and of those that it lacks the course as well."""
        settings = replace(tracking, entity=place.entity, project=place.project)
        for id in new:
            found = study.runs[id]
            run = Run(found.folder, found.manifest.get("settings") or {})
            with open_run(settings, run, found.metrics, self.output_dir) as tracker:
                if id not in known:
                    for row in curves(found.metrics.get("history") or [], found.metric):
                        tracker.log(row)
                track_result(tracker, settings, run, found.metrics, found.manifest)

    def publish(self, dashboard: Dashboard, place: Place, share: bool) -> Published:
        """Save workspace and report, in the place of those that were published before.

        Raises:
            RunError: where W&B cannot be asked, or refuses.
        """

        def save(_: Any) -> Published:
            workspace = _replaced(build_workspace(dashboard, place.entity, place.project), place.workspace).save()
            report = build_report(dashboard, place.entity, place.project)
            report.id = place.report or ""
            report.save()
            shared = report.enable_share_link() if share else None
            return Published(replace(place, workspace=workspace.url, report=report.id), report.url, shared)

        published: Published = self._ask(save)
        return published

    def _ask(self, act: Any) -> Any:
        set_environment(self.output_dir.resolve())
        with with_key():
            try:
                import wandb

                return act(wandb.Api(timeout=20))
            except Exception as error:  # W&B's, requests', pydantic's: none of them is the user's to read
                raise RunError(f"W&B: {tell_error(error)}. The same command tries again.") from error


def _replaced(workspace: Any, url: str | None) -> Any:
    """Return a workspace that is saved in the place of the one at a URL, where that is still there."""
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
