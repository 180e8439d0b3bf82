"""From a Hydra config to plain objects: the typed roots, and the schemas of the groups.

The dataclasses of tasks, teachers, students and objectives *are* their schemas: each class is registered under
``schema/<group>/<kind>``, and the YAML files in ``conf/<group>/`` start from it.
"""

import dataclasses
import difflib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from dsbs.cli.composition import install
from dsbs.core.checks import AT_LEAST_1, option_faults, range_faults
from dsbs.core.errors import ConfigError
from dsbs.core.records import LABELS
from dsbs.core.tracking import Tracking
from dsbs.dashboards.settings import DashboardConfig
from dsbs.data.controls import CONTROLS
from dsbs.deferral.settings import DeferConfig
from dsbs.extraction.filters import Filter
from dsbs.extraction.prompts import Prompt
from dsbs.extraction.settings import ExtractionSettings
from dsbs.inference.exports.settings import ExportConfig
from dsbs.inference.inputs import FORMATS
from dsbs.objectives import OBJECTIVES
from dsbs.reporting.settings import CompareConfig, ReportSettings
from dsbs.serving.settings import ServeConfig, TrafficConfig
from dsbs.students import STUDENTS
from dsbs.tasks import TASKS
from dsbs.tasks.metrics import allow_metric
from dsbs.teachers import TEACHERS
from dsbs.training.settings import Training, TrainSettings

logger = logging.getLogger(__name__)


@dataclass
class ExtractConfig(ExtractionSettings):
    """Keys of ``dsbs.extract``; pace, patience and bounds are in ``ExtractionSettings``.

    Attributes:
        splits: the source's splits to ask about; empty: train and test where they exist, and validation with
            ``labels=teacher`` or ``mixed``.
        limit: at most this many examples of each split, drawn by ``seed``; None: all.
        data_fraction: fraction of train, the same subset that ``dsbs.train`` uses.
        seed: seed of that draw.
        split_seed: seed of the validation split, as in ``dsbs.train``.
        labels: where ``dsbs.train`` will take its labels from; ``teacher`` and ``mixed`` ask about validation, too.
        output_dir: root folder of all outputs.
    """

    task: Any = None
    teacher: Any = None
    prompt: Any = None
    filter: Any = None
    splits: list[str] = field(default_factory=list)
    limit: int | None = None
    data_fraction: float | int | str = 1.0
    seed: int = 0
    split_seed: int = 0
    labels: str = "gold"
    output_dir: str = "outputs"

    def faults(self) -> list[str]:
        return super().faults() + range_faults(self, AT_LEAST_1, "limit", null="no limit")


@dataclass
class ReportConfig(ReportSettings):
    """Keys of ``dsbs.report``; what is compared, and how strictly, is in ``ReportSettings``.

    Attributes:
        runs: the folder of training runs to compare.
        output_dir: root folder of all outputs.
    """

    runs: str = "outputs/train"
    tracking: Tracking = field(default_factory=Tracking)
    output_dir: str = "outputs"


@dataclass
class EvaluateConfig:
    """Keys of ``dsbs.evaluate``.

    Attributes:
        checkpoint: the folder of a finished run, or its checkpoint.
        split: the split to measure on.
        path: other data for the same task, a file or folder; None: the run's data.
        decoding: ``rank``, ``generate`` or ``auto``; None: as in training.
        batch_size: examples per forward pass.
        output: output file: predictions (``.parquet``) or metrics (``.json``); None: none.
        trust_run: the run is yours: its data is read wherever its ``config.yaml`` says, not only below this folder, and
            its ``task.metric`` may be a function.
        track: whether the figures are also added to the run's summary at W&B, under ``evaluate/``; False: nothing is
            sent to W&B.
    """

    checkpoint: str = "???"
    split: str = "test"
    path: str | None = None
    decoding: str | None = None
    batch_size: int = 64
    output: str | None = None
    trust_run: bool = False
    track: bool = False

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = range_faults(self, AT_LEAST_1, "batch_size")
        if self.decoding not in (None, "auto", "rank", "generate"):
            faults.append(f"decoding={self.decoding}: expected auto, rank or generate.")
        if self.output is not None and Path(self.output).suffix not in (".parquet", ".json"):
            faults.append(
                f"output={self.output}: expected a name that ends in .parquet (predictions) or .json (figures)."
            )
        return faults


@dataclass
class PredictConfig:
    """Keys of ``dsbs.predict``.

    Attributes:
        checkpoint: the folder of a finished run, its checkpoint, or a copy of that.
        input: a file of inputs; ``-``: standard input.
        output: a file, which appears when it is complete; until then its rows are in ``<output>.partial``, where the
            same command continues after an interruption. ``-``: standard output.
        format: ``text``, ``jsonl``, or ``auto``: by the input's name or first line.
        rationale: also write the student's rationales.
        with_input: include each input in the output.
        scores: also write the log-probability of every closed answer, in nats.
        batch_size: inputs per forward pass; 1 answers each line immediately.
    """

    checkpoint: str = "???"
    input: str = "???"
    output: str = "-"
    format: str = "auto"
    rationale: bool = False
    with_input: bool = False
    scores: bool = False
    batch_size: int = 64

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = range_faults(self, AT_LEAST_1, "batch_size") + option_faults(self, format=FORMATS)
        if self.input == self.output != "-":
            faults.append(f"output={self.output}: the same file as input; choose another.")
        if self.output.lower().endswith((".csv", ".tsv", ".parquet", ".xlsx")):
            faults.append(
                f"output={self.output}: predictions are written as JSON lines; name a file that ends in .jsonl "
                "(pandas.read_json(FILE, lines=True) reads it)."
            )
        return faults


