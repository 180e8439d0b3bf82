"""The perplexity of gold answers, against the ranking of each answer alone."""

import math
from dataclasses import replace
from typing import Any

import pytest
from objectives.steps import tiny_llama
from quiz import Quiz
from tiny import examples, seq2seq_model, tiny_t5

from dsbs.inference import perplexity
from dsbs.inference.perplexity import Perplexity, mean_token_log_probability, measure_perplexity
from dsbs.inference.torch_predictor import TorchPredictor
from dsbs.objectives import Finetune
from dsbs.students.answering import DecodingConfig
from dsbs.students.seq2seq import Seq2SeqModel
from dsbs.tasks.answers import TextAnswers


@pytest.mark.parametrize("build", [tiny_t5, tiny_llama])
@pytest.mark.parametrize("most", [2048, 8])
def test_it_is_over_all_tokens_of_all_answers(build: Any, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perplexity, "TOKENS_PER_PASS", most)
    student, reading = build("target"), DecodingConfig()
    asked = [replace(one, label=f"{one.label} and so {'on ' * number}") for number, one in enumerate(examples(5))]
    alone = student.rank([replace(one, choices=(one.label,)) for one in asked], reading)
    tokens = sum(map(len, student.encode_targets([one.label for one in asked])))
    found = measure_perplexity(student, [*asked, replace(asked[0], label=None)], reading)
    assert found is not None
    assert found.tokens == tokens
    assert found.value == pytest.approx(math.exp(-sum(one.score or 0 for one in alone) / tokens), rel=1e-4)


def test_only_whole_texts_have_one() -> None:
    student = tiny_t5()
    texts, closed = Quiz(kind_of_answers=TextAnswers()), Quiz()
    asked = [replace(one, choices=None) for one in examples(2)]
    predictor = TorchPredictor(student, texts, Finetune(name="finetune"), DecodingConfig())
    assert predictor.perplexity(asked) is not None
    assert predictor.perplexity([]) is None
    assert TorchPredictor(student, closed, predictor.objective, predictor.reading).perplexity(asked) is None


def test_beyond_floats_there_is_none() -> None:
    assert Perplexity(1e6, 10).figures() == {"perplexity": None, "perplexity_tokens": 10}


def test_of_a_text_longer_than_the_positions_of_a_student_the_beginning_counts() -> None:
    tokenizer = tiny_t5().tokenizer
    student = Seq2SeqModel(seq2seq_model("bart", len(tokenizer)), tokenizer, "target")
    asked = [replace(one, label="on and " * 600, choices=None) for one in examples(1)]
    assert len(student.encode_targets([str(asked[0].label)])[0]) > 512
    found = measure_perplexity(student, asked, DecodingConfig())
    assert found is not None
    assert found.tokens == 512


def test_processes_measure_a_share_of_the_answers_each_and_find_the_same_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They choose the best checkpoint by it, and all have to choose the same one."""
    student, asked, reading = tiny_t5(), examples(3), DecodingConfig()
    alone = mean_token_log_probability(student, asked, reading)
    parts: list[Any] = []
    monkeypatch.setattr(perplexity, "count_processes", lambda: 4)
    monkeypatch.setattr(perplexity, "gather", lambda part: parts.extend(part) or parts)
    for process in range(4):
        monkeypatch.setattr(perplexity, "rank", lambda process=process: process)
        together = mean_token_log_probability(student, asked, reading)
    assert [part and part.tokens > 0 for part in parts] == [True, True, True, None]
    assert together == pytest.approx(alone, rel=1e-4)
    assert together is not None
    assert together < 0
