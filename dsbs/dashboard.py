"""Build a W&B dashboard of finished runs and their report: a saved workspace and a W&B report with the verdict.

    dsbs dashboard runs=outputs/train/triage
    dsbs dashboard entity=my-team project=distilling share=true
    dsbs dashboard upload=true                       also upload runs that W&B lacks

`dsbs report` comes first. Offline, the dashboard is checked and written beside the report (docs/dashboards.md).
"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from dsbs.cli.command import command
from dsbs.cli.config import check_settings
from dsbs.core.errors import ConfigError, RunError
from dsbs.core.progress import standard_output
from dsbs.core.terminal import print_lines
from dsbs.core.units import pluralize
from dsbs.core.wandb_mode import choose_mode
from dsbs.dashboards.settings import DashboardConfig

if TYPE_CHECKING:
    from dsbs.dashboards.building import Dashboard
    from dsbs.dashboards.study import Study


@command("dashboard")
def main(config: DashboardConfig) -> None:
    """Publish a dashboard for each task among the runs; offline, only write it to a file."""
    check_settings(config)
    from dsbs.dashboards.building import build_dashboard  # imports W&B's packages, which is slow
    from dsbs.dashboards.study import read_studies

    mode = choose_mode(config.tracking.mode)
    if mode != "online" and (config.upload or config.share):
        raise ConfigError(
            "upload=true and share=true need W&B: type `wandb login` once, or set WANDB_API_KEY, and leave out "
            "tracking.mode=offline."
        )
    console, output_dir = standard_output(), Path(config.output_dir)
    for study in read_studies(Path(config.runs), output_dir):
        dashboard = build_dashboard(study)
        console.print(
            f"[bold]{study.task}[/bold]: {pluralize(len(study.runs), 'run')}, {len(dashboard.sections)} sections"
        )
        print_lines(console, *dashboard.left_out, indent="  left out: ")
        show = publish if mode == "online" else keep
        show(dashboard, config, console)


def keep(dashboard: "Dashboard", config: DashboardConfig, console: Console) -> None:
    """Write the dashboard to a file, and print the commands that publish it."""
    from dsbs.dashboards.publishing import Destination, find_project, save_specification

    entity, project = find_project(dashboard.study, config.entity, config.project, config.tracking)
    path = save_specification(dashboard, Destination(entity or "", project), None)
    words = [f"runs={config.runs}", f"entity={entity or 'NAME'}", f"project={project}"]
    words += [f"output_dir={config.output_dir}"] * (config.output_dir != "outputs")
    print_lines(console, f"  {path}")
    lines = find_recorded(dashboard.study, config.output_dir)
    advice = "upload the runs, then publish:"
    if not lines:
        advice = "upload the runs from their folders, as W&B recorded none, and publish:"
        words.append("upload=true")
    print_lines(console, f"Nothing was published. With a key (`wandb login`), {advice}")
    print_lines(console, *lines, shlex.join(["python", "-m", "dsbs.dashboard", *words]), indent="    ")


def publish(dashboard: "Dashboard", config: DashboardConfig, console: Console) -> None:
    """Publish workspace and report at W&B, and print their URLs.

    Raises:
        RunError: W&B has none of the runs, or cannot be reached.
    """
    from dsbs.dashboards.publishing import Publisher, find_destination, find_project, save_specification

    study, publisher = dashboard.study, Publisher(Path(config.output_dir))
    entity, project = find_project(study, config.entity, config.project, config.tracking)
    destination = find_destination(study, entity or publisher.find_entity(), project)
    known = publisher.find_known(destination, list(study.runs))
    wanted = {name for where, name in dashboard.keys if where == "summary"}
    lacking = [id for id in study.runs if id not in known or (wanted & study.summary_of(id)) - known[id]]
    if lacking and config.upload:
        publisher.upload(study, destination, config.tracking, known, lacking)
        console.print(f"  {len(lacking)} of {len(study.runs)} runs were uploaded")
    elif not known:
        raise RunError(
            f"W&B has none of the {len(study.runs)} runs in {destination.entity}/{destination.project}. Add "
            f"upload=true, or, where they were recorded offline, type: {sync_command(config.output_dir)}"
        )
    elif lacking:
        note = f"  {len(lacking)} of {len(study.runs)} runs are not at W&B, or lack what panels show: add upload=true"
        console.print(note, soft_wrap=True)
    published = publisher.publish(dashboard, destination, config.share)
    path = save_specification(dashboard, destination, published)
    places = (published.destination.workspace, published.report, published.shared, path)
    print_lines(console, *filter(None, places), indent="  ")
    if published.shared:
        console.print("  The third address lets anyone read the report; it is not saved.")


def find_recorded(study: "Study", output_dir: str) -> list[str]:
    """Return the commands that upload the study's runs, for each folder where W&B recorded some of them offline."""
    folders = [Path(output_dir), *(run.folder.parents[5] for run in study.runs.values() if len(run.folder.parts) > 6)]
    return [
        sync_command(str(folder))
        for folder in dict.fromkeys(folders)
        if any(next(folder.glob(f"wandb/offline-run-*-{id}"), None) for id in study.runs)
    ]


def sync_command(output_dir: str) -> str:
    """Return the command that uploads runs recorded offline."""
    return f"wandb sync {shlex.quote(str(Path(output_dir) / 'wandb'))}/offline-run-*"


if __name__ == "__main__":
    main()
