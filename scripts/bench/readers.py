"""How long each reader of untrusted texts takes over texts on which regular expressions are slow; ends with JSON.

    python scripts/bench/readers.py [LENGTH]

Every reader gets every adversary at LENGTH characters (10,000 by default), and those that it took longest over at four
times as many. A linear reader takes about four times as long over the second, a quadratic one sixteen times.
"""

import heapq
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from dsbs.core.errors import DsbsError
from dsbs.core.names import is_name
from dsbs.core.records import Annotation, Example
from dsbs.core.secrets import looks_secret
from dsbs.core.terminal import visible
from dsbs.core.untrusted import check_yaml, excerpt, load_json, storable
from dsbs.extraction.filters import Filter, FilterCheck
from dsbs.extraction.parsing import clean_rationale, parse, split_thought
from dsbs.students.patterns import is_linear
from dsbs.tasks.answers import ClosedAnswers, FreeAnswers, NumberAnswers
from dsbs.tasks.answers.arithmetic import evaluate, join_numbers, without_units
from dsbs.tasks.answers.numerals import read_number
from dsbs.tasks.answers.shapes import bare, spaced, squeeze, tidy
from dsbs.tasks.answers.wordings import read_closed
from dsbs.tasks.cells import is_missing, plain_number
from dsbs.tasks.tables.choices import read_list
from dsbs.tasks.tables.delimited import sniff_delimiter
from dsbs.tasks.tables.gold import Gold, UnreadLabel
from dsbs.tasks.tables.sources import parse_row
from dsbs.tasks.tables.splits import split_of
from dsbs.tasks.tables.templates import fill, look_up
from dsbs.teachers.endpoint.faults import read_error
from dsbs.teachers.endpoint.headers import read_duration, read_retry_after
from dsbs.teachers.endpoint.words import hint

LENGTH = 10_000
AGAIN = 8  # adversaries of each reader that it gets at four times the length
CHOICES = ("yes", "no", "train station", "station", "a b", "not a", "1", "10")
CUE = "So the answer is"

# What is repeated up to the length ...
# fmt: off
ATOMS = (
    " ", "\n", "\t", "\xa0", "\u2028", "a", "1", "0", "́", "̀̕", "ﷺ", "İ", "😀", "(", ")", "()", "((1", "(a", "(a)",
    "[", "[]", "{", "{}", '{"', '{"a":', '{"answer":', '"', "'", "\\'", "''", ".", "..", ". ", ".1", "1.", "1. ", ",",
    ", ", "1,", "1,1", ",111", ";", ":", "!", "?", "-", "- ", "--", "- 1", "$", "$(", "$ ", "$1", "$$", "€", "£ ",
    "%", "1%", "+", "+1", "1+", "*", "**", "**a", "1*", "/", "1/", "1/1", "^", "^1", "2^", "=", "=1", "1=", "~", "~~",
    "~~a", "_", "__", "`", "```", "#", "# ", "######", "&", "|", "a|", "\\", "\\(", "\\[", "\\boxed{", "\\text{",
    "\\frac{", "\\frac{1}{", "\\frac12", "<", "<a", "</a>", "<answer>", "<think>", "</think>", "<|", "<|a",
    "<|channel|>", "analysis ", "assistantfinal", "◁think▷", "x", "1x", "1 x", "1 x ", "x1", "a1", "1a", "1 a ",
    "1 aa ", "a-", "a-a", "a.a", "a'", "n't ", "not ", "no ", "yes ", "nor a ", "not a ", "but ", "because",
    " because ", ", as", "since ", " as ", "and ", "or ", "so ", "So ", "the ", "the answer", "answer: ",
    "answer is ", "So the answer is ", "So the ", "So * _ ", "option ", "option a", "b) ", "\n\nQ", "\nQ: ",
    "\nQuestion 1", "\nA: ", "\n- ", "\n* ", "\n#### ", "wait, ", "actually ", "one ", "one and ", "hundred ",
    "two dozen ", "million", "1e", "1e9 ", "9 ** ", "train ", "train station ", "station. ", "t r a i n ",
)
# fmt: on
ADVERSARIES = 3  # of every atom
# ... and what may stand around it.
AROUND = (("", ""), ("1", "1"), ("a", "!"), ("So the answer is ", ""), ("(", "."), ('{"answer": "', '"}'))


