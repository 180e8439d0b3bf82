"""Students of an encoder in onnxruntime answer as their checkpoints do."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from quiz import Colours
from tiny import encoder_folder
from trained import train_tiny

from dsbs.cli.checkpoints import open_checkpoint
from dsbs.core.errors import DataError, RunError, StudentError
from dsbs.core.records import Example
from dsbs.export import export
from dsbs.inference.exports import choose_format
from dsbs.inference.exports.settings import ExportConfig
from dsbs.students import Embedding, Encoder, Student
from dsbs.tasks import TASKS
from dsbs.tasks.answers import with_choices
from dsbs.training.settings import Training

pytest.importorskip("onnxruntime")
from dsbs.inference.exports.base import write_config
from dsbs.inference.exports.onnx import read_settings

TEXTS = [f"a {colour}ish thing, number {number}" for colour in ("red", "green", "blue") for number in range(9)]
TRAINING = Training(
    max_steps=8, eval_steps=8, learning_rate=1e-2, per_device_train_batch_size=8, warmup_steps=0, max_unknown=1.0
)


@dataclass
class Own(Colours):
    """Every example has choices of its own, listed behind its input."""

    kind: str = "own"
    name: str = "own"

    def examples(self, split: str) -> Iterator[Example]:
        for number, example in enumerate(super().examples(split)):
            choices = (str(example.label), f"other {number % 3}")
            yield Example(example.id, with_choices(example.input, choices), example.label, choices)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(encoder_folder(tmp_path_factory.mktemp("hub") / "encoder", TEXTS))


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let checkpoints name the tasks of these tests."""
    monkeypatch.setitem(TASKS, "colours", Colours)
    monkeypatch.setitem(TASKS, "own", Own)


def run_of(kind: str, network: str, folder: Path) -> Path:
    student: Student = Encoder(name="encoder", model=network, max_input_tokens=32)
    if kind == "embedding":
        student = Embedding(name="embedding", model=network, C=[1.0], max_input_tokens=32)
    return train_tiny(folder, Own() if kind == "own" else Colours(), "finetune", student, training=TRAINING)


@pytest.mark.parametrize("kind", ["encoder", "own", "embedding"])
def test_an_export_answers_as_its_checkpoint(kind: str, network: str, tmp_path: Path) -> None:
    run = run_of(kind, network, tmp_path)
    record = export(ExportConfig(checkpoint=str(run)))
    assert (record["format"], record["quantization"]) == ("onnx", "float32")
    assert record["parity"]["test"]["agreement"] == 1.0
    assert record["parity"]["test"]["largest_difference"] < 1e-3
    folder = Path(record["folder"])
    if kind != "own":  # one by one as in a batch, and the code on the card runs without dsbs
        predictor = open_checkpoint(str(folder)).load(2)
        examples = [Example(str(number), text) for number, text in enumerate(TEXTS[:5])]
        together = predictor.predict(examples)
        for one, example in zip(together, examples, strict=True):
            [alone] = predictor.predict([example])
            assert alone.scores == pytest.approx(one.scores, abs=1e-4)
        with pytest.raises(RunError, match="cannot be saved again"):
            predictor.save(tmp_path / "copy")
    texts = ["a reddish thing, number 1 " * times for times in (1, 4, 5, 6, 20)]
    asked = [Example(str(n), text, None, ("red", "green", "blue")) for n, text in enumerate(texts)]
    if kind == "own":
        choices = ("red", "a blue or a green thing", "a green or a blue thing")
        asked = [Example(one.id, with_choices(one.input, choices), None, choices) for one in asked]
        asked += [Example("5", "a thing", None, ("red", "a blue thing " * 20))]  # there is no room for the input
    before, after = (open_checkpoint(str(one)).load(2) for one in (run, folder))
    assert after.lost(asked)["inputs_cut"] == before.lost(asked)["inputs_cut"] == (5 if kind == "own" else 2)
    for one, other in zip(before.predict(asked), after.predict(asked), strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-3)
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_int8_is_smaller_and_a_broken_file_is_named(network: str, tmp_path: Path) -> None:
    run = run_of("embedding", network, tmp_path)
    record = export(ExportConfig(checkpoint=str(run), quantization="int8", min_agreement=0.5))
    folder = Path(record["folder"])
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "export.json",
        "student.onnx",
        "tokenizer.json",
    ]
    assert record["parity"]["validation"]["largest_difference"] < 0.5
    config = (folder / "config.json").read_text()
    for changes in ({"classes": ["a"]}, {"padding": 10**9}):
        told = json.loads(config)
        (folder / "config.json").write_text(json.dumps(told | {"export": told["export"] | changes}))
        with pytest.raises(StudentError, match="cannot answer"):
            open_checkpoint(str(folder)).load(2)
    (folder / "config.json").write_text(config)
    (folder / "student.onnx").write_bytes(b"no graph")
    with pytest.raises(DataError, match="onnxruntime cannot read it"):
        open_checkpoint(str(folder)).load(2)
    with pytest.raises(StudentError, match="cannot generate"):
        open_checkpoint(str(folder)).load(2, "generate")
    (folder / "student.onnx").unlink()
    os.mkfifo(folder / "student.onnx")
    with pytest.raises(DataError, match="expected a regular file, found a FIFO"):
        open_checkpoint(str(folder)).load(2)


@pytest.mark.parametrize(
    "told",
    [{"classes": 7}, {"classes": [["a"]]}, {"padding": "x"}, {"max_input_tokens": None}, {"max_input_tokens": -1}],
)
def test_what_an_export_of_somebody_else_says_is_checked(told: dict, tmp_path: Path) -> None:
    export = {"quantization": "int8", "classes": ["a"], "padding": 0, "max_input_tokens": 8}
    write_config(tmp_path, {}, "onnx", export)
    assert read_settings(tmp_path) == (["a"], 0, 8)
    write_config(tmp_path, {}, "onnx", export | told)
    with pytest.raises(DataError, match=next(iter(told))):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("config", "format"),
    [
        ({"model_type": "bert", "dsbs": {"format": "classifier"}}, "onnx"),
        ({"dsbs": {"format": "embedding"}}, "onnx"),
        ({"dsbs": {"format": "sklearn"}}, "skops"),
        ({"model_type": "t5", "dsbs": {}}, "ctranslate2"),
        ({"model_type": "llama", "dsbs": {}}, "ctranslate2"),
    ],
)
def test_auto_chooses_by_the_student(config: dict, format: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    found, reason = choose_format(tmp_path)
    assert found == format
    assert len(reason) > 20
