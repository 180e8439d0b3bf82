import itertools
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbs.core.records import Annotation, Completion, Example
from dsbs.extraction.parsing import STATUSES, annotate, clean_rationale, parse, vote
from dsbs.tasks import ReleaseTask
from dsbs.tasks.answers import ClosedAnswers, FreeAnswers, NumberAnswers

CUE = "So the answer is"
NLI = ClosedAnswers(("entailment", "neutral", "contradiction"))
PLACES = ("bus depot", "beach", "train station", "bridge", "bridge")


def read(text, finish_reason=None, answers=NLI, choices=None):
    return parse(text, finish_reason, CUE, answers, choices)


# The table of the data's README: examples, parsed, teacher accuracy in percent.
@pytest.mark.parametrize(
    ("name", "split", "examples", "parsed", "accuracy"),
    [
        ("svamp", "train", 800, 787, "73.25"),
        ("svamp", "test", 200, 198, "74.00"),
        ("cqa", "train", 9741, 9738, "74.26"),
        ("cqa", "test", 1221, 1221, "77.23"),
    ],
)
def test_the_counts_and_accuracies_of_the_release_are_found(data_folder, name, split, examples, parsed, accuracy):
    task = ReleaseTask(name=name, benchmark=name, reading="paper", path=str(data_folder / name))
    files = sorted(
        (data_folder / name / "palm").glob(f"{split}_CoT_*.json"), key=lambda p: int(re.findall(r"\d+", p.stem)[0])
    )
    texts = list(itertools.chain.from_iterable(json.loads(path.read_text(encoding="utf-8")) for path in files))
    pairs = list(zip(task.examples(split), texts, strict=True))
    annotations = [annotate(example, Completion(text), CUE, task.answers) for example, text in pairs]
    correct = sum(
        task.answers.equivalent(annotation.label, example.label)
        for annotation, (example, _) in zip(annotations, pairs, strict=True)
    )
    assert len(pairs) == examples
    assert sum(annotation.status == "ok" for annotation in annotations) == parsed
    assert f"{100 * correct / examples:.2f}" == accuracy
    assert all(annotation.rationale for annotation in annotations if annotation.status == "ok")
    assert not [a for a in annotations if a.rationale and a.status == "ok" and CUE.lower() in a.rationale.lower()]


def test_a_run_on_question_is_not_read():
    text = "He had 30. So he has 30 - 23 left. The answer is (30 - 23).\n\nQ: Next?\nA: It is 5. The answer is (5 + 5)."
    assert read(text, answers=NumberAnswers()) == ("He had 30. So he has 30 - 23 left.", "(30 - 23)", "ok")
    assert read("He ran out of words.\n\nQ: Next?\nA: So the answer is (a).") == (
        "He ran out of words.",
        None,
        "no_cue",
    )


def test_an_invented_premise_is_not_read():
    text = "A man is a person. So the answer is entailment.\n\nPremise: A cat.\nSo the answer is contradiction."
    assert read(text)[1:] == ("entailment", "ok")


@pytest.mark.parametrize(
    ("text", "finish_reason"),
    [
        ("The man has 16 apples. So he", None),
        ("The man has 16 apples. So he has more.", "length"),
        ("The premise says so. So the answer is", "length"),
        ("The premise says so. So the answer is contra", None),
        ("The premise says so. So the answer is neutral", "length"),  # perhaps "neutral or ..."
        ("<think>Hm, so the answer is neutral? Or", "length"),
        ("", "length"),
    ],
)
def test_a_cut_off_completion_is_kept_and_counted(text, finish_reason):
    _, label, status = read(text, finish_reason)
    assert (label, status) == (None, "cut_off")


def test_every_other_failure_has_its_reason():
    assert read("  \n ")[2] == "empty"
    assert read("I cannot help with that.", "stop")[2] == "no_cue"
    assert read("A man is a person. So the answer is", "stop")[2] == "no_answer"
    assert read("A man is a person. So the answer is: maybe.", "stop") == ("A man is a person.", None, "unknown_label")
    assert read("So the answer is neutral.") == (None, "neutral", "no_rationale")
    assert read("", "content_filter")[2] == "refused"


