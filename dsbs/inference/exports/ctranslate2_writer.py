"""Ranking, generation and sampling with CTranslate2."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ctranslate2
import numpy as np

from dsbs.core.records import Example, Prediction
from dsbs.inference.exports.base import ExportWriter
from dsbs.students.answering import DecodingConfig, choose

ROWS = {"cpu": 16, "cuda": 256}  # prompts or targets of one pass, by device
LOGITS = 2**24  # numbers that are kept of one pass


@dataclass
class CTranslate2Writer(ExportWriter):
    """A ``dsbs.students.answering.Writer`` on CTranslate2.

    Its engine is a ``Translator`` of an encoder-decoder, or a ``Generator`` of a causal language model.

    Attributes:
        vocabulary: names of the tokens, by id.
    """

    vocabulary: list[str]

    def __post_init__(self) -> None:
        self.ids = {token: id for id, token in enumerate(self.vocabulary)}
        self.undecided = 0.0  # running mean: share of inputs that writing one answer leaves undecided
        self.rows = ROWS[self.engine.device]

    def write(self, examples: Sequence[Example], reading: DecodingConfig, kind: str = "label") -> list[str]:
        """Return the text generated for each example; see ``dsbs.students.answering.Writer``."""
        return [text for [text] in self._generate(examples, reading, kind, 1, sampling_topk=1)]

    def sample(
        self, examples: Sequence[Example], reading: DecodingConfig, count: int, seed: int = 0
    ) -> list[list[str]]:
        """Return ``count`` answers for each example, sampled at temperature 1."""
        ctranslate2.set_random_seed(seed)
        return self._generate(examples, reading, "label", count, sampling_topk=0)

    def _generate(
        self, examples: Sequence[Example], reading: DecodingConfig, kind: str, count: int, **how: int
    ) -> list[list[str]]:
        """Return so many texts for each example."""
        texts: dict[int, list[str]] = {}
        for positions, inputs in self._batches(examples, kind, reading):
            found = self._decode(inputs, kind, reading.max_new_tokens, num_hypotheses=count, **how)
            written = self.tokenizer.decode([row for rows, _ in found for row in rows])
            texts.update(
                (position, written[number * count : (number + 1) * count]) for number, position in enumerate(positions)
            )
        return [texts[position] for position in range(len(examples))]

    def rank(self, examples: Sequence[Example], reading: DecodingConfig) -> list[Prediction]:
        """Return the best closed answer of each example, with the scores of all; see ``dsbs.students.decoding.rank``.

        The engine reads the input again for every answer that it scores. So the student first writes an answer of its
        own: this scores what was written, and bounds the others by the beginnings that they share with it. Others are
        scored from the most probable on, until the rest is together less probable than ``reading.negligible`` times the
        scored ones, and keeps its bounds as scores. Where that pass has not paid off lately (few answers, an unsure
        student), or with ``negligible`` 0, all are scored at once.
        """
        texts = sorted({choice for example in examples for choice in example.choices or ()})
        rows = self.tokenizer.encode_targets([text + reading.suffix for text in texts])
        rows_of = dict(zip(texts, rows, strict=True))
        end = [] if reading.suffix else [self.tokenizer.end]
        predictions: dict[int, Prediction] = {}
        for positions, inputs in self._batches(examples, "label", reading):
            choices = [list(dict.fromkeys(examples[position].choices or ())) for position in positions]
            negligible = reading.negligible
            if not negligible or self._all_at_once(max(map(len, choices))):
                bounds: list[dict[str, float]] = [dict.fromkeys(of, 0.0) for of in choices]
                known: list[dict[str, float]] = [{} for _ in positions]
                negligible = 0.0
            else:
                paths = [{choice: [*rows_of[choice], *end] for choice in of} for of in choices]
                bounds, known = self._write_and_bound(inputs, paths)
            scores = self._score_until(inputs, bounds, known, rows_of, bool(reading.suffix), negligible)
            for position, bound, found in zip(positions, bounds, scores, strict=True):
                if reading.negligible:
                    self.undecided += 0.02 * (is_undecided(found, reading.negligible) - self.undecided)
                predictions[position] = choose(
                    examples[position], {choice: found.get(choice, bound[choice]) for choice in bound}
                )
        return [predictions[position] for position in range(len(examples))]

    def _all_at_once(self, count: int) -> bool:
        """Return whether scoring ``count`` answers at once reads fewer inputs than first writing one."""
        return 1 + self.undecided * count >= count

    def _score_until(
        self,
        inputs: list[list[str]],
        bounds: list[dict[str, float]],
        known: list[dict[str, float]],
        rows_of: dict[str, list[int]],
        open_end: bool,
        negligible: float,
    ) -> list[dict[str, float]]:
        """Return the scores, asking for unknown ones by descending bound while they can still matter."""
        scores = [dict(of) for of in known]
        left = [
            sorted((choice for choice in bound if choice not in of), key=bound.__getitem__, reverse=True)
            for bound, of in zip(bounds, known, strict=True)
        ]
        while any(left):
            asked: list[tuple[int, str]] = []
            for number, waiting in enumerate(left):
                if not waiting:
                    continue
                sure = math.fsum(math.exp(score) for score in scores[number].values())
                rest = math.fsum(math.exp(bounds[number][choice]) for choice in waiting)
                best = max(scores[number].values(), default=-math.inf)
                if scores[number] and bounds[number][waiting[0]] < best and rest <= negligible * sure:
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
        """Return the log-probability in nats of each target after its input, its end included unless it is open."""
        start, end = self.vocabulary[self.tokenizer.starts["label"]], self.vocabulary[self.tokenizer.end]
        targets = [[self.vocabulary[id] for id in ids] for _, ids in pairs]
        if self.tokenizer.causal:
            tails = [target if open_end else [*target, end] for target in targets]
            rows = [[*row, start, *tail] for (row, _), tail in zip(pairs, tails, strict=True)]
            results = self.engine.score_batch(rows, max_batch_size=self.rows, max_input_length=0)
            return [
                math.fsum(result.log_probs[len(result.log_probs) - len(tail) :])
                for result, tail in zip(results, tails, strict=True)
            ]
        results = self.engine.score_batch(
            [row for row, _ in pairs],
            [[start, *target] for target in targets],
            max_batch_size=self.rows,
            max_input_length=0,
        )
        return [math.fsum(result.log_probs[:-1] if open_end else result.log_probs) for result in results]

    def _write_and_bound(
        self, inputs: list[list[str]], paths: list[dict[str, list[int]]]
    ) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
        """Write an answer for each input; return what its logits tell of the closed answers.

        Args:
            paths: for each, answer -> token ids, its end included.

        Returns:
            For each input, answer -> upper bound of its log-probability; and answer -> log-probability, where
            it is known to the end.
        """
        longest = max(len(path) for of in paths for path in of.values())
        steps = max(1, min(longest, LOGITS // (len(inputs) * len(self.vocabulary))))
        bounds: list[dict[str, float]] = []
        scores: list[dict[str, float]] = []
        for (ids, logits), of in zip(self._greedy(inputs, steps), paths, strict=True):
            norms: dict[int, float] = {}
            bounds.append({})
            scores.append({})
            for choice, path in of.items():
                total, seen = 0.0, 0
                while seen < min(len(path), len(logits)) and path[:seen] == ids[:seen]:
                    if seen not in norms:
                        norms[seen] = log_norm(logits[seen], (*ids, self.tokenizer.end)[seen])
                    total += float(logits[seen][path[seen]]) - norms[seen]
                    seen += 1
                bounds[-1][choice] = total
                if seen == len(path):
                    scores[-1][choice] = total
        return bounds, scores

    def _greedy(self, inputs: list[list[str]], steps: int) -> list[tuple[list[int], list[np.ndarray]]]:
        """Return for each input up to ``steps`` greedy tokens of a label, without its end, and their logits [V]."""
        return [
            (row, [np.asarray(step, dtype=np.float32) for step in result.logits[0]])
            for [row], result in self._decode(inputs, "label", steps, return_logits_vocab=True)
        ]

    def _decode(self, inputs: list[list[str]], kind: str, steps: int, **how: int) -> list[tuple[list[list[int]], Any]]:
        """Return for each input the token ids of up to ``steps`` tokens, without the end, and the engine's result."""
        start = self.vocabulary[self.tokenizer.starts[kind]]
        if self.tokenizer.causal:
            results = self.engine.generate_batch(
                [[*row, start] for row in inputs],
                max_length=steps,
                min_length=0,
                beam_size=1,
                include_prompt_in_result=False,
                end_token=[self.tokenizer.end],
                **how,
            )
            return [(result.sequences_ids, result) for result in results]
        results = self.engine.translate_batch(
            inputs,
            target_prefix=[[start]] * len(inputs),
            max_decoding_length=steps,
            min_decoding_length=0,
            beam_size=1,
            max_input_length=0,
            **how,
        )
        return [([[self.ids[token] for token in one] for one in result.hypotheses], result) for result in results]

    def _batches(
        self, examples: Sequence[Example], kind: str, reading: DecodingConfig
    ) -> Iterator[tuple[list[int], list[list[str]]]]:
        """Yield places and tokens of inputs, in batches of about equal length, the longest first."""
        rows = self.tokenizer.encode_inputs([example.input for example in examples], kind, reading.max_input_tokens)
        order = sorted(range(len(rows)), key=lambda position: -len(rows[position]))
        for start in range(0, len(order), reading.batch_size):
            positions = order[start : start + reading.batch_size]
            yield positions, [[self.vocabulary[id] for id in rows[position]] for position in positions]


def log_norm(logits: np.ndarray, likeliest: int) -> float:
    """Return the log of the softmax denominator of logits [V]; ``likeliest``: where they are (nearly) largest.

    SciPy's ``logsumexp`` takes 0.2 ms for 32,128 tokens, this a seventh; it is computed for every token of an answer.
    """
    most = float(logits[likeliest])
    return most + math.log(float(np.exp(logits - most).sum()))


def is_undecided(scores: dict[str, float], negligible: float) -> bool:
    """Return whether the best answer has a probability below 1/2, or the rest more than ``negligible`` times it.

    >>> is_undecided({"yes": math.log(0.9), "no": math.log(0.05)}, 0.1)
    False
    >>> is_undecided({"yes": math.log(0.9), "no": math.log(0.1)}, 0.1)
    True
    """
    best = max(map(math.exp, scores.values()))
    rest = math.fsum(map(math.exp, scores.values())) - best
    return best < 0.5 or rest > negligible * best
