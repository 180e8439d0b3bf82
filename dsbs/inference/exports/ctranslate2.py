"""CTranslate2: encoder-decoder and decoder-only students on CPUs and GPUs, quantized; https://opennmt.net/CTranslate2."""

import json
import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np

from dsbs.core.errors import ConfigError, DataError, StudentError
from dsbs.core.records import Example, Prediction
from dsbs.core.untrusted import check_regular
from dsbs.inference.checkpoint import Remembered, load_remembered
from dsbs.inference.exports.base import (
    NEGLIGIBLE,
    ExportPredictor,
    Words,
    count_threads,
    load_words,
    name_tokens,
    read_export,
    write_config,
)
from dsbs.objectives.base import Objective
from dsbs.students.answering import DecodingConfig, choose
from dsbs.tasks.base import Task

logger = logging.getLogger(__name__)

QUANTIZATIONS = ("int8", "int8_float32", "float32", "bfloat16", "int8_bfloat16", "float16", "int8_float16")
DEFAULT = "int8"
DECODING = None  # as in the training
ENGINE = "engine"  # the folder of CTranslate2's own files
ROWS = 64  # prompts or targets of one pass


def convert(checkpoint: Path, folder: Path, quantization: str) -> dict[str, Any]:
    """Write a checkpoint as CTranslate2 reads it.

    Args:
        checkpoint: a finished student of transformers.
        folder: where to; empty.
        quantization: one of ``QUANTIZATIONS``.

    Returns:
        What the export needs to know: kind of network, start tokens, quantization.

    Raises:
        ConfigError: for a quantization that this machine or this student cannot use.
        StudentError: for an architecture that CTranslate2 does not know.
    """
    from ctranslate2.converters.transformers import _MODEL_LOADERS, TransformersConverter

    from dsbs.students.loading import load_student

    supported = ctranslate2.get_supported_compute_types("cuda" if ctranslate2.get_cuda_device_count() else "cpu")
    if quantization not in supported | {"int8"}:
        raise ConfigError(
            f"quantization={quantization}: this machine supports {', '.join(sorted(supported))}; CTranslate2 would "
            "silently fall back to another one."
        )
    student = load_student(checkpoint)
    kind = student.config.model_type
    if "float16" in quantization and kind in ("t5", "mt5"):
        raise ConfigError(f"quantization={quantization}: T5 overflows in float16. Choose int8 or float32.")
    if type(student.config).__name__ not in _MODEL_LOADERS:
        raise StudentError(f"format=ctranslate2: CTranslate2 does not convert {kind!r} students.")
    vocabulary = name_tokens(student.tokenizer.get_vocab(), len(student.embedding_tables()[1]))
    # The loaders take the names from here; one that appends names of its own may repeat one that exists.
    student.tokenizer.get_vocab = lambda: {token: id for id, token in enumerate(vocabulary)}

    class Loaded(TransformersConverter):
        """Converts the student that was loaded by our own rules instead of loading it again."""

        def load_model(self, *args: Any, **kwargs: Any) -> Any:
            return student.model

        def load_tokenizer(self, *args: Any, **kwargs: Any) -> Any:
            return student.tokenizer

    if not hasattr(student.config, "normalize_before"):  # the loaders of BART's family ask; transformers 5 dropped it
        student.config.normalize_before = kind in ("mbart", "pegasus")
    engine = folder / ENGINE
    Loaded(str(checkpoint)).convert(str(engine), quantization=None if quantization == "float32" else quantization)
    causal = not student.config.is_encoder_decoder
    end = student.encode_targets([""])[0][-1]
    path = engine / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for name in ("bos_token", "eos_token", "unk_token"):
        config[name] = config.get(name) or vocabulary[end]  # the engine wants a name where a tokenizer has none
    if not causal:
        # The start token is given with every request: `[label]` or `[rationale]`. The checkpoint's config.json still
        # names the pretrained one, and that is what the loader took.
        config["decoder_start_token"] = None
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")
    shutil.copy(checkpoint / "tokenizer.json", folder / "tokenizer.json")
    export = {
        "architecture": kind,
        "quantization": quantization,
        "causal": causal,
        "starts": {name: student.start_id(name) for name in ("label", "rationale")},
        "end": end,
        "vocabulary": vocabulary,
    }
    write_config(folder, load_remembered(checkpoint), "ctranslate2", export)
    return export


