"""HTML pages, each one self-contained file; templates are in ``templates/`` beside the module that fills them."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsbs import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

SHARED = Path(__file__).with_name("templates")


def render(folder: Path, name: str, **values: Any) -> str:
    """Return a filled template; text is escaped for HTML, and a missing value is an error.

    Args:
        folder: the folder of the template; those it extends or imports may also lie in ``dsbs/core/templates``.
    """
    return _environment(folder).get_template(name).render(version=__version__, **values)


@cache
def _environment(folder: Path) -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([folder, SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": show_count,
        "percent": show_percent,
        "duration": show_duration,
        "size": show_size,
    }
    return environment


def show_percent(share: float | None, digits: int = 1) -> str:
    """Return a share as a percentage: ``51.2%``; an empty text for None."""
    return "" if share is None else f"{100 * share:.{digits}f}%"


def show_count(value: float | None) -> str:
    """Return a number with thousands separated: ``4,800``; an empty text for None."""
    return "" if value is None else f"{value:,.0f}"


def show_duration(seconds: float | None) -> str:
    """Return a duration in a suitable unit: ``45 s``, ``12.5 min``, ``3.1 h``; an empty text for None."""
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def show_size(size: float | None) -> str:
    """Return a size in bytes in a suitable unit: ``12 kB``, ``1.6 MB``; an empty text for None."""
    if size is None:
        return ""
    return f"{size / 1e3:.0f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"
