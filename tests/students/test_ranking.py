"""Closed answers in a tree: what is read once for many of them scores each as if it were read alone."""

from typing import Any

import pytest
import torch
from tiny import byte_tokenizer, causal_model, seq2seq_model, tiny_t5
from transformers import BertConfig, BertLMHeadModel, BertModel, EncoderDecoderModel

from dsbs.core.records import Example
from dsbs.students import decoding, ranking
from dsbs.students.answering import DecodingConfig
from dsbs.students.decoder_only import DecoderOnlyModel
from dsbs.students.decoding import rank
from dsbs.students.model import StudentModel
from dsbs.students.seq2seq import Seq2SeqModel
from dsbs.students.trees import Search, Tree

INTENTS = (
    "card_lost", "card_lost_abroad", "card_stolen", "card_not_working", "cash", "cash_withdrawal", "refund", "why",
    "cash_withdrawal_fee", "refund_not_showing_up", "verify_my_identity", "verify_source_of_funds", "a", "Refund",
)  # fmt: skip
GROWING = ["t5", "t5_v1_1", "mt5", "bart", "pegasus", "bert2bert", "llama", "gpt2"]
APART = ["mistral", "bloom", "mamba"]  # a window, positions out of a mask, no list of keys and values


def bert2bert(vocab_size: int) -> Any:
    sizes = {"vocab_size": vocab_size, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(**sizes, intermediate_size=16, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    decoder = BertConfig(**config.to_diff_dict() | {"is_decoder": True, "add_cross_attention": True})
    model = EncoderDecoderModel(encoder=BertModel(config), decoder=BertLMHeadModel(decoder))
    model.config.decoder_start_token_id, model.config.eos_token_id, model.config.pad_token_id = 2, 1, 0
    return model


def built(kind: str, prefix_on: str = "target") -> StudentModel:
    """Return a student whose weights are far enough from 0 for everything to depend on everything."""
    torch.manual_seed(0)
    if kind in ("llama", "gpt2", *APART):
        tokenizer = byte_tokenizer()
        return DecoderOnlyModel(causal_model(kind, len(tokenizer)), tokenizer, prefix_on).eval()
    tokenizer = tiny_t5("input", texts=[" ".join(INTENTS)] * 9).tokenizer
    size = len(tokenizer)
    student = Seq2SeqModel(bert2bert(size) if kind == "bert2bert" else seq2seq_model(kind, size), tokenizer, prefix_on)
    with torch.no_grad():
        for name, weight in student.named_parameters():
            if weight.dim() > 1 and "t5" not in kind:
                weight.normal_(std=0.25)
            if "relative_attention_bias" in name:
                weight.normal_(std=3.0)
    return student.eval()


def examples(count: int = 7) -> list[Example]:
    """Return messages of different lengths; one has choices of its own."""
    some = [Example(str(n), "I lost my card " + "abroad " * (n % 4) + str(n), None, INTENTS) for n in range(count)]
    return [*some, Example("own", "where is it", None, ("cash", "card_lost", "nowhere"))]


def alone(student: StudentModel, example: Example, choice: str, suffix: str = "") -> float:
    """Return the log-probability of a choice from the Hugging Face model alone: nothing padded, kept or shared."""
    [read] = student.encode_inputs([example.input], "label", 512)
    [target] = student.encode_targets([choice + suffix])
    target = target[:-1] if suffix else target
    given = [student.start_id("label"), *target[:-1]]
    with torch.no_grad():
        if isinstance(student, DecoderOnlyModel):
            logits = student.model(input_ids=torch.tensor([[*read, *given]]), use_cache=False).logits[0, len(read) :]
        else:
            ids = {"input_ids": torch.tensor([read]), "decoder_input_ids": torch.tensor([given])}
            logits = student.model(**ids, use_cache=False).logits[0]
    return float(logits.double().log_softmax(-1)[range(len(target)), target].sum())


@pytest.mark.parametrize("kind", GROWING + APART)
@pytest.mark.parametrize("suffix", ["", " explanation:"])
def test_every_score_is_what_the_network_says_of_that_answer_alone(kind: str, suffix: str) -> None:
    student = built(kind)
    predictions = rank(student, examples(3), DecodingConfig(batch_size=3, suffix=suffix))
    assert ranking.can_grow(student) == (kind in GROWING)
    for example, prediction in zip(examples(3), predictions, strict=True):
        by_hand = {choice: alone(student, example, choice, suffix) for choice in example.choices or ()}
        assert prediction.scores == pytest.approx(by_hand, abs=1e-3)
        assert prediction.label == max(by_hand, key=by_hand.__getitem__)


@pytest.mark.parametrize("kind", GROWING)
@pytest.mark.parametrize("most", [1, 40])
def test_however_small_the_passes_are(kind: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    student = built(kind, "input")
    whole = rank(student, examples(3), DecodingConfig())
    monkeypatch.setattr(ranking, "LOGITS", most * student.vocabulary)
    monkeypatch.setattr(ranking, "OVERHEAD", 0)
    monkeypatch.setattr(decoding, "SMALL", 0)
    for negligible in (0.0, 1e-300):
        parts = rank(student, examples(3), DecodingConfig(negligible=negligible))
        for one, two in zip(whole, parts, strict=True):
            assert two.scores == pytest.approx(one.scores, abs=1e-3)


@pytest.mark.parametrize("kind", GROWING)
def test_what_is_negligible_is_bounded_and_changes_no_answer(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "SMALL", 0)
    student = built(kind)
    with torch.no_grad():
        student.model.get_output_embeddings().weight *= 3  # surer of its answers, as a trained student is
    exact = rank(student, examples(), DecodingConfig())
    for negligible in (1e-3, 0.5, 1e9):
        for one, two in zip(exact, rank(student, examples(), DecodingConfig(negligible=negligible)), strict=True):
            assert one.scores is not None
            assert one.confidence is not None
            assert two.scores is not None
            assert two.confidence is not None
            assert two.label == one.label
            assert two.score == pytest.approx(one.score, abs=1e-3)
            assert all(two.scores[choice] >= score - 1e-3 for choice, score in one.scores.items())
            assert one.confidence / (1 + 1.001 * negligible) <= two.confidence <= one.confidence + 1e-3


def test_few_answers_are_always_read_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    student = built("t5")
    whole = rank(student, examples(), DecodingConfig())
    assert rank(student, examples(), DecodingConfig(negligible=1e9)) == whole
    monkeypatch.setattr(decoding, "SMALL", 0)
    bounded = rank(student, examples(), DecodingConfig(negligible=1e9))
    assert any(one.scores != two.scores for one, two in zip(whole, bounded, strict=True))


@pytest.mark.parametrize("kind", ["t5", "bart", "bert2bert", "llama"])
def test_bfloat16_is_as_close_as_it_can_be(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "SMALL", 0)
    student = built(kind)
    for negligible in (0.0, 1e-300):
        one = rank(student, examples(), DecodingConfig())
        two = rank(student, examples(), DecodingConfig(bf16=True, negligible=negligible))
        for exact, rough in zip(one, two, strict=True):
            assert rough.scores == pytest.approx(exact.scores, rel=0.05, abs=0.5)


def test_what_answers_begin_with_alike_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    student = built("t5")
    rank(student, examples(1), DecodingConfig())
    positions: list[int] = []
    extend = student.extend
    monkeypatch.setattr(
        student, "extend", lambda states, ids, *rest: positions.append(ids.numel()) or extend(states, ids, *rest)
    )
    one = Example("1", "I lost my card", None, ("card_lost", "card_lost_abroad", "card_stolen"))
    rank(student, [one], DecodingConfig())
    rows = student.encode_targets(list(one.choices or ()))
    assert positions == [len({tuple(row[:n]) for row in rows for n in range(len(row))})]
    assert positions[0] < sum(map(len, rows))


def test_two_answers_of_the_same_tokens_score_alike() -> None:
    student = built("t5")
    [prediction] = rank(student, [Example("1", "cash?", None, ("cash", " cash", "refund"))], DecodingConfig())
    assert prediction.scores is not None
    assert prediction.scores["cash"] == prediction.scores[" cash"]


def test_an_answer_that_another_one_begins_with_has_its_own_score() -> None:
    """With a suffix a label's tokens have no end behind them, so one can be the beginning of another."""
    tree = Tree.of(0, [[1], [1, 2], [1, 2, 3]])
    for negligible in (0.0, 0.1):
        search = Search(tree, negligible)
        while nodes := search.next():
            for node in nodes:
                search.tell(node, [-0.5])
        assert search.answers() == [-0.5, -1.0, -1.5]


def test_a_likely_beginning_is_followed_until_it_cannot_win() -> None:
    """The likeliest first token leads to the worse answer: greedy reading would take it."""
    tree = Tree.of(0, [[1, 3, 9], [1, 4, 9], [2, 5, 9]])
    logs = {(0,): [-0.5, -1.0], (1,): [-3.0, -3.0], (2,): [-0.1], (1, 3): [-0.1], (1, 4): [-0.1], (2, 5): [-0.1]}

    def path(node: int) -> tuple[int, ...]:
        found = []
        while node:
            found.append(tree.tokens[node])
            node = tree.parents[node]
        return tuple(reversed(found)) or (0,)

    for negligible in (0.0, 1e-6, 0.1, 0.9):
        search = Search(tree, negligible)
        while nodes := search.next():
            for node in nodes:
                search.tell(node, logs[path(node)])
        assert max(range(3), key=search.answers().__getitem__) == 2
