"""Local folders of models as users have them: incomplete, with other names, other sizes, other parts."""

import io
import json
import logging
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tiny import CHOICES, TEXTS, causal_folder, encoder_folder, examples, seq2seq_folder
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    M2M100Tokenizer,
    MarianConfig,
    MarianMTModel,
    T5EncoderModel,
)

from dsbs.core.errors import StudentError
from dsbs.core.records import Example
from dsbs.core.terminal import log_once
from dsbs.students import Causal, Embedding, Encoder, MiniLM, Pretrained
from dsbs.students.answering import DecodingConfig
from dsbs.students.base import check_place
from dsbs.students.model import StudentModel

READING = DecodingConfig("rank", batch_size=2, max_input_tokens=32)
KINDS = ("llama", "gpt2", "t5", "bart", "bert")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each kind, as the hub has them."""
    root = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        write = {"bert": encoder_folder, "t5": seq2seq_folder, "bart": seq2seq_folder}.get(kind, causal_folder)
        write(root / kind, *([] if kind == "bert" else [kind]))  # type: ignore[operator]
    return root


@pytest.fixture
def copy(models: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a copy of a model's folder."""
    return lambda kind: shutil.copytree(models / kind, tmp_path / kind)


@pytest.fixture(autouse=True)
def fresh() -> None:
    log_once.cache_clear()


def build(folder: Path, prefix_on: str = "target", **settings: Any) -> StudentModel:
    kind = json.loads((folder / "config.json").read_text())["model_type"] if (folder / "config.json").exists() else "t5"
    student = (Causal if kind in ("llama", "gpt2") else Pretrained)(
        name="mine", model=str(folder), max_input_tokens=32, max_target_tokens=16, max_new_tokens=8, **settings
    )
    return student.build([], prefix_on, 0)


def classify(folder: Path, choices: tuple[str, ...] = CHOICES) -> StudentModel:
    return Encoder(name="mine", model=str(folder), max_input_tokens=32).prepare([], "target", 0, choices)


def embed(folder: Path, cache: Path, **settings: Any) -> Any:
    return Embedding(name="mine", model=str(folder), max_input_tokens=32, **settings).build_features(cache)


def rename_weights(folder: Path, prefix: str) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({prefix + name: weight.clone() for name, weight in weights.items()}, folder / "model.safetensors")


