"""What a label column holds decides how its answers are read, unless the settings do."""

import pytest
from row_files import write_rows

from dsbs.cli.composition import conf_dir
from dsbs.core import terminal
from dsbs.core.errors import DataError
from dsbs.tasks import TableTask
from dsbs.tasks.answers import ClosedAnswers, FreeAnswers, NumberAnswers
from dsbs.tasks.cells import MISSING
from dsbs.tasks.tables.survey import LabelSurvey


def table(folder, column, **settings):
    rows = [{"x": f"text {number}", "label": label} for number, label in enumerate(column)]
    return TableTask(path=str(write_rows(folder / "rows.jsonl", rows)), input="x", **settings)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["good", "bad"] * 5, "closed"),
        (["a", "b", "c", "a", "b", "c"], "closed"),
        ([f"intent {number % 150}" for number in range(1500)], "closed"),
        ([True, False] * 3, "closed"),
        ([0, 1] * 3, "closed"),
        ([1, 2, 3, 4, 5] * 4, "closed"),
        ([1.0, 0.0, None] * 3, "closed"),
        (["0", "1", "0", "1", "one", "one"], "closed"),
        ([12, 7, 9], "number"),
        (list(range(40)), "number"),
        ([number % 100 for number in range(800)], "number"),  # sums of a schoolbook
        (["1.5", "2.25", "3"], "number"),
        (["Paris", "Rome", "the Danube"], "free"),
        ([f"answer {number}" for number in range(60)], "free"),
        ([f"name {number % 600}" for number in range(1800)], "free"),
        (["good"] * 9, "free"),
        ([None, "NaN", ""], "free"),
        (["007", "008", "009"], "free"),
    ],
)
def test_the_kind_of_answers_is_found(tmp_path, labels, kind):
    task = table(tmp_path, labels)
    assert isinstance(task.answers, {"closed": ClosedAnswers, "number": NumberAnswers, "free": FreeAnswers}[kind])
    assert len(list(task.examples("train"))) == len(labels)
    settled = task.settled()
    assert settled.answer_kind == kind
    assert bool(settled.labels) == (kind == "closed")


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (
            [f"It broke on day {day}, so the shop has to refund it" for day in "abc"],
            "for long ones: task.answer_kind=",
        ),
        ([f"It broke on day {day}" for day in "abc"], ""),
        ([f"{number}.5" for number in range(9)], "how close they are: task.metric=MODULE:FUNCTION"),
        ([*range(20), 0.5], ""),
    ],
)
def test_answers_that_hardly_ever_equal_the_gold_ones_are_told(tmp_path, caplog, labels, told):
    terminal.log_once.cache_clear()
    caplog.set_level("INFO", terminal.logger.name)
    list(table(tmp_path, labels).examples("train"))
    assert told in caplog.messages[0]
    assert bool(told) == ("right or wrong" in caplog.messages[0])
    caplog.clear()
    terminal.log_once.cache_clear()
    list(table(tmp_path, labels, metric="chrf").examples("train"))
    assert "right or wrong" not in caplog.messages[0]


def test_what_was_found_is_told_in_one_line(tmp_path, caplog):
    terminal.log_once.cache_clear()
    caplog.set_level("INFO", terminal.logger.name)
    task = table(tmp_path, ["Sports", "sports", "news", "news", None])
    list(task.examples("train"))
    assert caplog.messages[0] == (
        "2 different labels in 4 rows of column 'label' (1 other spelling merged): closed answers "
        "'Sports', 'news' (task.answer_kind=closed)."
    )
    caplog.clear()
    list(table(tmp_path, ["good", "good", None]).examples("train"))
    assert caplog.messages[0] == (
        "1 different label in 2 rows of column 'label': free answers (task.answer_kind=free). All are 'good': there is "
        "nothing to tell apart. Other answers: task.labels=[...]"
    )
    caplog.clear()
    list(table(tmp_path, ["a", "b"], labels=["a", "b"]).examples("train"))
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["entailment", "neutral", "-"], ("entailment", "neutral")),  # SNLI as it was published
        (["yes", "no", "?", "--"], ("no", "yes")),
        (["yes", "no", -1], ("no", "yes")),
        ([0, 1, "?"], ("0", "1")),
        (["+", "-"], ("+", "-")),
        (["+", "-", "neutral"], ("+", "-", "neutral")),
        (["A", "A-"], ("A", "A-")),
    ],
)
def test_a_mere_sign_among_names_is_no_label(tmp_path, labels, classes):
    task = table(tmp_path, labels * 5)
    assert task.answers.labels == classes
    found = [example.label for example in task.examples("train")][: len(labels)]
    assert found == [str(label) if str(label) in classes else None for label in labels]


