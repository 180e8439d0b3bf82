"""A teacher beside the student: what it reads, where its distributions stand, and who cannot be one."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from objectives.steps import (
    BUILDS,
    assert_same_however_cut,
    end_probabilities,
    loss_of,
    rows_of,
    some_data,
    tiny_llama,
)
from safetensors.torch import load_file, save_file
from tiny import byte_tokenizer, causal_folder, seq2seq_folder, tiny_t5
from tokenizers import processors
from trained import TINY, small_triage, train_tiny
from transformers import AutoTokenizer

from dsbs.core.errors import StudentError
from dsbs.core.records import Example
from dsbs.inference.predictor import load_predictor
from dsbs.inference.torch_predictor import TorchPredictor
from dsbs.objectives import GKD, Finetune, SoftTargets, StepByStep
from dsbs.objectives.divergences import DIVERGENCES
from dsbs.objectives.losses import summed_divergence
from dsbs.objectives.teacher import load_teacher
from dsbs.students import Causal, Pretrained, T5Scratch
from dsbs.students.answering import DecodingConfig
from dsbs.students.collator import Collator
from dsbs.students.loading import OpenedModel
from dsbs.students.model import StudentModel
from dsbs.students.plain import PlainDecoderOnly
from dsbs.students.tensors import IGNORED
from dsbs.training import teacher_scores
from dsbs.training.teacher_scores import exact_scores

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models as a hub has them; their weights are not those of the students."""
    folder = tmp_path_factory.mktemp("hub")
    places = {"llama": causal_folder(folder / "llama"), "t5": seq2seq_folder(folder / "t5", "t5")}
    for place in places.values():
        weights = load_file(place / "model.safetensors")
        torch.manual_seed(1)
        changed = {name: weight + 0.1 * torch.randn_like(weight) for name, weight in weights.items()}
        save_file(changed, place / "model.safetensors", {"format": "pt"})
    return places


def taught(place: Path, student: StudentModel, **settings: Any) -> SoftTargets:
    """Return an objective whose teacher is loaded, in float32."""
    fixed: dict[str, Any] = {"source": "teacher", "teacher_bf16": False, "soft_weight": 1.0}
    objective = SoftTargets(
        name="soft_targets", teacher_model=str(place), prefix_on=student.prefix_on, **(fixed | settings)
    )
    assert objective.faults() == []
    objective.prepare(student, CPU)
    return objective


def save_as_run(student: StudentModel, folder: Path) -> Path:
    """Write a student as a finished run has it."""
    student.settings = {"task": {}}
    student.save(folder / "checkpoint")
    return folder


def plainly(student: StudentModel, objective: SoftTargets) -> tuple[float, int]:
    """Return forward KL over the label tokens, one example and one token at a time, and how many tokens there are.

    The end after a causal model as the hub has it is learned by cross-entropy.
    """
    teacher, total, tokens = objective.teacher, 0.0, 0
    for example, _ in some_data():
        [target] = student.encode_targets([example.label or ""])
        text = objective.word(example.input, teacher.student.tokenizer)
        own = student.encode_inputs([example.input], "label", 64)[0]
        read = teacher.student.encode_inputs([text], "label", 64)[0]
        distributions = []
        for model, ids in ((teacher.student, read), (student, own)):
            starts = [model.start_id("label")] if model is student or objective.teacher.reads_as_student else []
            if model.config.is_encoder_decoder:
                given = torch.tensor([[model.start_id("label"), *target[:-1]]])
                logits = model.model(input_ids=torch.tensor([ids]), decoder_input_ids=given).logits[0]
            else:
                whole = torch.tensor([[*ids, *starts, *target[:-1]]])
                logits = model.model(input_ids=whole).logits[0, -len(target) :]
            distributions.append(logits[:, : teacher.vocabulary].log_softmax(-1).tolist())
        given_end = target[-1] if isinstance(teacher.student, PlainDecoderOnly) else None
        for token, p, q in zip(target, *distributions, strict=True):
            kl = sum(math.exp(x) * (x - y) for x, y in zip(p, q, strict=True))
            total += -q[token] if token == given_end else kl
            tokens += 1
    return total, tokens


