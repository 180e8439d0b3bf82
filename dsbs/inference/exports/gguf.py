"""GGUF, run by llama.cpp in this process: decoder-only students on CPUs and GPUs; https://github.com/ggml-org/llama.cpp.

``q4_k_m`` is not written: the ``gguf`` package quantizes to the older types alone, and ``xllamacpp`` does not expose
llama.cpp's own quantizer. ``llama-quantize FILE q4_k_m`` makes it of an export in ``f16``.
"""

import json
import shlex
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import xllamacpp

from dsbs.core.errors import DataError, StudentError
from dsbs.core.records import Example, Prediction
from dsbs.core.untrusted import open_regular
from dsbs.inference.checkpoint import Saved, load_remembered
from dsbs.inference.exports.base import (
    ExportPredictor,
    ExportWriter,
    count_threads,
    load_export_tokenizer,
    read_export,
    write_config,
)
from dsbs.inference.exports.gguf_file import TYPES, write_gguf
from dsbs.students.answering import DecodingConfig, choose
from dsbs.students.prefixes import KINDS
from dsbs.students.trees import Search, Tree

QUANTIZATIONS = tuple(TYPES)
DEFAULT = "q8_0"
STORED = ("transformers",)  # formats of checkpoints that it converts
DECODING = None  # as in training
T = TypeVar("T")
FILE = "student.gguf"
SLOTS = 4  # requests that llama.cpp reads in one pass
TOP = 40  # log-probabilities that are asked for beside those of the answers' own tokens
# What students write often repeats what they read. Where so many tokens stood before, those that followed them there
# are guessed and checked in one pass, which changes no answer: https://arxiv.org/abs/2304.04487.
SEEN, GUESSED = 3, 4
FORCED = 1e4  # a bias that makes a token the next one; log-probabilities are reported without it


def convert(checkpoint: Path, folder: Path, quantization: str) -> dict[str, Any]:
    """Convert a checkpoint to a GGUF file.

    Returns:
        the engine's settings, as in its ``config.json``.

    Raises:
        StudentError: for a student that llama.cpp does not support.
    """
    from dsbs.students.loading import load_student

    student = load_student(checkpoint)
    if student.config.is_encoder_decoder:
        raise StudentError(f"format=gguf is for decoder-only students; a {student.config.model_type} is not one.")
    write_gguf(student, folder / FILE, quantization)
    shutil.copy(checkpoint / "tokenizer.json", folder / "tokenizer.json")
    names = {id: token for token, id in student.tokenizer.get_vocab().items()}
    export = {
        "architecture": student.config.model_type,
        "quantization": quantization,
        "causal": True,
        "starts": {name: student.start_id(name) for name in KINDS},
        "start": names[student.start_id("label")],
        "end": student.encode_targets([""])[0][-1],
    }
    write_config(folder, load_remembered(checkpoint), "gguf", export)
    return export


def usage(checkpoint: Path, export: dict[str, Any]) -> str:
    """Return Markdown that shows how to use the export without dsbs, for its card."""
    prefix = "[label] " if load_remembered(checkpoint)["prefix_on"] == "input" else ""
    # A token of somebody else, within JSON, within a command, within Markdown.
    asked = json.dumps({"prompt": f"{prefix}Your text{export['start']}", "n_predict": 64, "temperature": 0})
    asked = asked.replace("`", "\\u0060")
    return (
        f"```bash\nllama-server -m {FILE} --port 8080 &\ncurl -s localhost:8080/completion -d {shlex.quote(asked)}\n```"
    )


