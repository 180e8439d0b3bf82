"""The workspace and the report of a study as W&B's objects, built without requests to W&B."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dsbs import __version__
from dsbs.core.units import pluralize, show_count, show_fraction
from dsbs.dashboards.panels import (
    answer_panels,
    bar_panels,
    colour_methods,
    control_panels,
    cost_panels,
    curve_panels,
    keep_known,
    named_keys,
    training_panels,
)
from dsbs.dashboards.study import Key, Study
from dsbs.inference.metrics import show_score
from dsbs.reporting.wording import show_interval

MAX_TITLE = 120
SECTIONS = {
    "Score over the share of the data": curve_panels,
    "Against standard fine-tuning": bar_panels,
    "Controls": control_panels,
    "Training": training_panels,
    "Cost": cost_panels,
    "Answers to test examples": answer_panels,
}


@dataclass(frozen=True)
class Dashboard:
    """The panels of a study.

    Attributes:
        study: of the runs.
        sections: title -> panels, whose keys all exist.
        left_out: a sentence for each panel that is left out, with the keys that the runs lack.
    """

    study: Study
    sections: dict[str, list[Any]]
    left_out: list[str]

    @property
    def keys(self) -> set[Key]:
        """The keys of runs that the panels read."""
        return {key for panels in self.sections.values() for panel in panels for key in named_keys(panel)}


def build_dashboard(study: Study) -> Dashboard:
    """Return the panels of a study whose keys its runs have."""
    sections, left_out = {}, []
    for title, build in SECTIONS.items():
        panels, missing = keep_known(build(study), study)
        left_out += missing
        if panels:
            sections[title] = panels
    return Dashboard(study, sections, left_out)


def build_workspace(dashboard: Dashboard, entity: str, project: str) -> Any:
    """Return the workspace; it shows all runs of the task in the project, future ones included."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    study = dashboard.study
    columns = [f"config:{name}.value" for name in ("method", "data_fraction", "seed")]
    columns += [f"summary:{name}" for name in (f"test/{study.metric}", f"validation/{study.metric}", "labels_total")]
    colours = colour_methods(study)
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"dsbs: {study.task}"[:MAX_TITLE],
        sections=[ws.Section(name=title, panels=panels, is_open=True) for title, panels in dashboard.sections.items()],
        settings=ws.WorkspaceSettings(x_axis="step", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=[expr.Config("task") == study.task],
            pinned_columns=["run:displayName", *columns],
            run_settings={id: ws.RunSettings(color=colour) for id, colour in colours.items()},
        ),
    )


def build_report(dashboard: Dashboard, entity: str, project: str) -> Any:
    """Return the W&B report: the verdict, and run sets of exactly the runs that it is based on.

    Args:
        entity: owner of the project; if empty, converting the report to W&B's format sends no request for the project.
    """
    import wandb_workspaces.reports.v2 as wr

    study = dashboard.study
    main, others = _run_sets(study, entity, project), _control_sets(study, entity, project)
    blocks: list[Any] = [
        wr.H1("Verdict"),
        *_describe_verdict(study),
        wr.H1("Conditions"),
        wr.MarkdownBlock(_tabulate(study)),
    ]
    for title, panels in dashboard.sections.items():
        sets = others if title == "Controls" else main
        if sets:
            blocks += [wr.H1(title), wr.PanelGrid(runsets=sets, panels=panels)]
    blocks += [wr.H1("How it came about"), wr.MarkdownBlock(_describe_origin(study))]
    title = f"{study.task}: {' and '.join(study.candidates)} against {study.baseline}"
    return wr.Report(
        entity=entity,
        project=project,
        title=title[:MAX_TITLE],
        description=f"{pluralize(len(study.runs), 'run')}, as of {study.document.get('made', 'an unknown date')}",
        blocks=blocks,
        width="fluid",
    )


def _run_sets(study: Study, entity: str, project: str) -> list[Any]:
    """Return the run sets of candidates, baseline, and all other runs without controls."""
    named = {" and ".join(study.candidates): study.ids(*study.candidates)}
    named[f"{study.baseline} (baseline)"] = study.ids(study.baseline)
    known = {id for ids in named.values() for id in ids}
    objectives = {names["objective"] for names in study.described.values()}
    named["other methods"] = [id for id in study.ids(*objectives) if id not in known]
    return [_run_set(study, name, ids, entity, project) for name, ids in named.items() if ids]


def _control_sets(study: Study, entity: str, project: str) -> list[Any]:
    """Return the run sets of controls, and of the runs without on the same shares of the data."""
    controlled = study.ids(*study.candidates, controls=True)
    shares = study.fractions(controlled)
    without = [id for id in study.ids(*study.candidates) if study.described[id]["data_fraction"] in shares]
    named = {"under a control": controlled, "without a control": without}
    return [_run_set(study, name, ids, entity, project) for name, ids in named.items() if ids]


def _run_set(study: Study, name: str, ids: list[str], entity: str, project: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    colours = colour_methods(study)
    return wr.Runset(
        entity=entity if project else "",
        project=project if entity else "",
        name=name,
        filters=f"ID in {sorted(ids)!r}",
        run_settings={id: wr.RunSettings(color=colours[id]) for id in ids},
    )


def _describe_verdict(study: Study) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    document = study.document
    caveats = [f"The teacher {name} {caveat}." for name, caveat in document["stand_ins"].items()]
    for item in document["comparisons"]:
        if item.get("kind") == "headline":
            caveats += item.get("notes", [])
    blocks: list[Any] = [wr.P(str(text)) for text in document["headline"]]
    if caveats:
        blocks += [wr.H2("Caveats"), wr.UnorderedList(_texts(dict.fromkeys(caveats)))]
    saved = [item["told"] for item in document["labels_saved"] if item.get("told")]
    if saved:
        blocks += [wr.H2("Labels saved"), wr.UnorderedList(_texts(saved))]
    if document["controls"]:
        blocks += [wr.H2("Controls"), *(wr.P(text) for text in _texts(document["controls"]))]
    return blocks


def _texts(found: Any) -> list[Any]:
    return [str(text) for text in ([found] if isinstance(found, str) else found)]


def _tabulate(study: Study) -> str:
    """Return the conditions as a table in Markdown."""
    metric = study.metric
    rows = [("method", "data", "labels", "seeds", f"test {metric}", "95% interval")]
    rows += [
        (
            str(cell["name"]),
            show_fraction(cell["data_fraction"]),
            show_count(cell.get("labels_total")),
            str(len(cell["seeds"])),
            show_score(metric, cell[metric]),
            show_interval(metric, cell["ci_low"], cell["ci_high"]),
        )
        for cell in study.document["cells"]
    ]
    head, *body = (_row(row) for row in rows)
    return "\n".join([head, "|---|---|---:|---:|---:|---|", *body])


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _describe_origin(study: Study) -> str:
    """Return the provenance of the runs, in Markdown."""
    document = study.document
    left_out, searches = len(document.get("left_out", [])), len(document.get("searches", []))
    settings = document["settings"]
    return "\n".join(
        [
            f"- dsbs {document.get('dsbs', __version__)}; the report was made on {document.get('made', '?')}.",
            f"- Margin of non-inferiority: {settings.get('margin')} points; baseline: {study.baseline}.",
            f"- {len(study.runs)} runs count, {left_out} do not, {searches} searches left the test split alone.",
            "- The intervals above are those of `dsbs report`: over seeds and test examples. The bands in the charts "
            "are one standard deviation over seeds, which W&B computes.",
        ]
    )
