"""Stored top-k log-probabilities: against numbers by hand, and against a live teacher."""

import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fault_server import FaultServer, serve
from objectives.steps import assert_same_however_cut, loss_of_rows, rows_of, tiny_llama
from row_files import write_rows
from tiny import byte_tokenizer, causal_folder, examples, tiny_t5
from trained import train_tiny

from dsbs.core.errors import StudentError
from dsbs.core.logprobs import TokenLogprobs, read_position
from dsbs.core.records import Completion, Request
from dsbs.extraction.annotations import rationales_dir
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.job import Job
from dsbs.extraction.prompts import Prompt
from dsbs.objectives import SoftTargets
from dsbs.objectives.divergences import DIVERGENCES, Divergence
from dsbs.objectives.stored_targets import signals_of, summed_stored_divergence
from dsbs.objectives.teacher import LiveTeacher
from dsbs.store import CompletionStore
from dsbs.students import Causal
from dsbs.students.collator import Collator, Row
from dsbs.students.model import StudentModel
from dsbs.students.token_bytes import token_bytes
from dsbs.tasks import TableTask
from dsbs.teachers.openai import OpenAITeacher
from dsbs.training.stored import StoredTokens

CPU = torch.device("cpu")


def target(signals: dict[str, list[float]], labels: list[int]) -> dict[str, Any]:
    return {
        "labels": torch.tensor([labels]),
        "weights": torch.tensor([1.0]),
        "signals": {name: torch.tensor([values]) for name, values in signals.items()},
    }


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_rest_is_one_bucket(name: str) -> None:
    """Teacher: a 0.5, b 0.25, the rest 0.25. Student: a 0.4, b 0.3, c 0.2, d 0.1."""
    said = [read_position("a", math.log(0.5), [("a", math.log(0.5)), ("b", math.log(0.25))])]
    signals = signals_of(said, {b"a": 0, b"b": 1, b"c": 2, b"d": 3}, most=5)
    logits = torch.tensor([[[0.4, 0.3, 0.2, 0.1, 0.9]]]).log()  # the last token is the student's alone
    divergence = Divergence(name)
    found, count = summed_stored_divergence(divergence, logits, target(signals, [0]), vocabulary=4)
    by_hand = divergence(torch.tensor([0.5, 0.25, 0.25]).log(), torch.tensor([0.4, 0.3, 0.3]).log())
    assert found.item() == pytest.approx(by_hand.item(), abs=1e-6)
    assert count.item() == 1
    if name == "forward_kl":
        plain = 0.5 * math.log(0.5 / 0.4) + 0.25 * math.log(0.25 / 0.3) + 0.25 * math.log(0.25 / 0.3)
        assert found.item() == pytest.approx(plain, abs=1e-6)


def test_reverse_kl_does_not_leave_to_what_is_not_named() -> None:
    """All that the student gives to tokens that the teacher did not name is held against the tail."""
    said = [read_position("a", math.log(0.9), [("a", math.log(0.9))])]
    signals = signals_of(said, {b"a": 0}, most=1)
    far = torch.tensor([[[0.01, 0.5, 0.49]]]).log().requires_grad_()
    loss, _ = summed_stored_divergence(Divergence("reverse_kl"), far, target(signals, [0]), vocabulary=3)
    loss.backward()
    assert loss.item() == pytest.approx(0.01 * math.log(0.01 / 0.9) + 0.99 * math.log(0.99 / 0.1), abs=1e-5)
    assert far.grad is not None
    assert far.grad[0, 0, 0] < 0  # more of what the teacher wrote


def test_where_nothing_is_known_it_is_the_cross_entropy() -> None:
    said = [read_position("a", math.log(0.5), [("a", math.log(0.5))]), None]
    signals = signals_of(said, {b"a": 0}, most=1)
    logits = torch.tensor([[[0.5, 0.5], [0.2, 0.8]]]).log()
    found, count = summed_stored_divergence(Divergence(), logits, target(signals, [0, 1]), vocabulary=2)
    assert found.item() == pytest.approx(-math.log(0.8), abs=1e-6)
    assert count.item() == 2
    alone, _ = summed_stored_divergence(Divergence(), logits, target({}, [0, 1]), vocabulary=2)
    assert alone.item() == pytest.approx(-math.log(0.5) - math.log(0.8), abs=1e-6)


def store_all(
    student: StudentModel, teacher: LiveTeacher, rows: list[Row], names: list[bytes | None], most: int
) -> list[Row]:
    """Return rows with what a live teacher says of every token of their labels, as an endpoint would tell it."""
    ids = {name: id for id, name in enumerate(names) if name is not None}
    found = []
    for row in rows:
        logits = teacher.logits(Collator(student)([row]), ("label",))["label"][0]
        said: list[TokenLogprobs | None] = []
        for place, id in enumerate(row.targets[0][2]):
            told = logits[place].float().log_softmax(-1)
            top = [(names[other] or b"", float(told[other])) for other in told.topk(most).indices.tolist()]
            known = TokenLogprobs(names[id] or b"", float(told[id]), tuple(top))
            said.append(None if id == teacher.hard_end else known)  # a hard target for both
        found.append(Row(row.inputs, row.targets[:1], {"label": signals_of(said, ids, most)}))
    return found


