"""What students do not read of inputs is counted, whatever the student is, and said by predict and evaluate."""

from pathlib import Path

import pytest
from tiny import encoder_folder, examples, tiny_t5

from dsbs.core.records import Example
from dsbs.students import Embedding, Encoder
from dsbs.students.lost import describe_lost

LONG, STRANGE = "the kettle " * 40, "\u6c34 \u58f6 the kettle"


def asked(*texts: str, choices: tuple[str, ...] = ("refund", "repair")) -> list[Example]:
    return [Example(str(number), text, None, choices) for number, text in enumerate(texts)]


@pytest.mark.parametrize("prefix_on", ["target", "input"])
def test_a_student_that_writes(prefix_on: str) -> None:
    counts = tiny_t5(prefix_on).lost(asked(LONG, STRANGE, "the sofa"), 16)
    assert (counts["inputs"], counts["inputs_cut"]) == (3, 1)
    assert counts["inputs_unknown"] >= 1
    assert describe_lost(counts)[0].startswith("1 input of 3 examples exceeded student.max_input_tokens")
    assert describe_lost(tiny_t5(prefix_on).lost(examples(3), 64)) == []


def test_frozen_embeddings(tmp_path: Path) -> None:
    encoder_folder(tmp_path / "bert")
    student = Embedding(name="embedding", model=str(tmp_path / "bert"), max_input_tokens=16).resolve()
    counts = student.build_features(tmp_path).lost([LONG, STRANGE, "the sofa"])
    assert (counts["inputs"], counts["inputs_cut"], counts["inputs_unknown"]) == (3, 1, 2)


@pytest.mark.parametrize("own_choices", [False, True])
def test_an_encoder_with_a_head(tmp_path: Path, own_choices: bool) -> None:
    encoder_folder(tmp_path / "bert")
    student = Encoder(name="encoder", model=str(tmp_path / "bert"), max_input_tokens=16).resolve()
    model = student.prepare([], "target", 0, None if own_choices else ("refund", "repair"))
    counts = model.lost(asked(LONG, STRANGE, "the sofa"), 16)
    assert (counts["inputs"], counts["inputs_cut"]) == (3, 1)
    assert counts["inputs_unknown"] >= 2
