"""``python -m dsbs.extract`` as a user meets it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from batch_server import BatchServer
from fault_server import serve
from row_files import write_rows

KEY = "sk-planted-0123456789abcdef"


@pytest.fixture
def run(run_dsbs: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, str]]:
    """Run the command in an empty folder; return its exit code and what it printed."""

    def run(*words: str) -> tuple[int, str]:
        code, out, err = run_dsbs("extract", *words)
        return code, out + err

    return run


def write_table(folder: Path, count: int = 20) -> str:
    lines = [
        json.dumps({"id": f"x{number}", "input": f"How long is {number}?", "label": "14"}) for number in range(count)
    ]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines))
    return str(path)


def test_the_papers_completions_give_the_papers_numbers(run, data_folder: Path, tmp_path: Path) -> None:
    source = data_folder / "svamp"
    code, _ = run("task=svamp", f"task.path={source}", "teacher=recorded", f"teacher.path={source / 'palm'}")
    assert code == 0
    (summary,) = tmp_path.glob("outputs/rationales/svamp/recorded-*/summary.json")
    for split, examples, parsed, accuracy in (("train", 800, 787, 0.7325), ("test", 200, 198, 0.74)):
        found = json.loads(summary.read_text())["splits"][split]
        assert (found["examples"], found["parsed"]) == (examples, parsed)
        assert found["teacher_accuracy"] == pytest.approx(accuracy, abs=5e-5)
        assert found["cost_usd"] == 0.0


def test_with_no_settings_it_extracts_the_built_in_task(run, tmp_path: Path) -> None:
    code, said = run("limit=12", "splits=[train]")
    assert code == 0
    assert "scripted stand-in" in said
    assert "100.00%" in said
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_an_eighth_is_what_train_will_use_and_a_quarter_asks_for_the_rest(run, tmp_path: Path) -> None:
    small = ["task.train=160", "task.validation=8", "task.test=8", "splits=[train]", "seed=3"]
    run("data_fraction=1/8", *small)
    run("data_fraction=0.25", *small)
    (summary,) = tmp_path.glob("outputs/rationales/triage/*/summary.json")
    found = json.loads(summary.read_text())["splits"]["train"]
    assert (found["examples"], found["requests"], found["cached"]) == (40, 20, 20)


def test_all_faults_are_told_at_once_and_nothing_is_written(run, tmp_path: Path) -> None:
    code, said = run("concurrency=0", "limit=0", "teacher.wrong_kind=7", "filter.min_agreement=2")
    assert code == 1
    assert "4 invalid settings" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task=triag"], "triage"),
        (["teacher=openai"], "teacher.model"),
        (["teacher=openai", "teacher.model=m"], "export OPENAI_API_KEY"),
        (["teacher=recorded", "teacher.path=nowhere"], "no such folder"),
        (["splits=[dev]"], "splits=[train,validation,test]"),
        (["task=svamp", "task.path=nowhere", "teacher=recorded", "teacher.path=nowhere"], "task.path=nowhere"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(run, tmp_path: Path, words: list[str], message: str) -> None:
    code, said = run(*words)
    assert code == 1
    assert message in said
    assert "Traceback" not in said
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_dry_run_says_what_it_would_take(run, tmp_path: Path) -> None:
    prices = ["teacher.prompt_price=2", "teacher.completion_price=8"]
    code, said = run("teacher=openai", "teacher.model=m", "limit=100", "dry_run=true", *prices)
    assert code == 0
    assert "200 remain" in said
    assert "$0." in said
    assert list(tmp_path.glob("**/*.sqlite")) == []


def test_a_dry_run_tells_rows_that_ask_the_same_from_answers_that_are_there(run, tmp_path: Path) -> None:
    rows = [{"input": text, "label": "yes"} for text in ("one?", "two?", "one?", "one?")]
    write_rows(tmp_path / "rows.jsonl", rows)
    table = ["task=table", f"task.path={tmp_path / 'rows.jsonl'}", "teacher=openai", "teacher.model=m"]
    code, said = run(*table, "task.labels=[yes,no]", "dry_run=true")
    assert code == 0
    assert "4 requests are needed, 0 are already answered, 2 repeat another one, 2 remain" in said


@pytest.mark.parametrize("executor", [(), ("executor=batch", "batch.poll=0.01")], ids=["single", "batch"])
@pytest.mark.parametrize("sound", [True, False], ids=["sound", "refused"])
def test_a_key_is_nowhere_to_be_found(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: bool, executor: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    table, out = write_table(tmp_path), tmp_path / "out"
    # Its faults repeat the key, as some servers do.
    server = BatchServer(
        key=KEY if sound else "another",
        script=lambda number, q: "500" if number == 3 else None,
        trouble=lambda name, number: "500" if number == 0 else None,
    )
    with serve(server):
        code, said = run(
            "task=table", f"task.path={table}", "teacher=openai", "teacher.model=m", "splits=[train]", "backoff=0.01",
            f"teacher.base_url={server.url}", "teacher.api_key_env=MY_KEY", f"output_dir={out}", *executor,
        )  # fmt: skip
    assert code == (0 if sound else 1)
    assert "MY_KEY" in said or sound
    written = [path for path in out.rglob("*") if path.is_file()]
    assert bool(written) == sound
    for text in [said, *(path.read_bytes().decode(errors="replace") for path in written)]:
        assert KEY not in text
        assert KEY[3:15] not in text