@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl", "jsd"])
def test_with_all_tokens_stored_it_is_the_live_teacher(name: str) -> None:
    student = tiny_llama()
    live = SoftTargets(name="soft_targets", source="teacher", teacher_model="student", divergence=name)
    live._teacher = LiveTeacher.load(
        None, None, tiny_llama(seed=3), CPU, bf16=False, max_input_tokens=64, as_given=True
    )
    stored = SoftTargets(name="soft_targets", source="stored", divergence=name)
    stored.prepare(student, CPU)
    data = [(example, None) for example in examples(4)]
    rows = rows_of(student, live, data)
    names = token_bytes(student.tokenizer)
    expected, _ = loss_of_rows(student, live, rows)
    attached = store_all(student, live.teacher, rows, names, most=live.teacher.vocabulary)
    found, _ = loss_of_rows(student, stored, attached)
    few, _ = loss_of_rows(student, stored, store_all(student, live.teacher, rows, names, most=3))
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)
    assert few.item() <= found.item() + 1e-4  # buckets can only lose
    assert_same_however_cut(student, stored, attached)


def test_tokens_are_known_by_their_bytes() -> None:
    tokenizer = byte_tokenizer()
    names = token_bytes(tokenizer)
    ids = tokenizer(" the kettle é", add_special_tokens=False)["input_ids"]
    assert b"".join(names[id] or b"" for id in ids) == " the kettle é".encode()
    piece = tiny_t5().tokenizer
    names = token_bytes(piece)
    ids = piece("the kettle", add_special_tokens=False)["input_ids"]
    assert b"".join(names[id] or b"" for id in ids).strip() == b"the kettle"


@pytest.mark.parametrize(
    ("settings", "key"), [({"temperature": 2.0}, "temperature"), ({"rationales": True}, "rationales"),
                          ({"most_tokens": 0}, "most_tokens")],
)  # fmt: skip
def test_settings_that_cannot_be_are_named(settings: dict[str, Any], key: str) -> None:
    [fault] = SoftTargets(name="soft_targets", source="stored", **settings).faults()
    assert key in fault


def test_other_names_of_runs_stay_as_they_were() -> None:
    assert "most_tokens" not in SoftTargets(name="soft_targets").identity()
    assert SoftTargets(name="soft_targets", source="stored").identity()["most_tokens"] == 20


def test_what_is_extracted_afterwards_names_no_other_run(tmp_path: Path) -> None:
    said = TokenLogprobs(b"no", -0.1, ((b"no", -0.1),))
    data: Any = SimpleNamespace(train=[(example, None) for example in examples(2)])

    def tell(number: int, split: str = "train", log: float = -0.1, sample: int = 0) -> list[object]:
        asked = Request(str(number), split, "", (), f"question {number} {log}", sample)
        with CompletionStore(tmp_path / "store") as store:
            origin = store.origin({"task": {}, "teacher": {}, "prompt": {}}, asked)
            store.add(origin, [(asked, Completion("no", created=-log, logprobs=(replace(said, logprob=log),)))])
        return StoredTokens.find(tmp_path / "store", "m", 2, data).identity()

    tell(0)
    mine = tell(1)
    assert tell(2) == tell(0, split="test") == mine
    assert tell(1, sample=1) != mine
    assert tell(1, log=-0.2, sample=1) != tell(1, log=-0.3, sample=1)  # the newest


def train_stored(folder: Path, tokenizer: Any) -> Path:
    """Extract whole answers with the log-probabilities of these tokens (None: of words), and learn them."""
    rows = [{"input": f"say {number}", "label": f"the kettle leaks {number}"} for number in range(20)]
    for split in ("train", "test"):
        folder.mkdir(exist_ok=True)
        write_rows(folder / f"{split}.jsonl", rows)
    task = TableTask(name="texts", path=str(folder), answer_kind="text")

    def tell(answer: dict[str, Any]) -> dict[str, Any]:
        for choice in answer["choices"]:
            text = choice["message"]["content"]
            ids = tokenizer(text, add_special_tokens=False)["input_ids"] if tokenizer else []
            pieces = [tokenizer.decode([id]) for id in ids] or re.findall(r" ?\S+", text)
            # A teacher that is a student of ours also knows the prefixes of tasks.
            others = [{"token": "[label]", "logprob": -1.5}, {"token": " so", "logprob": -2.0}]
            top = [[{"token": piece, "logprob": -0.5}, *others] for piece in pieces]
            choice["logprobs"] = {"content": [one[0] | {"top_logprobs": one} for one in top]}
        return answer

    teacher = OpenAITeacher(name="openai", model="m", top_logprobs=3)
    prompt = Prompt(name="whole", answer_format="whole")
    settings: dict[str, Any] = {"task": task, "teacher": teacher, "prompt": prompt, "labels": "teacher"}
    with serve(FaultServer(completion=tell)) as server:
        teacher.base_url = server.url
        where = rationales_dir(folder / "outputs", task, teacher, prompt)
        run_extraction(Job(task, teacher, prompt, where, ["train", "test"]))
    student = Causal(name="tiny", model=str(causal_folder(folder / "model")), max_new_tokens=8)
    objective = SoftTargets(name="soft_targets", source="stored", most_tokens=2)
    return train_tiny(folder, objective=objective, student=student, **settings)


def test_it_trains_from_an_extraction_and_other_tokens_are_refused(tmp_path: Path) -> None:
    """The answers of an endpoint whose tokens are the student's; and of one whose tokens are words."""
    assert (train_stored(tmp_path / "one", tokenizer=byte_tokenizer()) / "metrics.json").exists()
    with pytest.raises(StudentError, match=r"only 0% .*' question'.*TokenizersBackend.*objective\.source=logprobs"):
        train_stored(tmp_path / "two", tokenizer=None)