class GgufWriter(ExportWriter):
    """A ``dsbs.students.answering.Writer`` on llama.cpp; its engine is an ``xllamacpp.Server``.

    Prompts are sent as token ids of the student's own tokenizer. Each example has a slot of llama.cpp to itself while
    it is answered, so that its prompt is read once, however many answers are scored.
    """

    def write(self, examples: Sequence[Example], reading: DecodingConfig, kind: str = "label") -> list[str]:
        """Return the text generated for each example; see ``dsbs.students.answering.Writer``."""

        def write(ids: list[int], place: int, slot: int) -> str:
            # Its text, for the tokens beside it lack those that are a part of a character.
            response = self._ask([*ids, self.tokenizer.starts[kind]], slot, reading.max_new_tokens)
            return str(response["text"]).strip()

        return self._each(examples, kind, reading, write)

    def sample(
        self, examples: Sequence[Example], reading: DecodingConfig, count: int, seed: int = 0
    ) -> list[list[str]]:
        """Return ``count`` answers for each example, sampled at temperature 1."""

        def draw(ids: list[int], place: int, slot: int) -> list[str]:
            free = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
            prompt = [*ids, self.tokenizer.starts["label"]]
            return [
                str(self._ask(prompt, slot, reading.max_new_tokens, seed=seed + number, **free)["text"]).strip()
                for number in range(count)
            ]

        return self._each(examples, "label", reading, draw)

    def rank(self, examples: Sequence[Example], reading: DecodingConfig) -> list[Prediction]:
        """Return the best closed answer of each example, with the scores of all; see ``dsbs.students.decoding.rank``.

        With ``reading.negligible`` answers that cannot win keep an upper bound as their score; see ``Search``.
        """
        texts = sorted({choice for example in examples for choice in example.choices or ()})
        rows = self.tokenizer.encode_targets([text + reading.suffix for text in texts])
        end = [] if reading.suffix else [self.tokenizer.end]
        paths = {text: (*row, *end) for text, row in zip(texts, rows, strict=True)}

        def rank(ids: list[int], place: int, slot: int) -> Prediction:
            choices = list(dict.fromkeys(examples[place].choices or ()))
            tree = Tree.of(self.tokenizer.starts["label"], [paths[choice] for choice in choices])
            search = Search(tree, reading.negligible)
            while nodes := search.next():
                tokens = [tree.tokens[child] for child in tree.children[nodes[0]]]
                found = self._next([*ids, *tree.path(nodes[0])], set(tokens), slot)
                search.tell(nodes[0], [found[token] for token in tokens])
            prediction = choose(examples[place], dict(zip(choices, search.answers(), strict=True)))
            return replace(prediction, confidence=search.confidence()) if reading.negligible else prediction

        return self._each(examples, "label", reading, rank)

    def _next(self, prompt: list[int], wanted: set[int], slot: int) -> dict[int, float]:
        """Return the log-probabilities of some tokens after a prompt, in nats.

        llama.cpp tells those of the token that comes next, which a bias can choose, and of the likeliest ones. It tells
        nothing where the next token is a part of a character; then all are asked for beside the end.

        Raises:
            StudentError: where it tells nothing of a token: the file is not of this tokenizer.
        """
        found: dict[int, float] = {}
        forced = [next(iter(wanted))] if len(wanted) == 1 else [self.tokenizer.end]
        while missing := [token for token in wanted if token not in found]:
            forced = forced or missing[:1]
            top = 1 if len(wanted) == 1 else TOP + len(wanted)
            response = self._probabilities(prompt, slot, forced.pop(), top)
            response = response or self._probabilities(
                prompt, slot, self.tokenizer.end, self.tokenizer.tokenizer.get_vocab_size()
            )
            if not response.keys() - found.keys():
                raise StudentError(
                    f"{FILE}: llama.cpp knows no token {missing[0]}, which tokenizer.json has; export the checkpoint "
                    "again."
                )
            found |= response
        return {token: found[token] for token in wanted}

    def _probabilities(self, prompt: list[int], slot: int, forced: int, top: int) -> dict[int, float]:
        response = self._ask(prompt, slot, 1, logit_bias=[[forced, FORCED]], n_probs=top)
        tokens = (response.get("logprobs") or {"content": []})["content"]
        return {int(one["id"]): float(one["logprob"]) for token in tokens for one in (*token["top_logprobs"], token)}

    def _ask(self, prompt: list[int], slot: int, tokens: int, **more: Any) -> dict[str, Any]:
        """Return llama.cpp's continuation of a prompt: a text, and log-probabilities where they are asked for."""
        reply = self.engine.handle_completions(
            {"prompt": prompt, "n_predict": tokens, "temperature": 0, "id_slot": slot} | more
        )
        if "error" in reply:
            raise StudentError(f"llama.cpp failed: {reply['error'].get('message')}")
        return dict(reply["choices"][0])

    def _each(
        self,
        examples: Sequence[Example],
        kind: str,
        reading: DecodingConfig,
        call: Callable[[list[int], int, int], T],
    ) -> list[T]:
        """Call for every example, in as many threads as there are slots."""
        rows = self.tokenizer.encode_inputs([example.input for example in examples], kind, reading.max_input_tokens)
        slots: SimpleQueue[int] = SimpleQueue()
        for slot in range(SLOTS):
            slots.put(slot)

        def one(place: int) -> T:
            slot = slots.get()
            try:
                return call(rows[place], place, slot)
            finally:
                slots.put(slot)

        if len(examples) == 1:
            return [one(0)]
        with ThreadPoolExecutor(SLOTS) as pool:
            return list(pool.map(one, range(len(examples))))


class GgufPredictor(ExportPredictor):
    """A student in llama.cpp."""

    @classmethod
    def load(cls, saved: Saved) -> "GgufPredictor":
        """Load an export; see ``dsbs.inference.predictor.load_predictor``.

        Raises:
            DataError: where files are missing or broken.
        """
        export = read_export(saved.folder, ("quantization", "causal", "starts", "end"))
        tokenizer = load_export_tokenizer(saved.folder, export, saved.remembered.prefix_on)
        reading = saved.reading()
        context = reading.max_input_tokens + reading.max_new_tokens + 8
        open_regular(saved.folder / FILE).close()
        engine = start(saved.folder / FILE, context, exact=export["quantization"] == "float32")
        return cls(GgufWriter(engine, tokenizer), saved.task, saved.objective, reading)  # type: ignore[arg-type]


def start(file: Path, context: int, exact: bool = False, guess: bool = True) -> Any:
    """Return llama.cpp's server with a GGUF file; it listens on loopback alone.

    Args:
        context: context size of each slot, in tokens.
        exact: keep keys and values in float32 instead of half precision.
        guess: check several tokens in one pass where the input suggests what follows; no answer changes.

    Raises:
        DataError: where it cannot be read.
    """
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * (-(-context // 256) * 256)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = count_threads()
    if exact:
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if guess:
        params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
        params.speculative.ngram_simple.size_n, params.speculative.ngram_simple.size_m = SEEN, GUESSED
    params.verbosity = -1
    params.ui = params.warmup = params.fit_params = False
    try:
        return xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        raise DataError(f"{file}: llama.cpp cannot read it ({str(error).splitlines()[0]}).") from None
