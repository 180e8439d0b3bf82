"""A pretrained encoder with a classification head."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from dsbs.students.base import Lengths, TorchStudent
from dsbs.students.encoders import PretrainedEncoder

if TYPE_CHECKING:
    from dsbs.students.classifier import ClassifierModel


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
        settings = {key: value for key, value in asdict(self).items() if key != "use_safetensors"}  # the same weights
        return settings | self.weights_identity()

    @property
    def lengths(self) -> Lengths:
        """Maximum tokens; a label is a class, so one token."""
        return Lengths(self.max_input_tokens, target=1, new=1)

    def prepare(
        self, texts: Iterable[str], prefix_on: str, seed: int, choices: Sequence[str] | None
    ) -> "ClassifierModel":
        """Load the encoder with a new, randomly initialized head; see ``TorchStudent.prepare``."""
        import torch
        from transformers import AutoModelForSequenceClassification

        from dsbs.students.classifier import ClassifierModel, MultipleChoiceModel

        torch.manual_seed(seed)
        count = len(choices) if choices else 1
        network, tokenizer = self.load_encoder(AutoModelForSequenceClassification, num_labels=count)
        if choices:
            return ClassifierModel(network, tokenizer, prefix_on, choices)
        return MultipleChoiceModel(network, tokenizer, prefix_on, max_input_tokens=self.max_input_tokens)
