"""The thinking of a reasoning model, separated from its answer."""

import re
from typing import NamedTuple

_NAMES = r"think|thinking|thoughts?|seed:think|scratchpad|inner_monologue|reflection"
_OPENING = re.compile(
    rf"<(?:{_NAMES})>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|START_THINKING\|>"
    r"|<\|channel\|>(?:analysis|commentary)(?:<\|message\|>)?|<\|channel>thought",
    re.I,
)
_CLOSING = re.compile(
    rf"</(?:{_NAMES})>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|END_THINKING\|>|<\|channel\|>final<\|message\|>|<channel\|>",
    re.I,
)
# gpt-oss, where a server removed the special tokens but left their names.
_BARE_CHANNELS = re.compile(r"analysis(?=[A-Z\s]).*assistantfinal", re.S)
_SPECIAL = re.compile(
    r"<\|start\|>assistant|<\|[\w ]{1,40}\|>|</s>|<(?:eos|end_of_turn|start_of_turn|/?solution)>", re.I
)


class Written(NamedTuple):
    """The two parts of a completion.

    Attributes:
        thought: the thinking, or an empty text.
        answer: the text after it.
        thinking: whether it ended while thinking, so that there is no answer.
    """

    thought: str
    answer: str
    thinking: bool = False


def split_thought(text: str) -> Written:
    """Return a completion split into thinking and answer.

    The opening tag may be missing, since chat templates put it into the prompt.

    >>> split_thought("<think>It broke.</think> So bad."), split_thought("<think>It").thinking
    (Written(thought='It broke.', answer=' So bad.', thinking=False), True)
    """
    closings = list(_CLOSING.finditer(text))
    end = closings[-1].end() if closings else 0
    if not closings and (channels := _BARE_CHANNELS.match(text)):
        return Written(_bare(text[len("analysis") : channels.end() - len("assistantfinal")]), text[channels.end() :])
    again = _OPENING.search(text, end)
    if again:
        return Written(_bare(text[:end] + text[again.end() :]), _SPECIAL.sub("", text[end : again.start()]), True)
    return Written(_bare(text[:end]), _SPECIAL.sub("", text[end:]))


def _bare(thought: str) -> str:
    return _SPECIAL.sub("", _CLOSING.sub("\n", _OPENING.sub("", thought))).strip()
