"""The panels, and the check that the runs have the keys they name."""

from collections.abc import Sequence
from typing import Any

from dsbs.core.units import show_fraction
from dsbs.dashboards.study import Key, Study
from dsbs.reporting.figure import COLOURS
from dsbs.training.tracked import TABLE, at_share

METHOD = "method"
WIDE, HIGH = 12, 9  # of 24 columns; rows
OVER_SEEDS: dict[str, Any] = {"groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}


def curve_panels(study: Study) -> list[Any]:
    """Return the learning curve, one line per method with a band over seeds, and a scatter plot of all runs."""
    import wandb_workspaces.reports.v2 as wr

    score, share = f"test/{study.metric}", "share of the training data"
    line = _line(
        "Test score by share of the data: mean over seeds, band: one standard deviation", [score], x="data_fraction"
    )
    line.log_x, line.title_x, line.title_y = True, share, f"test {study.metric}"
    return [
        line,
        wr.ScatterPlot(
            title="Every run",
            x=wr.Config("data_fraction"),
            y=wr.SummaryMetric(score),
            log_x=True,
            layout=wr.Layout(w=WIDE, h=HIGH),
        ),
    ]


def bar_panels(study: Study) -> list[Any]:
    """Return bars by method at the share of the claim, at all data, and of both."""
    shares = study.claimed
    panels = [
        _bars(f"On {_name(share)}: mean and spread over seeds", [at_share(study.metric, share)]) for share in shares
    ]
    if len(shares) > 1:
        title = f"On {_name(shares[0])} against all of the data"
        panels.append(_bars(title, [at_share(study.metric, share) for share in shares]))
    return panels


def training_panels(study: Study) -> list[Any]:
    """Return the losses of each task, validation score, learning rate and speed over steps."""
    losses = sorted(name for place, name in study.keys if place == "history" and name.startswith("train/loss_"))
    named = [(name, f"Loss: {name.removeprefix('train/loss_')}") for name in ["train/loss", *losses]]
    named[0] = ("train/loss", "Loss that is minimised")
    named += [
        (f"validation/{study.metric}", f"Validation {study.metric}"),
        ("train/learning_rate", "Learning rate"),
        ("train/tokens_per_second", "Target tokens per second"),
    ]
    return [_line(title, [name]) for name, title in named]


def control_panels(study: Study) -> list[Any]:
    """Return bars of the candidates by control, at each share of the data with a control."""
    ids = study.ids(*study.candidates, controls=True)
    shares = study.fractions(ids)
    return [_bars(f"Controls on {_name(share)}", [at_share(study.metric, share)], by="control") for share in shares]


def cost_panels(study: Study) -> list[Any]:
    """Return the test score over labels, training time, and dollars of annotations."""
    import wandb_workspaces.reports.v2 as wr

    axes = {"labels_total": "Labels", "seconds": "Seconds of training", "teacher_cost_usd": "Dollars for annotations"}
    return [
        wr.ScatterPlot(
            title=f"{title} against the test score",
            x=wr.SummaryMetric(name),
            y=wr.SummaryMetric(f"test/{study.metric}"),
            layout=wr.Layout(w=WIDE, h=HIGH),
        )
        for name, title in axes.items()
    ]


def answer_panels(study: Study) -> list[Any]:
    """Return the table of answers to test examples."""
    import wandb_workspaces.reports.v2 as wr

    return [wr.WeavePanelSummaryTable(table_name=TABLE, layout=wr.Layout(w=24, h=12))]


def keep_known(panels: Sequence[Any], study: Study) -> tuple[list[Any], list[str]]:
    """Return the panels whose keys all exist in the runs, and a sentence for each other one."""
    kept, left_out = [], []
    for panel in panels:
        lacking = sorted(f"{place}:{name}" for place, name in named_keys(panel) - study.keys)
        if lacking:
            left_out.append(f"{name_panel(panel)}: no run has {', '.join(lacking)}")
        else:
            kept.append(panel)
    return kept, left_out


def named_keys(panel: Any) -> set[Key]:
    """Return the keys that a panel reads.

    Raises:
        TypeError: the panel is of an unknown type.
    """
    import wandb_workspaces.reports.v2 as wr

    grouped = getattr(panel, "groupby", None)
    keys = {_key(grouped)} if grouped is not None else set()
    if isinstance(panel, wr.LinePlot):
        return keys | {("history", str(name)) for name in (panel.x, *panel.y)}
    if isinstance(panel, wr.BarPlot):
        return keys | {("summary", str(name)) for name in panel.metrics}
    if isinstance(panel, wr.ScatterPlot):
        return {_key(panel.x), _key(panel.y)}
    if isinstance(panel, wr.WeavePanelSummaryTable):
        return {("summary", str(panel.table_name))}
    raise TypeError(f"{type(panel).__name__}: a panel whose keys are not known")


def name_panel(panel: Any) -> str:
    """Return a panel's name for messages."""
    return str(getattr(panel, "title", None) or getattr(panel, "table_name", None) or type(panel).__name__)


def colour_methods(study: Study) -> dict[str, str]:
    """Return run id -> colour of its method."""
    methods = sorted({names[METHOD] for names in study.described.values()})
    return {id: COLOURS[methods.index(names[METHOD]) % len(COLOURS)] for id, names in study.described.items()}


def _line(title: str, metrics: list[Any], x: str = "step") -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(
        title=title,
        x=x,
        y=metrics,
        groupby=wr.Config(METHOD),
        **OVER_SEEDS,
        max_runs_to_show=100,
        layout=wr.Layout(w=WIDE, h=HIGH),
    )


def _bars(title: str, metrics: list[Any], by: str = METHOD) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.BarPlot(
        title=title,
        metrics=metrics,
        groupby=wr.Config(by),
        **OVER_SEEDS,
        max_bars_to_show=30,
        layout=wr.Layout(w=WIDE, h=HIGH),
    )


def _key(named: Any) -> Key:
    import wandb_workspaces.reports.v2 as wr

    return ("config" if isinstance(named, wr.Config) else "summary"), named.name


def _name(share: float) -> str:
    return f"{show_fraction(share)} of the data"