def pickle_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def add_tokens(folder: Path) -> None:
    """Add tokens as users do who forget ``resize_token_embeddings``."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["kettle", "leaks"])
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
@pytest.mark.parametrize("kind", ["llama", "t5", "bert"])
def test_weights_of_other_names_are_refused_in_place_of_random_ones(
    kind: str, prefix: str, copy: Callable[[str], Path]
) -> None:
    rename_weights(folder := copy(kind), prefix)
    with pytest.raises(StudentError, match=rf"100% of it would start at random.* and they have {prefix}"):
        classify(folder) if kind == "bert" else build(folder)


def test_half_an_encoder_decoder_is_refused(copy: Callable[[str], Path]) -> None:
    T5EncoderModel.from_pretrained(folder := copy("t5")).save_pretrained(folder)
    with pytest.raises(StudentError, match="47% of it would start at random"):
        build(folder)


def test_weights_that_are_no_numbers_are_refused_before_a_training(copy: Callable[[str], Path]) -> None:
    weights = load_file((folder := copy("t5")) / "model.safetensors")
    weights["shared.weight"][3] = torch.inf
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(StudentError, match="holds NaN or infinity"):
        build(folder)


@pytest.mark.parametrize("kind", ["llama", "t5", "bert"])
@pytest.mark.parametrize("prefix_on", ["target", "input"])
def test_tokens_that_were_added_to_the_tokenizer_alone_get_an_embedding(
    kind: str, prefix_on: str, copy: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    add_tokens(folder := copy(kind))
    with caplog.at_level(logging.INFO):
        student = classify(folder) if kind == "bert" else build(folder, prefix_on)
    tables = student.embedding_tables()
    assert len(student.rank(examples(2), READING)) == 2
    assert min(map(len, tables)) >= len(student.tokenizer)
    if kind != "bert":  # which knows these words
        assert "2 tokens of the tokenizer without an embedding in the weights: 'kettle', 'leaks'" in caplog.text
        id = student.tokenizer.convert_tokens_to_ids("leaks")
        torch.testing.assert_close(tables[0][id], tables[0][: id - 1].mean(0))


def test_tokens_of_a_frozen_encoder_get_an_embedding(copy: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy("bert")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["[PRODUCT]"])
    tokenizer.save_pretrained(folder)
    assert embed(folder, tmp_path).transform(["a [PRODUCT]"]).shape == (1, 16)
    student = MiniLM(name="minilm", path=str(folder), decoder_layers=1).build([], "target", 0)
    assert student.rank([Example("1", "a [PRODUCT]", None, CHOICES)], READING)[0].label in CHOICES


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_classifier_of_other_classes_gets_a_new_head(count: int, copy: Callable[[str], Path]) -> None:
    folder = copy("bert")
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=count).save_pretrained(folder)
    student = classify(folder)
    assert len(student.rank(examples(2), READING)[0].scores or ()) == len(CHOICES)


def test_a_config_of_other_sizes_than_the_weights_is_refused(copy: Callable[[str], Path], tmp_path: Path) -> None:
    config = json.loads(((folder := copy("bert")) / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 12}))
    with pytest.raises(StudentError, match=r"intermediate.*is \[16\] in the weights, but \[12\] by config.json"):
        classify(folder)
    with pytest.raises(StudentError, match=r"intermediate.*is \[16\] in the weights, but \[12\] by config.json"):
        embed(folder, tmp_path)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_decoder_without_a_padding_token_classifies_and_embeds(
    kind: str, copy: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy(kind)
    several, (alone,) = classify(folder).rank(examples(3), READING), classify(folder).rank(examples(1), READING)
    assert several[0].score == pytest.approx(alone.score, abs=1e-4)
    texts = ["it leaks", "the kettle leaks and leaks"]
    vectors = embed(folder, tmp_path).transform(texts)
    torch.testing.assert_close(vectors[:1], embed(folder, tmp_path / "other").transform(texts[:1]), atol=1e-4, rtol=0)


def test_padding_on_the_left_is_not_the_first_state(copy: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy("bert")
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.save_pretrained(folder)
    texts = ["it leaks", "the kettle leaks and the sofa leaks"]
    vectors = embed(folder, tmp_path, pooling="cls").transform(texts)
    alone = embed(folder, tmp_path / "other", pooling="cls").transform(texts[:1])
    torch.testing.assert_close(vectors[:1], alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_an_encoder_decoder_classifies_texts_that_hold_its_end_token(kind: str, copy: Callable[[str], Path]) -> None:
    student = classify(folder := copy(kind))
    end = student.tokenizer.eos_token
    texts = [f"the kettle {end} leaks", "the kettle leaks"]
    one, two = student.rank([Example(text, text, None, CHOICES) for text in texts], READING)
    assert one.score == pytest.approx(two.score)
    own = Encoder(name="mine", model=str(folder), max_input_tokens=32).prepare([], "target", 0, None)
    choices = ("refund it", f"replace {end}")
    assert len(own.rank([Example("1", texts[0], None, choices), Example("2", "a sofa", None, CHOICES)], READING)) == 2


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_an_encoder_decoder_embeds_nothing(kind: str, copy: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(StudentError, match="is an encoder-decoder; student=embedding needs an encoder"):
        embed(copy(kind), tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "Type student.pooling=cls"),
        ({"pooling_mode": "lasttoken"}, "There is no such student.pooling"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, ""),
    ],
)
def test_another_pooling_than_that_of_the_training_is_told(
    settings: dict[str, Any], said: str, copy: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ((folder := copy("bert")) / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(settings))
    with caplog.at_level(logging.INFO):
        embed(folder, tmp_path)
    assert said in caplog.text
    assert bool(said) == ("was trained with" in caplog.text)


def marian_folder(folder: Path) -> Path:
    """Write a Marian whose targets are cut into other pieces than its inputs."""
    pieces: dict[str, None] = dict.fromkeys(["</s>", "<unk>"])
    for name, texts in (("source", TEXTS), ("target", [text.replace("e", "i") for text in TEXTS])):
        model = io.BytesIO()
        SentencePieceTrainer.train(
            sentence_iterator=iter([*texts, "refund"]), model_writer=model, vocab_size=80, hard_vocab_limit=False,
            minloglevel=2,
        )  # fmt: skip
        (folder / f"{name}.spm").write_bytes(model.getvalue())
        reader = SentencePieceProcessor(model_proto=model.getvalue())
        pieces |= dict.fromkeys(reader.id_to_piece(id) for id in range(reader.get_piece_size()))
    words = {piece: id for id, piece in enumerate([*pieces, "<pad>"])}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "tokenizer_config.json").write_text(json.dumps({"source_lang": "en", "target_lang": "de"}))
    sizes = dict.fromkeys(("encoder_layers", "decoder_layers"), 1) | {"d_model": 16, "max_position_embeddings": 64}
    heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    last = words["<pad>"]
    config = MarianConfig(
        vocab_size=len(words), **sizes, **heads, pad_token_id=last, decoder_start_token_id=last, eos_token_id=0
    )
    MarianMTModel(config).save_pretrained(folder)
    return folder


def test_targets_are_cut_into_the_pieces_of_targets(tmp_path: Path) -> None:
    student = build(marian_folder(tmp_path))
    [ids] = student.encode_targets(["refund it"])
    assert ids[:-1] == student.tokenizer(text_target="refund it", add_special_tokens=False)["input_ids"]
    assert ids[:-1] != student.tokenizer("refund it", add_special_tokens=False)["input_ids"]
    assert student.decode([ids]) == ["refund it"]


def test_targets_of_a_translation_model_need_no_language(copy: Callable[[str], Path], tmp_path: Path) -> None:
    marian_folder(tmp_path)
    tokenizer = M2M100Tokenizer(vocab_file=str(tmp_path / "vocab.json"), spm_file=str(tmp_path / "source.spm"))
    student = build(copy("bart"))
    student.tokenizer = tokenizer
    [ids] = student.encode_targets(["refund it"])
    assert tokenizer.decode(ids[:-1]) == "refund it"


class Opener:
    """What a hostile pickle holds: something to call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("written-by-a-pickle", "w")