@dataclass
class CTranslate2Writer:
    """Ranks and writes with CTranslate2; a ``dsbs.students.answering.Writer``.

    Attributes:
        engine: a ``Translator`` of an encoder-decoder, or a ``Generator`` of a causal language model.
        words: the tokenizer.
        vocabulary: names of the tokens, by id.
    """

    engine: Any
    words: Words
    vocabulary: list[str]

    def __post_init__(self) -> None:
        self.ids = {token: id for id, token in enumerate(self.vocabulary)}
        self.undecided = 0.0  # a running share of inputs whose likeliest answer alone decides nothing

    def lost(self, examples: Sequence[Example], max_tokens: int) -> dict[str, int]:
        """Count what is not read of inputs; see ``dsbs.students.lost``."""
        return self.words.lost(examples, max_tokens)

    def write(self, examples: Sequence[Example], reading: DecodingConfig, kind: str = "label") -> list[str]:
        """Return what the student writes for each example, greedily, in their order."""
        return [text for [text] in self._generate(examples, reading, kind, 1, sampling_topk=1)]

    def sample(
        self, examples: Sequence[Example], reading: DecodingConfig, count: int, seed: int = 0
    ) -> list[list[str]]:
        """Return several answers for each example, drawn at temperature 1."""
        ctranslate2.set_random_seed(seed)
        return self._generate(examples, reading, "label", count, sampling_topk=0)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens targets have, their end included."""
        return self.words.lengths(texts)

    def _generate(
        self, examples: Sequence[Example], reading: DecodingConfig, kind: str, count: int, **how: int
    ) -> list[list[str]]:
        """Return so many texts for each example."""
        texts: dict[int, list[str]] = {}
        start = self.vocabulary[self.words.starts[kind]]
        for places, inputs in self._batches(examples, kind, reading):
            if self.words.causal:
                results = self.engine.generate_batch(
                    [[*row, start] for row in inputs],
                    max_length=reading.max_new_tokens,
                    min_length=0,
                    beam_size=1,
                    num_hypotheses=count,
                    include_prompt_in_result=False,
                    end_token=[self.words.end],
                    **how,
                )
                rows = [ids for result in results for ids in result.sequences_ids]
            else:
                results = self.engine.translate_batch(
                    inputs,
                    target_prefix=[[start]] * len(inputs),
                    max_decoding_length=reading.max_new_tokens,
                    min_decoding_length=0,
                    beam_size=1,
                    num_hypotheses=count,
                    max_input_length=0,
                    **how,
                )
                rows = [[self.ids[token] for token in one] for result in results for one in result.hypotheses]
            written = self.words.decode(rows)
            texts.update((place, written[number * count : (number + 1) * count]) for number, place in enumerate(places))
        return [texts[place] for place in range(len(examples))]

    def rank(
        self, examples: Sequence[Example], reading: DecodingConfig, negligible: float = NEGLIGIBLE
    ) -> list[Prediction]:
        """Score the closed answers of each example and return the best, as ``dsbs.students.decoding.rank`` does.

        The engine reads the input anew for every answer that it scores, so one pass first gives the log-probabilities
        of all first tokens: no answer is more probable than its first token. Answers are scored from the most probable
        on, until those left are together less probable than ``negligible`` times those that were scored; they keep
        that upper bound as their score. Where the pass has not paid lately, because answers are few and the student is
        unsure of them, all are scored at once. 0 scores all of them.
        """
        texts = sorted({choice for example in examples for choice in example.choices or ()})
        rows_of = dict(zip(texts, self.words.encode_targets([text + reading.suffix for text in texts]), strict=True))
        predictions: dict[int, Prediction] = {}
        for places, inputs in self._batches(examples, "label", reading):
            choices = [list(dict.fromkeys(examples[place].choices or ())) for place in places]
            if not negligible or self._all_at_once(max(map(len, choices))):
                bounds: list[dict[str, float]] = [dict.fromkeys(of, 0.0) for of in choices]
                negligible_here = 0.0
            else:
                negligible_here = negligible
                bounds = [
                    {choice: float(row[(rows_of[choice] or [self.words.end])[0]]) for choice in of}
                    for row, of in zip(self._first_tokens(inputs), choices, strict=True)
                ]
            scores = self._score_until(inputs, bounds, rows_of, bool(reading.suffix), negligible_here)
            for place, bound, found in zip(places, bounds, scores, strict=True):
                best = max(map(math.exp, found.values()))
                rest = math.fsum(map(math.exp, found.values())) - best
                self.undecided += 0.02 * ((rest > negligible * best) - self.undecided)
                predictions[place] = choose(
                    examples[place], {choice: found.get(choice, bound[choice]) for choice in bound}
                )
        return [predictions[place] for place in range(len(examples))]

    def _all_at_once(self, count: int) -> bool:
        """Tell whether scoring so many answers at once reads fewer inputs than looking at first tokens before."""
        return 2 + self.undecided * (count - 1) >= count

    def _score_until(
        self,
        inputs: list[list[str]],
        bounds: list[dict[str, float]],
        rows_of: dict[str, list[int]],
        open_end: bool,
        negligible: float,
    ) -> list[dict[str, float]]:
        """Score the answers of a batch of inputs, best bound first, as long as it matters."""
        scores: list[dict[str, float]] = [{} for _ in inputs]
        left = [sorted(bound, key=bound.__getitem__, reverse=True) for bound in bounds]
        while any(left):
            asked: list[tuple[int, str]] = []
            for number, waiting in enumerate(left):
                if not waiting:
                    continue
                known = math.fsum(math.exp(score) for score in scores[number].values())
                rest = math.fsum(math.exp(bounds[number][choice]) for choice in waiting)
                best = max(scores[number].values(), default=-math.inf)
                if scores[number] and bounds[number][waiting[0]] < best and rest <= negligible * known:
                    waiting.clear()
                    continue
                # The likeliest alone at first; then all that could still count.
                count = 1 if not scores[number] and negligible else len(waiting)
                asked += [(number, choice) for choice in waiting[:count]]
                del waiting[:count]
            if not asked:
                break
            found = self._score([(inputs[number], rows_of[choice]) for number, choice in asked], open_end)
            for (number, choice), score in zip(asked, found, strict=True):
                scores[number][choice] = score
        return scores

    def _score(self, pairs: list[tuple[list[str], list[int]]], open_end: bool) -> list[float]:
        """Return the log-probability in nats of each target behind its input, its end included unless it is open."""
        start, end = self.vocabulary[self.words.starts["label"]], self.vocabulary[self.words.end]
        targets = [[self.vocabulary[id] for id in ids] for _, ids in pairs]
        if self.words.causal:
            tails = [target if open_end else [*target, end] for target in targets]
            rows = [[*row, start, *tail] for (row, _), tail in zip(pairs, tails, strict=True)]
            results = self.engine.score_batch(rows, max_batch_size=ROWS, max_input_length=0)
            return [
                math.fsum(result.log_probs[len(result.log_probs) - len(tail) :])
                for result, tail in zip(results, tails, strict=True)
            ]
        results = self.engine.score_batch(
            [row for row, _ in pairs], [[start, *target] for target in targets], max_batch_size=ROWS, max_input_length=0
        )
        return [math.fsum(result.log_probs[:-1] if open_end else result.log_probs) for result in results]

    def _first_tokens(self, inputs: list[list[str]]) -> np.ndarray:
        """Return the log-probabilities of a label's first token behind each input [B, V]."""
        start = self.vocabulary[self.words.starts["label"]]
        if self.words.causal:
            results = self.engine.generate_batch(
                [[*row, start] for row in inputs],
                max_length=1,
                min_length=0,
                sampling_topk=1,
                include_prompt_in_result=False,
                return_logits_vocab=True,
            )
        else:
            results = self.engine.translate_batch(
                inputs,
                target_prefix=[[start]] * len(inputs),
                max_decoding_length=1,
                min_decoding_length=0,
                beam_size=1,
                max_input_length=0,
                return_logits_vocab=True,
            )
        logits = np.stack([np.asarray(result.logits[0][0], dtype=np.float64) for result in results])
        peak = logits.max(axis=1, keepdims=True)
        return logits - peak - np.log(np.exp(logits - peak).sum(axis=1, keepdims=True))

    def _batches(
        self, examples: Sequence[Example], kind: str, reading: DecodingConfig
    ) -> Iterator[tuple[list[int], list[list[str]]]]:
        """Yield places and tokens of inputs, in batches of about equal length, the longest first."""
        rows = self.words.encode_inputs([example.input for example in examples], kind, reading.max_input_tokens)
        order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
        for start in range(0, len(order), reading.batch_size):
            places = order[start : start + reading.batch_size]
            yield places, [[self.vocabulary[id] for id in rows[place]] for place in places]


