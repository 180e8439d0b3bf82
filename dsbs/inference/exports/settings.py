"""Keys of ``dsbs.export``."""

from dataclasses import dataclass

from dsbs.core.checks import AT_LEAST_1, SHARE, range_faults


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
        return [
            *range_faults(self, AT_LEAST_1, "batch_size"),
            *range_faults(self, SHARE, "min_agreement"),
            *range_faults(self, AT_LEAST_1, "limit", null="all examples"),
        ]
