"""The settings saved in a checkpoint, with which it answers without the run that made it. No tensors here."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dsbs.core.errors import DataError, RunError, StudentError
from dsbs.core.records import Example
from dsbs.core.untrusted import Fields, excerpt, read_json_file
from dsbs.objectives.base import Objective
from dsbs.students.answering import DecodingConfig
from dsbs.students.folders import SETTINGS
from dsbs.students.prefixes import PREFIX_ON
from dsbs.tasks.base import Task
from dsbs.tasks.tables.rows import PLACES

EXPORTS = "exports"  # the folder in a run where its exports lie
DECODINGS = ("auto", "rank", "generate")
MAX_CONFIG = 2**25  # that of an export holds its vocabulary
MAX_TOKENS = 2**20
MAX_CHOICES = 10_000
MAX_TEXT = 10_000
_LISTED = 5
_DEPTH = 6  # from the output folder down to a run


@dataclass
class Remembered:
    """The settings in a checkpoint's ``config.json``, under ``dsbs``.

    Attributes:
        task: the task's settings, without the place of its data.
        choices: the closed answers, if all examples share them; else None.
        own_choices: whether each example has closed answers of its own.
        lists_choices: whether inputs end with their choices, listed by letter.
        input: the template of inputs over columns, or None.
        id_column: the column of the id, or None.
        choices_column: the column of the choices, or None.
        format: how the student is saved; a key of ``dsbs.inference.predictor.PREDICTORS``.
    """

    prefix_on: str = "target"
    objective: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    choices: list[str] | None = None
    own_choices: bool = False
    lists_choices: bool = False
    input: str | None = None
    id_column: str | None = None
    choices_column: str | None = None
    decoding: str = "auto"
    max_input_tokens: int = 512
    max_new_tokens: int = 128
    bf16: bool = False
    format: str = "transformers"

    def faults(self) -> list[str]:
        """Return what is wrong with the settings, one sentence each; a checkpoint is untrusted."""
        faults = []
        if self.prefix_on not in PREFIX_ON:
            faults.append(f"prefix_on={excerpt(self.prefix_on, 40)!r}: expected one of {', '.join(PREFIX_ON)}.")
        if self.decoding not in DECODINGS:
            faults.append(f"decoding={excerpt(self.decoding, 40)!r}: expected one of {', '.join(DECODINGS)}.")
        for key in ("max_input_tokens", "max_new_tokens"):
            if not 1 <= getattr(self, key) <= MAX_TOKENS:
                faults.append(f"{key}={excerpt(getattr(self, key), 40)}: expected from 1 to {MAX_TOKENS:,}.")
        if self.choices is not None and not 1 <= len(self.choices) <= MAX_CHOICES:
            faults.append(f"choices: expected from 1 to {MAX_CHOICES:,} answers, found {len(self.choices):,}.")
        texts = (*(self.choices or ()), self.input or "", self.id_column or "", self.choices_column or "")
        if any(len(text) > MAX_TEXT for text in texts):
            faults.append(f"choices, input, id_column, choices_column: expected at most {MAX_TEXT:,} characters.")
        return faults


@dataclass(frozen=True)
class Saved:
    """A trained student in a folder, and how it should answer.

    Attributes:
        remembered: the settings in the checkpoint; ``format`` decides which class loads it.
        negligible: see ``DecodingConfig``; by default all closed answers are scored completely.
    """

    folder: Path
    remembered: Remembered
    task: Task
    objective: Objective
    batch_size: int = 64
    decoding: str | None = None
    negligible: float = 0.0

    def reading(self, *, bf16: bool = False) -> DecodingConfig:
        """Return the decoding config: as in training, with this object's batch size, decoding and ``negligible``."""
        remembered = self.remembered
        return DecodingConfig(
            self.decoding or remembered.decoding,
            self.batch_size,
            remembered.max_input_tokens,
            remembered.max_new_tokens,
            bf16=bf16,
            negligible=self.negligible,
        )

    def check_ranks(self) -> None:
        """Check that answers are ranked, for students without a decoder.

        Raises:
            StudentError: with ``decoding=generate``.
        """
        if self.decoding == "generate":
            raise StudentError("decoding=generate: this student cannot generate, it ranks the closed answers.")


def remember(task: Task, objective: Objective, examples: Iterable[Example], format: str, **reading: Any) -> Remembered:
    """Return the settings to save in a checkpoint.

    Args:
        examples: all examples that the student was trained and measured on.
    """
    shared, closed = shared_choices(examples)
    # What was found in the data is written down: a checkpoint does not have it.
    settings = {key: value for key, value in asdict(task.settled()).items() if key not in PLACES}
    columns = getattr(task, "columns", None)
    return Remembered(
        prefix_on=objective.prefix_on,
        objective=asdict(objective),
        task=settings,
        choices=list(shared) if shared else None,
        own_choices=closed and not shared,
        lists_choices=bool(columns and columns.choices is not None and columns.list_choices),
        input=columns.input if columns else None,
        id_column=columns.id if columns else None,
        choices_column=columns.choices if columns else None,
        format=format,
        **reading,
    )


