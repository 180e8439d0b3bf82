"""Tokenised rows in a file."""

from collections.abc import Iterator
from pathlib import Path

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
    found = prepare_rows(student, texts(), 25, "digest", 8, 4, tmp_path)
    inputs, targets = zip(*texts(), strict=True)
    expected, cut = tokenize(student, inputs, targets, 8, 4)
    assert (len(found), found[7], found.__getitems__([24, 0])) == (25, expected[7], [expected[24], expected[0]])
    assert [found[place] for place in range(25)] == expected
    assert found.cut() == cut
    assert cut["inputs_cut"] > 0


def never() -> Iterator[tuple[str, list[Target]]]:
    pytest.fail("tokenised again")
    yield


def test_a_file_that_is_there_is_used_and_other_data_tokenizers_and_limits_have_their_own(tmp_path: Path) -> None:
    student = tiny_t5()
    prepare_rows(student, texts(), 25, "digest", 64, 64, tmp_path)
    assert len(prepare_rows(student, never(), 25, "digest", 64, 64, tmp_path)) == 25
    assert len(prepare_rows(student, texts(3), 3, "other", 64, 64, tmp_path)) == 3
    assert len(prepare_rows(tiny_t5(texts=["other words"] * 9), texts(4), 4, "digest", 64, 64, tmp_path)) == 4
    assert len(prepare_rows(tiny_t5("input"), texts(5), 5, "digest", 64, 64, tmp_path)) == 5
    assert len(prepare_rows(student, texts(6), 6, "digest", 63, 64, tmp_path)) == 6
    assert len(list(tmp_path.iterdir())) == 5


def test_a_stopped_preparation_leaves_nothing_and_a_broken_file_is_made_again(tmp_path: Path) -> None:
    def stopped() -> Iterator[tuple[str, list[Target]]]:
        yield from texts(2)
        raise KeyboardInterrupt

    student = tiny_t5()
    with pytest.raises(KeyboardInterrupt):
        prepare_rows(student, stopped(), 25, "digest", 64, 64, tmp_path)
    assert list(tmp_path.iterdir()) == []
    prepare_rows(student, texts(), 25, "digest", 64, 64, tmp_path)
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"rows-.*\.arrow"):
        RowFile(path)
    assert len(prepare_rows(student, texts(), 25, "digest", 64, 64, tmp_path)) == 25