@pytest.mark.parametrize("kind", ["t5", "llama"])
@pytest.mark.parametrize("prefix_on", ["target", "input"])
@pytest.mark.parametrize("teacher_input", ["{input}", "Question: {input}\nAnswer:\n"])
def test_the_divergence_is_that_of_one_token_at_a_time(
    kind: str, prefix_on: str, teacher_input: str, folders: dict[str, Path]
) -> None:
    student = BUILDS[kind](prefix_on).requires_grad_(False).eval()
    objective = taught(folders[kind], student, teacher_input=teacher_input)
    loss, terms = loss_of(student, objective, some_data())
    total, tokens = plainly(student, objective)
    assert terms["soft"] == pytest.approx(total / tokens, rel=1e-3)
    assert loss.item() == pytest.approx(total / tokens, rel=1e-3)
    assert total > 0


@pytest.mark.parametrize("kind", ["t5", "llama"])
@pytest.mark.parametrize("prefix_on", ["target", "input"])
@pytest.mark.parametrize("rationales", [False, True])
def test_a_student_that_is_its_own_teacher_has_nothing_to_learn(
    kind: str, prefix_on: str, rationales: bool, tmp_path: Path
) -> None:
    student = BUILDS[kind](prefix_on).eval()
    objective = taught(save_as_run(student, tmp_path), student, rationales=rationales)
    assert objective.teacher.reads_as_student
    loss, terms = loss_of(student, objective, some_data())
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert terms["soft"] == pytest.approx(0, abs=1e-6)
    assert terms["soft_rationale"] == pytest.approx(0, abs=1e-6)
    assert all(not weight.requires_grad for weight in objective.teacher.student.parameters())


@pytest.mark.parametrize("name", DIVERGENCES)
def test_however_a_step_is_cut_and_padded_it_is_the_same(name: str, folders: dict[str, Path]) -> None:
    student = tiny_llama()
    objective = taught(folders["llama"], student, divergence=name, soft_weight=0.7, rationales=True, temperature=2.0)
    assert_same_however_cut(student, objective, rows_of(student, objective, some_data()))


def test_a_student_ends_its_answers_though_its_teacher_writes_on(folders: dict[str, Path]) -> None:
    """What a model of a hub writes after an answer is no part of it: the student would never end."""
    student = tiny_llama()
    objective = taught(folders["llama"], student, teacher_input="{input}\nAnswer:\n", temperature=2.0)
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.01)
    for _ in range(30):
        loss, _ = loss_of(student, objective, some_data())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    batch = Collator(student)(rows_of(student, objective, some_data()))
    assert end_probabilities(student, batch).min() > 0.8
    with torch.no_grad():
        taught_logits = objective.teacher.logits(batch, ("label",))["label"]
    ends = batch["targets"]["label"]["labels"].eq(student.end_id)
    assert taught_logits.softmax(-1)[ends][:, student.end_id].max() < 0.2