def test_pickled_weights_are_tensors_or_are_not_loaded(
    copy: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pickle_weights(folder := copy("llama"))
    with pytest.raises(StudentError, match="use_safetensors=false also takes"):
        build(folder)
    assert build(folder, use_safetensors=False).rank(examples(1), READING)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Opener()))
    with pytest.raises(StudentError, match="its pickled weights hold more than tensors, and are not loaded"):
        build(folder, use_safetensors=False)
    assert not Path("written-by-a-pickle").exists()


def remove(*names: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / name).unlink() for name in names]


def only_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "me/base", "peft_type": "LORA"}))
    remove("config.json", "model.safetensors")(folder)


def below(folder: Path) -> None:
    shutil.copytree(folder, folder / "checkpoint-500")
    shutil.copytree(folder / "checkpoint-500", folder / "later", ignore=shutil.ignore_patterns("model*"))
    remove("config.json", "model.safetensors")(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (only_adapter, "an adapter of me/base, not a model. Merge them"),
        (below, "Name what is in it, such as .*checkpoint-500"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "m.gguf"), "such as .*m.gguf"),
        (remove("model.safetensors"), "no index of shards; it holds config.json, generation_config.json, tokenizer"),
        (remove("tokenizer.json"), "there is no tokenizer, such as tokenizer.json or spiece.model"),
        (
            lambda folder: (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
            "model.safetensors is a pointer of Git LFS",
        ),
    ],
)
def test_an_incomplete_folder_says_what_is_missing(
    change: Callable[[Path], object], said: str, copy: Callable[[str], Path]
) -> None:
    change(folder := copy("llama"))
    with pytest.raises(StudentError, match=said):
        Causal(name="mine", model=str(folder)).build([], "target", 0)


def test_an_adapter_beside_a_model_is_told(copy: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    ((folder := copy("llama")) / "adapter_config.json").write_text("{}")
    with caplog.at_level(logging.INFO):
        build(folder)
    assert "the adapter in it (adapter_config.json) is not used, only the model" in caplog.text


def test_weights_are_no_folder(models: Path) -> None:
    with pytest.raises(StudentError, match="expected the folder of a model"):
        Causal(name="mine", model=str(models / "llama" / "model.safetensors")).build([], "target", 0)


def test_a_place_may_be_in_the_home_folder(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(models))
    check_place("~/llama")
    here, there = (Causal(name="mine", model=place) for place in ("~/llama", str(models / "llama")))
    assert here.identity() == there.identity()
    with pytest.raises(StudentError, match="no such file or folder"):
        check_place("~/other")
