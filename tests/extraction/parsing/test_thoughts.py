"""Thoughts and answers that were not finished, and completions in the forms of today's chat models."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbs.core.records import Completion, Example
from dsbs.extraction.parsing import Take, annotate, annotate_whole, parse, split_thought
from dsbs.extraction.prompts import Prompt
from dsbs.tasks.answers import ClosedAnswers, FreeAnswers, NumberAnswers

CUE = "So the answer is"
MOOD = ClosedAnswers(("positive", "negative", "neutral"))
CARDS = ClosedAnswers(("credit", "credit card", "debit"))


def read(text, finish_reason="stop", answers=MOOD, **more):
    return parse(text, finish_reason, CUE, answers, **more)


@pytest.mark.parametrize(
    ("text", "finish_reason"),
    [
        # A chat template put <think> into the prompt, so the text has no opening tag.
        ("First impression: so the answer is positive.\n\nWait, I should read on: the second half says", "length"),
        ("First impression: so the answer is positive.\n\nBut I should read on.", "length"),
        ("First impression: so the answer is positive.\n\nWait, I should read on: the second half says", None),
        ('A draft: {"rationale": "It hums.", "answer": "positive"}\nWait, I should read on.', "length"),
        ("Positive\n\nThat was a first impression. I should", "length"),
        ("<think>It hums. So the answer is positive.", "stop"),
        ("<think>It hums.</think>Hm. <think>So the answer is positive.", "stop"),
        ("<thinking>\nIt hums. So the answer is positive.", "length"),
        ("[THINK]It hums. So the answer is positive.", "stop"),
        ("<|channel|>analysis<|message|>So the answer is positive.", "length"),
        ("<|channel|> analysis <|message|>So the answer is positive.", "length"),
        ("analysis<|message|>So the answer is positive.", "stop"),
        ("analysisWe need a label. So the answer is positive.", "stop"),
        ("It hums. So the answer is posi", None),
        ("It hums. So the answer is positive", "length"),
        ("positive", "length"),
        ("<think>It hums.</think>", "length"),
        ("&lt;think&gt;It hums. So the answer is positive.", "stop"),
        ("```thinking\nIt hums. So the answer is positive.", "stop"),
        ("<details open><summary>Thinking...</summary>\nIt hums. So the answer is positive.", "stop"),
        ("Here are my reasoning steps:\nIt hums. So the answer is positive.\n", "length"),
        *[
            ("First impression: so the answer is positive. Reading on, it", reason)
            for reason in (
                "",
                "max_length",
                "FinishReason.MAX_TOKENS",
                "token_limit",
                "model_context_window_exceeded",
                "error",
                "abort",
                "cancelled",
                "insufficient_system_resource",
                "network_error",
                "repetition",
                "OTHER",
            )
        ],
    ],
)
def test_what_was_not_finished_is_cut_off(text, finish_reason):
    assert read(text, finish_reason)[1:] == (None, "cut_off")


def test_an_answer_may_be_half_of_another_one():
    assert read("A loan. So the answer is credit", None, CARDS)[1:] == (None, "cut_off")
    assert read("A loan. So the answer is credit.", None, CARDS)[1:] == ("credit", "ok")
    assert read("A loan. So the answer is credit", "stop", CARDS)[1:] == ("credit", "ok")
    assert read("A loan. So the answer is debit", None, CARDS)[1:] == ("debit", "ok")
    assert read("credit", None, CARDS)[1:] == (None, "cut_off")


def test_a_completion_as_long_as_it_may_be_was_cut_off_whatever_the_server_says():
    example, text = Example("1", "?"), "It hums. So the answer is positive.\n\nWait, I should read on: the second half"
    said = Completion(text, "stop", completion_tokens=128)
    assert annotate(example, said, CUE, MOOD, most_written=128).status == "cut_off"
    unsaid = Completion(text, None, completion_tokens=128)
    assert annotate(example, unsaid, CUE, MOOD, most_written=128).status == "cut_off"
    assert annotate(example, said, CUE, MOOD, most_written=512).status == "unknown_label"  # it takes its answer back
    thought = Completion(text, "stop", completion_tokens=900)  # hidden thinking, which the server does not bound
    assert annotate(example, thought, CUE, MOOD, most_written=128).status == "unknown_label"
    whole = Completion("It hums. So the answer is positive.", "stop", completion_tokens=128)
    assert annotate(example, whole, CUE, MOOD, most_written=128).status == "ok"


@pytest.mark.parametrize(
    "text",
    [
        "<think>It broke.</think>\n\nnegative",
        "It broke.</think>\n\n**negative**",
        "<thinking>It broke.</thinking><answer>negative</answer>",
        "[THINK]It broke.[/THINK]So the answer is negative.",
        "◁think▷It broke.◁/think▷So the answer is negative.",
        "<|channel|>analysis<|message|>It broke.<|end|><|start|>assistant<|channel|>final<|message|>negative<|return|>",
        "analysisIt broke.assistantfinalSo the answer is negative.",
        "commentaryIt broke.assistantfinalnegative",
        "analysis<|message|>It broke.<|end|><|start|>assistant<|channel|>final<|message|>negative<|return|>",
        "<|channel|> analysis <|message|>It broke.<|end|><|start|>assistant<|channel|> final <|message|>negative",
        "<|begin_of_thought|>It broke.<|end_of_thought|><|begin_of_solution|>negative<|end_of_solution|>",
        "<seed:think>It broke.</seed:think>negative",
        "<longcat_think>It broke.</longcat_think>negative",
        "<think time=5>It broke.</think>negative",
        "<|thought|>It broke.<|/thought|>negative",
        "<antThinking>It broke.</antThinking>negative",
        "<scratch_pad>It broke.</scratch_pad>negative",
        "<inner_thoughts>It broke.</inner_thoughts>negative",
        "&lt;think&gt;It broke.&lt;/think&gt;negative",
        "```thinking\nIt broke.\n```\nnegative",
        '<details type="reasoning"><summary>Thought for 3 seconds</summary>\n> It broke.\n</details>\nnegative',
        "<unused94>thought\nIt broke.<unused95>negative",
        "<think>It broke.<\\think>negative",
        "<think>It broke. So the answer is negative.</think>",
        "assistantanalysisIt broke.assistantfinalnegative",
        "```yaml\nrationale: It broke.\nanswer: negative\n```",
        "### Reasoning\nIt broke.\n\n### Answer\nnegative",
        "1. Rationale: It broke.\n2. Answer: negative",
        "assistant\n\nIt broke. So the answer is negative.",
        "<start_of_turn>model\nIt broke. So the answer is negative.",
        "Here are my reasoning steps:\nIt broke.\n[BEGIN FINAL RESPONSE]\nnegative\n[END FINAL RESPONSE]",
        "<|channel|>analysis<|message|>It broke.<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>"
        '{"answer": "negative"}',
    ],
)
def test_a_thought_is_the_rationale_where_nothing_else_stands_before_the_answer(text):
    assert read(text) == ("It broke.", "negative", "ok")


@pytest.mark.parametrize("ended", ["stop", "length", None])
@pytest.mark.parametrize(
    "end", ["<|endoftext|>Human: Next", "<|im_end|>\n<|im_start|>user\n", "</s> ", "<|assistant|>", " [INST] x [/INST]",
            "<｜User｜>"],
)  # fmt: skip
def test_what_a_model_goes_on_to_write_behind_its_end_of_text_is_not_read(end, ended):
    text = f"It broke. So the answer is negative{end} So the answer is positive."
    assert read(text, ended) == ("It broke.", "negative", "ok")
    assert split_thought(text).answer == "It broke. So the answer is negative"


@pytest.mark.parametrize(
    ("text", "reasoning", "status"),
    [
        ("", "It broke. So the answer is negative. Wait, it hums.", "only_thinking"),
        ("", "It broke. So the answer is negative.\nOr is it?", "only_thinking"),
        ("", "It broke. The answer is negative.", "only_thinking"),
        ("", "It broke, so negative", "only_thinking"),
        ("<think>It broke.</think>\n", None, "only_thinking"),
        ("\n", None, "empty"),
    ],
)
def test_thinking_without_an_answer_is_told_apart_from_nothing(text, reasoning, status):
    assert read(text, reasoning=reasoning) == (None, None, status)
    assert annotate_whole(Example("1", "?"), Completion(text, "stop", reasoning=reasoning), MOOD).status == status


def test_a_whole_answer_that_a_server_took_for_thinking_is_read():
    said = "It broke. So the answer is negative."
    assert read("", reasoning=said) == ("It broke.", "negative", "ok")
    assert read("", "length", reasoning=said) == (None, None, "cut_off")


def test_a_tag_that_an_answer_quotes_is_no_thought():
    assert read("It has `<think>` in it. So the answer is negative.")[1] == "negative"


def test_where_the_rationale_comes_from_can_be_chosen():
    text = "<think>It hums, hm. So the answer is neutral? No.</think>It broke. So the answer is negative."
    assert read(text)[0] == "It broke."
    assert read(text, take=Take("thinking")) == ("It hums, hm. No.", "negative", "ok")
    assert read(text, take=Take("both"))[0] == "It hums, hm. No. It broke."
    assert read("It broke. So the answer is negative.", take=Take("thinking"))[0] == "It broke."
    assert read("negative", reasoning="It broke.") == ("It broke.", "negative", "ok")


@pytest.mark.parametrize(
    "text",
    [
        "It broke. So the answer is **negative**.",
        r"It broke. So the answer is $\boxed{\text{negative}}$.",
        "It broke.\nThe answer is (B) negative",
        "It broke. So the answer is option B.",
        "It broke.\n\n**Answer:** Negative",
        "<reasoning>It broke.</reasoning>\n<answer>negative</answer>",
        "<reasoning>It broke.</reasoning>\n<answer>\nnegative\n</answer>",
        "It broke. So the answer is negative, not positive.",
        "It broke. So the answer is not positive but negative.",
        "It broke. So the answer is:\n\n- negative",
        "It broke.\n### Final Answer\nnegative",
        "It broke. So the answer is NEGATIVE (confidence: 0.9).",
        "It broke. So the answer is <answer>negative</answer>.",
        "It broke.\n\nAnswer - negative",
        "It broke. My final answer: negative",
        "It broke. Hence the answer is Answer: B",
        "It broke.\n\nnegative",
        "It broke.\n\n**Negative**",
        "It broke.\nOutput: negative",
        "It broke.\nLabel -> negative",
        "It broke.\n\\[\n\\boxed{negative}\n\\]",
        'Sure! Here is the object:\n```json\n{"rationale": "It broke.", "answer": "negative"}\n```',
        '{"rationale": "It\nbroke.", "answer": "negative"}',
        '```json\n{"rationale": "It broke.", "answer": "negative"}\n```\nLet me know if you need more.',
        '{"rationale": "It broke.", "answer": ["negative"]}',
        'It broke.\n```json\n{"answer": "negative"}\n```',
        "The answer is clear: It broke.\nAnswer: negative",
        "It broke. 因此，答案为 B",
        "It broke.\nОтвет: negative",
        "It broke. Die Antwort ist negative.",
        "It broke.\nAnswer is: negative",
        "It broke. The predicted class is negative.",
        "It broke. <sentiment>negative</sentiment>",
        "[RATIONALE] It broke. [ANSWER] negative",
        "It broke. My final verdict is: [[B]]",
        "It broke.\n2. Category: negative",
        "| Rationale | Label |\n|---|---|\n| It broke. | negative |",
        "| Field | Value |\n|---|---|\n| Rationale | It broke. |\n| Answer | negative |",
        "Answer: negative\n\n**Explanation:** It broke.\n\nInput: It hums.\nAnswer: positive",
        "<answer>negative</answer>\n<rationale>It broke.</rationale>",
        '{"rationale": "It broke.", "answer": negative}',
    ],
)
def test_the_forms_of_chat_models_are_understood(text):
    rationale, label, status = read(text)
    assert (label, status) == ("negative", "ok")
    assert "It broke" in rationale
    assert "hums" not in rationale


@pytest.mark.parametrize(
    "text",
    [
        "It broke. So the answer is not entirely positive.",
        "It broke. So the answer is anything but positive.",
        "It broke. So the answer is non-positive.",
        "It hums. So the answer is positive.\n\nWait, actually it broke.",
        "The options are:\npositive\nnegative",
        "So the answer is positive? Or negative?",
        "I cannot say whether it is positive.",
        "It hums. So the answer is positive.\n\nOn reading it again:\n**Final answer:** negative",
        "| Option | Verdict |\n|---|---|\n| positive | no |\n| negative | yes |",
        "It depends.",
    ],
)
def test_what_is_unclear_is_not_read(text):
    assert read(text)[1] is None


@pytest.mark.parametrize("text", ["(b) negative", " negative", "**Negative**", "B.", "negative\n\nIt broke."])
@pytest.mark.parametrize("finish_reason", ["stop", None])
def test_an_answer_alone_is_a_label_without_a_rationale(text, finish_reason):
    assert read(text, finish_reason) == (None, "negative", "no_rationale")


def test_numbers_alone_are_answers_but_lists_and_sentences_are_none():
    numbers = NumberAnswers()
    assert read("6 * 7 is 42.\n\n42", answers=numbers) == ("6 * 7 is 42.", "42", "ok")
    assert read("$\\boxed{42}$", answers=numbers)[1] == "42"
    assert read("I need 3 more facts.", answers=numbers)[1] is None
    assert read("1. Take 6.\n2. Take 7.", answers=numbers)[1] is None
    assert read("Twelve.", answers=FreeAnswers())[1:] == (None, "no_cue")


@pytest.mark.parametrize(
    ("take", "rationale"),
    [
        (Take("thinking"), "A pump. It hums. It broke after a day."),
        (Take("thinking", sentences=2), "It hums. It broke after a day."),
        (Take("thinking", sentences=9), "A pump. It hums. It broke after a day."),
        (Take("thinking", words=7), "It hums. It broke after a day."),
        (Take("thinking", words=3), "after a day."),
        (Take("thinking", sentences=1, words=50), "It broke after a day."),
        (Take("both", sentences=1), "It broke after a day. Bad."),
        (Take("answer", sentences=1), "Bad."),
    ],
)
def test_a_thought_is_cut_to_its_end(take, rationale):
    text = "<think>A pump. It hums. It broke after a day.</think>Bad. So the answer is negative."
    assert read(text, take=take) == (rationale, "negative", "ok")


@given(st.text(max_size=200), st.none() | st.integers(1, 5), st.none() | st.integers(1, 20))
def test_a_cut_thought_is_the_end_of_the_thought(text, sentences, words):
    cut = Take("thinking", sentences, words).cut(text)
    assert words is None or len(cut.split()) <= words
    assert " ".join(text.split()).endswith(" ".join(cut.split()))


def test_settings_of_thoughts_are_checked():
    faults = Prompt(name="p", instruction="{cue}", thought_sentences=0, thought_words=-1, rationale_from="x").faults()
    assert [fault.split("=")[0] for fault in faults] == [
        "prompt.rationale_from", "prompt.thought_sentences", "prompt.thought_words",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "status"), [("MAX_TOKENS", "cut_off"), ("model_length", "cut_off"), ("SAFETY", "refused")]
)
def test_other_names_for_the_end_are_known(reason, status):
    assert read("It broke. So the answer is negative", reason)[1:] == (None, status)


@pytest.mark.parametrize(
    "reason", ["content_filter", "refusal", "content_filtered", "FinishReason.SPII", "BLOCKLIST", "sensitive",
               "guardrail_intervened"],
)  # fmt: skip
def test_a_refusal_is_named(reason):
    assert read("So the answer is negative.", reason)[1:] == (None, "refused")


@given(st.lists(st.sampled_from(["<think>", "</think>", "[/THINK]", "a", "<|channel|>final<|message|>", "\n"])))
def test_any_text_can_be_split(pieces):
    written = split_thought("".join(pieces))
    assert "<think>" not in written.answer or written.thinking
    assert "</think>" not in written.answer
