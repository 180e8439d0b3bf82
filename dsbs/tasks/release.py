"""The paper's benchmarks (section 4.1), from a folder in the layout of its code release or from the hub.

They differ in their columns alone, so one class reads them all.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from dsbs.core.checks import option_faults
from dsbs.core.errors import DataError
from dsbs.tasks.answers import READINGS, ClosedAnswers, NumberAnswers
from dsbs.tasks.base import Answers
from dsbs.tasks.tables.columns import Columns
from dsbs.tasks.tables.gold import Gold
from dsbs.tasks.tables.rows import RowsTask
from dsbs.tasks.tables.sources import FileSource, Source
from dsbs.tasks.tables.splits import SPLITS, WORDS

NLI = ("entailment", "neutral", "contradiction")
_NLI_COLUMNS = Columns(
    # The paper's code joins the two with the student's end token; words do the same for any tokenizer and teacher.
    input="Premise: {premise}\nHypothesis: {hypothesis}",
    gold=Gold(labels=NLI, names={str(number): name for number, name in enumerate(NLI)}),
)
_ANLI_COLUMNS = replace(_NLI_COLUMNS, id="uid")
_ASDIV_COLUMNS = Columns(input="{Body}\n{Question}", label="Answer", gold=Gold(pattern=r"^(\S+)"))  # 9 (apples)
_CQA_COLUMNS = Columns(input="{question}", label="answer", id="id", choices="choices")


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        columns: the columns of the release's files.
        hub_columns: the columns of the copy on the hub.
        hub_splits: our splits -> the hub's.
        numbers: whether answers are numbers or equations; else they are of a closed set.
    """

    columns: Columns
    hub_columns: Columns
    hub_splits: dict[str, str]
    numbers: bool = False


BENCHMARKS = {
    "svamp": Benchmark(
        Columns(input="{input}", gold=Gold(number=True)),
        Columns(input="{Body}\n{Question}", label="Equation", id="ID", gold=Gold(number=True)),
        {"train": "train", "test": "test"},
        numbers=True,
    ),
    # The release tests on the hub's validation split: the labels of the true test split are not public.
    "cqa": Benchmark(_CQA_COLUMNS, _CQA_COLUMNS, {"train": "train", "test": "validation"}),
    "esnli": Benchmark(_NLI_COLUMNS, _NLI_COLUMNS, {"train": "train", "validation": "validation", "test": "test"}),
    "anli1": Benchmark(_ANLI_COLUMNS, _ANLI_COLUMNS, {"train": "train_r1", "validation": "dev_r1", "test": "test_r1"}),
    "asdiv": Benchmark(
        _ASDIV_COLUMNS,
        replace(_ASDIV_COLUMNS, input="{body}\n{question}", label="answer"),
        {"train": "validation"},
        numbers=True,
    ),
}


@dataclass
class ReleaseTask(RowsTask):
    """A benchmark of the paper.

    Attributes:
        benchmark: which one; a key of ``BENCHMARKS``.
        reading: how answers are parsed: ``paper`` as in the paper's release, for comparable accuracies, or ``tolerant``
            (see ``dsbs.tasks.answers``).
    """

    kind: str = "release"
    benchmark: str = "???"
    reading: str = "tolerant"

    @property
    def answers(self) -> Answers:
        """A number, or one of a closed set."""
        if BENCHMARKS[self.benchmark].numbers:
            return NumberAnswers(reading=self.reading)
        return ClosedAnswers(BENCHMARKS[self.benchmark].columns.gold.labels, reading=self.reading)

    @property
    def columns(self) -> Columns:
        """The columns of the files, or of the hub's copy."""
        benchmark = BENCHMARKS[self.benchmark]
        return benchmark.columns if self.path is not None else benchmark.hub_columns

    def faults(self) -> list[str]:
        faults = super().faults()
        faults += option_faults(self, "task.", benchmark=BENCHMARKS, reading=READINGS)
        if self.path is None and self.hub is None:
            faults.append(
                f"task.path: expected a folder with {self.benchmark}_train.json and {self.benchmark}_test.json."
            )
        return faults

    def build_source(self) -> Source:
        """Return the files in ``path``, or the copy on the hub.

        Raises:
            DataError: where ``path`` is no folder, or has neither of the files for train and test.
        """
        if self.path is None:
            return self.hub_source(BENCHMARKS[self.benchmark].hub_splits)
        folder = Path(self.path).expanduser()
        found = {split: self._file(folder, WORDS[split]) for split in SPLITS}
        files = {split: [path] for split, path in found.items() if path is not None}
        if "train" not in files and "test" not in files:
            raise DataError(self._not_found(folder))
        return FileSource(files)

    def identity(self) -> dict[str, object]:
        """Return benchmark, reading and a hash of the data."""
        return {"kind": self.kind, "benchmark": self.benchmark, "reading": self.reading, **self.content}

    def _file(self, folder: Path, words: list[str]) -> Path | None:
        paths = [folder / f"{self.benchmark}_{word}{suffix}" for word in words for suffix in (".json", ".jsonl")]
        return next((path for path in paths if path.is_file()), None)

    def _not_found(self, folder: Path) -> str:
        if not folder.is_dir():
            return f"task.path={self.path}: there is no such folder."
        wanted = f"{self.benchmark}_train.json and {self.benchmark}_test.json"
        here = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
        below = folder / self.benchmark
        hint = f" Did you mean task.path={Path(str(self.path)) / self.benchmark}?" if below.is_dir() else ""
        return f"task.path={self.path}: expected {wanted} (JSON lines, as in the paper's release), found {here}.{hint}"
