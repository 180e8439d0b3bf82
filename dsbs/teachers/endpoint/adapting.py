"""Adaptation of requests to an endpoint: what it rejects, in clear words, is dropped or changed for the whole run."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dsbs.core.records import fold_system

Body = dict[str, Any]
# Statuses with which an endpoint rejects the content of a request; chat templates fail with 500.
REFUSED = re.compile(r"(?:HTTP|error) (?:400|404|422|424|500|501)|error in answer")
_REFUSES = (
    r"unsupported|not (?:yet )?support|n't support|(?:is|are) not (?:allowed|available|permitted|enabled|known)"
    r"|not (?:accepted|compatible|permitted|enabled|recogni[sz]ed|implemented)|不支持|unknown|unrecogni[sz]ed"
    r"|unexpected|unavailable|only the default|only \S{1,9} is (?:allowed|supported)|only be set|whitespace"
    r"|only available|disabled|extra (?:inputs|fields)|deprecated|no longer"
)


@dataclass(frozen=True)
class Adaptation:
    """One feature of requests that endpoints reject, and what to do about it.

    Attributes:
        words: pattern of the words with which endpoints name it.
        concerns: returns whether a body has it.
        change: returns the body without it.
        done: what was done, for the message.
        setting: what to type to set it for good; empty where there is nothing to set.
        refusal: pattern of the words of rejection.
    """

    what: str
    words: str
    concerns: Callable[[Body], bool]
    change: Callable[[Body], Body]
    done: str
    setting: str
    refusal: str = _REFUSES

    def fits(self, body: Body, explanation: str) -> bool:
        """Return whether a body has this feature and an endpoint's message rejects it."""
        if not self.concerns(body) or not re.search(self.refusal, explanation, re.I):
            return False
        return re.search(self.words, explanation, re.I) is not None


def without(*names: str) -> Callable[[Body], Body]:
    """Return a function that drops fields from a body."""
    return lambda body: {name: value for name, value in body.items() if name not in names}


def _has(name: str) -> Callable[[Body], bool]:
    return lambda body: name in body


def _fold(body: Body) -> Body:
    return body | {"messages": fold_system(body["messages"])}


def _has_system(body: Body) -> bool:
    return bool(body.get("messages")) and body["messages"][0]["role"] == "system"


ADAPTATIONS = (
    Adaptation(
        "a system message",
        r"system.?(?:role|message|prompt|instruction)|(?:role|got|support|支持).{0,12}system|['\"`]system['\"`]"
        r"|developer instruction|roles must alternate|only user\b|user.{0,6}(?:or|,).{0,6}assistant|first message"
        r"|start with a user|valid role",
        _has_system,
        _fold,
        "the instruction goes into the first question",
        "prompt.system_role=false",
        _REFUSES
        + r"|roles must alternate|only user\b|roles? .{0,30}must be|invalid role|valid role|role.{0,20}is invalid"
        r"|first message|start with a user|message must be|user.{0,6}(?:or|,).{0,6}assistant|not in\b|not a valid"
        r"|does not match|disallowed",
    ),
    Adaptation(
        "response_format",
        r"response_(?:format|schema)|json_schema|json_object|json mode|structured|grammar|guided"
        r"|schema.{0,60}(?:states|complex|constraint)",
        _has("response_format"),
        without("response_format"),
        "the prompt still asks for JSON, without a schema",
        "prompt.answer_format=text",
        _REFUSES
        + r"|invalid|must be|cannot be|too (?:many|complex|large)|not valid|not both|grammar.{0,20}(?:error|fail)"
        r"|fail.{0,20}grammar",
    ),
    Adaptation(
        "max_tokens",
        # A value that is too large stays: an endpoint that ignores the other name would write without end.
        r"(?s)^(?!.*(?:too large|at most|exceed|less than|range|greater|at least|larger|minimum|[<>]=))"
        r".*max_(?:completion_)?tokens",
        _has("max_tokens"),
        lambda body: (
            {"max_completion_tokens": body["max_tokens"]} | without("max_tokens")(body)
        ),  # or what the user set
        "max_completion_tokens is sent instead",
        "teacher.max_tokens=null +teacher.extra.max_completion_tokens=N",
        _REFUSES + r"|use .?max_completion_tokens|instead|only one of|at the same time|both",
    ),
    Adaptation(
        "temperature=0",
        r"temperature",
        lambda body: body.get("temperature") == 0,
        lambda body: body | {"temperature": 0.01},
        "0.01 is sent instead",
        "teacher.temperature=0.01",
        r"strictly positive|greater than 0|> 0\b|must be positive|(?:range|in) \(0",
    ),
    Adaptation(
        "answers in one piece",
        r"\bstream",
        lambda body: "stream" not in body,
        lambda body: body | {"stream": True, "stream_options": {"include_usage": True}},
        "they are requested as a stream, and put together",
        "",
        r"only supports? stream|stream(?:ing)?(?: mode)? only|must be streamed"
        r"|stream(?:ing)? (?:mode )?(?:is|must be) (?:required|enabled|true)",
    ),
    Adaptation(
        "top_p beside temperature",
        r"temperature.{0,40}top_p|top_p.{0,40}temperature",
        lambda body: "top_p" in body and "temperature" in body,
        without("top_p"),
        "top_p is left out",
        "teacher.top_p=null",
        r"both",
    ),
    *(
        Adaptation(name, rf"\b{name}\b", _has(name), without(name), f"{name} is left out", setting)
        for name, setting in (
            ("temperature", "teacher.temperature=null"),
            ("top_p", "teacher.top_p=null"),
            ("stop", "teacher.stop=[]"),
        )
    ),
)


def find_adaptation(body: Body, reason: str, explanation: str, done: Sequence[Adaptation]) -> Adaptation | None:
    """Return the adaptation to a rejected request, or None where the message names no known feature.

    Args:
        reason: of the ``TeacherError``, such as ``HTTP 400``.

    >>> explanation = "System role not supported"
    >>> body = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "why?"}]}
    >>> find_adaptation(body, "HTTP 400", explanation, ()).setting
    'prompt.system_role=false'
    """
    if not explanation or not REFUSED.fullmatch(reason):
        return None
    return next((one for one in ADAPTATIONS if one not in done and one.fits(body, explanation)), None)
