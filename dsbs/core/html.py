"""HTML pages, each one self-contained file; templates are in ``templates/`` beside the module that fills them."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsbs import __version__
from dsbs.core.units import show_count, show_percent

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
    environment.filters |= {"count": show_count, "percent": show_percent}
    return environment