def chat_folder(folder: Path) -> Path:
    """Write a chat model as a hub has it: it ends with a token of its own, and its tokenizer adds a first token."""
    causal_folder(folder)
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="^ $A", special_tokens=[("^", tokenizer.convert_tokens_to_ids("^"))]
    )
    tokenizer.add_special_tokens({"bos_token": "^", "eos_token": "~"})
    turns = "{% for one in messages %}{{ one['content'] }}{% if one['role'] == 'assistant' %}~{% endif %}{% endfor %}"
    tokenizer.chat_template = "{{ bos_token }}" + turns + "\nanswer:"
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("named", [True, False])
def test_the_end_of_a_chat_model_is_the_students_end(tmp_path: Path, named: bool) -> None:
    """Base models and their chat variants have the same tokens, but end with different ones, which some do not name."""
    student = tiny_llama()
    folder = chat_folder(tmp_path)
    if not named:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.add_special_tokens({"eos_token": "<|end|>"})
        tokenizer.add_tokens(["~"], special_tokens=True)
        tokenizer.save_pretrained(folder)
    objective = taught(folder, student, teacher_chat=True)
    teacher = objective.teacher
    assert teacher.student.end_id == student.tokenizer.convert_tokens_to_ids("~") != student.end_id
    assert teacher.hard_end == student.end_id
    rows = rows_of(student, objective, some_data())
    batch = Collator(student)(rows)
    label = batch["targets"]["teacher label"]
    inputs = {label["source"]: batch["inputs"][label["source"]]}
    with torch.no_grad():
        own = teacher.student(inputs, {"label": label})["label"][..., : teacher.vocabulary]
    found = teacher.logits(batch, ("label",))["label"]
    assert torch.equal(found[..., student.end_id], own[..., teacher.student.end_id])
    assert torch.equal(found.sort(-1).values, own.sort(-1).values)
    [ids] = {tuple(row[:3]) for row in inputs[label["source"]]["input_ids"].tolist()}
    assert ids.count(teacher.student.tokenizer.bos_token_id) == 1


def test_a_template_that_rewords_answers_says_nothing_about_their_end(tmp_path: Path) -> None:
    teacher = load_teacher(str(chat_folder(tmp_path)))
    assert isinstance(teacher, PlainDecoderOnly)
    teacher.tokenizer.chat_template = teacher.tokenizer.chat_template.replace("'] }}", "'] | upper }}")
    teacher.end_turns()
    assert teacher.end_id == teacher.tokenizer.convert_tokens_to_ids("~")  # not the first token of all, as it was


def test_an_answer_that_a_longer_one_begins_with_is_not_the_more_probable_one(folders: dict[str, Path]) -> None:
    """A model that does not end its answers gives `1` all of the probability of `10`."""
    model = load_teacher(str(folders["llama"])).eval()
    predictor = TorchPredictor(model, small_triage(), Finetune(name="finetune"), DecodingConfig("rank"))
    [found] = predictor.predict([Example("1", "It leaks.\n", choices=("1", "10", "100", "12", "2"))])
    assert found.scores is not None
    before = {answer: math.exp(score) for answer, score in found.scores.items()}
    assert before["1"] >= before["10"] >= before["100"]
    after = {answer: math.exp(score) for answer, score in exact_scores(predictor, found.scores).items()}
    assert after == pytest.approx(
        before | {"1": before["1"] - before["10"] - before["12"], "10": before["10"] - before["100"]}, rel=1e-3
    )
    ours = replace(predictor, student=tiny_llama())
    assert exact_scores(ours, found.scores) == found.scores


def test_a_chat_with_a_model_without_a_template_is_refused_before_weights_are_loaded(folders: dict[str, Path]) -> None:
    place = str(folders["llama"])
    for teacher in (place, "student"):
        objective = GKD(name="gkd", teacher_model=teacher, teacher_chat=True)
        with pytest.raises(StudentError, match=rf"teacher_chat=true: {teacher} has no chat template"):
            objective.check(Causal(name="causal", model=place))
    with pytest.raises(StudentError, match="no chat template"):
        replace(objective, teacher_model="a run of logreg").word("It leaks.", None)


def test_without_soft_weight_it_is_step_by_step(folders: dict[str, Path]) -> None:
    student = tiny_t5()
    objective = taught(folders["t5"], student, soft_weight=0.0, rationales=True, alpha=0.3)
    plain, _ = loss_of(student, StepByStep(alpha=0.3), some_data())
    assert loss_of(student, objective, some_data())[0].item() == pytest.approx(plain.item(), abs=1e-5)


