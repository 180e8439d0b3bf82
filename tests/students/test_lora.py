"""LoRA: little is trained, the rest stays, and what is saved is an ordinary checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import batch_of, causal_folder, examples, seq2seq_folder
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from dsbs.core.errors import StudentError
from dsbs.objectives import StepByStep
from dsbs.students import Causal, Lora, Pretrained
from dsbs.students.decoding import DecodingConfig, rank
from dsbs.students.loading import load_student, load_weights
from dsbs.students.model import StudentModel

KINDS = ["llama", "gpt2", "t5", "t5_v1_1", "bart"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Students as the hub has them."""
    causal, encoder_decoder = ("llama", "gpt2"), ("t5", "t5_v1_1", "bart")
    return {kind: causal_folder(tmp_path_factory.mktemp(kind), kind) for kind in causal} | {
        kind: seq2seq_folder(tmp_path_factory.mktemp(kind), kind) for kind in encoder_decoder
    }


def build(folders: dict[str, Path], kind: str, prefix_on: str = "target", seed: int = 0, **lora: Any) -> StudentModel:
    student = Causal if kind in ("llama", "gpt2") else Pretrained
    lengths: dict[str, Any] = {"max_input_tokens": 64, "max_target_tokens": 64, "max_new_tokens": 8}
    settings = Lora(**({"r": 4, "alpha": 8.0} | lora))
    return student(name="mine", model=str(folders[kind]), lora=settings, **lengths).build([], prefix_on, seed)


def take_steps(student: StudentModel, steps: int = 3) -> None:
    """Train for a few steps that are large enough to be seen."""
    batch = batch_of(student)
    student.eval()
    optimizer = torch.optim.SGD([weight for weight in student.parameters() if weight.requires_grad], lr=0.5)
    counts = {"label": torch.tensor(12), "rationale": torch.tensor(12)}
    for _ in range(steps):
        optimizer.zero_grad()
        StepByStep().loss(student, batch, counts)[0].backward()
        optimizer.step()


def logits_of(student: StudentModel) -> dict[str, torch.Tensor]:
    batch = batch_of(student)
    with torch.no_grad():
        return student.eval()(batch["inputs"], batch["targets"])


def assert_same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    for kind in one:
        torch.testing.assert_close(one[kind], two[kind], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_at_first_nothing_is_another_and_little_is_trained(folders: dict[str, Path], kind: str) -> None:
    whole, student = build(folders, kind, r=0), build(folders, kind)
    assert_same(logits_of(whole), logits_of(student))
    trained = {name: weight for name, weight in student.named_parameters() if weight.requires_grad}
    assert {name.split(".")[-2] if "lora" in name else "prefix" for name, weight in trained.items()} >= {"prefix"}
    assert all("lora_" in name or "trainable_tokens" in name for name in trained)
    rows = [tuple(weight.shape) for name, weight in trained.items() if "trainable_tokens" in name]
    width = student.embedding_tables()[0].shape[1]
    assert rows == [(2, width)]  # [label] and [rationale], which the pretrained vocabulary does not have


@pytest.mark.parametrize("prefix_on", ["target", "input"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_merged_and_loads_without_peft(
    folders: dict[str, Path], kind: str, prefix_on: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = build(folders, kind, prefix_on)
    before = logits_of(student)
    take_steps(student)
    wanted = logits_of(student)
    assert not torch.allclose(before["label"], wanted["label"], atol=1e-2)
    predictions = rank(student, examples(3), DecodingConfig())
    student.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    assert_same(logits_of(load_student(tmp_path)), wanted)
    assert_same(logits_of(student), wanted)  # merged itself, it still reads the same
    assert [one.label for one in rank(student, examples(3), DecodingConfig())] == [one.label for one in predictions]
    loader = AutoModelForCausalLM if kind in ("llama", "gpt2") else AutoModelForSeq2SeqLM
    names = set(loader.from_pretrained(tmp_path).state_dict())
    assert not [name for name in names if "lora" in name or "base_layer" in name or "token_adapter" in name]


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_goes_on_from_a_checkpoint_of_the_trained_weights_alone(
    folders: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    student = build(folders, kind)
    take_steps(student)
    student.save_training(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.lora.safetensors"]
    again = build(folders, kind, seed=5)  # other draws, which the checkpoint replaces
    load_weights(again, tmp_path)
    assert_same(logits_of(again), logits_of(student))
    take_steps(student)
    take_steps(again)
    assert_same(logits_of(again), logits_of(student))


def test_what_is_not_trained_is_the_same_as_before(folders: dict[str, Path]) -> None:
    student = build(folders, "llama", target_modules=["q_proj"])
    before = {name: weight.clone() for name, weight in student.named_parameters() if not weight.requires_grad}
    take_steps(student)
    after = dict(student.named_parameters())
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert {name.split(".")[-4] for name in after if "lora_" in name} == {"q_proj"}


def test_equal_seeds_draw_equal_matrices(folders: dict[str, Path]) -> None:
    drawn = [
        next(weight for name, weight in build(folders, "llama", seed=seed).named_parameters() if "lora_A" in name)
        for seed in (0, 0, 1)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_weights_of_other_matrices_are_not_taken_for_ours(folders: dict[str, Path], tmp_path: Path) -> None:
    build(folders, "llama").save_training(tmp_path)
    with pytest.raises(StudentError, match="made with other target_modules"):
        load_weights(build(folders, "llama", target_modules=["q_proj"]), tmp_path)


def test_a_name_that_no_matrix_has_is_a_clear_message(folders: dict[str, Path]) -> None:
    with pytest.raises(StudentError, match=r"student\.lora cannot be applied: .*no_proj.*target_modules empty"):
        build(folders, "llama", target_modules=["no_proj"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"r": -1}, "student.lora.r=-1: expected 0 (no LoRA) or more"),
        ({"alpha": 0.0}, "student.lora.alpha=0.0: expected above 0"),
        ({"dropout": 1.0}, "student.lora.dropout=1.0: expected from 0 up to"),
    ],
)
def test_a_setting_out_of_range_is_told(changes: dict[str, Any], says: str) -> None:
    assert [fault for fault in Pretrained(name="t5", model="t5", lora=Lora(**changes)).faults() if says in fault]


def test_without_peft_the_fault_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsbs.students.lora.importlib.util.find_spec", lambda name: None)
    assert Lora(r=0).faults() == []
    assert Lora(r=8).faults() == ["student.lora.r=8 needs the package peft: pip install 'dsbs[lora]'"]


def test_lora_is_another_student_and_its_absence_none() -> None:
    none, some, more = (Causal(name="x", model="a/b", lora=Lora(r=r)).identity() for r in (0, 8, 16))
    assert "lora" not in none
    assert Causal(name="x", model="a/b", lora=Lora(alpha=3.0)).identity() == none
    assert none != some != more
