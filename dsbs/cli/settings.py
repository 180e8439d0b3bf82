"""The settings of one command, composed from within another."""

from collections.abc import Sequence
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from dsbs.cli.composition import compose
from dsbs.cli.config import register_schemas, to_object
from dsbs.cli.explain import explain
from dsbs.core.command_line import split_flags
from dsbs.core.errors import ConfigError


def compose_settings(command: str, words: Sequence[str]) -> Any:
    """Return the typed root config of a command.

    Args:
        words: overrides, which ``--config-dir FOLDER`` may precede.

    Raises:
        ConfigError: saying what is wrong with them.
    """
    register_schemas(command)
    flags, overrides = split_flags(words)
    try:
        return to_object(compose(command, overrides, flags[1] if flags else None))
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(explain(error, command, overrides)) from None
