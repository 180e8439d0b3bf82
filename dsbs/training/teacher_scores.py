"""A local teacher, with any tokenizer, scores the closed answers of all training examples before the training."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dsbs.core.distributed import gather, is_main
from dsbs.core.errors import RunError
from dsbs.core.files import atomic_path
from dsbs.core.fingerprint import fingerprint, fingerprint_stream
from dsbs.core.progress import Meter
from dsbs.core.records import Example
from dsbs.data.join import RunData
from dsbs.inference.checkpoint import Remembered, Saved, load_remembered
from dsbs.inference.predictor import Predictor, load_predictor
from dsbs.inference.torch_predictor import TorchPredictor
from dsbs.objectives import OBJECTIVES, Finetune
from dsbs.objectives.taught import Taught
from dsbs.objectives.teacher import is_ours, load_teacher
from dsbs.students.answering import DecodingConfig
from dsbs.students.base import find_model_folder
from dsbs.students.decoding import best_device
from dsbs.students.plain import PlainDecoderOnly
from dsbs.training.recipe import Recipe

CHUNK = 1000  # examples between two lines of progress
LEAST_REST = 1e-6  # share of an answer's probability that stays beside longer answers that begin with it
SCHEMA = pa.schema([("id", pa.string()), ("scores", pa.map_(pa.string(), pa.float64()))])


def score_with_teacher(recipe: Recipe, data: RunData, folder: Path) -> None:
    """Let the objective's teacher score the closed answers of the training examples, where the objective wants that.

    The log-probabilities, in nats, are cached in ``folder`` for runs with other seeds, students and settings.

    Raises:
        RunError: the teacher's run is broken, or it gives no probabilities of answers.
        StudentError: the teacher cannot be loaded.
    """
    objective = recipe.objective
    if not (isinstance(objective, Taught) and objective.asks_ranking):
        return
    said = ([example.id, example.input, example.choices] for example, _ in data.train)
    who = {key: value for key, value in objective.identity().items() if key.startswith("teacher_")}
    # Files of earlier versions may hold upper bounds ("full"), or the beginnings of longer answers ("exact").
    exact = [] if is_ours(str(objective.teacher_model)) else ["exact"]
    key = [who, fingerprint_stream(said), "full", *exact]
    path = folder / f"ranked-{fingerprint(key, length=16)}.parquet"
    known, *_ = gather([path.exists()])  # by the main process, which writes
    if not known:
        rows = _rank(recipe, objective, data)  # processes share the examples
        if is_main():
            folder.mkdir(parents=True, exist_ok=True)
            _write(path, rows)
        else:
            list(rows)
        gather([None])  # the others wait for the file
    objective.take_ranking(
        {row["id"]: row["scores"] for row in pq.read_table(path).to_pylist(maps_as_pydicts="strict")}
    )


def _rank(recipe: Recipe, objective: Taught, data: RunData) -> Iterator[tuple[str, Mapping[str, float]]]:
    named = objective.teacher_model
    assert named is not None
    teacher, tokenizer, gap = _load(recipe, objective, named)
    examples = (example for example, _ in data.train)
    with Meter("ranking by the teacher", len(data.train)) as meter:
        while part := list(islice(examples, CHUNK)):
            worded = [word_example(objective, example, tokenizer, gap) for example in part]
            for example, asked, found in zip(part, worded, teacher.predict(worded), strict=True):
                if found.scores is None:
                    raise RunError(
                        f"objective.teacher_model={named}: this teacher gives no probabilities of the closed answers. "
                        "Choose a run whose objective ranks them, such as finetune, or a model from a hub."
                    )
                yield example.id, restore_choices(example, asked, exact_scores(teacher, found.scores))
            meter.update(meter.done + len(part))


def _load(recipe: Recipe, objective: Taught, named: str) -> tuple[Predictor, object, bool]:
    """Return the teacher, its tokenizer, and whether answers follow its prompt after a space."""
    if is_ours(named):
        checkpoint = find_model_folder(named)
        try:
            values = load_remembered(checkpoint)
            remembered = Remembered(**values)
            kind = OBJECTIVES[values["objective"]["kind"]](**values["objective"])
        except (KeyError, TypeError) as error:
            raise RunError(f"objective.teacher_model={named}: {checkpoint}/config.json: {error}") from error
        teacher = load_predictor(Saved(checkpoint, remembered, recipe.task, kind, decoding="rank"))
        return teacher, getattr(getattr(teacher, "student", None), "tokenizer", None), False
    model = load_teacher(named, objective.teacher_revision).to(best_device()).eval()
    reading = DecodingConfig("rank", max_input_tokens=objective.teacher_max_input_tokens, bf16=objective.teacher_bf16)
    teacher = TorchPredictor(model, recipe.task, Finetune(name="finetune"), reading)
    return teacher, model.tokenizer, isinstance(model, PlainDecoderOnly)


def word_example(objective: Taught, example: Example, tokenizer: object, gap: bool) -> Example:
    """Return an example in the teacher's wording.

    Args:
        gap: whether answers begin with a space where the prompt does not end with one.
    """
    text = objective.word(example.input, tokenizer)
    choices = example.choices or ()
    if gap and not text[-1:].isspace():
        choices = tuple(f" {choice}" for choice in choices)
    return replace(example, input=text, choices=choices)


def restore_choices(example: Example, asked: Example, scores: Mapping[str, float]) -> dict[str, float]:
    """Return answer of ``example`` -> score, from the scores of the answers as ``asked`` words them."""
    names = dict(zip(asked.choices or (), example.choices or (), strict=True))
    return {names[choice]: score for choice, score in scores.items()}


def exact_scores(predictor: Predictor, scores: Mapping[str, float]) -> Mapping[str, float]:
    """Return the log-probabilities of answers and no more, from those of their tokens.

    A causal model of a hub does not end its answers, so ``1`` is at least as probable as ``10``, which begins with it;
    the probability of the longer answers is no part of its own.
    """
    student = getattr(predictor, "student", None)
    if not isinstance(student, PlainDecoderOnly):
        return scores
    rows = dict(zip(scores, map(tuple, student.encode_targets(list(scores))), strict=True))
    known = {row: scores[answer] for answer, row in rows.items()}
    longer: dict[tuple[int, ...], float] = dict.fromkeys(known, 0.0)  # probability of what begins with a row
    for row, score in known.items():
        if begins := [row[:size] for size in range(1, len(row)) if row[:size] in known]:
            longer[begins[-1]] += math.exp(score - known[begins[-1]])
    return {answer: scores[answer] + math.log(max(1 - longer[row], LEAST_REST)) for answer, row in rows.items()}


def _write(path: Path, rows: Iterator[tuple[str, Mapping[str, float]]]) -> None:
    """Write the file by rename: it is complete or not there."""
    with atomic_path(path) as partial, pq.ParquetWriter(partial, SCHEMA) as writer:
        while part := list(islice(rows, CHUNK)):
            ids, scores = zip(*part, strict=True)
            writer.write_batch(pa.record_batch([list(ids), list(scores)], schema=SCHEMA))
