"""A student in llama.cpp answers as its checkpoint does: labels, log-probabilities, what is written."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tiny import causal_folder, examples, tiny_t5
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from dsbs.core.errors import DataError, StudentError
from dsbs.inference.exports.base import ExportTokenizer, load_export_tokenizer
from dsbs.students.answering import CONFIDENT, DecodingConfig
from dsbs.students.causal import Causal

pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")
from dsbs.inference.exports.gguf import FILE, GgufWriter, convert, start, usage

TEXTS = [example.input for example in examples(6)]
PART = "\ufffd"  # of a character; these students write any bytes
READING = DecodingConfig(batch_size=5, max_input_tokens=24, max_new_tokens=8)


def saved(student: Any, folder: Path) -> Path:
    student.settings = {"task": {}, "prefix_on": student.prefix_on}
    student.save(folder / "checkpoint")
    (folder / "export").mkdir()
    return folder / "checkpoint"


@pytest.mark.parametrize(("name", "prefix_on"), [("llama", "target"), ("llama", "input"), ("gpt2", "target")])
def test_an_export_answers_as_its_checkpoint(name: str, prefix_on: str, tmp_path: Path) -> None:
    student = Causal(name=name, model=str(causal_folder(tmp_path / "model", name))).build([], prefix_on, 0).eval()
    checkpoint = saved(student, tmp_path)
    export = json.loads(json.dumps(convert(checkpoint, tmp_path / "export", "float32")))
    engine = start(tmp_path / "export" / FILE, 64, exact=True)
    writer = GgufWriter(engine, load_export_tokenizer(tmp_path / "export", export, prefix_on))
    for kind in ("label", "rationale"):
        mine, theirs = (side.write(examples(6), READING, kind) for side in (writer, student))
        assert [text.replace(PART, "") for text in mine] == [text.replace(PART, "") for text in theirs]
    whole = writer.rank(examples(6), READING)
    bounded = writer.rank(examples(6), replace(READING, negligible=CONFIDENT))
    for one, two, three in zip(student.rank(examples(6), READING), whole, bounded, strict=True):
        assert one.id == two.id
        assert one.label == two.label == three.label
        assert two.scores == pytest.approx(one.scores, abs=5e-3)  # GELU is a table in half precision
        assert three.confidence == pytest.approx(two.confidence, abs=1e-3)
    # Without dsbs the tokenizer in the file is used: the same ids, the task prefix included.
    text = f"The kettle leaks, 12 times. {export['start']}"
    body = {"content": text, "parse_special": True, "add_special": True}
    tokens = httpx.post(f"{engine.listening_address}/tokenize", json=body).json()["tokens"]
    assert tokens == student.tokenizer(text)["input_ids"]


@pytest.mark.parametrize("quantization", ["q8_0", "f16", "q4_0"])
def test_a_quantised_file_is_smaller_and_close(quantization: str, tmp_path: Path) -> None:
    student = Causal(name="llama", model=str(causal_folder(tmp_path / "model"))).build([], "target", 0).eval()
    checkpoint = saved(student, tmp_path)
    export = convert(checkpoint, tmp_path / "export", quantization)
    writer = GgufWriter(
        start(tmp_path / "export" / FILE, 64), load_export_tokenizer(tmp_path / "export", export, "target")
    )
    [one], [two] = student.rank(examples(1), READING), writer.rank(examples(1), READING)
    assert two.scores == pytest.approx(one.scores, abs=8.0 if quantization == "q4_0" else 0.6)


def test_what_is_no_decoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudentError, match="decoder-only"):
        convert(saved(tiny_t5(), tmp_path), tmp_path / "export", "q8_0")


@pytest.mark.parametrize("start", ["</s>", "it's\n```\"; rm -rf ~; '"])
def test_the_card_asks_with_a_token_of_somebody_else_whatever_it_is(start: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"dsbs": {"prefix_on": "target", "task": {}}}))
    words = shlex.split(usage(tmp_path, {"start": start}).split("```bash\n")[1].split("```")[0])
    assert words[-2] == "-d"
    assert json.loads(words[-1])["prompt"] == f"Your text{start}"


class Silent:
    """An engine that never tells of the tokens that are asked for."""

    def handle_completions(self, asked: dict[str, Any]) -> dict[str, Any]:
        told = {"id": 999, "logprob": -0.5, "top_logprobs": []}
        return {"choices": [{"text": "", "logprobs": {"content": [told]}}]}


def test_a_token_that_the_file_does_not_have_ends_in_a_sentence() -> None:
    tokenizer = ExportTokenizer(Tokenizer(WordLevel({"a": 0})), "target", 1, {"label": 0, "rationale": 0}, causal=True)
    with pytest.raises(StudentError, match="knows no token 7"):
        GgufWriter(Silent(), tokenizer)._next([1], {7}, 0)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"GGUF nothing more")
    with pytest.raises(DataError, match=r"student\.gguf: llama.cpp cannot read it"):
        start(tmp_path / FILE, 64)