def test_of_several_cues_the_last_counts_and_none_stays_in_the_rationale():
    text = "A dog barks. So the answer is neutral. Wait, dogs are animals. So the answer is entailment."
    assert read(text) == ("A dog barks. Wait, dogs are animals.", "entailment", "ok")


@pytest.mark.parametrize(
    "before", ["I don't think ", "It is unclear whether ", "One might say that ", "He runs; otherwise ", "I doubt "]
)
def test_an_answer_that_the_words_before_it_deny_or_doubt_is_not_read(before):
    assert read(f"{before}the answer is entailment.")[1:] == (None, "unknown_label")
    assert read(f"It is not clear. {before}so the answer is entailment.")[1:] == ("entailment", "ok")


@pytest.mark.parametrize(
    "listed", [":\n- neutral\n- entailment", " neutral\nor entailment.", ":\n1. neutral\n2. entailment"]
)
def test_a_list_of_answers_is_none(listed):
    assert read(f"A man is a person. So the answer is{listed}", "stop")[1:] == (None, "unknown_label")
    same = listed.replace("entailment", "neutral")
    assert read(f"A man is a person. So the answer is{same}", "stop")[1:] == ("neutral", "ok")


def test_words_like_the_cue_are_no_cue():
    text = "The answer must be a place. Of the choices, the closest answer is beach. So the answer is (b) beach."
    rationale = "The answer must be a place. Of the choices, the closest answer is beach."
    assert read(text, answers=ClosedAnswers(), choices=PLACES) == (rationale, "beach", "ok")


@pytest.mark.parametrize(
    "text",
    [
        "A man is a person.\n\n**Answer:** entailment",
        "A man is a person.\n\nAnswer: **Entailment**",
        "A man is a person.\n**Final answer: entailment.**",
        "A man is a person. The answer is: entailment.",
        "A man is a person. Therefore, the correct answer is **entailment**.",
        "A man is a person.\n\n### Final Answer\n\nentailment",
        "**Reasoning:** A man is a person.\n\n**So the answer is** entailment.",
        "A: A man is a person. So the\nanswer is entailment.",
        "Rationale: A man is a person.\nLabel: entailment",
        "A man is a person. So the answer is:\n\n(a) entailment",
        'A man is a person, so the answer is "entailment".',
        "<think>\nHm. So the answer is neutral.\n</think>\nA man is a person. So the answer is entailment.",
        r"A man is a person. $\boxed{entailment}$",
        "A man is a person. So the answer is entailment because the premise says it.",
    ],
)
def test_the_habits_of_chat_models_are_understood(text):
    rationale, label, status = read(text, "stop")
    assert (label, status) == ("entailment", "ok")
    assert rationale.rstrip(".$ ") == "A man is a person"


def test_numbers_are_read_from_chat_models():
    answers = NumberAnswers()
    assert read("6 * 7 = 42.\n#### 42", "stop", answers)[1] == "42"
    assert read("There are 6 rows of 7.\n\n**Answer:** 42 tulips", "stop", answers)[1] == "42"
    assert read("6 * 7 = 42, thus the final answer is $\\boxed{42}$.", "stop", answers)[1] == "42"
    assert read("There are 16 * 17. The answer is (16 * 17) * 4.", None, answers)[1] == "(16 * 17) * 4"


def test_free_text_is_read_up_to_the_end_of_the_line():
    assert read("Seine city. So the answer is Paris.\nMore.", "stop", FreeAnswers()) == ("Seine city.", "Paris", "ok")


def test_an_annotation_names_its_example():
    annotation = annotate(
        Example("7", "?", choices=PLACES), Completion("Wet. So the answer is (b)."), CUE, ClosedAnswers()
    )
    assert annotation == Annotation("7", "beach", "Wet.", "ok", 1.0, {"beach": 1})