class CTranslate2Predictor(ExportPredictor):
    """A student in CTranslate2."""

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        remembered: Remembered,
        task: Task,
        objective: Objective,
        batch_size: int,
        decoding: str | None,
    ) -> "CTranslate2Predictor":
        """Load an export; see ``dsbs.inference.predictor.load_predictor``.

        Raises:
            DataError: where files are missing or broken.
        """
        export = read_export(checkpoint, ("quantization", "causal", "starts", "end", "vocabulary"))
        words = load_words(checkpoint, export, remembered.prefix_on)
        vocabulary = words.check(export["vocabulary"], checkpoint)
        check_regular(checkpoint / ENGINE)
        device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
        supported = ctranslate2.get_supported_compute_types(device)
        quantization = str(export["quantization"])
        if quantization not in supported | {"int8"}:
            logger.warning(
                "This export is %s, which this machine does not support; using float32 instead (supported: %s).",
                quantization,
                ", ".join(sorted(supported)),
            )
        build = ctranslate2.Generator if words.causal else ctranslate2.Translator
        try:
            engine = build(str(checkpoint / ENGINE), device=device, inter_threads=1, intra_threads=count_threads())
        except (RuntimeError, ValueError) as error:
            raise DataError(
                f"{checkpoint / ENGINE}: CTranslate2 cannot read it ({str(error).splitlines()[0]})."
            ) from None
        reading = DecodingConfig(
            decoding or remembered.decoding, batch_size, remembered.max_input_tokens, remembered.max_new_tokens
        )
        writer = CTranslate2Writer(engine, words, vocabulary)
        return cls(writer, task, objective, reading)  # type: ignore[arg-type]