@pytest.mark.parametrize(
    ("labels", "settings", "words"),
    [
        (["card_arrival", "card arrival", "card_arrival"], {}, 'synonyms={"card arrival": card_arrival}'),
        (["don’t know", "don't know", "no"], {}, "look alike"),
        (["Ａ", "A", "B"], {}, "look alike"),
        (["❤\ufe0f", "❤", "👎"], {}, "look alike"),
        (["non\u2011toxic", "non-toxic", "toxic"], {}, "look alike"),
        (["R&amp;B", "R&B", "pop"], {}, "look alike"),
        ([*(f"{n}.500" for n in range(1, 30)), "950"], {}, "'1.500' is 1.5: if points part thousands"),
        ([f"{n},5" for n in range(600)], {}, "write 1,5 as 1.5"),
        ([*(f"{n},500" for n in range(1, 600)), "950"], {}, "If '1,500' is 1500: task.answer_kind=number"),
        ([0, 1, -1], {}, 'task.missing=[nan, "-1"]'),
        ([1, 2], {"label_names": ["bad", "fair", "good"]}, "No label in column 'label' is 0 ('bad')"),
        ([-1, 0, 1], {"label_names": ["bad", "fair", "good"]}, "No label in column 'label' is 2 ('good')"),
        (["none", "hate", "spam"], {}, "task.missing=[]"),
        (["livingroom", "C", "C++", "C#", "A", "A-"], {}, None),
        ([0, 1, 2], {"label_names": ["bad", "fair", "good"]}, None),
    ],
)
def test_labels_that_may_be_meant_otherwise_are_told(tmp_path, caplog, labels, settings, words):
    terminal.log_once.cache_clear()
    caplog.set_level("INFO", terminal.logger.name)
    task = table(tmp_path, labels * 5, **settings)
    list(task.examples("train"))
    told = "\n".join(caplog.messages + task.remarks())
    assert words in told if words else "look alike" not in told and "No label" not in told


def test_the_settings_win(tmp_path):
    labels = ["good", "bad"] * 5
    assert table(tmp_path, labels, answer_kind="free").columns.gold.labels is None
    assert table(tmp_path, labels, labels=["good", "bad", "ugly"]).columns.gold.labels == ("good", "bad", "ugly")
    assert table(tmp_path, [0, 1] * 5, answer_kind="number").columns.gold.number


def test_a_label_that_train_lacks_says_what_to_type(tmp_path):
    for name, labels in (("train", ["good", "bad"] * 5), ("test", ["good", "mixed"])):
        rows = [{"x": str(number), "label": label} for number, label in enumerate(labels)]
        write_rows(tmp_path / f"{name}.jsonl", rows)
    task = TableTask(path=str(tmp_path), input="x")
    with pytest.raises(DataError, match=r"(?s)'mixed': 1 time,.*add them to task\.labels.*task\.answer_kind=free"):
        list(task.examples("test"))


@pytest.mark.parametrize("label", ["['a', 'b']", "['a']", "[3 5]", '["x", "y"]'])
def test_lists_that_were_written_as_text_are_no_classes(tmp_path, label):
    with pytest.raises(DataError, match=r"are lists written as text.*task\.label=label\.0.*task\.answer_kind=free"):
        list(table(tmp_path, [label, "['b']"] * 4).examples("train"))
    assert next(table(tmp_path, [label] * 4, answer_kind="free").examples("train")).label == label


def test_a_run_of_before_keeps_its_name(tmp_path):
    labels = ["good", "bad"] * 5
    assert table(tmp_path, labels).identity() == table(tmp_path, labels, answer_kind="closed").identity()
    declared = table(tmp_path, labels, labels=["good", "bad"]).identity()
    assert declared["answer_kind"] == "free"  # what it was by default
    assert "missing" not in declared
    assert "missing" in table(tmp_path, labels, missing=["-"]).identity()


def test_the_defaults_of_the_config_are_those_of_the_class():
    import yaml

    config = yaml.safe_load((conf_dir() / "task" / "table.yaml").read_text())
    assert tuple(config["missing"]) == MISSING
    plain = TableTask()
    for key in ("answer_kind", "label_form", "label_pattern", "unlabelled", "empty_inputs"):
        assert config[key] == getattr(plain, key)


def test_a_declared_kind_is_not_told_as_another(tmp_path, caplog):
    terminal.log_once.cache_clear()
    caplog.set_level("INFO", terminal.logger.name)
    task = table(tmp_path, ["bad", "good", "good"], answer_kind="closed")  # too few for auto to call them closed
    assert next(task.examples("train")).choices == ("bad", "good")
    assert caplog.messages == []


def test_solutions_with_a_number_behind_four_signs_are_told_with_what_reads_it() -> None:
    survey = LabelSurvey()
    for number in range(4):
        survey.add(f"She has {number} and 3.\n#### {number + 3}")
    assert survey.describe("answer").endswith("""task.answer_kind=number 'task.label_pattern="#### *(.+)"'""")
    survey = LabelSurvey()
    for number in range(4):
        survey.add(f"A heading #### {number} of a text")
    assert "label_pattern" not in survey.describe("answer")
