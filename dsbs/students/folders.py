"""Untrusted folders with a model: which of their files are read.

A loader gets a ``view`` of a folder instead of the folder: a temporary folder with links to the weights and tokenizer
files, which were found to be regular files inside it, and with the JSON of config and tokenizer rewritten without
whatever would fetch or run anything (``dsbs.students.model_config``). Files that are not listed here are hidden
from the loader: adapters, generation and processor configs, pickled metadata, scripts. No tensors here.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dsbs.core.errors import StudentError
from dsbs.core.untrusted import excerpt, load_json, read_file
from dsbs.students.model_config import MAX_NUMBER, clean_config, drop_references
from dsbs.students.patterns import pattern_faults
from dsbs.tasks.tables.foreign import name_foreign

CONFIG = "config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SETTINGS = "dsbs"  # the key of our settings in a checkpoint's config.json
INDEX = ".index.json"
WEIGHTS = re.compile(r"model(?:-\d{1,6}-of-\d{1,6})?\.safetensors")
PICKLED = re.compile(r"pytorch_model(?:-\d{1,6}-of-\d{1,6})?\.bin")
TOKENIZER = frozenset(
    {
        *("tokenizer.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
        *("vocab.json", "vocab.txt", "merges.txt", "vocab.bpe", "bpe.codes", "dict.txt"),
        *("spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model", "sentencepiece.model"),
        *("spm_char.model", "source.spm", "target.spm", "target_vocab.json", "prophetnet.tokenizer"),
        *("normalizer.json", "vocab-src.json", "vocab-tgt.json", "tiktoken.model", "tekken.json"),
    }
)
FAST = "tokenizer.json"
ADAPTER = "adapter_config.json"
POOLING = "1_Pooling/config.json"  # how a sentence encoder was trained
LENGTH = "model_max_length"
MAX_WORDS = 20_000_000  # values of a tokenizer: words, pairs and brackets
MAX_CONFIG = 4 * 2**20
MAX_TOKENIZER = 2**28
MAX_VALUES = 2**50


class View(NamedTuple):
    """The part of a model's folder that a loader may read.

    Attributes:
        values: number of values in the weights; None: unknown.
    """

    folder: Path
    values: int | None = None


@contextmanager
def view(folder: Path, *, pickled: bool = False) -> Iterator[View]:
    """Yield a temporary view of a folder with a model.

    Args:
        folder: with ``config.json``, weights and a tokenizer.
        pickled: whether ``.bin`` weights are accepted where there are no safetensors (loaded with ``weights_only``).

    Raises:
        StudentError: where a file is missing, is outside of the folder, or has values that are not allowed.
    """
    weights = find_weights(folder, pickled)
    tensors = count_tensors(weights)
    config = clean_config(_read_json(folder, CONFIG, MAX_CONFIG), folder / CONFIG, tensors)
    with tempfile.TemporaryDirectory(prefix="dsbs-") as temporary:
        target = Path(temporary)
        (target / CONFIG).write_text(json.dumps(config), encoding="utf-8")
        if (folder / TOKENIZER_CONFIG).exists():
            cleaned = drop_references(_read_json(folder, TOKENIZER_CONFIG, MAX_TOKENIZER), folder / TOKENIZER_CONFIG)
            if not isinstance(cleaned.get(LENGTH, 0), int | float | None):
                value = excerpt(cleaned[LENGTH], 60)
                raise StudentError(f"{folder / TOKENIZER_CONFIG}: {LENGTH}={value}: expected a number.")
            (target / TOKENIZER_CONFIG).write_text(json.dumps(cleaned), encoding="utf-8")
        for name in sorted(TOKENIZER):
            if (folder / name).exists():
                (target / name).symlink_to(_inside(folder, name))
        check_patterns(folder)
        for path in weights:
            (target / path.name).symlink_to(_inside(folder, path.name))
        yield View(target, None if tensors is None else sum(tensors.values()))


@contextmanager
def view_file(file: Path) -> Iterator[View]:
    """Yield a temporary view of a single file, such as a GGUF model.

    Raises:
        StudentError: where it is not a regular file.
    """
    if not file.is_file():
        raise StudentError(f"{file}: expected a regular file.")
    with tempfile.TemporaryDirectory(prefix="dsbs-") as temporary:
        (Path(temporary) / file.name).symlink_to(file.resolve())
        yield View(Path(temporary))


def find_weights(folder: Path, pickled: bool = False) -> list[Path]:
    """Return the files of weights in a folder: one, or an index and the shards that it names.

    Args:
        pickled: whether ``.bin`` weights are accepted where there are no safetensors.

    Raises:
        StudentError: where there are none, or the index names anything but shards in the folder.
    """
    for pattern, single in ((WEIGHTS, "model.safetensors"), (PICKLED, "pytorch_model.bin")):
        if pattern is PICKLED and not pickled:
            break
        if (folder / single).exists():
            return [_inside(folder, single, found=True)]
        index = folder / f"{single}{INDEX}"
        if index.exists():
            named = _read_json(folder, index.name, MAX_TOKENIZER).get("weight_map")
            files = sorted({str(name) for name in named.values()}) if isinstance(named, dict) else []
            if strange := [name for name in files if not pattern.fullmatch(name)]:
                raise StudentError(
                    f"{index}: names {excerpt(strange[0])!r}; expected files in its folder such as model-00001-of-00002"
                    f"{single[single.index('.') :]}."
                )
            if not files:
                raise StudentError(f"{index}: names no weights (weight_map).")
            return [index, *(_inside(folder, name, found=True) for name in files)]
    raise StudentError(f"{folder}: {_describe_absent(folder)}")


def _describe_absent(folder: Path) -> str:
    """Return what a folder without weights in safetensors holds, and what to do about it."""
    if (folder / ADAPTER).exists():
        base = excerpt(_read_json(folder, ADAPTER, MAX_CONFIG).get("base_model_name_or_path"), 80)
        return (
            f"an adapter of {base}, not a model. Merge them and save the tokenizer beside: peft.PeftModel."
            "from_pretrained(MODEL, FOLDER).merge_and_unload().save_pretrained(OTHER)"
        )
    absent = "there is no model.safetensors and no index of shards"
    names = sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []
    if folder.parent.name == "snapshots" or any(map(PICKLED.fullmatch, names)):
        return (
            f"{absent}. student.use_safetensors=false also takes a student's weights from pytorch_model.bin, tensors "
            "alone; save_pretrained(OTHER) writes them as safetensors."
        )
    kinds = [f"{place}/*.{suffix}" for place in ("*", "snapshots/*") for suffix in ("safetensors", "bin")]
    below = {file.parent for kind in kinds for file in folder.glob(kind)}
    inside = [*sorted(place for place in below if (place / CONFIG).exists()), *sorted(folder.glob("*.gguf"))]
    if inside:
        return f"{absent}. Name what is in it, such as {inside[-1]}"
    return f"{absent}; it holds {', '.join(names[:8]) or 'nothing'}{', ...' * (len(names) > 8)}."


def count_tensors(weights: list[Path]) -> dict[str, int] | None:
    """Return tensor -> number of values, from the headers of safetensors; None for other weights.

    Raises:
        StudentError: where a header is broken.
    """
    found: dict[str, int] = {}
    for path in weights:
        if path.name.endswith(INDEX):
            continue
        if path.suffix != ".safetensors":
            return None
        found |= _read_header(path)
    return found


def _read_header(path: Path) -> dict[str, int]:
    with path.open("rb") as file:
        head = file.read(64)
        size = int.from_bytes(head[:8], "little")
        file.seek(8)
        content = file.read(size) if size <= MAX_TOKENIZER else b""
    try:
        header = load_json(content)
        shapes = {str(name): entry["shape"] for name, entry in header.items() if name != "__metadata__"}
        sizes = {name: _product(shape) for name, shape in shapes.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        foreign = name_foreign(path, head)
        what = f" is {foreign}" if foreign else ": the header of these weights is broken."
        raise StudentError(f"{path}{what}") from None
    return sizes


def _product(shape: list[int]) -> int:
    found = 1
    for size in shape:
        if not isinstance(size, int) or not 0 <= size <= MAX_NUMBER or found > MAX_VALUES:
            raise ValueError
        found *= size
    return found


@contextmanager
def without_panic(source: object) -> Iterator[None]:
    """Turn a panic of the tokenizers library, which is not an ``Exception``, into an error.

    Raises:
        StudentError: naming the source.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise StudentError(f"{source}: the tokenizer cannot be read ({excerpt(str(error))}).") from None


