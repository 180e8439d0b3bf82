"""Messages for what Hydra and OmegaConf reject: the key, what was expected, what to type."""

import difflib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from hydra.errors import MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    OmegaConfBaseException,
)

from dsbs.cli.composition import conf_dir, kind_of_option
from dsbs.cli.config import BROKEN, GROUPS, ROOTS
from dsbs.cli.quoting import is_readable, quote_text, quote_word, takes_list, types_of
from dsbs.core.command_line import CONFIG_DIR, split_flags

# What a value has to be, by the type of its key.
WORDED = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
WORDED_CONTAINERS = {list: "a list, such as [a,b]", dict: "keys and values, such as {a: b}"}
WORDED_LISTS = {int: "a list of whole numbers, such as [0,1]", float: "a list of numbers, such as [0.1,1]"}
# What to type in place of several values.
SEVERAL = {"task.path": "a folder whose files are named train, validation and test, or a pattern such as data/*.csv"}
_EPOCHS = "training.max_steps counts steps: epochs x examples / training.per_device_train_batch_size."
_EVALUATIONS = "Every training.eval_steps steps the student is measured on validation, and a checkpoint is saved."
_BEST = "The best checkpoint on validation is the one that is kept, always."
_LENGTH = "Did you mean student.max_input_tokens?"
_MODEL = "It is student.model, of student=pretrained, causal, encoder and embedding."
# Keys of other tools, which ours do not resemble, and what there is in their place.
ELSEWHERE = {
    **dict.fromkeys(("training.num_train_epochs", "training.epochs", "training.num_epochs"), _EPOCHS),
    **dict.fromkeys(("save_steps", "save_strategy", "eval_strategy", "evaluation_strategy"), _EVALUATIONS),
    **dict.fromkeys(("load_best_model_at_end", "metric_for_best_model", "greater_is_better"), _BEST),
    **dict.fromkeys(("max_length", "max_seq_length", "max_seq_len"), _LENGTH),
    **dict.fromkeys(("model_name", "model_name_or_path"), _MODEL),
    "resume_from_checkpoint": "The same command resumes a stopped run by itself.",
    "report_to": "Did you mean tracking.report_to?",
    "training.seed": "Did you mean seed?",
    "training.output_dir": "Did you mean output_dir?",
}
_NULL = re.compile(r"(?<![\w\"'-])null(?![\w\"'-])", re.I)


def explain(error: Exception, command: str, words: Sequence[str]) -> str:
    """Return in a sentence or two what is wrong with what was typed, and what to type instead."""
    flags, typed = split_flags(words)
    if explanation := _explain_blanks(typed):
        return explanation
    for word in typed:
        if explanation := _explain_grammar(word):
            return explanation
    if isinstance(error, MissingConfigException) and (missing := error.missing_cfg_file):
        if CONFIG_DIR in flags and (file := Path(flags[flags.index(CONFIG_DIR) + 1], f"{missing}.yml")).is_file():
            return f"{file}: options are files that end in .yaml: rename it."
        return _explain_option(missing, str(error), error.options or ())
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__ or error.__context__
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)) and cause.full_key:
        return explain_key(str(cause.full_key), _keys_beside(cause))
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        return _explain_value(cause, typed)
    return _explain_message(str(error), command, words)


def _explain_blanks(words: Sequence[str]) -> str | None:
    """Return what to type where a shell has split a word at its spaces, or None where it has not."""
    for place, word in enumerate(words):
        _, equals, value = word.partition("=")
        rest = list(words[place + 1 :])
        if not equals and rest and rest[0].startswith("="):
            parts = [word, *rest[: 2 if rest[0] == "=" else 1]]
            return f"{' '.join(parts)}: leave no spaces around the =. Type:\n    {shlex.quote(''.join(parts))}"
        closing = {"[": "]", "{": "}"}.get(value[:1])
        if closing is None or value.count(value[0]) <= value.count(closing):
            continue
        for end, other in enumerate(rest):
            if "=" in other:
                break
            if other.endswith(closing):
                meant = " ".join([word, *rest[: end + 1]])
                return (
                    f"{word}: the shell has split this at a space. Put quotes around all of it:\n    "
                    f"{quote_word(meant) or shlex.quote(meant)}"
                )
    return None


def _explain_grammar(word: str) -> str | None:
    """Return what is wrong with a word that Hydra cannot read, or None where it can."""
    if is_readable(word):
        return None
    if "=" not in word:
        return f"{word}: expected KEY=VALUE, such as seed=1; --help lists the keys."
    key, _, value = word.partition("=")
    if key != key.strip():
        return f"{word}: leave no spaces around the =. Type:\n    {shlex.quote(f'{key.strip()}={value.strip()}')}"
    if wanted := _worded_number(key):
        return f"{word}: expected {wanted}."
    if quoted := quote_word(word):
        return f"{word}: this value has characters that need quotes. Type:\n    {quoted}"
    return f"{word}: expected KEY=VALUE; --help lists the keys."


