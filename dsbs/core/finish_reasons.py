"""Why a completion ended, in the words of any server."""

import re

STOP, LENGTH, REFUSED, BROKEN = "stop", "length", "refused", "broken"
# The first that fits; other words say nothing. Servers write ``MAX_TOKENS``, ``FinishReason.SAFETY``, ``end_turn``.
_WORDS = {
    REFUSED: "filter|safety|refus|prohibited|recitation|block|spii|sensitive|guardrail|moderat|policy|toxic",
    LENGTH: "length|max_|maxp|token_?limit|context_window|too_long|repetition|incomplete",
    BROKEN: "broken|error|abort|cancel|interrupt|insufficient|network|time_?out|malformed|overload|unavailable|fail"
    "|unload|user_?stopped",
    STOP: "stop|eos|^end|_end$|complete|^done$|finished|tool_calls|tool_use|function_call",
}
_ENDINGS = tuple((ending, re.compile(words)) for ending, words in _WORDS.items())


def read_finish_reason(reason: str | None) -> str | None:
    """Return how a completion ended: ``stop``, ``length``, ``refused``, ``broken``; None where that is not known.

    ``broken`` means that the server gave up in the middle.

    >>> [read_finish_reason(one) for one in ("end_turn", "FinishReason.MAX_TOKENS", "SAFETY", "aborted", "", None)]
    ['stop', 'length', 'refused', 'broken', None, None]
    """
    normalized = re.sub(r"[\W_]+", "_", (reason or "").rpartition(".")[2].lower())
    return next((ending for ending, words in _ENDINGS if words.search(normalized)), None)