def shared_choices(examples: Iterable[Example]) -> tuple[tuple[str, ...] | None, bool]:
    """Return the closed answers that all examples share, or None; and whether all examples have closed answers.

    >>> shared_choices([Example("1", "", choices=("no", "yes")), Example("2", "", choices=("yes", "no"))])
    (('no', 'yes'), True)
    >>> shared_choices([Example("1", "", choices=("no", "yes")), Example("2", "", choices=("red", "blue"))])
    (None, True)
    """
    first: tuple[str, ...] | None = None
    same = True
    for example in examples:
        if not example.choices:
            return None, False
        first = first or tuple(dict.fromkeys(example.choices))
        same = same and (example.choices == first or set(example.choices) == set(first))
    return (first if same else None), first is not None


def find_checkpoint(named: str) -> Path:
    """Return the folder of a checkpoint.

    Raises:
        RunError: where there is none, or the run is not finished.
    """
    folder = Path(named).expanduser()
    if not named or not folder.is_dir():
        raise RunError(
            f"checkpoint={named}: there is no such folder. Expected the folder of a run, such as "
            "outputs/train/triage/t5_scratch/step_by_step/0.125/0-0123abcd, or a checkpoint copied from one."
        )
    run, place = run_of(folder), folder.resolve()
    if run is not None and place.name == EXPORTS:
        known = ", ".join(f"checkpoint={path.parent}" for path in sorted(folder.glob("*/config.json")))
        raise RunError(f"checkpoint={named}: the folder of a run's exports: {known or 'there is none yet'}")
    if run is not None and place.parent.name != EXPORTS:
        if not (run / "metrics.json").exists():
            raise RunError(f"checkpoint={named}: this run is unfinished{_reason(run)}. {_how_to_finish(run)}")
        folder = run / "checkpoint"
    if not (folder / "config.json").is_file():
        raise RunError(f"checkpoint={named}: no checkpoint there (config.json is missing).{_runs_below(folder)}")
    return folder


def run_of(folder: Path) -> Path | None:
    """Return the folder of the run to which a folder belongs: the run itself, its checkpoint or an export; or None."""
    parent = folder.resolve().parent
    for place in (folder, parent.parent if parent.name == EXPORTS else parent):
        if (place / "manifest.json").is_file() and (place / "config.yaml").is_file():
            return place
    return None


def check_output(named: str, *reads: str | None) -> Path:
    """Return the path of a file to write.

    Args:
        reads: the files and folders that the command reads; ``-`` and None are none.

    Raises:
        RunError: where it is a file of a run, or one that is read, by whatever name; neither is overwritten.
            Where it is a folder.
    """
    output = Path(named).expanduser()
    if output.is_symlink() and (output.is_file() or not output.exists()):
        output = output.resolve()  # the link stays, and what it leads to is written
    if output.is_dir():
        raise RunError(f"output={named}: a folder; name a file to write.")
    if run_of(output.parent) is not None and (output.exists() or output.name == "metrics.json"):
        raise RunError(f"output={named}: this is a file of a run and is not overwritten; choose another name.")
    for place in (Path(read).expanduser() for read in reads if read is not None):
        if not output.is_file() or not place.exists():
            continue
        if output.samefile(place) or output.resolve().parent == place.resolve():
            raise RunError(
                f"output={named}: this is the data that is read, and is not overwritten; choose another name."
            )
    return output


def load_remembered(checkpoint: Path) -> dict[str, Any]:
    """Return the settings in a checkpoint as plain values, without places of data.

    Raises:
        DataError: where it is not a checkpoint of dsbs.
    """
    path = checkpoint / "config.json"
    try:
        remembered = Fields(read_json_file(path, MAX_CONFIG)).raw(SETTINGS)
    except DataError as error:
        raise DataError(f"{path}: not a student saved by dsbs.train ({error}).") from None
    if remembered is None:
        raise DataError(f"{path}: not a student saved by dsbs.train (no {SETTINGS!r} in it).")
    if not isinstance(remembered, dict) or not isinstance(remembered.get("task"), dict):
        raise DataError(f"{path}: {SETTINGS!r} is incomplete; train the student again.")
    # Checkpoints never have paths of data; those in an untrusted one are dropped.
    task = {key: value for key, value in remembered["task"].items() if key not in PLACES}
    return remembered | {"task": task}


def _reason(run: Path) -> str:
    try:
        reason = Fields(read_json_file(run / "failed.json")).text("reason")
    except DataError:
        return ""
    return f" ({excerpt(reason)})" if reason else ""


def _how_to_finish(run: Path) -> str:
    try:
        command = Fields(read_json_file(run / "manifest.json")).text("command", limit=2000)
    except DataError:
        command = None
    return f"Finish it with the command that started it{': ' + excerpt(command, 2000) if command else ''}."


def _runs_below(folder: Path) -> str:
    patterns = ["*/" * depth + "metrics.json" for depth in range(1, _DEPTH + 1)]
    runs = sorted(path.parent for pattern in patterns for path in folder.glob(pattern))
    if not runs:
        return " Expected the folder of a finished run, or its checkpoint/."
    more = f"\n  and {len(runs) - _LISTED} more" if len(runs) > _LISTED else ""
    return " Finished runs below it:" + "".join(f"\n  checkpoint={run}" for run in runs[:_LISTED]) + more