def check_patterns(folder: Path) -> None:
    """Check the regular expressions in ``tokenizer.json``, which run over every text.

    Raises:
        StudentError: for one that may take very long, and where the file is broken.
    """
    if not (folder / FAST).exists():
        return
    path = _inside(folder, FAST)
    try:
        values = load_json(read_file(path, MAX_TOKENIZER), limit=MAX_WORDS)
    except ValueError as error:
        raise StudentError(f"{folder / FAST}: not valid JSON ({excerpt(str(error))}).") from None
    for pattern in pattern_faults(values):
        raise StudentError(f"{folder / FAST}: the pattern {excerpt(pattern, 80)!r} may take very long over some texts.")


def _read_json(folder: Path, name: str, limit: int) -> dict[str, Any]:
    path = _inside(folder, name)
    try:
        values = load_json(read_file(path, limit), exact=True)
    except ValueError as error:
        raise StudentError(f"{folder / name}: not valid JSON ({excerpt(str(error))}).") from None
    if not isinstance(values, dict):
        raise StudentError(f"{folder / name}: expected an object of settings.")
    return values


def _inside(folder: Path, name: str, found: bool = False) -> Path:
    """Return the real path of a file: a regular file in its folder, or in the hub's cache that the folder belongs to.

    Args:
        found: give the path in the folder instead, after the same checks.

    Raises:
        StudentError: for a link that leads elsewhere, a FIFO, a device, a folder.
    """
    path, home = folder / name, folder.resolve()
    real = path.resolve()
    # The hub's cache keeps each file once, as ``blobs/HASH``, with links to it from ``snapshots/COMMIT``.
    blobs = [home.parent.parent / "blobs"] if home.parent.name == "snapshots" else []
    if not any(real.is_relative_to(root) for root in (home, *blobs)):
        raise StudentError(f"{path}: a link to {real}, outside the folder; copy the file into it if it belongs there.")
    if not real.exists():
        raise StudentError(f"{path}: there is no such file; the model is incomplete.")
    if not real.is_file():
        raise StudentError(f"{path}: expected a regular file.")
    return path if found else real
