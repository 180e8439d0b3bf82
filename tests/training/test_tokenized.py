"""Tokenised rows in a file."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import annotated, tiny_t5

from dsbs.core.records import Target
from dsbs.objectives import StepByStep
from dsbs.students.collator import tokenize
from dsbs.training import tokenized as rows
from dsbs.training.tokenized import RowFile, prepare_rows


def texts(count: int = 25) -> Iterator[tuple[str, list[Target]]]:
    for example, annotation in annotated(count, {0, 2, 3}):
        yield example.input, StepByStep(alpha=0.3).targets(example, annotation)


@pytest.mark.parametrize("prefix_on", ["target", "input"])
def test_what_is_read_from_the_file_is_what_was_tokenised(
    prefix_on: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "CHUNK", 4)
    student = tiny_t5(prefix_on)
    found = prepare_rows(student, list(texts()), 25, 8, 4, tmp_path)
    inputs, targets = zip(*texts(), strict=True)
    expected, cut = tokenize(student, inputs, targets, 8, 4)
    assert (len(found), found[7], found.__getitems__([24, 0])) == (25, expected[7], [expected[24], expected[0]])
    assert [found[place] for place in range(25)] == expected
    assert found.cut() | {"teacher_inputs_cut": 0} == cut
    assert cut["inputs_cut"] > 0


@pytest.fixture
def tokenized(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many chunks were tokenised."""
    chunks: list[int] = []

    def count(*arguments: Any, **named: Any) -> Any:
        chunks.append(len(arguments[1]))
        return tokenize(*arguments, **named)

    monkeypatch.setattr(rows, "tokenize", count)
    return chunks


def test_a_file_that_is_there_is_used_and_other_tokenizers_and_limits_have_their_own(
    tmp_path: Path, tokenized: list[int]
) -> None:
    student, data = tiny_t5(), list(texts(4))
    prepare_rows(student, data, 4, 64, 64, tmp_path)
    prepare_rows(student, data, 4, 64, 64, tmp_path)
    assert tokenized == [4]
    prepare_rows(tiny_t5(texts=["other words"] * 9), data, 4, 64, 64, tmp_path)
    prepare_rows(tiny_t5("input"), data, 4, 64, 64, tmp_path)
    prepare_rows(student, data, 4, 63, 64, tmp_path)
    assert len(tokenized) == len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    "change", [{"text": "repair"}, {"weight": 0.5}, {"input": "the sofa"}, {"kind": "rationale"}, None]
)
def test_what_an_edited_objective_or_other_data_write_is_never_taken_for_what_was_written_before(
    change: dict[str, Any] | None, tmp_path: Path
) -> None:
    student, data = tiny_t5(), list(texts(4))
    before = prepare_rows(student, data, 4, 64, 64, tmp_path)
    text, (first, *rest) = data[3]
    data[3] = (text, [replace(first, **change), *rest]) if change else ("another input", [first, *rest])
    after = prepare_rows(student, data, 4, 64, 64, tmp_path)
    assert after[3] != before[3]
    assert [after[place] for place in range(3)] == [before[place] for place in range(3)]


def test_a_stopped_preparation_leaves_nothing_and_a_broken_file_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    student, data = tiny_t5(), list(texts())
    with monkeypatch.context() as patched:
        patched.setattr(rows, "tokenize", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare_rows(student, data, 25, 64, 64, tmp_path)
    assert list(tmp_path.iterdir()) == []
    prepare_rows(student, data, 25, 64, 64, tmp_path)
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"rows-.*\.arrow"):
        RowFile(path)
    assert len(prepare_rows(student, data, 25, 64, 64, tmp_path)) == 25
