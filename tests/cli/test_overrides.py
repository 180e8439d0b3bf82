"""Keys between braces may be any words: they reach the config as they were typed."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dsbs.cli.composition import compose
from dsbs.cli.config import register_schemas
from dsbs.cli.overrides import hide_all, hide_keys, restore_keys, reveal_keys
from dsbs.core.command_line import quoted

KEYS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(str.strip)


def read(word: str) -> dict[str, object]:
    """As Hydra and our loader read it."""
    node = OmegaConf.create({})
    node.merge_with(OverridesParser.create().parse_override(hide_keys(word)).value())
    restore_keys(node)
    return {str(key): value for key, value in node.items()}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("{pos: positive, neg: negative}", {"pos": "positive", "neg": "negative"}),
        ("{true: yes, false: no, null: no, nan: no}", {"true": "yes", "false": "no", "null": "no", "nan": "no"}),
        ("{1: good, -1: bad, 2.50: so}", {"1": "good", "-1": "bad", "2.50": "so"}),
        ("{\"not good\": bad, '3 stars: ok': good}", {"not good": "bad", "3 stars: ok": "good"}),
        ("{sehr gut: good, schön: good, не: bad}", {"sehr gut": "good", "schön": "good", "не": "bad"}),
        ('{"it\'s, [so]": bad, "say \\\\ \\"x\\"": good}', {"it's, [so]": "bad", 'say \\ "x"': "good"}),
        ('{a: "b, c: d", e: f}', {"a": "b, c: d", "e": "f"}),
        ("{a: [b,c], d-e: {f: g}}", {"a": ["b", "c"], "d-e": {"f": "g"}}),
    ],
)
def test_keys_come_back_as_they_were_typed(typed: str, meant: dict[str, object]) -> None:
    assert read(f"task.synonyms={typed}") == meant
    assert read(reveal_keys(hide_keys(f"task.synonyms={typed}"))) == meant  # and can be pasted again


@given(st.dictionaries(KEYS, st.sampled_from(["good", "bad"]), min_size=1, max_size=4))
def test_any_words_can_be_keys(meant: dict[str, str]) -> None:
    typed = ", ".join(f"{quoted(key)}: {value}" for key, value in meant.items())
    assert read(f"task.synonyms={{{typed}}}") == meant


@pytest.mark.parametrize(
    "word",
    ["task.input={title}: {body}", "task.input={title}", "task.labels=[a,b]", "x={}", "seed=1", "task.synonyms={a: b",
     "+x={a:b}", "--config-dir=a"],
)  # fmt: skip
def test_what_has_plain_keys_or_none_stays_as_it_is(word: str) -> None:
    assert hide_all([word]) == [word if word != "+x={a:b}" else "+x={a: b}"]


def test_the_config_has_them() -> None:
    register_schemas()
    config = compose("extract", ["task=table", "task.path=a.csv", 'task.synonyms={"not good": bad, true: good}'])
    assert config.task.synonyms == {"not good": "bad", "true": "good"}
