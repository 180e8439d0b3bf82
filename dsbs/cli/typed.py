"""Values as they were typed: a key of texts gets ``1.10``, which Hydra would read as the number 1.1."""

from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from omegaconf import Container, DictConfig, OmegaConf, StringNode

from dsbs.cli.braces import reveal_keys, split_list, split_pairs

_apply_overrides = ConfigLoaderImpl._apply_overrides_to_config
_show_value = Override.get_value_element_as_str


def apply_as_typed(overrides: list[Override], config: DictConfig) -> None:
    """Set the overrides in a config; keys of texts get them as they were typed: ``1.10``, not the number 1.1.

    Raises:
        ConfigCompositionException: for a key between braces that is there twice, and as Hydra does.
    """
    for override in overrides:
        if "=" in (override.input_line or "") and not override.is_delete():
            override._value = _as_typed(override.value(), override.get_value_string(), _holds_texts(config, override))
    _apply_overrides(overrides, config)


def _holds_texts(config: DictConfig, override: Override) -> bool:
    """Return whether a key holds a text, or texts, by its schema."""
    above, _, name = override.key_or_group.rpartition(".")
    parent = OmegaConf.select(config, above, throw_on_missing=False) if above else config
    if not isinstance(parent, DictConfig) or parent._is_none():
        return False
    node = parent._get_node(name, validate_access=False)
    if isinstance(node, StringNode):
        return True
    kind = (node if isinstance(node, Container) else parent)._metadata.element_type
    return kind is str


def _as_typed(value: Any, text: str, texts: bool) -> Any:
    text = text.strip()
    if isinstance(value, dict) and (pairs := split_pairs(text)):
        names = [name for name, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigCompositionException(f"{reveal_keys(text)}: {reveal_keys(twice[0])} is there twice.")
        return {
            key: _as_typed(part, typed, texts) for (key, part), (_, typed) in zip(value.items(), pairs, strict=True)
        }
    if isinstance(value, list) and len(parts := split_list(text[1:-1])) == len(value):
        return [_as_typed(part, typed, texts) for part, typed in zip(value, parts, strict=True)]
    return text if texts and isinstance(value, int | float) else value


def show_as_typed(self: Override, space_after_sep: bool = False) -> str:
    """Return the value of an override as text, for the jobs of a sweep; one that is no sweep is as it was typed."""
    typed = "=" in (self.input_line or "") and not self.is_sweep_override()
    return self.get_value_string() if typed else _show_value(self, space_after_sep)
