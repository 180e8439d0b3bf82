"""Answers out of CTranslate2: ranked, generated, sampled."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ctranslate2
import numpy as np
from scipy.special import log_softmax

from dsbs.core.records import Example, Prediction
from dsbs.inference.exports.base import ExportWriter
from dsbs.students.answering import DecodingConfig, choose

ROWS = 64  # prompts or targets of one pass


@dataclass
class CTranslate2Writer(ExportWriter):
    """Ranks and writes with CTranslate2; a ``dsbs.students.answering.Writer``.

    Its engine is a ``Translator`` of an encoder-decoder, or a ``Generator`` of a causal language model.

    Attributes:
        vocabulary: names of the tokens, by id.
    """

    vocabulary: list[str]

    def __post_init__(self) -> None:
        self.ids = {token: id for id, token in enumerate(self.vocabulary)}
        self.undecided = 0.0  # a running share of inputs whose likeliest answer alone decides nothing

    def write(self, examples: Sequence[Example], reading: DecodingConfig, kind: str = "label") -> list[str]:
        """Return what the student writes for each example, greedily, in their order."""
        return [text for [text] in self._generate(examples, reading, kind, 1, sampling_topk=1)]

    def sample(
        self, examples: Sequence[Example], reading: DecodingConfig, count: int, seed: int = 0
    ) -> list[list[str]]:
        """Return several answers for each example, drawn at temperature 1."""
        ctranslate2.set_random_seed(seed)
        return self._generate(examples, reading, "label", count, sampling_topk=0)

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

    def rank(self, examples: Sequence[Example], reading: DecodingConfig) -> list[Prediction]:
        """Score the closed answers of each example and return the best, as ``dsbs.students.decoding.rank`` does.

        The engine reads the input anew for every answer that it scores, so one pass first gives the log-probabilities
        of all first tokens: no answer is more probable than its first token. Answers are scored from the most probable
        on, until those left are together less probable than ``reading.negligible`` times those that were scored; they
        keep that upper bound as their score. Where the pass has not paid lately, because answers are few and the
        student is unsure of them, all are scored at once. 0 scores all of them.
        """
        texts = sorted({choice for example in examples for choice in example.choices or ()})
        rows_of = dict(zip(texts, self.words.encode_targets([text + reading.suffix for text in texts]), strict=True))
        predictions: dict[int, Prediction] = {}
        for places, inputs in self._batches(examples, "label", reading):
            choices = [list(dict.fromkeys(examples[place].choices or ())) for place in places]
            negligible = reading.negligible
            if not negligible or self._all_at_once(max(map(len, choices))):
                bounds: list[dict[str, float]] = [dict.fromkeys(of, 0.0) for of in choices]
                negligible = 0.0
            else:
                bounds = [
                    {choice: float(row[(rows_of[choice] or [self.words.end])[0]]) for choice in of}
                    for row, of in zip(self._first_tokens(inputs), choices, strict=True)
                ]
            scores = self._score_until(inputs, bounds, rows_of, bool(reading.suffix), negligible)
            for place, bound, found in zip(places, bounds, scores, strict=True):
                best = max(map(math.exp, found.values()))
                rest = math.fsum(map(math.exp, found.values())) - best
                self.undecided += 0.02 * ((rest > reading.negligible * best) - self.undecided)
                predictions[place] = choose(
                    examples[place], {choice: found.get(choice, bound[choice]) for choice in bound}
                )
        return [predictions[place] for place in range(len(examples))]

    def _all_at_once(self, count: int) -> bool:
        """Return whether scoring so many answers at once reads fewer inputs than looking at first tokens before."""
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
        return np.asarray(log_softmax(logits, axis=1))

    def _batches(
        self, examples: Sequence[Example], kind: str, reading: DecodingConfig
    ) -> Iterator[tuple[list[int], list[list[str]]]]:
        """Yield places and tokens of inputs, in batches of about equal length, the longest first."""
        rows = self.words.encode_inputs([example.input for example in examples], kind, reading.max_input_tokens)
        order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
        for start in range(0, len(order), reading.batch_size):
            places = order[start : start + reading.batch_size]
            yield places, [[self.vocabulary[id] for id in rows[place]] for place in places]