@pytest.mark.parametrize(("kind", "advice"), [("rationale_then_label", "reasoning=true"), ("finetune", None)])
def test_a_run_that_writes_its_rationale_first_teaches_no_labels(kind: str, advice: str | None, tmp_path: Path) -> None:
    student = tiny_t5().eval()
    student.settings = {"task": {}, "objective": {"kind": kind}}
    student.save(tmp_path / "checkpoint")
    labels = SoftTargets(name="soft_targets", source="teacher", teacher_model=str(tmp_path))
    reasons = GKD(name="gkd", teacher_model=str(tmp_path), reasoning=True)
    wrong, right = (reasons, labels) if advice is None else (labels, reasons)
    right.check(T5Scratch(name="tiny"))
    with pytest.raises(StudentError, match=advice or "Choose a run of objective=rationale_then_label"):
        wrong.check(T5Scratch(name="tiny"))


def test_a_run_with_its_prefix_elsewhere_reads_texts_of_its_own(tmp_path: Path) -> None:
    teacher = tiny_t5("input").eval()
    student = tiny_t5("target").eval()
    objective = taught(save_as_run(teacher, tmp_path), student)
    assert not objective.teacher.reads_as_student
    rows = rows_of(student, objective, some_data(1))
    [(kind, name, ids, _)] = [target for target in rows[0].targets if target[0] != "label"]
    assert (kind, ids) == ("teacher label", rows[0].targets[0][2])
    read = teacher.tokenizer.decode(rows[0].inputs[name])
    assert read.replace(" ", "").startswith("[label]thekettle")


