"""The base of students before they are built: dataclasses whose fields are the configuration. No tensors here."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from dsbs.core.checks import Range, range_faults
from dsbs.core.errors import StudentError
from dsbs.core.fingerprint import fingerprint_files
from dsbs.core.names import name_faults

if TYPE_CHECKING:
    from dsbs.students.model import StudentModel

AT_LEAST_8 = Range("at least 8", lambda value: value >= 8)  # tokens
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".json", ".model", ".txt")  # with config and tokenizer


@dataclass
class Student:
    """Base of all students.

    Class attributes:
        backend: what trains it; a key of ``dsbs.training.backends.BACKENDS``.
        format: how it is saved; a key of ``dsbs.inference.predictor.PREDICTORS``.
        writes: whether it generates text; else it chooses among closed answers.
        own_choices: whether examples may have choices of their own (multiple choice); else all share the same answers.
        fits_any_loss: whether it can be trained, by gradients, with an objective's own loss.
        reads_training: whether the ``training`` group decides the result.
        reads_texts: whether the task's texts decide it before training: its tokenizer is trained on them.

    Attributes:
        kind: which class this is; a key of ``dsbs.students.STUDENTS``.
        name: name in folders and reports; the option's name in ``conf/student/``.
    """

    backend: ClassVar[str]
    format: ClassVar[str]
    writes: ClassVar[bool] = False
    own_choices: ClassVar[bool] = False
    fits_any_loss: ClassVar[bool] = False
    reads_training: ClassVar[bool] = True
    reads_texts: ClassVar[bool] = False

    kind: str = "???"
    name: str = "???"

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        return name_faults("student.name", self.name)

    def identity(self) -> dict[str, object]:
        """Return what decides the student before training, for the run's hash."""
        return asdict(self)

    def resolve(self) -> "Student":
        """Return the student to train: this one, or the one chosen for the machine (``student=auto``)."""
        return self


class Lengths(NamedTuple):
    """Maximum tokens of an input, of a target in training, and of a generated text (``new``)."""

    input: int
    target: int
    new: int


@dataclass
class TorchStudent(Student):
    """Base of the torch students, which Hugging Face's Trainer trains."""

    backend: ClassVar[str] = "huggingface"
    fits_any_loss: ClassVar[bool] = True

    @property
    def lengths(self) -> Lengths:
        """How long inputs and targets may be."""
        raise NotImplementedError

    def prepare(self, texts: Iterable[str], prefix_on: str, seed: int, choices: Sequence[str] | None) -> "StudentModel":
        """Return the built student, ready for training.

        Args:
            texts: the texts of the task (inputs, answers, exemplars), for students that train their own tokenizer.
            prefix_on: ``target`` or ``input``: where the task prefixes are.
            seed: random seed of newly initialized weights.
            choices: the closed answers that all examples share, or None.

        Raises:
            StudentError: where weights or tokenizer are not available.
        """
        raise NotImplementedError


@dataclass
class GenerativeStudent(TorchStudent):
    """Base of the students that generate text: encoder-decoders and decoders.

    Attributes:
        max_input_tokens: longer inputs are truncated (counted in ``metrics.json``).
        max_target_tokens: longer targets are truncated, and have no end token then (counted in ``metrics.json``).
        max_new_tokens: maximum generated tokens.
    """

    format: ClassVar[str] = "transformers"
    writes: ClassVar[bool] = True
    own_choices: ClassVar[bool] = True

    max_input_tokens: int = 512
    max_target_tokens: int = 256
    max_new_tokens: int = 128

    def faults(self) -> list[str]:
        lengths = ("max_input_tokens", "max_target_tokens", "max_new_tokens")
        return super().faults() + range_faults(self, AT_LEAST_8, *lengths, prefix="student.")

    @property
    def lengths(self) -> Lengths:
        return Lengths(self.max_input_tokens, self.max_target_tokens, self.max_new_tokens)

    def prepare(self, texts: Iterable[str], prefix_on: str, seed: int, choices: Sequence[str] | None) -> "StudentModel":
        """Return ``build(texts, prefix_on, seed)``: a student that generates needs no list of answers."""
        return self.build(texts, prefix_on, seed)

    def build(self, texts: Iterable[str], prefix_on: str, seed: int) -> "StudentModel":
        """Return the built student; arguments are those of ``prepare``.

        Raises:
            StudentError: where weights or tokenizer are not available.
        """
        raise NotImplementedError

    def load_tokenizer(self) -> Any:
        """Return the tokenizer without loading weights, or None where it cannot be loaded alone."""
        return None


def check_place(model: str) -> None:
    """Check that a model that looks like a path exists; the hub would only reject the name.

    Raises:
        StudentError: where it does not.
    """
    if (model.startswith(("/", "./", "../", "~")) or model.count("/") > 1) and not Path(model).expanduser().exists():
        raise StudentError(f"student.model={model}: no such file or folder.")


def find_model_folder(model: str) -> Path:
    """Return the folder with the weights of a model given by path; for the folder of a run, its checkpoint."""
    path = Path(model).expanduser()
    checkpoint = path / "checkpoint"
    return checkpoint if (checkpoint / "config.json").is_file() else path


def fingerprint_weights(path: Path) -> str | None:
    """Return a hash over weights, config and tokenizer in a file or folder; None where it does not exist.

    Model cards, logs and optimizer states beside them do not count.
    """
    path = path.expanduser()
    if path.is_file():
        return fingerprint_files([path])
    if not path.is_dir():
        return None
    files = [file for file in path.iterdir() if file.suffix in _WEIGHTS and file.name != "trainer_state.json"]
    return fingerprint_files(files)
