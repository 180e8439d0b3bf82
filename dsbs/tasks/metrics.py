"""Metrics of tasks with written answers, by name."""

import importlib
import importlib.util
import re
from collections.abc import Callable
from functools import cache

from dsbs.core.errors import ConfigError
from dsbs.tasks.base import ACCURACY

Metric = Callable[[str, str], float]  # (prediction, gold) -> a number, larger is better

PACKAGES = {"rouge_l": "rouge_score", "chrf": "sacrebleu"}
METRICS = (ACCURACY, *PACKAGES)
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_allowed: set[str] = set()  # functions that the user's own command or config named


def metric_faults(name: str) -> list[str]:
    """Return what is wrong with the name in ``task.metric``."""
    if _FUNCTION.fullmatch(name):
        return []
    if name not in METRICS:
        return [f"task.metric={name}: expected one of {', '.join(METRICS)}, or your own function as module:function."]
    package = PACKAGES.get(name)
    if package and importlib.util.find_spec(package) is None:
        return [f"task.metric={name} needs the package {package}: pip install 'dsbs[text]'"]
    return []


def allow_metric(name: str) -> None:
    """Allow ``load_metric`` to call a function of the user's.

    Only for names from the command line or the user's own config: a checkpoint or a run may be somebody else's, and
    name ``os:system``.
    """
    _allowed.add(name)


@cache
def load_metric(name: str) -> Metric:
    """Return a metric: (prediction, gold) -> score, higher is better.

    Args:
        name: of ``METRICS``, or ``module:function``.

    Raises:
        ConfigError: for a function that ``allow_metric`` did not allow, or that does not exist.
    """
    if name == "rouge_l":
        return _rouge_l()
    if name == "chrf":
        return _chrf()
    if name not in _allowed:
        raise ConfigError(
            f"task.metric={name} comes from a saved config, not from the command line, so it is not called. If the run "
            "is yours, type trust_run=true."
        )
    module, _, function = name.partition(":")
    try:
        found: Metric = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"task.metric={name}: {error}. The module must be importable.") from error
    return found


def _rouge_l() -> Metric:
    """Return ROUGE-L's F1 (Lin, 2004), words stemmed, from 0 to 1."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    return lambda prediction, gold: float(scorer.score(gold, prediction)["rougeL"].fmeasure)


def _chrf() -> Metric:
    """Return chrF (Popovic, 2015), from 0 to 1."""
    from sacrebleu.metrics.chrf import CHRF

    scorer = CHRF()
    return lambda prediction, gold: float(scorer.sentence_score(prediction, [gold]).score) / 100
