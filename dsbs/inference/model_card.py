"""The model card of a checkpoint: what the student is, its scores, and how to use it with and without dsbs."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsbs.core.files import write_text
from dsbs.core.terminal import visible
from dsbs.core.units import pluralize
from dsbs.data.overlap import describe_overlap
from dsbs.inference.checkpoint import load_remembered
from dsbs.inference.metrics import name_score, show_score
from dsbs.objectives import OBJECTIVES, Objective
from dsbs.objectives.taught import STUDENT, Taught
from dsbs.tasks.base import ACCURACY
from dsbs.tasks.tables.templates import unescape_newlines

_UNKNOWN_LICENCE = "not stated (`teacher.licence`): check its provider's terms before you distribute the student"
_LABELS = {"gold": "gold", "teacher": "the teacher's", "mixed": "gold where there is one, else the teacher's"}
_SEQ2SEQ = """\
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

folder = "."  # the folder of this file
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSeq2SeqLM.from_pretrained(folder)
inputs = tokenizer("{input}", truncation=True, max_length={max_input_tokens}, return_tensors="pt")
ids = model.generate(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask)
print(tokenizer.decode(ids[0], skip_special_tokens=True))
"""
_CAUSAL = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # the folder of this file
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
inputs = tokenizer("{input}", return_tensors="pt")
ids = model.generate(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask)
print(tokenizer.decode(ids[0, inputs.input_ids.shape[1] :], skip_special_tokens=True))
"""
_SKLEARN = """\
from skops.io import load  # it builds estimators of scikit-learn and nothing else

model = load("model.skops")
print(str(model.predict(["{input}"])[0]))
"""

_EMBEDDING = """\
import json

import torch
from skops.io import load  # it builds estimators of scikit-learn and nothing else
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("encoder")
encoder = AutoModel.from_pretrained("encoder").eval()
settings = json.load(open("encoder/embedding.json"))
inputs = tokenizer("{input}", truncation=True, max_length=settings["max_input_tokens"], return_tensors="pt")
with torch.no_grad():
    states = encoder(**inputs).last_hidden_state[0]
vector = states.mean(0) if settings["pooling"] == "mean" else states[0]
print(str(load("model.skops").predict([(vector / vector.norm()).tolist()])[0]))
"""

_CLASSIFIER = """\
from transformers import pipeline

classify = pipeline("text-classification", model=".", truncation=True, max_length={max_input_tokens})
print(classify("{input}")[0]["label"])
"""
_MULTIPLE_CHOICE = """\
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder, choices = ".", ["one choice", "another"]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder)
inputs = tokenizer(
    ["{input}"] * len(choices), choices, truncation="only_first", max_length={max_input_tokens}, padding=True,
    return_tensors="pt",
)
scores = model(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask).logits[:, 0]
print(choices[int(scores.argmax())])
"""


@dataclass(frozen=True)
class Usage:
    """How a kind of checkpoint is used without dsbs.

    Attributes:
        library: the hub's ``library_name``.
        pipeline: the hub's ``pipeline_tag``.
        code: a program to run in the checkpoint's folder, with ``{input}`` and ``{max_input_tokens}``.
        writes: whether it generates text, with task prefixes; else it returns a class.
    """

    library: str
    pipeline: str
    code: str
    writes: bool = False


# By `format`, and by what is in it where a format holds several kinds; a plugin may add its own.
USAGES: dict[str, Usage] = {
    "encoder-decoder": Usage("transformers", "text2text-generation", _SEQ2SEQ, writes=True),
    "decoder": Usage("transformers", "text-generation", _CAUSAL, writes=True),
    "classifier": Usage("transformers", "text-classification", _CLASSIFIER),
    "multiple-choice": Usage("transformers", "multiple-choice", _MULTIPLE_CHOICE),
    "embedding": Usage("sklearn", "text-classification", _EMBEDDING),
    "sklearn": Usage("sklearn", "text-classification", _SKLEARN),
}


