"""Patterns of tokenizers: those that models really have are read, those that blow up are not."""

import time

import pytest

from dsbs.students.patterns import is_linear, pattern_faults

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
CASED = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
REAL = {
    "GPT-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "Llama 3": rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+",
    "GPT-4o": rf"{CASED}{CONTRACTIONS}?|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "GPT-4": r"[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    "BLOOM": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "DeepSeek": "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[一-龥぀-ゟ゠-ヿ]+| ?[\\p{P}\\p{S}]+[\r\n]*",
    "ALBERT": r" {2,}|``|''",
    "Kimi": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{M}&&[^\p{Han}]]*[\p{Ll}&&[^\p{Han}]]+",
    "digits by three": r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
    "case by case": r"((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+(?:'[sS])?",
}
BLOW_UP = (
    r"(a+)+$", r"(a|a)*b", r"(a|ab)*c", r"\s*\s*\s*x", r"\s*\s*x", r"(x+x+)+y", r"(?:a{1,99}){1,99}", r"(.*)*",
    r".*.*=.*", r"(?<n>a)\k<n>", r"\g<1>", r"(?R)", r"(.)\1", r"(a?){30}a{30}", r"(?>(a+)+)+b", r"(?=(a+)+b)",
    r"(?(1)a)", r"(?~ab)", r"(?#x)", "(", "[", "a)", "*a", "[[a]", "\\", "(" * 20 + ")" * 20, "x" * 3000,
    "a{2}{3}(b*)*", "a?" * 30 + "a" * 30, "(a|a)" * 20 + "b", "a{0,64}" * 9 + "b", "(?:a?a?a?)" * 9 + "b",
)  # fmt: skip


@pytest.mark.parametrize("model", REAL)
def test_the_patterns_of_real_models_are_read(model: str) -> None:
    assert is_linear(REAL[model])


@pytest.mark.parametrize("pattern", BLOW_UP)
def test_patterns_that_blow_up_are_not(pattern: str) -> None:
    assert not is_linear(pattern)


def test_a_pattern_is_read_in_no_time_whatever_it_is() -> None:
    started = time.process_time()
    for atom in ("(", "[", "a|", "(?:", "a{1,", "[^", "\\", ")", "a?", "[a]"):
        is_linear((atom * 2000)[:2000])
    assert time.process_time() - started < 0.5


def test_patterns_are_found_wherever_they_stand() -> None:
    split = {"type": "Split", "pattern": {"Regex": "(a+)+"}}
    inside = {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, split]}, "model": {"vocab": {"Regex": 1}}}
    assert list(pattern_faults(inside)) == ["(a+)+", "(a+)+"]
    assert list(pattern_faults({"normalizer": {"pattern": {"String": "(a+)+"}}})) == []
    assert list(pattern_faults([])) == []
