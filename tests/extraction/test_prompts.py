from collections import Counter
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dsbs.core.records import Example
from dsbs.extraction.parsing import parse
from dsbs.extraction.prompts import Exemplar, Prompt, normalise
from dsbs.tasks import ReleaseTask
from dsbs.tasks.answers import ClosedAnswers, NumberAnswers, with_choices
from dsbs.tasks.release import NLI

CONF = Path(__file__).resolve().parents[2] / "conf" / "prompt"
FAMILIES = {"nli": ["esnli", "anli1"], "multiple_choice": ["cqa"], "arithmetic": ["svamp", "asdiv"]}
WHERE = Exemplar("Where do bums live?", "They live outdoors.", "bridge", ["hotel", "bridge"])


def load(name):
    """Compose a prompt's YAML as Hydra does, without its defaults list."""
    config = OmegaConf.load(CONF / f"{name}.yaml")
    parents = [default for default in config.pop("defaults") if isinstance(default, str) and default != "_self_"]
    base = load(parents[0]) if parents else OmegaConf.structured(Prompt)
    return OmegaConf.merge(base, config)


def build(name):
    return OmegaConf.to_object(load(name))


def test_a_request_is_worded_like_its_exemplars():
    prompt = Prompt("p", "Think.", show_choices=True, exemplars=[WHERE])
    request = prompt.request(Example("7", "Where do fish live?", "sea", ("sea", "sky")), "train", sample=2)
    assert (request.id, request.split, request.sample, request.choices) == ("7", "train", 2, ("sea", "sky"))
    assert request.text() == (
        "Think.\n\n"
        "Q: Where do bums live?\nAnswer Choices:\n(a) hotel\n(b) bridge\n"
        "A: They live outdoors. So the answer is (b) bridge.\n\n"
        "Q: Where do fish live?\nAnswer Choices:\n(a) sea\n(b) sky\nA:"
    )
    assert [message["role"] for message in request.messages()] == ["system", "user", "assistant", "user"]


def test_choices_that_the_input_lists_already_are_not_listed_twice():
    prompt = Prompt("p", show_choices=True, exemplars=[WHERE])
    choices = ("sea", "sky")
    plain = prompt.request(Example("7", "Where?", "sea", choices), "train")
    listed = prompt.request(Example("7", with_choices("Where?", choices), "sea", choices), "train")
    assert plain.question == listed.question


def test_without_exemplars_the_instruction_names_cue_and_choices():
    prompt = Prompt("p", "Read.\nOne of: {choices}.\nEnd with '{cue}'.")
    assert prompt.faults() == []
    closed = prompt.request(Example("1", "x", choices=("yes", "no")), "train")
    assert closed.instruction == "Read.\nOne of: yes, no.\nEnd with 'So the answer is'."
    assert prompt.request(Example("1", "x"), "train").instruction == "Read.\nEnd with 'So the answer is'."
    listed = prompt.request(Example("1", with_choices("x", ("yes", "no")), choices=("yes", "no")), "train")
    assert "One of" not in listed.instruction


def test_a_brace_in_the_data_changes_nothing():
    prompt = Prompt("p", "Answer.", exemplars=[Exemplar("{cue} {0}", "{x}", "{choices}")])
    request = prompt.request(Example("1", "{choices} {cue} {}", choices=("{cue}", "b")), "train")
    assert request.question == "{choices} {cue} {}"
    assert request.shots == (("{cue} {0}", "{x} So the answer is {choices}."),)


def test_all_faults_are_told_at_once():
    prompt = Prompt(
        "p",
        cue="So the answer is",
        show_choices=True,
        exemplars=[
            WHERE,
            Exemplar("where do bums live", "So the answer is bridge", "bench.", ["a", "b"]),
            Exemplar(" ", "why", "x"),
        ],
    )
    faults = "\n".join(prompt.faults())
    for part in (
        "exemplars[1].rationale holds the cue",
        "exemplars[1].answer ends with a full stop",
        "exemplars[1].answer='bench.' is not one of its choices (a, b)",
        "exemplars[1].input: the same as prompt.exemplars[0]",
        "exemplars[2].input is empty",
        "exemplars[2].choices is empty",
    ):
        assert part in faults
    assert "prompt.cue is empty" in "\n".join(Prompt("p", cue=" ").faults())
    assert "instruction must say" in "\n".join(Prompt("p", "Answer.").faults())