def _worded_number(key: str) -> str | None:
    """Return in words what a key takes that takes numbers alone, or None."""
    kinds = {kind for one in types_of(key) for kind in (get_args(one) or (one,))} - {type(None)}
    return " or ".join(WORDED[kind] for kind in (float, int) if kind in kinds) if kinds <= {int, float} else None


def _explain_option(path: str, message: str, options: Iterable[str]) -> str:
    """Return which option there is not, and which there are."""
    if path in BROKEN:
        return BROKEN[path]
    group, _, option = path.partition("/")
    if group == "schema":
        option_file = re.search(r"In '([^']+)'", message)
        kinds = GROUPS.get(option.partition("/")[0])
        known = f" Known kinds: {', '.join(kinds)}." if kinds is not None else ""
        return f"{option_file[1] if option_file else path}.yaml: there is no schema {path[7:]}.{known}"
    names = sorted({*options, *options_below(group)})
    close = difflib.get_close_matches(option, names, n=1)
    hint = f" Did you mean {group}={close[0]}?" if close else ""
    if group == "student" and not close:
        hint = f" A model by its name: student=pretrained student.model={option}"
    return f"{group}={option}: there is no such option.{hint} Options: {', '.join(names) or 'none'}."


def options_below(group: str) -> list[str]:
    """Return our own options of a group, such as ``finetune`` of ``objective``."""
    folder = conf_dir() / group
    return [file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml")]


def explain_key(key: str, known: Sequence[str]) -> str:
    """Return the message that there is no such key, with the closest one, or the options of the group that have it.

    Args:
        key: in full, with dots.
        known: the last parts of the keys at that level.
    """
    before, dot, name = key.rpartition(".")
    if hint := ELSEWHERE.get(key) or ELSEWHERE.get(name):
        return f"{key}: there is no such key. {hint}"
    close = difflib.get_close_matches(name, known, n=1) or _find_abbreviated(name, known)
    group, _, rest = key.partition(".")
    having = list(_kinds_with(group, rest.partition(".")[0])) if rest else []
    if having and not (close and close[0] == name):
        verb = "has" if len(having) == 1 else "have"
        return f"{key}: the chosen {group} has no such key; {group}={f' and {group}='.join(having)} {verb} it."
    meant = " or ".join(f"{before}{dot}{one}" for one in close)
    hint = f"Did you mean {meant}?" if close else f"Known keys: {', '.join(known)}."
    return f"{key}: there is no such key. {hint}"


def _find_abbreviated(name: str, known: Sequence[str]) -> list[str]:
    """Return the keys that a shorter name may stand for.

    >>> _find_abbreviated("lr", ["learning_rate", "max_steps"])
    ['learning_rate']
    >>> _find_abbreviated("batch_size", ["max_steps", "per_device_train_batch_size"])
    ['per_device_train_batch_size']
    """
    initials = [key for key in known if "".join(word[0] for word in key.split("_")) == name]
    return initials or [key for key in known if key.endswith(f"_{name}")]


def _kinds_with(group: str, name: str) -> Iterator[str]:
    """Yield an option of each kind of a group that has a key."""
    kinds: Mapping[str, Any] = GROUPS.get(group, {})
    for kind in kinds:
        if f"schema/{group}/{kind}" not in BROKEN and name in getattr(kinds[kind], "__dataclass_fields__", ()):
            yield _option_of(group, kind)


def _option_of(group: str, kind: str) -> str:
    options = sorted({kind, *options_below(group)}, key=lambda option: (option != kind, option))
    return next((option for option in options if kind_of_option(group, option) == kind), kind)


def _keys_beside(error: OmegaConfBaseException) -> list[str]:
    node: Any = error.parent_node
    if OmegaConf.is_dict(node):
        return [str(key) for key in node if key not in ("kind", "hydra")]
    fields: Mapping[str, Any] = getattr(error.object_type, "__dataclass_fields__", {})
    return list(fields)


def _explain_value(error: OmegaConfBaseException, typed: Sequence[str]) -> str:
    """Return what a value should have been."""
    key = str(error.full_key)
    place = re.sub(r"\[\d+\]", "", key)
    word = next((word for word in reversed(typed) if _key(word) in (key, place, place.rpartition(".")[0])), None)
    shown = word or key
    reason = str(error).splitlines()[0]
    if word and word.startswith("~"):
        return f"{word}: a key cannot be left out. Type {place}=VALUE to set it, or nothing for its default."
    if isinstance(error, InterpolationResolutionError) and word:
        return (
            f"{word}: ${{...}} stands for the value of another key. For a variable of the environment leave out the "
            "single quotes around the word, so that the shell fills it in."
        )
    if word and _wants_text(error) and (quoted := _quote_null(word)):
        return f"{shown}: null means 'no value', which this key does not accept. For the word null, type:\n    {quoted}"
    if wanted := _worded_type(error, place):
        return f"{shown}: expected {wanted}."
    if OmegaConf.is_dict(error.child_node) and error.child_node:
        keys = ", ".join(f"{key}.{name}" for name in error.child_node if name != "kind")
        return f"{shown}: {key} takes no value itself; its keys are {keys}."
    return f"{shown}: {reason[0].lower()}{reason[1:]}."


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")


def _wants_text(error: OmegaConfBaseException) -> bool:
    reason = str(error)
    return "NoneType is not a subclass of str" in reason or ("is not Optional" in reason and "str]" in reason)


def _quote_null(word: str) -> str | None:
    key, _, value = word.partition("=")
    quoted = _NULL.sub('"null"', value)
    return shlex.quote(f"{key}={quoted}") if quoted != value else None


def _worded_type(error: OmegaConfBaseException, key: str) -> str | None:
    """Return in words what type of value a key takes."""
    if error.object_type in (list, dict):  # not one of its values, but all of it
        return _worded_container(error.object_type, types_of(key))
    field = getattr(error.object_type, "__dataclass_fields__", {}).get(key.rpartition(".")[2])
    if field is None:
        return None
    kinds = get_args(field.type) or (field.type,)
    if (container := getattr(field.type, "__origin__", None)) in WORDED_CONTAINERS:
        return _worded_container(container, [field.type])
    words = [WORDED[kind] for kind in kinds if kind in WORDED]
    if not words:
        return None
    if type(None) in kinds:
        words.append("null")
    return " or ".join(words) + (f". Several files: {SEVERAL[key]}" if key in SEVERAL else "")


def _worded_container(container: Any, kinds: Sequence[Any]) -> str:
    parts = [part for kind in kinds if container is list for part in get_args(kind)]
    return next((WORDED_LISTS[part] for part in parts if part in WORDED_LISTS), WORDED_CONTAINERS[container])


def _explain_message(message: str, command: str, words: Sequence[str]) -> str:
    """Return what else Hydra has to say."""
    if found := re.match(r"Ambiguous value for argument '(.*)'", message):
        word = found[1]
        key, _, value = word.partition("=")
        if takes_list(key):
            return f"{word}: expected a list. Type:\n    {shlex.quote(f'{key}=[{value}]')}"
        sweep = f"several values make a sweep, which needs -m:\n    dsbs {command} -m {shlex.join(words)}"
        several = f"{word}: {sweep if command != 'serve' else 'expected one value.'}"
        if re.fullmatch(r"-?\d+,\d+", value):
            several += f"\n  A number has a decimal point: {key}={value.replace(',', '.')}"
        if key in SEVERAL:
            several += f"\n  Several files: {SEVERAL[key]}"
        kinds = types_of(key)
        if not kinds:  # a key of the user's own
            several += f"\n  A list goes in brackets: {shlex.quote(f'{key}=[{value}]')}"
        if not kinds or any(str in (get_args(kind) or (kind,)) for kind in kinds):
            several += f"\n  A text with a comma goes in quotes: {shlex.quote(f'{key}={quote_text(value)}')}"
        return several
    if found := re.match(r"Sweep parameters '(.*)' requires --multirun", message):
        return f"{found[1]}: several values make a sweep, which needs -m:\n    dsbs {command} -m {shlex.join(words)}"
    if found := re.match(r"Could not append to config. An item is already at '(.*)'", message):
        return f"+{found[1]}: this key exists already; leave out the +."
    if found := re.match(r"Could not delete from config. '(.*)' does not exist", message):
        return f"~{found[1]}: there is no such key. One that is null has nothing to leave out."
    if found := re.match(r"Could not override '([^']+)'\. No match", message):
        group = found[1]
        takes_methods = "methods" in ROOTS[command].__dataclass_fields__ and group in ("student", "objective")
        methods = " Students and objectives go together: methods=[logreg:finetune]" if takes_methods else ""
        return f"{group}: dsbs {command} takes no such option.{methods}"
    if "Config group override must be a string" in message or message.startswith("Multiple values for schema/"):
        return "An option of a group is a name: GROUP=NAME; several make a sweep: -m GROUP=A,B. --help lists them."
    lines = [line.strip() for line in message.splitlines() if line.strip() and "hydra.cc" not in line]
    return " ".join(lines)
