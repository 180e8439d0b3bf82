"""The content of ``summary.json``, and advice where it says that few annotations are usable."""

import re
from collections import Counter
from collections.abc import Collection
from typing import Any

from dsbs.core.records import NO_RATIONALE, OK
from dsbs.core.untrusted import excerpt
from dsbs.data.overlap import count_overlap
from dsbs.extraction.annotating import SplitCount
from dsbs.extraction.annotations import load_summary
from dsbs.extraction.executors.base import RequestStats
from dsbs.extraction.job import Job
from dsbs.extraction.survey import Survey
from dsbs.tasks.base import Task

# As many questions do not have the same samples by chance.
FEWEST_ALIKE = 5
FEW = 0.6  # share of usable annotations below which advice is given
_EXEMPLARS = "Worked examples help most: prompt.exemplars (conf/prompt/table.yaml shows how)"
ADVICE = {
    "no_cue": f"The answer is not marked as asked. {_EXEMPLARS}; prompt.cue sets the words that mark it. Where "
    "answers are whole texts (task.answer_kind=text), prompt=whole takes the completion as it is.",
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


def _count_overlap(job: Job) -> dict[str, Any] | None:
    """Return how many test inputs of the source occur in its train split, if both were asked about."""
    if not {"train", "test"} <= set(job.splits):
        return None
    test, train = job.task.examples("test"), job.task.examples("train")
    return count_overlap((example.input for example in test), (example.input for example in train)).figures()


def summarise(
    job: Job, survey: Survey, stats: RequestStats, counts: dict[str, SplitCount], stopped: str | None, seconds: float
) -> dict[str, Any]:
    """Return the content of ``summary.json``; splits that were extracted earlier, and not now, keep their figures.

    Most figures are about all completions of the folder, as the annotations are; ``requests`` (made), ``cached`` (found
    in the store), ``notes`` and ``seconds`` are about this run.
    """
    earlier = load_summary(job.folder) or {}
    splits: dict[str, Any] = {
        split: part | {"requests": 0, "cached": 0} for split, part in earlier.get("splits", {}).items()
    }
    for split, count in counts.items():
        splits[split] = _summarise_split(job, count, stats.by_split[split], survey.cached_of(split))
    return {
        "task": job.task.name,
        "teacher": job.teacher.name,
        "model": job.identity["teacher"].get("model"),
        "stand_in": job.teacher.stand_in,
        "prompt": job.prompt.name,
        "take": dict(vars(job.prompt.take)),
        "filter": job.filter.title,
        "samples": job.settings.samples,
        "extraction": job.base or job.folder.name,
        "splits": splits,
        "stopped": stopped,
        "notes": [*stats.notes, *_note_uncounted(job, counts), *_note_models(job, counts), *_note_alike(counts)],
        "data": job.task.data_counts(),
        "overlap": _count_overlap(job),
        "seconds": round(seconds, 3),
    }


def _note_uncounted(job: Job, counts: dict[str, SplitCount]) -> list[str]:
    """Return a sentence where the cost is unknown because the endpoint returned no token counts."""
    uncounted, rates = sum(count.spent.uncounted for count in counts.values()), job.teacher.rates()
    if not uncounted or not rates or not any(rates):
        return []
    return [f"The endpoint returned no token counts with {uncounted:,} answers, so their cost is unknown."]


def _note_models(job: Job, counts: dict[str, SplitCount]) -> list[str]:
    """Return a sentence where an endpoint answered with several models, or with another one than was asked for."""
    if job.teacher.by_id:  # recorded answers may be of any
        return []
    models = sum((count.models for count in counts.values()), Counter[str]())
    asked = job.identity["teacher"].get("model")
    if len(models) > 1:
        shown = ", ".join(f"{excerpt(name, 60)} ({number:,})" for name, number in models.most_common(5))
        return [f"The answers come from {len(models)} models, as the endpoint names them: {shown}. If a gateway falls "
                "back to others, or the name has moved on to a newer one, teacher.model=VERSION pins one."]  # fmt: skip
    if models and isinstance(asked, str) and not _names_same(asked, *models):
        return [f"The endpoint says that {excerpt(next(iter(models)), 60)} answered (teacher.model={asked})."]
    return []


def _names_same(asked: str, answered: str) -> bool:
    """Return whether two names of a model differ at most in version, provider and spelling.

    >>> _names_same("claude-x-latest", "Claude-X-20261101"), _names_same("a/m-1", "m-1-2026"), _names_same("m", "q")
    (True, True, False)
    """
    names = (name.rpartition("/")[2].removesuffix("latest").lower() for name in (asked, answered))
    plain = [re.sub(r"[\W_]", "", name) for name in names]
    return plain[0] in plain[1] or plain[1] in plain[0]


def _note_alike(counts: dict[str, SplitCount]) -> list[str]:
    """Return a sentence where all samples of every question are the same text."""
    sampled = sum(count.sampled for count in counts.values())
    if sampled < FEWEST_ALIKE or sampled > sum(count.alike for count in counts.values()):
        return []
    return [f"All samples of a question are word for word the same ({sampled:,} questions): the endpoint ignores the "
            "temperature, or a cache answers. Agreement and votes mean nothing then."]  # fmt: skip


def _summarise_split(job: Job, count: SplitCount, requests: int, cached: int) -> dict[str, Any]:
    """Return the entry of a split in ``summary.json``, with the requests made and found in the store by this run."""
    rates, batch_rates = job.teacher.rates(), job.teacher.batch_rates()[0]
    entry: dict[str, Any] = {
        "examples": count.examples,
        "parsed": count.parsed,
        "failed": count.examples - count.parsed,
        "teacher_accuracy": None if job.teacher.repeats_gold else count.accuracy,
        "gold_labels": count.gold,
        "requests": requests,
        "cached": cached,
        "completions": count.spent.all.completions,
        "prompt_tokens": count.spent.all.prompt_tokens,
        "completion_tokens": count.spent.all.completion_tokens,
        "cost_usd": count.cost(rates, batch_rates),
        "statuses": dict(count.statuses.most_common()),
    }
    if count.weighed or (job.teacher.gives_logprobs and not job.teacher.by_id):
        entry["with_logprobs"] = count.weighed
    if job.prompt.systems:
        entry["systems"] = [
            {"system": text, "examples": one.examples, "parsed": one.parsed, "teacher_accuracy": one.accuracy}
            for text in job.prompt.systems
            if (one := count.systems.get(text))
        ]
    return entry


def describe_unlabelled(task: Task, labels: str) -> list[str]:
    """Return what training makes of the rows of train without a gold label; empty where there are none.

    Args:
        labels: that the extraction is for: ``gold``, ``teacher`` or ``mixed``.
    """
    counts = Counter(task.data_counts().get("train", {}))
    left = counts["rows"] - counts["left_out"] - counts["without_input"]
    if labels != "gold" or not (without := counts["without_label"] - counts["left_out"]):
        return []
    if without < left:
        return [
            "dsbs train uses rows without a label only with labels=mixed (gold labels where there are some, else the "
            "teacher's) or labels=teacher; task.unlabelled=drop leaves them out."
        ]
    return [
        "No row of train has a gold label: dsbs train needs labels=teacher, or the name of their column (task.label)."
    ]


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
            advice = (
                "These are recorded completions, so another prompt would not change them."
                if replayed
                else ADVICE[status]
            )
            lines.append(f"{split}: {used:,} of {examples:,} are usable, {count:,} have the status {status}. {advice}")
    return lines