_USAGE = """\
```python
import ctranslate2
from tokenizers import Tokenizer

folder = "."  # the folder of this file
tokenizer = Tokenizer.from_file(f"{{folder}}/tokenizer.json")
{body}
print(tokenizer.decode(ids))
```
"""
_TRANSLATOR = """\
translator = ctranslate2.Translator(f"{{folder}}/engine")
inputs = tokenizer.encode("{input}").tokens
answer = translator.translate_batch([inputs], target_prefix=[[{start}]], beam_size=1)[0].hypotheses[0]
ids = [tokenizer.token_to_id(token) for token in answer]"""
_GENERATOR = """\
generator = ctranslate2.Generator(f"{{folder}}/engine")
inputs = [*tokenizer.encode("{input}").tokens, {start}]
ids = generator.generate_batch([inputs], include_prompt_in_result=False, max_length=64)[0].sequences_ids[0]"""


def usage(checkpoint: Path, export: dict[str, Any]) -> str:
    """Return how the export is used without dsbs, for its card."""
    prefix = "[label] " if load_remembered(checkpoint)["prefix_on"] == "input" else ""
    body = _GENERATOR if export["causal"] else _TRANSLATOR
    start = json.dumps(export["vocabulary"][export["starts"]["label"]])  # a token of somebody else, within code
    return _USAGE.format(body=body.format(input=f"{prefix}Your text", start=start))
