"""Log-probabilities from an endpoint: asked for, read at the door, kept, and weighed over closed answers."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, serve
from scripted import CountTask, count_prompt, job_for, load_annotations

from dsbs.core.logprobs import LEAST, LEAST_TAIL, MAX_BYTES, MAX_TOP, tail_of
from dsbs.core.records import Example
from dsbs.core.untrusted import Fields
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.prompts import Exemplar
from dsbs.objectives import SoftTargets
from dsbs.store import CompletionStore
from dsbs.tasks.answers import ClosedAnswers
from dsbs.teachers.endpoint.logprobs import read_logprobs
from dsbs.teachers.endpoint.responses import read_answer
from dsbs.teachers.openai import OpenAITeacher

CHOICES = ("yes", "no")


def at(token: str, share: float, **others: float) -> dict[str, Any]:
    """Return a position of the chat API: a token with its probability, and those of others."""
    told = {token: share} | {name.replace("_", " "): value for name, value in others.items()}
    top = [{"token": name, "logprob": math.log(value), "bytes": list(name.encode())} for name, value in told.items()]
    return top[0] | {"top_logprobs": top}


@dataclass
class YesOrNo(CountTask):
    """Closed questions, whose answer is always yes."""

    @property
    def answers(self) -> Any:
        return ClosedAnswers(CHOICES)

    def examples(self, split: str) -> Iterator[Example]:
        for example in super().examples(split):
            yield Example(example.id, example.input, "yes", CHOICES)


def answer_with(*positions: dict[str, Any]) -> FaultServer:
    """Return a server that writes these tokens, and tells of them where it was asked to."""

    def add(answer: dict[str, Any]) -> dict[str, Any]:
        for choice in answer["choices"]:
            choice["message"]["content"] = "".join(one["token"] for one in positions)
            if server.bodies[-1].get("logprobs"):
                choice["logprobs"] = {"content": list(positions)}
        return answer

    server = FaultServer(completion=add, keep_bodies=True)
    return server


def extract(folder: Path, server: FaultServer, **settings: Any) -> dict[str, Any]:
    """Extract from two closed questions."""
    teacher = OpenAITeacher(name="openai", model="m", top_logprobs=settings.pop("top_logprobs", 5), temperature=0.7)
    prompt = count_prompt(exemplars=[Exemplar("Is fire hot?", "Fire burns.", "yes")])
    with serve(server):
        teacher.base_url = server.url
        return run_extraction(job_for(folder, teacher, task=YesOrNo(size=2), prompt=prompt, settings=settings))


SAID = (
    at("It is.", 0.9), at(" So", 1.0), at(" the", 1.0), at(" answer", 1.0), at(" is", 1.0),
    at(" yes", 0.6, _no=0.25, _NO=0.05, _maybe=0.04), at(".", 1.0),
)  # fmt: skip


def test_the_distribution_over_closed_answers_is_that_where_the_answer_begins(tmp_path: Path) -> None:
    server = answer_with(*SAID)
    summary = extract(tmp_path, server)
    assert {key: server.bodies[0][key] for key in ("logprobs", "top_logprobs")} == {"logprobs": True, "top_logprobs": 5}
    assert summary["splits"]["train"]["with_logprobs"] == 2
    annotation = load_annotations(tmp_path, "train")["train-0"]
    assert annotation.probabilities == pytest.approx({"yes": 0.6, "no": 0.3}, abs=1e-3)  # 0.1 are other tokens'
    example = Example("train-0", "x", "yes", CHOICES)
    targets = SoftTargets(source="logprobs").targets(example, annotation)
    assert {one.text: one.weight for one in targets} == pytest.approx({"yes": 2 / 3, "no": 1 / 3}, abs=1e-3)
    with CompletionStore(tmp_path / "completions.sqlite", read_only=True) as store:
        [first, *_] = store.rows()
        kept = store.find("train", "train-0")
        assert kept is not None
        assert kept.logprobs is not None
        assert [one.token for one in kept.logprobs] == [one["token"].encode() for one in SAID]
        assert tail_of(value for _, value in kept.logprobs[5].top) == pytest.approx(math.log(0.06), abs=1e-2)
        assert json.loads(first["logprobs"])[5][0] == " yes"


def test_samples_are_averaged_and_without_the_key_nothing_is_asked(tmp_path: Path) -> None:
    extract(tmp_path / "three", answer_with(*SAID), samples=3)
    assert load_annotations(tmp_path / "three", "train")["train-1"].probabilities == pytest.approx(
        {"yes": 0.6, "no": 0.3}, abs=1e-3
    )
    server = answer_with(*SAID)
    summary = extract(tmp_path / "none", server, top_logprobs=None)
    assert "logprobs" not in server.bodies[0]
    assert "with_logprobs" not in summary["splits"]["train"]
    assert load_annotations(tmp_path / "none", "train")["train-1"].probabilities is None


def test_an_endpoint_that_returns_none_is_told_once(tmp_path: Path) -> None:
    server = FaultServer(answer=lambda question: "It is. So the answer is yes.")
    summary = extract(tmp_path, server)
    assert summary["notes"] == [
        "The endpoint returns no log-probabilities (teacher.top_logprobs); the texts are kept without."
    ]
    assert summary["splits"]["train"]["with_logprobs"] == 0


def test_a_text_whose_tokens_do_not_make_it_up_has_no_distribution(tmp_path: Path) -> None:
    server = answer_with(*SAID)
    told = server.completion

    def shift(answer: dict[str, Any]) -> dict[str, Any]:
        told(answer)["choices"][0]["logprobs"]["content"] = list(SAID[1:])
        return answer

    server.completion = shift
    extract(tmp_path, server)
    assert load_annotations(tmp_path, "train")["train-0"].probabilities is None


def content(**changes: Any) -> dict[str, Any]:
    """Return the answer of one position with a part of it changed."""
    return {"logprobs": {"content": [at("a", 0.5, b=0.25), at("b", 0.5) | changes]}}


HOSTILE: list[dict[str, Any]] = [
    {},
    {"logprobs": None},
    {"logprobs": []},
    {"logprobs": {"content": "x"}},
    {"logprobs": {"content": [None]}},
    content(logprob=float("nan")),
    content(logprob=3.0),
    content(logprob="0"),
    content(logprob=True),
    content(token=7, bytes=None),
    content(bytes=[256]),
    content(bytes=[-1]),
    content(bytes=["a"]),
    content(token="a" * (MAX_BYTES + 1), bytes=None),
    content(top_logprobs={"a": -1}),
    content(top_logprobs=[{"token": "a", "logprob": float("inf")}]),
    content(top_logprobs=[{"logprob": -1.0}]),
    content(top_logprobs=[{"token": str(n), "logprob": -9.0} for n in range(MAX_TOP + 1)]),
    {"logprobs": {"tokens": ["a"], "token_logprobs": []}},
    {"logprobs": {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": []}},
    {"logprobs": {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [[]]}},
    {"logprobs": {"tokens": "a", "token_logprobs": [-1.0]}},
]


@pytest.mark.parametrize("choice", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_odd_counts_as_not_told(choice: dict[str, Any]) -> None:
    assert read_logprobs(Fields(choice)) is None


def test_tokens_that_spell_the_key_are_not_kept() -> None:
    key = "sk-0123456789abcdef"
    spelt = {"content": [at(key[:5], 0.5), at(key[5:], 0.5)]}
    other = {"content": [at("yes", 0.5, **{key: 0.25})]}
    for said in (spelt, other):
        answer = {"choices": [{"message": {"content": "yes"}, "logprobs": said}]}
        [completion] = read_answer(answer, key)
        assert completion.logprobs is None
        assert read_answer(answer, "none")[0].logprobs is not None


def test_the_older_form_with_a_first_token_of_which_nothing_is_known() -> None:
    said = {
        "tokens": ["The", " end"], "token_logprobs": [None, -0.5], "top_logprobs": [None, {" end": -0.5, " cat": -2.0}],
    }  # fmt: skip
    first, second = read_logprobs(Fields({"logprobs": said})) or ()
    assert (first.token, first.logprob, first.top) == (b"The", None, ())
    assert second.top == ((b" end", -0.5), (b" cat", -2.0))


def test_parts_of_letters_and_bounds_of_numbers() -> None:
    part = {"token": "\\xf0", "bytes": [240], "logprob": 0.001, "top_logprobs": []}
    named = {"token": "bytes:\\xf0\\x9f", "bytes": None, "logprob": -1e30, "top_logprobs": None}
    first, second = read_logprobs(Fields({"logprobs": {"content": [part, named]}})) or ()
    assert (first.token, first.logprob) == (b"\xf0", 0.0)
    assert (second.token, second.logprob) == (b"\xf0\x9f", LEAST)
    [whole] = read_logprobs(Fields({"logprobs": {"content": [at("a", 1.0)]}})) or ()
    assert tail_of(value for _, value in whole.top) == LEAST_TAIL
