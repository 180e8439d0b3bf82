"""Types and bounds of every field that the report reads from a run's files, which may come from anybody.

A run with a fault is left out, with the fault as its reason; the others are reported.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.names import EXPECTED, is_name
from dsbs.core.records import LABELS
from dsbs.core.untrusted import MAX_COUNT, excerpt, is_finite, storable
from dsbs.tasks.base import ACCURACY

MAX_DEPTH = 8
MAX_TEXT = 4000
MAX_KEY = 200
MAX_VALUES = 200_000
_CONTROL_TITLE = re.compile(r"([^()]{1,100})(?:\([A-Za-z0-9_=., -]{1,100}\))?")
_METRIC_NAME = re.compile(r"([^:]{1,100})(?::[A-Za-z_][A-Za-z0-9_]{0,99})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


@dataclass(frozen=True)
class Kind:
    """The type of a field.

    Attributes:
        expected: description for messages.
        test: value -> whether it is valid.
        optional: whether the field may be missing or ``null``.
    """

    expected: str
    test: Callable[[Any], bool]
    optional: bool = False

    def or_none(self) -> "Kind":
        """Return the type as an optional one."""
        return Kind(self.expected, self.test, optional=True)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _is_amount(value: Any) -> bool:
    return is_finite(value) and 0 <= value <= MAX_COUNT


def _begins_with_name(value: Any, form: re.Pattern[str]) -> bool:
    found = form.fullmatch(value) if isinstance(value, str) else None
    return found is not None and is_name(found[1])


NAME = Kind(EXPECTED, is_name)
WHOSE_LABELS = Kind(f"one of {', '.join(LABELS)}", lambda value: value in LABELS)
FRACTION = Kind("a share above 0, up to 1", lambda value: is_finite(value) and 1e-9 <= value <= 1)
COUNT = Kind("a whole number, 0 or more", _is_count)
SOME = Kind("a whole number, 1 or more", lambda value: _is_count(value) and value > 0)
AMOUNT = Kind("a number, 0 or more", _is_amount)
SHARE = Kind("a number from 0 to 1", lambda value: is_finite(value) and 0 <= value <= 1)
SCORE = Kind("a finite number", is_finite)
# No parts of paths: ``extra_compute(noise=0.3)`` and ``my_scores:length``.
CONTROL = Kind("the name of a control, and its settings", lambda value: _begins_with_name(value, _CONTROL_TITLE))
METRIC = Kind("the name of a metric, or module:function", lambda value: _begins_with_name(value, _METRIC_NAME))
TEXT = Kind("a text", lambda value: isinstance(value, str))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
LIST = Kind("a list", lambda value: isinstance(value, list))

METRICS = {
    **dict.fromkeys(("task", "student", "objective"), NAME),
    "teacher": NAME.or_none(),
    "control": CONTROL.or_none(),
    "metric": METRIC.or_none(),
    "labels": WHOSE_LABELS,
    "data_fraction": FRACTION,
    **dict.fromkeys(("seed", "steps", "best_step"), COUNT),
    **dict.fromkeys(("train_examples", "validation_examples", "parameters", "size_bytes"), COUNT.or_none()),
    **dict.fromkeys(("target_tokens", "label_tokens", "example_visits", "seconds"), AMOUNT.or_none()),
    **dict.fromkeys(("examples_per_second", "milliseconds_per_example"), AMOUNT.or_none()),
    "validation": OBJECT,
    **dict.fromkeys(("counts", "overlap", "test_last", "test_generated"), OBJECT.or_none()),
    "history": LIST.or_none(),
}
OVERLAP = dict.fromkeys(("examples", "same", "near", "compared"), COUNT)
MANIFEST = {
    **dict.fromkeys(("command", "started", "dsbs", "python", "platform", "rationales", "model"), TEXT.or_none()),
    **dict.fromkeys(("packages", "settings", "annotations"), OBJECT.or_none()),
}
SETTINGS = {
    **dict.fromkeys(("task", "training"), OBJECT.or_none()),
    "train": TEXT.or_none(),
    "processes": SOME.or_none(),
}
TRAINING = dict.fromkeys(("per_device_train_batch_size", "gradient_accumulation_steps"), SOME.or_none())
CONFIG = {f"training.{key}": kind for key, kind in TRAINING.items()} | {"teacher.kind": TEXT.or_none()}


def check(values: Any, kinds: Mapping[str, Kind], source: str) -> None:
    """Check the fields of an object.

    Args:
        kinds: field -> its type; other fields are ignored.
        source: file or part of it, for messages.

    Raises:
        DataError: it is no object, or a field is missing or invalid.
    """
    if not isinstance(values, dict):
        raise DataError(f"{source}: expected an object, found {type(values).__name__}")
    for name, kind in kinds.items():
        value = values.get(name)
        if value is None and kind.optional:
            continue
        if name not in values:
            raise DataError(f"{source} lacks {name}")
        if not kind.test(value):
            raise DataError(f"{source}: {name}={excerpt(value, 60)!r}: expected {kind.expected}")


def check_metrics(metrics: dict[str, Any]) -> None:
    """Check ``metrics.json``.

    Raises:
        DataError: names the first fault.
    """
    check(metrics, METRICS, "metrics.json")
    metric = metrics.get("metric") or ACCURACY
    score = SHARE if metric == ACCURACY else SCORE
    if "test" in metrics:
        check(metrics, {"test": OBJECT}, "metrics.json")
        if metric not in metrics["test"]:
            raise DataError(f"metrics.json lacks test.{metric}")
    if metrics.get("overlap"):
        check(metrics["overlap"], OVERLAP, "metrics.json: overlap")
    for part in ("validation", "test", "test_last", "test_generated"):  # no score where there were no examples
        check(metrics.get(part) or {}, {"examples": COUNT.or_none(), metric: score.or_none()}, f"metrics.json: {part}")


def check_manifest(manifest: dict[str, Any]) -> None:
    """Check ``manifest.json``.

    Raises:
        DataError: names the first fault.
    """
    check(manifest, MANIFEST, "manifest.json")
    settings = manifest.get("settings") or {}
    check(settings, SETTINGS, "manifest.json: settings")
    check(settings.get("training") or {}, TRAINING, "manifest.json: settings.training")


def clean(value: Any, source: str) -> Any:
    """Return JSON or YAML values without control characters, with long texts and keys truncated.

    Raises:
        DataError: values are nested too deeply, too many, or not finite numbers.
    """
    left = [MAX_VALUES]

    def walk(node: Any, path: str, depth: int) -> Any:
        left[0] -= 1
        if depth > MAX_DEPTH:
            raise DataError(f"{source}: {path or 'it'} is nested too deeply")
        if left[0] < 0:
            raise DataError(f"{source}: more than {MAX_VALUES:,} values")
        if isinstance(node, dict):
            return {_key(key): walk(item, f"{path}.{_key(key)}".lstrip("."), depth + 1) for key, item in node.items()}
        if isinstance(node, list):
            return [walk(item, f"{path}[]", depth + 1) for item in node]
        if isinstance(node, str):
            return storable(_CONTROL.sub(" ", node[:MAX_TEXT]))
        if node is None or isinstance(node, bool):
            return node
        if isinstance(node, int | float):
            if not is_finite(node):
                raise DataError(f"{source}: {path}={excerpt(node, 40)}: expected a finite number")
            return node
        return excerpt(str(node))  # dates, which YAML reads

    return walk(value, "", 0)


def _key(key: Any) -> str:
    return excerpt(str(key) if isinstance(key, str | int | float | bool) else type(key).__name__, MAX_KEY)