def test_a_rationale_is_one_clean_line():
    assert clean_rationale("## Reasoning: **First**,\n- a dog\n- a cat\n\nTherefore,") == "First, a dog a cat"


def test_signs_that_are_not_seen_are_in_no_rationale_and_no_answer():
    text = "\ufeff\x1b[31mA dog\x00 barks\u200b.\x1b[0m So the answer is\u200b \u202bParis\u202c。"
    assert read(text, "stop", FreeAnswers()) == ("A dog barks.", "Paris", "ok")


def test_the_majority_wins_and_argues_for_itself():
    samples = [
        Annotation("1", "neutral", "It may be.", "ok", 1.0),
        Annotation("1", "entailment", None, "no_rationale", 1.0),
        Annotation("1", None, "Hm.", "cut_off"),
        Annotation("1", "entailment", "It must be.", "ok", 1.0),
    ]
    assert vote(samples, NLI.equivalent) == Annotation(
        "1", "entailment", "It must be.", "ok", 0.5, {"neutral": 1, "entailment": 2}
    )


def test_numbers_vote_by_value():
    samples = [Annotation("1", "9", "b"), Annotation("1", "(84 / 2)", "a"), Annotation("1", "42", "c")]
    assert vote(samples, NumberAnswers().equivalent) == Annotation(
        "1", "(84 / 2)", "a", "ok", 2 / 3, {"9": 1, "(84 / 2)": 2}
    )


def test_without_any_answer_the_commonest_failure_is_told():
    failures = [Annotation("1", status="no_cue"), Annotation("1", status="cut_off"), Annotation("1", status="cut_off")]
    assert vote(failures, NLI.equivalent) == Annotation("1", status="cut_off")


PIECES = [
    "So the answer is",
    "Answer:",
    "**",
    "(a)",
    "neutral",
    ".",
    "\n",
    "\n\nQ:",
    "42",
    "( 8 / 2",
    ")",
    "<think>",
    " ",
]


@given(
    st.text(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join),
    st.sampled_from([None, "stop", "length", "content_filter", "weird"]),
)
def test_any_text_gives_an_annotation_or_a_reason(text, finish_reason):
    for answers, choices in (
        (NLI, None),
        (ClosedAnswers(reading="paper"), PLACES),
        (NumberAnswers(), None),
        (FreeAnswers(), None),
    ):
        rationale, label, status = parse(text, finish_reason, CUE, answers, choices)
        assert status in STATUSES
        assert (label is not None) == (status in ("ok", "no_rationale"))
        assert status != "ok" or rationale
        assert not rationale or CUE.lower() not in rationale.lower()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"rationale": "It rains.", "answer": "neutral"}', ("It rains.", "neutral", "ok")),
        ('```json\n{"reasoning": "It rains.", "Answer": "Neutral."}\n```', ("It rains.", "neutral", "ok")),
        ('{"answer": "neutral"}', (None, "neutral", "no_rationale")),
        ('{"result": {"rationale": "It rains.", "answer": "neutral"}}', ("It rains.", "neutral", "ok")),
        ('{"rationale": "It rains.", "answer": "maybe"}', ("It rains.", None, "unknown_label")),
        ('{"rationale": "It rains.", "answer": ""}', ("It rains.", None, "no_answer")),
        ('{"rationale": "It rains.", "answer": null}', ("It rains.", None, "no_answer")),
        ('{"rationale": "It rains.", "answer": ["neutral", "entailment"]}', ("It rains.", None, "unknown_label")),
        (
            '[{"answer": "neutral"}, {"rationale": "It rains.", "answer": "entailment"}]',
            ("It rains.", None, "unknown_label"),
        ),
        ('{"rationale": "It rains.", "answer": "neutral" or "entailment"}', None),
        ('{"rationale": "The answer: neutral", "answer": "entail', None),
        ('{"rationale": "It rains.", "answer": {"type": "string", "enum": ["neutral"]}}', None),
    ],
)
def test_an_object_of_rationale_and_answer_is_read(text, expected):
    assert read(text) == expected or (expected is None and read(text)[1] is None)


