"""An export answers as its checkpoint does: labels, log-probabilities, what is written."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import causal_folder, examples, seq2seq_folder, tiny_t5

from dsbs.core.errors import ConfigError
from dsbs.inference.exports.base import load_export_tokenizer
from dsbs.students.answering import CONFIDENT, DecodingConfig
from dsbs.students.causal import Causal
from dsbs.students.model import StudentModel
from dsbs.students.pretrained import Pretrained

ctranslate2 = pytest.importorskip("ctranslate2")
from dsbs.inference.exports.ctranslate2 import (  # noqa: E402
    ENGINE,
    CTranslate2Writer,
    convert,
    name_tokens,
)

TEXTS = [example.input for example in examples(12)]


def built(name: str, prefix_on: str, folder: Path) -> StudentModel:
    if name == "t5":
        return tiny_t5(prefix_on)
    if name in ("llama", "gpt2"):
        student = Causal(name=name, model=str(causal_folder(folder, name)))
    else:
        student = Pretrained(name=name, model=str(seq2seq_folder(folder, name.removeprefix("tied_"))))
    return student.build([], prefix_on, 0)


def exported(student: StudentModel, folder: Path, quantization: str = "float32") -> CTranslate2Writer:
    checkpoint, out = folder / "checkpoint", folder / "export"
    out.mkdir()
    student.settings = {"task": {}, "prefix_on": student.prefix_on}
    student.save(checkpoint)
    export = convert(checkpoint, out, quantization)
    build = ctranslate2.Generator if export["causal"] else ctranslate2.Translator
    tokenizer = load_export_tokenizer(out, json.loads(json.dumps(export)), student.prefix_on)
    return CTranslate2Writer(build(str(out / ENGINE), device="cpu", intra_threads=1), tokenizer, export["vocabulary"])


@pytest.mark.parametrize("prefix_on", ["target", "input"])
@pytest.mark.parametrize("name", ["t5", "tied_t5", "t5_v1_1", "bart", "llama", "gpt2"])
def test_an_export_answers_as_its_checkpoint(name: str, prefix_on: str, tmp_path: Path) -> None:
    """Log-probabilities show what the best answer hides: only a tied T5 scales its outputs by d_model ** -0.5."""
    student = built(name, prefix_on, tmp_path / "model").eval()
    writer = exported(student, tmp_path)
    reading = DecodingConfig(batch_size=5, max_input_tokens=24, max_new_tokens=12)
    for kind in ("label", "rationale"):
        ids = student.encode_inputs(TEXTS, kind, 24)
        assert writer.tokenizer.encode_inputs(TEXTS, kind, 24) == ids
        assert writer.write(examples(12), reading, kind) == student.write(examples(12), reading, kind)
    for one, two in zip(student.rank(examples(12), reading), writer.rank(examples(12), reading), strict=True):
        assert one.id == two.id
        assert one.label == two.label
        assert two.scores == pytest.approx(one.scores, abs=1e-3)
    bounded = writer.rank(examples(12), replace(reading, negligible=CONFIDENT))
    for one, two in zip(student.rank(examples(12), reading), bounded, strict=True):
        assert one.label == two.label
        assert two.confidence == pytest.approx(one.confidence, abs=1e-3)


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_writing_scores_what_was_written_and_bounds_what_begins_alike(name: str, tmp_path: Path) -> None:
    student = built(name, "target", tmp_path / "model").eval()
    writer = exported(student, tmp_path)
    reading = DecodingConfig(max_input_tokens=24, max_new_tokens=12)
    [(_, inputs)] = writer._batches(examples(1), "label", reading)
    [(written, _)] = writer._greedy(inputs, 3)
    other = next(id for id in range(40, 50) if id not in written)
    paths = {"written": written, "begins alike": [*written[:2], other, other], "another": [other, *written]}
    [bounds], [known] = writer._write_and_bound(inputs, [paths])
    pairs = [(inputs[0], row) for row in (written, [*written[:2], other], [other])]
    assert list(bounds.values()) == pytest.approx(writer._score(pairs, open_end=True), abs=1e-4)
    assert known == {"written": bounds["written"]}


def test_an_answer_that_goes_on_is_ranked_without_its_end(tmp_path: Path) -> None:
    student = tiny_t5().eval()
    reading = DecodingConfig(batch_size=8, suffix=" explanation:")
    one, two = student.rank(examples(3), reading)[0], exported(student, tmp_path).rank(examples(3), reading)[0]
    assert two.scores == pytest.approx(one.scores, abs=1e-3)


def test_int8_is_smaller_and_close(tmp_path: Path) -> None:
    student = tiny_t5().eval()
    writer = exported(student, tmp_path, "int8")
    assert (tmp_path / "export" / ENGINE / "model.bin").stat().st_size < (
        tmp_path / "checkpoint" / "model.safetensors"
    ).stat().st_size / 2
    [one], [two] = (side.rank(examples(1), DecodingConfig()) for side in (student, writer))
    assert two.scores == pytest.approx(one.scores, abs=0.5)


def test_names_that_exist_are_not_given_twice() -> None:
    assert name_tokens({"a": 0, "<unused_1>": 2}, 3) == ["a", "<unused_1_0>", "<unused_1>"]


def test_what_the_machine_cannot_compute_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctranslate2.get_supported_compute_types", lambda device: {"float32", "int8"})
    with pytest.raises(ConfigError, match="fall back"):
        convert(tmp_path, tmp_path, "int8_bfloat16")