def adversaries(length: int) -> Iterator[str]:
    """Yield the texts, each of about a length: every atom alone, and within two of what may stand around it."""
    for place, atom in enumerate(ATOMS):
        for turn in (0, 1 + place % (len(AROUND) - 1), 1 + (place + 2) % (len(AROUND) - 1)):
            before, after = AROUND[turn]
            yield before + (atom * (length // len(atom)))[: length - len(before) - len(after)] + after


def readers() -> dict[str, Callable[[str], object]]:
    """Return every reader of texts that people or models wrote, by name."""
    closed, number, free = ClosedAnswers(), NumberAnswers(), FreeAnswers()
    names = {choice: choice for choice in CHOICES}
    gold, gold_number = Gold(labels=CHOICES, names={"x": "yes"}), Gold(number=True)
    filters = Filter(min_words=1, max_words=10**6, max_repetition=1.0, gives_away=True, duplicates=True)
    example = Example("1", "?", "no", CHOICES)

    def quietly(read: Callable[[str], object]) -> Callable[[str], object]:
        def reader(text: str) -> object:
            try:
                return read(text)
            except (DsbsError, ValueError):
                return None

        return reader

    read_row = quietly(lambda text: parse_row(text.encode(), "here:1"))
    read_body = quietly(load_json)
    read_yaml = quietly(check_yaml)

    def read_gold(reader: Gold) -> Callable[[str], object]:
        def read(text: str) -> str | None:
            try:
                return reader.read(text)
            except UnreadLabel:
                return None

        return read

    return {
        "parse: closed answers": lambda text: parse(text, "stop", CUE, closed, CHOICES),
        "parse: numbers": lambda text: parse(text, "length", CUE, number),
        "parse: free answers": lambda text: parse(text, None, "", free),
        "thoughts": split_thought,
        "rationales": clean_rationale,
        "filters": lambda text: FilterCheck(filters, closed).check(example, Annotation("1", "yes", text)),
        "ClosedAnswers": lambda text: closed.parse(text, CHOICES),
        "ClosedAnswers, alone": lambda text: closed.parse_alone(text, CHOICES),
        "ClosedAnswers, paper": lambda text: ClosedAnswers(reading="paper").parse(text, CHOICES),
        "closed wordings": lambda text: read_closed(text, CHOICES, names),
        "NumberAnswers": number.parse,
        "NumberAnswers, alone": number.parse_alone,
        "NumberAnswers, paper": NumberAnswers("paper").parse,
        "NumberAnswers, compared": lambda text: number.equivalent(text, text + "1"),
        "numerals": read_number,
        "FreeAnswers": free.parse,
        "FreeAnswers, compared": lambda text: free.equivalent(text, text + "1"),
        "arithmetic": evaluate,
        "arithmetic, spacing": lambda text: (join_numbers(text), without_units(text)),
        "shapes: tidy": tidy,
        "shapes: squeeze": squeeze,
        "shapes: spaced": spaced,
        "shapes: bare": bare,
        "gold labels": read_gold(gold),
        "gold numbers": read_gold(gold_number),
        "cells": lambda text: (is_missing(text), plain_number(text)),
        "lists in cells": read_list,
        "paths into cells": lambda text: look_up({"a": text}, "a.b.0"),
        "templates": lambda text: fill("{a}", {"a": text}, "here:1"),
        "delimiters": lambda text: sniff_delimiter(text.splitlines(keepends=True)[:30]),
        "rows": read_row,
        "names of files": lambda text: (is_name(text), split_of(text)),
        "headers": lambda text: (read_retry_after({"retry-after": text}), read_duration(text)),
        "JSON of endpoints": read_body,
        "errors of endpoints": lambda text: (read_error(text.encode(), "sk-0"), hint(text[:1600])),
        "YAML of runs": read_yaml,
        "patterns of tokenizers": lambda text: is_linear(text[:2000]),
        "keys in settings": looks_secret,
        "messages": lambda text: (excerpt(text), storable(text), visible(text)),
    }


def worst(reader: Callable[[str], object], texts: Iterable[tuple[int, str]], most: int = 1) -> list[tuple[float, int]]:
    """Return the longest times in seconds that a reader takes, each with the number of the text, longest first."""
    took = []
    for number, text in texts:
        started = time.process_time()
        reader(text)
        took.append((time.process_time() - started, number))
    return heapq.nlargest(most, took)


def main() -> None:
    """Print the table."""
    length = int(sys.argv[1]) if len(sys.argv) > 1 else LENGTH
    texts, longer = list(adversaries(length)), list(adversaries(4 * length))
    started, figures = time.process_time(), {}
    print(f"{'reader':28}{length:>12,}{4 * length:>12,}   worst on")
    for name, reader in readers().items():
        slowest = worst(reader, enumerate(texts), AGAIN)
        [(often, which)] = worst(reader, [(number, longer[number]) for _, number in slowest])
        once = slowest[0][0]
        figures[name] = {"ms": round(1e3 * once, 2), "ms_at_4x": round(1e3 * often, 2)}
        print(f"{name:28}{1e3 * once:9.2f} ms{1e3 * often:9.2f} ms   {texts[which][:24]!r}", flush=True)
    seconds = round(time.process_time() - started, 1)
    print(json.dumps({"characters": length, "adversaries": len(texts), "seconds": seconds, "readers": figures}))


if __name__ == "__main__":
    main()
