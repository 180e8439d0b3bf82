"""What an extraction costs: before, during, and where it stops."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, serve
from scripted import CountTask, ScriptedTeacher, correct, job_for, load_annotations

from dsbs.core.errors import ConfigError, TeacherError
from dsbs.core.records import Completion, Example, Request
from dsbs.extraction.annotations import price_of
from dsbs.extraction.engine import estimate_extraction, run_extraction
from dsbs.extraction.settings import Budget
from dsbs.store import CompletionStore
from dsbs.teachers.openai import OpenAITeacher


class Priced(ScriptedTeacher):
    """Costs a dollar per token."""

    max_tokens = 10

    def rates(self) -> tuple[float, float] | None:
        return (1.0, 1.0)


class Unpriced(ScriptedTeacher):
    def rates(self) -> tuple[float, float] | None:
        return None


@pytest.mark.parametrize(
    ("budget", "answers"),
    [(Budget(requests=30), 30), (Budget(tokens=900), 30), (Budget(usd=900.0), 30), (Budget(requests=0), 0)],
)
def test_a_run_stops_cleanly_at_its_budget_and_goes_on_with_a_higher_one(
    tmp_path: Path, budget: Budget, answers: int
) -> None:
    teacher = Priced()  # 20 tokens read and 10 written each
    summary = run_extraction(job_for(tmp_path, teacher, size=100, settings={"budget": budget}))
    spent = summary["splits"]["train"]
    assert answers - 1 <= teacher.asked <= answers
    assert spent["cost_usd"] == 30.0 * teacher.asked
    assert "is reached" in summary["stopped"]
    assert ("first request may take" in summary["stopped"]) == (not answers)
    again = run_extraction(job_for(tmp_path, teacher, size=100, settings={"budget": budget}))
    assert teacher.asked <= answers, "what the store holds counts"
    assert again["splits"]["train"]["parsed"] == teacher.asked
    assert run_extraction(job_for(tmp_path, teacher, size=100))["stopped"] is None
    assert teacher.asked == 100


def test_a_budget_in_dollars_needs_a_price(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"teacher\.prompt_price"):
        run_extraction(job_for(tmp_path / "a", Unpriced(), settings={"budget": Budget(usd=1.0)}))


def test_a_model_without_a_known_price_costs_null(tmp_path: Path) -> None:
    assert run_extraction(job_for(tmp_path, Unpriced()))["splits"]["train"]["cost_usd"] is None


def test_tokens_that_the_server_does_not_tell_make_no_price_of_0(tmp_path: Path) -> None:
    says = lambda request: Completion(correct(request), "stop")  # noqa: E731
    summary = run_extraction(job_for(tmp_path, Priced(says=says)))
    assert summary["splits"]["train"]["cost_usd"] is None
    assert "no token counts with 10 answers" in summary["notes"][0]


def test_the_price_of_an_answer_counts_answers_of_earlier_runs(tmp_path: Path) -> None:
    run_extraction(job_for(tmp_path, Priced(), size=100, limit=90))
    summary = run_extraction(job_for(tmp_path, Priced(), size=100))
    assert (summary["splits"]["train"]["requests"], price_of(summary)) == (10, (3000.0, 100))
    earlier = {"samples": 2, "splits": {"train": {"examples": 50, "cost_usd": 3000.0}}}  # without completions
    assert price_of(earlier) == (3000.0, 100)
    assert price_of(None) is None


def test_tokens_that_the_server_does_not_tell_are_estimated_for_the_budget(tmp_path: Path) -> None:
    says = lambda request: Completion(correct(request), "stop")  # noqa: E731
    settings: dict[str, Any] = {"budget": Budget(tokens=2000)}
    teacher = Priced(says=says)
    run_extraction(job_for(tmp_path, teacher, size=500, settings=settings))
    asked = teacher.asked
    assert 20 < asked < 120
    run_extraction(job_for(tmp_path, teacher, size=500, settings=settings))
    assert teacher.asked < asked + 40, "what came before counts, too"


def test_of_the_tokens_those_that_the_server_does_not_tell_are_estimated(tmp_path: Path) -> None:
    says = lambda request: Completion("1" * 400, "stop", prompt_tokens=20)  # noqa: E731
    teacher = Priced(says=says)
    run_extraction(job_for(tmp_path, teacher, size=500, settings={"budget": Budget(tokens=3000), "concurrency": 1}))
    assert 20 <= teacher.asked <= 30, "20 tokens read and about 100 written"


def test_attempts_that_timed_out_may_be_billed_and_count_in_the_budget(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Bounded(Priced):
        most_written = 10

    seen: set[str] = set()

    def says(request: Request) -> Any:
        if request.id in seen:
            return correct(request)
        seen.add(request.id)
        return TeacherError("no answer in time", retryable=True, reason="timeout")

    teacher = Bounded(says=says)
    settings: dict[str, Any] = {"budget": Budget(usd=900.0), "concurrency": 2}
    summary = run_extraction(job_for(tmp_path, teacher, size=100, settings=settings))
    assert 25 <= teacher.asked <= 34, "30 attempts of $30"
    assert "attempts timed out. The endpoint may bill them" in summary["notes"][0]
    assert len([one for one in caplog.messages if "may be billed each time" in one]) == 1, "said when it first happens"


def test_a_dry_run_asks_nothing_and_leaves_no_trace(tmp_path: Path) -> None:
    teacher = Priced()
    survey, estimate = estimate_extraction(job_for(tmp_path / "folder", teacher, size=100, settings={"samples": 2}))
    assert (survey.to_ask, survey.stored, estimate.requests, teacher.asked) == (200, 0, 200, 0)
    assert 10 < estimate.prompt_tokens / 200 < 40
    assert estimate.usd == pytest.approx(estimate.prompt_tokens + estimate.completion_tokens)
    assert estimate.seconds is None  # nobody was ever asked
    assert not (tmp_path / "folder").exists()


def test_a_dry_run_leaves_the_store_alone_that_an_extraction_has_just_begun(tmp_path: Path) -> None:
    store = tmp_path / "folder" / "completions.sqlite"

    class Meanwhile(CountTask):
        def examples(self, split: str) -> Iterator[Example]:
            CompletionStore(store).close()
            yield from super().examples(split)

    estimate_extraction(job_for(tmp_path / "folder", Priced(), task=Meanwhile()))
    assert store.exists()


def test_a_dry_run_knows_what_is_there_and_how_long_answers_are(tmp_path: Path) -> None:
    run_extraction(job_for(tmp_path, Priced(), size=100, limit=40))
    settings = {"requests_per_minute": 60.0}
    survey, estimate = estimate_extraction(job_for(tmp_path, Priced(), size=100, settings=settings))
    assert (survey.stored, estimate.requests, estimate.completion_tokens) == (40, 60, 600)
    assert estimate.seconds == 60.0


def test_what_another_portion_or_split_asks_already_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Same(CountTask):
        def examples(self, split: str) -> Iterator[Example]:
            for number in range(self.size):
                yield Example(f"{split}-{number}", f"question {number % 4}", "x")

    monkeypatch.setattr("dsbs.extraction.job.BATCH", 3)
    teacher = Priced()
    survey, estimate = estimate_extraction(job_for(tmp_path, teacher, task=Same(size=10), splits=["train", "test"]))
    assert (survey.needed, survey.missing) == ({"train": 10, "test": 10}, {"train": 4, "test": 0})
    assert (survey.to_ask, survey.repeated, survey.stored, estimate.requests) == (4, 16, 0, 4)
    assert estimate.prompt_tokens < 4 * 40
    assert survey.finished == {"train": 0, "test": 0}
    refusing = Priced(says=lambda _: TeacherError("HTTP 400", reason="HTTP 400"))
    with pytest.raises(TeacherError, match="None of 4 requests was answered"):
        run_extraction(job_for(tmp_path / "refused", refusing, task=Same(size=10), splits=["train", "test"]))
    run_extraction(job_for(tmp_path, teacher, task=Same(size=10), splits=["train", "test"]))
    assert teacher.asked == 4


@pytest.mark.parametrize("knows_n", [True, None])
def test_a_budget_holds_where_every_sample_reads_the_prompt_anew(tmp_path: Path, knows_n: bool | None) -> None:
    with serve(FaultServer(knows_n=knows_n, latency=0.01)) as server:
        teacher = OpenAITeacher(name="openai", model="m", base_url=server.url, temperature=1.0, max_tokens=10)
        settings = {"samples": 5, "budget": Budget(tokens=1000)}  # 5 * 30 tokens a question, or 20 + 5 * 10
        split = run_extraction(job_for(tmp_path, teacher, size=50, settings=settings))["splits"]["train"]
    assert 800 <= split["prompt_tokens"] + split["completion_tokens"] <= 1000


def test_a_request_that_fails_frees_its_share_of_the_budget(tmp_path: Path) -> None:
    def says(request: Request) -> Any:
        bad = request.id in {"train-0", "train-1"}
        return TeacherError("HTTP 400", reason="HTTP 400") if bad else correct(request)

    run_extraction(job_for(tmp_path, Priced(says=says), size=50, settings={"budget": Budget(requests=10)}))
    assert sum(one.status == "ok" for one in load_annotations(tmp_path, "train").values()) == 10
