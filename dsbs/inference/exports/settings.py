"""Keys of ``dsbs.export``."""

from dataclasses import dataclass


@dataclass
class ExportConfig:
    """Keys of ``dsbs.export``.

    Attributes:
        checkpoint: the folder of a finished run, or its checkpoint.
        format: ``ctranslate2``, ``gguf``, ``onnx``, ``skops``, or ``auto``: what suits the student.
        quantization: of the weights; ``auto``: the format's default.
        output: the folder of the export; None: ``exports/<format>-<quantization>`` in the run.
        min_agreement: minimum share of examples with the same answer as the checkpoint; below it nothing is exported.
        path: other data for the comparison, a file or folder; None: the run's validation and test examples.
        limit: at most this many examples of each split; None: all.
        batch_size: examples per forward pass.
        trust_run: the run is yours: its data is read wherever its ``config.yaml`` says, not only below this folder, and
            its ``task.metric`` may be a function.
    """

    checkpoint: str = "???"
    format: str = "auto"
    quantization: str = "auto"
    output: str | None = None
    min_agreement: float = 0.99
    path: str | None = None
    limit: int | None = None
    batch_size: int = 32
    trust_run: bool = False

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = [] if self.batch_size > 0 else [f"batch_size={self.batch_size}: expected at least 1."]
        if not 0 <= self.min_agreement <= 1:
            faults.append(f"min_agreement={self.min_agreement}: expected from 0 to 1, such as 0.99.")
        if self.limit is not None and self.limit < 1:
            faults.append(f"limit={self.limit}: expected at least 1, or null for all examples.")
        return faults
