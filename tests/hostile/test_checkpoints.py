"""What a checkpoint or a model's folder may hold, and the sentence that comes out: nothing in it is ever run."""

import io
import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import causal_folder, tiny_t5

from dsbs.cli.checkpoints import open_checkpoint
from dsbs.cli.config import PredictConfig
from dsbs.core.errors import DsbsError, StudentError
from dsbs.core.untrusted import read_yaml
from dsbs.inference.checkpoint import Remembered
from dsbs.predict import predict
from dsbs.students import Causal, MiniLM, Pretrained

OWN_CODE = """
import pathlib
pathlib.Path(__file__).with_name("was-run").write_text("x")
pathlib.Path("was-run").write_text("x")
class Evil: pass
"""
AUTO_MAP: dict[str, Any] = dict.fromkeys(
    ("AutoConfig", "AutoModel", "AutoModelForSeq2SeqLM", "AutoModelForCausalLM", "AutoProcessor"), "evil.Evil"
) | {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as ``dsbs.train`` saves it."""
    student = tiny_t5()
    task = {"kind": "triage", "name": "triage"}
    objective = {"kind": "step_by_step", "name": "step_by_step", "alpha": 0.5}
    remembered = asdict(Remembered(task=task, objective=objective, choices=["refund", "repair"], max_new_tokens=8))
    student.settings = {key: value for key, value in remembered.items() if key != "prefix_on"}
    folder = tmp_path_factory.mktemp("checkpoint")
    student.save(folder)
    return folder


@pytest.fixture
def checkpoint(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to do harm to; whoever asks on standard input is told yes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda *words: pytest.fail("asked on standard input"))
    return Path(shutil.copytree(sound, tmp_path / "checkpoint"))


def answer(checkpoint: Path) -> list[dict[str, Any]]:
    """Return what ``predict`` says; the second line would be the answer to a prompt."""
    stdout = io.StringIO()
    predict(PredictConfig(checkpoint=str(checkpoint), input="-"), io.BytesIO(b"the kettle leaks\ny\ny\n"), stdout)
    return [json.loads(line) for line in stdout.getvalue().splitlines()]


def edit(folder: Path, name: str = "config.json", **changes: Any) -> None:
    path = folder / name
    values = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(values | changes), encoding="utf-8")


def remember(folder: Path, **changes: Any) -> None:
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))["dsbs"]
    edit(folder, dsbs=values | changes)


def bring_code(folder: Path) -> None:
    (folder / "evil.py").write_text(OWN_CODE, encoding="utf-8")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(OWN_CODE, encoding="utf-8")


def was_run(folder: Path) -> bool:
    return any(place.rglob("was-run") and list(place.rglob("was-run")) for place in (folder, Path.cwd()))


def adapter(folder: Path) -> None:
    edit(folder, "adapter_config.json", peft_type="LORA", base_model_name_or_path=str(folder / "elsewhere"), r=2)
    torch.save({"x": torch.zeros(1)}, folder / "adapter_model.bin")


# What is there, and makes no difference: it is neither read nor run.
IGNORED: dict[str, Change] = {
    "auto_map in config": lambda folder: edit(folder, auto_map=AUTO_MAP),
    "auto_map in the tokenizer's config": lambda folder: edit(folder, "tokenizer_config.json", auto_map=AUTO_MAP),
    "auto_map of old": lambda folder: edit(folder, "tokenizer_config.json", auto_map=["evil.Evil", None]),
    "auto_map in a hub of its own": lambda folder: edit(folder, auto_map={"AutoConfig": "them/theirs--evil.Evil"}),
    "auto_map in the generation config": lambda folder: edit(folder, "generation_config.json", auto_map=AUTO_MAP),
    "auto_map of a processor": lambda folder: edit(folder, "processor_config.json", auto_map=AUTO_MAP),
    "a generation config out of bounds": lambda folder: edit(
        folder, "generation_config.json", max_length="x", top_k=-1
    ),
    "an adapter": adapter,
    "weights named by the config": lambda folder: edit(folder, transformers_weights="../../weights.bin"),
    "kernels": lambda folder: edit(folder, use_kernels=True, kernel_config={"x": "them/kernel:Layer"}),
    "a tokenizer's files elsewhere": lambda folder: edit(
        folder, "tokenizer_config.json", vocab_file="/etc/passwd", fast_tokenizer_files=["../../tokenizer.json"]
    ),
    "a tokenizer elsewhere": lambda folder: edit(folder, "tokenizer_config.json", name_or_path="them/theirs"),
    "a model elsewhere": lambda folder: edit(folder, _name_or_path="them/theirs"),
    "a pickle beside": lambda folder: (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n."),
    "a billion labels": lambda folder: edit(folder, num_labels=10**9),
    "a task's place": lambda folder: remember(folder, task={"kind": "triage", "name": "triage", "path": "/etc/passwd"}),
}


@pytest.mark.parametrize("kind", IGNORED)
def test_what_leads_elsewhere_is_not_followed(kind: str, checkpoint: Path) -> None:
    bring_code(checkpoint)
    IGNORED[kind](checkpoint)
    assert [line["id"] for line in answer(checkpoint)] == ["1", "2", "3"]
    assert not was_run(checkpoint)


def nest(folder: Path, depth: int) -> None:
    text = (folder / "config.json").read_text(encoding="utf-8").rstrip()
    (folder / "config.json").write_text(text[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}", encoding="utf-8")


def replace(path: Path, make: Change) -> None:
    path.unlink()
    make(path)


def shard(folder: Path, **weight_map: str) -> None:
    """Keep the weights as an index and one file; every name leads to it unless told otherwise."""
    names = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    mapped = dict.fromkeys(names, "model-00001-of-00001.safetensors") | weight_map
    edit(folder, "model.safetensors.index.json", metadata={}, weight_map=mapped)


def split_by(folder: Path, pattern: object, part: str = "pre_tokenizer", kind: str = "Split") -> None:
    more = {"behavior": "Isolated", "invert": False} if kind == "Split" else {"content": ""}
    edit(folder, "tokenizer.json", **{part: {"type": kind, "pattern": {"Regex": pattern}, **more}})


def lie_about(folder: Path, header: bytes, size: int | None = None) -> None:
    content = struct.pack("<Q", len(header) if size is None else size) + header
    (folder / "model.safetensors").write_bytes(content)


REFUSED: dict[str, tuple[Change, str]] = {
    "an architecture of its own": (
        lambda folder: edit(folder, model_type="evil", auto_map=AUTO_MAP), "cannot be read .*evil"
    ),
    "no architecture": (lambda folder: edit(folder, model_type=None, auto_map=AUTO_MAP), "model_type: expected"),
    "attention from the hub": (
        lambda folder: edit(folder, attn_implementation="kernels-community/flash-attn"), "expected eager or sdpa"
    ),
    "attention from somebody": (
        lambda folder: edit(folder, _attn_implementation="them/theirs@main:f"), "expected eager or sdpa"
    ),
    "attention of a part": (
        lambda folder: edit(folder, decoder={"attn_implementation": {"": "them/theirs"}}), "expected eager or sdpa"
    ),
    "experts from the hub": (
        lambda folder: edit(folder, experts_implementation="them/theirs"), "experts_implementation='them/theirs'"
    ),
    "packed weights": (
        lambda folder: edit(folder, quantization_config={"quant_method": "mxfp4"}), "quantized weights are not"
    ),
    "an index of pickles": (lambda folder: shard(folder, x="pytorch_model.bin"), "names 'pytorch_model.bin'; expected"),
    "an index that leaves": (
        lambda folder: shard(folder, x="../model-00001-of-00001.safetensors"), "names '../model-00001-of"
    ),
    "an index to what is not there": (
        lambda folder: shard(folder, x="model-00002-of-00002.safetensors"), "there is no such file"
    ),
    "an index of nothing": (
        lambda folder: (shard(folder), edit(folder, "model.safetensors.index.json", weight_map=[])), "names no weights"
    ),
    "weights that are a link": (
        lambda folder: replace(folder / "model.safetensors", lambda path: path.symlink_to("/etc/passwd")),
        "a link to .*outside the folder",
    ),
    "a config that is a link": (
        lambda folder: (shutil.move(folder / "config.json", folder.parent / "c.json"),
                        (folder / "config.json").symlink_to(folder.parent / "c.json")),
        "a link to .*outside the folder",
    ),
    "a config that is a FIFO": (
        lambda folder: replace(folder / "config.json", os.mkfifo), "config.json"
    ),
    "weights that are a FIFO": (
        lambda folder: replace(folder / "model.safetensors", os.mkfifo), "expected a regular file"
    ),
    "a tokenizer that is a folder": (
        lambda folder: replace(folder / "tokenizer_config.json", Path.mkdir), "expected a regular file"
    ),
    "a header without end": (lambda folder: lie_about(folder, b"{}", 2**62), "header of these weights is broken"),
    "a header of odd shapes": (
        lambda folder: lie_about(folder, b'{"a":{"dtype":"F32","shape":[1e9,"x"],"data_offsets":[0,4]}}'), "is broken"
    ),
    "a config nested deeply": (lambda folder: nest(folder, 100), "nested too deeply"),
    "a config nested beyond reading": (lambda folder: nest(folder, 100_000), "not a student saved by dsbs.train"),
    "a config without end": (lambda folder: edit(folder, x="x" * 2**26), "larger than the"),
    "a billion layers": (lambda folder: edit(folder, num_layers=10**9), "num_layers=1000000000: expected at most"),
    "a vast vocabulary": (lambda folder: edit(folder, vocab_size=10**9), "describes a network of"),
    "a number beyond all": (lambda folder: edit(folder, d_model=2**70), "d_model=.*: expected at most"),
    "a number of a tokenizer beyond all": (
        lambda folder: (folder / "tokenizer_config.json").write_text('{"model_max_length": 1' + "0" * 5000 + "}"),
        "not valid JSON",
    ),
    "a length that is a list": (
        lambda folder: edit(folder, "tokenizer_config.json", model_max_length=[1]), r"model_max_length=\[1\]: exp"
    ),
    "dropout that is no number": (lambda folder: edit(folder, dropout_rate=float("nan")), "dropout_rate=NaN: expected"),
    "a token beyond the vocabulary": (lambda folder: edit(folder, pad_token_id=10**6), "the student cannot answer"),
    "a start beyond the vocabulary": (
        lambda folder: edit(folder, decoder_start_token_id={}, eos_token_id={"a": 1}), "cannot be read|cannot answer"
    ),
    "a tokenizer that panics": (
        lambda folder: edit(folder, "tokenizer.json", normalizer={"type": "Precompiled", "precompiled_charsmap": "$$"}),
        "the tokenizer cannot be read",
    ),
    "a pattern that blows up": (lambda folder: split_by(folder, "(a+)+$"), r"the pattern '\(a\+\)\+\$' may take"),
    "a pattern far inside": (
        lambda folder: edit(folder, "tokenizer.json", decoder={"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"Regex": r"\s*\s*x"}, "content": ""}]}), "may take very long"
    ),
    "a pattern that is none": (lambda folder: split_by(folder, ["a"]), "may take very long"),
    "a negative width": (lambda folder: edit(folder, d_model=-4), "cannot be read"),
    "settings that are a text": (lambda folder: edit(folder, dsbs="all"), "is incomplete"),
    "a prefix that is none": (lambda folder: remember(folder, prefix_on="both"), "prefix_on='both': expected"),
    "decoding that is none": (lambda folder: remember(folder, decoding="rm -rf"), "decoding='rm -rf': expected"),
    "no new tokens": (lambda folder: remember(folder, max_new_tokens=0), "max_new_tokens=0: expected from 1"),
    "tokens without end": (lambda folder: remember(folder, max_input_tokens=10**12), "max_input_tokens=1000000000000"),
    "choices without end": (
        lambda folder: remember(folder, choices=[str(n) for n in range(101)]), "choices: expected from 1 to 100"
    ),
    "an unknown format": (lambda folder: remember(folder, format="os:system"), "format=os:system: this version"),
    "values without end": (lambda folder: remember(folder, choices=["x"] * 100_000), "expected plain keys and values"),
    "an unknown key": (lambda folder: remember(folder, code="evil"), "Key 'code' not in"),
    "an interpolation": (lambda folder: remember(folder, input="${oc.env:HOME}"), "expected plain keys and values"),
    "an interpolation as a key": (lambda folder: remember(folder, task={"kind": "triage", "${x}": 1}), "plain"),
    "a task of no kind": (lambda folder: remember(folder, task={"kind": ["triage"]}), "task.kind="),
    "a task that leaves": (
        lambda folder: remember(folder, task={"kind": "triage", "name": "../../x"}), r"task.name='../../x': expected"
    ),
    "a task without bounds": (
        lambda folder: remember(folder, task={"kind": "triage", "name": "triage", "train": -1}), "task.train=-1"
    ),
    "an objective without bounds": (
        lambda folder: remember(folder, objective={"kind": "step_by_step", "name": "s", "alpha": 7}), "alpha=7"
    ),
}  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_checkpoint_of_ours_says_is_told_in_a_sentence(
    kind: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_code(checkpoint)
    change, sentence = REFUSED[kind]
    monkeypatch.setattr("dsbs.inference.checkpoint.MAX_CHOICES", 100)
    change(checkpoint)
    with pytest.raises(DsbsError, match=sentence) as caught:
        answer(checkpoint)
    assert len(str(caught.value)) < 1000
    assert not was_run(checkpoint)


def test_a_checkpoint_in_several_files_is_read(checkpoint: Path) -> None:
    shard(checkpoint)
    assert len(answer(checkpoint)) == 3


def test_the_hubs_own_links_are_followed(checkpoint: Path) -> None:
    """Its cache keeps each file once, under its hash."""
    snapshot, blobs = Path("models--me--mine/snapshots/abc"), Path("models--me--mine/blobs")
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(checkpoint.iterdir())):
        shutil.copy(file, blobs / str(number))
        (snapshot / file.name).symlink_to(Path("../../blobs") / str(number))
    assert len(answer(snapshot)) == 3


@pytest.mark.parametrize("kind", [Pretrained, Causal])
@pytest.mark.parametrize("place", ["config.json", "tokenizer_config.json"])
def test_a_model_that_the_user_named_runs_no_code_and_asks_nothing(
    kind: type[Pretrained], place: str, tmp_path: Path, checkpoint: Path
) -> None:
    folder = causal_folder(tmp_path / "causal") if kind is Causal else checkpoint
    bring_code(folder)
    edit(folder, place, auto_map=AUTO_MAP)
    assert kind(name="mine", model=str(folder)).build([], "target", 0).prefix_on == "target"
    assert not was_run(folder)


def test_pickled_weights_are_let_in_by_the_user_alone_and_hold_nothing_else(checkpoint: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    torch.save(weights, checkpoint / "pytorch_model.bin")
    with pytest.raises(StudentError, match=r"no model\.safetensors"):
        Pretrained(name="mine", model=str(checkpoint)).build([], "target", 0)
    assert Pretrained(name="mine", model=str(checkpoint), use_safetensors=False).build([], "target", 0)
    (checkpoint / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(Vtouch was-run\ntR.")
    with pytest.raises(StudentError, match="could be loaded"):
        Pretrained(name="mine", model=str(checkpoint), use_safetensors=False).build([], "target", 0)
    assert not was_run(checkpoint)


def test_neither_choice_about_loading_gives_a_run_another_name() -> None:
    one = Pretrained(name="mine", model="me/mine")
    assert one.identity() == Pretrained(name="mine", model="me/mine", use_safetensors=False).identity()
    assert one.identity() != Pretrained(name="mine", model="me/mine", trust_remote_code=True).identity()


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    monkeypatch.setattr("dsbs.students.minilm.MAX_UNPACKED", 2**20)
    with zipfile.ZipFile(tmp_path / "model.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.safetensors", b"\0" * 2**21)
    with pytest.raises(StudentError, match="unpacks to more than"):
        MiniLM(name="minilm", path=str(tmp_path / "model.zip")).build([], "target", 0)


ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)
CONFIGS = {
    "an alias bomb": (ALIASES, "it has aliases"),
    "deep": ("a: " + "[" * 5000, "nested too deeply"),
    "a tag": ("task: !!python/object/apply:os.system [touch was-run]", "could not determine a constructor"),
    "no YAML": ("a: b: c", "mapping values are not allowed"),
    "large": ("a: " + "x" * 2**19, "larger than the"),
    "not UTF-8": ("a: \udcff", "not valid YAML"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_runs_config_is_data_within_bounds(kind: str, tmp_path: Path) -> None:
    text, sentence = CONFIGS[kind]
    (tmp_path / "config.yaml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DsbsError, match=sentence):
        read_yaml(tmp_path / "config.yaml")


def test_the_weights_of_a_network_that_shares_tables_are_enough(checkpoint: Path) -> None:
    """A tied table is saved once; a network may well be larger than its file says."""
    weights = load_file(checkpoint / "model.safetensors")
    save_file({name: value for name, value in weights.items() if name != "lm_head.weight"},
              checkpoint / "model.safetensors", {"format": "pt"})  # fmt: skip
    assert open_checkpoint(str(checkpoint)).load(4)