def test_exemplars_that_occur_in_the_data_are_found():
    prompt = Prompt("p", exemplars=[WHERE])
    examples = [
        Example("1", "Where do fish live?"),
        Example("2", with_choices("  where do BUMS live", ("hotel", "bench"))),
        Example("3", "Where do bums live, and why?"),
    ]
    assert prompt.leaks(iter(examples)) == ["2"]
    assert Prompt("p").leaks(examples) == []


@pytest.mark.parametrize(
    ("shown", "asked"),
    [
        ("Why?", "why"),
        ("Where do bums live?", "W\nhere do bums live"),
        ("Where do bums live?", f"{'-' * 30} Where do bums live?"),
        ("Straße oder Weg?", "STRASSE ODER WEG"),
        ("Is it\nso or not?", "\n\nis it so, or not"),
    ],
)
def test_however_it_begins_an_exemplar_in_the_data_is_found(shown, asked):
    prompt = Prompt("p", exemplars=[Exemplar(shown, "So it is.", "x")])
    assert prompt.leaks([Example("1", asked), Example("2", f"{asked} indeed")]) == ["1"]


def test_only_what_changes_a_request_changes_the_identity():
    prompt = Prompt("p", "Think.", exemplars=[WHERE])
    assert prompt.identity() == Prompt("q", "Think.", exemplars=[WHERE]).identity()
    assert prompt.identity() != Prompt("p", "Think.", cue="Answer:", exemplars=[WHERE]).identity()
    assert prompt.identity() != Prompt("p", "Think.", exemplars=[]).identity()


@pytest.mark.parametrize("name", [*FAMILIES, *(task for tasks in FAMILIES.values() for task in tasks), "table"])
def test_our_prompts_are_sound(name):
    prompt = build(name)
    assert prompt.name == name
    assert prompt.faults() == []
    assert name == "table" or 6 <= len(prompt.exemplars) <= 10


@pytest.mark.parametrize("name", FAMILIES)
def test_the_parser_reads_our_own_exemplars(name):
    prompt = build(name)
    answers = {"nli": ClosedAnswers(NLI), "multiple_choice": ClosedAnswers(), "arithmetic": NumberAnswers()}[name]
    for exemplar, (_, answer) in zip(prompt.exemplars, prompt.shots, strict=True):
        rationale, label, status = parse(answer, "stop", prompt.cue, answers, tuple(exemplar.choices) or None)
        assert status == "ok"
        assert rationale == " ".join(exemplar.rationale.split())
        assert label == exemplar.answer


def test_our_exemplars_are_balanced():
    labels = Counter(exemplar.answer for exemplar in build("nli").exemplars)
    assert set(labels) == set(NLI)
    assert len(set(labels.values())) == 1
    letters = Counter(exemplar.choices.index(exemplar.answer) for exemplar in build("multiple_choice").exemplars)
    assert letters == dict.fromkeys(range(5), 2)


def test_the_equations_of_our_exemplars_give_the_numbers_of_their_rationales():
    for exemplar in build("arithmetic").exemplars:
        value = NumberAnswers().equivalent
        assert any(value(exemplar.answer, word.strip(".,")) for word in exemplar.rationale.split()), exemplar


@pytest.mark.parametrize(("name", "split"), [("svamp", "train"), ("svamp", "test"), ("cqa", "train"), ("cqa", "test")])
def test_our_exemplars_do_not_occur_in_the_data(data_folder, name, split):
    task = ReleaseTask(name=name, benchmark=name, path=str(data_folder / name))
    assert build(name).leaks(task.examples(split)) == []


def test_normalising_keeps_letters_and_digits_of_any_language():
    assert normalise("Où est-il, à 9 h ?") == "oùestilà9h"
