"""Keys of ``dsbs.dashboard``."""

import importlib.util
from dataclasses import dataclass, field

from dsbs.core.tracking import Tracking


@dataclass
class DashboardConfig:
    """Keys of ``dsbs.dashboard``.

    Attributes:
        runs: folder of the training runs.
        entity: the user or team that owns the project; None: as in the runs, else the account's default.
        project: the W&B project; None: as in the runs.
        share: create a link with which anyone can read the W&B report without an account; it is only printed.
        upload: upload runs that W&B lacks, or whose summary lacks what the panels show, from their folders.
        output_dir: root folder of all outputs, with those of ``dsbs report``.
    """

    runs: str = "outputs/train"
    entity: str | None = None
    project: str | None = None
    share: bool = False
    upload: bool = False
    tracking: Tracking = field(default_factory=Tracking)
    output_dir: str = "outputs"

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        if importlib.util.find_spec("wandb_workspaces") is None:
            return ["dsbs dashboard needs the package wandb-workspaces: pip install 'dsbs[dashboards]'"]
        return []
