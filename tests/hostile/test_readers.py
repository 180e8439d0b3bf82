"""Readers of texts that people and models wrote are linear: none takes long over the texts that patterns fear."""

import importlib.util
import time
from pathlib import Path
from types import ModuleType

import pytest

from dsbs.core.errors import DataError
from dsbs.core.records import Completion, Example
from dsbs.extraction.parsing import annotate
from dsbs.tasks.answers import ClosedAnswers, NumberAnswers
from dsbs.tasks.answers.shapes import bare, spaced, squeeze
from dsbs.tasks.tables.gold import Gold


def load_bench() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "scripts" / "bench" / "readers.py"
    spec = importlib.util.spec_from_file_location("readers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BENCH = load_bench()
TEXTS = list(BENCH.adversaries(BENCH.LENGTH))
READERS = BENCH.readers()


@pytest.mark.parametrize("name", READERS)
def test_no_reader_takes_long_over_ten_thousand_characters(name: str) -> None:
    """Of the processor's time; the worst of them took 50 ms where this was written."""
    every, first = 3, list(READERS).index(name) % 3  # scripts/bench/readers.py tries them all
    for place, atom in list(enumerate(BENCH.ATOMS))[first::every]:
        text = TEXTS[BENCH.ADVERSARIES * place + place // every % BENCH.ADVERSARIES]
        started = time.process_time()
        READERS[name](text)
        assert time.process_time() - started < 0.5, atom


@pytest.mark.parametrize("text", [" " * 480, " " * 100_000, "(" * 100_000, "\u0301\u0315" * 50_000, "1 " * 50_000])
def test_a_gold_cell_of_any_length_is_compared_in_a_moment(text: str) -> None:
    started = time.process_time()
    numbers = NumberAnswers()
    assert not numbers.equivalent(text, "7")
    assert ClosedAnswers().parse(text, ("yes", "no")) is None
    for shape in (squeeze, spaced, bare):
        shape(text)
    assert time.process_time() - started < 2.0


def test_an_answer_is_read_although_the_teacher_wrote_without_end() -> None:
    text = "It broke. " * 20_000 + "So the answer is yes."
    started = time.process_time()
    found = annotate(Example("1", "?", choices=("yes", "no")), Completion(text, "stop"), BENCH.CUE, ClosedAnswers())
    assert (found.label, found.status) == ("yes", "ok")
    assert time.process_time() - started < 3.0


def test_a_pattern_of_the_users_that_takes_forever_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsbs.tasks.tables.gold.PATIENCE", 0.1)
    gold = Gold(pattern=r"(a+)+$")
    assert gold.read("xaa") == "aa"
    with pytest.raises(DataError, match=r"task\.label_pattern=.* takes longer than 0\.1 s over a cell of 10,001"):
        gold.read("a" * 10_000 + "!")
