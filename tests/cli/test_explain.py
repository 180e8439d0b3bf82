"""What Hydra refuses is told in our words; what a message says to type is read as it was meant."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dsbs.cli.composition import compose
from dsbs.cli.config import register_schemas, to_object
from dsbs.cli.explain import explain, quote_word
from dsbs.cli.overrides import hide_keys, restore_keys
from dsbs.core.command_line import split_flags
from dsbs.core.errors import DsbsError

register_schemas()
TABLE = ["task=table", "task.path=rows.csv"]


def told(*words: str, command: str = "train") -> str:
    with pytest.raises((HydraException, OmegaConfBaseException, DsbsError, ValueError)) as refused:
        to_object(compose(command, split_flags(words)[1]))
    return explain(refused.value, command, words)


def read(word: str) -> Any:
    """What Hydra makes of the value of a word as a shell passes it."""
    [word] = shlex.split(word)
    value = OverridesParser.create().parse_override(hide_keys(word)).value()
    if isinstance(value, dict):
        restore_keys(node := OmegaConf.create(value))
        value = OmegaConf.to_container(node)
    return value


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["taks=1"], "taks: there is no such key. Did you mean task?"),
        (["training.lr=1"], "training.lr: there is no such key. Did you mean training.learning_rate?"),
        (["training.num_train_epochs=3"], "training.max_steps counts steps: epochs x examples /"),
        (["training.save_steps=50"], "Every training.eval_steps steps the student is measured on validation, and a"),
        (["training.report_to=wandb"], "Did you mean tracking.report_to?"),
        (["student.model_name=x"], "student.model_name: there is no such key. It is student.model, of student=pret"),
        (["task.nme=1"], "task.nme: there is no such key. Did you mean task.name?"),
        (["qqqq=1"], "qqqq: there is no such key. Known keys: task, teacher"),
        (["task.labels=[a]"], "task.labels: the chosen task has no such key; task=table and task=recorded have it."),
        (["student.lora.r=2"], "student.lora: the chosen student has no such key; student=pretrained and student=cau"),
        (["task=tabel"], "task=tabel: there is no such option. Did you mean task=table? Options: anli1, asdiv, cqa"),
        (["experiment=paper/cqq"], "Did you mean experiment=paper/cqa?"),
        (["student.d_model=wide"], "student.d_model=wide: expected a whole number."),
        (["training.max_steps=1.5"], "training.max_steps=1.5: expected a whole number."),
        (["training.max_steps=null"], "training.max_steps=null: expected a whole number."),
        (["task.path=[a.csv,b.csv]"], "Several files: a folder whose files are named train, validation and test, or"),
        (["task.path=a.csv,b.csv"], "Several files: a folder whose files are named train, validation and test, or"),
        (["training.threads=some"], "training.threads=some: expected a whole number or null."),
        (["training.bf16=perhaps"], "training.bf16=perhaps: expected true or false."),
        (["data_fraction=[1]"], "data_fraction=[1]: expected a number or a whole number or a text."),
        (["task.path=[a]"], "task.path=[a]: expected a text or null."),
        (["tracking=5"], "tracking=5: tracking takes no value itself; its keys are tracking.report_to, "),
        (["tracking.tags=a"], "tracking.tags=a: expected a list, such as [a,b]."),
        ([*TABLE, "task.labels={a: b}"], "task.labels={a: b}: expected a list"),
        (["student=logreg", "student.C=1"], "student.C=1: expected a list of numbers, such as [0.1,1]."),
        (["seed=0,1"], "seed=0,1: several values make a sweep, which needs -m:\n    dsbs train -m seed=0,1\n"),
        (["task.path=a,b.csv"], """A text with a comma goes in quotes: 'task.path="a,b.csv"'"""),
        (["student=[logreg,minilm]"], "several make a sweep: -m GROUP=A,B"),
        (["seed==1"], "seed==1: expected a whole number."),
        (["training.learning_rate=1e-3,"], "training.learning_rate=1e-3,: expected a number."),
        (["--config-dir", "mine", "student=nosuch"], "student=nosuch: there is no such option."),
        (["hydra.run.dir=there"], "Results are written under output_dir"),
        (["hydra.job.chdir=true"], "hydra.job.chdir=True: dsbs does not use this key."),
        (["also_measure=last,generate"], "expected a list. Type:\n    'also_measure=[last,generate]'"),
        (["+seed=1"], "+seed: this key exists already; leave out the +."),
        (["~teacher"], "~teacher: it cannot be left out: teacher=OPTION"),
        (["seed=range(3)"], "seed=range(3): several values make a sweep, which needs -m:\n    dsbs"),
        (["~nosuch"], "~nosuch: there is no such key."),
        (["foo"], "foo: expected KEY=VALUE, such as seed=1"),
        (["seed", "=", "2"], "seed = 2: leave no spaces around the =. Type:\n    seed=2"),
        (["seed", "=2", "task=svamp"], "seed =2: leave no spaces around the =. Type:\n    seed=2"),
        (["seed", "=2"], "Type:\n    seed=2"),
        (["data_fraction=0,5"], "A number has a decimal point: data_fraction=0.5"),
        (["task=table", "task.labels=[good", "bad]"], "Put quotes around all of it:\n    'task.labels=[good bad]'"),
        (["task=table", "task.labels=[gut,", "schön,", "a]"], "    'task.labels=[gut,\"schön\",a]'"),
        (["training=1"], "An option of a group is a name: GROUP=NAME"),
        (["seed =2"], "seed =2: leave no spaces around the =. Type:\n    seed=2"),
        ([*TABLE, "~task.synonyms"], "~task.synonyms: a key cannot be left out. Type task.synonyms=VALUE"),
        ([*TABLE, "task.synonyms={a: b, a: c}"], "{a: b, a: c}: a is there twice."),
        ([*TABLE, "task.path=${HOME}/r.csv"], "task.path=${HOME}/r.csv: ${...} stands for the value of another key."),
        (["student=org/name"], "A model by its name: student=pretrained student.model=org/name"),
        (["hydra.nosuch=1"], "hydra.nosuch: there is no such key."),
        (["objective.alpha=${nosuch}"], "nosuch"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_told_with_the_key_and_what_was_expected(words: list[str], says: str) -> None:
    assert says in told(*words)


def test_one_server_takes_one_value() -> None:
    assert told("port=1,2", command="serve").startswith("port=1,2: expected one value.")


@pytest.mark.parametrize("word", ["seed=0,1", "student=logreg,minilm", "training.learning_rate=1,2"])
def test_no_list_is_offered_for_a_key_that_takes_none(word: str) -> None:
    assert "[" not in told(word)
    assert "quotes" not in told(word)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        (r"task.input={title}\n{body}", r"{title}\n{body}"),
        ("task.path=München.csv", "München.csv"),
        ("task.path=a=b/c.jsonl", "a=b/c.jsonl"),
        ("task.path=data (1).csv", "data (1).csv"),
        ("task.path=run#3/data[1].csv", "run#3/data[1].csv"),
        ("task.path=~/x y.csv", "~/x y.csv"),
        ("teacher.base_url=https://example.org/v1?key=a&b=c", "https://example.org/v1?key=a&b=c"),
        ("task.labels=[gut,schön]", ["gut", "schön"]),
        ("task.labels={good,not bad}", ["good", "not bad"]),
        ("task.labels=(good,not bad)", ["good", "not bad"]),
        ("task.labels=[good,bad,]", ["good", "bad"]),
        ("task.labels=[good,bad", ["good", "bad"]),
        ("task.labels=good,schön]", ["good", "schön"]),
        ("task.labels=[\u201cgood\u201d, \u201cso, so\u201d]", ["good", "so, so"]),
        ("tracking.tags=(a,b)", ["a", "b"]),
        ("prompt.cue=(a,b)", "(a,b)"),
        ("task.labels=[it's on,a#b, plain]", ["it's on", "a#b", "plain"]),
        ("task.synonyms={good: schön, bad: [a]}", {"good": "schön", "bad": ["a"]}),
        ('task.synonyms={schön: sehr gut!, "a, b": (c)}', {"schön": "sehr gut!", "a, b": "(c)"}),
        ('prompt.cue=Say "yes" to (a)', 'Say "yes" to (a)'),
        ("prompt.cue=it's (so)", "it's (so)"),
        ("prompt.cue='it\"s'(", "'it\"s'("),
        ("task.path=C:\\data(1)\\", "C:\\data(1)\\"),
    ],
)
def test_a_word_that_wants_quotes_is_shown_with_them(word: str, meant: Any) -> None:
    message = told(*TABLE, word)
    assert message.startswith(f"{word}: this value has characters that need quotes. Type:\n")
    assert read(message.splitlines()[-1]) == meant


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1))
def test_whatever_is_quoted_is_read_as_it_was_meant(text: str) -> None:
    assume(text[0] + text[-1] not in ("[]", "{}") and "${" not in text)
    quoted = quote_word(f"task.path={text}")
    assert quoted is not None
    assert read(quoted) == text


@pytest.mark.parametrize(
    ("word", "meant"),
    [("task.labels=[null,some]", ["null", "some"]), ("task.synonyms={none: null}", {"none": "null"})],
)
def test_a_null_that_was_meant_as_a_word_is_shown_between_quotes(word: str, meant: Any) -> None:
    message = told(*TABLE, word)
    assert "null means 'no value'" in message
    assert read(message.splitlines()[-1]) == meant


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["seeds=[a]"], "seeds=[a]: expected a list of whole numbers, such as [0,1]."),
        (
            ["student=logreg"],
            "student: dsbs compare takes no such option. Students and objectives go together",
        ),
    ],
)
def test_a_comparison_is_asked_for_in_its_own_words(words: list[str], says: str) -> None:
    assert told(*words, command="compare").startswith(says)


def own(folder: Path, place: str, text: str | bytes) -> str:
    """Return the message that an option file of the user's own leads to."""
    file = folder / place
    file.parent.mkdir(parents=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    group, option = file.parent.name, file.stem
    words = ["--config-dir", str(folder), f"{group}={option}"]
    with pytest.raises((HydraException, OmegaConfBaseException, DsbsError)) as refused:
        to_object(compose("train", words[2:], str(folder)))
    return explain(refused.value, "train", words)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed: 0\n\tlabels: gold\n", "experiment/mine.yaml:2: not valid YAML in UTF-8: "),
        ("seed: 0\nseed: 1\n", "experiment/mine.yaml:2: not valid YAML in UTF-8: found duplicate key seed."),
        (b"name: caf\xe9\n", "experiment/mine.yaml: not valid YAML in UTF-8: "),
        ("training:\n  learing_rate: 1\n", "Did you mean training.learning_rate?"),
        ("hydra:\n  job:\n    chdir: true\n", "hydra.job.chdir=True: dsbs does not use this key."),
    ],
)
def test_a_fault_in_an_option_of_the_users_own_is_located(tmp_path: Path, text: str | bytes, says: str) -> None:
    assert says in own(tmp_path, "experiment/mine.yaml", text)


def test_an_option_that_names_no_schema_is_told_how_to_begin(tmp_path: Path) -> None:
    assert "- /schema/task@_here_: KIND" in own(tmp_path, "task/mine.yaml", "path: rows.csv\n")
    assert "- /schema@_here_: prompt " in own(tmp_path, "prompt/mine.yaml", "instruction: Answer.\n")


def test_an_option_with_the_wrong_ending_is_told_to_be_renamed(tmp_path: Path) -> None:
    assert own(tmp_path, "student/mine.yml", "name: mine\n").endswith(
        "mine.yml: options are files that end in .yaml: rename it."
    )


@pytest.mark.parametrize("first", ["", "\ufeff# @package _global_\r\n", "# @package _global_\n"])
def test_an_experiment_is_about_all_groups_whether_it_says_so_or_not(tmp_path: Path, first: str) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_bytes(f"{first}seed: 7\n".encode())
    assert to_object(compose("train", ["experiment=mine"], str(tmp_path))).seed == 7