def write_card(checkpoint: Path, manifest: Path, metrics: Mapping[str, Any]) -> None:
    """Write ``README.md`` into a checkpoint's folder."""
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    run = json.loads(manifest.read_text(encoding="utf-8"))
    remembered = load_remembered(checkpoint)
    usage = remembered.get("format", "transformers")
    if usage == "transformers":
        usage = "encoder-decoder" if config.get("is_encoder_decoder") else "decoder"
    elif usage == "classifier" and remembered["own_choices"]:
        usage = "multiple-choice"
    write_text(checkpoint / "README.md", build_card(remembered, run, metrics, usage))


def build_card(
    remembered: Mapping[str, Any], manifest: Mapping[str, Any], metrics: Mapping[str, Any], kind: str
) -> str:
    """Return the card as Markdown, with the hub's metadata at its head.

    Args:
        kind: a key of ``USAGES``; for others the card shows the use with dsbs alone.
    """
    usage = USAGES.get(kind)
    base = str(manifest["settings"]["student"].get("model") or "")
    head = [
        "---",
        *([f"library_name: {usage.library}", f"pipeline_tag: {usage.pipeline}"] if usage else []),
        *(
            [f"base_model: {_scalar(base)}"] if "/" in base else []
        ),  # a name on the hub; what lay elsewhere has a hash here
        "tags: [dsbs, distillation, rationales]",
        f"metrics: [{_scalar(metrics.get('metric', ACCURACY))}]",
        "---",
    ]
    title = f"# {words(metrics['task'])}: {words(metrics['student'])}, {words(metrics['objective'])}"
    about = (
        "A small model trained with dsbs, which distills large language models step by step "
        "([Hsieh et al., 2023](https://arxiv.org/abs/2305.02301))."
    )
    facts = _facts(remembered, manifest, metrics, base)
    table = ["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in facts.items())]
    parts = ["\n".join([*head, "", title]), about, "\n".join(table), *_use(remembered, kind)]
    return "\n\n".join(parts) + "\n"


def _facts(
    remembered: Mapping[str, Any], manifest: Mapping[str, Any], metrics: Mapping[str, Any], base: str
) -> dict[str, str]:
    objective = remembered["objective"]
    beside = manifest["settings"].get("objective", {}).get("teacher_model")  # of a local model a hash, not its path
    objective = objective | ({"teacher_model": beside} if objective.get("teacher_model") else {})
    settings = ", ".join(words(f"{key} {value}") for key, value in objective.items() if key not in ("kind", "name"))
    share = "all" if metrics["data_fraction"] == 1 else f"{metrics['data_fraction']:g}"
    facts = {
        "base model": code(base if "/" in base else str(metrics["student"])),
        "objective": f"{metrics['objective']} ({settings})",
        "data": f"{metrics['task']}: {metrics['train_examples']:,} examples, {share} of the train split, seed "
        f"{metrics['seed']}",
        "labels": _LABELS.get(metrics["labels"], "the teacher's"),
        "teacher": "none",
    }
    if metrics["teacher"]:
        model = manifest.get("model")
        accuracy = (manifest.get("teacher_accuracy") or {}).get("train")
        facts["teacher"] = words(metrics["teacher"]) + (f", model {words(model)}" if model else "")
        if accuracy is not None:
            gold = (manifest.get("teacher_gold_labels") or {}).get("train")
            measured = f"{pluralize(gold, 'example')} of train" if isinstance(gold, int) else "the train split"
            facts["teacher"] += f"; its labels on {measured} are {100 * accuracy:.1f}% correct"
        licence = manifest.get("licence")
        facts["license of the teacher's outputs"] = words(licence) if licence else _UNKNOWN_LICENCE
    if local := _local_teacher(remembered, str(beside)):
        facts["teacher"] = local if facts["teacher"] == "none" else f"{facts['teacher']}; and {local}"
    metric = metrics.get("metric", ACCURACY)
    for split in ("validation", "test"):
        part = metrics.get(split)
        if part is None:  # a search leaves the test split alone
            continue
        name = name_score(metric, part.get("against", "gold"))
        facts[f"{name}, {split}"] = (
            f"{show_score(metric, part[metric])} of {part['examples']:,} examples"
            if part["examples"]
            else "not known: there are no gold labels to test on"
        )
    if overlap := describe_overlap(metrics.get("overlap"), "train or validation"):
        facts["test split"] = overlap[0]
    if metrics.get("notes"):
        facts["notes"] = " ".join(metrics["notes"])
    facts["training"] = f"{metrics['steps']:,} steps, the best one {metrics['best_step']:,}"
    facts["dsbs"] = str(manifest["dsbs"])
    return facts


def _local_teacher(remembered: Mapping[str, Any], model: str) -> str | None:
    """Return which model taught beside the student, or ranked the answers; None: there was none.

    Args:
        model: its name on a hub, or a hash of its content.
    """
    objective = _objective(remembered)
    if not isinstance(objective, Taught) or not (objective.has_teacher or objective.asks_ranking):
        return None
    if objective.teacher_model == STUDENT:
        return "the student before training"
    return ("" if objective.teacher_model == model else "a local model with the hash ") + code(model)


def _objective(remembered: Mapping[str, Any]) -> Objective:
    build = OBJECTIVES.get(remembered["objective"]["kind"])
    return Objective() if build is None else build(**remembered["objective"])


def _use(remembered: Mapping[str, Any], kind: str) -> list[str]:
    """Return the part on how to use the student, without dsbs and with it."""
    usage = USAGES.get(kind)
    writes = usage is not None and usage.writes
    notes = _writing_notes(remembered, kind) if writes else []
    if usage is not None and not writes:
        notes.append("It predicts the most probable closed answer.")
    if remembered["input"]:
        notes.append(
            f"Inputs were formatted as {code(json.dumps(unescape_newlines(remembered['input']), ensure_ascii=False))}."
        )
    if remembered["choices"]:
        notes.append(f"The answers: {', '.join(map(code, remembered['choices']))}.")
    closed = remembered["choices"] or remembered["own_choices"]
    if writes and remembered["decoding"] != "generate" and closed:
        notes.append("The accuracy above is that of ranking the closed answers; a generated answer may differ.")
    use = "With dsbs: `python -m dsbs.predict checkpoint=FOLDER input=FILE`."
    program = [f"```python\n{_program(usage, kind, remembered)}```"] if usage else []
    return ["## Use", *program, " ".join(notes), use]


def _program(usage: Usage, kind: str, remembered: Mapping[str, Any]) -> str:
    """Return the program that uses the student without dsbs."""
    on_target, asked = remembered["prefix_on"] == "target", "Your input."
    if usage.writes:
        asked = asked if on_target else f"[label] {asked}"
        if kind == "decoder":
            asked += "[label]" if on_target else "[answer]"
    return usage.code.format(input=asked, max_input_tokens=remembered["max_input_tokens"])


def _writing_notes(remembered: Mapping[str, Any], kind: str) -> list[str]:
    objective = _objective(remembered)
    notes = [objective.output]
    if not objective.rationale_apart:
        return notes
    if kind == "encoder-decoder" and remembered["prefix_on"] == "target":
        return [
            *notes,
            "For the rationale pass `generate` the argument "
            '`decoder_start_token_id=tokenizer.convert_tokens_to_ids("[rationale]")`.',
        ]
    return [*notes, "For the rationale write `[rationale]` in place of `[label]`."]


def words(text: object) -> str:
    """Return untrusted text for Markdown, on one line, with markup, HTML and links escaped.

    >>> words("a [link](x) | <b>"), words("gpt_4")
    ('a \\\\[link\\\\](x) | \\\\<b\\\\>', 'gpt_4')
    """
    return re.sub(r"([\\`*\[\]<>!#~])", r"\\\1", visible(" ".join(str(text).split())))


def code(text: str) -> str:
    """Return untrusted text as inline code in Markdown, in more backticks than it contains.

    >>> code("yes"), code("a`b")
    ('`yes`', '`` a`b ``')
    """
    text = visible(" ".join(text.split()))
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"


def _scalar(text: str) -> str:
    """Return a text as a value in YAML."""
    return text if re.fullmatch(r"[A-Za-z][\w./-]*", text) else json.dumps(text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
