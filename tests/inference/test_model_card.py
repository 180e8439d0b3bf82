"""Model cards: what a checkpoint says of itself, and that the code on it works without dsbs."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import causal_folder, seq2seq_folder
from trained import train_tiny

from dsbs.core.records import Example
from dsbs.inference.metrics import show_score
from dsbs.inference.model_card import build_card
from dsbs.objectives import Finetune, StepByStep
from dsbs.students import Causal, Lora, Pretrained
from dsbs.students.decoding import DecodingConfig, generate
from dsbs.students.loading import load_student

LENGTHS: dict[str, Any] = {"max_input_tokens": 300, "max_target_tokens": 128, "max_new_tokens": 8}
# Runs the code of the cards as whoever got the checkpoint would: in its folder, without dsbs or peft.
RUN = """
import contextlib, io, json, os, re, sys
sys.modules["dsbs"] = sys.modules["peft"] = None
written = []
for folder in sys.argv[1:]:
    os.chdir(folder)
    code = re.search("```python\\n(.*?)```", open("README.md", encoding="utf-8").read(), re.S).group(1)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code)
    written.append(out.getvalue().strip())
print(json.dumps(written))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each kind of student and place of the prefix."""
    folder = tmp_path_factory.mktemp("cards")
    causal = str(causal_folder(folder / "llama"))
    bart = str(seq2seq_folder(folder / "bart", "bart"))
    on_input = StepByStep(name="step_by_step", prefix_on="input")
    lora = Lora(r=2)
    return {
        "t5_scratch": train_tiny(folder),
        "bart": train_tiny(folder, student=Pretrained(name="bart", model=bart, **LENGTHS), objective=on_input),
        "causal": train_tiny(folder, student=Causal(name="causal", model=causal, lora=lora, **LENGTHS)),
        "causal on input": train_tiny(
            folder, student=Causal(name="causal", model=causal, **LENGTHS), objective=on_input, labels="teacher"
        ),
    }


def card_of(run: Path) -> str:
    return (run / "checkpoint" / "README.md").read_text(encoding="utf-8")


def test_the_code_on_the_card_writes_what_dsbs_would_write_without_it(runs: dict[str, Path]) -> None:
    folders = [run / "checkpoint" for run in runs.values()]
    command = [sys.executable, "-c", RUN, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout.splitlines()[-1])
    for folder, text in zip(folders, written, strict=True):
        [ours] = generate(load_student(folder), [Example("1", "Your input.")], DecodingConfig(max_new_tokens=8))
        assert text == ours, folder
    assert any(written)


def test_the_card_tells_data_objective_teacher_licence_and_accuracy(runs: dict[str, Path]) -> None:
    card, metrics = card_of(runs["t5_scratch"]), json.loads((runs["t5_scratch"] / "metrics.json").read_text())
    for fact in (
        "| data | triage: 64 examples, all of the train split, seed 0 |",
        "| objective | step_by_step (alpha 0.5, prefix_on target) |",
        "| labels | gold |",
        "| teacher | handbook, model handbook (scripted stand-in); its labels on 64 examples of train are 100.0% "
        "correct |",
        "| license of the teacher's outputs | Apache-2.0, as dsbs |",
        f"| accuracy, test | {show_score('accuracy', metrics['test']['accuracy'])} of 16 examples |",
        f"| accuracy, validation | {show_score('accuracy', metrics['validation']['accuracy'])} of 8 examples |",
        "| training | 4 steps,",
        "`refund`",
    ):
        assert fact in card
    assert "| labels | the teacher's |" in card_of(runs["causal on input"])


def test_the_head_is_what_a_hub_reads(runs: dict[str, Path]) -> None:
    for name, kind in (("t5_scratch", "text2text-generation"), ("causal", "text-generation")):
        head = yaml.safe_load(re.match("---\n(.*?)\n---\n", card_of(runs[name]), re.S).group(1))  # type: ignore[union-attr]
        assert (head["library_name"], head["pipeline_tag"]) == ("transformers", kind)
        assert "base_model" not in head  # a local folder is no name on the hub


def test_no_path_of_the_machine_is_on_the_card(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> None:
    for run in runs.values():
        assert str(tmp_path_factory.getbasetemp()) not in card_of(run)


def card(kind: str = "encoder-decoder", **changes: Any) -> str:
    """Return the card of a run that is described by hand."""
    remembered = {
        "prefix_on": "target", "objective": {"kind": "step_by_step", "alpha": 0.5}, "input": None, "choices": None,
        "own_choices": False, "decoding": "auto", "max_input_tokens": 512,
    }  # fmt: skip
    metrics = {
        "task": "reviews", "student": "flan_t5_base", "objective": "step_by_step", "labels": "gold",
        "teacher": "openai", "data_fraction": 0.125, "seed": 3,
        "train_examples": 1000, "steps": 4000, "best_step": 3000,
        "validation": {"accuracy": 0.5, "examples": 10}, "test": {"accuracy": 0.25, "examples": 4},
    }  # fmt: skip
    manifest = {"dsbs": "0.1.0", "settings": {"student": {"model": "google/flan-t5-base"}}, "model": "a|model"}
    metrics["overlap"] = None
    for part in (remembered, metrics, manifest):
        part.update({key: value for key, value in changes.items() if key in part or part is manifest})
    return build_card(remembered, manifest, metrics, kind)


def test_test_inputs_that_were_learnt_from_are_told() -> None:
    overlap = {"examples": 200, "same": 3, "near": 112, "compared": 200, "complete": True}
    assert "| test split | Of 200 test inputs, 3 also occur in train or validation, 112 are near" in card(
        overlap=overlap
    )
    assert "test split" not in card()


def test_an_unknown_licence_is_said_to_be_unknown() -> None:
    assert "| license of the teacher's outputs | not stated (`teacher.licence`): check its provider's terms" in card()
    assert "| license of the teacher's outputs | CC-BY-4.0 |" in card(licence="CC-BY-4.0")


def test_a_student_without_a_teacher_has_none_on_its_card() -> None:
    text = card(teacher=None, objective={"kind": "finetune"})
    assert "| teacher | none |" in text
    assert "licence" not in text
    assert "rationale" not in text.split("## Use")[1]


def test_a_teacher_beside_the_student_is_on_its_card_but_no_path() -> None:
    objective = {"kind": "gkd", "name": "gkd", "teacher_model": "/home/me/runs/big"}
    settings = {"student": {"model": "x/y"}, "objective": {**objective, "teacher_model": "1569a1d3"}}
    text = card(teacher=None, objective=objective, settings=settings)
    assert "| teacher | a local model with the hash `1569a1d3` |" in text
    assert "teacher_model 1569a1d3" in text
    objective["teacher_model"] = settings["objective"]["teacher_model"] = "big/Model-7B"
    assert "| teacher | `big/Model-7B` |" in card(teacher=None, objective=objective, settings=settings)
    objective |= {"kind": "context", "name": "context", "teacher_model": "student"}
    assert "| teacher | the student before training |" in card(teacher=None, objective=objective, settings=settings)


def test_a_student_from_the_hub_names_where_it_started() -> None:
    assert "\nbase_model: google/flan-t5-base\n" in card()
    assert "| base model | `google/flan-t5-base` |" in card()


def test_what_would_break_the_table_is_kept_from_it() -> None:
    assert "| teacher | openai, model a\\|model |" in card()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"input": "{title}\n{body}"}, 'Inputs were formatted as `"{title}\\n{body}"`'),
        ({"choices": ["yes", "no"]}, "The answers: `yes`, `no`."),
        ({"choices": ["yes", "no"]}, "ranking the closed answers"),
        ({"objective": {"kind": "rationale_then_label"}}, "its rationale first, then `So the answer is` and the label"),
        ({"objective": {"kind": "label_then_rationale"}}, "the label first, then `explanation:` and its rationale"),
        ({"prefix_on": "input"}, 'tokenizer("[label] Your input."'),
        ({"prefix_on": "input"}, "write `[rationale]` in place of `[label]`"),
        ({"objective": {"kind": "soft_targets", "rationales": True}}, "For the rationale pass `generate`"),
    ],
)
def test_the_card_says_what_to_write_and_what_comes(changes: dict[str, Any], says: str) -> None:
    assert says in card(**changes)


def test_of_a_kind_that_is_not_known_nothing_is_claimed() -> None:
    use = card(kind="tally").partition("## Use")[2]
    assert " ".join(use.split()) == "With dsbs: `python -m dsbs.predict checkpoint=FOLDER input=FILE`."


def test_fine_tuning_needs_no_prefix_of_its_own() -> None:
    assert Finetune(name="finetune").prefix_on == "target"
    assert 'tokenizer("Your input."' in card(objective={"kind": "finetune"})
