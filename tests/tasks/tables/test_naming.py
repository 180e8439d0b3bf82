"""Tables that share one folder because none of them has a name of its own."""

from pathlib import Path

import pytest
from fake_runs import write_run

from dsbs.reporting.report import build_reports
from dsbs.tasks.table import TableTask
from dsbs.tasks.tables.naming import describe_shared_folder, name_data

RIGHT = [True, False] * 5


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("tickets.csv", "tickets"),
        ("data/tickets/train-*.parquet", "tickets"),
        ("tickets/data/test.jsonl", "tickets"),
        ("Tickets 2024 (final).csv", "Tickets_2024_final"),
        ("../train.csv", None),
        ("data.csv", None),
        ("отзывы.csv", None),
    ],
)
def test_a_table_is_called_by_its_file_or_the_folder_of_its_splits(place: str, name: str | None) -> None:
    assert name_data({"path": place}) == name


def test_a_second_table_under_the_same_name_is_told_with_what_to_type(tmp_path: Path) -> None:
    write_run(tmp_path, RIGHT, task="table", config={"task.kind": "table", "task.path": "mails/train.csv"})
    assert describe_shared_folder(tmp_path, TableTask(path="tickets.csv")).endswith(
        "type task.name=tickets with every command for this one."
    )
    assert "another table (mails)" in describe_shared_folder(tmp_path, TableTask(path="tickets.csv"))
    for alone in (TableTask(path="mails/"), TableTask(path="tickets.csv", name="tickets"), TableTask(path="train.csv")):
        assert describe_shared_folder(tmp_path, alone) == ""


def test_a_report_of_several_tables_says_so(tmp_path: Path) -> None:
    for number, place in enumerate(["mails.csv", "./mails.csv"]):
        write_run(tmp_path, RIGHT, task="table", seed=number, config={"task.kind": "table", "task.path": place})
    (report,) = build_reports(tmp_path)
    assert "several tables" not in report.headlines[0]
    write_run(tmp_path, RIGHT, task="table", seed=2, config={"task.kind": "table", "task.path": "tickets.csv"})
    (report,) = build_reports(tmp_path)
    assert report.headlines[0].startswith("These runs are of several tables (mails, tickets)")
    assert "task.name=NAME (here mails)" in report.headlines[0]
