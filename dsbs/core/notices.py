"""Messages that are logged once per process."""

import logging
from functools import cache

logger = logging.getLogger(__name__)


@cache
def tell_once(message: str) -> None:
    """Log a message, unless this process has logged it before."""
    logger.info("%s", message)
