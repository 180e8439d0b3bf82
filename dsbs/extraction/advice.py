"""Advice where few annotations are usable: the most frequent reason, and what to type."""

from collections import Counter
from collections.abc import Collection
from typing import Any

from dsbs.core.records import NO_RATIONALE, OK

FEW = 0.6  # share of usable annotations below which advice is given
_EXEMPLARS = "Worked examples help most: prompt.exemplars (conf/prompt/table.yaml shows how)"
ADVICE = {
    "no_cue": f"The answer is not marked as asked. {_EXEMPLARS}; prompt.cue sets the words that mark it.",
    "no_answer": f"Nothing follows the words that mark the answer. {_EXEMPLARS}.",
    "unknown_label": f"The answers are not labels of the task. {_EXEMPLARS}; task.synonyms maps other words to labels.",
    NO_RATIONALE: f"The teacher answers without a rationale. {_EXEMPLARS}; prompt.instruction can ask for one.",
    "cut_off": "The completion was cut off before its answer: raise teacher.max_tokens.",
    "empty": "The completions are empty: check the model and its chat template, or raise teacher.max_tokens.",
    "only_thinking": "The server returned thinking without an answer after it: raise teacher.max_tokens, or turn the "
    "thinking off ('+teacher.extra.reasoning_effort=none'; vLLM, SGLang and llama.cpp: "
    "'+teacher.extra.chat_template_kwargs={enable_thinking: false}'). If it holds the whole answer, the server's "
    "reasoning parser took it for thinking: start the server without that parser.",
}


def advise(summary: dict[str, Any], splits: Collection[str], replayed: bool = False) -> list[str]:
    """Return a line of advice for each split of which few annotations are usable.

    Args:
        replayed: whether the completions come from files, which no other prompt would change.

    >>> advise({"splits": {"train": {"examples": 20, "statuses": {"ok": 3, "no_cue": 17}}}}, ["train"])[0][:44]
    'train: 3 of 20 are usable, 17 have the statu'
    """
    lines = []
    for split in splits:
        part = summary["splits"].get(split, {})
        statuses = Counter(part.get("statuses", {}))
        used, examples = statuses.pop(OK, 0), part.get("examples", 0)
        if not examples or used >= FEW * examples or not statuses:
            continue
        status, count = statuses.most_common(1)[0]
        if status in ADVICE:
            told = (
                "These are recorded completions, so another prompt would not change them."
                if replayed
                else ADVICE[status]
            )
            lines.append(f"{split}: {used:,} of {examples:,} are usable, {count:,} have the status {status}. {told}")
    return lines