# Command -> its root config. A new one also has conf/<name>.yaml, and dsbs/<name>.py whose docstring is its help.
ROOTS: dict[str, Any] = {
    "extract": ExtractConfig,
    "train": TrainSettings,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "report": ReportConfig,
    "export": ExportConfig,
    "serve": ServeConfig,
    "defer": DeferConfig,
    "traffic": TrafficConfig,
    "compare": CompareConfig,
    "dashboard": DashboardConfig,
}
# The parts of a config: those that are of several kinds, and those of one.
GROUPS: dict[str, Mapping[str, Any]] = {
    "task": TASKS,
    "teacher": TEACHERS,
    "objective": OBJECTIVES,
    "student": STUDENTS,
    "control": CONTROLS,
}
SINGLE = {"prompt": Prompt, "filter": Filter, "training": Training, "tracking": Tracking}
PARTS = (*GROUPS, *SINGLE)
# Schemas of plugins that cannot be loaded -> why; reported when one is asked for.
BROKEN: dict[str, str] = {}
# What Hydra's store holds, as making a node out of a dataclass takes milliseconds: place -> dataclass.
STORED: dict[tuple[str, str], Any] = {}


def register_schemas(command: str | None = None) -> None:
    """Register the typed schemas with Hydra: of all groups, and of one command or all; safe to repeat."""
    install()
    for name in ROOTS if command is None else (command,):
        _store("schema", name, ROOTS[name])
    for name, node in SINGLE.items():
        _store("schema", name, node)
    for group, kinds in GROUPS.items():
        for kind in kinds:
            try:
                _store(f"schema/{group}", kind, kinds[kind])
            except ConfigError as error:  # a plugin's: an error only where it is used
                BROKEN[f"schema/{group}/{kind}"] = str(error)
                logger.warning("%s", error)


def _store(group: str, name: str, node: Any) -> None:
    if STORED.get((group, name)) is not node:
        ConfigStore.instance().store(group=group, name=name, node=node)
        STORED[group, name] = node


def to_object(config: DictConfig) -> Any:
    """Return a composed config as the dataclasses of its schemas.

    Raises:
        ConfigError: for keys that no schema has (added with ``+``), missing values, values that read the environment.
        OmegaConfBaseException: for values that stand for a key that there is not.
    """
    if keys := list(_reading_environment(OmegaConf.to_container(config, resolve=False), "")):
        raise ConfigError(
            f"{', '.join(keys)}: reads an environment variable, but settings are saved to disk. Only keys that end in "
            "_env may refer to one, by its name: teacher.api_key_env=NAME."
        )
    try:
        root = OmegaConf.to_object(config)
    except MissingMandatoryValue as error:
        key = error.full_key or error.key
        raise ConfigError(f"{key} is not given: add {key}=... to the command; --help lists the keys.") from None
    faults = [*_without_schema(root), *_unknown_keys(root, "")]
    if faults:
        raise ConfigError.from_faults(faults)
    task = root.get("task") if isinstance(root, dict) else getattr(root, "task", None)
    if metric := getattr(task, "metric", None):
        allow_metric(metric)
    return root


def _reading_environment(node: Any, path: str) -> Iterator[str]:
    """Yield the keys whose values read environment variables."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _reading_environment(value, f"{path}.{key}".lstrip("."))
    elif isinstance(node, list):
        for value in node:
            yield from _reading_environment(value, path)
    elif isinstance(node, str) and "oc.env" in node and "${" in node:
        yield path


def _without_schema(root: Any) -> Iterator[str]:
    """Yield how the files begin of chosen options that no schema belongs to."""
    for group in PARTS:
        if isinstance(getattr(root, group, None), dict):
            kinds = GROUPS.get(group)
            schema = f"/schema/{group}@_here_: KIND" if kinds else f"/schema@_here_: {group}"
            yield (
                f"{group}: the file of the chosen option does not say which keys there are. Let it begin with:\n"
                f"      defaults:\n        - {schema}\n        - _self_"
                + (f"\n    with one of these as KIND: {', '.join(kinds)}." if kinds else "")
            )


def _unknown_keys(node: Any, prefix: str) -> Iterator[str]:
    if not dataclasses.is_dataclass(node):
        return
    known = [field.name for field in dataclasses.fields(node)]
    for name, value in vars(node).items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {prefix}{close[0]}?" if close else f" Known keys: {', '.join(known)}."
            yield f"{prefix}{name}: there is no such key.{hint}"
        else:
            yield from _unknown_keys(value, f"{prefix}{name}.")


def check_settings(root: Any) -> None:
    """Check a config and its parts.

    Raises:
        ConfigError: with all that is wrong.
    """
    if faults := collect_faults(root) + root.faults():
        raise ConfigError.from_faults(faults)


def collect_faults(root: Any) -> list[str]:
    """Return all faults of the parts of a config (task, teacher, …), and of labels and filter together."""
    faults: list[str] = []
    for group in PARTS:
        part = getattr(root, group, None)
        if part is not None:
            kinds = GROUPS.get(group)
            if kinds is not None and kinds.get(part.kind) is not type(part):
                faults.append(f"{group}.kind={part.kind}: choose with {group}=<option>, which sets the kind.")
            faults += part.faults()
    if getattr(root, "labels", "gold") not in LABELS:
        faults.append(f"labels={root.labels}: expected one of {', '.join(LABELS)}.")
    asks_for_gold = getattr(getattr(root, "filter", None), "agrees_with_gold", False)
    if asks_for_gold and getattr(root, "labels", "gold") == "teacher":
        faults.append(
            "filter.agrees_with_gold=true with labels=teacher: it needs the gold labels that such a run "
            "does not use. Drop the filter, or train on gold labels (labels=gold)."
        )
    return faults
