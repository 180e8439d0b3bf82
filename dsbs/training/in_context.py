"""Measure context distillation: the base model without and with the prompt, and the distilled student without it.

The base is the student before its training, without task prefixes. The perplexity of other texts, before and after,
shows what the training made it forget.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsbs.core.errors import DataError
from dsbs.core.files import write_json
from dsbs.core.fingerprint import fingerprint, fingerprint_files
from dsbs.core.records import Example, Prediction
from dsbs.core.untrusted import read_file, read_json_file
from dsbs.inference.metrics import score
from dsbs.inference.perplexity import measure_perplexity
from dsbs.objectives.taught import PLACE, STUDENT, Taught
from dsbs.training.recipe import Recipe

if TYPE_CHECKING:
    from dsbs.students.model import StudentModel
    from dsbs.training.plan import Plan

MAX_TEXTS = 1000
MAX_BYTES = 64 * 2**20


def measure_in_context(
    plan: "Plan", metrics: Mapping[str, Any], other: str | None, folder: Path
) -> list[dict[str, Any]]:
    """Return ``student``, ``seed``, ``who``, ``metric``, ``score`` on test and ``other_perplexity`` of all three.

    Results are cached in ``folder``.

    Args:
        other: file of other texts, one per line, or None.

    Raises:
        DsbsError: texts or weights cannot be read.
    """
    texts = load_texts(other) if other else []
    trained = [plan.run.folder.name, metrics.get("seconds")]  # a deleted run that was trained again has its old name
    key = fingerprint([*trained, fingerprint_files([Path(other)]) if other else None])
    path = folder / "in_context" / f"{key}.json"
    if path.exists():
        found: list[dict[str, Any]] = read_json_file(path)
        return found
    rows = _measure(plan, metrics, texts)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, rows)
    return rows


def _measure(plan: "Plan", metrics: Mapping[str, Any], texts: Sequence[Example]) -> list[dict[str, Any]]:
    from dsbs.students.loading import load_student
    from dsbs.students.plain import copy_plain
    from dsbs.training.backends.huggingface import decoding_of, torch_student_of

    recipe, test = plan.recipe, plan.data.test
    objective, reading = recipe.objective, decoding_of(recipe)
    assert isinstance(objective, Taught)
    base = copy_plain(torch_student_of(recipe).prepare(recipe.texts(), objective.prefix_on, recipe.seed, None)).eval()
    header = {"student": recipe.student.name, "seed": recipe.seed, "metric": recipe.task.metric}

    def row(who: str, value: float | None, model: "StudentModel | None") -> dict[str, Any]:
        decodes = model is not None and not model.config.is_encoder_decoder
        found = measure_perplexity(model, texts, reading) if model is not None and decodes and texts else None
        return {**header, "who": who, "score": value, "other_perplexity": found.value if found else None}

    bare = predict_plainly(recipe, base, test, replace(objective, teacher_input=PLACE, teacher_chat=False))
    rows = [row("base", score(recipe.task, bare).value, base)]
    own = objective.teacher_model == STUDENT
    teacher = base if own else _load_teacher(objective)
    prompted = predict_plainly(recipe, teacher, test, objective)
    rows.append(row("base in context" if own else "teacher in context", score(recipe.task, prompted).value, None))
    distilled = copy_plain(load_student(plan.run.checkpoint)).eval()
    rows.append(row("distilled", metrics["test"].get(recipe.task.metric), distilled))
    return rows


def _load_teacher(objective: Taught) -> "StudentModel":
    from dsbs.objectives.teacher import load_teacher

    assert objective.teacher_model is not None
    return load_teacher(objective.teacher_model, objective.teacher_revision).eval()


def predict_plainly(
    recipe: Recipe, model: "StudentModel", examples: Sequence[Example], wording: Taught
) -> list[Prediction]:
    """Return the answers of a model without task prefixes to examples in an objective's wording.

    Args:
        wording: has the prompt, length limit and chat template, as for its teacher.
    """
    from dsbs.inference.torch_predictor import TorchPredictor
    from dsbs.objectives import Finetune
    from dsbs.students.decoding import best_device
    from dsbs.students.plain import PlainDecoderOnly
    from dsbs.training.backends.huggingface import decoding_of
    from dsbs.training.teacher_scores import exact_scores, restore_choices, word_example

    reading = replace(decoding_of(recipe), max_input_tokens=wording.teacher_max_input_tokens)
    predictor = TorchPredictor(model.to(best_device()), recipe.task, Finetune(name="finetune"), reading)
    gap = isinstance(model, PlainDecoderOnly)
    asked = [word_example(wording, example, model.tokenizer, gap) for example in examples]
    return [
        Prediction.ranked(
            example.id, example.label, restore_choices(example, one, exact_scores(predictor, found.scores))
        )
        if found.scores
        else found
        for example, one, found in zip(examples, asked, predictor.predict(asked), strict=True)
    ]


def load_texts(path: str) -> list[Example]:
    """Return the first ``MAX_TEXTS`` lines of a file as gold answers of empty inputs.

    Raises:
        DataError: the file has no text, or cannot be read.
    """
    lines = read_file(Path(path), MAX_BYTES).decode(errors="replace").splitlines()
    texts = [line.strip() for line in lines if line.strip()][:MAX_TEXTS]
    if not texts:
        raise DataError(f"other={path}: expected texts, one per line; the file is empty.")
    return [Example(str(number), "", text) for number, text in enumerate(texts)]
