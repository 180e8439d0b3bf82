# ruff: noqa: RUF001 - the signs that models write are meant
"""The thinking of a reasoning model, separated from its answer."""

import re
from typing import NamedTuple

# With the prefixes of model families, as in ``<seed:think>`` and ``<longcat_think>``.
_NAMES = (
    r"(?:[a-z]{2,8}:)?(?:[a-z]{2,12}_)?(?:(?:ant)?think(?:ing)?|thoughts?|inner_monologue|reflection)"
    r"|scratch_?pad(?:_reasoning)?"
)
_LESS, _MORE = r"(?<!`)(?:<|&lt;)[ ]?", r"[ ]?(?:>|&gt;)"
_OPENING = re.compile(
    rf"{_LESS}\|?(?:{_NAMES})(?:\s[^<>]{{1,200}}(?<!/))?\|?{_MORE}|\[THINK(?:ING)?\]|◁think▷|<\|begin_of_thought\|>"
    r"|<\|START_THINKING\|>|<\|channel\|>[ ]?(?:analysis|commentary)[ ]?(?:<\|message\|>)?|<\|channel>thought"
    r"|<unused94>(?:thought)?|^\s{0,9}(?-i:Here are my reasoning steps:)",
    re.I,
)
_CLOSING = re.compile(
    rf"(?:<|&lt;)[ ]?\|?[/\\]\|?[ ]?(?:{_NAMES})\|?{_MORE}|\[/THINK(?:ING)?\]|◁/think▷|<\|end_of_thought\|>"
    r"|<\|END_THINKING\|>"
    r"|<\|channel\|>[ ]?final[^<\n]{0,60}(?:<\|constrain\|>[^<\n]{0,40})?<\|message\|>|<channel\|>|<unused95>"
    r"|\[BEGIN FINAL RESPONSE\]|(?<=\n)(?-i:Here is my response:)|(?<=\n)(?-i:\.\.\.done thinking\.)",
    re.I,
)
# What front ends make of a thought: a code block or a fold, at the head of the text.
_FRAMED = re.compile(
    r"\s{0,9}(?:```(?:think|thinking|thoughts?|reasoning)[ ]?\n(?P<block>.*?)(?P<end>\n```[ ]?(?:\n|$)|$)"
    r"|<details[^<>]{0,300}>\s{0,9}<summary>[^<>]{0,60}(?:think|thought|reason)[^<>]{0,60}</summary>"
    r"(?P<fold>.*?)(?P<closed></details>|$))",
    re.I | re.S,
)
_QUOTED = re.compile(r"^>[ ]?", re.M)
# gpt-oss, where a server removed the special tokens, or the first of them, but left the names of the channels.
_BARE_CHANNEL = re.compile(
    r"\s{0,9}(?:assistant)?(?:analysis|commentary)(?:<\|message\|>|(?=[A-Z])|(?=\s.*assistantfinal))", re.S
)
_SPECIAL = re.compile(
    r"<\|(?:start|im_start|start_header_id)\|>assistant|<[|｜][\w ▁/]{1,40}[|｜]>|</?s>|<start_of_turn>model\n"
    r"|<(?:eos|end_of_turn|start_of_turn|/?solution)>"
    r"|\[END FINAL RESPONSE\]",
    re.I,
)
# Who speaks, where a server removed the tokens around it.
_ROLE = re.compile(r"\s{0,9}assistant\n{1,3}(?=\S)")
_LEAD = re.compile(rf"(?:\s|{_SPECIAL.pattern}|assistant\n)*", re.I)
# A base model may write its end of text, or the next turn, and then another answer.
_END = re.compile(
    r"<\|(?:end_?of_?text|im_end|im_start|eot_id|eom_id|end_of_turn|eot|end|return|start_header_id|user|assistant"
    r"|system|observation|(?:END_OF|START_OF)_TURN_TOKEN)\|>|<｜(?:end▁of▁sentence|User|Assistant)｜>|</s>"
    r"|<(?:eos|end_of_turn|start_of_turn)>|(?<=\S)\s{0,4}\[INST\]|(?<=[.!?)\]}\"*$>])\n{0,2}(?:assistant|user)\n\n",
    re.I,
)


# No text without one of these has any of them.
_SIGNS = ("<", "&lt;", "[", "◁", "```", "analysis", "commentary", "Here ", "...done", "assistant\n", "user\n")


class Written(NamedTuple):
    """The two parts of a completion.

    Attributes:
        thinking: whether it ended while thinking, so that there is no answer.
        ended: whether the answer is followed by an end of text that the model wrote itself.
    """

    thought: str
    answer: str
    thinking: bool = False
    ended: bool = False


def split_thought(text: str) -> Written:
    """Return a completion split into thinking and answer.

    The opening tag may be missing, since chat templates put it into the prompt.

    >>> split_thought("<think>It broke.</think> So bad.")[:2], split_thought("<think>It").thinking
    (('It broke.', ' So bad.'), True)
    """
    if not any(sign in text for sign in _SIGNS):
        return Written("", text)
    if framed := _FRAMED.match(text):
        thought = _bare(_QUOTED.sub("", framed["block"] or framed["fold"] or ""))
        closed = framed["end"] or framed["closed"]
        return Written(thought, *_own(text[framed.end() :])) if closed else Written(thought, "", True)
    text = _with_channels(text)
    closings = list(_CLOSING.finditer(text))
    end = closings[-1].end() if closings else 0
    again = _OPENING.search(text, end)
    if again:
        return Written(_bare(text[:end] + text[again.end() :]), _SPECIAL.sub("", text[end : again.start()]), True)
    return Written(_bare(text[:end]), *_own(text[end:]))


def _with_channels(text: str) -> str:
    """Return a text of gpt-oss with the tokens at the names of its channels."""
    head = _BARE_CHANNEL.match(text)
    if head is None:
        return text
    thought, final, answer = text[head.end() :].rpartition("assistantfinal")
    thought, end = (thought, "<|channel|>final<|message|>") if final else (answer, "")
    return f"<|channel|>analysis<|message|>{thought}{end}{answer if final else ''}"


def _own(text: str) -> tuple[str, bool, bool]:
    """Return the model's own answer up to its end of text, and for ``Written``: not thinking, and whether it ended."""
    head = _LEAD.match(text)
    end = _END.search(text, head.end() if head else 0)
    own, after = (text[: end.start()], text[end.end() :]) if end else (text, "")
    return _without_role(_SPECIAL.sub("", own)), False, bool(_SPECIAL.sub("", after).strip())


def _without_role(text: str) -> str:
    role = _ROLE.match(text)
    return text[role.end() :] if role else text


def _bare(thought: str) -> str:
    return _SPECIAL.sub("", _CLOSING.sub("\n", _OPENING.sub("", thought))).strip()
