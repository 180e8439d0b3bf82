"""Students that need no conversion, such as those of scikit-learn: the export is a copy of their folder."""

import shutil
from pathlib import Path
from typing import Any

from dsbs.core.untrusted import check_regular

QUANTIZATIONS = ("none",)
DEFAULT = "none"
DECODING = None


def convert(checkpoint: Path, folder: Path, quantization: str) -> dict[str, Any]:
    """Copy a checkpoint to a folder; see the other formats' ``convert``.

    Raises:
        DataError: for a folder with links in it.
    """
    check_regular(checkpoint)
    shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
    return {}


def usage(checkpoint: Path, export: dict[str, Any]) -> str:
    """Return Markdown that shows how to use the export, for its card."""
    return "```bash\npython -m dsbs.predict checkpoint=. input=FILE\n```"
