"""How far long work is."""

import logging
from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table
from tiny import examples, tiny_t5

from dsbs.core import progress as meter
from dsbs.core.progress import Meter, standard_output
from dsbs.core.terminal import plain, print_table
from dsbs.students.decoding import DecodingConfig, generate, rank


def terminal() -> Console:
    return Console(file=StringIO(), force_terminal=True, width=120)


def seen(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_without_a_terminal_there_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="dsbs")
    now = 0.0
    monkeypatch.setattr(meter.time, "monotonic", lambda: now)
    with Meter("counting", 2000, 1000, Console(file=StringIO())) as counting:
        for now in range(0, 130, 10):
            counting.update(1000 + now, f"at {now}")
    assert caplog.messages == [
        "counting: 1,060 of 2,000, at 60, about 940 s left",
        "counting: 1,120 of 2,000, at 120, about 880 s left",
    ]


def test_a_line_that_is_due_and_asked_for_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="dsbs")
    now = 0.0
    monkeypatch.setattr(meter.time, "monotonic", lambda: now)
    with Meter("training", 100, 0, Console(file=StringIO())) as training:
        now = 90.0
        training.update(50, "validation accuracy 60.0%", log=True)
    assert len(caplog.messages) == 1


def test_what_goes_into_a_file_is_not_cut_into_lines_of_80_letters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    standard_output().print("word " * 30)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_on_a_terminal_a_bar_comes_where_work_takes_long_and_goes_whatever_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console = terminal()
    with Meter("short", 10, console=console) as counting:
        counting.update(10)
    assert seen(console) == ""
    monkeypatch.setattr(meter, "PATIENCE", 0.0)

    def work() -> None:
        with Meter("long", 10, console=console) as counting:
            counting.update(5, "half")
            counting.update(6)
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        work()
    assert "long" in seen(console)
    assert seen(console).rindex("\x1b[?25h") > seen(console).rindex("\x1b[?25l")  # the cursor is there again


def test_a_bar_can_stand_below_another(monkeypatch: pytest.MonkeyPatch) -> None:
    console = terminal()
    with Meter("outer", 10, console=console) as outer:
        outer.show()
        with Meter("inner", 10, console=console) as inner:
            inner.show()
            inner.update(3)
        outer.update(5)
    assert "inner" in seen(console)


def test_reading_a_student_shows_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="dsbs")
    monkeypatch.setattr(meter, "LINE_SECONDS", 0.0)
    student = tiny_t5()
    rank(student, examples(5), DecodingConfig(batch_size=2))
    assert [line.partition(",")[0] for line in caplog.messages] == [
        f"predicting labels: {done} of 5" for done in (2, 4, 5)
    ]
    caplog.clear()
    generate(student, examples(5), DecodingConfig(batch_size=5, max_new_tokens=2), kind="rationale")
    assert caplog.messages == ["predicting rationales: 5 of 5, about 0 s left"]


@pytest.mark.parametrize(("width", "lines"), [(80, 7), (24, 3)])
def test_a_table_that_a_terminal_is_too_narrow_for_becomes_lines(width: int, lines: int) -> None:
    table = Table(title="table, teacher m")
    for name in ("split", "examples", "parsed", "accuracy"):
        table.add_column(name)
    table.add_row(plain("train"), "1,000", "999", "[bold]99.90%[/bold]")
    table.add_row(plain("test"), "200", "", "no gold labels")
    console = Console(file=StringIO(), width=width)
    print_table(console, table)
    shown = seen(console).splitlines()
    assert len(shown) == lines
    if width < 80:
        assert shown[1:] == [
            "train: examples 1,000, parsed 999, accuracy 99.90%",
            "test: examples 200, accuracy no gold labels",
        ]