def test_the_teacher_does_not_know_the_students_prefixes_and_its_table_may_be_padded(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    student = tiny_llama()
    plain = taught(folders["llama"], student)
    assert plain.teacher.vocabulary == len(student.tokenizer) - 2
    wide = plain.teacher.student
    wide.model.resize_token_embeddings(wide.config.vocab_size + 28, mean_resizing=False)
    with torch.no_grad():
        wide.embedding_tables()[1][-28:] += 5.0  # what pads a table would win, if it were looked at
    wide.model.save_pretrained(tmp_path)
    wide.tokenizer.save_pretrained(tmp_path)
    padded = taught(tmp_path, student)
    assert len(padded.teacher.student.embedding_tables()[1]) > padded.teacher.vocabulary
    one, two = (loss_of(student, objective, some_data())[0] for objective in (plain, padded))
    assert one.item() == pytest.approx(two.item(), abs=1e-5)


def test_other_tokens_are_refused_before_any_weights_are_loaded(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenedModel, "network", lambda *_, **__: pytest.fail("weights were loaded"))
    objective = SoftTargets(name="soft_targets", source="teacher", teacher_model=str(folders["t5"]))
    reason = (
        r"T5Tokenizer of .*, \d+ tokens\) is not the student's .*300 tokens.*soft_targets objective\.source=ranking"
    )
    with pytest.raises(StudentError, match=reason):
        objective.check(Causal(name="mine", model=str(folders["llama"])))
    objective.check(Pretrained(name="mine", model=str(folders["t5"])))
    with pytest.raises(StudentError, match=reason):  # a tokenizer that is made is compared when it is there
        objective.prepare(tiny_llama(), CPU)


def test_a_teacher_that_is_nowhere_is_named() -> None:
    objective = SoftTargets(name="soft_targets", source="teacher", teacher_model="./nowhere")
    with pytest.raises(StudentError, match=r"\./nowhere"):
        objective.prepare(tiny_t5(), CPU)
    [fault] = SoftTargets(name="soft_targets", source="teacher").faults()
    assert "add objective.teacher_model=" in fault


def test_a_teacher_computes_in_bfloat16_and_the_divergence_in_float32(folders: dict[str, Path]) -> None:
    student = tiny_llama()
    exact = taught(folders["llama"], student)
    objective = taught(folders["llama"], student, teacher_bf16=True)
    if objective.teacher.student.model.dtype == torch.float32:
        pytest.skip("this CPU only imitates bfloat16")
    one, two = (loss_of(student, each, some_data())[0] for each in (exact, objective))
    assert two.dtype == torch.float32
    assert two.item() == pytest.approx(one.item(), rel=0.1)


def test_all_masked_is_0_and_never_nan() -> None:
    logits = torch.zeros(1, 2, 5, requires_grad=True)
    target = {"labels": torch.full((1, 2), IGNORED), "weights": torch.ones(1)}
    total, count = summed_divergence(SoftTargets()._divergence, torch.zeros(1, 2, 4), logits, target)
    assert (total.item(), count.item()) == (0, 0)
    total.backward()


def test_what_it_is_called_by_is_what_lies_there(folders: dict[str, Path], tmp_path: Path) -> None:
    one = SoftTargets(name="soft_targets", source="teacher", teacher_model=str(folders["t5"])).identity()
    (tmp_path / "copy").symlink_to(folders["t5"])
    two = SoftTargets(name="soft_targets", source="teacher", teacher_model=str(tmp_path / "copy")).identity()
    assert one == two
    assert one["teacher_model"] != str(folders["t5"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of step_by_step."""
    return train_tiny(tmp_path_factory.mktemp("teacher"))


def test_a_finished_run_teaches_live_and_by_ranking_whatever_the_tokenizers(
    run: Path, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = SoftTargets(name="soft_targets", source="teacher", teacher_model=str(run), rationales=True)
    assert (train_tiny(tmp_path, objective=live) / "metrics.json").exists()
    ranking = SoftTargets(name="soft_targets", source="ranking", teacher_model=str(run), divergence="reverse_kl")
    other = Causal(name="other", model=str(folders["llama"]), max_new_tokens=8)
    loaded = []
    loading = lambda saved: loaded.append(load_predictor(saved)) or loaded[-1]  # noqa: E731
    monkeypatch.setattr(teacher_scores, "load_predictor", loading)
    assert (train_tiny(tmp_path, objective=ranking, student=other) / "metrics.json").exists()
    ranked = list((tmp_path / "outputs" / "cache").glob("ranked-*.parquet"))
    assert len(ranked) == 1
    assert [teacher.reading.negligible for teacher in loaded] == [0]  # all scores are full, however many there are
    assert {len(scores) for scores in ranking._ranked.values()} == {4}
    again = SoftTargets(name="soft_targets", source="ranking", teacher_model=str(run), temperature=2.0)
    train_tiny(tmp_path, objective=again, student=TINY)
    assert list((tmp_path / "outputs" / "cache").glob("ranked-*.parquet")) == ranked  # nothing was asked anew


def test_a_model_of_a_hub_ranks_answers_as_what_follows_its_prompt(folders: dict[str, Path], tmp_path: Path) -> None:
    wording = "Message: {input}\nDecision:"
    objective = SoftTargets(
        name="soft_targets", source="ranking", teacher_model=str(folders["llama"]), teacher_bf16=False,
        teacher_input=wording,
    )  # fmt: skip
    train_tiny(tmp_path, objective=objective)
    model = taught(folders["llama"], tiny_llama()).teacher.student
    example = next(one for one in small_triage().examples("train") if one.id in objective._ranked)
    scores = objective._ranked[example.id]
    assert list(scores) == list(example.choices or ())
    prompt = model.tokenizer(wording.replace("{input}", example.input))["input_ids"]
    for answer, found in scores.items():
        ids = model.tokenizer(f" {answer}", add_special_tokens=False)["input_ids"]
        logits = model.model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0].log_softmax(-1)
        by_hand = sum(float(logits[len(prompt) - 1 + place, id]) for place, id in enumerate(ids))
        assert found == pytest.approx(by_hand, abs=1e-3)