@pytest.mark.parametrize(
    "text",
    [
        "{'rationale': 'It rains.', 'answer': 'neutral'}",
        "{'rationale': \"It rains.\", 'sure': None, 'answer': 'neutral'}",
        '{"rationale": "It rains.", "answer": "neutral",}',
        '{ // why\n "rationale": "It rains.", /* so */ "answer": "neutral" # label\n}',
        '```json5\n{rationale: "It rains.", answer: "neutral"}\n```',
        "{“rationale”: “It rains.”, “answer”: “neutral”}",
        '{"rationale": "It rains.", "answer": "neutral"',
        '"rationale": "It rains.", "answer": "neutral"}',
        '"{\\"rationale\\": \\"It rains.\\", \\"answer\\": \\"neutral\\"}"',
        '{"name": "annotate", "arguments": "{\\"rationale\\": \\"It rains.\\", \\"answer\\": \\"neutral\\"}"}',
        '{"annotation": {"rationale": "It rains.", "answer": "neutral"}}',
        '{"rationale": "It rains.", "answer": {"value": "neutral", "confidence": 0.9}}',
        '{"rationale": ["It", "rains."], "Final Answer": "neutral"}',
        '{"steps": [{"n": 1, "text": "It rains."}], "relation": "neutral", "confidence": 0.9}',
    ],
)
def test_an_object_that_is_not_quite_json_or_not_quite_as_asked_is_read(text):
    assert read(text, "stop") == ("It rains.", "neutral", "ok")


def test_a_question_within_an_object_does_not_end_it():
    text = '{"rationale": "It rains.\n\nQ: Why?\nA: It does.", "answer": "neutral"}\n\nQ: Next?\nA: entailment'
    assert read(text, "stop")[1:] == ("neutral", "ok")


def test_quotes_and_backslashes_within_a_string_of_an_object_stay():
    text = r'{"rationale": "It "rains" on \(x\_1\).", "answer": "neutral",}'.replace("\\\\", "\\")
    assert read(text, "stop") == (r'It "rains" on \(x_1\).'.replace("\\\\", "\\"), "neutral", "ok")


def test_an_object_that_was_cut_off_says_so():
    assert read('{"rationale": "It rains, so', "length")[2] == "cut_off"


def test_a_number_may_stand_without_quotes():
    assert read('{"rationale": "6 of 7.", "answer": 42}', answers=FreeAnswers())[:2] == ("6 of 7.", "42")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.sampled_from(PIECES),
    lambda inner: (
        st.dictionaries(
            st.sampled_from(["answer", "Answer", "final_answer", "rationale", "reasoning", "label", "x"]), inner
        )
        | st.lists(inner)
    ),
    max_leaves=6,
)


@given(
    JSON,
    st.sampled_from(["", "```json\n", "```\n", " \n", "Here it is: "]),
    st.sampled_from(["", "\n```", "\n\nQ: more?", '{"answer": "neutral"}', "}"]),
    st.none() | st.integers(0, 80),
    st.sampled_from([None, "stop", "length", "content_filter"]),
)
def test_any_json_gives_an_annotation_or_a_reason(value, before, after, cut, finish_reason):
    text = (before + json.dumps(value, ensure_ascii=False) + after)[:cut]
    for answers, choices in ((NLI, None), (ClosedAnswers(), PLACES), (NumberAnswers(), None), (FreeAnswers(), None)):
        rationale, label, status = parse(text, finish_reason, CUE, answers, choices)
        assert status in STATUSES
        assert (label is not None) == (status in ("ok", "no_rationale"))
        assert status != "ok" or rationale
        assert choices is None or label is None or label in choices
