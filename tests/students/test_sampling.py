"""Samples: a row's are its own, and they follow the distribution they are drawn from."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TEXTS, byte_tokenizer, causal_model, seq2seq_model, tiny_t5

from dsbs.core.errors import RunError, StudentError
from dsbs.students.decoder_only import DecoderOnlyModel
from dsbs.students.model import StudentModel
from dsbs.students.plain import PlainDecoderOnly
from dsbs.students.sampling import Voice, open_decoder, pick, sample
from dsbs.students.seq2seq import Seq2SeqModel

INPUTS = ["the kettle leaks", "it", "a sofa is a piece of furniture", "the shop"]


def bart() -> StudentModel:
    tokenizer = tiny_t5("input").tokenizer
    return Seq2SeqModel(seq2seq_model("bart", len(tokenizer)), tokenizer, "target")


def llama(plain: bool = False) -> StudentModel:
    tokenizer = byte_tokenizer()
    model = causal_model("llama", len(tokenizer))
    return PlainDecoderOnly(model, tokenizer) if plain else DecoderOnlyModel(model, tokenizer, "target")


BUILDS: dict[str, Callable[[], StudentModel]] = {
    "t5": tiny_t5, "bart": bart, "llama": llama, "plain llama": lambda: llama(plain=True)
}  # fmt: skip


def draw(student: StudentModel, rows: list[int], voices: Any = None, **changes: Any) -> list[list[int]]:
    inputs = student.encode_inputs(INPUTS, "label", 64)
    settings: dict[str, Any] = {"vocabulary": 250, "end_id": student.end_id, "max_new_tokens": 12}
    draws = [np.random.default_rng([7, row]) for row in rows]
    own = [Voice(student, 1.0, [inputs[row % 4] for row in rows])]
    return sample(voices or own, "label", draws, **(settings | changes))


@pytest.mark.parametrize("kind", BUILDS)
def test_keys_and_values_say_what_a_whole_pass_says(kind: str) -> None:
    student = BUILDS[kind]().eval()
    inputs = student.encode_inputs(INPUTS, "label", 64)
    decoder = open_decoder(student, inputs, "label")
    tokens = torch.tensor([[5, 6, 7]] * len(inputs))
    ids = torch.cat([torch.full((len(inputs), 1), student.start_id("label")), tokens[:, :2]], dim=1)
    with torch.no_grad():
        stepwise = [decoder.next_logits(None)] + [decoder.next_logits(tokens[:, place]) for place in range(2)]
        for row, own in enumerate(inputs):
            part = {"input_ids": torch.tensor([own]), "attention_mask": torch.ones(1, len(own), dtype=torch.long)}
            states = student.encode(part, 1)
            whole = student.decode_logits(states, part["attention_mask"], ids[row : row + 1])
            for place in range(3):
                torch.testing.assert_close(stepwise[place][row], whole[0, place], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", BUILDS)
def test_a_row_is_sampled_alike_whatever_it_is_batched_with(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    student = BUILDS[kind]().train()
    together = draw(student, [0, 1, 2, 3, 4])
    assert student.training
    assert [draw(student, [row])[0] for row in (4, 2)] == [together[4], together[2]]
    assert together[0] != together[4]  # the same input, other numbers
    monkeypatch.setattr("dsbs.students.sampling.LARGEST", 2)
    assert draw(student, [0, 1, 2, 3, 4]) == together
    assert all(1 <= len(row) <= 12 and all(id < 250 for id in row) for row in together)


def test_where_memory_runs_out_the_samples_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    student = llama()
    together = draw(student, list(range(6)))
    opened = []

    def fail(model: StudentModel, inputs: Any, kind: str) -> Any:
        opened.append(len(inputs))
        if len(inputs) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return open_decoder(model, inputs, kind)

    monkeypatch.setattr("dsbs.students.sampling.open_decoder", fail)
    most = 2
    assert draw(student, list(range(6))) == together
    assert opened == [6, 3, 1, 1, 1, 1, 1, 1]
    most = 0
    with pytest.raises(RunError, match=r"sampling a single target.*objective\.max_new_tokens"):
        draw(student, [0])


def test_samples_follow_the_distribution_and_a_mixture_that_of_both() -> None:
    one, two = tiny_t5(), tiny_t5(seed=1)
    with torch.no_grad():
        two.model.lm_head.weight[5:8] += 2.0
    rows = [0] * 4000
    inputs = one.encode_inputs(INPUTS, "label", 64)

    def first(student: StudentModel) -> torch.Tensor:
        with torch.no_grad():
            logits = open_decoder(student.eval(), [inputs[0]], "label").next_logits(None)[0, :170]
        return logits.softmax(-1)

    draws = [np.random.default_rng([1, row]) for row in range(len(rows))]
    voices = [Voice(model, share, [inputs[0]] * len(rows)) for model, share in ((one, 0.7), (two, 0.3))]
    found = sample(voices, "label", draws, vocabulary=170, end_id=one.end_id, max_new_tokens=1)
    counts = torch.bincount(torch.tensor([row[0] for row in found]), minlength=170) / len(rows)
    expected = 0.7 * first(one) + 0.3 * first(two)
    assert (counts - expected).abs().max() < 0.02
    assert (first(one) - first(two)).abs().max() > 0.05


def test_a_voice_that_knows_no_end_leaves_it_to_the_first_one() -> None:
    one, two = tiny_t5().eval(), tiny_t5(seed=1).eval()
    [inputs] = one.encode_inputs(INPUTS[:1], "label", 64)

    def first(student: StudentModel) -> torch.Tensor:
        with torch.no_grad():
            return open_decoder(student, [inputs], "label").next_logits(None)[0, :170].softmax(-1)

    with torch.no_grad():
        for model, token in ((one, first(one).argmax()), (two, first(two).argmin())):  # as probable as another one
            model.model.lm_head.weight[model.end_id] = model.model.lm_head.weight[token]
    draws = [np.random.default_rng([1, row]) for row in range(4000)]
    voices = [Voice(one, 0.5, [inputs] * 4000), Voice(two, 0.5, [inputs] * 4000, ends=False)]
    found = sample(voices, "label", draws, vocabulary=170, end_id=one.end_id, max_new_tokens=1)
    counts = torch.bincount(torch.tensor([row[0] for row in found]), minlength=170) / 4000
    p, q = first(one), first(two)
    end, before = float(p[one.end_id]), float(q[one.end_id])
    q[one.end_id] = 0
    expected = 0.5 * p + 0.5 * (1 - end) * q / q.sum()
    expected[one.end_id] = end
    assert (counts - expected).abs().max() < 0.03
    assert end > before + 0.1


def test_without_temperature_it_is_what_is_written_greedily() -> None:
    student = llama().eval()
    greedy = draw(student, [0, 1, 2, 3], temperature=0, vocabulary=len(student.tokenizer))
    with torch.no_grad():
        for row, text in enumerate(INPUTS):
            [ids] = student.encode_inputs([text], "label", 64)
            part = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
            assert student.decode([greedy[row]]) == student.generate(part, "label", 12)


def test_a_token_without_probability_is_never_picked() -> None:
    probabilities = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).repeat(1000, 1)
    uniform = torch.linspace(0, 1, 1001)[:-1]
    assert set(pick(probabilities, uniform).tolist()) == {1, 3}
    assert pick(probabilities[:1], torch.tensor([0.0])).item() == 1
    assert pick(probabilities[:1], torch.tensor([1.0])).item() <= 4


def test_a_network_without_keys_and_values_is_refused() -> None:
    tokenizer = byte_tokenizer()
    mamba = DecoderOnlyModel(causal_model("mamba", len(tokenizer)), tokenizer, "target")
    with pytest.raises(StudentError, match="has no key-value cache"):
        draw(mamba, [0])


def test_nothing_is_sampled_for_no_rows() -> None:
    assert draw(tiny_t5(texts=TEXTS), []) == []
